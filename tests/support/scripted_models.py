"""Models that say what a test wants."""

from dataclasses import dataclass, field

from models.next_order import NextOrder
from models.predicting import Worth
from models.rhythm import Rhythm


@dataclass
class Scripted:
    """Says a probability that falls with purchases and rises with silence; a value of 1.00 each."""

    version: int = 1

    def churn(self, rhythm: Rhythm, day: int) -> tuple[float, float | None]:
        silent = day - rhythm.last_day
        return (1 + silent) / (1 + silent + rhythm.purchases), silent / (silent + 10)

    def value(self, rhythm: Rhythm, day: int) -> int:
        return 100 * rhythm.purchases

    def because(self, rhythm: Rhythm, day: int) -> tuple[tuple[str, str], ...]:
        assert day >= rhythm.last_day
        return (("was told so", "如此说"),)

    def worth(self, rhythm: Rhythm, day: int) -> Worth | None:
        assert day >= rhythm.last_day
        return Worth(100 * rhythm.purchases, 0, 200 * rhythm.purchases)

    def next_order(self, rhythm: Rhythm, day: int) -> NextOrder | None:
        return NextOrder(9.6, 2, 30)


@dataclass
class ScriptedModels:
    """A model a day from ``first`` on, its version the day."""

    first: int = 0
    asked_for: list[int] = field(default_factory=list)

    def at(self, day: int) -> Scripted | None:
        self.asked_for.append(day)
        return self.of(day)

    def of(self, version: int) -> Scripted | None:
        return Scripted(version) if version >= self.first else None
