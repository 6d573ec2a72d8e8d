"""What patterns may name: event types, derived facts, and the fields of each, from their types."""

from functools import cache
from typing import Literal, TypeAlias

import msgspec
from msgspec import inspect

from models.events import CLASS_OF, Line
from models.rules import DERIVED_FACTS

# Nobody is left to hear of anything after an erase, so no rule may wait for one.
EVENT_TYPES: tuple[str, ...] = tuple(name for name in CLASS_OF if name != "erase")
FACTS: tuple[str, ...] = EVENT_TYPES + DERIVED_FACTS

Kind: TypeAlias = Literal["text", "number", "boolean"]


class EventField(msgspec.Struct, frozen=True):
    """One field that a pattern can compare; ``on_lines``: each line of the order has one."""

    kind: Kind
    allowed: tuple[str, ...] = ()
    on_lines: bool = False


@cache
def fields_of(event_type: str) -> dict[str, EventField]:
    """Return the comparable fields of an event type; a derived fact has none."""
    if event_type in DERIVED_FACTS:
        return {}
    cls = CLASS_OF[event_type]
    found: dict[str, EventField] = {}
    if "items" in cls.__struct_fields__:
        found |= _scalars(Line, on_lines=True)
    return found | _scalars(cls, on_lines=False)


def _scalars(cls: type[msgspec.Struct], *, on_lines: bool) -> dict[str, EventField]:
    struct = inspect.type_info(cls)
    assert isinstance(struct, inspect.StructType)
    found: dict[str, EventField] = {}
    for field in struct.fields:
        kinds = field.type.types if isinstance(field.type, inspect.UnionType) else (field.type,)
        match [kind for kind in kinds if not isinstance(kind, inspect.NoneType)]:
            case [inspect.StrType()]:
                found[field.encode_name] = EventField("text", on_lines=on_lines)
            case [inspect.LiteralType(values=values)]:
                found[field.encode_name] = EventField("text", tuple(map(str, values)), on_lines)
            case [inspect.FloatType() | inspect.IntType()]:
                found[field.encode_name] = EventField("number", on_lines=on_lines)
            case [inspect.BoolType()]:
                found[field.encode_name] = EventField("boolean", on_lines=on_lines)
    return found
