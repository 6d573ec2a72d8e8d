"""Pictures of the dashboards as Grafana lays them out, of what a Prometheus has said."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt

from app.dashboards.kinds import Dashboard, Kind, Panel, Unit

Ask = Callable[[str], list[dict[str, Any]]]
"""The series of an expression over time, as Prometheus's ``query_range`` has them."""

FOLDER = Path("artefacts") / "dashboards"
_ROW = 2.6
"""Inches."""
_SHOWN = {
    Unit.SHARE: lambda value: f"{value:.1%}",
    Unit.SECONDS: lambda value: f"{value:,.2f} s",
    Unit.BYTES: lambda value: f"{value:,.0f} B",
}


def draw(board: Dashboard, ask: Ask) -> Path:
    """Write a picture of all panels into ``FOLDER``, which no commit has; return where it is."""
    mpl.use("Agg")
    rows = [row for section in board.sections for row in _rows(section.panels)]
    figure = plt.figure(figsize=(16, _ROW * len(rows)), layout="constrained")
    grid = figure.add_gridspec(len(rows), 24)
    for number, row in enumerate(rows):
        left = 0
        for panel in row:
            axes = figure.add_subplot(grid[number, left : left + panel.wide])
            left += panel.wide
            axes.set_title(panel.title, fontsize=9, loc="left")
            _fill(axes, panel, ask)
    figure.suptitle(board.title, fontsize=14)
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{board.uid}.png"
    figure.savefig(path, dpi=70)
    plt.close(figure)
    return path


def _rows(panels: tuple[Panel, ...]) -> list[list[Panel]]:
    rows: list[list[Panel]] = [[]]
    for panel in panels:
        if sum(one.wide for one in rows[-1]) + panel.wide > 24:
            rows.append([])
        rows[-1].append(panel)
    return rows


def _fill(axes: Any, panel: Panel, ask: Ask) -> None:
    series = [
        (_name(query.legend, one["metric"]), [(float(at), float(v)) for at, v in one["values"]])
        for query in panel.queries
        for one in ask(query.expression)
    ]
    axes.tick_params(labelsize=7)
    if panel.kind is Kind.NUMBER:
        value = series[0][1][-1][1]
        said = _SHOWN.get(panel.unit, lambda value: f"{value:,.4g}")(value)
        axes.text(0.5, 0.5, said, ha="center", va="center", fontsize=18)
        axes.set_axis_off()
        axes.set_title(panel.title, fontsize=9, loc="left")
    elif panel.kind is Kind.BARS:
        named = sorted(((values[-1][1], name) for name, values in series), reverse=True)[:20]
        axes.barh([name for _, name in named][::-1], [value for value, _ in named][::-1])
    else:
        for name, values in series[:20]:
            axes.plot([at for at, _ in values], [v for _, v in values], lw=1, label=name)
        axes.set_xticks([])
        if len(series) > 1:
            axes.legend(fontsize=6, ncols=2, loc="upper left")


def _name(legend: str, labels: dict[str, str]) -> str:
    return re.sub(r"{{(\w+)}}", lambda found: labels.get(found[1], ""), legend)
