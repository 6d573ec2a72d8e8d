"""The dashboards as Grafana reads them, built with Grafana's own typed builders."""

from collections.abc import Iterable
from pathlib import Path

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    prometheus,
    stat,
    timeseries,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models

from app.dashboards.engine import ENGINE
from app.dashboards.kinds import Dashboard, Kind, Panel, Unit
from app.dashboards.lifecycle import LIFECYCLE
from app.dashboards.predictions import MODEL
from app.dashboards.triggers import TRIGGERS
from config.paths import package_dir

DASHBOARDS = (LIFECYCLE, TRIGGERS, MODEL, ENGINE)

_SOURCE = models.DataSourceRef(type_val="prometheus", uid="prometheus")
_HIGH = {Kind.NUMBER: 5}
"""Rows that a panel takes; a picture takes nine."""


def dashboard_files() -> dict[str, str]:
    """Return every dashboard: its file's name -> its JSON."""
    return {f"{one.uid}.json": _json(one) for one in DASHBOARDS}


def folder() -> Path:
    """Return where the files lie."""
    return package_dir() / "grafana" / "provisioning" / "dashboards"


def _json(declared: Dashboard) -> str:
    others = [one for one in DASHBOARDS if one is not declared]
    board = (
        dashboard.Dashboard(declared.title)
        .uid(declared.uid)
        .description(declared.about)
        .tags(["member-lifecycle"])
        .readonly()
        .refresh("10s")
        .time("now-6h", "now")
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .links([_link(one) for one in others])
    )
    for section in declared.sections:
        board = board.with_row(dashboard.Row(section.title))
        for panel in section.panels:
            board = board.with_panel(_panel(panel))
    text: str = JSONEncoder(sort_keys=True, indent=2, ensure_ascii=False).encode(board.build())
    return text + "\n"


def _link(other: Dashboard) -> dashboard.DashboardLink:
    return (
        dashboard.DashboardLink(other.title)
        .type(models.DashboardLinkType.LINK)
        .url(f"/d/{other.uid}")
        .tooltip(other.about)
        .keep_time(True)
    )


def _panel(panel: Panel) -> timeseries.Panel | stat.Panel | bargauge.Panel:
    match panel.kind:
        case Kind.NUMBER:
            made: timeseries.Panel | stat.Panel | bargauge.Panel = _number(panel)
        case Kind.BARS:
            made = _bars()
        case _:
            made = _lines(panel)
    made = (
        made.title(panel.title)
        .description(panel.about)
        .datasource(_SOURCE)
        .unit(panel.unit.value)
        .span(panel.wide)
        .height(_HIGH.get(panel.kind, 9))
    )
    instant = panel.kind is Kind.BARS
    for letter, query in zip("ABCDEFGH", panel.queries, strict=False):
        target = prometheus.Dataquery().expr(query.expression).ref_id(letter)
        target = target.instant() if instant else target.range()
        if query.legend:
            target = target.legend_format(query.legend)
        made = made.with_target(target)
    return made


def _number(panel: Panel) -> stat.Panel:
    low = panel.warn_below
    steps = [models.Threshold(value=None, color="green" if low is None else "orange")]
    if low is not None:
        steps.append(models.Threshold(value=low, color="green"))
    if panel.warn_above is not None:
        steps.append(models.Threshold(value=panel.warn_above, color="orange"))
    made = (
        stat.Panel()
        .reduce_options(_last())
        .graph_mode(common_models.BigValueGraphMode.AREA)
        .color_mode(common_models.BigValueColorMode.VALUE)
        .thresholds(dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps))
    )
    if panel.zero is not None:
        made = made.mappings([models.ValueMap({"0": models.ValueMappingResult(text=panel.zero)})])
    return made


def _bars() -> bargauge.Panel:
    return (
        bargauge.Panel()
        .reduce_options(_last())
        .orientation(common_models.VizOrientation.HORIZONTAL)
        .display_mode(common_models.BarGaugeDisplayMode.BASIC)
        .min(0)
        .color_scheme(_one_colour())
    )


def _lines(panel: Panel) -> timeseries.Panel:
    made = (
        timeseries.Panel()
        .line_width(1)
        .show_points(common_models.VisibilityMode.NEVER)
        .legend(
            common.VizLegendOptions()
            .show_legend(_has_names(panel))
            .display_mode(common_models.LegendDisplayMode.LIST)
            .placement(common_models.LegendPlacement.BOTTOM)
            .calcs([])
        )
    )
    if panel.unit in {Unit.COUNT, Unit.PER_SECOND, Unit.BYTES, Unit.SECONDS}:
        made = made.min(0)
    if panel.kind is Kind.STACKED:
        stacking = common.StackingConfig().mode(common_models.StackingMode.NORMAL).group("A")
        made = made.stacking(stacking).fill_opacity(40)
    return made


def _has_names(panel: Panel) -> bool:
    return len(panel.queries) > 1 or any("{{" in query.legend for query in panel.queries)


def _last() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"])


def _one_colour() -> dashboard.FieldColor:
    return dashboard.FieldColor().mode(models.FieldColorModeId.PALETTE_CLASSIC)


def queries() -> Iterable[tuple[Dashboard, Panel, str]]:
    """Yield every expression that the dashboards ask, with where it stands."""
    for board in DASHBOARDS:
        for section in board.sections:
            for panel in section.panels:
                for query in panel.queries:
                    yield board, panel, query.expression
