"""The rule book: rules compiled once into a dispatch by event type, stage and absence track.

Absences with the same two sides share a *track*, whatever their ``within``: ``no_order_30d``,
``no_order_60d`` and ``no_order_90d`` need one mark in the member's row, not three.
"""

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from models.events import CLASS_OF, CODE_OF, Event, Line, type_of
from models.ids import name_hash
from models.rules import (
    DERIVED_FACTS,
    Absence,
    Condition,
    EventHappens,
    Limits,
    Pattern,
    Policy,
    Rule,
    StageEntered,
)
from models.stages import STAGES, StageTable

_LINE_FIELDS = frozenset(Line.__struct_fields__)
Match: TypeAlias = Callable[[Event], bool]


def values_of(event: Event, field: str) -> tuple[Any, ...]:
    """Return the values of a field of an event; of an order's lines when the order has none."""
    if field in type(event).__struct_fields__:
        value = getattr(event, field)
        return () if value is None else (value,)
    if field in _LINE_FIELDS and "items" in type(event).__struct_fields__:
        lines: tuple[Line, ...] = event.items  # type: ignore[attr-defined]
        return tuple(dict.fromkeys(v for line in lines if (v := getattr(line, field)) is not None))
    return ()


def keys_of(event: Event, same: str | None) -> tuple[str, ...]:
    """Return the keys that an event speaks of under ``same``; one empty key without ``same``."""
    return ("",) if same is None else tuple(key for key in values_of(event, same) if key)


def _holds(condition: Condition, event: Event) -> bool:
    values = values_of(event, condition.field)
    if condition.op == "in":
        return any(value in condition.values for value in values)
    bound = condition.values[0]
    if condition.op == "at_least":
        return any(value >= bound for value in values)
    return any(value < bound for value in values)


def matcher(where: tuple[Condition, ...]) -> Match | None:
    """Return a function that tells whether an event satisfies ``where``; None when all do."""
    if not where:
        return None
    return lambda event: all(_holds(condition, event) for condition in where)


class Side:
    """What one event type means to one track: does it arm, does it disarm, and under what key."""

    def __init__(self, patterns: Iterable[Pattern], keyed: str | None) -> None:
        self._tests = [
            (matcher(p.where), keyed if p.same or keyed is None else None) for p in patterns
        ]
        self._keyed = keyed

    def keys(self, event: Event) -> tuple[str, ...]:
        """Return the keys of an event that matches; the empty key stands for every key."""
        found: dict[str, None] = {}
        for match, same in self._tests:
            if match is None or match(event):
                found.update(dict.fromkeys(keys_of(event, same)))
        return tuple(found)


class Track:
    """The shared bookkeeping of the absences that have the same two sides."""

    def __init__(self, absence: Absence, lateness: int) -> None:
        self.name = repr((absence.after, absence.of, absence.same))
        self.id = name_hash(self.name)
        self.same = absence.same
        self.rules: list[tuple[int, Rule]] = []
        self.after_types = tuple(dict.fromkeys(p.type for p in absence.after))
        self.of_types = tuple(dict.fromkeys(p.type for p in absence.of))
        self.withins: tuple[int, ...] = ()
        # Some deadline may pass while an event may still come in order: more than the last mark
        # must be kept to put it into its place.
        self.short = False
        # One key, and what ends it is told by its type alone: nothing is kept but the armed mark,
        # because the member remembers when each such type was seen last.
        self.plain = absence.same is None and not any(pattern.where for pattern in absence.of)
        # Whatever ends a deadline starts the next: the armed mark tells when that was.
        self.renews = set(self.of_types) <= set(self.after_types) and not any(
            pattern.where for pattern in absence.after
        )
        self._lateness = lateness

    def add(self, within: int, rule: Rule) -> None:
        """Let a rule use the track."""
        self.rules.append((within, rule))
        self.rules.sort(key=lambda entry: (entry[0], entry[1].name))
        self.withins = tuple(dict.fromkeys(w for w, _ in self.rules))
        self.short = self.withins[0] < self._lateness
        self.plain = self.plain and not self.short


class RuleBook:
    """Everything that the business chose, compiled. Immutable after construction."""

    def __init__(
        self, rules: Iterable[Rule], stages: StageTable, policy: Policy, limits: Limits
    ) -> None:
        self.rules: dict[str, Rule] = {rule.name: rule for rule in rules}
        self.rule_ids: dict[str, int] = {name: name_hash(name) for name in self.rules}
        self.reentry_of: dict[int, Rule] = {
            self.rule_ids[name]: rule for name, rule in self.rules.items()
        }
        self.policy = policy
        self.limits = limits
        self.stage_rows = tuple(
            tuple(row for row in stages.stages if name in row.before) for name in STAGES
        )
        self.bands = stages.bands
        self.tracks: dict[int, Track] = {}
        self.track_of_rule: dict[str, Track] = {}
        # Event type -> tracks that it may arm or disarm.
        self.sides: dict[str, list[tuple[Track, Side | None, Side | None]]] = {}
        self.on_event: dict[str, list[tuple[Match | None, Rule]]] = {}
        self.on_stage: dict[str, list[Rule]] = {}
        # Event type -> rule -> matches: what cancels the rule's open triggers beside ``of``.
        self.overtaken: dict[str, dict[str, list[Match | None]]] = {}
        for rule in sorted(self.rules.values(), key=lambda rule: rule.name):
            self._compile(rule)
        self._build_sides()
        # Facts whose last place each member remembers, and (by code) for how long beyond the
        # allowed lateness: as long as an earlier event, were it to arrive now, would still have a
        # deadline ahead of it.
        self.remembered_for: dict[int, int] = {}
        for track in self.tracks.values():
            if track.plain and not track.renews:
                for name in track.of_types:
                    longest = max(track.withins[-1], self.remembered_for.get(FACT_CODE[name], 0))
                    self.remembered_for[FACT_CODE[name]] = longest
        self.digest = self._digest(stages)

    def _compile(self, rule: Rule) -> None:
        match rule.when:
            case EventHappens(pattern=pattern):
                self.on_event.setdefault(pattern.type, []).append((matcher(pattern.where), rule))
            case StageEntered(stage=stage):
                self.on_stage.setdefault(stage, []).append(rule)
            case Absence() as absence:
                track = Track(absence, self.limits.allowed_lateness)
                track = self.tracks.setdefault(track.id, track)
                track.add(absence.within, rule)
                self.track_of_rule[rule.name] = track
        for pattern in rule.overtaken_by:
            by_rule = self.overtaken.setdefault(pattern.type, {})
            by_rule.setdefault(rule.name, []).append(matcher(pattern.where))

    def _build_sides(self) -> None:
        for track in self.tracks.values():
            absence = track.rules[0][1].when
            assert isinstance(absence, Absence)
            for name in dict.fromkeys((*track.after_types, *track.of_types)):
                after = [p for p in absence.after if p.type == name]
                of = [p for p in absence.of if p.type == name]
                arms = Side([_keyed(p, track.same) for p in after], track.same) if after else None
                disarms = Side(of, track.same) if of else None
                self.sides.setdefault(name, []).append((track, arms, disarms))

    def _digest(self, stages: StageTable) -> int:
        """Return 32 bits that change whenever a deadline could be another one."""
        tracks = sorted((track.name, track.withins) for track in self.tracks.values())
        return name_hash(repr((tracks, stages, self.limits.allowed_lateness)))


def _keyed(pattern: Pattern, same: str | None) -> Pattern:
    """The arming side is always keyed when the absence is."""
    return Pattern(pattern.type, pattern.where, same)


# Codes of facts in marks and rows: event types from 0, derived facts from 120 on.
FACT_CODE: dict[str, int] = CODE_OF | {name: 120 + n for n, name in enumerate(DERIVED_FACTS)}
EVENT_TYPES: tuple[str, ...] = tuple(type_of(cls) for cls in CLASS_OF.values())
assert tuple(CODE_OF) == EVENT_TYPES
