"""The serving store's writer: follows ``member-updates`` and keeps a document per member.

It has a consumer and a group of its own: whatever happens to the store, the members' lanes never
notice. A batch that the store does not take is held until it does; what comes meanwhile waits in
the topic.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import msgspec
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

log = logging.getLogger(__name__)

FIRST_RETRY_SECONDS = 0.1
LAST_RETRY_SECONDS = 5.0
"""A store that is back is noticed within this; asking more often would not bring it back."""

LOOK_SECONDS = 2.0
"""How often the ends of the topic are asked for, to tell how far behind the documents are."""

POLL_MS = 1000
"""How long a poll waits for records; it returns as soon as there are some."""

STOP_SECONDS = 2.0
"""What each step of stopping may take: a write under way, and leaving the group. Together below
the 5 seconds of a worker's graceful stop."""

HELD_FOR_EVER_MS = 2**31 - 1
"""A consumer that does not poll for ``max_poll_interval_ms`` leaves its group, but a batch is held
for as long as the store is away: that is no reason to deal the partitions out anew."""

Documents: TypeAlias = Mapping[bytes, bytes | None]
"""Documents by the keys of ``member-updates``; None: there is to be none."""


class ProjectionStore(Protocol):
    """Where documents are kept."""

    async def write(self, documents: Documents) -> None:
        """Put and delete all; return when the store has acknowledged it.

        Writing again what was written changes nothing. Raises, within a bounded time, when the
        store is away, slow or full: some may have been written then.
        """


class UpdatesConsumer(Protocol):
    """What a projector asks of its membership of a group; ``AIOKafkaConsumer`` is one."""

    async def start(self) -> None:
        """Join the group, waiting for a broker."""

    async def stop(self) -> None:
        """Leave it."""

    async def getmany(
        self, *, timeout_ms: int, max_records: int
    ) -> Mapping[TopicPartition, list[ConsumerRecord]]:
        """Return what there is, waiting so long for the first record."""

    async def commit(self, offsets: dict[TopicPartition, int]) -> None:
        """Commit, or raise ``KafkaError``."""

    def assignment(self) -> Collection[TopicPartition]:
        """Return the partitions that are ours."""

    async def end_offsets(
        self, partitions: Collection[TopicPartition]
    ) -> Mapping[TopicPartition, int]:
        """Return where they end."""

    async def position(self, partition: TopicPartition) -> int:
        """Return the offset that is fetched next."""


@dataclass(frozen=True, slots=True)
class ProjectorConfig:
    """What a projector is told; times are seconds."""

    broker: str
    group: str
    topic: str
    batch_size: int = 500
    """Updates per round trip to the store."""
    session_timeout: float = 6.0
    security: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Arguments of ``AIOKafkaConsumer`` about encryption and log-in."""

    @property
    def brokers(self) -> list[str]:
        """Return the bootstrap addresses."""
        return [address.strip() for address in self.broker.split(",")]


@dataclass(slots=True)
class ProjectionStats:
    """What a projector has done since it started; read by the metrics."""

    read: int = 0
    """Records of the topic."""
    written: int = 0
    """Documents put or deleted; fewer than records when members change often."""
    refused: int = 0
    """Records that are no member update: skipped."""
    failures: int = 0
    """Attempts to write that failed; each is made again."""
    behind: int = 0
    """Records in our partitions that are not in the store yet, a few seconds ago."""
    waiting_since: int | None = None
    """Timestamp (epoch ms) of the oldest record being held; None when all that came is written."""
    connected: bool = False
    """Whether the last attempt to write succeeded."""
    last_error: str | None = None
    """What the last failed attempt said; None when none has failed since the last success."""


@dataclass(frozen=True, slots=True)
class _Batch:
    documents: Documents
    first: Mapping[TopicPartition, int]
    next: Mapping[TopicPartition, int]
    oldest: int
    records: int
    refused: int
    assignment: int


class Projector(ConsumerRebalanceListener):  # type: ignore[misc]
    """Writes what ``member-updates`` says into a store, in the order of its partitions.

    ``connect`` makes the consumer, with itself as the listener, each time it is begun with.
    """

    def __init__(
        self,
        config: ProjectorConfig,
        store: ProjectionStore,
        connect: "Callable[[Projector], UpdatesConsumer] | None" = None,
    ) -> None:
        self._connect = connect or Projector._kafka
        self.stats = ProjectionStats()
        self._config = config
        self._store = store
        self._task: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()
        self._assignment = 0
        self._written: dict[TopicPartition, int] = {}

    # --- the service ---

    def start(self) -> None:
        """Begin to follow the topic, in a task of its own; a broker that is away is waited for."""
        self._task = asyncio.create_task(self._run(), name="projector")

    async def stop(self) -> None:
        """Finish the write under way, leave the group; takes some seconds at most."""
        task, self._task = self._task, None
        if task is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS), self._writing:
                pass  # a write under way has ended, and none begins before the task is cancelled
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def _run(self) -> None:
        pause = FIRST_RETRY_SECONDS
        while True:
            began = self.stats.read
            try:
                await self._follow()
            except Exception as error:
                # Whatever it is, it is not worth a worker: the documents can be made again.
                log.warning("the projector starts over: %r", error)
            pause = FIRST_RETRY_SECONDS if self.stats.read > began else _longer(pause)
            await asyncio.sleep(pause)

    async def _follow(self) -> None:
        consumer = self._connect(self)
        watching = None
        try:
            await consumer.start()
            watching = asyncio.create_task(self._watch(consumer), name="projector-lag")
            while True:
                polled = await consumer.getmany(
                    timeout_ms=POLL_MS, max_records=self._config.batch_size
                )
                if polled:
                    await self._finish(consumer, self._batch(polled))
        finally:
            if watching is not None:
                watching.cancel()
            await _close(consumer)

    def _kafka(self) -> UpdatesConsumer:
        config = self._config
        consumer: UpdatesConsumer = AIOKafkaConsumer(
            bootstrap_servers=config.brokers,
            client_id=config.group,
            group_id=config.group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=int(config.session_timeout * 1000),
            heartbeat_interval_ms=int(config.session_timeout * 1000 / 6),
            max_poll_interval_ms=HELD_FOR_EVER_MS,
            **config.security,
        )
        consumer.subscribe([config.topic], listener=self)  # type: ignore[attr-defined]
        return consumer

    # --- writing ---

    def _batch(self, polled: Mapping[TopicPartition, list[ConsumerRecord]]) -> _Batch:
        documents: dict[bytes, bytes | None] = {}
        refused = 0
        for records in polled.values():
            for record in records:
                try:
                    documents[_key(record)] = document_to_keep(record.value)
                except ValueError as error:
                    refused += 1
                    log.warning(
                        "%s-%d@%d is no member update, skipped: %s",
                        record.topic, record.partition, record.offset, error,
                    )  # fmt: skip
        return _Batch(
            documents,
            first={tp: records[0].offset for tp, records in polled.items()},
            next={tp: records[-1].offset + 1 for tp, records in polled.items()},
            oldest=min(records[0].timestamp for records in polled.values()),
            records=sum(map(len, polled.values())),
            refused=refused,
            assignment=self._assignment,
        )

    async def _finish(self, consumer: UpdatesConsumer, batch: _Batch) -> None:
        stats, pause = self.stats, FIRST_RETRY_SECONDS
        stats.waiting_since = batch.oldest
        for tp, offset in batch.first.items():
            self._written.setdefault(tp, offset)
        while not await self._attempt(consumer, batch):
            await asyncio.sleep(pause)
            pause = _longer(pause)
        stats.waiting_since = None

    async def _attempt(self, consumer: UpdatesConsumer, batch: _Batch) -> bool:
        """Return whether the batch is dealt with."""
        async with self._writing:
            if batch.assignment != self._assignment:
                # The partitions were dealt out anew: their owner, perhaps we, reads it again.
                return True
            try:
                if batch.documents:
                    await self._store.write(batch.documents)
            except Exception as error:
                if self.stats.last_error is None:
                    log.warning("the serving store takes nothing, holding on: %s", error)
                self._failed(error)
                return False
            self._succeeded(batch)
            # Offsets only say where to go on: if it fails, the next commit covers this one.
            with suppress(KafkaError):
                await consumer.commit(dict(batch.next))
            return True

    def _succeeded(self, batch: _Batch) -> None:
        stats = self.stats
        if stats.last_error is not None:
            log.info("the serving store takes updates again, %d behind", stats.behind)
        stats.connected, stats.last_error = True, None
        stats.read += batch.records
        stats.written += len(batch.documents)
        stats.refused += batch.refused
        self._written.update(batch.next)

    def _failed(self, error: Exception) -> None:
        stats = self.stats
        stats.failures += 1
        stats.connected = False
        stats.last_error = " ".join(f"{type(error).__name__}: {error}".split())

    # --- partitions come and go ---

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:  # noqa: ARG002
        """Give up the batch being held, after a write under way: the next owner reads it again."""
        async with self._writing:
            self._assignment += 1
            self._written.clear()

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """Do nothing: reading goes on at the committed offsets."""

    async def _watch(self, consumer: UpdatesConsumer) -> None:
        while True:
            with suppress(KafkaError):
                self.stats.behind = await self._behind(consumer)
            await asyncio.sleep(LOOK_SECONDS)

    async def _behind(self, consumer: UpdatesConsumer) -> int:
        behind = 0
        ends = await consumer.end_offsets(consumer.assignment())
        for tp, end in ends.items():
            at = self._written.get(tp)
            behind += end - (await consumer.position(tp) if at is None else at)
        return behind


class _Mark(msgspec.Struct):
    """The one field of a member update that decides what becomes of the document."""

    erased: bool = False


_mark = msgspec.json.Decoder(_Mark)


def _key(record: ConsumerRecord) -> bytes:
    key: bytes | None = record.key
    if key is None:
        raise ValueError("it has no key")
    return key


def document_to_keep(value: bytes | None) -> bytes | None:
    """Return what is kept of a member update: itself, or None when the member is gone or erased.

    Raises ``ValueError`` when it is no member update.
    """
    return None if value is None or _mark.decode(value).erased else value


def _longer(pause: float) -> float:
    return min(2 * pause, LAST_RETRY_SECONDS)


async def _close(consumer: UpdatesConsumer) -> None:
    # Leaving the group waits for a broker, which may be away.
    with suppress(TimeoutError, KafkaError):
        async with asyncio.timeout(STOP_SECONDS):
            await consumer.stop()
