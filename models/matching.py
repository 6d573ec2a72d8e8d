"""What a pattern means: which events match it, and by what keys they are tied together."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeAlias, TypeVar

from models.events import Event, Line
from models.rules import Condition

_LINE_FIELDS = frozenset(Line.__struct_fields__)
Match: TypeAlias = Callable[[Event], bool]
T = TypeVar("T")


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


class Dispatch(Generic[T]):
    """What an event may concern: by its type, and by a value that all patterns ask for.

    So of five hundred rules about one category each, an event meets those about its own.
    """

    def __init__(self) -> None:
        self._everything: dict[str, list[tuple[int, T]]] = {}
        self._by_value: dict[str, dict[str, dict[Any, list[tuple[int, T]]]]] = {}
        self._count = 0

    def add(self, fact: str, wheres: Iterable[tuple[Condition, ...]], item: T) -> None:
        """Add something that concerns events of a type that satisfy one of ``wheres``."""
        self._count += 1
        entry = self._count, item
        asked = [next((c for c in where if c.op == "in"), None) for where in wheres]
        if None in asked:
            self._everything.setdefault(fact, []).append(entry)
            return
        for condition in asked:
            assert condition is not None
            by_value = self._by_value.setdefault(fact, {}).setdefault(condition.field, {})
            for value in condition.values:
                by_value.setdefault(value, []).append(entry)

    def find(self, fact: str, event: Event) -> Sequence[T]:
        """Return what the event may concern, in the order in which it was added."""
        found = self._everything.get(fact, ())
        fields = self._by_value.get(fact)
        if fields is None:
            return [item for _, item in found]
        more = [
            entry
            for field, by_value in fields.items()
            for value in values_of(event, field)
            for entry in by_value.get(value, ())
        ]
        if not more:
            return [item for _, item in found]
        return [item for _, item in sorted(dict([*found, *more]).items(), key=_place)]


def _place(entry: tuple[int, Any]) -> int:
    return entry[0]
