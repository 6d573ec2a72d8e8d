"""The ports of a simulated process, but for its group: changelog, outputs, member topics."""

import asyncio
from collections import ChainMap
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agents.members import placed_by
from agents.partitioner import murmur2_partition
from agents.ports import LoggedRow, Output, Place, Row, Sent
from agents.recovery import FENCE, OUTBOX
from models.events import MEMBER_TOPICS
from simulation.broker import Appended, NewRecord, SimProducer

if TYPE_CHECKING:
    from simulation.process import Process

CHANGELOG = "changelog"
UPDATES = "member-updates"
SLOW_LEADERS = 0.5
"""Of the questions for a partition's end, those that its leader takes its time for."""

SLOW_LEADER_SECONDS = 2.0


async def _under_way(sending: Coroutine[Any, Any, Appended]) -> Appended:
    """Wait for a batch; it goes on its way whether or not anybody waits for it any longer."""
    task = asyncio.create_task(sending)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return await asyncio.shield(task)


class SimLog:
    """The ``LogPort`` of a process."""

    def __init__(self, process: "Process", topic: str) -> None:
        self.topic = topic
        self._process = process

    async def end(self, lane: int) -> int:
        broker = self._process.world.broker
        return await self._process.request("end", lambda: broker.end_offset(self.topic, lane))

    def read(self, lane: int, start: int, end: int) -> AsyncIterator[Sequence[LoggedRow]]:
        return _Reader(self._process, self.topic, lane, start, end)


class SimChangelog(SimLog):
    """The ``OwnChangelog`` of a process."""

    def __init__(self, process: "Process", producer: SimProducer) -> None:
        super().__init__(process, CHANGELOG)
        self._producer = producer
        self._written_to: dict[int, int] = {}
        self._outboxes: dict[int, LoggedRow] = {}

    async def append(self, lane: int, rows: Sequence[Row]) -> int | None:
        clock = self._process.clock
        records = [NewRecord(key, value, clock.now()) for key, value in rows]
        self._process.wrote += rows[0].key != FENCE
        self._written_to.pop(lane, None)
        asked = clock.uptime()
        first, timestamp = await _under_way(self._producer.send(CHANGELOG, lane, records))
        if timestamp is not None:
            clock.told(timestamp, asked, clock.uptime())
        if first is None:
            return None
        self._written_to[lane] = first + len(rows)
        if rows[0].key == OUTBOX:
            self._outboxes[lane] = LoggedRow(first, *rows[0])
        return first

    def written_to(self, lane: int) -> int | None:
        return self._written_to.get(lane)

    def last_outbox(self, lane: int) -> LoggedRow | None:
        return self._outboxes.get(lane)


class _Reader:
    """No generator: one that is given up half-way would be closed when garbage is collected."""

    def __init__(self, process: "Process", topic: str, lane: int, start: int, end: int) -> None:
        self._process = process
        self._topic = topic
        self._lane = lane
        self._place = start
        self._end = end

    def __aiter__(self) -> AsyncIterator[Sequence[LoggedRow]]:
        return self

    async def __anext__(self) -> Sequence[LoggedRow]:
        broker = self._process.world.broker
        while self._place < self._end:
            records, self._place = await self._process.request(
                "read", lambda: broker.fetch(self._topic, self._lane, self._place, 40)
            )
            rows = [
                LoggedRow(r.offset, r.key or b"", r.value) for r in records if r.offset < self._end
            ]
            if rows:
                return rows
        raise StopAsyncIteration


class SimOutputs:
    """The ``OutputPort`` of a process."""

    def __init__(self, process: "Process", producer: SimProducer) -> None:
        self._process = process
        self._producer = producer

    async def send(self, outputs: Sequence[Output]) -> Sequence[Sent]:
        assert outputs, "nothing to send"
        world, now = self._process.world, self._process.clock.now()
        batches: dict[tuple[str, int], list[NewRecord]] = {}
        for topic, key, value, headers in outputs:
            place = topic, murmur2_partition(placed_by(key), world.broker_partitions(topic))
            batches.setdefault(place, []).append(NewRecord(key, value, now, headers))
        self._process.wrote += 1
        sent = []
        for (topic, partition), records in batches.items():
            first, _ = await _under_way(self._producer.send(topic, partition, records))
            sent.append(Sent(topic, partition, first, len(records)))
        return sent


class SimSource:
    """The ``SourcePort`` of a process."""

    def __init__(self, process: "Process") -> None:
        self._process = process

    async def ends(self, lane: int) -> Mapping[str, int]:
        process, broker = self._process, self._process.world.broker
        reading = process.reading
        await reading.started.wait()

        # The partitions may be led by different brokers, and even one broker looks at them one
        # after the other: while it does, records go into those looked at and into those to come.
        late = [topic for topic in MEMBER_TOPICS if process.rng.random() < SLOW_LEADERS]
        soon = [topic for topic in MEMBER_TOPICS if topic not in late]

        async def ask(topics: Sequence[str], seconds: float) -> Mapping[str, int]:
            if seconds:
                await asyncio.sleep(process.rng.random() * seconds)
            return await process.request(
                "ends", lambda: {topic: broker.end_offset(topic, lane) for topic in topics}
            )

        slow = (ask([topic], SLOW_LEADER_SECONDS) for topic in late)
        ends = dict(ChainMap(*map(dict, await asyncio.gather(ask(soon, 0), *slow))))
        return {topic: reading.read_to(Place(topic, lane), end) for topic, end in ends.items()}

    def pause(self, lane: int, topic: str) -> None:
        self._process.reading.hold(Place(topic, lane))

    def resume(self, lane: int, topic: str) -> None:
        self._process.reading.release(Place(topic, lane))

    def done(self, lane: int, topic: str, offset: int) -> None:
        self._process.reading.offsets.done(Place(topic, lane), offset)
