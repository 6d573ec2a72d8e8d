"""What time it is: the brokers' clock, faster than life, followed from outside, or told by records.

Every clock's own timers run on the event loop's time; nothing else here or in a lane looks at a
clock of the machine.
"""

import asyncio
import mmap
import time
from collections.abc import Callable
from pathlib import Path

from agents.ports import Timer

LONGEST_SLEEP_SECONDS = 60.0
"""A sleep does not notice that a clock was set: nobody oversleeps by more."""

CLOCK_DRIFT = 1 / 5000
"""How much two machines' clocks may drift apart, as a share of the time that passes: a quartz is
good for 1 in 10,000, and a clock that is being corrected runs as much faster or slower."""

FOLLOW_SECONDS = 0.01
"""How often a followed clock is looked at while somebody waits for it."""


class _LoopClock:
    """The process's own time, by the event loop."""

    until: int | None = None

    def elapsed(self) -> int:
        """Return milliseconds of the event loop's time."""
        return int(asyncio.get_running_loop().time() * 1000)

    def call_later(self, delay: int, call: Callable[[], object]) -> Timer:
        """Call once, ``delay`` milliseconds from now."""
        return asyncio.get_running_loop().call_later(max(delay, 0) / 1000, call)


def machine_clock() -> int:
    """Return what the machine takes for UTC, in epoch milliseconds."""
    return time.time_ns() // 1_000_000


def uptime() -> int:
    """Return milliseconds since some fixed moment; setting the machine's clock changes nothing."""
    # Linux alone has a clock that also counts while a machine is suspended.
    return time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)) // 1_000_000


class WallClock(_LoopClock):
    """UTC as the brokers have it, carried on by the machine's uptime from one telling to the next.

    The brokers say what time it is with everything they acknowledge in a topic of log append time,
    as the changelog is. Members' deadlines thus neither fire early nor wait because one worker's
    machine has a wrong clock or has its clock set; until something is told, and with a topic of
    another kind, the machine's clock has to do.

    What a broker told lies between question and answer: with each telling the bounds between which
    its clock must be ahead of the uptime grow narrower (Cristian 1989, Marzullo 1984), and wider
    with time, for no two clocks run alike. The lower bound is taken: a deadline may be late by a
    round trip, but is never early.
    """

    def __init__(
        self, machine: Callable[[], int] = machine_clock, uptime: Callable[[], int] = uptime
    ) -> None:
        self._machine = machine
        self.uptime = uptime
        self._told = False
        self._at = 0
        self._least = 0.0
        self._most = 0.0

    def now(self) -> int:
        """Return epoch milliseconds."""
        if not self._told:
            return self._machine()
        up = self.uptime()
        return up + int(self._least - (up - self._at) * CLOCK_DRIFT)

    def told(self, at: int, asked: int, answered: int) -> None:
        """Learn that a broker's clock said ``at`` some time between two readings of ``uptime``."""
        drift = (answered - self._at) * CLOCK_DRIFT
        # Clocks are read in whole milliseconds.
        least, most = at - answered - 1, at - asked + 1
        self._least = max(self._least - drift, least)
        self._most = min(self._most + drift, most)
        if not self._told or self._least > self._most:
            # A broker's clock was set, or another broker's is different.
            self._least, self._most = least, most
        self._told, self._at = True, answered

    @property
    def ahead(self) -> int:
        """Return by how many milliseconds the machine's clock is ahead of what brokers told."""
        return self._machine() - self.now()

    def call_at(self, at: int, call: Callable[[], object]) -> Timer:
        """Call once, when it is ``at``, or after a minute if that is sooner."""
        return asyncio.get_running_loop().call_later(
            min(max((at - self.now()) / 1000, 0.0), LONGEST_SLEEP_SECONDS), call
        )


class ScaledClock(_LoopClock):
    """Time that runs ``factor`` times as fast as real time, from ``start`` (epoch milliseconds)."""

    def __init__(self, start: int, factor: float) -> None:
        if factor <= 0:
            raise ValueError(f"a clock's factor must be above zero, was {factor}")
        self._start = start
        self._factor = factor
        self._began = time.monotonic()

    def now(self) -> int:
        """Return epoch milliseconds of the scaled time."""
        return self._start + int((time.monotonic() - self._began) * 1000 * self._factor)

    def call_at(self, at: int, call: Callable[[], object]) -> Timer:
        """Call once, when the scaled time has reached ``at``."""
        seconds = (at - self.now()) / 1000 / self._factor
        return asyncio.get_running_loop().call_later(
            min(max(seconds, 0.0), LONGEST_SLEEP_SECONDS), call
        )


class FollowClock(_LoopClock):
    """Time set by another process: eight bytes, little-endian epoch milliseconds, in a file.

    Whoever writes the file writes all eight bytes at once. The clock never goes back, whatever is
    written. Raises ``OSError`` when the file is not there and ``ValueError`` when it is too short.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)
        self._latest = 0

    def now(self) -> int:
        """Return epoch milliseconds, as last set."""
        self._latest = max(self._latest, int.from_bytes(self._map[:8], "little", signed=True))
        return self._latest

    def call_at(self, at: int, call: Callable[[], object]) -> Timer:
        """Look every few milliseconds whether ``at`` is reached, then call once."""
        return _Poll(lambda: self.now() >= at, call)


class StreamClock(_LoopClock):
    """No clock: time is what a lane's records say, and ends at ``until`` (epoch milliseconds)."""

    def __init__(self, until: int) -> None:
        self.until = until

    def now(self) -> None:
        """Return None: nothing is ever late or expired by a clock."""

    def call_at(self, at: int, call: Callable[[], object]) -> Timer:
        """Refuse: there is nothing to wait for."""
        raise AssertionError(f"stream time was asked to call {call!r} at {at}")


class _Poll:
    def __init__(self, reached: Callable[[], bool], call: Callable[[], object]) -> None:
        self._reached = reached
        self._call = call
        self._handle = asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        if self._reached():
            self._call()
        else:
            self._handle = asyncio.get_running_loop().call_later(FOLLOW_SECONDS, self._look)

    def cancel(self) -> None:
        self._handle.cancel()
