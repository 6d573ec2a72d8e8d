"""BG/NBD and Gamma-Gamma: the published CDNOW figures, the model itself by chance, hard cases."""

import math
from collections import defaultdict

import msgspec
import numpy as np
import pytest

from app.importers.packaged import packaged_file
from app.importers.report import InputError
from models.btyd import BgNbd, GammaGamma
from models.btyd_fit import LEAST_REPEATERS, fit_bgnbd, fit_gamma_gamma

CDNOW = BgNbd(0.2426, 4.4136, 0.7929, 2.426)
# Calibration ends after 39 weeks of 1997; all joined in its first twelve.
WEEK, CALIBRATION = 7, 272


def cdnow_sample():
    """The 2,357 members of the published sample: x, t_x, T in weeks, and what repeats came to."""
    try:
        path = packaged_file("lifetimes", "datasets/CDNOW_sample.txt")
    except InputError as error:
        pytest.skip(str(error))
    january = np.datetime64("1997-01-01")
    days: defaultdict[str, dict[int, float]] = defaultdict(lambda: defaultdict(float))
    for line in path.read_text().splitlines():
        words = line.split()
        if words:
            date = words[2]
            moment = np.datetime64(f"{date[:4]}-{date[4:6]}-{date[6:]}")
            days[words[0]][int((moment - january).astype(int))] += float(words[4])
    told = []
    for bought in days.values():
        first = min(bought)
        repeats = [day for day in bought if first < day <= CALIBRATION]
        last = max(repeats, default=first)
        spent = sum(bought[day] for day in repeats)
        told.append((len(repeats), (last - first) / WEEK, (CALIBRATION - first) / WEEK, spent))
    return np.array(told, dtype=float)


def test_the_published_parameters_of_cdnow_come_out():
    x, t_x, age, spent = cdnow_sample().T
    assert len(x) == 2357
    fitted = fit_bgnbd(x, t_x, age)
    assert fitted is not None
    model, likelihood = fitted
    assert (model.r, model.alpha) == pytest.approx((0.2426, 4.4136), abs=5e-5)
    assert (model.a, model.b) == pytest.approx((0.7929, 2.426), abs=1e-4)
    assert likelihood == pytest.approx(-9582.4, abs=0.05)
    money = fit_gamma_gamma(x, spent)
    assert money is not None
    assert (money.p, money.q, money.gamma) == pytest.approx((6.250, 3.744, 15.444), abs=1e-3)


def test_parameters_go_through_json_to_the_bit():
    x, t_x, age, spent = cdnow_sample().T
    fitted, money = fit_bgnbd(x, t_x, age), fit_gamma_gamma(x, spent)
    assert fitted is not None
    for model in (fitted[0], money):
        again = msgspec.json.decode(msgspec.json.encode(model), type=type(model))
        assert again == model
        assert all(type(value) is float for value in msgspec.structs.astuple(model))


def test_the_unit_of_time_and_of_money_does_not_matter():
    x, t_x, age, spent = cdnow_sample().T
    weeks, days = fit_bgnbd(x, t_x, age), fit_bgnbd(x, t_x * 7, age * 7)
    assert weeks is not None
    assert days is not None
    assert days[0].alpha / 7 == pytest.approx(weeks[0].alpha, rel=1e-6)
    assert days[0].b == pytest.approx(weeks[0].b, rel=1e-6)
    dollars, cents = fit_gamma_gamma(x, spent), fit_gamma_gamma(x, spent * 100)
    assert dollars is not None
    assert cents is not None
    assert cents.gamma / 100 == pytest.approx(dollars.gamma, rel=1e-4)


def test_a_fit_from_where_the_last_one_ended_ends_there():
    x, t_x, age, _ = cdnow_sample().T
    cold = fit_bgnbd(x, t_x, age)
    assert cold is not None
    warm = fit_bgnbd(x, t_x, age, start=cold[0])
    assert warm is not None
    assert warm[0].alpha == pytest.approx(cold[0].alpha, rel=1e-5)
    assert warm[1] == pytest.approx(cold[1], abs=1e-4)


def test_a_fit_from_the_edge_of_what_is_possible_comes_back():
    x, t_x, age, _ = cdnow_sample().T
    cold = fit_bgnbd(x, t_x, age)
    nobody_leaves = fit_bgnbd(x, t_x, age, start=BgNbd(1e-4, 8e4, 1e-4, 8e3))
    assert cold is not None
    assert nobody_leaves is not None
    assert nobody_leaves[1] == pytest.approx(cold[1], abs=1e-3)


def test_members_in_any_order_give_the_same_parameters_to_the_bit():
    x, t_x, age, _ = cdnow_sample().T
    order = np.random.default_rng(3).permutation(len(x))
    assert fit_bgnbd(x[order], t_x[order], age[order]) == fit_bgnbd(x, t_x, age)


def lived(model: BgNbd, rng: np.random.Generator, members: int, age: float, more: float):
    """Members as the model says they live: orders until ``age``, the last one's time, and later."""
    rate = rng.gamma(model.r, 1 / model.alpha, members)
    leaves = rng.beta(model.a, model.b, members)
    now, x, t_x = np.zeros(members), np.zeros(members, int), np.zeros(members)
    later, here = np.zeros(members, int), np.ones(members, bool)
    while here.any():
        now = np.where(here, now + rng.exponential(1, members) / rate, np.inf)
        before, after = here & (now <= age), here & (now > age) & (now <= age + more)
        x += before
        t_x = np.where(before, now, t_x)
        later += after
        here = (before | after) & (rng.random(members) >= leaves)
    return x, t_x, later


@pytest.mark.parametrize(
    "model", [BgNbd(0.8, 20.0, 0.6, 2.0), BgNbd(2.0, 30.0, 1.0, 4.0), BgNbd(1.2, 15.0, 0.3, 0.5)]
)
def test_probabilities_and_expectations_are_those_of_the_model_by_chance(model):
    members, age, more = 400_000, 100.0, 60.0
    x, t_x, later = lived(model, np.random.default_rng(11), members, age, more)
    # Alike are members with as many orders, the last one in the same fifth of the time.
    fifth = np.minimum((t_x / age * 5).astype(int), 4)
    compared = 0
    for orders in (0, 1, 2, 4):
        for part in range(5):
            alike = (x == orders) & (fifth == part)
            count = int(alike.sum())
            if count < 2_000:
                continue
            compared += 1
            # Few enough distinct times that all may be asked.
            times = t_x[alike][:2_000]
            silent = np.mean([model.p_no_order(orders, t, age, more) for t in times])
            expected = np.mean([model.expected_orders(orders, t, age, more) for t in times])
            seen = later[alike]
            noise = 4 / math.sqrt(2_000)
            assert silent == pytest.approx(np.mean(seen == 0), abs=0.5 * noise)
            assert expected == pytest.approx(seen.mean(), abs=seen.std() * noise)
    assert compared >= 6


def test_the_share_that_is_silent_is_exact_over_all_members():
    model = BgNbd(0.8, 20.0, 0.6, 2.0)
    age, more = 100.0, 60.0
    x, t_x, later = lived(model, np.random.default_rng(5), 60_000, age, more)
    said = np.array([model.p_no_order(int(n), t, age, more) for n, t in zip(x, t_x, strict=True)])
    # Four standard errors of 60,000 answers.
    assert said.mean() == pytest.approx((later == 0).mean(), abs=0.007)
    often = said < 0.3
    assert said[often].mean() == pytest.approx((later == 0)[often].mean(), abs=0.02)


def by_integral(model: BgNbd, x: int, t_x: float, age: float, horizon: float) -> float:
    """Expected orders as the mean over the chance to leave: another way than the series."""
    from scipy.integrate import quad
    from scipy.special import betaln

    rest = horizon / (model.alpha + age)
    power, left, stays = model.r + x, model.a, model.b + x

    def given(root: float) -> float:
        # The density of the chance to leave has a pole at 0 that this substitution takes away.
        leaves = root ** (1 / left)
        orders = (
            -math.expm1(-power * math.log1p(leaves * rest)) / leaves if leaves else power * rest
        )
        return orders * (1 - leaves) ** (stays - 1) / left

    total = quad(given, 0, 1, epsabs=1e-13, epsrel=1e-12, limit=400)[0]
    return model.p_alive(x, t_x, age) * total / math.exp(betaln(left, stays))


@pytest.mark.parametrize("a", [0.05, 0.7929, 1.0, 1.0 + 1e-9, 2.5])
@pytest.mark.parametrize(
    ("x", "t_x", "age"), [(0, 0, 0), (0, 0, 200), (3, 50, 100), (60, 300, 310)]
)
@pytest.mark.parametrize("horizon", [1, 90, 730])
def test_expected_orders_are_exact(a, x, t_x, age, horizon):
    model = BgNbd(0.2426, 30.9, a, 2.426)
    exact = by_integral(model, x, t_x, age, horizon)
    assert model.expected_orders(x, t_x, age, horizon) == pytest.approx(exact, rel=1e-7)


@pytest.mark.parametrize(
    "model", [CDNOW, BgNbd(0.8, 70.0, 1e-4, 8000.0), BgNbd(5.0, 3.0, 0.1, 0.2)]
)
def test_nothing_that_a_member_can_be_leaves_the_range(model):
    for x, t_x, age in [(0, 0, 0), (0, 0, 4000), (1, 1, 4000), (900, 900, 900), (900, 900, 5000)]:
        assert 0 <= model.p_alive(x, t_x, age) <= 1
        assert 0 <= model.p_no_order(x, t_x, age, 30) <= 1
        assert model.p_no_order(x, t_x, age, 7) >= model.p_no_order(x, t_x, age, 30)
        assert 0 <= model.expected_orders(x, t_x, age, 90) < 1000


def test_who_never_came_back_cannot_have_left():
    assert CDNOW.p_alive(0, 0, 1000) == 1
    assert CDNOW.p_alive(3, 10, 11) > CDNOW.p_alive(3, 10, 30)


def test_too_few_who_came_back_tell_nothing():
    few = LEAST_REPEATERS - 1
    x = np.array([1.0] * few + [0.0] * 500)
    t_x = np.array([5.0] * few + [0.0] * 500)
    age = np.full(len(x), 50.0)
    assert fit_bgnbd(x, t_x, age) is None
    assert fit_gamma_gamma(x, x * 0) is None


def test_a_shop_that_nobody_leaves_is_fitted_too():
    rng = np.random.default_rng(2)
    age = np.full(500, 200.0)
    x = rng.poisson(8, 500).astype(float)
    t_x = np.where(x > 0, 195.0, 0.0)
    fitted = fit_bgnbd(x, t_x, age)
    assert fitted is not None
    model = fitted[0]
    assert all(math.isfinite(value) and value > 0 for value in (model.r, model.alpha, model.b))
    assert model.p_alive(8, 195.0, 200.0) > 0.99


def test_the_mean_order_moves_from_the_shop_to_the_member():
    money = GammaGamma(6.25, 3.744, 15.444)
    shop = money.p * money.gamma / (money.q - 1)
    assert money.mean_spend(0, 0.0) == pytest.approx(shop)
    assert shop < money.mean_spend(1, 100.0) < money.mean_spend(30, 3000.0) < 100
    rng = np.random.default_rng(4)
    scale = rng.gamma(money.q, 1 / money.gamma, 40_000)
    orders = rng.integers(1, 6, 40_000)
    spent = np.array(
        [rng.gamma(money.p, 1 / nu, n).sum() for nu, n in zip(scale, orders, strict=True)]
    )
    fitted = fit_gamma_gamma(orders.astype(float), spent)
    assert fitted is not None
    assert fitted.p == pytest.approx(money.p, rel=0.1)
    assert fitted.mean_spend(3, 90.0) == pytest.approx(money.mean_spend(3, 90.0), rel=0.01)


def test_who_is_alive_orders_or_not():
    for x, t_x, age in ((0, 0, 50), (1, 9, 12), (3, 10, 300), (40, 300, 302), (400, 400, 4000)):
        ever = 1 - CDNOW.p_no_order(x, t_x, age, 1e300)
        assert ever == pytest.approx(CDNOW.p_alive(x, t_x, age), abs=1e-12)
