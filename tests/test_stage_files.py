"""The lifecycle table: how it is read, what is refused, and what the shipped one says."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.errors import ConfigError, ConfigErrors
from config.paths import load_config
from config.stage_files import load_stages
from config.stage_loops import MAX_STEPS, find_loop
from models.stages import (
    BANDS,
    STAGES,
    Conditions,
    Facts,
    OrdersWithin,
    Row,
    StageRow,
    StageTable,
    holds,
)
from models.times import DAY

ROW = "{from: lead, to: new, if: {registered: true}, why: registered}"


def table(folder: Path, text: str) -> StageTable:
    path = folder / "stages.yaml"
    path.write_text(text)
    return load_stages(path)


def errors_of(folder: Path, text: str) -> tuple[ConfigError, ...]:
    with pytest.raises(ConfigErrors) as caught:
        table(folder, text)
    return caught.value.errors


def test_a_row_is_read_with_every_condition(tmp_path: Path) -> None:
    text = (
        "stages:\n  - from: [new, silent]\n    to: active\n"
        "    if: {registered: false, orders: {at_least: 2, below: 9, within: 90d}, quiet: 1d,"
        " returned: true, in_stage_for: 7d}\n    why: because\n"
    ).replace("below: 9", "below: 8")
    assert table(tmp_path, text).stages == (
        StageRow(
            before=("new", "silent"),
            after="active",
            when=Conditions(
                registered=False,
                at_least=OrdersWithin(2, 90 * DAY),
                below=OrdersWithin(8, 90 * DAY),
                quiet=DAY,
                returned=True,
                dwell=7 * DAY,
            ),
            why="because",
        ),
    )


def test_orders_without_a_window_are_all_orders_ever(tmp_path: Path) -> None:
    text = "stages:\n  - {from: lead, to: new, if: {orders: {at_least: 100}}, why: many}\n"
    assert table(tmp_path, text).stages[0].when == Conditions(at_least=OrdersWithin(100, None))


@pytest.mark.parametrize(
    ("old", "new", "field", "says"),
    [
        ("from: lead", "from: leed", "stages[0].from", "did you mean 'lead'?"),
        ("to: new", "to: newer", "stages[0].to", "allowed: lead, new, silent"),
        ("to: new", "to: lead", "stages[0].to", "leads to itself"),
        ("from: lead", "from: []", "stages[0].from", "empty list"),
        (", why: registered", "", "stages[0].why", "is missing"),
        ("registered: true", "registered: yes", "stages[0].if.registered", "true or false"),
        ("registered: true", "", "stages[0].if", "at least one of registered, orders"),
        ("registered: true", "queit: 3d", "stages[0].if.queit", "did you mean 'quiet'?"),
        ("registered: true", "quiet: 3", "stages[0].if.quiet", "must be a duration"),
        ("registered: true", "orders: {within: 3d}", "stages[0].if.orders", "at_least, below"),
        (
            "registered: true",
            "orders: {at_least: 9, within: 3d}",
            "stages[0].if.orders.at_least",
            "from 1 to 8",
        ),
        (
            "registered: true",
            "orders: {at_least: 3, below: 3}",
            "stages[0].if.orders",
            "leave nothing",
        ),
    ],
)
def test_a_mistake_is_named_with_its_place(
    tmp_path: Path, old: str, new: str, field: str, says: str
) -> None:
    assert old in ROW
    errors = errors_of(tmp_path, f"stages:\n  - {ROW.replace(old, new)}\n")
    assert len(errors) == 1
    assert (errors[0].field, errors[0].line) == (field, 2)
    assert says in errors[0].message


def test_an_empty_file_and_a_wrong_shape_are_refused(tmp_path: Path) -> None:
    assert "is empty" in errors_of(tmp_path, "")[0].message
    assert "must be a list of rows" in errors_of(tmp_path, "stages: {a: 1}\n")[0].message
    assert "is missing" in errors_of(tmp_path, "bands: []\n")[0].message


def test_rows_that_go_round_in_a_circle_are_refused(tmp_path: Path) -> None:
    back = "{from: new, to: lead, if: {orders: {below: 2}}, why: back}"
    errors = errors_of(tmp_path, f"stages:\n  - {ROW}\n  - {back}\n")
    assert errors[0].field == "stages"
    assert "lead -> new -> lead" in errors[0].message


def test_a_circle_that_a_dwell_breaks_is_none(tmp_path: Path) -> None:
    back = "{from: new, to: lead, if: {orders: {below: 2}, in_stage_for: 1d}, why: back}"
    assert len(table(tmp_path, f"stages:\n  - {ROW}\n  - {back}\n").stages) == 2


def test_a_circle_among_the_bands_is_refused(tmp_path: Path) -> None:
    up = "{from: light, to: high, if: {orders: {at_least: 3, within: 90d}}, why: up}"
    down = "{from: high, to: light, if: {orders: {below: 5, within: 90d}}, why: down}"
    errors = errors_of(tmp_path, f"stages:\n  - {ROW}\nbands:\n  - {up}\n  - {down}\n")
    assert errors[0].field == "bands"


# --- the shipped table --------------------------------------------------------------------------

NOW = 2000 * DAY
SHIPPED = load_config().stages


def step(rows: tuple[Row, ...], name: str, facts: Facts, since: int, at: int) -> str:
    for row in rows:
        if name in row.before and holds(row.when, facts, since, at):
            return row.after
    return name


def orders(*days_ago: float) -> list[int]:
    return sorted(round(NOW - days * DAY) for days in days_ago)


def facts(
    *days_ago: float, quiet: float = 0, registered: float | None = 1000, count: int | None = None
) -> Facts:
    registered_at = 0 if registered is None else round(NOW - registered * DAY)
    times = orders(*days_ago)
    return Facts(registered_at, count or len(times), times, round(NOW - quiet * DAY))


@pytest.mark.parametrize(
    ("before", "known", "days_in_stage", "after"),
    [
        ("lead", facts(registered=0), 0, "new"),
        ("lead", facts(0, registered=None), 0, "new"),
        ("lead", facts(quiet=179.9, registered=None), 500, "lead"),
        ("lead", facts(quiet=180, registered=None), 500, "lost"),
        ("new", facts(quiet=14, registered=14), 14, "silent"),
        ("new", facts(quiet=13.9, registered=14), 14, "new"),
        ("new", facts(20, quiet=20), 20, "new"),
        ("new", facts(89.9, 0), 89.9, "active"),
        ("new", facts(90, 0), 90, "new"),
        ("new", facts(200, 100, 0), 200, "active"),
        ("silent", facts(quiet=0), 5, "new"),
        ("silent", facts(quiet=10), 5, "silent"),
        ("active", facts(364.9, 200, 100, 50, 0), 100, "loyal"),
        ("active", facts(365, 200, 100, 50, 0), 100, "active"),
        ("loyal", facts(364.9, 100, 0), 100, "loyal"),
        ("loyal", facts(365, 100, 0), 100, "active"),
        ("loyal", facts(365, 100, 0), 29.9, "loyal"),
        ("new", facts(90, quiet=90), 90, "dormant"),
        ("silent", facts(quiet=90, registered=90), 76, "dormant"),
        ("active", facts(100, 90, quiet=90), 10, "dormant"),
        ("loyal", facts(130, 120, 110, 100, 90, quiet=90), 10, "dormant"),
        ("loyal", facts(130, 120, 110, 100, 90, quiet=89.9), 10, "loyal"),
        ("dormant", facts(180, quiet=180), 90, "lost"),
        ("dormant", facts(100, quiet=0), 10, "active"),
        ("dormant", facts(quiet=0), 10, "new"),
        ("lost", facts(200, quiet=0), 10, "active"),
        ("lost", facts(quiet=0), 10, "new"),
        ("lost", facts(quiet=0, registered=None), 10, "lead"),
        ("lost", facts(200, quiet=200), 20, "lost"),
    ],
)
def test_the_shipped_stages(before: str, known: Facts, days_in_stage: float, after: str) -> None:
    since = round(NOW - days_in_stage * DAY)
    assert step(SHIPPED.stages, before, known, since, NOW) == after


@pytest.mark.parametrize(
    ("before", "known", "days_in_band", "after"),
    [
        ("light", facts(1, 2), 30, "light"),
        ("light", facts(1, 2, 89.9), 30, "medium"),
        ("light", facts(1, 2, 90), 30, "light"),
        ("medium", facts(1, 2, 3, 89.9), 0, "high"),
        ("medium", facts(1, 2, 3), 30, "medium"),
        ("high", facts(1, 2, 3), 30, "high"),
        ("high", facts(1, 2, 90), 7, "medium"),
        ("high", facts(1, 2, 90), 6.9, "high"),
        ("medium", facts(1, 2), 30, "medium"),
        ("medium", facts(1, 90), 7, "light"),
        ("medium", facts(1, 90), 6.9, "medium"),
    ],
)
def test_the_shipped_bands(before: str, known: Facts, days_in_band: float, after: str) -> None:
    since = round(NOW - days_in_band * DAY)
    assert step(SHIPPED.bands, before, known, since, NOW) == after


@given(
    registered=st.integers(0, NOW),
    times=st.lists(st.integers(NOW - 400 * DAY, NOW), max_size=8).map(sorted),
    more=st.integers(0, 3),
    quiet=st.integers(0, 400 * DAY),
    since=st.integers(NOW - 400 * DAY, NOW),
    stage=st.sampled_from(STAGES),
    band=st.sampled_from(BANDS),
)
def test_no_member_goes_round_in_the_shipped_table(
    registered: int,
    times: list[int],
    more: int,
    quiet: int,
    since: int,
    stage: str,
    band: str,
) -> None:
    known = Facts(registered, len(times) + more, times, NOW - quiet)
    for rows, name in ((SHIPPED.stages, stage), (SHIPPED.bands, band)):
        entered, steps = since, 0
        while (after := step(rows, name, known, entered, NOW)) != name:
            name, entered, steps = after, NOW, steps + 1
            assert steps <= MAX_STEPS


def test_the_shipped_table_passes_the_check_for_circles() -> None:
    assert find_loop(SHIPPED.stages, STAGES) is None
    assert find_loop(SHIPPED.bands, BANDS) is None


def test_every_stage_can_be_reached_and_left() -> None:
    assert {row.after for row in SHIPPED.stages} == set(STAGES)
    assert {name for row in SHIPPED.stages for name in row.before} == set(STAGES)
