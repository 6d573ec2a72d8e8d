"""Local time against a slow reference that looks at the wall clock minute by minute."""

import datetime as dt
import zoneinfo
from functools import cache
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import local_time
from models.local_time import (
    UnknownZone,
    in_quiet,
    instant_of,
    local_date,
    local_minute,
    local_text,
    monday_of,
    next_local,
    start_of_day,
    zone_names,
    zone_of,
)
from models.times import DAY, HOUR, MAX_INSTANT, MINUTE, parse_instant

# Before 1973 some clocks were off by seconds; the reference counts minutes.
FIRST, LAST = parse_instant("1973-01-01T00:00:00Z"), parse_instant("2037-12-01T00:00:00Z")

# Around these the wall clock did something that is easily got wrong.
ODD = [
    ("Pacific/Apia", "2011-12-30T10:00:00Z"),  # 30 December never was
    ("Pacific/Kiritimati", "1994-12-31T10:00:00Z"),  # nor was the last of 1994
    ("Pacific/Kwajalein", "1993-08-21T12:00:00Z"),
    ("America/New_York", "2026-03-08T07:00:00Z"),
    ("America/New_York", "2026-11-01T06:00:00Z"),
    ("Australia/Lord_Howe", "2026-04-04T15:00:00Z"),  # half an hour of daylight saving
    ("Antarctica/Troll", "2026-03-29T01:00:00Z"),  # two hours of it
    ("Africa/Casablanca", "2026-02-15T02:00:00Z"),
    ("Africa/Cairo", "2026-04-23T22:00:00Z"),  # a gap at midnight
    ("Asia/Beirut", "2026-10-24T21:00:00Z"),  # an overlap at midnight
    ("America/St_Johns", "2010-11-07T02:31:00Z"),  # one a minute after midnight
    ("America/Scoresbysund", "2024-03-31T00:00:00Z"),  # zone and daylight saving at once
    ("Asia/Kathmandu", "1985-12-31T18:30:00Z"),
    ("Asia/Pyongyang", "2018-05-04T15:00:00Z"),
    ("Pacific/Chatham", "2026-09-26T14:00:00Z"),
]


@cache
def reference(zone: str) -> ZoneInfo:
    with (files("tzdata.zoneinfo") / zone).open("rb") as file:
        return ZoneInfo.from_file(file, zone)


def wall(at: int, zone: str) -> tuple[dt.date, int]:
    moment = dt.datetime.fromtimestamp(at // 1000, reference(zone))
    return moment.date(), moment.hour * 60 + moment.minute


@cache
def changes(zone: str) -> list[int]:
    step = 6 * HOUR
    offsets = {
        at: dt.datetime.fromtimestamp(at // 1000, reference(zone)).utcoffset()
        for at in range(parse_instant("1993-01-01T00:00:00Z"), LAST, step)
    }
    return [b for (_, before), (b, after) in pairwise(offsets.items()) if before != after]


@st.composite
def zoned_instants(draw: st.DrawFn) -> tuple[str, int]:
    if draw(st.booleans()):
        zone, text = draw(st.sampled_from(ODD))
        return zone, parse_instant(text) + draw(st.integers(-30 * HOUR, 30 * HOUR))
    zone = draw(st.sampled_from(sorted(zone_names())))
    if draw(st.booleans()) and changes(zone):
        return zone, draw(st.sampled_from(changes(zone))) + draw(st.integers(-DAY, DAY))
    return zone, draw(st.integers(FIRST, LAST))


def minutes_around(at: int, zone: str) -> list[tuple[int, tuple[dt.date, int]]]:
    first = at // MINUTE * MINUTE - 26 * HOUR
    return [(t, wall(t, zone)) for t in range(first, first + 100 * HOUR, MINUTE)]


def slow_occurrences(at: int, zone: str, minute: int) -> dict[dt.date, int]:
    """The instant at which each date that is on the clock around ``at`` has its ``minute``."""
    walls = minutes_around(at, zone)
    found = {}
    for day in sorted({day for _, (day, _) in walls})[1:-1]:
        exact = [t for t, shown in walls if shown == (day, minute)]
        after_gap = [t for t, shown in walls if shown > (day, minute)]
        found[day] = exact[0] if exact else after_gap[0]
    return found


@settings(max_examples=60, deadline=None)
@given(zoned_instants(), st.integers(0, 1439))
def test_the_next_local_time_is_the_one_that_a_scan_of_the_clock_finds(
    where: tuple[str, int], minute: int
) -> None:
    zone, at = where
    expected = min(t for t in slow_occurrences(at, zone, minute).values() if t > at)
    assert next_local(at, zone, minute) == expected


@settings(max_examples=60, deadline=None)
@given(zoned_instants(), st.integers(0, 1439), st.integers(0, 1439))
def test_quiet_hours_end_when_a_scan_of_the_clock_says_so(
    where: tuple[str, int], start: int, end: int
) -> None:
    zone, at = where
    if start == end:
        return

    def is_quiet(minute: int) -> bool:
        return start <= minute < end if start < end else not end <= minute < start

    if not is_quiet(wall(at, zone)[1]):
        assert in_quiet(at, zone, start, end) is None
        return
    scan = at // MINUTE * MINUTE
    while is_quiet(wall(scan, zone)[1]):
        scan += MINUTE
    assert in_quiet(at, zone, start, end) == scan


@settings(max_examples=300, deadline=None)
@given(zoned_instants())
def test_local_date_and_minute_are_those_of_the_clock(where: tuple[str, int]) -> None:
    zone, at = where
    day, minute = wall(at, zone)
    assert (local_date(at, zone), local_minute(at, zone)) == (day, minute)
    assert local_text(at, zone) == f"{day} {minute // 60:02d}:{minute % 60:02d}"


@settings(max_examples=50, deadline=None)
@given(zoned_instants())
def test_a_day_begins_at_the_first_minute_that_shows_its_date(where: tuple[str, int]) -> None:
    zone, at = where
    walls = minutes_around(at, zone)
    day = local_date(at, zone)
    assert start_of_day(day, zone) == next(t for t, (shown, _) in walls if shown >= day)


@settings(max_examples=300, deadline=None)
@given(zoned_instants(), st.integers(0, 1439))
def test_every_instant_lies_strictly_before_its_next_local_time(
    where: tuple[str, int], minute: int
) -> None:
    zone, at = where
    following = next_local(at, zone, minute)
    assert at < following <= at + 2 * DAY + HOUR
    # From just before it, it is still the next; from it, it is not.
    assert next_local(following - 1, zone, minute) == following
    assert next_local(following, zone, minute) > following


def test_a_wall_time_inside_a_gap_is_the_first_instant_after_it() -> None:
    before = parse_instant("2026-03-08T05:00:00Z")
    for minute in (120, 121, 150, 179, 180):
        found = next_local(before, "America/New_York", minute)
        assert found == parse_instant("2026-03-08T07:00:00Z")
        assert local_text(found, "America/New_York") == "2026-03-08 03:00"


def test_of_a_wall_time_that_comes_twice_only_the_first_counts() -> None:
    first = parse_instant("2026-11-01T05:30:00Z")
    assert next_local(first - HOUR, "America/New_York", 90) == first
    assert next_local(first, "America/New_York", 90) == first + 25 * HOUR


def test_a_date_that_a_zone_skipped_has_no_local_time() -> None:
    evening = parse_instant("2011-12-30T08:00:00Z")  # 22:00 on the 29th in Apia
    assert local_text(evening, "Pacific/Apia") == "2011-12-29 22:00"
    found = next_local(evening, "Pacific/Apia", 9 * 60)
    assert local_text(found, "Pacific/Apia") == "2011-12-31 09:00"
    skipped = start_of_day(dt.date(2011, 12, 30), "Pacific/Apia")
    assert skipped == start_of_day(dt.date(2011, 12, 31), "Pacific/Apia")
    assert instant_of(dt.date(2011, 12, 30), 600, "Pacific/Apia") == skipped


def test_dates_ahead_of_utc_and_behind_it() -> None:
    at = parse_instant("2026-12-31T10:00:00Z")
    assert local_text(at, "Pacific/Kiritimati") == "2027-01-01 00:00"
    assert local_text(at - 1, "Pacific/Kiritimati") == "2026-12-31 23:59"
    assert local_text(at, "Pacific/Pago_Pago") == "2026-12-30 23:00"
    assert local_text(at, "Asia/Kathmandu") == "2026-12-31 15:45"
    assert local_text(at, "Australia/Adelaide") == "2026-12-31 20:30"


def test_swapped_bounds_tell_when_the_next_quiet_hours_begin() -> None:
    noon = parse_instant("2026-11-21T04:00:00Z")
    begins = in_quiet(noon, "Asia/Shanghai", 9 * 60, 21 * 60)
    assert begins == parse_instant("2026-11-21T13:00:00Z")
    assert in_quiet(begins, "Asia/Shanghai", 21 * 60, 9 * 60) == begins + 12 * HOUR


def test_quiet_hours_include_their_first_minute_and_not_their_last() -> None:
    nine = parse_instant("2026-11-21T13:00:00Z")
    assert in_quiet(nine - 1, "Asia/Shanghai", 21 * 60, 9 * 60) is None
    assert in_quiet(nine, "Asia/Shanghai", 21 * 60, 9 * 60) == nine + 12 * HOUR
    assert in_quiet(nine + 12 * HOUR - 1, "Asia/Shanghai", 21 * 60, 9 * 60) == nine + 12 * HOUR
    assert in_quiet(nine + 12 * HOUR, "Asia/Shanghai", 21 * 60, 9 * 60) is None


@pytest.mark.parametrize(
    "said",
    [None, "", "Beijing", "UTC+8", "asia/shanghai", "../../etc/passwd", "posixrules", 8, "Asia"],
)
def test_a_zone_that_is_none_is_the_brands(said: object) -> None:
    assert zone_of(said, "Asia/Shanghai") == "Asia/Shanghai"


def test_every_zone_and_its_other_names_are_known() -> None:
    for name in ("PRC", "Asia/Calcutta", "Pacific/Kiritimati", "UTC"):
        assert zone_of(name, "Europe/Berlin") == name
    assert all(local_date(0, name) for name in zone_names())


def test_an_unknown_zone_is_refused_by_name() -> None:
    with pytest.raises(UnknownZone, match="'Mars/Olympus'"):
        local_date(0, "Mars/Olympus")


def test_the_last_instant_that_can_be_written_has_a_date() -> None:
    assert local_date(MAX_INSTANT, "Pacific/Kiritimati") == dt.date.max


def test_the_zone_data_is_the_packages_and_not_the_machines(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "Asia").mkdir()
    wrong = (files("tzdata.zoneinfo") / "America/New_York").read_bytes()
    (tmp_path / "Asia/Shanghai").write_bytes(wrong)
    monkeypatch.setattr(local_time, "_tables", {})
    ZoneInfo.clear_cache()
    zoneinfo.reset_tzpath([str(tmp_path)])
    try:
        assert local_text(0, "Asia/Shanghai") == "1970-01-01 08:00"
    finally:
        zoneinfo.reset_tzpath()
        ZoneInfo.clear_cache()


def test_weeks_begin_on_monday() -> None:
    sunday = dt.date(2026, 3, 1)
    assert monday_of(sunday) == dt.date(2026, 2, 23)
    assert monday_of(dt.date(2026, 3, 2)) == dt.date(2026, 3, 2)
