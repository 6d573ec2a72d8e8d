"""Days that matter, against plain definitions."""

import datetime as dt
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.calendar import (
    Anniversary,
    Birthday,
    Calendar,
    Festival,
    FestivalDay,
    Weekly,
    birthday_of,
    days_of,
    in_year,
    last_day_of,
    nominal_of,
    once_per,
    share_of,
    yearly,
)
from models.local_time import local_date, local_minute, start_of_day
from models.times import DAY, HOUR, MINUTE, parse_instant

ZONES = st.sampled_from(
    [
        "UTC",
        "Asia/Shanghai",
        "America/New_York",
        "Pacific/Kiritimati",
        "Pacific/Pago_Pago",
        "Australia/Lord_Howe",
        "Africa/Cairo",
        "Asia/Kathmandu",
    ]
)
INSTANTS = st.integers(parse_instant("1975-01-01T00:00:00Z"), parse_instant("2037-01-01T00:00:00Z"))
DATES = st.dates(dt.date(1901, 1, 1), dt.date(2036, 12, 31))
MINUTES = st.integers(0, 1439)


@pytest.mark.parametrize(
    ("zone", "skipped"),
    [("Pacific/Apia", dt.date(2011, 12, 30)), ("Pacific/Kwajalein", dt.date(1993, 8, 21))],
)
def test_a_weekday_that_a_zone_skipped_has_no_ritual(zone: str, skipped: dt.date) -> None:
    ritual = Calendar(day=Weekly(skipped.weekday()), minute=600)
    week = dt.timedelta(days=7)
    start = start_of_day(skipped - week, zone)
    days = [day for day in islice(days_of(ritual, zone, start), 3) if day >= skipped - week]
    assert days == [skipped - week, skipped + week, skipped + 2 * week]


@settings(deadline=None)
@given(DATES, st.integers(0, 180), MINUTES, ZONES, INSTANTS)
def test_the_next_birthday_is_the_first_that_a_list_of_all_years_has(
    born: dt.date, days_before: int, minute: int, zone: str, after: int
) -> None:
    calendar = Calendar(day=Birthday(), minute=minute, days_before=days_before)
    every = [
        (nominal_of(calendar, day, zone), day)
        for year in range(born.year + 1, 2041)
        for day in [in_year(born.month, born.day, year)]
    ]
    found = yearly(calendar, born.month, born.day, born.year + 1, zone, after)
    assert min(one for one in found if one[0] > after) == min(
        one for one in every if one[0] > after
    )
    assert all(one in every for one in found)


@settings(deadline=None)
@given(DATES, st.integers(0, 180), MINUTES, ZONES)
def test_a_greeting_stands_so_many_local_days_before_its_day_at_its_time(
    day: dt.date, days_before: int, minute: int, zone: str
) -> None:
    due = nominal_of(Calendar(day=Birthday(), minute=minute, days_before=days_before), day, zone)
    sent = day - dt.timedelta(days=days_before)
    if local_minute(due, zone) == minute:
        assert local_date(due, zone) == sent
    else:  # the wall clock was put forward over it
        assert start_of_day(sent, zone) <= due <= start_of_day(sent, zone) + 25 * HOUR
        before = due - MINUTE
        assert (local_date(before, zone), local_minute(before, zone)) < (sent, minute)


@pytest.mark.parametrize("year", [1999, 2001, 2026, 2027, 2100])
def test_29_february_is_celebrated_on_the_28th_where_there_is_none(year: int) -> None:
    assert in_year(2, 29, year) == dt.date(year, 2, 28)
    assert in_year(2, 29, 2028) == dt.date(2028, 2, 29)
    assert in_year(3, 1, year) == dt.date(year, 3, 1)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("1990-05-12", (1990, 5, 12)),
        ("05-12", (None, 5, 12)),
        ("--05-12", (None, 5, 12)),
        ("--02-29", (None, 2, 29)),
        ("2000-02-29", (2000, 2, 29)),
        ("01-01", (None, 1, 1)),
        ("1900-01-02", (1900, 1, 2)),
        ("1900-01-01", None),
        ("1970-01-01", None),
        ("0000-01-01", None),
        ("0000-05-12", None),
        ("0001-01-01", None),
        ("1899-12-30", None),
        ("1753-01-01", None),
        ("1995-02-29", None),
        ("02-30", None),
        ("1990-04-31", None),
        (None, None),
        (19900512, None),
    ],
)
def test_what_is_a_birthday_and_what_only_fills_a_form(said: object, expected: object) -> None:
    assert birthday_of(said) == expected


def test_nobody_has_a_birthday_on_the_day_of_birth_or_before() -> None:
    calendar = Calendar(day=Birthday(), minute=600)
    born = dt.date(2026, 5, 12)
    january = parse_instant("2026-01-01T00:00:00Z")
    days = [day for _, day in yearly(calendar, 5, 12, born.year + 1, "UTC", january)]
    assert days[0] == dt.date(2027, 5, 12)
    assert yearly(calendar, 5, 12, 9999, "UTC", january) == ()


WEEKLY = st.builds(
    Calendar,
    day=st.builds(Weekly, st.integers(0, 6)),
    minute=MINUTES,
    spread=st.integers(0, 3 * HOUR),
)
DATED = st.builds(
    Calendar,
    day=st.builds(
        FestivalDay,
        st.builds(
            Festival,
            st.just("f"),
            st.just("F"),
            st.just("F"),
            dates=st.lists(DATES, unique=True, max_size=6).map(lambda days: tuple(sorted(days))),
        ),
    ),
    minute=MINUTES,
    days_before=st.integers(0, 180),
)
FIXED = st.builds(
    Calendar,
    day=st.builds(
        FestivalDay,
        st.builds(
            Festival,
            st.just("f"),
            st.just("F"),
            st.just("F"),
            month_day=st.sampled_from([(1, 1), (12, 31), (2, 29), (6, 18)]),
        ),
    ),
    minute=MINUTES,
    days_before=st.integers(0, 180),
)


def is_kept(calendar: Calendar, day: dt.date) -> bool:
    match calendar.day:
        case Weekly(weekday=weekday):
            return day.weekday() == weekday
        case FestivalDay(festival=festival):
            if festival.month_day is None:
                return day in festival.dates
            return day == in_year(*festival.month_day, day.year)
        case _:
            raise AssertionError


@settings(max_examples=200, deadline=None)
@given(st.one_of(WEEKLY, DATED, FIXED), ZONES, INSTANTS)
def test_days_from_an_instant_on_are_those_that_a_walk_over_all_days_finds(
    calendar: Calendar, zone: str, start: int
) -> None:
    first = local_date(start, zone) - dt.timedelta(days=1)
    walked = [
        day
        for n in range(600)
        if is_kept(calendar, day := first + dt.timedelta(days=n))
        and nominal_of(calendar, day, zone) + calendar.spread >= start
    ]
    kept = (
        day
        for day in days_of(calendar, zone, start)
        if nominal_of(calendar, day, zone) + calendar.spread >= start
    )
    until = first + dt.timedelta(days=599)
    found = [day for day in islice(kept, 90) if day <= until]
    assert found == walked


@given(st.text(max_size=40), DATES, st.integers(0, DAY))
def test_a_members_part_of_a_spread_is_always_the_same_and_lies_within(
    member: str, day: dt.date, spread: int
) -> None:
    share = share_of(member, day, spread)
    assert 0 <= share < max(spread, 1)
    assert share == share_of(member, day, spread)


def test_a_spread_fills_its_time_evenly_and_not_in_the_same_order_each_day() -> None:
    day, members = dt.date(2026, 2, 17), [f"m{n:06d}" for n in range(60_000)]
    by_minute = [0] * 60
    for member in members:
        by_minute[share_of(member, day, HOUR) // MINUTE] += 1
    assert min(by_minute) > 800
    assert max(by_minute) < 1200
    first = sorted(members[:500], key=lambda member: share_of(member, day, HOUR))
    other = dt.date(2026, 2, 18)
    assert first != sorted(members[:500], key=lambda member: share_of(member, other, HOUR))


def test_a_birthday_comes_once_a_year_and_a_festival_once_a_day() -> None:
    day = dt.date(2027, 1, 3)
    assert once_per(Calendar(day=Birthday(), minute=0, days_before=7), day, "") == "2027"
    assert once_per(Calendar(day=Anniversary(), minute=0), day, "") == "2027"
    assert once_per(Calendar(day=Weekly(6), minute=0), day, "") == "|2027-01-03"


def test_the_last_day_of_what_ends_at_midnight_is_the_day_before() -> None:
    midnight = parse_instant("2026-12-31T16:00:00Z")
    assert last_day_of(midnight, "Asia/Shanghai") == dt.date(2026, 12, 31)
    assert last_day_of(midnight + 1, "Asia/Shanghai") == dt.date(2027, 1, 1)
