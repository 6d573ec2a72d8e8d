"""Pictures as SVG that stretches with the page; words and numbers stand beside it as text.

Shapes live in a box of 1000 by 1000 that is stretched to the plot, strokes and dots keep their
size (a dot is a line without length and with round ends), and no label is ever stretched.
"""

from collections.abc import Sequence
from datetime import timedelta

from app.try_.html import both, moment_of

_SIDE = 1000
_EVEN = (1, 2, 2.5, 5, 10)

Point = tuple[float, float]


def round_top(most: float) -> float:
    """Return the next even number above, where an axis ends."""
    size = 1.0
    while size * 10 <= most:
        size *= 10
    return next(size * step for step in _EVEN if size * step >= most)


def area(x: Sequence[float], layers: Sequence[tuple[str, Sequence[float]]], top: float) -> str:
    """Return stacked areas from below: (CSS class, height at each x); x runs from 0 to 1."""
    base = [0.0] * len(x)
    shapes = []
    for name, heights in layers:
        upper = [low + high for low, high in zip(base, heights, strict=True)]
        there = list(zip(x, upper, strict=True))
        back = list(zip(x, base, strict=True))[::-1]
        points = " ".join(_at(across, up / top) for across, up in there + back)
        shapes.append(f'<polygon class="f {name}" points="{points}"/>')
        base = upper
    return _svg("".join(shapes))


def bars(pairs: Sequence[tuple[float, float]], top: float) -> str:
    """Return thin bars, the second (part) before the first (whole), from the left to the right."""
    wide = _SIDE / max(len(pairs), 1)
    shapes = []
    for place, values in enumerate(pairs):
        for name, value in zip(("whole", "part"), values, strict=True):
            if value:
                high = _SIDE * value / top
                shapes.append(
                    f'<rect class="f {name}" x="{place * wide + wide * 0.1:.1f}" '
                    f'y="{_SIDE - high:.1f}" width="{wide * 0.8:.1f}" height="{high:.1f}"/>'
                )
    return _svg("".join(shapes))


def reliability(bins: Sequence[tuple[float, float]]) -> str:
    """Return what was said across and what happened upwards, 0 to 1; a line where they agree."""
    shapes = [f'<path class="l even" d="M{_at(0, 0)} L{_at(1, 1)}"/>']
    shapes += [_dot("said", said, happened) for said, happened in bins]
    return _svg("".join(shapes))


def line(points: Sequence[Point], name: str) -> str:
    """Return a line through points, both coordinates from 0 to 1; what lies below it is tinted."""
    if not points:
        return ""
    if len(points) == 1:
        return _dot(name, *points[0])
    path = " L".join(_at(*point) for point in points)
    under = f"{path} L{_at(points[-1][0], 0)} L{_at(points[0][0], 0)} Z"
    return f'<path class="f under {name}" d="M{under}"/><path class="l {name}" d="M{path}"/>'


def ribbon(parts: Sequence[tuple[float, float, str]]) -> str:
    """Return stretches of time side by side: (from, to, CSS class), from 0 to 1."""
    return "".join(
        f'<rect class="f {name}" x="{begin * _SIDE:.1f}" y="0" '
        f'width="{max(end - begin, 0) * _SIDE:.1f}" height="{_SIDE}"/>'
        for begin, end, name in parts
    )


def marks(points: Sequence[Point], name: str) -> str:
    """Return dots."""
    return "".join(_dot(name, *point) for point in points)


def svg(inside: str, kind: str = "") -> str:
    """Return a picture that fills the box it stands in."""
    return _svg(inside, kind)


def plot(
    inside: str,
    kind: str,
    y: Sequence[tuple[float, str]],
    x: Sequence[tuple[float, str]],
) -> str:
    """Return a picture with its axes: (place from 0 to 1, label) up the side and along the foot."""
    lines = "".join(f'<i style="bottom:{place:.2%}"></i>' for place, _ in y)
    up = "".join(f'<b style="bottom:{place:.2%}">{label}</b>' for place, label in y)
    along = "".join(f'<b{_side(place)} style="left:{place:.2%}">{label}</b>' for place, label in x)
    return (
        f'<div class="plot {kind}" aria-hidden="true"><div class="y">{up}</div>'
        f'<div class="in">{lines}{inside}</div><div class="x">{along}</div></div>'
    )


def _side(place: float) -> str:
    """Keep a label at either end within the picture."""
    return ' class="first"' if place < 0.04 else ' class="last"' if place > 0.96 else ""


def months(begin: int, end: int, most: int = 6) -> list[tuple[float, str]]:
    """Return places and names of the firsts of months between two instants, not too many."""
    found: list[tuple[float, str]] = []
    moment = moment_of(begin).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    firsts = []
    while (moment := (moment + timedelta(days=32)).replace(day=1)) <= moment_of(end):
        firsts.append(moment)
    every = next(n for n in (1, 2, 3, 6, 12, 24, 60, 120, 1200) if len(firsts) <= most * n)
    for first in firsts[::every]:
        place = (first.timestamp() * 1000 - begin) / max(end - begin, 1)
        found.append((place, f"{first:%Y-%m}"))
    return found or [(0.0, f"{moment_of(begin):%m-%d}"), (1.0, f"{moment_of(end):%m-%d}")]


def legend(entries: Sequence[tuple[str, str]]) -> str:
    """Return what the colours mean: (CSS class, words)."""
    each = "".join(f'<li><i class="key {name}"></i>{words}</li>' for name, words in entries)
    return f'<ul class="legend">{each}</ul>'


def spread_bar(low: float, middle: float, high: float, top: float) -> str:
    """Return an interval as a bar with its middle."""
    left, at, right = (100 * min(value / top, 1.0) if top else 0.0 for value in (low, middle, high))
    return (
        f'<span class="range" aria-hidden="true"><i style="left:{left:.1f}%;'
        f'width:{max(right - left, 0.5):.1f}%"></i><b style="left:{at:.1f}%"></b></span>'
    )


def said(english: str, chinese: str) -> str:
    """Return words for who cannot see a picture."""
    return f'<span class="sr">{both(english, chinese)}</span>'


def _svg(inside: str, kind: str = "") -> str:
    return (
        f'<svg class="{kind}" viewBox="0 0 {_SIDE} {_SIDE}" preserveAspectRatio="none" '
        f'aria-hidden="true" focusable="false">{inside}</svg>'
    )


def _at(across: float, up: float) -> str:
    return f"{across * _SIDE:.1f},{(1 - up) * _SIDE:.1f}"


def _dot(name: str, across: float, up: float) -> str:
    return f'<path class="d {name}" d="M{_at(across, up)} h0.01"/>'
