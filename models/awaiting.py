"""What rules conclude from what does not happen, and what they can be said to follow from.

The first is what a silent feed makes doubtful; the second is what the number of a rule's triggers
can be measured against.
"""

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from models.audiences import requirements
from models.facts import ACTIVITY
from models.rules import (
    Absence,
    ActivityDrop,
    BandEntered,
    Count,
    Crosses,
    EventHappens,
    EventsAre,
    If,
    IsIn,
    LastWas,
    LateForMember,
    Marked,
    OrdersAre,
    Pattern,
    Requirement,
    RfmIs,
    Rule,
    SegmentEntered,
    SegmentLeft,
    Sequence,
    Series,
    SpendIs,
    StageEntered,
    StageLeft,
    Sum,
    TierEntered,
)
from models.stages import BANDS, STAGES, Conditions, Row, StageTable

Types: TypeAlias = frozenset[str]
Occasions: TypeAlias = tuple[tuple[Types, int], ...]

_NOBODY = If()
_ORDERS: Types = frozenset({"purchase"})
_SIGNS_OF_LIFE: Types = ACTIVITY | {"register"}
# What makes a derived fact.
_MADE_OF: dict[str, Types] = {"cart_emptied": frozenset({"purchase", "remove_from_cart"})}


def _types(patterns: Iterable[Pattern]) -> Types:
    empty: Types = frozenset()
    return empty.union(*(_MADE_OF.get(p.type, {p.type}) for p in patterns))


def awaited(rule: Rule, stages: StageTable, segments: Mapping[str, If]) -> Types:
    """Return the event types from whose absence a rule concludes something.

    ``segments`` are the conditions of all segments.
    """
    silence = _Silence(stages, segments)
    found: Types = _ORDERS if rule.unless is not None else frozenset()
    if rule.condition is not None:
        found |= silence.inside(rule.condition)
    match rule.when:
        case Absence(of=of) | LateForMember(of=of):
            return found | _types(of)
        case Series(until=until):
            return found | _types(until)
        case ActivityDrop():
            return found | ACTIVITY
        case Crosses(measure="orders" | "spend" | "expected_value", upward=False):
            return found | _ORDERS
        case Crosses(measure="churn", upward=True):
            return found | _ORDERS
        case StageEntered() | StageLeft() | BandEntered():
            # What an order brings about as well is no conclusion from silence.
            ways = [_missed_by_move(move) for move in _moves(rule.when, stages)]
            return found | _common(ways)
        case SegmentEntered(segment=name):
            return found | silence.inside(segments.get(name, _NOBODY))
        case SegmentLeft(segment=name):
            return found | silence.leaving(segments.get(name, _NOBODY))
        case _:
            return found


def _moves(when: StageEntered | StageLeft | BandEntered, stages: StageTable) -> list[Conditions]:
    match when:
        case StageEntered(stage=stage):
            return [row.when for row in stages.stages if row.after == stage]
        case StageLeft(stage=stage):
            return [row.when for row in stages.stages if stage in row.before]
        case BandEntered(band=band):
            return [row.when for row in stages.bands if row.after == band]


def _missed_by_move(move: Conditions) -> Types:
    missed: Types = ACTIVITY if move.quiet is not None else frozenset()
    return missed | _ORDERS if move.below is not None else missed


def _common(ways: list[Types]) -> Types:
    return ways[0].intersection(*ways) if ways else frozenset()


class _Silence:
    """What conditions conclude from silence, through the segments and stages that they name.

    A segment names only segments that are written before it, so this ends.
    """

    def __init__(self, stages: StageTable, segments: Mapping[str, If]) -> None:
        self._stages, self._segments = stages, segments

    def inside(self, wanted: If) -> Types:
        """Return the types of which more could make a condition false."""
        return self._missed((*wanted.tests, *_alternatives(wanted)), _refused(wanted))

    def outside(self, wanted: If) -> Types:
        """Return the types of which more could make a condition true."""
        return self._missed(_refused(wanted), (*wanted.tests, *_alternatives(wanted)))

    def _missed(self, true: Iterable[Requirement], false: Iterable[Requirement]) -> Types:
        missed: Types = frozenset()
        missed = missed.union(*(self._when_true(test) for test in true))
        return missed.union(*(self._when_false(test) for test in false))

    def leaving(self, wanted: If) -> Types:
        """Return the types from whose absence it is concluded that a condition ends to hold."""
        if wanted.any_of:
            return frozenset()
        ways = [self._when_ended(test) for test in wanted.tests]
        return _common([*ways, *map(self._when_true, _refused(wanted))])

    def _when_ended(self, test: Requirement) -> Types:
        if isinstance(test, Marked) and test.kind == "segment":
            return _common([self.leaving(one) for one in self._named(test)])
        return self._when_false(test)

    def _when_true(self, test: Requirement) -> Types:
        match test:
            case OrdersAre(below=below) | SpendIs(below=below) | RfmIs(below=below) if (
                below is not None
            ):
                return _ORDERS
            case EventsAre(of=of, below=below) if below is not None:
                return frozenset({of})
            case LastWas(what="last_order", older_than=older) if older is not None:
                return _ORDERS
            case LastWas(what="last_activity", older_than=older) if older is not None:
                return ACTIVITY
            case Marked(kind="segment"):
                return frozenset[str]().union(*map(self.inside, self._named(test)))
            case IsIn(what="stage", words=words):
                return _reached_by_silence(words, STAGES, self._stages.stages)
            case IsIn(what="band", words=words):
                return _reached_by_silence(words, BANDS, self._stages.bands)
            case _:
                return frozenset()

    def _when_false(self, test: Requirement) -> Types:
        match test:
            case OrdersAre(at_least=low) | SpendIs(at_least=low) | RfmIs(at_least=low) if (
                low is not None
            ):
                return _ORDERS
            case EventsAre(of=of, at_least=low) if low is not None:
                return frozenset({of})
            case LastWas(what="last_order", newer_than=newer) if newer is not None:
                return _ORDERS
            case LastWas(what="last_activity", newer_than=newer) if newer is not None:
                return ACTIVITY
            case Marked(kind="segment"):
                return frozenset[str]().union(*map(self.outside, self._named(test)))
            case IsIn(what="stage", words=words):
                others = tuple(stage for stage in STAGES if stage not in words)
                return _reached_by_silence(others, STAGES, self._stages.stages)
            case _:
                return frozenset()

    def _named(self, test: Marked) -> list[If]:
        return [self._segments.get(name, _NOBODY) for name in test.names]


def _alternatives(wanted: If) -> list[Requirement]:
    return [test for group in wanted.any_of for test in group]


def _refused(wanted: If) -> list[Requirement]:
    return [test for group in wanted.none_of for test in group]


def _reached_by_silence(
    words: tuple[str, ...], every: tuple[str, ...], rows: Iterable[Row]
) -> Types:
    """Return from the absence of what it is concluded that a member is in one of these stages."""
    if every[0] in words:  # where everybody begins
        return frozenset()
    inside = frozenset(words)
    moves = [row.when for row in rows if row.after in inside and not inside.issuperset(row.before)]
    return _common([_missed_by_move(move) for move in moves])


def occasions(rule: Rule, stages: StageTable, segments: Mapping[str, If]) -> Occasions:
    """Return the event types that a rule's triggers follow from, and how long after, in ms.

    Empty for what no event brings about: a festival is for everybody, and no accident.
    """
    match rule.when:
        case EventHappens(pattern=pattern):
            return ((_types((pattern,)), 0),)
        case Absence(after=after, within=within):
            return ((_types(after), within),)
        case Count(of=of) | Sum(of=of):
            return ((_types(of), 0),)
        case Sequence(steps=steps):
            return ((_types(steps[-1]), 0),)
        case Series(after=after, steps=instants):
            return tuple((_types(after), step) for step in instants)
        case Crosses(measure="points", dwell=dwell):
            return ((frozenset({"points"}), dwell),)
        case Crosses(upward=upward, within=within, dwell=dwell):
            return ((_ORDERS, dwell if upward else within + dwell),)
        case TierEntered():
            return ((frozenset({"tier"}), 0),)
        case ActivityDrop(lasting=lasting):
            return ((ACTIVITY, lasting),)
        case LateForMember(of=of, typical=typical):
            return ((_types(of), typical),)
        case StageEntered() | StageLeft() | BandEntered():
            # What an order brings about at once needs no year of history to be measured.
            ways = [_occasion_of(move) for move in _moves(rule.when, stages)]
            return tuple(sorted(ways, key=lambda way: way[1])[:1])
        case SegmentEntered(segment=name) | SegmentLeft(segment=name):
            return ((_SIGNS_OF_LIFE, _longest_age(segments.get(name, _NOBODY), segments)),)
        case _:
            return ()


def _longest_age(wanted: If, segments: Mapping[str, If]) -> int:
    ages = [0]
    for test in requirements(wanted):
        match test:
            case LastWas(older_than=int(older)):
                ages.append(older)
            case Marked(kind="segment", names=names):
                ages += [_longest_age(segments.get(name, _NOBODY), segments) for name in names]
    return max(ages)


def _occasion_of(move: Conditions) -> tuple[Types, int]:
    if move.quiet is not None:
        return _SIGNS_OF_LIFE, max(move.quiet, move.dwell or 0)
    if move.below is not None:
        return _ORDERS, max(move.below.within or 0, move.dwell or 0)
    return _SIGNS_OF_LIFE, move.dwell or 0
