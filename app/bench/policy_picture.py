"""The picture of what a policy does: a strip for each rule, as SVG written by hand."""

from collections.abc import Iterator, Sequence
from html import escape
from typing import NamedTuple

from models.times import DAY, rfc3339

WEEK = 7
LEFT, WIDTH, RIGHT = 190, 640, 170
TOP, STRIP, GAP = 66, 22, 6
_STYLE = (
    "text{font:12px sans-serif;fill:#222}.n{text-anchor:end}.m{fill:#667}.g{stroke:#e3e6ea}"
    ".a{fill:#c3cad3}.b{fill:#1f6fb2}"
)


class Row(NamedTuple):
    """One rule: how many triggers on each day without policy, and with it."""

    rule: str
    without: list[int]
    within: list[int]


def picture(title: str, first: int, rows: Sequence[Row]) -> str:
    """Return an SVG: per rule the triggers a day, as means of weeks, without policy behind with.

    Every strip has a scale of its own: its height is the busiest week. ``first`` is the instant of
    the first day.
    """
    height = TOP + len(rows) * (STRIP + GAP) + 14
    width = LEFT + WIDTH + RIGHT
    days = len(rows[0].without) if rows else 1
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
            f"<title>{escape(title)}</title><style>{_STYLE}</style>",
            f'<rect width="{width}" height="{height}" fill="#fff"/>',
            f'<text x="10" y="20" font-weight="bold">{escape(title)}</text>',
            '<rect class="a" x="10" y="32" width="12" height="12"/>',
            '<text x="27" y="42">without policy</text>',
            '<rect class="b" x="130" y="32" width="12" height="12"/>',
            '<text x="147" y="42">with it</text>',
            '<text class="m" x="220" y="42">means of weeks; the strip is as high as its busiest '
            "week, which the last figure says; before it all triggers</text>",
            *_months(first, days, height),
            *(line for place, row in enumerate(rows) for line in _strip(place, row)),
            "</svg>\n",
        ]
    )


def _months(first: int, days: int, height: int) -> Iterator[str]:
    seen = rfc3339(first)[:7]
    for day in range(days):
        month = rfc3339(first + day * DAY)[:7]
        if month != seen:
            seen, x = month, LEFT + WIDTH * day / days
            yield f'<path class="g" d="M{x:.0f} {TOP - 6}V{height - 10}"/>'
            yield f'<text class="m" x="{x + 2:.0f}" y="{TOP - 4}">{month[2:]}</text>'


def _strip(place: int, row: Row) -> Iterator[str]:
    bottom = TOP + place * (STRIP + GAP) + STRIP
    without, within = _weeks(row.without), _weeks(row.within)
    most = max(*map(_mean, without), *map(_mean, within), 1 / WEEK)
    yield f'<text class="n" x="{LEFT - 8}" y="{bottom - 6}">{escape(row.rule)}</text>'
    yield f'<path class="a" d="{_area(without, most, bottom)}"/>'
    yield f'<path class="b" d="{_area(within, most, bottom)}"/>'
    said = f"{sum(row.without):,} \N{RIGHTWARDS ARROW} {sum(row.within):,}"
    yield f'<text x="{LEFT + WIDTH + 8}" y="{bottom - 6}">{said}</text>'
    yield f'<text class="m n" x="{LEFT + WIDTH + RIGHT - 6}" y="{bottom - 6}">{most:.1f}</text>'


def _weeks(days: Sequence[int]) -> list[Sequence[int]]:
    """Return the days of each week; the last has some more, when there are such."""
    begins = range(0, max(WEEK, len(days) - WEEK + 1), WEEK)
    return [days[begin : None if begin == begins[-1] else begin + WEEK] for begin in begins]


def _mean(week: Sequence[int]) -> float:
    return sum(week) / len(week)


def _area(weeks: Sequence[Sequence[int]], most: float, bottom: int) -> str:
    """Return steps, one for each week, as the path of an area."""
    days = sum(map(len, weeks))
    path, end = [f"M{LEFT} {bottom}"], 0
    for week in weeks:
        end += len(week)
        path.append(f"V{bottom - STRIP * _mean(week) / most:.1f}H{LEFT + WIDTH * end / days:.1f}")
    return "".join([*path, f"V{bottom}Z"])
