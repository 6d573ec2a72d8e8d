"""Apache Kafka as far as we rely on it, in memory: topics, idempotent producers, groups.

Every call is one request that reaches the broker: it takes effect at once and whole, and never
waits. That requests take time, get lost, or come from processes that die or freeze meanwhile is
the business of whoever calls. ``tests/test_log_behaviour.py`` holds this module to what a real
broker does.
"""

import asyncio
import random
from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple

from simulation import loop
from simulation.errors import (
    BatchTooLarge,
    InvalidRecord,
    InvalidTimestamp,
    OffsetOutOfRange,
    OutOfOrderSequence,
    TopicExists,
    UnknownTopic,
)
from simulation.groups import Group

BATCH_BYTES = 1_048_588
"""What a topic takes in one batch by default."""

FUTURE_MS = 3_600_000
"""How far ahead of the broker's clock a producer's timestamp may be."""

KNOWN_BATCHES = 5
"""How many batches of a producer a partition remembers, to know a retry again."""

NO_PRODUCER = -1
"""The id of a producer that is not idempotent."""

FORGOTTEN_WAITERS = 64

BATCH_OVERHEAD = 61
RECORD_OVERHEAD = 12


class NewRecord(NamedTuple):
    """A record to be appended; ``timestamp`` is ignored by topics that use their own."""

    key: bytes | None
    value: bytes | None
    timestamp: int = 0
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass(slots=True)
class Record:
    """A record as a partition holds it; it fits ``agents.ports.SourceRecord``."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    batch_end: int = 0
    """The offset after the last record of its batch, compacted away or not."""
    goes_at: int | None = None
    """When compaction may drop a tombstone, known since a compaction first met it."""

    def may_go(self, now: int, retention: int) -> bool:
        """Return whether compaction may drop this tombstone; the first one only takes note."""
        if self.goes_at is None:
            self.goes_at = now + retention
            return False
        return self.goes_at <= now


class Appended(NamedTuple):
    """What a broker acknowledges."""

    offset: int | None
    """The offset of the first record; None when the broker has it but cannot say where, which the
    protocol allows and Apache Kafka 4.1 never does: only a ``Deliver`` may make it so."""
    timestamp: int | None
    """The broker's time at the append; None when the records carry their producer's."""


class Fetched(NamedTuple):
    """What a fetch brings, and where to go on."""

    records: list[Record]
    position: int


class Batch(NamedTuple):
    """What was once appended, whatever compaction or deletion has left of it."""

    at: int
    """The broker's clock, epoch milliseconds."""
    producer: int
    topic: str
    partition: int
    sequence: int
    offset: int
    records: tuple[NewRecord, ...]


@dataclass(frozen=True)
class TopicConfig:
    """How a topic is set up. Times in milliseconds."""

    partitions: int = 1
    compact: bool = False
    log_append_time: bool = False
    max_batch_bytes: int = BATCH_BYTES
    min_compaction_lag: int = 0
    delete_retention: int = 86_400_000
    """How long a tombstone outlives the compaction that first meets it."""


class _Known(NamedTuple):
    sequence: int
    size: int
    appended: Appended


class _Partition:
    def __init__(self) -> None:
        self.beginning = 0
        self.end = 0
        self.records: list[Record] = []
        # Of each batch not yet compacted, where it begins and its largest timestamp. The newest
        # is in the active segment, which is never compacted.
        self.dirty: deque[tuple[int, int]] = deque()
        self.cleaned = 0
        self.known: dict[int, deque[_Known]] = {}
        self.waiting: dict[asyncio.Future[None], None] = {}

    def place(self, offset: int) -> int:
        """Return the index of the first record at or after an offset."""
        records = self.records
        # As long as nothing was compacted the index is known.
        index = offset - self.beginning
        if 0 <= index < len(records) and records[index].offset == offset:
            return index
        return bisect_left(records, offset, key=attrgetter("offset"))

    def wake(self) -> None:
        waiting, self.waiting = self.waiting, {}
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def wait(self, future: asyncio.Future[None]) -> None:
        if len(self.waiting) >= FORGOTTEN_WAITERS:
            self.waiting = {other: None for other in self.waiting if not other.done()}
        self.waiting[future] = None


class _Topic(NamedTuple):
    id: str
    config: TopicConfig
    partitions: list[_Partition]


class SimBroker:
    """A cluster. Make it while the loop runs that it is to live on."""

    def __init__(self, rng: random.Random) -> None:
        self.clock_offset = 0
        """Milliseconds by which the broker's clock is ahead of the virtual time."""
        self.batches: list[Batch] = []
        """Every batch ever appended, in the order of time."""
        self._rng = rng
        self._topics: dict[str, _Topic] = {}
        self._groups: dict[str, Group] = {}
        self._producers = 0

    def now(self) -> int:
        """Return the broker's clock, epoch milliseconds."""
        return loop.now() + self.clock_offset

    # -- topics

    def create_topic(self, name: str, config: TopicConfig) -> str:
        """Make a topic and return its id, which no other topic ever had; or ``TopicExists``."""
        if name in self._topics:
            raise TopicExists(name)
        id_ = self._rng.randbytes(16).hex()
        partitions = [_Partition() for _ in range(config.partitions)]
        self._topics[name] = _Topic(id_, config, partitions)
        return id_

    def delete_topic(self, name: str) -> None:
        """Delete a topic with all its records and all that groups have committed for it."""
        for partition in self._topic(name).partitions:
            partition.wake()
        del self._topics[name]
        for group in self._groups.values():
            group.forget_topic(name)

    def topics(self) -> list[str]:
        """Return the names of all topics."""
        return list(self._topics)

    def topic_id(self, topic: str) -> str:
        """Return the id of a topic; raises ``UnknownTopic``, as all below do."""
        return self._topic(topic).id

    def config(self, topic: str) -> TopicConfig:
        """Return how a topic is set up."""
        return self._topic(topic).config

    # -- writing

    def new_producer(self) -> int:
        """Return the id of a new idempotent producer."""
        self._producers += 1
        return self._producers

    def append(
        self, producer: int, topic: str, partition: int, sequence: int, records: Sequence[NewRecord]
    ) -> Appended:
        """Append one batch, whole or not at all.

        ``sequence`` is the number of the producer's first record in this partition, counted from
        0. One of its last five batches there, sent again, is acknowledged as it was and not
        appended. A producer that the partition does not know begins with any number. Raises
        ``BatchTooLarge``, ``InvalidTimestamp``, ``InvalidRecord``, ``OutOfOrderSequence``.
        """
        config = self._topic(topic).config
        log = self._partition(topic, partition)
        known = log.known.setdefault(producer, deque(maxlen=KNOWN_BATCHES))
        self._check(config, records)
        for batch in known:
            if batch.sequence == sequence and batch.size == len(records):
                return batch.appended
        if known and sequence != known[-1].sequence + known[-1].size:
            raise OutOfOrderSequence(f"{topic}[{partition}] was sent {sequence} after {known[-1]}")
        appended = self._write(config, log, producer, topic, partition, sequence, records)
        youngest = max(record.timestamp for record in records)
        known.append(
            _Known(
                sequence,
                len(records),
                Appended(
                    appended.offset, youngest if appended.timestamp is None else appended.timestamp
                ),
            )
        )
        return appended

    def write(self, topic: str, partition: int, *records: NewRecord) -> Appended:
        """Append one batch by a producer without an id, which may repeat itself."""
        config = self._topic(topic).config
        self._check(config, records)
        log = self._partition(topic, partition)
        return self._write(config, log, NO_PRODUCER, topic, partition, NO_PRODUCER, records)

    def _check(self, config: TopicConfig, records: Sequence[NewRecord]) -> None:
        if batch_bytes(records) > config.max_batch_bytes:
            raise BatchTooLarge(f"{len(records)} records")
        if config.compact and any(record.key is None for record in records):
            raise InvalidRecord("a compacted topic needs keys")
        if not config.log_append_time:
            latest = max(record.timestamp for record in records)
            if latest > self.now() + FUTURE_MS:
                raise InvalidTimestamp(f"{latest}, now is {self.now()}")

    def _write(
        self,
        config: TopicConfig,
        log: _Partition,
        producer: int,
        topic: str,
        partition: int,
        sequence: int,
        records: Sequence[NewRecord],
    ) -> Appended:
        now = self.now()
        first, end = log.end, log.end + len(records)
        stamp = now if config.log_append_time else None
        for offset, (key, value, timestamp, headers) in enumerate(records, first):
            at = timestamp if stamp is None else stamp
            log.records.append(Record(topic, partition, offset, at, key, value, headers, end))
        log.end = end
        youngest = max(record.timestamp for record in records) if stamp is None else stamp
        log.dirty.append((first, youngest))
        self.batches.append(Batch(now, producer, topic, partition, sequence, first, tuple(records)))
        log.wake()
        return Appended(first, stamp)

    def append_marker(self, topic: str, partition: int) -> int:
        """Take one offset that holds no record, as the end of a transaction does; return it."""
        log = self._partition(topic, partition)
        log.end += 1
        log.dirty.append((log.end - 1, self.now()))
        log.wake()
        return log.end - 1

    # -- reading

    def beginning_offset(self, topic: str, partition: int) -> int:
        """Return the first offset that may be read."""
        return self._partition(topic, partition).beginning

    def end_offset(self, topic: str, partition: int) -> int:
        """Return the offset that the next record gets."""
        return self._partition(topic, partition).end

    def fetch(self, topic: str, partition: int, start: int, most: int = 500) -> Fetched:
        """Return the records from ``start`` on, at most ``most``, and where to go on.

        The position moves over offsets that hold nothing. Raises ``OffsetOutOfRange``.
        """
        log = self._partition(topic, partition)
        if not log.beginning <= start <= log.end:
            raise OffsetOutOfRange(
                f"{topic}[{partition}] holds {log.beginning} to {log.end}, not {start}"
            )
        place = log.place(start)
        records = log.records[place : place + most]
        if place + most >= len(log.records):
            return Fetched(records, log.end)
        last, after = records[-1], log.records[place + most]
        return Fetched(records, min(last.batch_end, after.offset))

    def arrival(self, topic: str, partition: int, position: int) -> asyncio.Future[None]:
        """Return a future that is done as soon as there is something at or above ``position``.

        Also done when the topic is deleted. To be asked again after it is done.
        """
        return self.arrivals([(topic, partition, position)])

    def arrivals(self, positions: Iterable[tuple[str, int, int]]) -> asyncio.Future[None]:
        """Return the same for several (topic, partition, position): done when one has something."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        logs = [(self._partition(topic, number), at) for topic, number, at in positions]
        if any(log.end > at for log, at in logs):
            future.set_result(None)
        else:
            for log, _ in logs:
                log.wait(future)
        return future

    def all_records(self, topic: str) -> list[Record]:
        """Return what a topic holds now, partition by partition (for verdicts)."""
        return [record for log in self._topic(topic).partitions for record in log.records]

    # -- what makes records go

    def delete_records(self, topic: str, partition: int, before: int) -> None:
        """Delete all records below an offset, as retention does; raises ``OffsetOutOfRange``."""
        log = self._partition(topic, partition)
        if before > log.end:
            raise OffsetOutOfRange(f"{topic}[{partition}] ends at {log.end}, before {before}")
        if before > log.beginning:
            del log.records[: log.place(before)]
            log.beginning = before

    def compact(self, topic: str, partition: int, upto: int | None = None) -> int:
        """Compact a partition as far as the broker might just now, or not beyond ``upto``.

        Keeps the last record of each key, and tombstones until they are old enough. Never touches
        the newest batch, nor what is younger than the compaction lag. Offsets stay. Returns how
        many records went.
        """
        config = self._topic(topic).config
        log = self._partition(topic, partition)
        now = self.now()
        while len(log.dirty) > 1 and log.dirty[0][1] <= now - config.min_compaction_lag:
            if upto is not None and log.dirty[1][0] > upto:
                break
            log.dirty.popleft()
            log.cleaned = log.dirty[0][0]
        count = log.place(log.cleaned)
        head = log.records[:count]
        last = {record.key: record.offset for record in head}
        kept = [
            record
            for record in head
            if last[record.key] == record.offset
            and (record.value is not None or not record.may_go(now, config.delete_retention))
        ]
        log.records[:count] = kept
        return count - len(kept)

    # -- groups

    def group(self, name: str) -> Group:
        """Return a consumer group, which is there as soon as somebody asks for it."""
        if name not in self._groups:
            self._groups[name] = Group(name)
        return self._groups[name]

    def _topic(self, name: str) -> _Topic:
        try:
            return self._topics[name]
        except KeyError:
            raise UnknownTopic(name) from None

    def _partition(self, topic: str, number: int) -> _Partition:
        partitions = self._topic(topic).partitions
        if not 0 <= number < len(partitions):
            raise UnknownTopic(f"{topic}[{number}]")
        return partitions[number]


def batch_bytes(records: Sequence[NewRecord]) -> int:
    """Return about how many bytes a batch takes, a few too many rather than too few."""
    size = BATCH_OVERHEAD + RECORD_OVERHEAD * len(records)
    for key, value, _, headers in records:
        size += len(key or b"") + len(value or b"")
        if headers:
            size += sum(len(name) + len(content) + 4 for name, content in headers)
    return size


Deliver = Callable[[Callable[[], Appended]], Awaitable[Appended]]
"""A network and a process: takes a request to the broker (the call) and its answer back.

It may call once, several times or never, now or later; it may raise ``Lost``, and then the same
batch is sent again, with the same sequence; whatever else it raises ends the attempt for good.
"""


class Lost(Exception):
    """A request or its acknowledgement did not arrive: nobody knows whether it took effect."""


class SimProducer:
    """An idempotent producer as aiokafka's: one batch under way per partition, sent until known.

    ``retry_ms`` is how long it waits before it sends again what was ``Lost``, or what was for a
    topic that is not there: it may be made anew. A batch that fails for good has used up its
    sequence numbers all the same: the partition refuses all later ones.
    """

    def __init__(self, broker: SimBroker, deliver: Deliver, retry_ms: int = 100) -> None:
        self.id = broker.new_producer()
        self._broker = broker
        self._deliver = deliver
        self._retry = retry_ms / 1000
        self._sequences: defaultdict[tuple[str, int], int] = defaultdict(int)
        self._turns: defaultdict[tuple[str, int], asyncio.Lock] = defaultdict(asyncio.Lock)

    async def send(self, topic: str, partition: int, records: Sequence[NewRecord]) -> Appended:
        """Append one batch and return the acknowledgement; in the order of calls per partition.

        Raises what else the broker refuses it with, and what else ``deliver`` raises.
        """
        async with self._turns[topic, partition]:
            sequence = self._sequences[topic, partition]
            self._sequences[topic, partition] += len(records)
            while True:
                try:
                    return await self._deliver(
                        lambda: self._broker.append(self.id, topic, partition, sequence, records)
                    )
                except (Lost, UnknownTopic):
                    await asyncio.sleep(self._retry)
