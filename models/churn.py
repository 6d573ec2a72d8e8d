"""The churn probability: no purchase day within the horizon after the end of a day.

Three opinions, blended in log odds. The *direct* twin answers the question itself, from labels as
old as the horizon. The *weekly* twin answers it for 7 days, from labels of a week ago, and is
rolled forward over weeks in which the member does nothing; so it notices soon when members change.
BG/NBD knows the shape of such data before anything was learned. How much each counts is in the
parameters: the trainer says what has earned what.
"""

import math
from typing import NamedTuple

import msgspec

from models.btyd import BgNbd
from models.features import FEATURES, Population, features
from models.logistic import Logistic, Logit, log_odds, sigmoid
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
        self._population = churn.population
        self._direct = None if churn.direct is None else churn.direct.compiled()
        self._weekly = None if churn.weekly is None else churn.weekly.compiled()
        self._last, self._between, self._rest = _steps(churn.horizon)
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
        x = features(rhythm, day, self._population)
        by_direct, by_weekly, by_bgnbd = self._counts
        total = 0.0
        p_week = None
        if self._direct is not None:
            total = self._direct(x) * by_direct
        if self._weekly is not None:
            week = self._weekly(x)
            p_week = sigmoid(week)
            if by_weekly:
                total += self._rolled(week, self._weekly, rhythm, day) * by_weekly
        if by_bgnbd:
            total += self._by_bgnbd(rhythm, day) * by_bgnbd
        return Score(sigmoid(total) if self._known else self._population.base, p_week)

    def opinions(self, rhythm: Rhythm, day: int) -> Opinions:
        """Return what each part says, also one that does not count."""
        x = features(rhythm, day, self._population)
        weekly = self._weekly
        return Opinions(
            None if self._direct is None else self._direct(x),
            None if weekly is None else self._rolled(weekly(x), weekly, rhythm, day),
            None if self.churn.bgnbd is None else self._by_bgnbd(rhythm, day),
        )

    def _by_bgnbd(self, rhythm: Rhythm, day: int) -> float:
        bgnbd = self.churn.bgnbd
        assert bgnbd is not None
        age = day - rhythm.first_day
        return log_odds(bgnbd.p_no_order(rhythm.gaps, rhythm.span, age, self.churn.horizon))

    def _rolled(self, week: float, weekly: Logit, rhythm: Rhythm, day: int) -> float:
        """Return the log odds of staying away for the horizon, week after week.

        Asked of the first and the last week; between them log odds go with the logarithm of time.
        """
        last = self._last
        end = weekly(features(rhythm, day + last, self._population)) if last else week
        week = min(max(week, -_CERTAIN), _CERTAIN)
        end = min(max(end, -_CERTAIN), _CERTAIN)
        silent = (1.0 / (1.0 + math.exp(-end))) ** self._rest
        for share in self._between:
            silent /= 1.0 + math.exp(-week - (end - week) * share)
        return log_odds(silent)

    def reasons(self, rhythm: Rhythm, day: int, most: int = 3) -> tuple[Reason, ...]:
        """Return the features that moved the direct twin's score most, the strongest first.

        Measured from the mean of the base; empty while nothing is learned.
        """
        direct = self.churn.direct
        if direct is None:
            return ()
        x = features(rhythm, day, self._population)
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
