"""The serving store's writer: follows ``member-updates`` and keeps a document per member.

It has a consumer and a group of its own: whatever happens to the store, the members' lanes never
notice. A batch that the store does not take is held until it does; what comes meanwhile waits in
the topic.

A store may lose what it has acknowledged: Redis is killed with the last second of its log not on
disk, is flushed, restored from an old dump, or replaced by a replica that lags. Therefore the store
itself keeps how far its documents go, and that, not what the group committed, is where a projector
goes on. Each write, and a question now and then when there is nothing to write, compares it with
what was known; where it is less, the projector goes back there. Documents that were not lost are
then older for a moment, and right again when the topic has been read to its end.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from agents.retrying import FIRST_RETRY_SECONDS, longer
from agents.serving_ports import Places, ProjectionStore, UpdatesConsumer
from agents.standing import Standing, by_number, start
from agents.updates import Batch, batch_of

log = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
"""How often the ends of the topic are asked for, to tell how far behind the documents are."""

POLL_MS = 1000
"""How long a poll waits for records; it returns as soon as there are some. After one without any,
the store is asked whether it still has everything."""

STOP_SECONDS = 2.0
"""What each step of stopping may take: a write under way, and leaving the group. Together below
the 5 seconds of a worker's graceful stop."""

HELD_FOR_EVER_MS = 2**31 - 1
"""A consumer that does not poll for ``max_poll_interval_ms`` leaves its group, but a batch is held
for as long as the store is away: that is no reason to deal the partitions out anew."""


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
    """Attempts to write, or to ask how far the store goes, that failed; each is made again."""
    losses: int = 0
    """Times that the store was found to have less than it had acknowledged."""
    behind: int = 0
    """Records in our partitions that are not in the store yet, a few seconds ago."""
    waiting_since: int | None = None
    """Timestamp (epoch ms) of the oldest record being held; None when all that came is written."""
    connected: bool = False
    """Whether the last attempt to write or ask succeeded."""
    last_error: str | None = None
    """What the last failed attempt said; None when none has failed since the last success."""


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
        self._standing = Standing()

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
            pause = FIRST_RETRY_SECONDS if self.stats.read > began else longer(pause)
            await asyncio.sleep(pause)

    async def _follow(self) -> None:
        self._standing.dealt(())
        consumer = self._connect(self)
        watching = None
        try:
            await consumer.start()
            watching = asyncio.create_task(self._watch(consumer), name="projector-lag")
            while True:
                await self._begin(consumer)
                polled = await consumer.getmany(
                    timeout_ms=POLL_MS, max_records=self._config.batch_size
                )
                # What was dealt to us during the poll came from where the group had committed.
                known = {tp: polled[tp] for tp in polled.keys() & self._standing.reached.keys()}
                if known:
                    await self._finish(consumer, batch_of(known, self._standing.deal))
                else:
                    await self._look()
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

    # --- where to go on ---

    async def _begin(self, consumer: UpdatesConsumer) -> None:
        """Have the partitions that are new to us read from where the store stands."""
        pause = FIRST_RETRY_SECONDS
        while not await self._seek(consumer):
            await asyncio.sleep(pause)
            pause = longer(pause)

    async def _seek(self, consumer: UpdatesConsumer) -> bool:
        """Return whether the store could be asked; raises ``KafkaError``."""
        standing = self._standing
        partitions, deal = standing.unknown(), standing.deal
        if not partitions:
            return True
        places = await self._ask()
        if places is None:
            return False
        # Asked for after the store: it may have more than an older end.
        ends = await consumer.end_offsets(partitions)
        firsts = await consumer.beginning_offsets(partitions)
        starts = {tp: start(places.get(tp.partition), firsts[tp], ends[tp]) for tp in partitions}
        async with self._writing:
            if deal != standing.deal:
                return True
            told = {n: places[n] for tp in partitions if (n := tp.partition) in places}
            try:
                # From now on a place that is missing or lower is a loss. So it is already since
                # the store was asked: that nothing is there must not be written over.
                before = await self._store.write({}, told, by_number(starts))
            except Exception as error:
                self._failed(error)
                return False
            if any(before.get(number, -1) < place for number, place in told.items()):
                return False
            for tp, offset in starts.items():
                consumer.seek(tp, offset)
            standing.reached.update(starts)
        return True

    async def _look(self) -> None:
        """Notice, though there is nothing to write, that the store has lost something."""
        if self._standing.reached:
            places = await self._ask()
            if places is not None:
                self._go_back(places)

    async def _ask(self) -> Places | None:
        try:
            places = await self._store.places()
        except Exception as error:
            self._failed(error)
            return None
        self._answered()
        return places

    def _go_back(self, places: Places) -> bool:
        """Return whether the store has lost something: it is then read again."""
        lost = self._standing.lost(places)
        if lost:
            self.stats.losses += 1
            said = "; ".join(
                f"partition {tp.partition}: it has {places.get(tp.partition, 'nothing')}"
                f" of {self._standing.reached[tp]}"
                for tp in lost
            )
            log.warning("the serving store has lost updates, they are written again: %s", said)
            self._standing.forget(lost)
        return bool(lost)

    # --- writing ---

    async def _finish(self, consumer: UpdatesConsumer, batch: Batch) -> None:
        stats, pause = self.stats, FIRST_RETRY_SECONDS
        stats.waiting_since = batch.oldest
        while not await self._attempt(consumer, batch):
            await asyncio.sleep(pause)
            pause = longer(pause)
        stats.waiting_since = None

    async def _attempt(self, consumer: UpdatesConsumer, batch: Batch) -> bool:
        """Return whether the batch is dealt with."""
        async with self._writing:
            if batch.deal != self._standing.deal:
                # The partitions were dealt out anew: their owner, perhaps we, reads it again.
                return True
            try:
                places = await self._store.write(
                    batch.documents, self._standing.expected(), by_number(batch.next)
                )
            except Exception as error:
                self._failed(error)
                return False
            self._answered()
            if self._go_back(places):
                # Nothing of the batch was written: all of its partitions are read again.
                self._standing.forget(batch.next)
                return True
            self._count(batch)
            self._standing.reached.update(batch.next)
            # Where to go on is in the store; these offsets are for those who watch the group's lag.
            with suppress(KafkaError):
                await consumer.commit(dict(batch.next))
            return True

    def _count(self, batch: Batch) -> None:
        stats = self.stats
        stats.read += batch.records
        stats.written += len(batch.documents)
        stats.refused += batch.refused

    def _answered(self) -> None:
        stats = self.stats
        if stats.last_error is not None:
            log.info("the serving store answers again, %d behind", stats.behind)
        stats.connected, stats.last_error = True, None

    def _failed(self, error: Exception) -> None:
        stats = self.stats
        if stats.last_error is None:
            log.warning("the serving store cannot be used, holding on: %s", error)
        stats.failures += 1
        stats.connected = False
        stats.last_error = " ".join(f"{type(error).__name__}: {error}".split())

    # --- partitions come and go ---

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:  # noqa: ARG002
        """Give up the batch being held, after a write under way: the next owner reads it again."""
        async with self._writing:
            self._standing.dealt(())

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """Have these, and ask the store before anything that is read of them is written."""
        self._standing.dealt(assigned)

    async def _watch(self, consumer: UpdatesConsumer) -> None:
        while True:
            with suppress(KafkaError):
                self.stats.behind = await self._behind(consumer)
            await asyncio.sleep(LOOK_SECONDS)

    async def _behind(self, consumer: UpdatesConsumer) -> int:
        behind = 0
        ends = await consumer.end_offsets(consumer.assignment())
        for tp, end in ends.items():
            at = self._standing.reached.get(tp)
            behind += end - (await consumer.position(tp) if at is None else at)
        return behind


async def _close(consumer: UpdatesConsumer) -> None:
    # Leaving the group waits for a broker, which may be away.
    with suppress(TimeoutError, KafkaError):
        async with asyncio.timeout(STOP_SECONDS):
            await consumer.stop()
