"""Follows topics and writes what it makes of them into a store, each record once.

It has a consumer and a group of its own: whatever happens to the store, the members' lanes never
notice. A batch that the store does not take is held until it does; what comes meanwhile waits in
the topics.

A store may lose what it has acknowledged: Redis is killed with the last second of its log not on
disk, is flushed, restored from an old dump, or replaced by a replica that lags. Therefore the store
itself keeps how far its content goes, and that, not what the group committed, is where a follower
goes on. Each write, and a question now and then when there is nothing to write, compares it with
what was known. Where it is less, something was lost, and the follower goes back there. Where it is
more, somebody else has gone on, and the follower goes there.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaError

from agents.clocks import WallClock
from agents.retrying import FIRST_RETRY_SECONDS, longer
from agents.serving_ports import NOWHERE, FollowerConsumer, FollowerStore, Places
from agents.standing import Standing, by_name, place_name, start
from agents.tasks import ended

log = logging.getLogger(__name__)

T = TypeVar("T")

LOOK_SECONDS = 2.0
"""How often the ends of the topics are asked for, to tell how far behind the store is, and offsets
are committed, for others who watch the group's lag: where to go on is in the store."""

POLL_MS = 1000
"""How long a poll waits for records; it returns as soon as there are some. After one without any,
the store is asked whether it still has everything."""

FETCH_BYTES = 256 * 1024
"""A fetch returns when there is so much, or after the follower's patience: while records trickle
in, one by one they would each cost a fetch, a write and an answer."""

FETCH_MAX_BYTES = 1024 * 1024
"""What a fetch brings from all partitions together. What has to be made again is there at once, and
tens of megabytes in one answer would hold up all else on the event loop for tenths of a second."""

STOP_SECONDS = 2.0
LAST_COMMIT_SECONDS = 0.5
"""What the steps of stopping may take: a write under way, the last offsets, leaving the group.
Together below the 5 seconds of a worker's graceful stop."""

HELD_FOR_EVER_MS = 2**31 - 1
"""A consumer that does not poll for ``max_poll_interval_ms`` leaves its group, but a batch is held
for as long as the store is away: that is no reason to deal the partitions out anew."""

REJOIN_SECONDS = 30.0
"""How long the group waits for a follower that lives to come to a new deal: it may have a write to
end first, on a machine that is busy. Who comes too late is thrown out, joins again, and all is
dealt anew, again and again. Who is dead is not waited for longer than its session."""

RESTS = 5
"""What is left to who rests so often is a sixth of the loop: enough to get on."""

ASSIGNORS = (RangePartitionAssignor,)
"""By range, partition n of every topic goes to the same follower, so that one of them has all of a
member. Of aiokafka's consumers two that offer more than one assignor, and join at once, may join
again and again and never come to a deal."""

Polled: TypeAlias = Mapping[TopicPartition, list[ConsumerRecord]]
"""What a poll brought: no partition without records."""


@dataclass(frozen=True, slots=True)
class FollowerConfig:
    """What a follower is told; times are seconds."""

    broker: str
    group: str
    topics: tuple[str, ...]
    batch_size: int = 500
    """Records per round trip to the store."""
    session_timeout: float = 6.0
    security: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Arguments of ``AIOKafkaConsumer`` about encryption and log-in."""
    patience: float = 0.1
    """How long records may wait at the broker for more to come."""
    rest: float = 0.0
    """How long to rest after a batch, as a share of the time that its work took, and up to
    ``RESTS`` times as long while others are ``pressed``. Whoever has much to catch up with shares
    its event loop with lanes, which cannot wait."""

    @property
    def brokers(self) -> list[str]:
        """Return the bootstrap addresses."""
        return [address.strip() for address in self.broker.split(",")]


@dataclass(slots=True)
class FollowerStats:
    """What a follower has done since it started; read by the metrics."""

    read: int = 0
    """Records of the topics."""
    written: int = 0
    """What they came to: of documents fewer than records when members change often."""
    refused: int = 0
    """Records that are not what the topics hold: skipped."""
    failures: int = 0
    """Attempts to write, or to ask how far the store goes, that failed; each is made again."""
    losses: int = 0
    """Times that the store was found to have less than it had acknowledged."""
    behind: int = 0
    """Records in our partitions that are not in the store yet, a few seconds ago."""
    waiting_since: int | None = None
    """Timestamp (epoch ms) of the oldest record being held, or when the store was first asked in
    vain where to go on; None when all that came is written."""
    connected: bool = False
    """Whether the last attempt to write or ask succeeded."""
    last_error: str | None = None
    """What the last failed attempt said; None when none has failed since the last success."""


@dataclass(frozen=True, slots=True)
class Taken(Generic[T]):
    """What was made of the records of a poll."""

    content: T
    size: int
    """How much it is, for the counter of what was written."""
    refused: int
    """Records that were left out."""


@dataclass(frozen=True, slots=True)
class _Batch(Generic[T]):
    """All that one poll brought."""

    taken: Taken[T]
    next: Mapping[TopicPartition, int]
    """The offset after the last record of each partition."""
    oldest: int
    """Timestamp (epoch ms) of the oldest record."""
    records: int
    deal: int
    """The dealing of partitions in which it was polled."""


class Follower(ConsumerRebalanceListener, Generic[T]):  # type: ignore[misc]
    """Writes what ``take`` makes of records into a store, in the order of their partitions.

    ``connect`` makes the consumer, with itself as the listener, each time it is begun with;
    ``pressed`` tells whether others on the loop have more to do than they get done.
    """

    def __init__(
        self,
        config: FollowerConfig,
        store: FollowerStore[T],
        take: Callable[[Polled], Taken[T]],
        connect: "Callable[[Follower[T]], FollowerConsumer] | None" = None,
        pressed: Callable[[], bool] = lambda: False,
    ) -> None:
        self._connect = connect or Follower._kafka
        self._pressed = pressed
        self.stats = FollowerStats()
        self._config = config
        self._store = store
        self._take = take
        self._task: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()
        self._wall = WallClock()
        self._standing = Standing()
        self._uncommitted: dict[TopicPartition, int] = {}

    # --- the service ---

    def start(self) -> None:
        """Begin to follow, in a task of its own; a broker that is away is waited for."""
        self._task = asyncio.create_task(self._run(), name=self._config.group)

    async def stop(self) -> None:
        """Finish the write under way, leave the group; takes some seconds at most."""
        task, self._task = self._task, None
        if task is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS), self._writing:
                pass  # a write under way has ended, and none begins before the task is cancelled
        await ended(task)

    async def _run(self) -> None:
        pause = FIRST_RETRY_SECONDS
        while True:
            began = self.stats.read
            try:
                await self._follow()
            except Exception as error:
                # Whatever it is, it is not worth a worker: the content can be made again.
                log.warning("%s starts over: %r", self._config.group, error)
            pause = FIRST_RETRY_SECONDS if self.stats.read > began else longer(pause)
            await asyncio.sleep(pause)

    async def _follow(self) -> None:
        self._standing.dealt(())
        loop = asyncio.get_running_loop()
        consumer = self._connect(self)
        watching = None
        try:
            await consumer.start()
            watching = asyncio.create_task(self._watch(consumer), name=f"{self._config.group}-lag")
            while True:
                await self._begin(consumer)
                polled = await consumer.getmany(
                    timeout_ms=POLL_MS, max_records=self._config.batch_size
                )
                # What was dealt to us during the poll came from where the group had committed.
                known = {tp: polled[tp] for tp in polled.keys() & self._standing.reached.keys()}
                if known:
                    began = loop.time()
                    batch = self._batch(known)
                    worked = loop.time() - began + await self._finish(batch)
                    await self._rest(self._config.rest * worked)
                else:
                    await self._look()
        finally:
            if watching is not None:
                watching.cancel()
            await self._close(consumer)

    async def _rest(self, seconds: float) -> None:
        for _ in range(RESTS):
            await asyncio.sleep(seconds)
            if not self._pressed():
                return

    def _kafka(self) -> FollowerConsumer:
        config = self._config
        consumer: FollowerConsumer = AIOKafkaConsumer(
            bootstrap_servers=config.brokers,
            client_id=config.group,
            group_id=config.group,
            enable_auto_commit=False,
            partition_assignment_strategy=ASSIGNORS,
            auto_offset_reset="earliest",
            fetch_min_bytes=FETCH_BYTES,
            fetch_max_bytes=FETCH_MAX_BYTES,
            fetch_max_wait_ms=int(config.patience * 1000),
            session_timeout_ms=int(config.session_timeout * 1000),
            heartbeat_interval_ms=int(config.session_timeout * 1000 / 6),
            max_poll_interval_ms=HELD_FOR_EVER_MS,
            rebalance_timeout_ms=int(REJOIN_SECONDS * 1000),
            **config.security,
        )
        consumer.subscribe(config.topics, listener=self)  # type: ignore[attr-defined]
        return consumer

    def _batch(self, polled: Polled) -> _Batch[T]:
        return _Batch(
            self._take(polled),
            next={tp: records[-1].offset + 1 for tp, records in polled.items()},
            oldest=min(records[0].timestamp for records in polled.values()),
            records=sum(map(len, polled.values())),
            deal=self._standing.deal,
        )

    # --- where to go on ---

    async def _begin(self, consumer: FollowerConsumer) -> None:
        """Have the partitions that are new to us read from where the store stands."""
        stats, pause = self.stats, FIRST_RETRY_SECONDS
        while not await self._seek(consumer):
            # Whatever has come since is not written, though there is no batch to tell its age.
            stats.waiting_since = stats.waiting_since or self._wall.now()
            await asyncio.sleep(pause)
            pause = longer(pause)
        stats.waiting_since = None

    async def _seek(self, consumer: FollowerConsumer) -> bool:
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
        starts = {tp: start(places.get(place_name(tp)), firsts[tp], ends[tp]) for tp in partitions}
        async with self._writing:
            if deal != standing.deal:
                return True
            told = {name: places.get(name, NOWHERE) for name in map(place_name, partitions)}
            try:
                # From now on another place is a loss, or somebody else's work. So it is already
                # since the store was asked: that nothing is there must not be written over.
                before = await self._store.write(None, told, by_name(starts))
            except Exception as error:
                self._failed(error)
                return False
            if any(before.get(name, NOWHERE) != place for name, place in told.items()):
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
                self._differs(places)

    async def _ask(self) -> Places | None:
        try:
            places = await self._store.places()
        except Exception as error:
            self._failed(error)
            return None
        self._answered()
        return places

    def _differs(self, places: Places) -> bool:
        """Return whether the store stands elsewhere; where it does, it is asked again."""
        standing = self._standing
        differing, lost = standing.differing(places), standing.lost(places)
        if lost:
            self.stats.losses += 1
            said = "; ".join(
                f"{name}: it has {places.get(name, 'nothing')} of {standing.reached[tp]}"
                for tp in lost
                if (name := place_name(tp))
            )
            log.warning("the serving store has lost updates, they are written again: %s", said)
        elif differing:
            log.info("the serving store is further on than %s knew", self._config.group)
        standing.forget(differing)
        return bool(differing)

    # --- writing ---

    async def _finish(self, batch: _Batch[T]) -> float:
        """Return how long it took in seconds, without what an outage of the store took."""
        stats, pause = self.stats, FIRST_RETRY_SECONDS
        time = asyncio.get_running_loop().time
        stats.waiting_since = batch.oldest
        began = time()
        while not await self._attempt(batch):
            await asyncio.sleep(pause)
            pause = longer(pause)
            began = time()
        stats.waiting_since = None
        return time() - began

    async def _attempt(self, batch: _Batch[T]) -> bool:
        """Return whether the batch is dealt with."""
        standing = self._standing
        async with self._writing:
            if batch.deal != standing.deal:
                # The partitions were dealt out anew: their owner, perhaps we, reads it again.
                return True
            expected, reached = standing.expected(), by_name(batch.next)
            try:
                places = await self._store.write(batch.taken.content, expected, reached)
            except Exception as error:
                self._failed(error)
                return False
            self._answered()
            if places.items() >= {**expected, **reached}.items():
                pass  # An earlier attempt had been written; only its answer was lost.
            elif self._differs(places):
                # Nothing of the batch was written: all of its partitions are read again.
                standing.forget(batch.next)
                return True
            self._count(batch)
            standing.reached.update(batch.next)
            self._uncommitted.update(batch.next)
            return True

    def _count(self, batch: _Batch[T]) -> None:
        stats = self.stats
        stats.read += batch.records
        stats.written += batch.taken.size
        stats.refused += batch.taken.refused

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

    async def _commit(self, consumer: FollowerConsumer) -> None:
        due, self._uncommitted = self._uncommitted, {}
        if due:
            await consumer.commit(due)

    async def _close(self, consumer: FollowerConsumer) -> None:
        # Both wait for a broker, which may be away.
        with suppress(TimeoutError, KafkaError):
            async with asyncio.timeout(LAST_COMMIT_SECONDS):
                await self._commit(consumer)
        with suppress(TimeoutError, KafkaError):
            async with asyncio.timeout(STOP_SECONDS):
                await consumer.stop()

    # --- partitions come and go ---

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:  # noqa: ARG002
        """Give up the batch being held, after a write under way: the next owner reads it again."""
        async with self._writing:
            self._standing.dealt(())
            self._uncommitted.clear()

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """Have these, and ask the store before anything that is read of them is written."""
        self._standing.dealt(assigned)

    async def _watch(self, consumer: FollowerConsumer) -> None:
        while True:
            with suppress(KafkaError):
                await self._commit(consumer)
                self.stats.behind = await self._behind(consumer)
            await asyncio.sleep(LOOK_SECONDS)

    async def _behind(self, consumer: FollowerConsumer) -> int:
        behind = 0
        ends = await consumer.end_offsets(consumer.assignment())
        for tp, end in ends.items():
            at = self._standing.reached.get(tp)
            behind += end - (await consumer.position(tp) if at is None else at)
        return behind
