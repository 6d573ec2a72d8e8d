"""The lifecycle table from ``stages.yaml``."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from config.errors import ConfigError, ConfigErrors
from config.reading import Field, Report, Section
from config.stage_loops import find_loop
from config.yaml_source import Place, parse_file
from models.member import KEPT_ORDERS
from models.stages import (
    BANDS,
    STAGES,
    BandRow,
    Conditions,
    OrdersWithin,
    Row,
    StageRow,
    StageTable,
)

R = TypeVar("R", bound=Row)

# Without a window the whole count decides, which is kept; it only has to be a sane number.
_MOST_ORDERS_EVER = 10_000


def load_stages(path: Path) -> StageTable:
    """Return the table of a file; raise ``ConfigErrors`` with all that is wrong."""
    table, errors = read_stages(path)
    if errors:
        raise ConfigErrors(errors)
    return table


def read_stages(path: Path) -> tuple[StageTable, list[ConfigError]]:
    """Return the table of a file and every mistake in it."""
    root, errors = parse_file(path)
    report = Report(str(path))
    if root is None:
        if not errors:
            report.add(Place(1, 1), "", "is empty; a stage table has stages and bands")
        return StageTable(()), errors + report.errors
    section = Field(root, "", report).section(("stages", "bands"))
    stages = section.require("stages")
    bands = section.optional("bands", lambda field: field, None)
    table = StageTable(
        stages=tuple(_rows(stages, STAGES, StageRow)),
        bands=() if bands is None else tuple(_rows(bands, BANDS, BandRow)),
    )
    if not report.errors:
        _refuse_loops(stages, table.stages, STAGES)
        if bands is not None:
            _refuse_loops(bands, table.bands, BANDS)
    return table, errors + report.errors


def _rows(field: Field, names: Sequence[str], kind: type[R]) -> Iterator[R]:
    if field.node is not None and not isinstance(field.node.value, list):
        field.must("a list of rows")
        return
    for row in field.each():
        section = row.section(("from", "to", "if", "why"))
        before = tuple(one.choice(names) for one in section.require("from").each())
        after_field = section.require("to")
        after = after_field.choice(names)
        if after in before and after_field.node is not None and after_field.node.value == after:
            after_field.wrong(f"{after!r} leads to itself: it stands in from")
        when = _conditions(section.require("if"))
        yield kind(before, after, when, section.require("why").line())


def _conditions(field: Field) -> Conditions:
    known = ("registered", "orders", "quiet", "returned", "in_stage_for")
    section = field.section(known)
    if section.is_empty():
        field.wrong(f"needs at least one of {', '.join(known)}")
    at_least, below = section.optional("orders", _orders, (None, None))
    return Conditions(
        registered=section.optional("registered", Field.flag, None),
        at_least=at_least,
        below=below,
        quiet=section.optional("quiet", Field.duration, None),
        returned=section.optional("returned", Field.flag, None),
        dwell=section.optional("in_stage_for", Field.duration, None),
    )


def _orders(field: Field) -> tuple[OrdersWithin | None, OrdersWithin | None]:
    section: Section = field.section(("at_least", "below", "within"))
    if not section.broken and "at_least" not in section and "below" not in section:
        field.wrong("needs at_least, below or both")
    within = section.optional("within", Field.duration, None)
    most = _MOST_ORDERS_EVER if "within" not in section else KEPT_ORDERS

    def count(bound: Field) -> OrdersWithin:
        return OrdersWithin(bound.integer(1, most), within)

    at_least = section.optional("at_least", count, None)
    below = section.optional("below", count, None)
    if at_least is not None and below is not None and at_least.count >= below.count:
        field.wrong(f"at_least {at_least.count} and below {below.count} leave nothing")
    return at_least, below


def _refuse_loops(field: Field, rows: Sequence[Row], names: Sequence[str]) -> None:
    loop = find_loop(rows, names)
    if loop is not None:
        field.wrong(f"rows lead in a circle at one instant: {' -> '.join(loop)}")
