"""An event loop in virtual time: a thousand years may pass in a second, and always alike.

Nothing outside the process is waited for, so the operating system is never asked. Time stands
still while anything is ready to run, and then jumps to the next timer. Whatever happens depends
only on the coroutines that run: the same ones, with the same seeds, run in the same order each
time (as long as they iterate over no sets of strings: Python salts the hashes of those).
"""

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

BEGINNING = 1_795_000_000_000 // 3_600_000 * 3_600_000
"""When every run begins: epoch milliseconds, at a full hour."""

STALE_TIMERS = 200
"""Cancelled timers beyond this number are thrown away once they are the most."""


class NothingLeft(Exception):
    """Everybody waits and no timer is set: the run is stuck."""


class _Task(asyncio.Task[T]):
    """A task whose place in a set depends on when it was made, not on where it lies in memory."""

    def __init__(self, coro: Any, *, number: int, **kwargs: Any) -> None:
        self._number = number
        super().__init__(coro, **kwargs)

    def __hash__(self) -> int:
        return self._number


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop on which time passes only when nothing else is to be done.

    It has no sockets and no threads. ``seconds`` is its time, 0 at first.
    """

    _ready: deque[asyncio.Handle]
    _scheduled: list[Any]
    _timer_cancelled_count: int

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0
        numbers = itertools.count()

        def task(loop: asyncio.AbstractEventLoop, coro: Any, **kwargs: Any) -> asyncio.Task[Any]:
            return _Task(coro, loop=loop, number=next(numbers), **kwargs)

        self.set_task_factory(task)

    def time(self) -> float:
        """Return seconds since the loop was made."""
        return self.seconds

    def leap(self, seconds: float) -> None:
        """Let time pass in which nothing happens: what was to happen in it is put off until then.

        As when all machines are suspended, with clocks that go on.
        """
        self.seconds += seconds
        for timer in self._scheduled:
            if timer._when < self.seconds:
                timer._when += seconds
        heapq.heapify(self._scheduled)

    def _run_once(self) -> None:
        if self._timer_cancelled_count > STALE_TIMERS:
            self._forget_cancelled()
        ready, timers = self._ready, self._scheduled
        if not ready:
            while timers and timers[0].cancelled():
                heapq.heappop(timers)._scheduled = False
                self._timer_cancelled_count -= 1
            if not timers:
                raise NothingLeft
            self.seconds = max(self.seconds, timers[0].when())
        while timers and timers[0].when() <= self.seconds:
            timer = heapq.heappop(timers)
            timer._scheduled = False
            if timer.cancelled():
                self._timer_cancelled_count -= 1
            else:
                ready.append(timer)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle.cancelled():
                handle._run()

    def _forget_cancelled(self) -> None:
        if self._timer_cancelled_count * 2 <= len(self._scheduled):
            return
        for timer in self._scheduled:
            if timer.cancelled():
                timer._scheduled = False
        self._scheduled = [timer for timer in self._scheduled if timer._scheduled]
        heapq.heapify(self._scheduled)
        self._timer_cancelled_count = 0


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run to the end in virtual time, and cancel whatever still runs then.

    Raises ``NothingLeft`` when everybody waits for somebody else.
    """
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(main)
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def now() -> int:
    """Return the virtual time in epoch milliseconds."""
    # A millisecond of which a float is a hair short has come.
    return BEGINNING + int(asyncio.get_running_loop().time() * 1000 + 1e-6)
