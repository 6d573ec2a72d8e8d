"""Faust's consumer with its own rules for where reading starts, what waits, and what is committed.

Four properties of Faust's consumer lose or repeat records when a lane folds them; each is
replaced here, in subclasses that ``App._new_transport`` chooses, by ``agents.reading.Reading``:

* After an assignment Faust hands over whatever was prefetched and *then* seeks.
* A group without a committed offset is not sought at all, so what was prefetched and dropped is
  gone. Here it starts at the beginning.
* Offsets are committed from acknowledgements across guessed gaps. Here only what a lane has
  declared done is committed.
* A position out of range silently starts over at the earliest record. Here it ends the process.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from typing import Any

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

from agents.fastlane.ends import is_curable
from agents.fastlane.failstop import fail_stop
from agents.fastlane.settings import SERVICE_LOG, FastLaneConfig
from agents.ports import Fetched, Place, Revoked, Start
from agents.reading import Reading

log = logging.getLogger(__name__)

POLL_SECONDS = 0.25
"""How long a poll waits when nothing arrives: a seek, and with it the end of a recovery, waits for
the poll under way. Four polls a second are what an idle worker costs here."""

PACE_SECONDS = 0.04
"""Between two polls while records flow: a fetch asks for every partition, and costs some
milliseconds whatever it brings, as does each partition's chunk some tenth of one. Longer while
lanes wait for their turns (``Turns.patience``): even then full polls bring more than they fold."""

FETCH_BYTES = 1024 * 1024
"""Per partition and fetch. A broker sends a larger first record whole all the same."""

FETCH_MAX_BYTES = 4 * FETCH_BYTES
"""Per fetch: some seconds' worth of work. Its connection has a thread of its own, but while that
takes in a large answer nothing else runs either."""


MAX_POLL_INTERVAL_MS = 3_600_000
"""An hour of recovery reads half a billion rows; who takes longer leaves the group."""


RETRY_SECONDS = 0.5


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
            fetch_max_bytes=FETCH_MAX_BYTES,
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
                    positions[Place(tp.topic, tp.partition)] = state.position
        return Fetched({Place(tp.topic, tp.partition): r for tp, r in records.items()}, positions)

    async def starts(self, places: Collection[Place]) -> dict[Place, Start]:
        """Return where each of the assigned partitions starts; raises ``KafkaError``."""
        return await self.call_thread(self._starts, list(places))  # type: ignore[no-any-return]

    async def _starts(self, places: list[Place]) -> dict[Place, Start]:
        tps = [TopicPartition(*place) for place in places]
        consumer = self._ensure_consumer()
        beginnings, ends, *committed = await asyncio.gather(
            consumer.beginning_offsets(tps),
            consumer.end_offsets(tps),
            *(consumer.committed(tp) for tp in tps),
        )
        return {
            place: Start(beginnings[tp], ends[tp], offset)
            for place, tp, offset in zip(places, tps, committed, strict=True)
        }

    async def seek_all(self, offsets: Mapping[Place, int]) -> None:
        """Continue at ``offsets``; raises ``IllegalStateError`` for what is not assigned."""
        await self.call_thread(self._seek_all, offsets)

    async def _seek_all(self, offsets: Mapping[Place, int]) -> None:
        consumer = self._ensure_consumer()
        for place, offset in offsets.items():
            consumer.seek(TopicPartition(*place), offset)

    async def _commit(self, offsets: Mapping[Place, int]) -> bool:
        consumer = self._ensure_consumer()
        try:
            await consumer.commit(
                {TopicPartition(*at): OffsetAndMetadata(o, "") for at, o in offsets.items()}
            )
        except (CommitFailedError, IllegalStateError):
            # A rebalance is under way or over: the next owner reads the records again and skips.
            return False
        except KafkaError as error:
            log.warning("offsets were not committed, will try again: %r", error)
            return False
        return True


class KafkaGroup:
    """The ``GroupPort`` of a consumer's thread."""

    def __init__(self, thread: Callable[[], FastConsumerThread]) -> None:
        self._thread = thread

    async def starts(self, places: Collection[Place]) -> Mapping[Place, Start]:
        """Return where each of the assigned partitions starts."""
        while True:
            try:
                return await self._thread().starts(places)
            except IllegalStateError:
                raise Revoked from None
            except KafkaError as error:
                if not is_curable(error):
                    raise
                log.warning("cannot start reading yet, trying again: %r", error)
                await asyncio.sleep(RETRY_SECONDS)

    async def seek(self, offsets: Mapping[Place, int]) -> None:
        """Continue at ``offsets``."""
        try:
            await self._thread().seek_all(offsets)
        except IllegalStateError:
            raise Revoked from None

    async def fetch(self, places: Collection[Place], seconds: float) -> Fetched | None:
        """Return what there is in these partitions."""
        # aiokafka reads an empty set of partitions as "all of them": there is always one here.
        fetched = await self._thread().getmany(set(places), seconds)
        # Anything else: flow was stopped while the request waited in the thread's queue.
        return fetched if isinstance(fetched, Fetched) else None

    async def commit(self, offsets: Mapping[Place, int]) -> bool:
        """Commit."""
        return await self._thread().commit(offsets)  # type: ignore[no-any-return]


class FastConsumer(Consumer):  # type: ignore[misc]
    """The consumer as the app's own thread sees it."""

    logger = SERVICE_LOG

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.reading = Reading(KafkaGroup(lambda: self._thread))
        self._fetched_era = 0

    def _new_consumer_thread(self) -> FastConsumerThread:
        return FastConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def perform_seek(self) -> None:
        """Do nothing: Faust would seek below a running lane; see ``Reading.begin``."""

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:  # noqa: ASYNC109
        self._fetched_era, records = await self.reading.poll(active_partitions or set(), timeout)
        return records

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
                polled = [message async for _, message in self.getmany(timeout=POLL_SECONDS)]
                if polled:
                    # A full stream queue must not hold up a revocation. All at once: to wait for
                    # each chunk costs a round of the loop, with a lane's turn in it.
                    await self.wait_first(self._hand_over(polled), self.suspend_flow.wait())
                    await asyncio.sleep(max(PACE_SECONDS, self.app.turns.patience))
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

    async def _hand_over(self, polled: list[Message]) -> None:
        for message in polled:
            await self.callback(message)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Finish and commit what lanes have under way, then give up the partitions."""
        self.reading.stop()
        if self.app.should_stop:
            # Faust waits for nobody then, and closes the connection.
            await self.wait_empty()
        await super().on_partitions_revoked(revoked)

    # -- what is committed

    def ack(self, message: Message) -> bool:
        """Note that a chunk has been handed over, which says nothing about its records."""
        message.acked = True
        self._unacked_messages.discard(message)
        return True

    async def wait_empty(self) -> None:
        """Let the lanes finish what is under way, in bounded time, and commit it."""
        await self.app.tables.recovery.handover.finish()

    async def commit(self, *_: Any, **__: Any) -> bool:
        """Commit what the lanes have declared done; return whether anything was."""
        return await self.reading.commit()

    async def verify_all_partitions_active(self) -> None:
        """Do nothing: Faust takes partitions that are held on purpose for stuck ones."""


class FastTransport(Transport):  # type: ignore[misc]
    """Faust's Kafka transport with the consumer above."""

    Consumer = FastConsumer
