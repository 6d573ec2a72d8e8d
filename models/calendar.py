"""Days that matter: birthdays, anniversaries, festivals, weekly rituals, and days before an end.

Pure dates and instants; what a member has to do with them stands in ``models.dated``. A *day* is
the local date that is celebrated (or on which something ends), the *due* instant is so many days
earlier at a local time, plus the member's own part of the ``spread``.
"""

from collections.abc import Iterator
from datetime import date, timedelta
from functools import lru_cache
from typing import Literal, TypeAlias
from zlib import crc32

import msgspec

from models.local_time import has_day, instant_of, local_date
from models.times import DAY, MINUTE

# Before a day, at most; a year's day is never more than one before and one after away.
MAX_DAYS_BEFORE = 180
# Nobody alive was born earlier; what claims it is a placeholder (1899-12-30, 1753-01-01, 0001 ...).
_FIRST_BIRTH_YEAR = 1900
# What forms and tables hold when nobody filled them in.
_PLACEHOLDERS = ((1900, 1, 1), (1970, 1, 1))
_LEAP_YEAR = 2000
_YEAR = 31_556_952_000  # milliseconds, on average


class Festival(msgspec.Struct, frozen=True):
    """A day of the year with a name: the same each year, or on the dates that are listed."""

    name: str
    english: str
    chinese: str
    month_day: tuple[int, int] | None = None
    dates: tuple[date, ...] = ()


class Birthday(msgspec.Struct, frozen=True, tag="birthday"):
    """The member's birthday."""


class Anniversary(msgspec.Struct, frozen=True, tag="anniversary"):
    """The day on which the member registered, from the year after on."""


class FestivalDay(msgspec.Struct, frozen=True, tag="festival"):
    """A festival."""

    festival: Festival


class Weekly(msgspec.Struct, frozen=True, tag="weekly"):
    """A day of every week: 0 is Monday."""

    weekday: int


End: TypeAlias = Literal["points_expire", "offer_expires", "tier_review"]


class Before(msgspec.Struct, frozen=True, tag="before"):
    """The last day of something: of points, of an offer, or before a tier is looked at again."""

    end: End


Day: TypeAlias = Birthday | Anniversary | FestivalDay | Weekly | Before


class Calendar(msgspec.Struct, frozen=True, tag="calendar"):
    """Some days before a day, at a local minute, over ``spread`` milliseconds.

    The spread ends with the local day.
    """

    day: Day
    minute: int
    days_before: int = 0
    spread: int = 0


def once_per(calendar: Calendar, day: date, key: str) -> str:
    """Return what a calendar comes to at most once: the year of a birthday, else the day."""
    if isinstance(calendar.day, Birthday | Anniversary):
        return str(day.year)
    return f"{key}|{day}"


def share_of(member_id: str, day: date, spread: int) -> int:
    """Return a member's part of a spread in milliseconds: the same for the same member and day.

    Rules with the same spread that speak of the same day ask a member at the same instant, so that
    policy can choose between them.
    """
    return crc32(member_id.encode(), day.toordinal()) % spread if spread else 0


@lru_cache(maxsize=1 << 16)
def _nominal(ordinal: int, minute: int, zone: str) -> int:
    return instant_of(date.fromordinal(ordinal), minute, zone)


def nominal_of(calendar: Calendar, day: date, zone: str) -> int:
    """Return the instant at which a calendar comes to a day, before anything is spread."""
    return _nominal(day.toordinal() - calendar.days_before, calendar.minute, zone)


@lru_cache(maxsize=1 << 12)
def birthday_of(said: object) -> tuple[int | None, int, int] | None:
    """Return (year or None, month, day) of a birthday as profiles have it.

    None when it is none: a placeholder, or a date that there never was.
    """
    if not isinstance(said, str):
        return None
    year_text, month, day = said[:-5].rstrip("-"), int(said[-5:-3]), int(said[-2:])
    year = int(year_text) if year_text else None
    if year is not None and (year < _FIRST_BIRTH_YEAR or (year, month, day) in _PLACEHOLDERS):
        return None
    try:
        date(_LEAP_YEAR if year is None else year, month, day)
    except ValueError:
        return None
    return year, month, day


def in_year(month: int, day: int, year: int) -> date:
    """Return the day on which a date is celebrated in a year.

    29 February is 28 February where there is none: a day early is a greeting, a day late an
    apology, and it stays in its month.
    """
    if (month, day) == (2, 29):
        return date(year, 3, 1) - timedelta(days=1)
    return date(year, month, day)


@lru_cache(maxsize=1 << 16)
def _yearly(
    month: int, day: int, year: int, first_year: int, days_before: int, minute: int, zone: str
) -> tuple[tuple[int, date], ...]:
    days = [in_year(month, day, y) for y in range(year - 1, year + 3) if y >= first_year]
    return tuple((_nominal(d.toordinal() - days_before, minute, zone), d) for d in days)


def yearly(
    calendar: Calendar, month: int, day: int, first_year: int, zone: str, after: int
) -> tuple[tuple[int, date], ...]:
    """Return (nominal instant, day) of a date's years around ``after``, in order.

    They reach from before ``after`` to beyond it. None lies before ``first_year``.
    """
    year = 1970 + after // _YEAR
    if first_year > year + 2:
        year = first_year
    if year > 9990:
        return ()
    first_year = first_year if first_year > year - 1 else 0
    return _yearly(month, day, year, first_year, calendar.days_before, calendar.minute, zone)


def days_of(calendar: Calendar, zone: str, start: int) -> Iterator[date]:
    """Yield the days of a festival or of a weekly ritual, in order.

    The first may be past at ``start``; none is left out that is not.
    """
    today = local_date(start, zone) + timedelta(days=calendar.days_before)
    first = today - timedelta(days=2)
    match calendar.day:
        case Weekly(weekday=weekday):
            day = first + timedelta(days=(weekday - first.weekday()) % 7)
            while True:
                if has_day(day, zone):
                    yield day
                day += timedelta(days=7)
        case FestivalDay(festival=festival):
            if festival.month_day is None:
                yield from (day for day in festival.dates if day >= first)
                return
            month, of_month = festival.month_day
            for year in range(first.year, 9990):
                day = in_year(month, of_month, year)
                if day >= first:
                    yield day


def last_day_of(end: int, zone: str) -> date:
    """Return the last local date on which something is there that ends at the instant ``end``."""
    return local_date(end - 1, zone)


def longest_spread(minute: int) -> int:
    """Return the time from a local minute to the end of the day, in milliseconds."""
    return DAY - minute * MINUTE
