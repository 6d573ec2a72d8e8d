"""The lifecycle as a table: (stage, what is true) -> stage, with hysteresis and minimum dwell.

The table is data (``config/stages.yaml``); this module says what its conditions mean and when each
could next become true by the mere passing of time, so that a stage ends to the millisecond.
"""

from collections.abc import Sequence
from typing import TypeAlias

import msgspec

STAGES: tuple[str, ...] = ("lead", "new", "silent", "active", "loyal", "dormant", "lost")
BANDS: tuple[str, ...] = ("light", "medium", "high")
LEAD = 0
NEVER = 1 << 62


class OrdersWithin(msgspec.Struct, frozen=True):
    """Orders counted over the last ``within`` milliseconds (exact; None: ever)."""

    count: int
    within: int | None = None


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """What must hold for a transition: all that are given. Durations in milliseconds."""

    registered: bool | None = None
    # Orders at least / below a count.
    at_least: OrdersWithin | None = None
    below: OrdersWithin | None = None
    # No visit, view, search, cart or order for at least this long.
    quiet: int | None = None
    # Something of that since the stage was entered.
    returned: bool | None = None
    # In the stage (or band) for at least this long: the minimum dwell.
    dwell: int | None = None


class StageRow(msgspec.Struct, frozen=True):
    """One row: members in one of ``before`` go to ``after`` when ``when`` holds."""

    before: tuple[str, ...]
    after: str
    when: Conditions
    why: str


class BandRow(msgspec.Struct, frozen=True):
    """One row of the bands of ``active``, read like a stage row."""

    before: tuple[str, ...]
    after: str
    when: Conditions
    why: str


class StageTable(msgspec.Struct, frozen=True):
    """The rows in order; the first that holds wins."""

    stages: tuple[StageRow, ...]
    bands: tuple[BandRow, ...] = ()


class Facts(msgspec.Struct):
    """What the conditions look at; instants in milliseconds, ``orders`` oldest first, bounded.

    ``order_count`` is the whole count, also of orders that the bounded list has forgotten.
    """

    registered_at: int
    order_count: int
    orders: Sequence[int]
    last_activity: int
    # The newest activity was folded just now, and the stage had been entered before.
    came_back: bool = False


Row: TypeAlias = StageRow | BandRow


def _orders_in(facts: Facts, wanted: OrdersWithin, at: int) -> bool:
    if wanted.within is None:
        return facts.order_count >= wanted.count
    # The count-th newest order decides.
    if len(facts.orders) < wanted.count:
        return False
    return facts.orders[-wanted.count] > at - wanted.within


def _returned(facts: Facts, since: int) -> bool:
    return facts.came_back or facts.last_activity > since


def holds(conditions: Conditions, facts: Facts, since: int, at: int) -> bool:
    """Tell whether every given condition is true at the instant ``at``."""
    c = conditions
    return not (
        (c.registered is not None and (facts.registered_at > 0) is not c.registered)
        or (c.at_least is not None and not _orders_in(facts, c.at_least, at))
        or (c.below is not None and _orders_in(facts, c.below, at))
        or (c.quiet is not None and at - max(facts.last_activity, facts.registered_at) < c.quiet)
        or (c.returned is not None and _returned(facts, since) is not c.returned)
        or (c.dwell is not None and at - since < c.dwell)
    )


def possible_at(conditions: Conditions, facts: Facts, since: int) -> int:
    """Return the earliest instant at which only time is needed to make ``conditions`` true.

    ``NEVER`` when something other than time is missing. The instant may lie in the past.
    """
    c = conditions
    if (c.registered is not None and (facts.registered_at > 0) is not c.registered) or (
        c.returned is not None and _returned(facts, since) is not c.returned
    ):
        return NEVER
    due = since
    if c.at_least is not None:
        wanted = c.at_least
        if wanted.within is None:
            if facts.order_count < wanted.count:
                return NEVER
        elif len(facts.orders) < wanted.count:
            return NEVER
        # An order can only leave a window: at_least never becomes true by waiting.
    if c.below is not None:
        if c.below.within is None:
            if facts.order_count >= c.below.count:
                return NEVER
        elif len(facts.orders) >= c.below.count:
            due = max(due, facts.orders[-c.below.count] + c.below.within)
    if c.quiet is not None:
        due = max(due, max(facts.last_activity, facts.registered_at) + c.quiet)
    if c.dwell is not None:
        due = max(due, since + c.dwell)
    if c.at_least is not None and not _orders_in(facts, c.at_least, due):
        return NEVER
    return due
