"""The churn probability: no purchase day within the horizon after the end of a day.

Three opinions, blended in log odds. The *direct* twin answers the question itself, from labels as
old as the horizon. The *weekly* twin answers it for 7 days, from labels of a week ago, and is
rolled forward over weeks in which the member does nothing; so it notices soon when members change.
BG/NBD knows the shape of such data before anything was learned. How much each counts is in the
parameters: the trainer says what has earned what.
"""

import math
from collections.abc import Callable
from math import exp
from typing import NamedTuple

import msgspec

from models.btyd import BgNbd
from models.features import FEATURES, Population, features, looks, rolled, usual
from models.logistic import Logistic, log_odds, sigmoid
from models.rhythm import Rhythm

WEEK = 7
# Log odds of a week beyond these are taken as these: nobody is lost or kept for certain.
_CERTAIN = 30.0


class Blend(msgspec.Struct, frozen=True):
    """How much each opinion counts; together 1."""

    direct: float
    weekly: float
    bgnbd: float


class Churn(msgspec.Struct, frozen=True):
    """Everything that scores of one version are made from."""

    horizon: int
    population: Population
    direct: Logistic | None
    weekly: Logistic | None
    bgnbd: BgNbd | None
    blend: Blend


class Opinions(NamedTuple):
    """Log odds of churn within the horizon by each part; None for one that knows nothing yet."""

    direct: float | None
    weekly: float | None
    bgnbd: float | None


class Score(NamedTuple):
    """Probabilities of no purchase: within the horizon, and within 7 days (None: not yet known)."""

    p: float
    p_week: float | None


class Reason(NamedTuple):
    """A feature that makes a member's score high (log odds above the usual) or low (below)."""

    feature: str
    log_odds: float


class Scorer:
    """A version of the parameters, ready for use."""

    def __init__(self, churn: Churn) -> None:
        self.churn = churn
        self._asked = _asking(churn)
        blend = churn.blend
        counts = (
            blend.direct if churn.direct is not None else 0.0,
            blend.weekly if churn.weekly is not None else 0.0,
            blend.bgnbd if churn.bgnbd is not None else 0.0,
        )
        self._known = sum(counts) > 0
        self._counts = tuple(part / (sum(counts) or 1.0) for part in counts)

    def __call__(self, rhythm: Rhythm, day: int) -> Score:
        """Return the score at the end of ``day``, which is not before the last purchase day."""
        return Score(*self.told(rhythm, day))

    def told(self, rhythm: Rhythm, day: int) -> tuple[float, float | None]:
        """Return the two numbers of the score: for every event, a tuple without names is faster."""
        direct, weekly, bgnbd, p_week = self._asked(rhythm, day)
        if not self._known:
            return self.churn.population.base, p_week
        by_direct, by_weekly, by_bgnbd = self._counts
        return sigmoid(direct * by_direct + weekly * by_weekly + bgnbd * by_bgnbd), p_week

    def opinions(self, rhythm: Rhythm, day: int) -> Opinions:
        """Return what each part says, also one that does not count."""
        direct, weekly, bgnbd, _ = self._asked(rhythm, day)
        churn = self.churn
        return Opinions(
            None if churn.direct is None else direct,
            None if churn.weekly is None else weekly,
            None if churn.bgnbd is None else bgnbd,
        )

    def reasons(self, rhythm: Rhythm, day: int, most: int = 3) -> tuple[Reason, ...]:
        """Return the features that moved the direct twin's score most, the strongest first.

        Measured from the mean of the base; empty while nothing is learned.
        """
        direct = self.churn.direct
        if direct is None:
            return ()
        x = features(rhythm, day, self.churn.population)
        parts = [
            Reason(feature.name, (value - mean) / math.sqrt(variance) * weight)
            for feature, value, mean, variance, weight in zip(
                FEATURES, x, direct.means, direct.variances, direct.weights, strict=True
            )
            if variance
        ]
        parts.sort(key=lambda reason: (-abs(reason.log_odds), reason.feature))
        return tuple(parts[:most])


def _steps(horizon: int) -> tuple[int, tuple[float, ...], float]:
    """Return how a horizon is gone through week by week.

    Days until its last week begins; how far on the way there each week before that is; the share
    of a week that is left to it.
    """
    weeks = -(-horizon // WEEK)
    way = math.log(weeks)
    between = tuple(math.log1p(step) / way for step in range(weeks - 1))
    return (weeks - 1) * WEEK, between, horizon / WEEK - (weeks - 1)


def _asking(churn: Churn) -> Callable[[Rhythm, int], tuple[float, float, float, float | None]]:
    """Return what is asked with every event: one function that has everything at hand.

    It gives the log odds of each part, 0 for one that is missing, and the probability of a week.
    """
    horizon = churn.horizon
    direct = None if churn.direct is None else churn.direct.compiled()
    weekly = None if churn.weekly is None else churn.weekly.compiled()
    bgnbd = churn.bgnbd
    population = usual(churn.population)
    last, between, rest = _steps(horizon)

    def asked(rhythm: Rhythm, day: int) -> tuple[float, float, float, float | None]:
        of_direct = of_weekly = of_bgnbd = 0.0
        p_week = None
        if weekly is None:
            (x,) = rolled(rhythm, (day,), population)
        else:
            # The week that begins now and the last one of the horizon; between them log odds go
            # with the logarithm of time.
            x, ahead = rolled(rhythm, (day, day + last), population)
            week = weekly(x)
            p_week = sigmoid(week)
            end = weekly(ahead)
            if not -_CERTAIN < week < _CERTAIN:
                week = _CERTAIN if week > 0.0 else -_CERTAIN
            if not -_CERTAIN < end < _CERTAIN:
                end = _CERTAIN if end > 0.0 else -_CERTAIN
            silent = (1.0 / (1.0 + exp(-end))) ** rest
            slope = end - week
            for share in between:
                silent /= 1.0 + exp(-week - slope * share)
            of_weekly = log_odds(silent)
        if direct is not None:
            of_direct = direct(x + looks(rhythm, day, x))
        if bgnbd is not None:
            age = day - rhythm.first_day
            of_bgnbd = log_odds(bgnbd.p_no_order(rhythm.gaps, rhythm.span, age, horizon))
        return of_direct, of_weekly, of_bgnbd, p_week

    return asked
