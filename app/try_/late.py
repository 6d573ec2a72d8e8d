"""Who is late by the own rhythm, as the shipped rule tells it (``late_for_member``)."""

from collections.abc import Iterable, Mapping

import msgspec

from app.try_.orders import Order
from models.logs import Log
from models.pace import OWN_FROM, Gaps, usual_gap
from models.rules import LateForMember, Rule
from models.times import DAY

_MIDDLE = 50


class Late(msgspec.Struct, frozen=True):
    """A member whose next order is late.

    ``usual``: the middle of the member's gaps in days, ``silent``: days since the day of the last
    order; ``late``: milliseconds since the gap has been longer than nearly all of the member's.
    """

    member: str
    usual: float
    silent: int
    late: int


def measure_of(rules: Iterable[Rule]) -> LateForMember | None:
    """Return by what measure the rules call a member late; None when none does."""
    return next((rule.when for rule in rules if isinstance(rule.when, LateForMember)), None)


def late_of(member: str, orders: Iterable[Order], when: LateForMember, now: int) -> Late | None:
    """Return how late a member is; None for who is not, or has too few orders for a rhythm."""
    log = _rhythm(orders)
    if log is None:
        return None
    last = log.times[0]
    late = now - last - usual_gap(when, log.values)
    if late <= 0:
        return None
    return Late(member, _middle(log, when), now // DAY - last // DAY, late)


def usual_gaps(by_member: Mapping[str, Iterable[Order]], when: LateForMember) -> dict[str, float]:
    """Return the middle of the gaps, in days, of the members who have a rhythm."""
    logs = {member: _rhythm(orders) for member, orders in by_member.items()}
    return {member: _middle(log, when) for member, log in logs.items() if log is not None}


def _rhythm(orders: Iterable[Order]) -> Log | None:
    gaps, log = Gaps(), Log()
    for order in orders:
        if order.cents >= 0:
            gaps.step(log, order.at, 0)
    return log if log.times and log.values[0] >= OWN_FROM else None


def _middle(log: Log, when: LateForMember) -> float:
    return usual_gap(msgspec.structs.replace(when, percentile=_MIDDLE), log.values) / DAY
