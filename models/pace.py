"""Machines that know the member's own pace: activity that drops, an order that is late."""

import math
from functools import cache
from statistics import NormalDist

from models.logs import Due, Log
from models.rules import ActivityDrop, LateForMember
from models.times import DAY, HOUR

# Half-lives of the two sums whose ratio tells a drop: what the member does now, and what is usual.
SHORT = 7 * DAY
LONG = 60 * DAY
# So much activity at least before there is anything usual about it.
KNOWN_FROM = 5
_PARTS = 1000
_LOG_PARTS = 1_000_000

# Orders less than this apart are one.
SAME_ORDER = 12 * HOUR
# Gaps that the typical gap counts for, and the spread (of logarithms) that goes with it.
PRIOR_GAPS = 2
PRIOR_SPREAD = 0.6
# Below three orders (two gaps) nothing is the member's own.
OWN_FROM = 2
_LOG_LONGEST = math.log(3660 * DAY)


class Drop:
    """Activity over the last week or so beside that of the last months, both decaying.

    ``values``: the two sums in thousandths as of the newest event, whose instant is the first of
    ``times``; and how many events, as long as these are too few. Since when the ratio is below
    ``below``, if nothing else happens, follows from the sums, but not if it was so before the
    newest event: then it is the second of ``times``.
    """

    def __init__(self, below: float) -> None:
        self.longest = 0
        self._below = below

    def step(self, state: Log, at: int, _what: int) -> None:
        """Add an activity."""
        last = state.times[0] if state.times else at
        short, long, *few = state.values or (0, 0, 0)
        short = round(short * math.exp2((last - at) / SHORT)) + _PARTS
        long = round(long * math.exp2((last - at) / LONG)) + _PARTS
        count = few[0] + 1 if few else KNOWN_FROM
        times = [at]
        if count == KNOWN_FROM and short * LONG <= self._below * long * SHORT:
            since = self._since(state)
            if since:
                times.append(since)
        state.times = times
        state.values = [short, long, count] if count < KNOWN_FROM else [short, long]

    def _since(self, state: Log) -> int:
        """Return since when the ratio is below, ahead or behind; 0 when nothing is usual yet."""
        if len(state.values) != 2:
            return 0
        if len(state.times) == 2:
            return state.times[1]
        # Both decay by themselves, so the ratio falls by half in a known time.
        halves = math.log2(max(_ratio(*state.values) / self._below, 1.0))
        return state.times[0] + math.ceil(halves / (1 / SHORT - 1 / LONG))

    def absorb(self, state: Log, at: int, what: int) -> None:
        """Leave a late activity: it hardly weighs any more."""

    def dues(self, when: ActivityDrop, state: Log) -> tuple[Due, ...]:
        """Return when it will have lasted."""
        since = self._since(state)
        return (Due(since + when.lasting, since),) if since else ()

    def is_over(self, state: Log, at: int) -> bool:
        """Tell whether it is so long ago that nothing is usual any more."""
        return not state.times or at - max(state.times[0], self._since(state)) > 3 * LONG


def _ratio(short: int, long: int) -> float:
    return short * LONG / (long * SHORT)


class Gaps:
    """The gaps between orders: ``times`` is the last order, ``values`` count, mean and squares.

    The mean and the sum of squared deviations are of the logarithms of the gaps, in millionths,
    rounded with each order.
    """

    longest = 0

    def step(self, state: Log, at: int, _what: int) -> None:
        """Add an order."""
        if not state.times:
            state.times, state.values = [at], [0, 0, 0]
            return
        gap = at - state.times[0]
        state.times = [at]
        if gap < SAME_ORDER:
            return
        count, mean, squares = state.values
        value = math.log(gap) * _LOG_PARTS
        delta = value - mean
        new_mean = mean + delta / (count + 1)
        squares += round(delta * (value - new_mean) / _LOG_PARTS)
        state.values = [count + 1, round(new_mean), squares]

    def absorb(self, state: Log, at: int, what: int) -> None:
        """Leave a late order: the gaps around it are told no longer."""

    def dues(self, when: LateForMember, state: Log) -> tuple[Due, ...]:
        """Return when the time since the last order is more than the percentile."""
        if not state.times:
            return ()
        last = state.times[0]
        return (Due(last + usual_gap(when, state.values), last),)

    def is_over(self, state: Log, _at: int) -> bool:
        """Tell whether there has been no order."""
        return not state.times


def usual_gap(when: LateForMember, values: list[int]) -> int:
    """Return the percentile of the member's gaps, in milliseconds: log-normal, with a prior."""
    count = values[0]
    if count < OWN_FROM:
        return when.fixed
    prior = math.log(when.typical)
    mean, squares = values[1] / _LOG_PARTS, values[2] / _LOG_PARTS
    weight = PRIOR_GAPS + count
    centre = (PRIOR_GAPS * prior + count * mean) / weight
    apart = PRIOR_GAPS * count / weight * (mean - prior) ** 2
    spread = math.sqrt((PRIOR_GAPS * PRIOR_SPREAD**2 + squares + apart) / weight)
    return max(1, round(math.exp(min(centre + _quantile(when.percentile) * spread, _LOG_LONGEST))))


@cache
def _quantile(percentile: float) -> float:
    return NormalDist().inv_cdf(percentile / 100)
