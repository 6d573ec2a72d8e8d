"""States of machines that the member's other fields tell, so that no log has to repeat them.

The orders' instants and the year's spend are in every member's row already. What is settled of a
log that follows from them is filled in before the log is used, and left out of the row.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

from models.facts import turn_of, with_orders
from models.logs import Log, Machine, Seen
from models.marks import at_of
from models.member import CELL, Member
from models.rules import Crosses, LateForMember, Pattern, Series, When
from models.sequences import AFTER

_ORDERS = (Pattern("purchase"),)
_KEPT_STATES = 1024


class Source(Protocol):
    """Where a settled state is read."""

    def fill(self, member: Member, log: Log, heard: Sequence[Seen], /) -> None:
        """Make the log's state what it was before ``heard``, events that the member knows of."""

    def leave_out(self, log: Log, /) -> None:
        """Take out of the log what ``fill`` would put there."""


class Orders:
    """The whole state follows from the newest orders."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        # One event has the same orders gone through several times.
        self._after = lru_cache(_KEPT_STATES)(self._gone_through)

    def _gone_through(self, orders: tuple[int, ...]) -> Log:
        state = Log()
        for at in orders:
            self._machine.step(state, at, AFTER)
        return state

    def fill(self, member: Member, log: Log, heard: Sequence[Seen]) -> None:
        """Go through the orders before ``heard``."""
        before = member.orders
        if heard:
            before = before[:]
            for seen in heard:
                # Of very many the member has forgotten the first.
                if at_of(seen.mark) in before:
                    before.remove(at_of(seen.mark))
        settled = self._after(tuple(before))
        log.times, log.values = settled.times[:], settled.values[:]

    def leave_out(self, log: Log) -> None:
        """Leave nothing."""
        log.times, log.values = [], []


class Ring:
    """The amounts are those of the ring; since when they are enough is the log's own."""

    def fill(self, member: Member, log: Log, heard: Sequence[Seen]) -> None:
        """Take the ring, less what was ``heard``."""
        ring = member.ring
        for seen in heard:
            ring = with_orders(ring, at_of(seen.mark) // CELL, -1, -seen.what)
        log.values = [turn_of(member.id), *ring]

    def leave_out(self, log: Log) -> None:
        """Leave since when it is in."""
        log.values = []


def source_of(when: When, machine: Machine) -> Source | None:
    """Return where the state of a condition's machine is read; None when its log must hold it."""
    match when:
        case Crosses(measure="spend"):
            return Ring()
        case LateForMember(of=of) if of == _ORDERS:
            return Orders(machine)
        case Series(after=after, until=until, same=None) if after == until == _ORDERS:
            return Orders(machine)
    return None
