"""Machines for events that follow one another: a sequence completed, a series of steps."""

from models.logs import Due, Log
from models.rules import Sequence, Series

AFTER, UNTIL = 1, 2


class Chain:
    """A sequence of ``steps`` events in less than ``within`` milliseconds.

    ``times``: when the last one was completed, then for the first 1, 2 ... steps the latest begin
    of a chain that has come so far (0: none). The latest begin is never worse than an earlier one.
    ``what`` has one bit for each step that the event can be.
    """

    def __init__(self, steps: int, within: int) -> None:
        self.longest = within
        self._steps = steps

    def step(self, state: Log, at: int, what: int) -> None:
        """Lengthen the chains by one event, the longest first: it is one step, not two."""
        if not state.times:
            state.times = [0] * self._steps
        begins = state.times
        oldest = at - self.longest
        last = self._steps - 1
        if what >> last & 1 and begins[last] > max(oldest, 0):
            state.times = [at] + [0] * last
            return
        for number in range(last - 1, 0, -1):
            if what >> number & 1 and begins[number] > max(oldest, 0):
                begins[number + 1] = max(begins[number + 1], begins[number])
        if what & 1:
            begins[1] = at

    def absorb(self, state: Log, at: int, what: int) -> None:
        """Leave a late event: what followed it is no longer known."""

    def dues(self, _when: Sequence, state: Log) -> tuple[Due, ...]:
        """Return when it was completed last."""
        done = state.times[0] if state.times else 0
        return (Due(done, done),) if done else ()

    def is_over(self, state: Log, at: int) -> bool:
        """Tell whether no chain is open."""
        return not any(begin > at - self.longest for begin in state.times[1:] if begin)


class Steps:
    """A series of steps after an event; ``times``: when it began (0: it has ended)."""

    def __init__(self) -> None:
        self.longest = 0

    def step(self, state: Log, at: int, what: int) -> None:
        """Begin, which wins, or end."""
        state.times = [at if what & AFTER else 0]

    def absorb(self, state: Log, at: int, what: int) -> None:
        """Leave a late event."""

    def dues(self, when: Series, state: Log) -> tuple[Due, ...]:
        """Return the steps."""
        begun = state.times[0] if state.times else 0
        if not begun:
            return ()
        return tuple(Due(begun + step, begun, n) for n, step in enumerate(when.steps, start=1))

    def is_over(self, state: Log, at: int) -> bool:
        """Tell whether it has ended, or the last step is past."""
        return not state.times or not state.times[0] or state.times[0] + self.longest < at


def run_of(occasion: str) -> tuple[int, int]:
    """Return when the series of an occasion began, and its step; (0, 1) for any other occasion."""
    *_, begun, step = ("", *occasion.split("|"))
    return (int(begun), int(step)) if begun.isdecimal() and step.isdecimal() else (0, 1)
