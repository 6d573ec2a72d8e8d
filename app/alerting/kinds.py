"""What a recording rule and an alert are."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from models.times import format_duration

Pace: TypeAlias = Callable[[int], int]
"""Makes of a span that operators wait for the one that is used; both are milliseconds."""

Over: TypeAlias = Callable[[int], str]
"""Writes a span as PromQL does."""


def as_declared(span: int) -> int:
    """Return a span as it is: the pace of production."""
    return span


@dataclass(frozen=True, slots=True)
class Spans:
    """Writes spans into expressions, at a pace: ``over`` as PromQL does, ``seconds`` as a number.

    ``over`` is for windows and offsets, ``seconds`` for how late something may be.
    """

    pace: Pace = as_declared

    def over(self, span: int) -> str:
        """Return ``5m``."""
        return format_duration(self.pace(span))

    def seconds(self, span: int) -> str:
        """Return ``300``."""
        return f"{self.pace(span) / 1000:g}"


Expression: TypeAlias = Callable[[Spans], str]


class Severity(Enum):
    """Who hears of an alert, and when."""

    PAGE = "page"
    """Somebody is woken: members get what is wrong, or do not get what is right, until it ends."""
    TICKET = "ticket"
    """Somebody looks on the next working day: nothing is lost until then."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A series that is worked out beforehand: for alerts, and for dashboards."""

    name: str
    says: str
    expression: Expression
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Alert:
    """A state that somebody has to do something about; what, says its section in the runbooks.

    It fires when the expression has had a result for as long as ``lasts`` (milliseconds).
    ``summary`` and ``description`` are sentences; ``{{ $value }}`` and labels are filled in.
    """

    name: str
    severity: Severity
    expression: Expression
    lasts: int
    summary: str
    description: str

    @property
    def runbook(self) -> str:
        """Return where it is said what to do."""
        return f"{RUNBOOKS}#{self.name.lower()}"


RUNBOOKS = "docs/runbooks.md"
