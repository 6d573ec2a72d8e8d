"""Local time: what the clock on a member's wall says, and when it will say something.

Instants are integer epoch milliseconds, minutes of day count from local midnight (0 to 1439), and
zones are names of the IANA data base. That data is the one of the ``tzdata`` package, never the
machine's own: every worker and every replay with the same installed package agrees, also on an
image that has no zone files. Governments change zones, so a newer package may move deadlines; the
version is part of a rule book that looks at local time (``zone_data_version``).

Wall clocks jump. A wall time inside a gap (spring forward, or a whole day that a zone skipped)
stands for the first instant after the gap; one that comes twice stands for the first of the two.
Both follow from one definition: it is the first instant at which the wall clock shows this time or
a later one.
"""

from datetime import UTC, date, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import TypeAlias
from zoneinfo import ZoneInfo

import tzdata

from models.times import DAY, HOUR, MINUTE, SECOND

MINUTES_OF_DAY = 1440

_EPOCH_DAY = date(1970, 1, 1).toordinal()
_LAST_DAY = date.max.toordinal()
# Far beyond any deadline; later than this a zone keeps its last offset.
_END = 253_370_764_800_000  # 9999-01-01
_CHUNK = 35  # bits: a year and a month of milliseconds
# Two changes of one zone never lie closer: the tools of the data base rely on it too.
_STEP = 12 * HOUR

# (first instant, offset) of each stretch of one offset within a chunk, the first at its beginning.
_Stretches: TypeAlias = tuple[tuple[int, int], ...]


class UnknownZone(ValueError):
    """A name that the zone data does not have."""


class _Table(dict[int, _Stretches]):
    """The offsets of one zone, by chunk, worked out when first asked for."""

    def __init__(self, zone: ZoneInfo) -> None:
        super().__init__()
        self._zone = zone

    def __missing__(self, chunk: int) -> _Stretches:
        low, high = chunk << _CHUNK, (chunk + 1) << _CHUNK
        offset = self._offset(low)
        found = [(low, offset)]
        for probe in range(low, high, _STEP):
            last = min(probe + _STEP, high - 1)
            if self._offset(last) != offset:
                start = self._change(probe, last)
                offset = self._offset(last)
                found.append((start, offset))
        self[chunk] = tuple(found)
        return self[chunk]

    def _change(self, before: int, after: int) -> int:
        """Return the first instant of the offset that ``after`` has; zones change at a second."""
        low, high = before // SECOND, after // SECOND
        offset = self._offset(after)
        while high - low > 1:
            middle = (low + high) // 2
            if self._offset(middle * SECOND) == offset:
                high = middle
            else:
                low = middle
        return high * SECOND

    def _offset(self, at: int) -> int:
        moment = _EPOCH + timedelta(milliseconds=min(at, _END))
        offset = moment.astimezone(self._zone).utcoffset()
        assert offset is not None
        return offset // timedelta(milliseconds=1)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_tables: dict[str, _Table] = {}


def zone_data_version() -> str:
    """Return the version of the zone data, such as ``2026a``."""
    version: str = tzdata.IANA_VERSION
    return version


@cache
def zone_names() -> frozenset[str]:
    """Return every zone that there is."""
    return frozenset((files("tzdata") / "zones").read_text().split())


def zone_of(said: object, brand: str) -> str:
    """Return the zone that a member named, or the brand's when it is none."""
    return said if isinstance(said, str) and (said in _tables or said in zone_names()) else brand


def _table(zone: str) -> _Table:
    table = _tables.get(zone)
    if table is None:
        if zone not in zone_names():
            raise UnknownZone(f"{zone!r} is no time zone, such as UTC or Asia/Shanghai")
        with (files("tzdata.zoneinfo") / zone).open("rb") as file:
            table = _tables[zone] = _Table(ZoneInfo.from_file(file, zone))
    return table


def _offset_at(table: _Table, at: int) -> int:
    stretches = table[at >> _CHUNK]
    for start, offset in reversed(stretches):
        if at >= start:
            return offset
    return stretches[0][1]


def _stretch_at(table: _Table, at: int) -> tuple[int, int]:
    """Return the offset at an instant, and when the stretch (or the chunk) ends."""
    chunk = at >> _CHUNK
    end = (chunk + 1) << _CHUNK
    for start, offset in reversed(table[chunk]):
        if at >= start:
            return offset, end
        end = start
    raise AssertionError(at)


def _day_of(wall: int) -> date:
    return date.fromordinal(min(wall // DAY + _EPOCH_DAY, _LAST_DAY))


def _first_at(table: _Table, wall: int) -> int:
    """Return the first instant at which the wall clock shows ``wall`` or later."""
    at = wall - DAY  # no zone is a day away from UTC
    while True:
        offset, end = _stretch_at(table, at)
        at = max(at, wall - offset)
        if at < end:
            return at
        at = end


def local_date(at: int, zone: str) -> date:
    """Return the local date of an instant."""
    return _day_of(at + _offset_at(_table(zone), at))


def local_minute(at: int, zone: str) -> int:
    """Return the local minute of the day of an instant."""
    return (at + _offset_at(_table(zone), at)) % DAY // MINUTE


def local_text(at: int, zone: str) -> str:
    """Return what the wall clock says: ``2026-11-21 18:00``."""
    minute = local_minute(at, zone)
    return f"{local_date(at, zone)} {minute // 60:02d}:{minute % 60:02d}"


def instant_of(day: date, minute: int, zone: str) -> int:
    """Return the first instant at which the wall clock shows this date and time or a later one."""
    wall = (day.toordinal() - _EPOCH_DAY) * DAY + minute * MINUTE
    return _first_at(_table(zone), wall)


def start_of_day(day: date, zone: str) -> int:
    """Return the first instant of a local date; of the next one when the zone skipped it."""
    return instant_of(day, 0, zone)


def has_day(day: date, zone: str) -> bool:
    """Tell whether a local date ever was or will be: zones have skipped some."""
    return _exists(_table(zone), (day.toordinal() - _EPOCH_DAY) * DAY)


def next_local(at: int, zone: str, minute: int) -> int:
    """Return the first instant after ``at`` with this wall-clock time.

    Each local date has one: in a gap the first instant after it, of two the first. A date that the
    zone skipped has none.
    """
    table = _table(zone)
    midnight = (at + _offset_at(table, at)) // DAY * DAY
    while True:
        found = _first_at(table, midnight + minute * MINUTE)
        if found > at and _exists(table, midnight):
            return found
        midnight += DAY


def _exists(table: _Table, midnight: int) -> bool:
    first = _first_at(table, midnight)
    return first + _offset_at(table, first) < midnight + DAY


def in_quiet(at: int, zone: str, start: int, end: int) -> int | None:
    """Return the end of the quiet period that contains ``at``, or None outside of one.

    It is quiet while the wall clock shows a time from minute ``start`` to before minute ``end``,
    which may be past midnight; they differ. The end is the first instant at which it is not.
    """
    table = _table(zone)
    length = (end - start) * MINUTE % DAY
    until = at
    while True:
        offset, stretch_end = _stretch_at(table, until)
        into = (until + offset - start * MINUTE) % DAY
        if into >= length:
            return until if until > at else None
        until += length - into
        if until < stretch_end:
            return until
        until = stretch_end


def monday_of(day: date) -> date:
    """Return the first day of the ISO week that a date lies in."""
    return day - timedelta(days=day.weekday())
