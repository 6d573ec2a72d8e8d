"""What raises a rule: the ``when`` of a rule file, one reader for each kind."""

from collections.abc import Callable

from config.calendar_rules import read_calendar
from config.condition_files import Known, read_name
from config.patterns import read_patterns, require_field, section_patterns
from config.reading import MAX_DURATION, Field, Section
from config.vocabulary import fields_of
from models.conditions import LONGEST_SPEND
from models.member import CELL, KEPT_ORDERS
from models.rules import (
    PREDICTED,
    SAME_FIELDS,
    STANDING,
    Absence,
    ActivityDrop,
    BandEntered,
    Count,
    Crosses,
    EventHappens,
    LateForMember,
    Measure,
    OrdersAtLeast,
    Pattern,
    SegmentEntered,
    SegmentLeft,
    Sequence,
    Series,
    StageEntered,
    StageLeft,
    Sum,
    TierEntered,
    When,
)
from models.stages import BANDS, STAGES
from models.times import format_duration

# Marks of one key that a row has room for, and steps of one sequence or series.
MOST_COUNTED = 50
MOST_STEPS = 12
MOST_AMOUNT = 1e9

_MEASURES: tuple[Measure, ...] = ("points", "orders", "spend", *PREDICTED)


def read_when(field: Field, known: Known) -> tuple[When, OrdersAtLeast | None]:
    """Return the condition and its exception; a broken one reads as a placeholder."""
    kinds = (*KINDS, *NAMING)
    section = field.section((*kinds, "where", "unless"))
    unless = section.optional("unless", _unless, None)
    given = [kind for kind in kinds if kind in section]
    if len(given) != 1 and not section.broken:
        field.wrong(f"needs exactly one of {', '.join(kinds)}; has {' and '.join(given) or 'none'}")
    when: When = StageEntered(STAGES[0])
    if given and given[0] in NAMING:
        when = NAMING[given[0]](section.require(given[0]), known)
    elif given:
        when = KINDS[given[0]](section, section.require(given[0]))
    if "where" in section and "event" not in section:
        section.require("where").wrong("only goes with event; elsewhere it stands in the pattern")
    return when, unless


def _event(section: Section, field: Field) -> When:
    patterns = section_patterns(section)
    if len(patterns) > 1:
        field.must("one event type (a rule for each of several)")
    return EventHappens(patterns[0] if patterns else Pattern(""))


def _absence(_: Section, field: Field) -> When:
    section = field.section(("after", "of", "within"))
    after_field, of_field = section.require("after"), section.require("of")
    after = read_patterns(after_field)
    of = read_patterns(of_field, derived=True, same=True)
    same = _tied(after_field, after, of_field, of, "absence")
    return Absence(after, of, section.require("within").duration(), same)


def _tied(
    after_field: Field,
    after: tuple[Pattern, ...],
    of_field: Field,
    of: tuple[Pattern, ...],
    what: str,
) -> str | None:
    """Return the one field that ties the sides together, which both must have."""
    keys = sorted({pattern.same for pattern in of if pattern.same is not None})
    if len(keys) > 1:
        of_field.wrong(f"one {what} has one same; was {' and '.join(keys)}")
    if keys:
        require_field(after_field, keys[0], [pattern.type for pattern in after])
    return keys[0] if keys else None


def _count(_: Section, field: Field) -> When:
    section = field.section(("of", "at_least", "same", "within"))
    of = read_patterns(section.require("of"))
    at_least = section.require("at_least").integer(1, MOST_COUNTED)
    same = _same(section, [pattern.type for pattern in of])
    return Count(of, at_least, section.require("within").duration(), same)


def _sum(_: Section, field: Field) -> When:
    section = field.section(("of", "field", "at_least", "same", "within"))
    of = read_patterns(section.require("of"))
    name = _summed(section.require("field"), of)
    at_least = section.require("at_least").number(0.001, MOST_AMOUNT)
    same = _same(section, [pattern.type for pattern in of])
    return Sum(of, name, at_least, section.require("within").duration(), same)


def _summed(field: Field, of: tuple[Pattern, ...]) -> str:
    """Return the field of every type that is a number of the event's own, not of its lines."""
    common: dict[str, None] | None = None
    for pattern in of:
        numbers = {
            name: None
            for name, known in fields_of(pattern.type).items()
            if known.kind == "number" and not known.on_lines
        }
        common = numbers if common is None else {n: None for n in common if n in numbers}
    if not common:
        field.wrong("the events have no number in common that could be summed")
        return ""
    return field.choice(tuple(common))


def _sequence(_: Section, field: Field) -> When:
    section = field.section(("steps", "same", "within"))
    written = section.require("steps")
    if written.node is not None and not isinstance(written.node.value, list):
        written.must("a list of patterns, one for each step")
        return Sequence((), 1)
    steps = tuple(read_patterns(step) for step in written.each())
    if not 2 <= len(steps) <= MOST_STEPS:
        written.wrong(f"needs from 2 to {MOST_STEPS} steps, has {len(steps)}")
    same = _same(section, [pattern.type for step in steps for pattern in step])
    return Sequence(steps, section.require("within").duration(), same)


def _series(_: Section, field: Field) -> When:
    section = field.section(("after", "steps", "until"))
    after_field, until_field = section.require("after"), section.require("until")
    after = read_patterns(after_field)
    until = read_patterns(until_field, derived=True, same=True)
    same = _tied(after_field, after, until_field, until, "series")
    written = section.require("steps")
    steps = tuple(step.duration() for step in written.each())
    if list(steps) != sorted(set(steps)):
        written.wrong("each step must be later than the one before")
    if len(steps) > MOST_STEPS:
        written.wrong(f"has {len(steps)} steps, at most {MOST_STEPS} are allowed")
    return Series(after, until, steps or (1,), same)


def _crosses(_: Section, field: Field) -> When:
    known = ("number", "at_least", "back_below", "below", "back_at_least", "within", "dwell")
    section = field.section(known)
    measure = section.require("number").choice(_MEASURES)
    dwell = section.optional("dwell", Field.duration, 0)
    within = section.optional("within", Field.duration, 0)
    upward = "at_least" in section
    if upward is ("below" in section) and not section.broken:
        field.wrong("needs at_least (on the way up) or below (on the way down), not both")

    def number(one: Field) -> float:
        if measure == "orders":
            return one.integer(1, MOST_COUNTED)
        return one.number(0.001, 0.999 if measure == "churn" else MOST_AMOUNT)

    level = section.optional("at_least" if upward else "below", number, 1.0)
    back_key, other = ("back_below", "back_at_least") if upward else ("back_at_least", "back_below")
    back = section.optional(back_key, number, level)
    if other in section:
        section.require(other).wrong(f"goes the other way: {back_key} goes with this direction")
    elif (back > level) if upward else (back < level):
        section.require(back_key).wrong(f"{back:g} lies beyond {level:g}: nothing would come back")
    if measure in STANDING and within:
        section.require("within").wrong(f"{measure} has no window: it is what was said last")
    if measure not in STANDING and not within:
        section.require("within", f"is missing: {measure} are those of the last so many days")
    if measure == "spend" and (within % CELL or within > LONGEST_SPEND):
        section.require("within").must(
            f"a multiple of {format_duration(CELL)} up to {format_duration(LONGEST_SPEND)}, as "
            "spend is kept in cells (sum knows any window)"
        )
    if dwell and measure not in STANDING and not upward:
        section.require("dwell").wrong("what falls below by time alone does not come back by it")
    return Crosses(measure, level, back, upward, within, dwell)


def _activity_drop(_: Section, field: Field) -> When:
    section = field.section(("below", "for"))
    return ActivityDrop(
        section.require("below").number(0.01, 0.99), section.require("for").duration()
    )


def _late_for_member(_: Section, field: Field) -> When:
    section = field.section(("of", "percentile", "typical", "fixed"))
    of = section.optional("of", read_patterns, (Pattern("purchase"),))
    return LateForMember(
        of,
        section.require("percentile").number(50, 99.9),
        section.require(
            "typical", "is missing: the usual time between two, of everybody"
        ).duration(),
        section.require("fixed", "is missing: how long, below three").duration(),
    )


def _same(section: Section, types: list[str]) -> str | None:
    def read(field: Field) -> str:
        name = field.choice(SAME_FIELDS)
        require_field(field, name, types)
        return name

    return section.optional("same", read, None)


def _unless(field: Field) -> OrdersAtLeast:
    orders = field.section(("orders",)).require("orders").section(("at_least", "within"))
    return OrdersAtLeast(
        orders.require("at_least").integer(1, KEPT_ORDERS),
        orders.require("within", f"is missing (ever: {format_duration(MAX_DURATION)})").duration(),
    )


KINDS: dict[str, Callable[[Section, Field], When]] = {
    "event": _event,
    "absence": _absence,
    "stage_entered": lambda _, field: StageEntered(field.choice(STAGES)),
    "stage_left": lambda _, field: StageLeft(field.choice(STAGES)),
    "band_entered": lambda _, field: BandEntered(field.choice(BANDS)),
    "tier_entered": lambda _, field: TierEntered(field.line(64)),
    "count": _count,
    "sum": _sum,
    "sequence": _sequence,
    "crosses": _crosses,
    "series": _series,
    "activity_drop": _activity_drop,
    "late_for_member": _late_for_member,
}
# Those that name what other files define.
NAMING: dict[str, Callable[[Field, Known], When]] = {
    "calendar": lambda field, known: read_calendar(field, known.festivals),
    "segment_entered": lambda field, known: SegmentEntered(_segment(field, known)),
    "segment_left": lambda field, known: SegmentLeft(_segment(field, known)),
}


def _segment(field: Field, known: Known) -> str:
    return read_name(field, "segment", known.segments)


def has_item(when: When) -> bool:
    """Tell whether a condition is about one item, which re-entry may be counted by."""
    if isinstance(when, EventHappens):
        item = fields_of(when.pattern.type).get("item_id")
        return item is not None and not item.on_lines
    return getattr(when, "same", None) == "item_id"


def no_item(when: When) -> str:
    """Return what is missing for re-entry by item."""
    match when:
        case Absence() | Series():
            side = "of" if isinstance(when, Absence) else "until"
            return f"item_id needs `same: item_id` in the {type(when).__name__.lower()}'s `{side}`"
        case EventHappens():
            return "item_id needs an event that is about one item"
        case Count() | Sum() | Sequence():
            return "item_id needs `same: item_id`"
    return "item_id makes no sense for a stage, nor for what else is about no item"
