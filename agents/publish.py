"""What happens to a group once it is closed: written, sent, declared done, in this order."""

from collections import deque
from collections.abc import Iterable
from typing import Generic

from agents.fold import EventT, Fold, StateT
from agents.group import Collecting, Group
from agents.merge import TopicQueue
from agents.ports import Clock, OutputPort, SourcePort
from agents.stats import LaneStats
from agents.wal import Wal

FROZEN_MS = 1_000
"""Who takes this long from one line to the next may have stood still, and been fenced meanwhile."""


class Publisher(Generic[StateT, EventT]):
    """The closed groups of a lane. One at a time is written: until its outputs are acknowledged,
    its outbox is the one that a crash would have sent again.
    """

    def __init__(
        self,
        lane: int,
        fold: Fold[StateT, EventT],
        wal: Wal,
        outputs: OutputPort,
        source: SourcePort,
        clock: Clock,
        stats: LaneStats,
    ) -> None:
        stats.repaired = wal.repaired
        self.written_at = clock.elapsed()
        """Process time of the last look at the changelog."""
        self._lane = lane
        self._fold = fold
        self._wal = wal
        self._outputs = outputs
        self._source = source
        self._clock = clock
        self._stats = stats
        self._closed: deque[Group] = deque()
        self._taken: dict[str, int] = {}

    @property
    def waiting(self) -> bool:
        """Return whether closed groups wait to be published."""
        return bool(self._closed)

    def close(
        self,
        collecting: Collecting[StateT, EventT],
        queues: Iterable[TopicQueue[EventT]],
        limit: int,
    ) -> None:
        """Close what has been collected; what was taken is done when the last of it is out."""
        groups = collecting.close(limit)
        for queue in queues:
            if queue.taken > self._taken.get(queue.name, 0):
                self._taken[queue.name] = groups[-1].done[queue.name] = queue.taken
        self._closed.extend(groups)

    async def publish(self) -> None:
        """Publish the next closed group; raises what the ports raise, and ``StopWorker``."""
        group = self._closed.popleft()
        began = self._clock.elapsed()
        outputs = list(group.outputs)
        if group.rows:
            await self._wal.write(group, self._unwritten())
            self.written_at = self._clock.elapsed()
            for key, body in group.rows.items():
                outputs += self._fold.project(key, body)
            self._stats.groups += 1
            self._stats.repaired = self._wal.repaired
            self._stats.rows += len(group.rows)
            self._stats.group_bytes += group.size
        outputs += group.loose
        if outputs:
            if self._clock.elapsed() - began > FROZEN_MS:
                await self.check()
            await self._outputs.send(outputs)
            self._stats.outputs += len(outputs)
        for topic, offset in group.done.items():
            self._source.done(self._lane, topic, offset)

    async def sign_off(self) -> None:
        """Leave nothing to be sent again by whoever comes next; raises as ``publish`` does."""
        await self._wal.sign_off()

    async def check(self) -> None:
        """Look whether a zombie has written to the changelog."""
        self.written_at = self._clock.elapsed()
        await self._wal.check(self._unwritten())
        self._stats.repaired = self._wal.repaired

    def _unwritten(self) -> frozenset[bytes]:
        return frozenset(key for later in self._closed for key in later.rows)
