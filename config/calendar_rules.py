"""``when: {calendar: ...}``: days that a rule waits for.

The forms, each with ``at`` (local time, 10:00 when absent) and ``spread``::

    {birthday: {days_before: 7}}        {anniversary: registered, days_before: 0}
    {festival: NAME, days_before: 3}    {weekly: friday}    {before: points_expire, days: 14}
"""

import re
from typing import get_args

from config.calendar_files import Festivals
from config.reading import Field, Section, suggestion
from models.calendar import (
    MAX_DAYS_BEFORE,
    Anniversary,
    Before,
    Birthday,
    Calendar,
    Day,
    End,
    Festival,
    FestivalDay,
    Weekly,
    longest_spread,
)
from models.rules import Reentry
from models.times import DAY, HOUR, format_duration

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
ENDS: tuple[End, ...] = get_args(End)

_FORMS = ("birthday", "anniversary", "festival", "weekly", "before")
_TEN = 10 * 60
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
# Longer than any journey around the date line, so that nobody has two of one occasion ...
_OCCASION = 4 * DAY
# ... and longer than two dates of one calendar year, however it is edited, lie apart.
_YEAR = 368 * DAY


def read_calendar(field: Field, festivals: Festivals) -> Calendar:
    """Return the calendar that a rule waits for."""
    section = field.open_section("a mapping with one of " + ", ".join(_FORMS))
    given = [form for form in _FORMS if form in section]
    if len(given) != 1:
        mistakes = len(field.report.errors)
        section.only((*_FORMS, "days_before", "days", "at", "spread"))
        if not section.broken and len(field.report.errors) == mistakes:
            had = " and ".join(given) or "none"
            field.wrong(f"needs exactly one of {', '.join(_FORMS)}; has {had}")
        return Calendar(day=Birthday(), minute=_TEN)
    match given[0]:
        case "birthday":
            section.only(("birthday",))
            return _calendar(section.require("birthday").section(_MAY_HAVE), Birthday())
        case "anniversary":
            section.only(("anniversary", *_MAY_HAVE))
            section.require("anniversary").choice(("registered",))
            return _calendar(section, Anniversary())
        case "festival":
            section.only(("festival", *_MAY_HAVE))
            festival = _festival(section.require("festival"), festivals)
            return _calendar(section, FestivalDay(festival))
        case "weekly":
            section.only(("weekly", "at", "spread"))
            weekday = section.require("weekly").choice(WEEKDAYS)
            return _calendar(section, Weekly(WEEKDAYS.index(weekday)))
        case _:
            section.only(("before", "days", "at", "spread"))
            end = section.require("before").choice(ENDS)
            return _calendar(section, Before(end))


_MAY_HAVE = ("days_before", "at", "spread")


def _festival(field: Field, festivals: Festivals) -> Festival:
    name = field.text("the name of a festival")
    if name in festivals:
        return festivals[name]
    if name:
        allowed = ", ".join(festivals) or "none"
        hint = suggestion(name, festivals)
        field.wrong(f"{name!r} is not in calendar.yaml; it has: {allowed}{hint}")
    return Festival("", "", "")


def _calendar(section: Section, day: Day) -> Calendar:
    minute = section.optional("at", _clock, _TEN)
    if isinstance(day, Before):
        days = section.require("days", "is missing: how many days before").integer(0, 365)
    else:
        days = section.optional("days_before", lambda f: f.integer(0, MAX_DAYS_BEFORE), 0)
    # Everybody has these on the same day.
    is_common = isinstance(day, FestivalDay | Weekly)
    longest = longest_spread(minute)
    spread = section.optional("spread", Field.duration, min(HOUR, longest) if is_common else 0)
    if spread > longest:
        most = format_duration(longest)
        section.require("spread").wrong(f"must end with the day: at most {most} from that time on")
    return Calendar(day=day, minute=minute, days_before=days, spread=spread)


def _clock(field: Field) -> int:
    value = field.node.value if field.node else None
    match = _CLOCK.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        field.must("a local time such as 10:00")
        return _TEN
    return int(match[1]) * 60 + int(match[2])


def calendar_reentry(field: Field, said: Reentry, calendar: Calendar) -> Reentry:
    """Return how soon a calendar rule may raise again, given what its ``reentry`` says."""
    is_yearly = isinstance(calendar.day, Birthday | Anniversary)
    if said.mode == "always":
        return Reentry("every", "occasion", _YEAR if is_yearly else _OCCASION)
    if said.mode == "every":
        if is_yearly:
            field.wrong("comes once a calendar year by itself: always or once")
        elif said.per == "member" and said.every < _OCCASION:
            shortest = format_duration(_OCCASION)
            field.wrong(f"must be at least {shortest}, so that a journey brings no second one")
    return said
