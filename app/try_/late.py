"""Who is late by the own rhythm, as the shipped rule tells it (``late_for_member``)."""

from collections.abc import Iterable

import msgspec

from app.try_.orders import Order
from models.logs import Log
from models.pace import OWN_FROM, Gaps, usual_gap
from models.rules import LateForMember, Rule

MIDDLE = 50


class Late(msgspec.Struct, frozen=True):
    """A member whose next order is late; all in milliseconds.

    ``usual``: the middle of the member's gaps; ``silent``: since the last order; ``late``: since
    the gap has been longer than nearly all of the member's gaps.
    """

    member: str
    usual: int
    silent: int
    late: int


def measure_of(rules: Iterable[Rule]) -> LateForMember | None:
    """Return by what measure the rules call a member late; None when none does."""
    return next((rule.when for rule in rules if isinstance(rule.when, LateForMember)), None)


def late_of(member: str, orders: Iterable[Order], when: LateForMember, now: int) -> Late | None:
    """Return how late a member is; None for who is not, or has too few orders for a rhythm."""
    gaps, log = Gaps(), Log()
    for order in orders:
        if order.cents >= 0:
            gaps.step(log, order.at, 0)
    if not log.times or log.values[0] < OWN_FROM:
        return None
    silent = now - log.times[0]
    late = silent - usual_gap(when, log.values)
    if late <= 0:
        return None
    middle = msgspec.structs.replace(when, percentile=MIDDLE)
    return Late(member, usual_gap(middle, log.values), silent, late)
