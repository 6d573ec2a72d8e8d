"""What happens to a group once it is closed: written, sent, declared done, in this order.

What an earlier owner may not have sent comes before the first.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Generic

from agents.fold import EventT, Fold, StateT
from agents.group import Collecting, Group
from agents.merge import TopicQueue
from agents.ports import Clock, Output, OutputPort, SourcePort
from agents.recovery import Recovered
from agents.stats import LaneStats
from agents.updates_log import UpdatesLog
from agents.wal import Wal

FROZEN_MS = 1_000
"""Who takes this long from one line to the next may have stood still, and been fenced meanwhile."""

SLICE_ROWS = 32
"""Rows projected before everything else gets its turn: 1-3 ms."""


class Publisher(Generic[StateT, EventT]):
    """The closed groups of a lane. One at a time is written: until its outputs are acknowledged,
    its outbox is the one that a crash would have sent again. ``rows`` is the lane's own table.
    """

    def __init__(
        self,
        lane: int,
        fold: Fold[StateT, EventT],
        rows: Mapping[bytes, bytes],
        wal: Wal,
        updates: UpdatesLog,
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
        self._rows = rows
        self._wal = wal
        self._updates = updates
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

    async def resume(self, recovered: Recovered) -> None:
        """Send what the last owner may not have sent; raises as ``publish`` does."""
        again = list(recovered.outbox.outputs)
        again += self._projections({*recovered.group, *await self._disturbed()})
        self._stats.resent = len(again)
        await self._send(again)

    async def publish(self) -> None:
        """Publish the next closed group; raises what the ports raise, and ``StopWorker``."""
        group = self._closed.popleft()
        began = self._clock.elapsed()
        outputs = list(group.outputs)
        if group.rows:
            await self._wal.write(group, self._unwritten(), self._updates.place())
            self.written_at = self._clock.elapsed()
            for place, (key, body) in enumerate(group.rows.items(), start=1):
                outputs += self._fold.project(key, body)
                if place % SLICE_ROWS == 0:
                    await asyncio.sleep(0)
            self._stats.groups += 1
            self._stats.repaired = self._wal.repaired
            self._stats.rows += len(group.rows)
            self._stats.group_bytes += group.size
        outputs += group.loose
        if outputs:
            if self._clock.elapsed() - began > FROZEN_MS:
                await self.check()
            await self._send(outputs)
            self._stats.outputs += len(outputs)
        for topic, offset in group.done.items():
            self._source.done(self._lane, topic, offset)

    async def sign_off(self) -> None:
        """Leave nothing to be sent again by whoever comes next; raises as ``publish`` does."""
        await self._wal.sign_off(self._updates.place())

    async def check(self) -> None:
        """Look whether others have written: to the changelog, or updates behind ours.

        Who has been taken over ends here; the owner says again what may have been written over.
        """
        self.written_at = self._clock.elapsed()
        await self._wal.check(self._unwritten())
        self._stats.repaired = self._wal.repaired
        again = self._projections(await self._disturbed())
        self._stats.updates_repaired += len(again)
        await self._send(again)

    async def _send(self, outputs: Sequence[Output]) -> None:
        if outputs:
            self._updates.acknowledged(await self._outputs.send(outputs))
        if self._updates.disturbed:
            await self.check()

    async def _disturbed(self) -> set[bytes]:
        """Return the keys of rows whose last update may not be theirs.

        Those of groups to come are left out: they are said with their groups.
        """
        rows = set(map(self._fold.row_of, await self._updates.read_on()))
        return rows - self._unwritten()

    def _projections(self, keys: Iterable[bytes]) -> list[Output]:
        return [o for key in sorted(keys) for o in self._fold.project(key, self._rows.get(key))]

    def _unwritten(self) -> frozenset[bytes]:
        return frozenset(key for later in self._closed for key in later.rows)
