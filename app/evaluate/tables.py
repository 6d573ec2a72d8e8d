"""Reports as plain text, in columns."""

from collections.abc import Mapping, Sequence
from typing import Any

_NAMES = {"lightgbm": "LightGBM, weekly", "bgnbd": "BG/NBD, weekly", "recency": "recency only"}


def columns(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return lines with the first column to the left and the others to the right."""
    lines = [header, *rows]
    widths = [max(len(line[k]) for line in lines) for k in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if k else cell.ljust(width)
            for k, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def churn_text(found: Mapping[str, Any]) -> str:
    """Return the figures of ``lifecycle evaluate churn`` to be read."""
    active, everybody = found["base_rate_active"], found["base_rate_all"]
    said = [
        f"{found['rows']:,} questions to {found['members']:,} members: no order within "
        f"{found['horizon_days']} days?",
        f"active (ordered within {found['horizon_days']} days): {found['rows_active']:,} questions,"
        f" {_share(active)} churned; all: {_share(everybody)}",
        "",
        columns(
            ("", "AUC active", "all", "log loss", "ECE", "CITL", "days 31-90"),
            [
                _churn_row("ours, online", found),
                *(_churn_row(_NAMES[name], of) for name, of in found["baselines"].items()),
            ],
        ),
    ]
    if "minus_lightgbm" in found and found["minus_lightgbm"]["active"]:
        gap = found["minus_lightgbm"]["active"]
        best = found["baselines"]["lightgbm"]["configuration"]
        said += [
            "",
            f"AUC among active members, ours minus LightGBM ({best}): {gap['auc']:+.4f} "
            f"[{gap['low']:+.4f}, {gap['high']:+.4f}] (95 %, by members)",
        ]
    cut = found["truncation"]
    said += [
        "",
        f"the log cut after day {cut['day']}: {cut['different']:,} of {cut['rows']:,} questions "
        "turn out differently (more than none: something knows the future)",
    ]
    return "\n".join([*said, *(f"note: {note}" for note in found["notes"])])


def amounts_text(found: Mapping[str, Any], question: str, figures: Mapping[str, str]) -> str:
    """Return the figures of ours beside the baselines'; ``figures``: key to heading."""
    rows = [("ours", found), *found["baselines"].items()]
    return "\n".join(
        [
            f"{found['rows']:,} questions to {found['members']:,} members: {question}",
            "",
            columns(
                ("", *figures.values()),
                [(name, *(_number(of.get(key)) for key in figures)) for name, of in rows],
            ),
            *(f"note: {note}" for note in found["notes"]),
        ]
    )


def _churn_row(name: str, of: Mapping[str, Any]) -> tuple[str, ...]:
    keys = ("auc_active", "auc_all", "logloss_active", "ece_active", "citl_active", "cold_start")
    return name, *(_number(of.get(key)) for key in keys)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.4f}" if abs(value) < 10 else f"{value:,.1f}"
