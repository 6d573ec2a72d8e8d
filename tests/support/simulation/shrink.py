"""Cutting a failing scenario down to what it needs in order to fail (Zeller's delta debugging)."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from simulation.running import run
from simulation.scenario import Scenario

T = TypeVar("T")

MOST_RUNS = 150
"""Runs spent on events, which are many; faults are few and always cut down to the end."""


def shrink(scenario: Scenario) -> Scenario:
    """Return a failing scenario with as few faults, and then events, as still make it fail."""

    def fails(candidate: Scenario) -> bool:
        return not run(candidate).verdict.ok

    faults = fewest(
        scenario.faults, lambda kept: fails(scenario._replace(faults=tuple(kept))), None
    )
    scenario = scenario._replace(faults=tuple(faults))
    events = fewest(
        scenario.events, lambda kept: fails(scenario._replace(events=tuple(kept))), MOST_RUNS
    )
    return scenario._replace(events=tuple(events))


def fewest(items: Sequence[T], fails: Callable[[Sequence[T]], bool], most: int | None) -> list[T]:
    """Return a part of ``items`` that fails, and of which no single one can be left out.

    Keeps their order. After ``most`` tries it takes what it has.
    """
    kept, tries = list(items), 0
    if kept and fails([]):
        return []
    size = max(len(kept) // 2, 1)
    while size and kept:
        place, smaller = 0, False
        while place < len(kept):
            tries += 1
            if most is not None and tries > most:
                return kept
            rest = kept[:place] + kept[place + size :]
            if len(rest) < len(kept) and fails(rest):
                kept, smaller = rest, True
            else:
                place += size
        size = min(size, len(kept)) // 2 if size > 1 else int(smaller)
    return kept
