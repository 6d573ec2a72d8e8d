"""What a dashboard and a panel are."""

from dataclasses import dataclass
from enum import Enum


class Unit(Enum):
    """How Grafana writes a value; the names are Grafana's."""

    COUNT = "short"
    SHARE = "percentunit"
    SECONDS = "s"
    BYTES = "bytes"
    PER_SECOND = "ops"
    YES_NO = "bool"
    MOMENT = "dateTimeAsIso"
    PLAIN = "none"


class Kind(Enum):
    """How a panel draws its series."""

    LINES = "lines"
    STACKED = "stacked"
    """Lines on top of each other: their sum is the outline."""
    NUMBER = "number"
    """The last value, large."""
    BARS = "bars"
    """The last values, a bar each."""


@dataclass(frozen=True, slots=True)
class Query:
    """One expression of PromQL; ``legend`` names its series (``{{label}}`` is filled in)."""

    expression: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture: what it shows, and in ``about`` what to make of it."""

    title: str
    about: str
    unit: Unit
    kind: Kind
    queries: tuple[Query, ...]
    wide: int = 12
    """Columns of the 24 that a dashboard has."""
    warn_above: float | None = None
    """From here on the number is orange: somebody should look."""
    warn_below: float | None = None
    """Below it the number is."""
    zero: str | None = None
    """What the number reads where it is 0."""


@dataclass(frozen=True, slots=True)
class Section:
    """Panels under a heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One page; ``uid`` is its address in Grafana and its file's name."""

    uid: str
    title: str
    about: str
    sections: tuple[Section, ...]


def number(title: str, about: str, unit: Unit, expression: str, wide: int = 4,
           warn_above: float | None = None, warn_below: float | None = None,
           zero: str | None = None) -> Panel:  # fmt: skip
    """Return a panel of one large number."""
    query = (Query(expression),)
    return Panel(title, about, unit, Kind.NUMBER, query, wide, warn_above, warn_below, zero)


def lines(title: str, about: str, unit: Unit, *queries: Query, wide: int = 12) -> Panel:
    """Return a panel of lines over time."""
    return Panel(title, about, unit, Kind.LINES, queries, wide)


def stacked(title: str, about: str, unit: Unit, *queries: Query, wide: int = 12) -> Panel:
    """Return a panel of lines that add up."""
    return Panel(title, about, unit, Kind.STACKED, queries, wide)


def bars(title: str, about: str, unit: Unit, *queries: Query, wide: int = 12) -> Panel:
    """Return a panel of bars, a series each."""
    return Panel(title, about, unit, Kind.BARS, queries, wide)
