"""The rule book: rules compiled once into a dispatch by event type, stage and absence track.

Absences with the same two sides share a *track*, whatever their ``within``: ``no_order_30d``,
``no_order_60d`` and ``no_order_90d`` need one mark in the member's row, not three.
"""

from collections.abc import Iterable

from models.audiences import NOBODY, Audiences, compiled
from models.awaiting import Occasions, Types, awaited, occasions
from models.calendar import Calendar
from models.chinese import NOTHING, Chinese
from models.diary import Diary
from models.events import Event
from models.ids import name_hash
from models.matching import Dispatch, Match, keys_of, matcher
from models.policy import Policy
from models.predictions import Predictions
from models.rules import (
    FACT_CODE,
    PREDICTED,
    Absence,
    BandEntered,
    Crosses,
    EventHappens,
    IsIn,
    Limits,
    Pattern,
    Predicted,
    Rule,
    SegmentEntered,
    SegmentLeft,
    Series,
    StageEntered,
    StageLeft,
)
from models.stages import NEVER, STAGES, StageTable
from models.watches import Reader, Watch, readings_of

_ANY_KEY = ("",)


class Side:
    """What one event type means to one track: does it arm, does it disarm, and under what key."""

    def __init__(self, patterns: Iterable[Pattern], keyed: str | None) -> None:
        self._tests = [
            (matcher(p.where), keyed if p.same or keyed is None else None) for p in patterns
        ]
        self._every = keyed is None and any(match is None for match, _ in self._tests)

    def keys(self, event: Event) -> tuple[str, ...]:
        """Return the keys of an event that matches; the empty key stands for every key."""
        if self._every:
            return _ANY_KEY
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
        # Fact -> whether it may arm, and disarm.
        self.sides: dict[str, tuple[Side | None, Side | None]] = {}
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
        self,
        rules: Iterable[Rule],
        stages: StageTable,
        policy: Policy,
        limits: Limits,
        audiences: Audiences = NOBODY,
        predictions: Predictions | None = None,
        chinese: Chinese = NOTHING,
    ) -> None:
        """Compile; without ``predictions`` nothing is scored, asked or learned."""
        self.rules: dict[str, Rule] = {rule.name: rule for rule in rules}
        self.rule_ids: dict[str, int] = {name: name_hash(name) for name in self.rules}
        self.reentry_of: dict[int, Rule] = {
            self.rule_ids[name]: rule for name, rule in self.rules.items()
        }
        # For how long it matters when a rule raised, in milliseconds.
        self.reentry_lasts: dict[int, int] = {
            rule_id: _reentry_lasts(rule) for rule_id, rule in self.reentry_of.items()
        }
        self.policy = policy
        self.limits = limits
        # How long a message counts, in milliseconds.
        self.counted_for = policy.memory
        self.stage_rows = tuple(
            tuple(row for row in stages.stages if name in row.before) for name in STAGES
        )
        self.bands = stages.bands
        self.audiences = audiences
        self.predictions = predictions
        # Words for people: nothing that is decided depends on them.
        self.chinese = chinese
        self.segments = compiled(audiences.segments)
        self.segment_names = {one.id: one.segment.name for one in self.segments}
        self.tags = {tag.name: tag for tag in audiences.tags}
        self.tracks: dict[int, Track] = {}
        self.track_of_rule: dict[str, Track] = {}
        # Event type -> tracks that it may arm or disarm.
        self.sides: Dispatch[tuple[Track, Side | None, Side | None]] = Dispatch()
        self.on_event: Dispatch[tuple[Match | None, Rule]] = Dispatch()
        self.on_stage: dict[str, list[Rule]] = {}
        self.on_stage_left: dict[str, list[Rule]] = {}
        self.on_segment: dict[str, list[Rule]] = {}
        self.on_segment_left: dict[str, list[Rule]] = {}
        self.on_band: dict[str, list[Rule]] = {}
        self.watches: dict[int, Watch] = {}
        self.watch_of_rule: dict[str, Watch] = {}
        # Event type -> what it is to the watches that it may concern.
        self.watch_sides: Dispatch[tuple[Watch, Reader]] = Dispatch()
        # Event type -> rule -> matches: what cancels the rule's open triggers beside ``of``.
        self.overtaken: dict[str, dict[str, list[Match | None]]] = {}
        for rule in sorted(self.rules.values(), key=lambda rule: rule.name):
            self._compile(rule)
        # Those that a score concerns: what they read of it, and of members in which stages.
        self.on_score: tuple[tuple[Watch, Predicted, frozenset[int]], ...] = ()
        # Those of them that may be due for a member of whom no log tells it.
        self.recalling: tuple[Watch, ...] = ()
        self._build_sides()
        self.diary = Diary(
            sorted(self.rules.values(), key=lambda rule: rule.name), limits.time_zone
        )
        # Facts whose last place each member remembers, and (by code) for how long beyond the
        # allowed lateness: as long as an earlier event, were it to arrive now, would still have a
        # deadline ahead of it.
        self.remembered_for: dict[int, int] = {}
        for track in self.tracks.values():
            if track.plain and not track.renews:
                for name in track.of_types:
                    longest = max(track.withins[-1], self.remembered_for.get(FACT_CODE[name], 0))
                    self.remembered_for[FACT_CODE[name]] = longest
        # Rule -> what it concludes from the absence of, and what its triggers follow from.
        segments = {segment.name: segment.condition for segment in audiences.segments}
        self.awaited: dict[str, Types] = {
            name: awaited(rule, stages, segments) for name, rule in self.rules.items()
        }
        self.occasions: dict[str, Occasions] = {
            name: occasions(rule, stages, segments) for name, rule in self.rules.items()
        }
        self.digest = self._digest(stages)

    def _compile(self, rule: Rule) -> None:
        match rule.when:
            case EventHappens(pattern=pattern):
                entry = matcher(pattern.where), rule
                self.on_event.add(pattern.type, (pattern.where,), entry)
            case StageEntered(stage=stage):
                self.on_stage.setdefault(stage, []).append(rule)
            case StageLeft(stage=stage):
                self.on_stage_left.setdefault(stage, []).append(rule)
            case SegmentEntered(segment=segment):
                self.on_segment.setdefault(segment, []).append(rule)
            case SegmentLeft(segment=segment):
                self.on_segment_left.setdefault(segment, []).append(rule)
            case BandEntered(band=band):
                self.on_band.setdefault(band, []).append(rule)
            case Absence() as absence:
                track = Track(absence, self.limits.allowed_lateness)
                track = self.tracks.setdefault(track.id, track)
                track.add(absence.within, rule)
                self.track_of_rule[rule.name] = track
            case Calendar():
                pass  # kept in the diary
            case _:
                watch = Watch(rule.when)
                watch = self.watches.setdefault(watch.id, watch)
                watch.add(rule)
                self.watch_of_rule[rule.name] = watch
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
                track.sides[name] = arms, disarms
                self.sides.add(name, (p.where for p in (*after, *of)), (track, arms, disarms))
        for watch in self.watches.values():
            for name, readings in readings_of(watch.when).items():
                wheres = (where for where, _, _ in readings)
                self.watch_sides.add(name, wheres, (watch, Reader(readings)))
        self.on_score = tuple(
            (watch, watch.when.measure, _stages_of(watch.rules))
            for watch in self.watches.values()
            if isinstance(watch.when, Crosses) and watch.when.measure in PREDICTED
        )
        self.recalling = tuple(w for w in self.watches.values() if w.timed and w.source is not None)

    def _digest(self, stages: StageTable) -> int:
        """Return 32 bits that change whenever a deadline could be another one."""
        tracks = sorted((track.name, track.withins) for track in self.tracks.values())
        watches = sorted(repr(watch.whens) for watch in self.watches.values() if watch.timed)
        dates = self.diary.describe()
        audiences = self.audiences
        wanted = [(one.name, one.condition) for one in audiences.segments], audiences.tables
        lateness = self.limits.allowed_lateness
        parts: tuple[object, ...] = (tracks, watches, dates, stages, wanted, lateness)
        if self.predictions is not None:
            # Members are looked at every week then.
            parts = (*parts, "predicted")
        return name_hash(repr(parts))


def _reentry_lasts(rule: Rule) -> int:
    if rule.reentry.mode == "once":
        return NEVER
    # Of a series it counts to when the run began, which the last step looks back to.
    return rule.reentry.every + (max(rule.when.steps) if isinstance(rule.when, Series) else 0)


def _stages_of(rules: Iterable[Rule]) -> frozenset[int]:
    """Return the stages, by number, of members whom one of the rules may be about."""
    found: set[str] = set()
    for rule in rules:
        tests = rule.condition.tests if rule.condition is not None else ()
        words = [test.words for test in tests if isinstance(test, IsIn) and test.what == "stage"]
        found |= set(STAGES).intersection(*words)
    return frozenset(map(STAGES.index, found))


def _keyed(pattern: Pattern, same: str | None) -> Pattern:
    """The arming side is always keyed when the absence is."""
    return Pattern(pattern.type, pattern.where, same)
