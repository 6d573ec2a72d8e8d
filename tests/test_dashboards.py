"""The dashboards that Grafana is given: what they say, and that they ask for what there is."""

import json
import re
from typing import Any

import pytest

from app import metric_list
from app.alerting.recordings import RECORDINGS
from app.dashboards.files import DASHBOARDS, dashboard_files, folder, queries
from app.dashboards.kinds import Dashboard, Kind, Panel, Unit

ASKED = list(queries())
OTHERS = {"up"}
"""What Prometheus itself says."""


def panels(board: Dashboard) -> list[Panel]:
    return [panel for section in board.sections for panel in section.panels]


def test_the_files_are_those_that_the_declarations_make() -> None:
    assert {path.name: path.read_text() for path in folder().glob("*.json")} == dashboard_files()


@pytest.mark.parametrize(("board", "panel", "expression"), ASKED)
def test_a_query_asks_for_metrics_that_are_declared(
    board: Dashboard, panel: Panel, expression: str
) -> None:
    ours = {metric.name for metric in metric_list.METRICS}
    ours |= {f"{one.name}_bucket" for one in metric_list.METRICS if one.buckets}
    ours |= {recording.name for recording in RECORDINGS} | OTHERS
    asked = set(re.findall(r"\b(?:lifecycle[_:][a-z0-9_:]+|up\b)", expression))
    assert asked, expression
    assert asked <= ours


@pytest.mark.parametrize(("board", "panel", "expression"), ASKED)
def test_a_query_groups_by_labels_that_its_metric_has(
    board: Dashboard, panel: Panel, expression: str
) -> None:
    named = {label for metric in metric_list.METRICS for label in metric.labels}
    for by in re.findall(r"by \(([^)]*)\)", expression):
        assert set(by.split(", ")) <= named | {"le", "instance"}


@pytest.mark.parametrize(
    ("board", "panel"), [(board, panel) for board in DASHBOARDS for panel in panels(board)]
)
def test_a_panel_says_what_it_shows(board: Dashboard, panel: Panel) -> None:
    assert 3 <= len(panel.title) <= 45
    assert panel.title[0].isupper()
    assert panel.about.endswith(".")
    assert isinstance(panel.unit, Unit)
    if len(panel.queries) > 1:
        assert all(query.legend for query in panel.queries)
    if panel.kind is Kind.NUMBER:
        assert len(panel.queries) == 1


def test_no_two_panels_of_a_page_have_one_title() -> None:
    for board in DASHBOARDS:
        titles = [panel.title for panel in panels(board)]
        assert sorted(set(titles)) == sorted(titles)


def test_rows_are_filled_and_nothing_lies_on_something_else() -> None:
    for text in dashboard_files().values():
        taken: set[tuple[int, int]] = set()
        for panel in json.loads(text)["panels"]:
            place = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert max(x for x, _ in cells) < 24
            assert not taken & cells, panel["title"]
            taken |= cells
        lowest = max(y for _, y in taken)
        assert all((x, lowest) in taken for x in range(24)), "the last row has a hole"


def test_every_panel_asks_the_provisioned_source() -> None:
    sources: set[Any] = set()
    for text in dashboard_files().values():
        for panel in json.loads(text)["panels"]:
            if panel["type"] != "row":
                sources.add((panel["datasource"]["type"], panel["datasource"]["uid"]))
    assert sources == {("prometheus", "prometheus")}
