"""Days that lie far from all others: a clock that stood at 1970, a year that was mistyped."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise

# So many quiet days part a stray from the rest.
QUIET = 90
# Of so many days with something one may be a stray, of fewer none.
OF = 100
_LEAST = 20
# A clock or a field that was never set says one of the first days of 1970.
_NEVER_SET = 2
_YEAR = 366


def main_days(days: Sequence[int], today: int | None = None) -> range:
    """Return the days from the first to the last that is no stray.

    ``days``: the day of each event (or order), ascending. Strays are few (one in a hundred, or a
    single one of twenty), and a quiet quarter lies between them and what happened otherwise. The
    first two days of 1970 and what lies more than a year after ``today`` are strays however many,
    unless they are most of all.
    """
    days = _possible(days, today)
    if not days:
        return range(0)
    first, last = days[0], days[-1]
    few = max(1, len(days) // OF) if len(days) >= _LEAST else 0
    known = sorted(set(days))
    for before, after in pairwise(known):
        if after - before > QUIET:
            if bisect_right(days, before) <= few:
                first = after
            if len(days) - bisect_left(days, after) <= few:
                last = min(last, before)
    return range(first, last + 1)


def _possible(days: Sequence[int], today: int | None) -> Sequence[int]:
    end = len(days) if today is None else bisect_right(days, today + _YEAR)
    begin = bisect_left(days, _NEVER_SET)
    if len(days) - end > len(days) // 2:
        end = len(days)
    if begin > len(days) // 2:
        begin = 0
    return days[begin:end]
