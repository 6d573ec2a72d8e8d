"""Features: what their formulas say, from any rhythm, and never anything of the future."""

import math
import random
from itertools import pairwise
from statistics import NormalDist

import msgspec
import pytest
from told_days import told

from models.features import (
    FEATURES,
    OF_CHURN,
    ROLLING,
    SCHEMA,
    Feature,
    Population,
    features,
    log_gap,
)
from models.rhythm import Rhythm, bought, carted, looked

FIRST = 17_000
POPULATION = Population(mean_gap=21.0, log_mean=2.6, log_variance=0.8, base=0.4)
TAIL = NormalDist()


def of_days(days, cents=2500):
    rhythm = None
    for day in days:
        rhythm = bought(rhythm, day, cents)
    return rhythm


def named(rhythm, day, population=POPULATION):
    names = [feature.name for feature in FEATURES]
    return dict(zip(names, features(rhythm, day, population), strict=True))


def by_hand(days, now, usual):
    """Return some features from the list of purchase days, by their formulas in words."""
    gaps = [later - earlier for earlier, later in pairwise(days)]
    n, silence, tenure = len(gaps), now - days[-1], now - days[0]
    logs = [math.log1p(gap) for gap in gaps]
    own = sum(logs)
    spread = sum((log - own / n) ** 2 for log in logs) if n else 0.0
    mean = (own + 2 * usual.log_mean) / (n + 2)
    deviation = math.sqrt((spread + 3 * usual.log_variance) / (n + 3))
    late = (math.log1p(silence) - mean) / deviation
    beyond = 1 - TAIL.cdf((math.log1p(silence + 30) - mean) / deviation)
    within = 1 - TAIL.cdf(late) - beyond
    decayed = {life: sum(2 ** (-(now - day) / life) for day in days) for life in (7, 14, 30, 90)}
    rates = {
        life: (decayed[life] + 0.5)
        / (life / math.log(2) * (1 - 2 ** (-(tenure + 1) / life)) + 0.5 * usual.mean_gap)
        for life in (7, 30, 90)
    }
    own_gap = (sum(gaps) + 2 * usual.mean_gap) / (n + 2)
    asked = range(days[0], now - 30 + 1)
    lost = sum(1 for day in asked if not any(day < other <= day + 30 for other in days))
    return {
        "often_90": math.log1p(decayed[90]),
        "often_14": math.log1p(decayed[14]),
        "overdue": max(-8.0, min(8.0, math.log(beyond / within))),
        "late": late,
        "late_ratio": math.log1p(silence) - math.log1p(own_gap),
        "trend_short": math.log(rates[7] / rates[30]),
        "trend_long": math.log(rates[30] / rates[90]),
        "late_longest": math.log1p(silence) - math.log1p(max([own_gap, *gaps])),
        "own": math.log((lost + 21 * usual.base) / (len(asked) - lost + 21 * (1 - usual.base))),
        "late_squared": late**2,
        "late_trend": late * math.log(rates[7] / rates[30]),
        "often_known": math.log1p(decayed[30]) * math.log1p(n),
        "silence_tenure": math.log1p(silence) * math.log1p(tenure),
    }


@pytest.mark.parametrize("seed", range(30))
def test_features_are_what_their_formulas_say(seed):
    rng = random.Random(seed)
    day, days = FIRST, []
    for _ in range(rng.randrange(1, 12)):
        days.append(day)
        day += rng.choice((2, 5, 9, 30, 45))
    now = days[-1] + rng.randrange(60)
    found = named(of_days(days), now)
    for name, expected in by_hand(days, now, POPULATION).items():
        # Rhythms are in 64ths.
        assert found[name] == pytest.approx(expected, abs=0.12, rel=0.04), name


def test_the_longer_a_member_is_silent_the_later():
    rhythm = of_days([FIRST, FIRST + 10, FIRST + 21, FIRST + 30])
    later = [named(rhythm, FIRST + 30 + silence) for silence in (0, 7, 20, 60, 200)]
    for name in ("late", "late_ratio", "late_longest"):
        values = [found[name] for found in later]
        assert values == sorted(values), name
        assert values[0] < values[-1], name


def test_views_and_carts_change_only_what_is_said_of_them():
    rhythm = of_days([FIRST, FIRST + 10])
    before = features(rhythm, FIRST + 20, POPULATION)
    looked(rhythm, FIRST + 19)
    carted(rhythm, FIRST + 19)
    after = features(rhythm, FIRST + 20, POPULATION)
    assert after[:ROLLING] == before[:ROLLING]
    found = named(rhythm, FIRST + 20)
    assert found["cart_open"] == 1.0
    assert found["looked"] == pytest.approx(math.log1p(1))
    bought(rhythm, FIRST + 20, 100)
    assert named(rhythm, FIRST + 20)["cart_open"] == 0.0


def test_a_cart_without_any_view_is_seen():
    rhythm = of_days([FIRST])
    never = named(rhythm, FIRST + 3)
    carted(rhythm, FIRST + 2)
    found = named(rhythm, FIRST + 3)
    assert found == {**never, "cart_open": 1.0}


LOOKING = [feature.name for feature in FEATURES[ROLLING:OF_CHURN]]


def test_looks_are_what_their_formulas_say():
    rhythm = of_days([FIRST, FIRST + 10])
    for day in (FIRST + 4, FIRST + 13, FIRST + 13, FIRST + 16):
        looked(rhythm, day)
    found = named(rhythm, FIRST + 20)
    views = sum(
        2 ** (-(FIRST + 20 - day) / 14) for day in (FIRST + 4, *[FIRST + 13] * 2, FIRST + 16)
    )
    expected = {
        "looks_14": math.log1p(views),
        "looked_silence": math.log1p(10),
        "looked_after": math.log1p(6),
        "looked_much": math.log1p(4) * math.log1p(views),
        "looks_often": math.log1p(views) * found["often_90"],
        "looks_trending": math.log1p(views) * found["looks_trend"],
        "looks_late": math.log1p(views) * found["seen_late"],
        "looks_buying": math.log1p(views) * found["trend_short"],
        "looked_after_often": math.log1p(6) * found["often_90"],
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=0.02), name


def test_who_bought_at_the_last_look_has_not_looked_since():
    rhythm = of_days([FIRST])
    looked(rhythm, FIRST + 5)
    assert named(rhythm, FIRST + 9)["looked_after"] == pytest.approx(math.log1p(5))
    bought(rhythm, FIRST + 5, 100)
    assert named(rhythm, FIRST + 9)["looked_after"] == 0.0
    bought(rhythm, FIRST + 8, 100)
    assert named(rhythm, FIRST + 9)["looked_after"] == 0.0


def test_who_looks_is_late_only_since_the_last_look():
    rhythm = of_days([FIRST, FIRST + 10, FIRST + 20])
    silent = named(rhythm, FIRST + 50)
    looked(rhythm, FIRST + 15)
    assert named(rhythm, FIRST + 50)["seen_late"] == silent["late"]
    looked(rhythm, FIRST + 44)
    found = named(rhythm, FIRST + 50)
    assert found["late"] == silent["late"]
    assert found["seen_late"] == pytest.approx(named(rhythm, FIRST + 26)["late"])
    assert found["seen_late_squared"] == found["seen_late"] ** 2


def test_of_who_never_looked_all_that_looks_say_is_the_same():
    """A shop that hears of orders alone learns nothing from them, whoever they are of."""
    said = {
        tuple(named(of_days(days), days[-1] + silence)[name] for name in LOOKING)
        for days in ([FIRST], [FIRST, FIRST + 3], [FIRST, FIRST + 9, FIRST + 200])
        for silence in (0, 5, 29, 400)
    }
    assert len(said) == 1


@pytest.mark.parametrize(
    "rhythm",
    [
        Rhythm(FIRST),
        Rhythm(FIRST, spent=-500, spent_lately=-500),
        of_days([FIRST, FIRST + 5000]),
        of_days(range(FIRST, FIRST + 1500)),
        of_days([FIRST, FIRST + 1, FIRST + 3000], cents=10**9),
    ],
)
def test_every_feature_is_a_number_for_any_member_at_any_time(rhythm):
    for silence in (0, 1, 29, 30, 365, 20_000):
        for population in (POPULATION, Population(), Population(1.0, 0.7, 0.05, 0.001)):
            x = features(rhythm, rhythm.last_day + silence, population)
            assert len(x) == len(FEATURES)
            assert all(math.isfinite(value) and abs(value) < 1e3 for value in x)


def test_the_same_rows_come_from_a_log_that_ends_with_the_day():
    days = told(members=60, days=120, seed=5)
    for cut in (30, 61, 90, 119):
        asked = days[cut].asked
        again = told(members=60, days=cut + 1, seed=5)[cut].asked
        assert asked
        assert [features(q.rhythm, q.day, POPULATION) for q in asked] == [
            features(q.rhythm, q.day, POPULATION) for q in again
        ]


def test_own_counts_only_days_whose_month_is_over():
    rhythm = of_days([FIRST])
    neutral = math.log(POPULATION.base / (1 - POPULATION.base))
    assert named(rhythm, FIRST + 29)["own"] == pytest.approx(neutral)
    assert named(rhythm, FIRST + 30)["own"] > neutral


def test_the_own_gap_leans_on_the_base_until_there_are_gaps():
    mean, deviation = log_gap(of_days([FIRST]), POPULATION)
    assert mean == pytest.approx(POPULATION.log_mean)
    assert deviation == pytest.approx(math.sqrt(POPULATION.log_variance))
    regular = of_days(range(FIRST, FIRST + 700, 7))
    mean, deviation = log_gap(regular, POPULATION)
    assert mean == pytest.approx(math.log1p(7), abs=0.03)
    assert deviation < 0.35


def test_features_have_names_of_their_own_and_a_hash_of_all_that_they_say():
    names = [feature.name for feature in FEATURES]
    assert len(set(names)) == len(names)
    assert all(feature.formula and feature.state and feature.why for feature in FEATURES)
    assert all(deviation > 0 for _, deviation in (feature.usual for feature in FEATURES))
    assert len(SCHEMA) == 16
    assert msgspec.json.decode(msgspec.json.encode(FEATURES), type=tuple[Feature, ...]) == FEATURES
