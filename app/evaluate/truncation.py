"""No question may know what happens after its day: the log is cut there and gone through again."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from app.evaluate.asked import Rows
from app.evaluate.reading import Log


@dataclass(frozen=True, slots=True)
class Truncation:
    """How many questions up to a day were asked again, and how many turned out differently."""

    day: int
    rows: int
    different: int


def truncation(log: Log, rows: Rows, day: int, again: Callable[[Log], Rows]) -> Truncation:
    """Return what changes when the log ends with ``day`` (counted from its first).

    ``again`` asks as it was done for ``rows``, with a new learner. A question differs when any of
    its numbers does: state, features, or what was said; bit for bit.
    """
    part = again(log.until(log.first + day))
    count = int(np.searchsorted(rows.day, day, side="right"))
    if len(part.day) != count:
        return Truncation(day, count, max(count, len(part.day)))
    whole, cut = (
        np.column_stack((each.member, each.day, each.spent, each.said, each.seen))[:count]
        for each in (rows, part)
    )
    return Truncation(day, count, int((whole != cut).any(axis=1).sum()))
