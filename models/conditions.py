"""State conditions: what a rule's ``if`` asks of the member at the instant a candidate is due."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Protocol, TypeAlias

from models.calendar import birthday_of
from models.events import CODE_OF
from models.facts import CELLS, leaves_at, refuses, totals_within, turn_of
from models.ids import name_hash
from models.member import CELL, Member
from models.predicted import predicted
from models.rfm import ALL_SCORES
from models.rules import (
    BirthdayKnown,
    EventsAre,
    If,
    IsIn,
    LastWas,
    Marked,
    OrdersAre,
    PointsAre,
    PredictedIs,
    Reachable,
    Requirement,
    RfmIs,
    Rule,
    SpendIs,
)
from models.stages import BANDS, NEVER, STAGES
from models.times import MAX_INSTANT

# The ring of 28-day cells, beyond which spend in a window is not known.
LONGEST_SPEND = CELLS * CELL


ACTIVE = STAGES.index("active")

Test: TypeAlias = Callable[[Member, int], bool]
Turn: TypeAlias = Callable[[Member, int], int]


class Asks(Protocol):
    """A rule or a segment: a condition, and the purpose whose consent counts."""

    @property
    def condition(self) -> If | None:
        """What must hold of the member."""

    @property
    def purpose(self) -> str:
        """``marketing`` or ``service``."""


def first_unmet(member: Member, rule: Asks, at: int) -> Requirement | str | None:
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


def _all(member: Member, rule: Asks, group: Sequence[Requirement], at: int) -> bool:
    return all(holds(member, rule, requirement, at) for requirement in group)


def holds(member: Member, rule: Asks, wanted: Requirement, at: int) -> bool:
    """Tell whether one requirement holds at ``at``; what happened at ``at`` itself counts."""
    return _test_of(wanted, rule.purpose)(member, at)


def test_of(wanted: If, purpose: str) -> Test:
    """Return a function that tells whether a condition holds of a member at an instant."""
    tests = _tests_of(wanted.tests, purpose)
    any_of = [_tests_of(group, purpose) for group in wanted.any_of]
    none_of = [_tests_of(group, purpose) for group in wanted.none_of]
    if len(tests) == 1 and not any_of and not none_of:
        return tests[0]

    def test(member: Member, at: int) -> bool:
        return (
            _all_hold(tests, member, at)
            and (not any_of or _one_holds(any_of, member, at))
            and not (none_of and _one_holds(none_of, member, at))
        )

    return test


def _one_holds(groups: Sequence[Sequence[Test]], member: Member, at: int) -> bool:
    for group in groups:  # noqa: SIM110  (this runs for every event)
        if _all_hold(group, member, at):
            return True
    return False


def _tests_of(wanted: Sequence[Requirement], purpose: str) -> list[Test]:
    return [_test_of(requirement, purpose) for requirement in wanted]


def _all_hold(tests: Sequence[Test], member: Member, at: int) -> bool:
    for test in tests:  # noqa: SIM110  (this runs for every event)
        if not test(member, at):
            return False
    return True


@cache
def _test_of(wanted: Requirement, purpose: str) -> Test:
    match wanted:
        case OrdersAre(at_least=low, below=high, within=within):
            return lambda member, at: _between(_orders(member, within, at), low, high)
        case SpendIs(at_least=low, below=high, within=within):
            return lambda member, at: _between(_spend(member, within, at) / 100, low, high)
        case EventsAre(of=kind, at_least=low, below=high):
            code = CODE_OF[kind]
            return lambda member, _: _between(member.counts.get(code, 0), low, high)
        case PointsAre(at_least=low, below=high):
            return lambda member, _: _points_are(member, low, high)
        case IsIn(what=what, words=words):
            return lambda member, _: _word(member, what) in words
        case LastWas(what=what, older_than=older, newer_than=newer):
            return _last_was(_LAST[what], older or 0, newer or MAX_INSTANT)
        case Reachable(channels=channels):
            return lambda member, _: any(_reaches(member, purpose, name) for name in channels)
        case BirthdayKnown(known=known):
            return lambda member, _: _knows_birthday(member) is known
        case Marked(kind="tag", names=names):
            return lambda member, at: any(_is_tagged(member, name, at) for name in names)
        case Marked(names=names):
            ids = frozenset(map(name_hash, names))
            return lambda member, _: (
                member.labels is not None and not ids.isdisjoint(member.labels.segments)
            )
        case RfmIs(what=what, at_least=low, below=high):
            wanted_scores = frozenset(
                packed
                for packed, scores in ALL_SCORES.items()
                if _between(getattr(scores, what), low, high)
            )
            return lambda member, _: (
                member.labels is not None and member.labels.rfm in wanted_scores
            )
        case PredictedIs() as prediction:
            return lambda member, _: _is_predicted(member, prediction)


def turn_of_test(wanted: Requirement) -> Turn | None:
    """Return a function that gives the first instant after another at which time may turn it.

    That is when time alone may change whether it holds of a member; ``NEVER`` for none. None when
    time alone changes nothing; tags, segments and RFM have deadlines of their own.
    """
    match wanted:
        case OrdersAre(within=int(within)):
            return lambda member, after: _first(member.orders, within, after)
        case SpendIs(within=int(within)):
            return lambda member, after: _first_to_leave(member, within, after)
        case LastWas(what=what, older_than=older, newer_than=newer):
            last = _LAST[what]
            spans = sorted(span for span in (older, newer) if span is not None)
            return lambda member, after: _first(spans, last(member), after)
    return None


def _first(instants: Sequence[int], later: int, after: int) -> int:
    """Return the first of the instants, in order and so much later, that follows ``after``."""
    for instant in instants:
        if instant + later > after:
            return instant + later
    return NEVER


def _first_to_leave(member: Member, within: int, after: int) -> int:
    """Return when the first cell of the ring leaves a window after ``after``."""
    turn = turn_of(member.id)
    leave = (leaves_at(cell, within, turn) for cell in member.ring[::3])
    return min((instant for instant in leave if instant > after), default=NEVER)


def _last_was(last: Callable[[Member], int], older: int, newer: int) -> Test:
    return lambda member, at: (was := last(member)) > 0 and older <= at - was < newer


def _points_are(member: Member, low: float | None, high: float | None) -> bool:
    points = member.loyalty.points if member.loyalty is not None else None
    return points is not None and _between(points, low, high)


def _knows_birthday(member: Member) -> bool:
    said, _ = member.profile.get("birthday", (None, 0))
    return birthday_of(said) is not None


def _is_predicted(member: Member, wanted: PredictedIs) -> bool:
    number = predicted(member, wanted.what)
    return number is not None and _between(number, wanted.at_least, wanted.below)


def _is_tagged(member: Member, name: str, at: int) -> bool:
    tag = member.labels.tags.get(name) if member.labels is not None else None
    return tag is not None and (tag.until == 0 or at < tag.until)


def _between(number: float, low: float | None, high: float | None) -> bool:
    return (low is None or number >= low) and (high is None or number < high)


def _orders(member: Member, within: int | None, at: int) -> int:
    if within is None:
        if not member.orders or member.orders[-1] <= at:
            return member.order_count
        return member.order_count - sum(order > at for order in member.orders)
    return sum(at - within < order <= at for order in member.orders)


def _spend(member: Member, within: int | None, at: int) -> int:
    if within is None:
        return member.spend
    return totals_within(member.ring, within, turn_of(member.id), at)[1]


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


_LAST: dict[str, Callable[[Member], int]] = {
    "last_order": lambda member: member.orders[-1] if member.orders else 0,
    "last_activity": lambda member: member.last_activity,
    "registered": lambda member: member.registered_at,
}


def _reaches(member: Member, purpose: str, channel: str) -> bool:
    said = member.profile.get("channels")
    listed = said is None or not isinstance(said[0], tuple | list) or channel in said[0]
    return listed and not refuses(member, purpose, channel)


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
