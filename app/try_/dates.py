"""Reading the times of an export: which way of writing a column has, and what each cell means."""

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from itertools import pairwise
from zoneinfo import ZoneInfo

from models.times import DAY, HOUR, MAX_INSTANT, MINUTE, SECOND

_CLOCK = (
    r"(?:(?:T|\s+|,\s*|\s+at\s+)(?P<hour>\d{1,2})[:\uff1a](?P<minute>\d{2})"
    r"(?:[:\uff1a](?P<second>\d{2})(?:[.,](?P<part>\d{1,9}))?)?"
    r"(?:\s*(?P<half>[AaPp])\.?[Mm]\.?)?"
    r"(?:\s*(?P<zone>Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?))?)?"
)
_WRITTEN = tuple(
    re.compile(rf"(?P<date>{written}){_CLOCK}\s*")
    for written in (
        r"(?P<y>\d{4})[-/.](?P<m>\d{1,2})[-/.](?P<d>\d{1,2})",
        r"(?P<y>\d{4})年(?P<m>\d{1,2})月(?P<d>\d{1,2})日",
        r"(?P<y>\d{4})(?P<m>\d{2})(?P<d>\d{2})",
        r"(?P<a>\d{1,2})[-/.](?P<b>\d{1,2})[-/.](?P<y>\d{4}|\d{2})",
        r"(?P<d>\d{1,2})[-\s]+(?P<name>[A-Za-z]{3,9})\.?,?[-\s]+(?P<y>\d{4}|\d{2})",
        r"(?P<name>[A-Za-z]{3,9})\.?\s+(?P<d>\d{1,2}),?\s+(?P<y>\d{4})",
    )
)
# 20251103182000; only what can be a time, for a long number is more often an order's.
_DIGITS = re.compile(
    r"((?:19|20)\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])([01]\d|2[0-3])([0-5]\d)([0-5]\d)(?!\d)"
)
_SECONDS = re.compile(r"[1-9]\d{8,9}(\.\d+)?")
_MILLISECONDS = re.compile(r"[1-9]\d{11,12}")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_EPOCH = date(1970, 1, 1).toordinal()
_NOON = 12 * HOUR

Reader = Callable[[str], int | None]


class Ambiguous(Exception):
    """Every date of the column is one both ways, the day first or what the message names."""


def is_time(text: str) -> bool:
    """Tell whether a cell is a time in one of the known ways of writing."""
    return _match(text) is not None or _epoch(text) is not None


def day_written(text: str) -> str:
    """Return the day of a cell as it is written there, the cell itself where that is not known."""
    match = _match(text)
    return text if match is None else match["date"]


def reader_of(cells: Sequence[str], zone: ZoneInfo) -> Reader:
    """Return what turns a cell of this column into epoch milliseconds, None when it is no time.

    Times without an offset are the zone's; days without a time are taken at noon. Whether the day
    or the month stands first follows from all the cells together. Raises ``Ambiguous``.
    """
    return _Reader(_day_first(cells), zone).read


class _Reader:
    def __init__(self, day_first: bool, zone: ZoneInfo) -> None:
        self._day_first = day_first
        self._zone = zone
        self._known: dict[str, int | None] = {}

    def read(self, text: str) -> int | None:
        """Return the instant of one cell; the lines of an order ask for the same one."""
        if text not in self._known:
            if len(self._known) > 200_000:
                self._known.clear()
            self._known[text] = self._instant(text)
        return self._known[text]

    def _instant(self, text: str) -> int | None:
        match = _match(text)
        if match is None:
            return _epoch(text)
        day = _day_of(match, self._day_first)
        clock = _clock_of(match)
        if day is None or clock is None:
            return None
        instant = _in_zone(day * DAY + clock, _zone_of(match["zone"]) or self._zone)
        return instant if 0 <= instant <= MAX_INSTANT else None


def _match(text: str) -> re.Match[str] | None:
    digits = _DIGITS.match(text)
    if digits is not None:
        text = digits.expand(r"\1-\2-\3 \4:\5:\6") + text[digits.end() :]
    for written in _WRITTEN:
        match = written.fullmatch(text)
        if match is not None:
            return match
    return None


def _epoch(text: str) -> int | None:
    if _MILLISECONDS.fullmatch(text):
        return int(text)
    return int(float(text) * SECOND) if _SECONDS.fullmatch(text) else None


def _day_of(match: re.Match[str], day_first: bool) -> int | None:
    """Return the epoch day of a match; None when the calendar has no such day."""
    found = match.groupdict()
    year = int(found["y"]) + (2000 if len(found["y"]) == 2 else 0)
    if "a" in found:
        first, second = int(found["a"]), int(found["b"])
        day, month = (first, second) if day_first else (second, first)
    else:
        day = int(found["d"])
        month = _month(found["name"]) if "name" in found else int(found["m"])
    try:
        return date(year, month, day).toordinal() - _EPOCH
    except ValueError:
        return None


def _month(name: str) -> int:
    short = name[:3].lower()
    return _MONTHS.index(short) + 1 if short in _MONTHS else 0


def _clock_of(match: re.Match[str]) -> int | None:
    if match["hour"] is None:
        return _NOON
    hour, minute, second = int(match["hour"]), int(match["minute"]), int(match["second"] or 0)
    half = match["half"]
    if half is not None:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half in "Pp" else 0)
    if hour > 23 or minute > 59 or second > 59:
        return None
    part = int((match["part"] or "0").ljust(3, "0")[:3])
    return hour * HOUR + minute * MINUTE + second * SECOND + part


def _zone_of(text: str | None) -> tzinfo | None:
    if text is None:
        return None
    if not text.startswith(("+", "-")):
        return UTC
    minutes = int(text[1:3]) * 60 + int(text[3:].removeprefix(":") or 0)
    if minutes >= 24 * 60:
        return UTC
    return timezone(timedelta(minutes=-minutes if text[0] == "-" else minutes))


def _in_zone(local: int, zone: tzinfo) -> int:
    if zone is UTC:
        return local
    seconds, part = divmod(local, SECOND)
    moment = datetime.fromtimestamp(seconds, UTC).replace(tzinfo=zone)
    return int(moment.timestamp()) * SECOND + part


def _day_first(cells: Iterable[str]) -> bool:
    """Tell whether 03.04.2025 is in April, by the cells that can be read in one way only."""
    found = [match for text in dict.fromkeys(cells) if (match := _match(text)) is not None]
    if _begin_with_years(found):
        raise Ambiguous("year")
    pairs = [pair for pair in dict.fromkeys(map(_pair, found)) if pair is not None]
    by_day = sum(first > 12 for first, _, _ in pairs)
    by_month = sum(second > 12 for _, second, _ in pairs)
    if by_day != by_month or not pairs:
        return by_day >= by_month
    # An export is in order of time: so it is told by what keeps the order.
    rising = [
        _turns([(y, *((b, a) if first else (a, b))) for a, b, y in pairs]) for first in (0, 1)
    ]
    if rising[0] == rising[1]:
        raise Ambiguous("month")
    return rising[1] < rising[0]


def _begin_with_years(found: Iterable[re.Match[str]]) -> bool:
    """Tell whether 25-Nov-01 may be of 2025: days of a column vary more than its years."""
    short = [one for one in found if "name" in one.groupdict() and len(one["y"]) == 2]
    return len({one["y"] for one in short}) > len({one["d"] for one in short})


def _pair(match: re.Match[str]) -> tuple[int, int, int] | None:
    found = match.groupdict()
    return (int(found["a"]), int(found["b"]), int(found["y"])) if "a" in found else None


def _turns(days: list[tuple[int, ...]]) -> int:
    """Return how often a list of days changes between rising and falling, and back."""
    steps = [later > earlier for earlier, later in pairwise(days) if later != earlier]
    return sum(one != other for one, other in pairwise(steps))
