"""Does a table of stages come to rest? Tried (not proved) at the edges of all its bounds."""

from collections.abc import Iterator, Sequence
from itertools import product

from models.member import KEPT_ORDERS
from models.stages import Facts, OrdersWithin, Row, holds
from models.times import DAY

# The engine gives up on a member that changes stage more often than this at one instant.
MAX_STEPS = 8

_NOW = 100 * 366 * DAY


def find_loop(rows: Sequence[Row], names: Sequence[str]) -> tuple[str, ...] | None:
    """Return the names on the way of a member that would not come to rest; None when all do.

    Walks from every name with facts just inside and just outside of every bound in the rows.
    """
    for facts in _edges(rows):
        for start in names:
            # Long in the stage at first; later steps enter a stage at this very instant.
            name, since, way = start, 0, [start]
            while (after := _step(rows, facts, name, since)) is not None:
                name, since = after, _NOW
                way.append(name)
                if len(way) > MAX_STEPS:
                    return tuple(way)
    return None


def _step(rows: Sequence[Row], facts: Facts, name: str, since: int) -> str | None:
    for row in rows:
        if name in row.before and holds(row.when, facts, since, _NOW):
            return row.after
    return None


def _edges(rows: Sequence[Row]) -> Iterator[Facts]:
    bounds = [bound for row in rows for bound in (row.when.at_least, row.when.below) if bound]
    counts = sorted({count for bound in bounds for count in (bound.count - 1, bound.count)} | {0})
    quiets = sorted({row.when.quiet for row in rows if row.when.quiet is not None})
    ages = sorted({0} | {age for quiet in quiets for age in (quiet - 1, quiet)})
    for count, orders, age, registered in product(counts, _order_times(bounds), ages, (0, 1, _NOW)):
        activity = _NOW - age
        times = [time for time in orders if time <= activity][-count:] if count else []
        yield Facts(registered, max(count, len(times)), times, activity)


def _order_times(bounds: Sequence[OrdersWithin]) -> list[list[int]]:
    """Return full lists of order times, each crowded just inside or outside of one window."""
    windows = sorted({bound.within for bound in bounds if bound.within is not None})
    edges = [0] + [edge for window in windows for edge in (window - 1, window)]
    return [sorted([_NOW - edge] * KEPT_ORDERS) for edge in edges]
