"""Event patterns as rules write them.

A pattern is a type, or ``{event: TYPE or [TYPES], where: {...}, same: FIELD}``, or a list of those;
each type becomes a :class:`models.rules.Pattern` of its own.
"""

from collections.abc import Sequence
from functools import partial

from config.reading import Field, Section, suggestion
from config.vocabulary import EVENT_TYPES, FACTS, EventField, fields_of
from models.rules import SAME_FIELDS, Condition, Pattern, Value


def read_patterns(
    field: Field, *, derived: bool = False, same: bool = False
) -> tuple[Pattern, ...]:
    """Return every alternative; ``derived`` facts and ``same`` only where they make sense."""
    known = ("event", "where", "same") if same else ("event", "where")
    found: list[Pattern] = []
    for alternative in field.each():
        if alternative.node is not None and isinstance(alternative.node.value, str):
            found += [Pattern(name) for name in _types(alternative, derived=derived)]
        else:
            found += section_patterns(alternative.section(known), derived=derived)
    return tuple(found)


def section_patterns(section: Section, *, derived: bool = False) -> list[Pattern]:
    """Return one pattern per type that the section's ``event`` names."""
    types = _types(section.require("event"), derived=derived)
    where = section.optional("where", partial(_where, types=types), ())
    same = section.optional("same", partial(_same, types=types), None)
    return [Pattern(name, where, same) for name in types]


def _types(field: Field, *, derived: bool) -> list[str]:
    allowed = FACTS if derived else EVENT_TYPES
    types: list[str] = []
    for one in field.each():
        value = one.node.value if one.node else None
        if value in allowed:
            if value in types:
                one.wrong(f"{value!r} stands twice")
            types.append(str(value))
        elif not derived and value in FACTS:
            one.wrong(f"{value!r} is no event: it can only be waited for (of, overtaken_by)")
        elif isinstance(value, str) and value == "erase":
            one.wrong("'erase' cannot be named: nobody is left to hear of it")
        else:
            one.choice(allowed)
    return types


def _same(field: Field, types: Sequence[str]) -> str | None:
    name = field.choice(SAME_FIELDS)
    if field.node is None or field.node.value != name:
        return None
    require_field(field, name, types)
    return name


def require_field(field: Field, name: str, types: Sequence[str]) -> None:
    """Report every event type that lacks the field by which ``same`` ties two sides together."""
    for event_type in types:
        if name not in fields_of(event_type):
            having = ", ".join(other for other in FACTS if name in fields_of(other))
            field.wrong(f"{event_type} has no {name}; types that have one: {having}")


def _where(field: Field, types: Sequence[str]) -> tuple[Condition, ...]:
    if field.node is None or not isinstance(field.node.value, dict) or not field.node.value:
        field.must("a mapping of fields and the values wanted")
        return ()
    conditions: list[Condition] = []
    for name, node in field.node.value.items():
        one = Field(node, f"{field.path}.{name}", field.report)
        place = field.node.keys[name]
        kinds: list[EventField] = []
        for event_type in types:
            known = fields_of(event_type)
            if name in known:
                kinds.append(known[name])
                continue
            allowed = f"allowed: {', '.join(known)}" if known else "it has no fields to compare"
            hint = suggestion(name, known)
            field.report.add(place, one.path, f"{event_type} has no such field; {allowed}{hint}")
        if kinds:
            conditions += _conditions(one, name, kinds)
    return tuple(conditions)


def _conditions(field: Field, name: str, kinds: Sequence[EventField]) -> list[Condition]:
    assert field.node is not None
    if isinstance(field.node.value, dict):
        if any(kind.kind != "number" for kind in kinds):
            field.wrong("only a number can be compared with at_least and below")
            return []
        return _range(field, name)
    values: list[Value] = []
    for one in field.each():
        value = _value(one, kinds[0])
        for kind in kinds[1:]:
            _value(one, kind)
        values.append(value)
    return [Condition(name, "in", tuple(values))]


def _range(field: Field, name: str) -> list[Condition]:
    section = field.section(("at_least", "below"))
    lowest = section.optional("at_least", _number, None)
    limit = section.optional("below", _number, None)
    if lowest is None and limit is None and "at_least" not in section and "below" not in section:
        field.wrong("needs at_least, below or both")
    if lowest is not None and limit is not None and lowest >= limit:
        field.wrong(f"at_least {lowest:g} and below {limit:g} leave nothing")
    found = []
    if lowest is not None:
        found.append(Condition(name, "at_least", (lowest,)))
    if limit is not None:
        found.append(Condition(name, "below", (limit,)))
    return found


def _number(field: Field) -> float | None:
    value = field.node.value if field.node else None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    field.must("a number")
    return None


def _value(field: Field, wanted: EventField) -> Value:
    match wanted.kind:
        case "number":
            return _number(field) or 0.0
        case "boolean":
            return field.flag()
        case "text":
            return field.choice(wanted.allowed) if wanted.allowed else field.text()
