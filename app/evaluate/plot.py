"""The picture of an evaluation: reliability, AUC by week, and how scores are spread."""

import base64
import html
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.evaluate.churn import OURS, Curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAMES = {
    OURS: "ours (online)",
    "lightgbm": "LightGBM (weekly)",
    "bgnbd": "BG/NBD",
    "recency": "recency",
}
COLOURS = {OURS: "#0b5cad", "lightgbm": "#d1660f", "bgnbd": "#3f8f4f", "recency": "#8a8a8a"}
MARKS = {OURS: "o", "lightgbm": "s", "bgnbd": "^", "recency": "D"}


def draw(path: Path, drawn: Curves, title: str, text: str) -> None:
    """Write a PNG, or with ``.html`` one self-contained page with the picture and ``text``.

    Raises ``OSError`` when it cannot be written.
    """
    picture = _picture(drawn, title)
    if path.suffix == ".png":
        path.write_bytes(picture)
        return
    image = base64.b64encode(picture).decode()
    path.write_text(
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        f"<title>{html.escape(title)}</title>"
        "<style>body{font:16px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;"
        "padding:0 1rem}img{width:100%;height:auto}pre{font-size:.85rem;overflow-x:auto}"
        "</style></head><body>"
        f"<h1>{html.escape(title)}</h1>"
        f"<img alt='Reliability diagram and AUC by week' src='data:image/png;base64,{image}'>"
        f"<pre>{html.escape(text)}</pre></body></html>\n",
        encoding="utf-8",
    )


def _picture(drawn: Curves, title: str) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 6.2), layout="constrained", dpi=120)
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=13)
    grid = figure.add_gridspec(4, 2)
    diagram = figure.add_subplot(grid[:3, 0])
    _reliability(diagram, drawn)
    _spread(figure.add_subplot(grid[3, 0], sharex=diagram), drawn)
    _weekly(figure.add_subplot(grid[:, 1]), drawn)
    out = BytesIO()
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def _reliability(axes: "Axes", drawn: Curves) -> None:
    axes.plot([0, 1], [0, 1], color="#bbbbbb", linewidth=1, label="perfect")
    for name, bins in drawn.bins.items():
        axes.plot(
            [b.said for b in bins], [b.happened for b in bins], **_style(name), label=NAMES[name]
        )
    axes.set(xlim=(0, 1), ylim=(0, 1), ylabel=f"share without an order in {drawn.horizon} days")
    axes.set_title("Reliability, active members (15 bins of equal mass)", fontsize=11)
    axes.legend(fontsize=9, loc="upper left")
    axes.grid(alpha=0.3)


def _spread(axes: "Axes", drawn: Curves) -> None:
    axes.hist(drawn.said, bins=[b / 40 for b in range(41)], color=COLOURS[OURS], alpha=0.7)
    axes.set(xlabel="predicted churn probability", ylabel="questions")
    axes.grid(alpha=0.3)


def _weekly(axes: "Axes", drawn: Curves) -> None:
    for name, points in drawn.weekly.items():
        axes.plot(
            [day for day, _ in points], [value for _, value in points], **_style(name),
            label=NAMES[name],
        )  # fmt: skip
    axes.axhline(0.5, color="#bbbbbb", linewidth=1)
    axes.text(1, 0.5, "chance ", transform=axes.get_yaxis_transform(), ha="right", va="bottom",
              fontsize=8, color="#777777")  # fmt: skip
    axes.set(xlabel="week of the question (days since the first order)", ylabel="AUC")
    axes.set_title("AUC by week, active members", fontsize=11)
    axes.legend(fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.09), ncols=4, frameon=False)
    axes.grid(alpha=0.3)


def _style(name: str) -> dict[str, Any]:
    ours = name == OURS
    return {
        "color": COLOURS[name],
        "marker": MARKS[name],
        "markersize": 4 if ours else 3,
        "linewidth": 2 if ours else 1.2,
        "zorder": 3 if ours else 2,
    }
