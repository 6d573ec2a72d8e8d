"""The festivals that ship, and what is wrong with a file of them."""

import datetime as dt
import json
from pathlib import Path

import pytest
from core_builders import write_rules
from hypothesis import given
from hypothesis import strategies as st
from new_moons import lunar_date, new_moon

from app.cli import main
from config.calendar_files import load_festivals, missing_years, read_festivals
from config.paths import package_dir
from models.calendar import Calendar, Festival, FestivalDay
from models.rules import Reentry, Rule

SHIPPED = load_festivals(package_dir() / "calendar.yaml")
YEARS = (2025, 2026, 2027)
# Of the lunar years that begin in these years: the month that comes twice.
LEAP_MONTHS = {2025: 6}


def weekday_of(year: int, month: int, weekday: int, nth: int) -> dt.date:
    days = [dt.date(year, month, day) for day in range(1, 29)]
    return [day for day in days if day.weekday() == weekday][nth - 1]


def qingming(year: int) -> dt.date:
    """By the rule of thumb for this century; the solar term itself is a matter of minutes."""
    short = year % 100
    return dt.date(year, 4, int(short * 0.2422 + 4.81) - short // 4)


DEFINITIONS = {
    "spring_festival": lambda year: lunar_date(year, 1, 1, LEAP_MONTHS.get(year)),
    "lantern_festival": lambda year: lunar_date(year, 1, 15, LEAP_MONTHS.get(year)),
    "dragon_boat": lambda year: lunar_date(year, 5, 5, LEAP_MONTHS.get(year)),
    "qixi": lambda year: lunar_date(year, 7, 7, LEAP_MONTHS.get(year)),
    "mid_autumn": lambda year: lunar_date(year, 8, 15, LEAP_MONTHS.get(year)),
    "qingming": qingming,
    "mothers_day": lambda year: weekday_of(year, 5, 6, 2),
    "fathers_day": lambda year: weekday_of(year, 6, 6, 3),
    "black_friday": lambda year: weekday_of(year, 11, 3, 4) + dt.timedelta(days=1),
}


@pytest.mark.parametrize("year", YEARS)
@pytest.mark.parametrize("name", sorted(DEFINITIONS))
def test_a_festival_that_moves_lies_where_its_definition_says(name: str, year: int) -> None:
    days = [day for day in SHIPPED[name].dates if day.year == year]
    assert days == [DEFINITIONS[name](year)]


def test_the_reference_agrees_with_published_new_years_of_other_years() -> None:
    # Hong Kong Observatory, Gregorian-Lunar Calendar Conversion Tables.
    published = {2020: "01-25", 2021: "02-12", 2022: "02-01", 2023: "01-22", 2024: "02-10"}
    for year, day in published.items():
        assert str(lunar_date(year, 1, 1, None)) == f"{year}-{day}"
    # The one that some calendars have a day late.
    published_moon = dt.datetime(2027, 2, 6, 23, 56)  # noqa: DTZ001
    assert abs(new_moon(335) - published_moon) < dt.timedelta(minutes=2)


def test_every_festival_that_moves_is_checked_and_the_others_are_the_same_each_year() -> None:
    assert {name for name, one in SHIPPED.items() if one.month_day is None} == set(DEFINITIONS)
    assert SHIPPED["double_11"].month_day == (11, 11)
    assert SHIPPED["christmas"].month_day == (12, 25)
    assert SHIPPED["spring_festival"].chinese == "春节"


def errors_of(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "calendar.yaml"
    path.write_text(text, encoding="utf-8")
    _, errors = read_festivals(path)
    return [str(error).removeprefix(str(path)) for error in errors]


def test_all_mistakes_are_named_at_once_with_their_places(tmp_path: Path) -> None:
    text = """festivals:
  Big Sale: {en: Sale, zh: 大促, every: 11-11}
  empty: {en: Empty, zh: 空}
  both: {en: Both, zh: 都, every: 01-01, dates: [2026-01-01]}
  wrong: {en: Wrong, zh: 错, every: 02-30}
  listed: {en: Listed, zh: 列, dates: [2026-02-17, 2026-02-17, 17.2.2026, 1926-01-01]}
  typo: {en: Typo, zh: 误, date: [2026-02-17]}
"""
    assert errors_of(tmp_path, text) == [
        ":2:3: festivals.Big Sale: must be a name (small letters, digits and _, starting with a "
        "letter)",
        ":3:10: festivals.empty: needs either every (MM-DD) or dates (a list of YYYY-MM-DD)",
        ":4:9: festivals.both: needs either every (MM-DD) or dates (a list of YYYY-MM-DD)",
        ":5:36: festivals.wrong.every: must be a day of the year such as 12-25, was the text "
        "'02-30'",
        ":6:51: festivals.listed.dates[1]: 2026-02-17 must come after 2026-02-17",
        ":6:63: festivals.listed.dates[2]: must be a date such as 2026-02-17, from 2000 to 2100, "
        "was the text '17.2.2026'",
        ":6:74: festivals.listed.dates[3]: must be a date such as 2026-02-17, from 2000 to 2100, "
        "was the text '1926-01-01'",
        ":7:27: festivals.typo.date: is not known here; allowed: en, zh, every, dates; did you "
        "mean 'dates'?",
        ":7:9: festivals.typo: needs either every (MM-DD) or dates (a list of YYYY-MM-DD)",
    ]


def test_an_empty_file_has_no_festivals(tmp_path: Path) -> None:
    (tmp_path / "calendar.yaml").write_text("# none\n")
    assert load_festivals(tmp_path / "calendar.yaml") == {}


@given(st.text(alphabet="festival:{}[], en zh every dates 0123456789-\n'", max_size=120))
def test_no_text_makes_the_reader_fail(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(text, encoding="utf-8")
    read_festivals(path)


def rule_for(name: str, festival: Festival) -> Rule:
    return Rule(
        name=name,
        version=1,
        about="",
        when=Calendar(day=FestivalDay(festival), minute=600),
        reentry=Reentry("every", "occasion", 1),
        expires_after=1,
        priority=50,
    )


def test_a_year_that_the_file_lacks_is_named_with_the_rules_that_wait_for_it() -> None:
    rules = [
        rule_for("red_packets", SHIPPED["spring_festival"]),
        rule_for("gifts", SHIPPED["christmas"]),
        rule_for("dumplings", SHIPPED["spring_festival"]),
    ]
    assert missing_years(rules, 2026) == []
    assert missing_years(rules, 2027) == [
        "spring_festival has no date in 2028: then nothing is raised by dumplings, red_packets"
    ]
    assert missing_years(rules, 2028) == [
        "spring_festival has no date in 2028 or 2029: then nothing is raised by dumplings, "
        "red_packets"
    ]


def test_rules_check_warns_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "calendar.yaml").write_text(
        "festivals: {spring_festival: {en: Spring Festival, zh: 春节, dates: [2001-01-24]}}",
        encoding="utf-8",
    )
    rule = {
        "rule": "dumplings",
        "when": {"calendar": {"festival": "spring_festival", "days_before": 3}},
    }
    write_rules(tmp_path / "rules", rule)
    assert main(["rules", "check", "--config", str(tmp_path), "--json"]) == 0
    said = capsys.readouterr()
    assert "calendar.yaml: spring_festival has no date in" in said.err
    assert (
        "then nothing is raised by dumplings"
        in json.loads(said.out.splitlines()[-1])["warnings"][0]
    )
