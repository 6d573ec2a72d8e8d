"""Logs: what one rule remembers, per key, of the events that concern it, and when it fires.

A *machine* (``counting``, ``sequences``, ``pace``) says what an event does to a
state of a few numbers and when that state is due. A log is such a state, as of an allowed lateness
ago, and the events since, in order. So an event that comes late takes its place, and what the right
order would have fired is found by going through the recent ones again.
"""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from models.marks import at_of, place_of
from models.stages import NEVER

KEPT_RECENT = 16


class Seen(msgspec.Struct, array_like=True, gc=False):
    """One event as a log keeps it: its mark, what it is to the machine, and its own id."""

    mark: int
    what: int
    id: str = ""


class Log(msgspec.Struct, array_like=True):
    """A machine's state and the events since. ``times`` are instants, ``values`` are not."""

    times: list[int] = msgspec.field(default_factory=list)
    values: list[int] = msgspec.field(default_factory=list)
    recent: list[Seen] = msgspec.field(default_factory=list)


class Due(NamedTuple):
    """An instant at which a state is due, since when it is waiting, and which step it is."""

    at: int
    since: int
    number: int = 0


class Firing(NamedTuple):
    """Something that is due, and the event that completed or armed it, if it is still kept."""

    due: Due
    seen: Seen | None


class Machine(Protocol):
    """What events do to a state. ``longest`` is how long one event can matter (milliseconds)."""

    longest: int

    def step(self, state: Log, at: int, what: int, /) -> None:
        """Change the state by one event that follows all before it."""

    def dues(self, when: Any, state: Log, /) -> tuple[Due, ...]:
        """Return when the state is due under a rule's condition; a due may lie in the past."""

    def absorb(self, state: Log, at: int, what: int, /) -> None:
        """Change the state by an event that is too late to take its place."""

    def is_over(self, state: Log, at: int, /) -> bool:
        """Tell whether the state is that of a member who has never done anything."""


def firings(machine: Machine, when: Any, log: Log) -> list[Firing]:
    """Return all that the log fires, in order: past, and to come if nothing happens.

    What is due at an event's own instant comes before the event.
    """
    state = Log(log.times[:], log.values[:])
    armed = machine.dues(when, state)
    by: Seen | None = None
    found: list[Firing] = []
    before = 0
    for seen in log.recent:
        at = at_of(seen.mark)
        found += [Firing(due, by) for due in armed if before < due.at <= at]
        machine.step(state, at, seen.what)
        after = machine.dues(when, state)
        if after != armed:
            found += [Firing(due, seen) for due in after if due.at <= at and due not in armed]
            armed, by = after, seen
        before = at
    found += [Firing(due, by) for due in armed if due.at > before]
    return found


def completed(machine: Machine, whens: Sequence[Any], log: Log, seen: Seen) -> list[list[Firing]]:
    """Return what an event that follows all others fires by itself, for each condition."""
    at = at_of(seen.mark)
    state = Log(log.times[:], log.values[:])
    for one in log.recent:
        machine.step(state, at_of(one.mark), one.what)
    armed = [machine.dues(when, state) for when in whens]
    machine.step(state, at, seen.what)
    return [
        [
            Firing(due, seen)
            for due in machine.dues(when, state)
            if due.at <= at and due not in before
        ]
        for when, before in zip(whens, armed, strict=True)
    ]


def follows_all(log: Log, seen: Seen) -> bool:
    """Tell whether an event comes after all recent ones."""
    return not log.recent or place_of(log.recent[-1].mark) <= place_of(seen.mark)


def insert(log: Log, seen: Seen) -> None:
    """Put an event into its place among the recent ones."""
    log.recent.insert(bisect_right(log.recent, place_of(seen.mark), key=_place), seen)


def _place(seen: Seen) -> int:
    return place_of(seen.mark)


def settle(machine: Machine, log: Log, keep_from: int) -> None:
    """Fold into the state what happened before ``keep_from``, or is more than a log keeps."""
    count = 0
    for seen in log.recent:
        at = at_of(seen.mark)
        if at >= keep_from and len(log.recent) - count <= KEPT_RECENT:
            break
        machine.step(log, at, seen.what)
        count += 1
    del log.recent[:count]


def is_unsettled(log: Log, keep_from: int) -> bool:
    """Tell whether a log has recent events that ``settle`` would fold into the state."""
    recent = log.recent
    return bool(recent) and (len(recent) > KEPT_RECENT or at_of(recent[0].mark) < keep_from)


def state_of(machine: Machine, log: Log) -> Log:
    """Return the state as it is after all events; not to be changed."""
    if not log.recent:
        return log
    state = Log(log.times[:], log.values[:])
    for seen in log.recent:
        machine.step(state, at_of(seen.mark), seen.what)
    return state


def next_due(machine: Machine, whens: tuple[Any, ...], log: Log, done: int) -> int:
    """Return the earliest due after ``done``, or ``NEVER``."""
    state = state_of(machine, log)
    earliest = NEVER
    for when in whens:
        for due in machine.dues(when, state):
            if done < due.at < earliest:
                earliest = due.at
    return earliest
