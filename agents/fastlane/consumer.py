"""Faust's consumer with its own rules for where reading starts, what waits, and what is committed.

Four properties of Faust's consumer lose or repeat records when a lane folds them; each is
replaced here, in subclasses that ``App._new_transport`` chooses:

* After an assignment Faust hands over whatever was prefetched and *then* seeks. Folding a later
  chunk first makes a lane skip the earlier one. Here nothing is fetched before the start of every
  partition is known and sought, and no chunk fetched before a seek is handed over after it.
* A group without a committed offset is not sought at all, so what was prefetched and dropped is
  gone. Here it starts at the beginning.
* Offsets are committed from acknowledgements across guessed gaps. Here only what a lane has
  declared done is committed (``offsets.OffsetBook``).
* A position out of range silently starts over at the earliest record. Here it ends the process.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, ConsumerStoppedError, TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    IllegalStateError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)
from aiokafka.structs import OffsetAndMetadata
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport
from faust.types import TP, ConsumerMessage, Message

from agents.fastlane.failstop import fail_stop
from agents.fastlane.offsets import OffsetBook
from agents.fastlane.settings import SERVICE_LOG, FastLaneConfig

log = logging.getLogger(__name__)

POLL_SECONDS = 0.25
"""How long a poll waits when nothing arrives: a seek, and with it the end of a recovery, waits for
the poll under way. Four polls a second are what an idle worker costs here."""

HELD_POLL_SECONDS = 0.02
"""The same while lanes hold partitions back: the poll cannot notice that one was released."""

FETCH_BYTES = 1024 * 1024
"""Per partition and fetch. A broker sends a larger first record whole all the same."""


MAX_POLL_INTERVAL_MS = 3_600_000
"""An hour of recovery reads half a billion rows; who takes longer leaves the group."""


class Fetched(NamedTuple):
    """What one poll brought, with where each partition was left, taken in the same instant."""

    records: Mapping[TP, list[Any]]
    positions: Mapping[TP, int]


class Start(NamedTuple):
    """Where a partition can be read from and where the group is in it."""

    beginning: int
    end: int
    committed: int | None

    @property
    def offset(self) -> int:
        """Return the offset to read from."""
        return self.beginning if self.committed is None else self.committed


class FastConsumerThread(AIOKafkaConsumerThread):  # type: ignore[misc]
    """The thread that owns the connection; everything here runs in it."""

    logger = SERVICE_LOG

    def _create_worker_consumer(self, _: Any) -> AIOKafkaConsumer:
        config: FastLaneConfig = self.app.lane_config
        self._assignor = self.app.assignor
        return AIOKafkaConsumer(
            bootstrap_servers=config.brokers,
            client_id=f"{config.group}-consumer",
            group_id=config.group,
            partition_assignment_strategy=[self._assignor],
            enable_auto_commit=False,
            # Starting over at the earliest record would look like progress.
            auto_offset_reset="none",
            # A record of a transaction that was rolled back never happened.
            isolation_level="read_committed",
            max_poll_records=config.max_poll_records,
            max_partition_fetch_bytes=FETCH_BYTES,
            fetch_max_wait_ms=config.fetch_wait_ms,
            session_timeout_ms=int(config.session_timeout * 1000),
            heartbeat_interval_ms=int(config.heartbeat_interval * 1000),
            rebalance_timeout_ms=int(config.rebalance_timeout * 1000),
            # Nothing is polled while lanes recover, which may take long.
            max_poll_interval_ms=MAX_POLL_INTERVAL_MS,
            **config.security,
        )

    async def _fetch_records(
        self, consumer: AIOKafkaConsumer, *args: Any, **kwargs: Any
    ) -> Fetched:
        try:
            records = await super()._fetch_records(consumer, *args, **kwargs)
        except NoOffsetForPartitionError:
            # aiokafka looks for committed offsets as soon as partitions are assigned, finds none,
            # and says so here, long after every partition was sought where it begins.
            records = {}
        assignment = consumer._subscription.subscription.assignment
        positions = {}
        if assignment is not None:
            for tp in assignment.tps:
                state = assignment.state_value(tp)
                if state.has_valid_position:
                    positions[TP(tp.topic, tp.partition)] = state.position
        return Fetched({TP(tp.topic, tp.partition): r for tp, r in records.items()}, positions)

    async def starts(self, tps: Iterable[TP]) -> dict[TP, Start]:
        """Return where each of the assigned partitions starts; raises ``KafkaError``."""
        return await self.call_thread(self._starts, list(tps))  # type: ignore[no-any-return]

    async def _starts(self, tps: list[TP]) -> dict[TP, Start]:
        consumer = self._ensure_consumer()
        beginnings, ends, *committed = await asyncio.gather(
            consumer.beginning_offsets(tps),
            consumer.end_offsets(tps),
            *(consumer.committed(TopicPartition(*tp)) for tp in tps),
        )
        return {
            tp: Start(beginnings[tp], ends[tp], offset)
            for tp, offset in zip(tps, committed, strict=True)
        }

    async def seek_all(self, offsets: Mapping[TP, int]) -> None:
        """Continue at ``offsets``; raises ``IllegalStateError`` for what is not assigned."""
        await self.call_thread(self._seek_all, offsets)

    async def _seek_all(self, offsets: Mapping[TP, int]) -> None:
        consumer = self._ensure_consumer()
        for tp, offset in offsets.items():
            consumer.seek(TopicPartition(*tp), offset)

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        consumer = self._ensure_consumer()
        try:
            await consumer.commit(
                {TopicPartition(*tp): OffsetAndMetadata(o, "") for tp, o in offsets.items()}
            )
        except (CommitFailedError, IllegalStateError):
            # A rebalance is under way or over: the next owner reads the records again and skips.
            return False
        except KafkaError as error:
            log.warning("offsets were not committed, will try again: %r", error)
            return False
        return True


class FastConsumer(Consumer):  # type: ignore[misc]
    """The consumer as the app's own thread sees it."""

    logger = SERVICE_LOG

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.offsets = OffsetBook()
        self._held: set[TP] = set()
        self._fetching = asyncio.Lock()
        self._committing = asyncio.Lock()
        self.reading = asyncio.Event()
        # Counts seeks and revocations: a chunk fetched under another count is stale.
        self._era = 0
        self._fetched_era = 0
        self._positions: dict[TP, int] = {}
        self._next_record: dict[TP, int] = {}

    def _new_consumer_thread(self) -> FastConsumerThread:
        return FastConsumerThread(self, loop=self.loop, beacon=self.beacon)

    # -- where reading starts

    async def start_reading(self, tps: Iterable[TP]) -> None:
        """Seek the partitions of the lanes just recovered to where their group is, and begin.

        Returns with reading allowed; raises ``IllegalStateError`` when they were revoked
        meanwhile. An offset that the broker does not hold any more ends the process.
        """
        self.stop_reading()
        era = self._era
        async with self._fetching:
            starts = await self._thread.starts(tps)
            for tp, start in starts.items():
                self._check(tp, start)
            offsets = {tp: start.offset for tp, start in starts.items()}
            await self._thread.seek_all(offsets)
            if era != self._era:
                return
            self._positions = offsets
            self._held.clear()
            self.offsets.start({tp: start.committed or 0 for tp, start in starts.items()})
            self.reading.set()

    def stop_reading(self) -> None:
        """Hand over nothing more, not even what has been fetched, until reading starts again."""
        self._era += 1
        self.reading.clear()
        self._positions = {}
        self._next_record = {}

    def _check(self, tp: TP, start: Start) -> None:
        if start.beginning <= start.offset <= start.end:
            return
        what = "was deleted" if start.offset < start.beginning else "is missing"
        fail_stop(
            f"{tp.topic}[{tp.partition}] holds offsets {start.beginning} to {start.end}, but this "
            f"group goes on at {start.offset}: what it has not read {what}. If the topic was made "
            "again, start with a new group and changelog; if its retention deleted records, "
            "accept the loss by setting the group's offset to the beginning"
        )

    async def perform_seek(self) -> None:
        """Do nothing: Faust would seek below a running lane; see ``start_reading``."""

    # -- what is handed over

    def hold(self, tp: TP) -> None:
        """Hand over no more of a partition; the chunk under way may still arrive."""
        self._held.add(tp)

    def release(self, tp: TP) -> None:
        """Hand it over again."""
        self._held.discard(tp)

    def is_current(self, era: int) -> bool:
        """Return whether a chunk of that era may still be handed to a lane."""
        return self.reading.is_set() and era == self._era

    def read_to(self, tp: TP, end: int) -> int:
        """Return the offset that a lane reaches once it has been handed all records below ``end``.

        To be asked while ``reading`` is set: before, nothing says what is left to read. It is
        ``end`` itself, except when the last offsets below it hold no records (the markers of
        transactions, or what compaction removed): then the offset after the last record fetched,
        or 0 if none was fetched since reading started.
        """
        if self._positions.get(tp, -1) < end:
            return end
        return min(end, self._next_record.get(tp, 0))

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:  # noqa: ASYNC109
        async with self._fetching:
            wanted = (active_partitions or set()) - self._held
            # aiokafka reads an empty set of partitions as "all of them".
            if not self.reading.is_set() or not wanted:
                await asyncio.sleep(HELD_POLL_SECONDS)
                return {}
            self._fetched_era = self._era
            wait = HELD_POLL_SECONDS if self._held else timeout
            fetched: Fetched | dict[TP, Any] = await self._thread.getmany(wanted, wait)
        if not isinstance(fetched, Fetched):
            # Flow was stopped while the request waited in the thread's queue.
            return {}
        if self.is_current(self._fetched_era):
            self._positions.update(fetched.positions)
            self._next_record.update((tp, r[-1].offset + 1) for tp, r in fetched.records.items())
        return fetched.records

    def _to_message(self, tp: TP, record: Any) -> Message:
        """Make one Faust message of a chunk: ``value`` is the list, ``key`` its era."""
        last = record[-1]
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            last.offset,
            last.timestamp / 1000,
            last.timestamp_type,
            (),
            self._fetched_era,
            record,
            None,
            0,
            0,
            tp,
            generation_id=self.app.consumer_generation_id,
        )

    async def _drain_messages(self, fetcher: Any) -> None:
        try:
            while not (self.should_stop or fetcher.should_stop):
                async for _, message in self.getmany(timeout=POLL_SECONDS):
                    # A full stream queue must not hold up a revocation.
                    await self.wait_first(self.callback(message), self.suspend_flow.wait())
        except asyncio.CancelledError:
            # Faust takes any cancellation during a rebalance for a reason to start over.
            if not fetcher.should_stop:
                raise
        except ConsumerStoppedError:
            if not self.app.should_stop:
                fail_stop("the consumer was stopped by its connection")
        except OffsetOutOfRangeError as error:
            fail_stop(f"a source partition no longer holds the offset to go on at: {error}")
        except Exception as error:
            fail_stop(error)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Finish and commit what lanes have under way, then give up the partitions."""
        self.stop_reading()
        await super().on_partitions_revoked(revoked)

    # -- what is committed

    def ack(self, message: Message) -> bool:
        """Note that a chunk has been handed over, which says nothing about its records."""
        message.acked = True
        self._unacked_messages.discard(message)
        return True

    async def wait_empty(self) -> None:
        """Let the lanes finish what is under way, in bounded time, and commit it."""
        self.stop_reading()
        await self.app.tables.recovery.give_up()
        await self.app.lanes.stop()
        try:
            await asyncio.wait_for(self.commit(), self.app.lane_config.last_commit_timeout)
        except TimeoutError:
            log.warning("offsets were not committed in time: their records will be read again")

    async def commit(self, *_: Any, **__: Any) -> bool:
        """Commit what the lanes have declared done; return whether anything was."""
        async with self._committing:
            due = self.offsets.due()
            if not due or not await self._thread.commit(due):
                return False
            self.offsets.committed(due)
            return True

    async def verify_all_partitions_active(self) -> None:
        """Do nothing: Faust takes partitions that are held on purpose for stuck ones."""


class FastTransport(Transport):  # type: ignore[misc]
    """Faust's Kafka transport with the consumer above."""

    Consumer = FastConsumer
