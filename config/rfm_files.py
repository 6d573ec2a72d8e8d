"""The RFM tables of ``rfm.yaml``, and the text of one."""

from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path
from typing import TypeAlias

from config.errors import ConfigError
from config.reading import Field, Report
from config.yaml_source import parse_file
from models.rfm import BEST, RfmTable
from models.times import format_duration, parse_instant

_KEYS = ("date", "base", "members", "recency", "frequency", "monetary")
_BOUNDS = BEST - 1
_MOST_ORDERS = 1_000_000
_MOST_AMOUNT = 1e9

Reader: TypeAlias = Callable[[Field], int]


def read_tables(path: Path) -> tuple[tuple[RfmTable, ...], list[ConfigError]]:
    """Return the tables of a file, in order of time, and every mistake; an empty file has none."""
    root, errors = parse_file(path)
    if root is None:
        return (), errors
    report = Report(str(path))
    listed = Field(root, "", report).section(("tables",)).require("tables")
    if listed.node is not None and not isinstance(listed.node.value, list):
        listed.must("a list of tables, the oldest first")
        return (), errors + report.errors
    found: list[RfmTable] = []
    for one in listed.each():
        table = _table(one)
        if found and table.begins <= found[-1].begins and not report.errors:
            one.wrong(f"{table.date} must come after {found[-1].date}")
        found.append(table)
    return tuple(found), errors + report.errors


def _table(field: Field) -> RfmTable:
    section = field.section(_KEYS)
    day = _date(section.require("date"))
    return RfmTable(
        date=day,
        begins=parse_instant(f"{day}T00:00:00Z"),
        base=section.require("base").line(),
        members=section.require("members").integer(1, 10**12),
        recency=_four(section.require("recency"), Field.duration),
        frequency=_four(section.require("frequency"), lambda one: one.integer(1, _MOST_ORDERS)),
        monetary=_four(
            section.require("monetary"), lambda one: round(one.number(0.01, _MOST_AMOUNT) * 100)
        ),
    )


def _date(field: Field) -> str:
    value = field.node.value if field.node else None
    try:
        if isinstance(value, str) and len(value) == 10:
            return str(date.fromisoformat(value))
    except ValueError:
        pass
    field.must("a date such as 2026-11-22")
    return "1970-01-01"


def _four(field: Field, read: Reader) -> tuple[int, int, int, int]:
    if field.node is not None and not isinstance(field.node.value, list):
        field.must(f"a list of {_BOUNDS}, where the scores begin")
        return 1, 1, 1, 1
    found = [read(one) for one in field.each()]
    if field.node is not None and len(found) != _BOUNDS:
        field.wrong(f"has {len(found)} numbers, needs {_BOUNDS}: five scores begin at four")
    elif found != sorted(found):
        field.wrong("each must be as great as the one before, or greater")
    one, two, three, four, *_ = [*found, 1, 1, 1, 1]
    return one, two, three, four


_HEAD = """\
# RFM: how lately, how often and for how much a member buys, each scored from 1 to 5. A table says
# where the scores begin, from its date (UTC) on: the quintiles of a base of members. Made by
# `lifecycle rfm`; an older table may go when no history before the next is replayed any more.
#
#   recency     5 when the last order is less than the first ago, 4 less than the second, ...
#   frequency   orders of the last 364 days: 2 from the first on, 3 from the second on, ...
#   monetary    what they came to, likewise
#
# A member keeps a score until the number is a tenth beyond where it begins.

tables:
"""


def file_of(tables: Iterable[RfmTable]) -> str:
    """Return the text of a file with these tables, which must be in order of time."""
    return _HEAD + "".join(map(_text_of, tables))


def _text_of(table: RfmTable) -> str:
    recency = ", ".join(map(format_duration, table.recency))
    monetary = ", ".join(f"{cents / 100:.2f}" for cents in table.monetary)
    return (
        f"  - date: {table.date}\n"
        f"    base: {_quoted(table.base)}\n"
        f"    members: {table.members}\n"
        f"    recency: [{recency}]\n"
        f"    frequency: [{', '.join(map(str, table.frequency))}]\n"
        f"    monetary: [{monetary}]\n"
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
