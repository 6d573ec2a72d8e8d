"""When a member is expected to buy next: a median, an interval, and what is usual for the member.

The logarithm of a member's gaps is taken as normal, with the member's own mean and deviation shrunk
to the base (``models.features.log_gap``). What is told is the gap that remains: given the silence
so far, and given that the member buys within ``WITHIN`` days at all. How likely that is, is the
churn model's to say; a date is worth telling when it is more likely than not (``worth_telling``).

The normal is only nearly right, so the interval is not from its 10 to its 90 % but between the
levels that held eight of ten orders lately: ``models.next_order_training`` learns them.
"""

import math
from statistics import NormalDist
from typing import NamedTuple

import msgspec

from models.features import Population, log_gap
from models.rhythm import Rhythm

WITHIN = 60
_ROOT2 = math.sqrt(2.0)
_NORMAL = NormalDist()
_Z90 = _NORMAL.inv_cdf(0.9)
# Below, the tail that remains is no number to divide by: the days within are then alike.
_NO_TAIL = 1e-290


class Gap(NamedTuple):
    """The log-normal gap of a member (mean, deviation of log(1 + days)) after a silence in days."""

    mean: float
    deviation: float
    silence: int

    def _tail(self, days: float) -> float:
        z = (math.log1p(days) - self.mean) / self.deviation
        return 0.5 * math.erfc(z / _ROOT2)

    def share(self, days: int) -> float:
        """Return the probability of an order within ``days`` given one within ``WITHIN``."""
        if days >= WITHIN:
            return 1.0
        now = self._tail(self.silence)
        within = now - self._tail(self.silence + WITHIN)
        if within <= _NO_TAIL:
            return days / WITHIN
        return (now - self._tail(self.silence + days)) / within

    def quantile(self, level: float) -> float:
        """Return the days from now within which ``share`` is ``level``, above 0."""
        now = self._tail(self.silence)
        within = now - self._tail(self.silence + WITHIN)
        tail = now - level * within
        if within <= _NO_TAIL or not 0.0 < tail < 1.0:
            return level * WITHIN
        z = -_NORMAL.inv_cdf(tail)
        days = math.exp(self.mean + self.deviation * z) - 1.0 - self.silence
        return min(max(days, 0.0), float(WITHIN))


class NextOrder(NamedTuple):
    """The days from the end of the asked day to the next order: half are sooner than ``median``.

    ``low`` and ``high`` are whole days (1: the next day) and hold eight of ten, both included.
    """

    median: float
    low: int
    high: int


class Usual(NamedTuple):
    """A member's gap between orders in days: half are shorter than ``median``, 90 % than ``late``.

    A member is late for its own rhythm who has been silent for longer than ``late``.
    """

    median: float
    late: float


class NextOrderModel(msgspec.Struct, frozen=True):
    """The levels of the member's own distribution between which eight of ten orders fell."""

    low: float = 0.1
    high: float = 0.9

    def next_order(self, rhythm: Rhythm, day: int, population: Population) -> NextOrder:
        """Return when the next order is expected, given silence until the end of ``day``."""
        gap = gap_of(rhythm, day, population)
        low = max(math.ceil(gap.quantile(self.low)), 1)
        return NextOrder(gap.quantile(0.5), low, max(math.ceil(gap.quantile(self.high)), low))


class NextOrderCheckpoint(msgspec.Struct, frozen=True):
    """The trainer between two days: all but the open questions, which are said again."""

    closed: int | None
    model: NextOrderModel
    reached: tuple[float, ...]
    passed: tuple[float, ...]


def gap_of(rhythm: Rhythm, day: int, population: Population) -> Gap:
    """Return the gap that a member is in at the end of ``day``."""
    mean, deviation = log_gap(rhythm, population)
    return Gap(mean, deviation, max(day - rhythm.last_day, 0))


def usual(rhythm: Rhythm, population: Population) -> Usual:
    """Return what gaps are usual for the member."""
    mean, deviation = log_gap(rhythm, population)
    return Usual(math.expm1(mean), math.expm1(mean + deviation * _Z90))


def worth_telling(churn: float) -> bool:
    """Return whether a date says something: an order in the horizon is more likely than not."""
    return churn < 0.5
