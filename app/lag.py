"""How far a worker is behind its topics: in records, and in time.

The brokers are asked where the topics end, and it is seen when all that lay below is done: folded,
written and sent. Time is thus the worker's own, and no record's timestamp has a say: a history of
years that is loaded makes what arrives now wait, and only that wait is told.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import TypeAlias

from agents.ports import Place
from agents.tasks import ended

log = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
"""How often the ends are asked for: one request for all partitions, a millisecond or two."""

OPEN_QUESTIONS = 120
"""Questions kept that are not reached yet. When there are more, every second one is forgotten, and
of the next ones only every second is kept: of a lag of hours nobody needs to know the seconds."""

Ends: TypeAlias = Mapping[Place, int]


class LagWatch:
    """Asks while it runs; ``records`` and ``seconds`` tell what is the case when they are called.

    ``ends`` returns where the partitions of these lanes end, and waits for as long as no broker
    answers. ``reached`` returns the offset below which all of a partition is done. ``clock`` is
    seconds that only go forward.
    """

    def __init__(
        self,
        lanes: Callable[[], Collection[int]],
        ends: Callable[[Collection[int]], Awaitable[Ends]],
        reached: Callable[[Place], int],
        clock: Callable[[], float],
    ) -> None:
        self._lanes = lanes
        self._ends = ends
        self._reached = reached
        self._clock = clock
        self._of: frozenset[int] = frozenset()
        self._latest: Ends = {}
        # When ends were asked for that were not reached when last looked, oldest first.
        self._open: deque[tuple[float, Ends]] = deque()
        # Of the questions, one in so many is kept.
        self._every = 1
        self._asked = 0
        # Everything that was there at this time is done.
        self._done_to = clock()
        self._task: asyncio.Task[None] | None = None

    # --- what is told ---

    def records(self) -> int:
        """Return how many records of the lanes' topics are not done, as of the last asking."""
        self._settle()
        return sum(max(end - self._reached(place), 0) for place, end in self._latest.items())

    def seconds(self) -> float:
        """Return how long ago the lanes last had everything done that there was; 0 without lanes.

        Where nothing waits it is the time since the last asking, some two seconds at most.
        """
        self._settle()
        return max(self._clock() - self._done_to, 0.0) if self._of else 0.0

    def _settle(self) -> None:
        if self._of != frozenset(self._lanes()):
            self._begin()
        while self._open and self._is_reached(self._open[0][1]):
            self._done_to = self._open.popleft()[0]
        if not self._open:
            self._every = 1

    def _is_reached(self, ends: Ends) -> bool:
        return all(self._reached(place) >= end for place, end in ends.items())

    def _begin(self) -> None:
        """Begin anew with other lanes: how far they were behind elsewhere is not known here."""
        self._of = frozenset(self._lanes())
        self._latest = {}
        self._open.clear()
        self._done_to = self._clock()

    # --- the service ---

    def start(self) -> None:
        """Begin to ask, in a task of its own."""
        self._task = asyncio.create_task(self._run(), name="lag")

    async def stop(self) -> None:
        """End."""
        await ended(self._task)

    async def _run(self) -> None:
        while True:
            try:
                await self.ask()
            except Exception as error:
                # A worker that cannot go on is ended by its lanes, not by whoever watches them.
                log.warning("how far the lanes are behind is not known: %r", error)
            await asyncio.sleep(LOOK_SECONDS)

    async def ask(self) -> None:
        """Ask once; raises what asking raises."""
        self._settle()
        if not self._of:
            return
        asked, lanes = self._clock(), self._of
        ends = await self._ends(lanes)
        self._settle()
        if lanes != self._of:
            return  # the lanes were dealt out anew meanwhile
        self._latest = ends
        self._asked += 1
        if self._asked % self._every:
            return
        self._open.append((asked, ends))
        if len(self._open) > OPEN_QUESTIONS:
            self._open = deque(list(self._open)[::2])
            self._every *= 2
