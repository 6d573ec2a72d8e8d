"""State conditions: what a rule's ``if`` asks of the member at the instant a candidate is due."""

from collections.abc import Sequence

from models.calendar import birthday_of
from models.events import CODE_OF
from models.facts import CELL, CELLS, refuses
from models.member import Member
from models.rules import (
    BirthdayKnown,
    EventsAre,
    IsIn,
    LastWas,
    Marked,
    OrdersAre,
    PointsAre,
    Reachable,
    Requirement,
    Rule,
    SpendIs,
)
from models.stages import BANDS, STAGES
from models.transitions import ACTIVE

# The ring of 28-day cells, beyond which spend in a window is not known.
LONGEST_SPEND = CELLS * CELL


def first_unmet(member: Member, rule: Rule, at: int) -> Requirement | str | None:
    """Return what of the rule's ``if`` does not hold at ``at``: None when all of it does.

    The first requirement that fails; ``any`` or ``not`` when it was one of those lists.
    """
    wanted = rule.condition
    if wanted is None:
        return None
    for requirement in wanted.tests:
        if not holds(member, rule, requirement, at):
            return requirement
    if wanted.any_of and not any(_all(member, rule, group, at) for group in wanted.any_of):
        return "any"
    if any(_all(member, rule, group, at) for group in wanted.none_of):
        return "not"
    return None


def _all(member: Member, rule: Rule, group: Sequence[Requirement], at: int) -> bool:
    return all(holds(member, rule, requirement, at) for requirement in group)


def holds(member: Member, rule: Rule, wanted: Requirement, at: int) -> bool:
    """Tell whether one requirement holds at ``at``; what happened at ``at`` itself counts."""
    match wanted:
        case OrdersAre(at_least=low, below=high, within=within):
            return _between(_orders(member, within, at), low, high)
        case SpendIs(at_least=low, below=high, within=within):
            return _between(_spend(member, within, at) / 100, low, high)
        case EventsAre(of=kind, at_least=low, below=high):
            return _between(member.counts.get(CODE_OF[kind], 0), low, high)
        case PointsAre(at_least=low, below=high):
            points = member.loyalty.points if member.loyalty is not None else None
            return points is not None and _between(points, low, high)
        case IsIn(what=what, words=words):
            return _word(member, what) in words
        case LastWas(what=what, older_than=older, newer_than=newer):
            last = _last(member, what)
            return (
                last > 0
                and (older is None or at - last >= older)
                and (newer is None or at - last < newer)
            )
        case Reachable(channels=channels):
            return any(_reaches(member, rule, channel) for channel in channels)
        case BirthdayKnown(known=known):
            said, _ = member.profile.get("birthday", (None, 0))
            return (birthday_of(said) is not None) is known
        case Marked():
            return False


def _between(number: float, low: float | None, high: float | None) -> bool:
    return (low is None or number >= low) and (high is None or number < high)


def _orders(member: Member, within: int | None, at: int) -> int:
    if within is None:
        return member.order_count - sum(order > at for order in member.orders)
    return sum(at - within < order <= at for order in member.orders)


def _spend(member: Member, within: int | None, at: int) -> int:
    if within is None:
        return member.spend
    oldest = (at - within) // CELL
    ring = member.ring
    return sum(ring[i + 2] for i in range(0, len(ring), 3) if oldest <= ring[i] <= at // CELL)


def _word(member: Member, what: str) -> str | None:
    match what:
        case "stage":
            return STAGES[member.stage]
        case "band":
            return BANDS[member.band] if member.stage == ACTIVE else None
        case "tier":
            return member.loyalty.tier if member.loyalty is not None else None
    source, campaign = member.acquired or (None, None)
    return source if what == "source" else campaign


def _last(member: Member, what: str) -> int:
    match what:
        case "last_order":
            return member.orders[-1] if member.orders else 0
        case "last_activity":
            return member.last_activity
    return member.registered_at


def _reaches(member: Member, rule: Rule, channel: str) -> bool:
    said = member.profile.get("channels")
    listed = said is None or not isinstance(said[0], tuple | list) or channel in said[0]
    return listed and not refuses(member, rule.purpose, channel)


# What a late order changes in the past: these are told exactly as of any instant.
_BY_ORDERS = (OrdersAre, LastWas)


def is_disproved(member: Member, rule: Rule, event_type: str, due: int) -> bool:
    """Tell whether a late order shows that the rule's ``if`` did not hold when it was due."""
    wanted = rule.condition
    if wanted is None or event_type != "purchase":
        return False
    return any(
        isinstance(requirement, _BY_ORDERS) and not holds(member, rule, requirement, due)
        for requirement in wanted.tests
    )
