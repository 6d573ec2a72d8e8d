"""Days that lie far from all others: a clock that stood at 1970, a year that was mistyped."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise

# So many quiet days part a stray from the rest.
QUIET = 90
# Of so many days with something one may be a stray, of fewer none.
OF = 100
_LEAST = 20


def main_days(days: Sequence[int]) -> range:
    """Return the days from the first to the last that is no stray.

    ``days``: the day of each event (or order), ascending. Strays are few (one in a hundred, or a
    single one of twenty), and a quiet quarter lies between them and what happened otherwise.
    """
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
