"""What time it is: the wall clock, faster than life, followed from outside, or told by records.

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
"""A sleep does not notice that the wall clock was stepped: nobody oversleeps by more."""

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


class WallClock(_LoopClock):
    """The machine's clock, UTC."""

    def now(self) -> int:
        """Return epoch milliseconds."""
        return time.time_ns() // 1_000_000

    def call_at(self, at: int, call: Callable[[], object]) -> Timer:
        """Call once, when it is ``at``, or after a minute if that is sooner."""
        # Rounded up: a wake-up a fraction early would find nothing due and have to sleep again.
        seconds = at / 1000 - time.time() + 0.0005
        return asyncio.get_running_loop().call_later(
            min(max(seconds, 0.0), LONGEST_SLEEP_SECONDS), call
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
