"""The fused score: to the bit what the plain steps give, for any member, model, day and horizon."""

import random

import plain_score
import pytest
from msgspec import structs

from models.btyd import BgNbd
from models.churn import Blend, Churn, Scorer
from models.features import FEATURES, OF_CHURN, ROLLING, Population, features
from models.logistic import Logistic
from models.rhythm import Rhythm, bought, carted, looked, refunded

FIRST = 17_000
HORIZONS = (7, 8, 10, 13, 14, 21, 30, 45, 90)


def any_rhythm(rng: random.Random) -> Rhythm:
    """A member who bought some time, and perhaps used coupons, looked, or took it all back."""
    day, rhythm = FIRST, None
    pace = rng.choice((1, 4, 20, 200, 1500))
    for _ in range(rng.choice((1, 1, 2, 3, 8, 40, 300))):
        rhythm = bought(rhythm, day, rng.randrange(100_000), coupon=rng.random() < 0.1)
        day += rng.randrange(2 * pace)
    assert rhythm is not None
    if rng.random() < 0.1:
        refunded(rhythm, rhythm.spent)
    if rng.random() < 0.05:
        rhythm.spent_lately = -rhythm.spent_lately
    for _ in range(rng.choice((0, 0, 1, 5))):
        (looked if rng.random() < 0.8 else carted)(rhythm, rhythm.last_day + rng.randrange(-3, 9))
    return rhythm


def any_population(rng: random.Random) -> Population:
    if rng.random() < 0.2:
        return Population()
    return Population(
        rng.uniform(1, 90), rng.uniform(0.7, 4.5), rng.uniform(0.05, 2), rng.uniform(0.001, 0.999)
    )


def any_logistic(rng: random.Random, width: int) -> Logistic:
    """A regression to which some features never varied, or say nothing; now and then sure."""
    means, variances, weights = [], [], []
    strong = rng.choice((0.3, 0.3, 3.0, 60.0))
    for feature in FEATURES[:width]:
        means.append(feature.usual[0] + rng.gauss(0, 1))
        variances.append(0.0 if rng.random() < 0.1 else rng.uniform(0.001, 5))
        weights.append(rng.choice((0.0, -0.0)) if rng.random() < 0.2 else rng.gauss(0, strong))
    return Logistic(5000, tuple(means), tuple(variances), tuple(weights), rng.gauss(0, strong))


def any_churn(rng: random.Random) -> Churn:
    shares = [rng.choice((0.0, rng.random())) for _ in range(3)]
    return Churn(
        rng.choice(HORIZONS),
        any_population(rng),
        any_logistic(rng, OF_CHURN) if rng.random() < 0.8 else None,
        any_logistic(rng, ROLLING) if rng.random() < 0.8 else None,
        BgNbd(*(rng.uniform(0.01, top) for top in (3, 90, 5, 9))) if rng.random() < 0.8 else None,
        Blend(*(rng.choice(((1 / 3, 1 / 3, 1 / 3), shares)))),
        rng.choice((0.0, rng.gauss(0, 0.5))),
    )


def any_day(rng: random.Random, rhythm: Rhythm) -> int:
    """A day on or after that of the last event."""
    last = max(rhythm.last_day, 0 if rhythm.looks is None else rhythm.looks.day)
    return last + rng.choice((0, 1, rng.randrange(60), rng.randrange(3000)))


@pytest.mark.parametrize("seed", range(20))
def test_every_score_is_to_the_bit_that_of_the_plain_steps(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(5):
        churn = any_churn(rng)
        scorer = Scorer(churn)
        for _ in range(60):
            rhythm = any_rhythm(rng)
            day = any_day(rng, rhythm)
            assert scorer.told(rhythm, day) == plain_score.score(churn, rhythm, day)
            assert scorer.opinions(rhythm, day) == plain_score.opinions(churn, rhythm, day)


@pytest.mark.parametrize("seed", range(20))
def test_every_feature_is_to_the_bit_that_of_the_plain_steps(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(200):
        rhythm, population = any_rhythm(rng), any_population(rng)
        day = any_day(rng, rhythm)
        assert features(rhythm, day, population) == plain_score.vector(rhythm, day, population)


def test_a_version_scores_with_its_own_numbers_whatever_came_before_it() -> None:
    rng = random.Random(3)
    rhythm = any_rhythm(rng)
    day = rhythm.last_day + 12
    one = any_churn(random.Random(11))
    assert one.direct is not None
    assert one.weekly is not None
    others = [
        structs.replace(one, population=structs.replace(one.population, base=base / 100))
        for base in range(1, 99)
    ]
    scorers = [Scorer(other) for other in others]
    said = [scorer.told(rhythm, day) for scorer in scorers]
    assert said == [plain_score.score(other, rhythm, day) for other in others]
    assert len(set(said)) == len(said)


@pytest.mark.parametrize("strange", [float("inf"), float("-inf"), float("nan")])
def test_numbers_that_are_none_are_never_names(strange: float) -> None:
    """What comes from a topic is finite; whatever else comes is a number all the same."""
    direct = Logistic(1, (0.0,) * OF_CHURN, (1.0,) * OF_CHURN, (strange,) * OF_CHURN, 0.5)
    scorer = Scorer(Churn(30, Population(), direct, None, None, Blend(1.0, 0.0, 0.0)))
    p, _ = scorer.told(bought(None, FIRST, 1000), FIRST + 3)
    assert isinstance(p, float)


def test_who_is_gone_beyond_what_a_number_holds_is_lost() -> None:
    rhythm = None
    for day in range(FIRST, FIRST + 900):
        rhythm = bought(rhythm, day, 1000)
    assert rhythm is not None
    churn = Churn(
        30, Population(), None, None, BgNbd(0.5, 9.0, 0.5, 4.0), Blend(1 / 3, 1 / 3, 1 / 3)
    )
    day = rhythm.last_day + 9000
    assert Scorer(churn).told(rhythm, day) == plain_score.score(churn, rhythm, day)
    assert Scorer(churn).told(rhythm, day)[0] == pytest.approx(1 - 1e-6)
