"""The festivals of ``calendar.yaml``: days that rules can name."""

import re
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import TypeAlias

from config.errors import ConfigError, ConfigErrors
from config.reading import Field, Report, Section
from config.yaml_source import parse_file
from models.calendar import Calendar, Festival, FestivalDay
from models.rules import Rule

Festivals: TypeAlias = Mapping[str, Festival]

# A typing mistake in a year is no festival.
_FIRST_YEAR, _LAST_YEAR = 2000, 2100
_LEAP_YEAR = 2000
_MONTH_DAY = re.compile(r"([0-9]{2})-([0-9]{2})")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


def load_festivals(path: Path) -> Festivals:
    """Return the festivals of a file; raise ``ConfigErrors`` with all that is wrong."""
    festivals, errors = read_festivals(path)
    if errors:
        raise ConfigErrors(errors)
    return festivals


def read_festivals(path: Path) -> tuple[Festivals, list[ConfigError]]:
    """Return the festivals of a file by name and every mistake in it; an empty file has none."""
    root, errors = parse_file(path)
    if root is None:
        return {}, errors
    report = Report(str(path))
    named = Field(root, "", report).section(("festivals",)).require("festivals")
    found: dict[str, Festival] = {}
    if named.node is None or not isinstance(named.node.value, dict):
        named.must("a mapping of names and festivals")
        return {}, errors + report.errors
    for name, node in named.node.value.items():
        field = Field(node, f"festivals.{name}", report)
        if not _NAME.fullmatch(name):
            wanted = "must be a name (small letters, digits and _, starting with a letter)"
            report.add(named.node.keys[name], field.path, wanted)
        found[name] = _festival(field, name)
    return found, errors + report.errors


def _festival(field: Field, name: str) -> Festival:
    section = field.section(("en", "zh", "every", "dates"))
    if not section.broken and ("every" in section) == ("dates" in section):
        field.wrong("needs either every (MM-DD) or dates (a list of YYYY-MM-DD)")
    return Festival(
        name,
        english=section.require("en").line(),
        chinese=section.require("zh").line(),
        month_day=section.optional("every", _month_day, None),
        dates=_dates(section),
    )


def _month_day(field: Field) -> tuple[int, int] | None:
    value = field.node.value if field.node else None
    match = _MONTH_DAY.fullmatch(value) if isinstance(value, str) else None
    try:
        if match is not None:
            date(_LEAP_YEAR, int(match[1]), int(match[2]))
            return int(match[1]), int(match[2])
    except ValueError:
        pass
    field.must("a day of the year such as 12-25")
    return None


def _dates(section: Section) -> tuple[date, ...]:
    if "dates" not in section:
        return ()
    listed = section.require("dates")
    if listed.node is None or not isinstance(listed.node.value, list):
        listed.must("a list of dates such as 2026-02-17")
        return ()
    found: list[date] = []
    for one in listed.each():
        day = _date(one)
        if day is not None:
            if found and day <= found[-1]:
                one.wrong(f"{day} must come after {found[-1]}")
            found.append(day)
    return tuple(found)


def _date(field: Field) -> date | None:
    value = field.node.value if field.node else None
    try:
        day = date.fromisoformat(value) if isinstance(value, str) and len(value) == 10 else None
    except ValueError:
        day = None
    if day is None or not _FIRST_YEAR <= day.year <= _LAST_YEAR:
        field.must(f"a date such as 2026-02-17, from {_FIRST_YEAR} to {_LAST_YEAR}")
        return None
    return day


def missing_years(rules: Iterable[Rule], year: int) -> list[str]:
    """Return a sentence for each festival that rules wait for in ``year`` or the next in vain."""
    waiting: dict[str, list[str]] = {}
    festivals: dict[str, Festival] = {}
    for rule in rules:
        when = rule.when
        if isinstance(when, Calendar) and isinstance(when.day, FestivalDay):
            festival = when.day.festival
            festivals[festival.name] = festival
            waiting.setdefault(festival.name, []).append(rule.name)
    found = []
    for name, festival in sorted(festivals.items()):
        have = {day.year for day in festival.dates}
        lacking = [str(y) for y in (year, year + 1) if festival.month_day is None and y not in have]
        if lacking:
            years, names = " or ".join(lacking), ", ".join(sorted(waiting[name]))
            found.append(f"{name} has no date in {years}: then nothing is raised by {names}")
    return found
