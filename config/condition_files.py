"""State conditions: the ``if`` of a rule file."""

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from config.calendar_files import Festivals
from config.reading import MAX_DURATION, Field, Section, suggestion
from config.vocabulary import EVENT_TYPES
from models.conditions import LONGEST_SPEND
from models.member import KEPT_ORDERS
from models.rfm import BEST
from models.rules import (
    BirthdayKnown,
    EventsAre,
    If,
    IsIn,
    LastWas,
    Marked,
    OrdersAre,
    PointsAre,
    Predicted,
    PredictedIs,
    Reachable,
    Requirement,
    RfmIs,
    SpendIs,
)
from models.stages import BANDS, STAGES
from models.times import format_duration

_MOST_EVER = 1_000_000
_SCORES: tuple[Literal["recency", "frequency", "monetary"], ...] = (
    "recency",
    "frequency",
    "monetary",
)
_MOST_AMOUNT = 1e9


class Known(msgspec.Struct, frozen=True):
    """Names that other files define: a condition may name no others."""

    tags: tuple[str, ...] = ()
    segments: tuple[str, ...] = ()
    # Of a segment: itself, and those that stand below it.
    below: tuple[str, ...] = ()
    festivals: Festivals = {}


NOTHING_KNOWN = Known()


def read_if(field: Field, known: Known) -> If:
    """Return what must hold of the member."""
    section = field.section((*_REQUIREMENTS, "any", "not"))
    if section.is_empty():
        field.wrong(f"needs at least one of {', '.join((*_REQUIREMENTS, 'any', 'not'))}")
    return If(
        _requirements(section, known),
        section.optional("any", lambda one: _groups(one, known), ()),
        section.optional("not", lambda one: _groups(one, known), ()),
    )


def _groups(field: Field, known: Known) -> tuple[tuple[Requirement, ...], ...]:
    if field.node is not None and not isinstance(field.node.value, list):
        field.must("a list of mappings of conditions")
        return ()
    groups = []
    for one in field.each():
        section = one.section(_REQUIREMENTS)
        if section.is_empty():
            one.wrong(f"needs at least one of {', '.join(_REQUIREMENTS)}")
        groups.append(_requirements(section, known))
    return tuple(groups)


def _requirements(section: Section, known: Known) -> tuple[Requirement, ...]:
    found: list[Requirement] = []
    for name in _REQUIREMENTS:
        if name in section:
            found += _READERS[name](section.require(name), known)
    return tuple(found)


def _bounds(
    field: Field, number: Callable[[Section, str], float | None], longest: int = 0
) -> tuple[float | None, float | None, int | None]:
    """Return at_least, below and (if a window of up to ``longest`` is allowed) within."""
    section = field.section(("at_least", "below", *(("within",) if longest else ())))
    low, high = number(section, "at_least"), number(section, "below")
    if not section.broken and "at_least" not in section and "below" not in section:
        field.wrong("needs at_least, below or both")
    if low is not None and high is not None and low >= high:
        field.wrong(f"at_least {low:g} and below {high:g} leave nothing")
    within = section.optional("within", Field.duration, None) if longest else None
    if within is not None and within > longest:
        known = format_duration(longest)
        section.require("within").wrong(f"is known for {known}, or ever (without within)")
    return low, high, within


def _whole(most: int) -> Callable[[Section, str], int | None]:
    return lambda section, key: section.optional(key, lambda one: one.integer(1, most), None)


def _amount(section: Section, key: str) -> float | None:
    return section.optional(key, lambda one: one.number(-_MOST_AMOUNT, _MOST_AMOUNT), None)


def _orders_in(section: Section, key: str) -> int | None:
    return _whole(KEPT_ORDERS if "within" in section else _MOST_EVER)(section, key)


def _int(number: float | None) -> int | None:
    return None if number is None else int(number)


def _orders(field: Field, _: Known) -> list[Requirement]:
    low, high, within = _bounds(field, _orders_in, MAX_DURATION)
    return [OrdersAre(_int(low), _int(high), within)]


def _spend(field: Field, _: Known) -> list[Requirement]:
    return [SpendIs(*_bounds(field, _amount, LONGEST_SPEND))]


def _counts(field: Field, _: Known) -> list[Requirement]:
    section = field.section(EVENT_TYPES)
    if section.is_empty():
        field.wrong("needs an event type and how often, such as {review: {at_least: 1}}")
    found: list[Requirement] = []
    for name in EVENT_TYPES:
        if name in section:
            low, high, _within = _bounds(section.require(name), _whole(_MOST_EVER))
            found.append(EventsAre(name, _int(low), _int(high)))
    return found


def _points(field: Field, _: Known) -> list[Requirement]:
    low, high, _within = _bounds(field, _amount)
    return [PointsAre(low, high)]


def _last(field: Field, what: str) -> list[Requirement]:
    section = field.section(("older_than", "newer_than"))
    older = section.optional("older_than", Field.duration, None)
    newer = section.optional("newer_than", Field.duration, None)
    if not section.broken and older is None and newer is None:
        field.wrong("needs older_than, newer_than or both")
    if older is not None and newer is not None and older >= newer:
        field.wrong("older_than must be the shorter: older than 30d and newer than 90d")
    return [LastWas(what, older, newer)]  # type: ignore[arg-type]


def _one_of(what: str, allowed: Sequence[str] | None) -> "Reader":
    def read(field: Field, _: Known) -> list[Requirement]:
        words = tuple(
            one.choice(allowed) if allowed is not None else one.line(256) for one in field.each()
        )
        return [IsIn(what, words)]  # type: ignore[arg-type]

    return read


def _reachable(field: Field, _: Known) -> list[Requirement]:
    return [Reachable(tuple(one.name() for one in field.each()))]


def _birthday(field: Field, _: Known) -> list[Requirement]:
    return [BirthdayKnown(field.choice(("known", "unknown")) == "known")]


def _rfm(field: Field, _: Known) -> list[Requirement]:
    section = field.section(_SCORES)
    if section.is_empty():
        field.wrong(f"needs at least one of {', '.join(_SCORES)}")
    found: list[Requirement] = []
    for what in _SCORES:
        if what in section:
            low, high, _within = _bounds(section.require(what), _whole(BEST))
            found.append(RfmIs(what, _int(low), _int(high)))
    return found


def _predicted(what: Predicted) -> "Reader":
    most = 1.0 if what == "churn" else _MOST_AMOUNT

    def bound(section: Section, key: str) -> float | None:
        return section.optional(key, lambda one: one.number(0.0, most), None)

    def read(field: Field, _: Known) -> list[Requirement]:
        low, high, _within = _bounds(field, bound)
        return [PredictedIs(what, low, high)]

    return read


def _marked(kind: str) -> "Reader":
    def read(field: Field, known: Known) -> list[Requirement]:
        names = known.tags if kind == "tag" else known.segments
        found = [read_name(one, kind, names, known.below) for one in field.each()]
        return [Marked(kind, tuple(found))]  # type: ignore[arg-type]

    return read


def read_name(field: Field, kind: str, names: Sequence[str], below: Sequence[str] = ()) -> str:
    """Return the name of a tag or a segment, which must be one of ``names``."""
    name = field.name()
    if kind == "segment" and name in below:
        field.wrong(f"{name!r} does not stand above: a segment may only name those that do")
    elif name and name not in names:
        allowed = f"defined: {', '.join(names)}" if names else f"no {kind} is defined"
        field.wrong(f"{name!r} is no {kind}; {allowed}{suggestion(name, names)}")
    return name


Reader = Callable[[Field, Known], list[Requirement]]
_READERS: dict[str, Reader] = {
    "stage": _one_of("stage", STAGES),
    "band": _one_of("band", BANDS),
    "tier": _one_of("tier", None),
    "points": _points,
    "orders": _orders,
    "spend": _spend,
    "counts": _counts,
    "last_order": lambda field, _: _last(field, "last_order"),
    "last_activity": lambda field, _: _last(field, "last_activity"),
    "registered": lambda field, _: _last(field, "registered"),
    "source": _one_of("source", None),
    "campaign": _one_of("campaign", None),
    "reachable": _reachable,
    "birthday": _birthday,
    "rfm": _rfm,
    "churn": _predicted("churn"),
    "expected_value": _predicted("expected_value"),
    "tags": _marked("tag"),
    "segments": _marked("segment"),
}
_REQUIREMENTS = tuple(_READERS)
