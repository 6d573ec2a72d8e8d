"""A shop's own CSV export to events, by a map (``docs/import-csv.md``).

Every line is checked as the stream itself would check it; one that does not fit is reported with
its column and left out, and the rest goes on.
"""

import math
import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TypeAlias

import msgspec
import orjson

from app.event_files import Event
from app.importers.csv_map import Constant, CsvMap, EventMap, Source, TimeMap
from app.importers.event_log import EventLog, cents, exact
from app.importers.report import Report
from app.importers.tables import csv_rows
from models.decoding import InvalidEvent, decode
from models.events import CLASS_OF, TOPIC_OF
from models.times import MAX_INSTANT, from_datetime

# Fields other than occurred_at that are times: written as the event's own time is.
_TIMES = frozenset({"expires_at", "review_at"})
_EPOCH = re.compile(r"[0-9]{1,15}(\.[0-9]{1,9})?")
# msgspec ends a message with the path of the field, or names a missing field in it.
_PATH = re.compile(r" - at `\$(?P<item>\.items\[0\])?(\.(?P<field>\w+))?.*`$")
_MISSING = re.compile(r"missing required field `(?P<field>\w+)`")

Row: TypeAlias = dict[str, str]
Sources: TypeAlias = Mapping[str, Source]


class CellError(Exception):
    """A cell does not give what its field needs."""

    def __init__(self, column: str, reason: str) -> None:
        super().__init__(f"{column}: {reason}")
        self.column = column
        self.reason = reason


def read(path: Path, csv_map: CsvMap, report: Report) -> list[Event]:
    """Return the events that the map finds in a CSV (or CSV.gz) file, in order of time.

    Raises ``InputError`` when the file lacks a column of the map or is not CSV, ``OSError`` when it
    cannot be read.
    """
    reader = _Reader()
    columns = csv_map.columns()
    rows = csv_rows(path, columns, report, delimiter=csv_map.delimiter, encoding=csv_map.encoding)
    for line, cells in rows:
        row = {column: cell.strip() for column, cell in zip(columns, cells, strict=True)}
        mapped = [event_map for event_map in csv_map.events if _matches(event_map, row)]
        if not mapped:
            report.skip(line, "no event is mapped to it")
        for event_map in mapped:
            try:
                reader.take(event_map, row)
            except CellError as bad:
                report.bad(line, bad.column, bad.reason)
    return reader.log.finished()


class _Reader:
    """Turns rows into events; remembers whose each grouped order is."""

    def __init__(self) -> None:
        self.log = EventLog()
        self._member_of_order: dict[tuple[str, str], str] = {}

    def take(self, event_map: EventMap, row: Row) -> None:
        """Take the event that ``row`` gives; raises ``CellError`` when it gives none."""
        event = _typed(event_map, row)
        amount = _line_amount(event_map, event)
        if event_map.group_by is None:
            if amount is not None:
                event["total"] = cents([amount])
            self.log.add(event)
            return
        order = row[event_map.group_by]
        if not order:
            raise CellError(event_map.group_by, "was empty")
        member = event.get("member_id") or event["anonymous_id"]
        if self._member_of_order.setdefault((event_map.type, order), member) != member:
            raise CellError(event_map.group_by, "the order's first line has another member")
        (item,) = event["items"]
        self.log.add_line((event_map.type, order), event, item, amount)


def _matches(event_map: EventMap, row: Row) -> bool:
    return all(row[column] in wanted for column, wanted in event_map.when.items())


def _typed(event_map: EventMap, row: Row) -> Event:
    """Return the event as its type has it: numbers from text, limits checked."""
    fields, time = event_map.fields, event_map.time
    raw = _cells(fields, time, row)
    raw |= {"type": event_map.type, "occurred_at": _instant(time, row[time.column], time.column)}
    if event_map.items:
        raw["items"] = [_cells(event_map.items, time, row)]
    if _total_from_lines(event_map):
        raw["total"] = 0
    try:
        struct = msgspec.convert(raw, CLASS_OF[event_map.type], strict=False)
    except msgspec.ValidationError as error:
        raise _explained(str(error), event_map) from None
    event: Event = msgspec.to_builtins(struct)
    for name, value in event.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise CellError(_column(fields, name), "was not a number")
    try:
        decode(TOPIC_OF[event_map.type], orjson.dumps(event))
    except InvalidEvent as error:
        field = error.path.removeprefix("$").removeprefix(".")
        raise CellError(_column(fields, field or "row"), error.reason) from None
    return event


def _cells(sources: Sources, time: TimeMap, row: Row) -> Event:
    """Return the values of the sources that are not empty."""
    values: Event = {}
    for name, source in sources.items():
        if isinstance(source, Constant):
            values[name] = source.value
        elif row[source]:
            values[name] = _instant(time, row[source], source) if name in _TIMES else row[source]
    return values


def _total_from_lines(event_map: EventMap) -> bool:
    return (
        "price" in event_map.items
        and "total" not in event_map.fields
        and "total" in CLASS_OF[event_map.type].__struct_fields__
    )


def _line_amount(event_map: EventMap, event: Event) -> Decimal | None:
    """Return what the row's line adds to the total; None when the total has its own column."""
    if not _total_from_lines(event_map):
        return None
    (item,) = event["items"]
    if "price" not in item:
        raise CellError(_column(event_map.items, "price"), "was empty")
    return exact(item["price"]) * exact(item.get("quantity", 1.0))


def _instant(time: TimeMap, text: str, column: str) -> int:
    if not text:
        raise CellError(column, "was empty")
    instant = _epoch(time, text) if time.format.startswith("epoch_") else _local(time, text)
    if instant is None:
        hint = "" if time.time_zone else " with an offset"
        raise CellError(column, f"was not a time like {time.format}{hint}")
    if not 0 <= instant <= MAX_INSTANT:
        raise CellError(column, "was before 1970 or after 9999")
    return instant


def _epoch(time: TimeMap, text: str) -> int | None:
    if _EPOCH.fullmatch(text) is None:
        return None
    return int(Decimal(text) * (1000 if time.format == "epoch_s" else 1))


def _local(time: TimeMap, text: str) -> int | None:
    try:
        if time.format == "iso":
            moment = datetime.fromisoformat(text)
        else:
            moment = datetime.strptime(text, time.format)  # noqa: DTZ007 - the zone comes below
    except ValueError:
        return None
    if moment.tzinfo is None:
        if time.time_zone is None:
            return None
        moment = moment.replace(tzinfo=time.time_zone)
    return from_datetime(moment)


def _column(sources: Sources, name: str) -> str:
    source = sources.get(name)
    return source if isinstance(source, str) else name


def _explained(message: str, event_map: EventMap) -> CellError:
    """Name the column that msgspec's message is about."""
    path = _PATH.search(message)
    missing = _MISSING.search(message)
    in_item = path is not None and path["item"] is not None
    name = missing["field"] if missing else path["field"] if path else None
    column = _column(event_map.items if in_item else event_map.fields, name) if name else "row"
    reason = "was empty" if missing else (message[: path.start()] if path else message)
    return CellError(column, reason.replace("`", ""))
