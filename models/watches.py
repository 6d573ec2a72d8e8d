"""Watches: the conditions that keep a log per key, compiled, and what each event is to them.

Rules whose conditions differ only in what is due, not in what has to be remembered, share one.
"""

from collections.abc import Callable, Iterable
from typing import TypeAlias

from models.counting import KEPT_AMOUNTS, Word, level_of, parts, window_of
from models.events import Event, PointsChanged, Purchased, TierChanged
from models.facts import ACTIVITY, cents
from models.ids import name_hash
from models.logs import Machine
from models.matching import Match, keys_of, matcher, values_of
from models.pace import Drop, Gaps
from models.recalled import source_of
from models.rules import (
    PREDICTED,
    SCORED,
    STANDING,
    ActivityDrop,
    Condition,
    Count,
    Crosses,
    LateForMember,
    Pattern,
    Rule,
    Sequence,
    Series,
    Sum,
    TierEntered,
    When,
)
from models.sequences import AFTER, UNTIL, Chain, Steps

ANY_KEY = ""
# Keys of one watch and member; beyond, the one that has been still for longest is forgotten.
KEPT_KEYS = 64
# ... and fewer when each may grow large: so many numbers in all.
KEPT_NUMBERS = 256

# What an event is to a machine; None: nothing.
Value: TypeAlias = Callable[[Event], int | None]
Reading: TypeAlias = tuple[tuple[Condition, ...], str | None, Value]


def _always(what: int) -> Value:
    return lambda _: what


def _amount(field: str) -> Value:
    def amount(event: Event) -> int | None:
        found = values_of(event, field)
        return parts(found[0]) if found else None

    return amount


def _balance(event: Event) -> int:
    assert isinstance(event, PointsChanged)
    return parts(event.balance)


def _total(event: Event) -> int:
    assert isinstance(event, Purchased)
    return cents(event.total)


def _tier(event: Event) -> int:
    assert isinstance(event, TierChanged)
    return name_hash(event.tier)


def readings_of(when: When) -> dict[str, list[Reading]]:
    """Return how each event type is read that a condition is about."""
    found: dict[str, list[Reading]] = {}

    def read(patterns: Iterable[Pattern], same: str | None, value: Value) -> None:
        for pattern in patterns:
            found.setdefault(pattern.type, []).append((pattern.where, same, value))

    match when:
        case Count(of=of, same=same):
            read(of, same, _always(1))
        case Sum(of=of, same=same, field=field):
            read(of, same, _amount(field))
        case Sequence(steps=steps, same=same):
            for number, step in enumerate(steps):
                read(step, same, _always(1 << number))
        case Series(after=after, until=until, same=same):
            read(after, same, _always(AFTER))
            for pattern in until:
                read((pattern,), pattern.same, _always(UNTIL))
        case Crosses(measure="churn" | "expected_value"):
            found[SCORED] = []  # no event says it
        case Crosses(measure=measure):
            kind = "points" if measure == "points" else "purchase"
            value = {"points": _balance, "spend": _total, "orders": _always(1)}[measure]
            read((Pattern(kind),), None, value)
        case TierEntered():
            read((Pattern("tier"),), None, _tier)
        case ActivityDrop():
            read(map(Pattern, sorted(ACTIVITY)), None, _always(1))
        case LateForMember(of=of):
            read(of, None, _always(UNTIL))
        case _:
            pass
    return found


class Reader:
    """What the events of one type are to one watch, by key."""

    def __init__(self, readings: list[Reading]) -> None:
        self._readings: list[tuple[Match | None, str | None, Value]] = [
            (matcher(where), same, value) for where, same, value in readings
        ]

    def reads(self, event: Event) -> dict[str, int]:
        """Return what the event is; the empty key stands for every key."""
        found: dict[str, int] = {}
        for match, same, value in self._readings:
            if match is None or match(event):
                what = value(event)
                if what is not None:
                    for key in keys_of(event, same):
                        found[key] = found.get(key, 0) | what
        return found


class Watch:
    """One machine and the rules that it serves."""

    def __init__(self, when: When) -> None:
        self.when = when
        self.machine, shared = _machine(when)
        # Where what is settled of its logs is read, so that they do not repeat it.
        self.source = source_of(when, self.machine)
        self.same: str | None = getattr(when, "same", None)
        self.id = name_hash(repr((type(when).__name__, shared)))
        self.rules: list[Rule] = []
        self.whens: tuple[When, ...] = ()
        # Time alone may make it due.
        self.timed = False
        # Some events end it, and settle what is open of it.
        self.ends = isinstance(when, Series | LateForMember)
        # Time alone makes it due: no event does so at its own instant.
        self.waits = isinstance(when, Series | LateForMember | ActivityDrop)
        # So long after the first instant that its log tells of it is due, at the earliest.
        self.lasting = 0
        # What completes it is named by its own id.
        self.named = isinstance(when, Count | Sum | Sequence)
        self.kept_keys = KEPT_KEYS

    def add(self, rule: Rule) -> None:
        """Let a rule use the watch."""
        when = rule.when
        self.rules.append(rule)
        self.whens = (*self.whens, when)
        if isinstance(when, ActivityDrop):
            self.lasting = min(self.lasting or when.lasting, when.lasting)
        if isinstance(when, Series):
            self.machine.longest = max(self.machine.longest, when.steps[-1])
        self.timed = self.timed or not (
            self.named
            or isinstance(when, TierEntered)
            or (isinstance(when, Crosses) and when.upward and not when.dwell)
            or (isinstance(when, Crosses) and when.measure in PREDICTED and not when.dwell)
        )
        size = _size_of(when)
        self.kept_keys = min(KEPT_KEYS, max(8, KEPT_NUMBERS // size))


def _size_of(when: When) -> int:
    """Return how many numbers the log of one key may hold."""
    match when:
        case Count(at_least=count):
            return count
        case Sum():
            return 2 * KEPT_AMOUNTS
        case Sequence(steps=steps):
            return len(steps)
        case _:
            return 2


def _machine(when: When) -> tuple[Machine, object]:
    """Return the machine of a condition, and what all conditions that share it have in common."""
    match when:
        case Count() | Sum():
            return window_of(when), when
        case Sequence(steps=steps, within=within):
            return Chain(len(steps), within), when
        case Series(after=after, until=until, same=same):
            return Steps(), (after, until, same)
        case Crosses(measure=measure, level=level, back=back, upward=upward, within=within):
            machine = level_of(when) if measure in STANDING else window_of(when)
            return machine, (measure, level, back, upward, within)
        case TierEntered():
            return Word(), ()
        case ActivityDrop(below=below):
            return Drop(below), below
        case LateForMember(of=of):
            return Gaps(), of
        case _:
            raise TypeError(f"{type(when).__name__} keeps no log")
