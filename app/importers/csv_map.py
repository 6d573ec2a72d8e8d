"""The map of a shop's own CSV export: which column gives which field of which event.

``docs/import-csv.md`` explains it with an example.
"""

import codecs
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias
from zoneinfo import ZoneInfo

import msgspec

from config.errors import ConfigError, ConfigErrors
from config.reading import Field, Report, Section
from config.yaml_source import parse_file
from models.events import CLASS_OF, Event, Line

NAMED_FORMATS = ("iso", "epoch_s", "epoch_ms")

# Lists and objects cannot come from one cell; the event's own time has a map of its own.
_NOT_A_CELL = frozenset({"items", "channels", "attributes", "answers", "occurred_at"})
_MAP_KEYS = ("time", "events", "fields", "delimiter", "encoding")
_EVENT_KEYS = ("type", "when", "group_by", "time", "fields", "items")
_TIME_KEYS = ("column", "format", "time_zone")


class Constant(msgspec.Struct, frozen=True):
    """The same value for every line."""

    value: str | int | float | bool


# What gives a field its value: the column of that name, or a constant.
Source: TypeAlias = str | Constant


class TimeMap(msgspec.Struct, frozen=True):
    """Where an event's time comes from.

    ``format`` is ``iso``, ``epoch_s``, ``epoch_ms`` or a strptime format; ``time_zone`` belongs to
    times that are written without an offset.
    """

    column: str
    format: str
    time_zone: ZoneInfo | None


class EventMap(msgspec.Struct, frozen=True):
    """One event that a line may give.

    ``when`` holds, per column, the cells that a line must have one of; ``group_by`` is the column
    whose equal values make one event of several lines; ``items`` are the fields of a line's item.
    """

    type: str
    time: TimeMap
    fields: dict[str, Source]
    items: dict[str, Source]
    when: dict[str, tuple[str, ...]]
    group_by: str | None


class CsvMap(msgspec.Struct, frozen=True):
    """The whole map."""

    events: tuple[EventMap, ...]
    delimiter: str
    encoding: str

    def columns(self) -> list[str]:
        """Return every column that the map reads, each once."""
        found: dict[str, None] = {}
        for event in self.events:
            sources = (*event.fields.values(), *event.items.values(), event.group_by)
            names = (event.time.column, *sources, *event.when)
            found.update((name, None) for name in names if isinstance(name, str))
        return list(found)


def load_map(path: Path) -> CsvMap:
    """Return the map in a YAML file; raise ``ConfigErrors`` with all that is wrong in it."""
    root, errors = parse_file(path)
    if root is None:
        raise ConfigErrors(errors or [ConfigError(str(path), 1, 1, "", "", "is empty")])
    report = Report(str(path))
    section = Field(root, "", report).section(_MAP_KEYS)
    time = _time(section.require("time"))
    common = section.optional("fields", lambda field: _sources(field, _cells(Event)), {})
    found = CsvMap(
        events=tuple(_event(field, time, common) for field in section.require("events").each()),
        delimiter=section.optional("delimiter", _delimiter, ","),
        encoding=section.optional("encoding", _encoding, "utf-8-sig"),
    )
    if errors or report.errors:
        raise ConfigErrors(errors + report.errors)
    return found


def _event(field: Field, time: TimeMap, common: dict[str, Source]) -> EventMap:
    section = field.section(_EVENT_KEYS)
    kind = section.require("type")
    name = kind.choice(tuple(CLASS_OF))
    # What a wrong type's fields should be is unknown.
    known = kind.node is not None and kind.node.value == name
    own = section.optional("fields", lambda f: _sources(f, _cells(CLASS_OF[name]), known), {})
    found = EventMap(
        type=name,
        time=section.optional("time", _time, time),
        fields={**common, **own},
        items=section.optional("items", lambda f: _sources(f, Line.__struct_fields__), {}),
        when=section.optional("when", _when, {}),
        group_by=section.optional("group_by", lambda f: f.text("a column's name"), None),
    )
    if known:
        _check_complete(field, found, section)
    return found


def _check_complete(field: Field, found: EventMap, section: Section) -> None:
    """Report what the event's type needs and the map does not give."""
    fields = {each.name: each for each in msgspec.structs.fields(CLASS_OF[found.type])}
    for name, each in fields.items():
        if not each.required or name in found.fields or name == "occurred_at":
            continue
        if name in _NOT_A_CELL:
            field.wrong(f"{found.type} needs {name}, which no cell can give")
        elif name != "total" or "price" not in found.items:
            field.wrong(f"{found.type} needs the field {name}")
    if not {"member_id", "anonymous_id"} & found.fields.keys():
        field.wrong("needs the field member_id or anonymous_id")
    if "items" in section and "items" not in fields:
        section.require("items").wrong(f"{found.type} has no items")
    if "items" in section and "item_id" not in found.items:
        section.require("items").wrong("needs item_id")
    if "group_by" in section and "items" not in section:
        section.require("group_by").wrong("joins the lines of an order: it needs items")


def _cells(event: type[Event]) -> tuple[str, ...]:
    """Return the fields of an event that one cell can give."""
    return tuple(name for name in event.__struct_fields__ if name not in _NOT_A_CELL)


def _sources(field: Field, allowed: Sequence[str], known: bool = True) -> dict[str, Source]:
    if not known:
        return {}
    section = field.section(allowed)
    return {name: _source(section.require(name)) for name in allowed if name in section}


def _source(field: Field) -> Source:
    if field.node is None or not isinstance(field.node.value, dict):
        return field.text("a column's name or {value: ...}")
    constant = field.section(("value",)).require("value")
    value = constant.node.value if constant.node is not None else None
    if isinstance(value, str | int | float | bool):
        return Constant(value)
    constant.must("text, a number, true or false")
    return ""


def _when(field: Field) -> dict[str, tuple[str, ...]]:
    if field.node is None or not isinstance(field.node.value, dict):
        field.must("a mapping of columns to cells")
        return {}
    return {
        column: tuple(
            each.text("the text of a cell")
            for each in Field(node, f"{field.path}.{column}", field.report).each()
        )
        for column, node in field.node.value.items()
    }


def _time(field: Field) -> TimeMap:
    section = field.section(_TIME_KEYS)
    column = section.require("column").text("a column's name")
    written = section.optional("format", _format, "iso")
    zone = section.optional("time_zone", _zone, None)
    if "%" in written and "%z" not in written and "time_zone" not in section:
        field.wrong("needs time_zone: the format has no offset (%z)")
    return TimeMap(column, written, zone)


def _format(field: Field) -> str:
    written = field.text("a time format")
    if written and "%" not in written and written not in NAMED_FORMATS:
        field.must(f"{', '.join(NAMED_FORMATS)} or a strptime format such as '%Y-%m-%d %H:%M:%S'")
    return written


def _zone(field: Field) -> ZoneInfo | None:
    name = field.text("a time zone")
    try:
        return ZoneInfo(name) if name else None
    except (KeyError, ValueError, OSError):
        field.must("an IANA time zone such as Asia/Shanghai")
        return None


def _delimiter(field: Field) -> str:
    value = field.node.value if field.node is not None else None
    if isinstance(value, str) and len(value) == 1:
        return value
    field.must("one character")
    return ","


def _encoding(field: Field) -> str:
    name = field.text("an encoding")
    try:
        return codecs.lookup(name).name if name else name
    except LookupError:
        field.must("an encoding such as utf-8, gb18030 or cp1252")
        return ""
