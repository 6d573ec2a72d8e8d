"""A cluster as the behaviour suite sees it, which runs on the simulation and on Kafka alike."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from itertools import count
from typing import Protocol

from agents.ports import ChangelogPort, LoggedRow, Row
from simulation import loop
from simulation.broker import (
    Appended,
    Fetched,
    Lost,
    NewRecord,
    SimBroker,
    SimProducer,
    TopicConfig,
)
from simulation.groups import Group, Joined


class Writer(ChangelogPort, Protocol):
    """A changelog as a lane has it, over a network that can be told to fail."""

    def lose_request(self) -> None:
        """Lose the next request before it reaches the broker."""

    def lose_acknowledgement(self) -> None:
        """Let the next request reach the broker, and lose its answer."""


class Member(Protocol):
    """One member of a group; see ``simulation.groups.Group`` for what each call does."""

    async def join(self, metadata: bytes) -> Joined:
        """Enter if it has not, ask to be in the next generation, and wait for it."""

    async def sync(self, generation: int, assignment: Mapping[str, bytes] | None = None) -> bytes:
        """Wait for what is assigned; b"" if nothing."""

    async def heartbeat(self, generation: int) -> None:
        """Say that it is alive."""

    async def commit(self, generation: int, offsets: Mapping[tuple[str, int], int]) -> None:
        """Remember where to go on."""

    async def leave(self) -> None:
        """Leave at once."""

    @property
    def id(self) -> str:
        """Return the id that the group knows it by, once it has joined."""


class Cluster(Protocol):
    """What the behaviour suite asks of a cluster; errors are those of ``simulation.errors``."""

    def now(self) -> int:
        """Return the broker's clock, epoch milliseconds."""

    async def create_topic(self, config: TopicConfig, name: str | None = None) -> str:
        """Make a topic, under a new name unless one is given, and return the name."""

    async def delete_topic(self, name: str) -> None:
        """Delete it, and wait until it is gone."""

    async def topic_id(self, name: str) -> str:
        """Return the topic's id."""

    async def new_producer(self) -> int:
        """Return the id of a new idempotent producer."""

    async def append(
        self, producer: int, topic: str, partition: int, sequence: int, records: Sequence[NewRecord]
    ) -> Appended:
        """Send one request with one batch; see ``SimBroker.append``."""

    async def transact(self, topic: str, partition: int, record: NewRecord) -> None:
        """Append a record in a transaction of its own, and commit it."""

    async def writer(self, topic: str) -> Writer:
        """Return a changelog as one worker process has it."""

    async def ends(self, topic: str, partition: int) -> tuple[int, int]:
        """Return the offsets that the partition begins and ends at."""

    async def fetch(self, topic: str, partition: int, start: int, most: int = 500) -> Fetched:
        """Return what the next fetch brings; see ``SimBroker.fetch``."""

    async def delete_records(self, topic: str, partition: int, before: int) -> None:
        """Delete all records below an offset."""

    async def compact(
        self, topic: str, partition: int, done: Callable[[], Awaitable[bool]]
    ) -> None:
        """Let the broker compact a partition until ``done``; fails if that never comes."""

    async def member(self, group: str, session_ms: int, rebalance_ms: int) -> Member:
        """Return somebody who may join a group."""

    async def committed(self, group: str, topic: str, partition: int) -> int | None:
        """Return where a group goes on."""


class _SimWriter:
    def __init__(self, broker: SimBroker, topic: str) -> None:
        self._broker = broker
        self._topic = topic
        self._producer = SimProducer(broker, self._deliver)
        self._requests_to_lose = self._answers_to_lose = 0

    def lose_request(self) -> None:
        self._requests_to_lose += 1

    def lose_acknowledgement(self) -> None:
        self._answers_to_lose += 1

    async def _deliver(self, request: Callable[[], Appended]) -> Appended:
        await asyncio.sleep(0.001)
        if self._requests_to_lose:
            self._requests_to_lose -= 1
            raise Lost
        answer = request()
        await asyncio.sleep(0.001)
        if self._answers_to_lose:
            self._answers_to_lose -= 1
            raise Lost
        return answer

    async def append(self, lane: int, rows: Sequence[Row]) -> int | None:
        records = [NewRecord(key, value, loop.now()) for key, value in rows]
        return (await self._producer.send(self._topic, lane, records)).offset

    async def end(self, lane: int) -> int:
        return self._broker.end_offset(self._topic, lane)

    async def read(self, lane: int, start: int, end: int) -> AsyncIterator[Sequence[LoggedRow]]:
        while start < end:
            records, start = self._broker.fetch(self._topic, lane, start)
            rows = [LoggedRow(r.offset, r.key or b"", r.value) for r in records if r.offset < end]
            if rows:
                yield rows


class _SimMember:
    def __init__(self, group: Group, session_ms: int, rebalance_ms: int) -> None:
        self._group = group
        self._times = session_ms, rebalance_ms
        self.id = ""

    async def join(self, metadata: bytes) -> Joined:
        if not self.id:
            self.id = self._group.enter("member", self._times[0])
        return await self._group.join(self.id, metadata, *self._times)

    async def sync(self, generation: int, assignment: Mapping[str, bytes] | None = None) -> bytes:
        assigned = await self._group.sync(self.id, generation, assignment)
        assert assigned is None or isinstance(assigned, bytes)
        return assigned or b""

    async def heartbeat(self, generation: int) -> None:
        self._group.heartbeat(self.id, generation)

    async def commit(self, generation: int, offsets: Mapping[tuple[str, int], int]) -> None:
        self._group.commit(self.id, generation, offsets)

    async def leave(self) -> None:
        self._group.leave(self.id)


class SimCluster:
    """The simulated one."""

    def __init__(self) -> None:
        self.broker = SimBroker(random.Random(0))
        self._names = (f"topic-{number}" for number in count())

    def now(self) -> int:
        return self.broker.now()

    async def create_topic(self, config: TopicConfig, name: str | None = None) -> str:
        name = name or next(self._names)
        self.broker.create_topic(name, config)
        return name

    async def delete_topic(self, name: str) -> None:
        self.broker.delete_topic(name)

    async def topic_id(self, name: str) -> str:
        return self.broker.topic_id(name)

    async def new_producer(self) -> int:
        return self.broker.new_producer()

    async def append(
        self, producer: int, topic: str, partition: int, sequence: int, records: Sequence[NewRecord]
    ) -> Appended:
        return self.broker.append(producer, topic, partition, sequence, records)

    async def transact(self, topic: str, partition: int, record: NewRecord) -> None:
        self.broker.write(topic, partition, record)
        self.broker.append_marker(topic, partition)

    async def writer(self, topic: str) -> Writer:
        return _SimWriter(self.broker, topic)

    async def ends(self, topic: str, partition: int) -> tuple[int, int]:
        return (
            self.broker.beginning_offset(topic, partition),
            self.broker.end_offset(topic, partition),
        )

    async def fetch(self, topic: str, partition: int, start: int, most: int = 500) -> Fetched:
        return self.broker.fetch(topic, partition, start, most)

    async def delete_records(self, topic: str, partition: int, before: int) -> None:
        self.broker.delete_records(topic, partition, before)

    async def compact(
        self, topic: str, partition: int, done: Callable[[], Awaitable[bool]]
    ) -> None:
        self.broker.compact(topic, partition)
        assert await done(), f"compaction leaves {self.broker.all_records(topic)}"

    async def member(self, group: str, session_ms: int, rebalance_ms: int) -> Member:
        return _SimMember(self.broker.group(group), session_ms, rebalance_ms)

    async def committed(self, group: str, topic: str, partition: int) -> int | None:
        return self.broker.group(group).committed.get((topic, partition))


def on_simulation(behaviour: Callable[[Cluster], Awaitable[None]]) -> None:
    """Check a behaviour of the simulated cluster."""

    async def check() -> None:
        await behaviour(SimCluster())

    loop.run(check())
