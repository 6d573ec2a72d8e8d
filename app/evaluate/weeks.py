"""What a model that is trained once a week may know, and what it is then asked."""

from dataclasses import dataclass

import numpy as np

from app.evaluate.metrics import Ints

WEEK = 7


@dataclass(frozen=True, slots=True)
class Week:
    """One week's rows, as slices of rows in order of their day.

    ``known``: asked on day t with t + horizon <= begins, so that what came true is known.
    ``asked``: asked on the seven days from ``begins`` on.
    """

    begins: int
    known: slice
    asked: slice


def weeks_of(day: Ints, first: int, last: int, horizon: int) -> list[Week]:
    """Return the weeks that begin on the days first, first + 7, ... up to last.

    ``day``: the day of each row, ascending.
    """
    starts = np.arange(first, last + 1, WEEK)
    known = np.searchsorted(day, starts - horizon, side="right")
    begin = np.searchsorted(day, starts, side="left")
    end = np.searchsorted(day, starts + WEEK, side="left")
    return [
        Week(int(at), slice(0, int(k)), slice(int(a), int(z)))
        for at, k, a, z in zip(starts, known, begin, end, strict=True)
    ]
