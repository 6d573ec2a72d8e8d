"""Topics of ours, lane by lane: chunks of rows out, and into the changelog whole batches."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from agents.clocks import WallClock
from agents.fastlane.ends import EndOffsets
from agents.fastlane.producer import BatchProducer
from agents.ports import LoggedRow, Row
from agents.recovery import OUTBOX

log = logging.getLogger(__name__)

READERS = 4
"""Lanes read back at a time: one fills its buffers from the network while another's rows are
folded; more would only hold memory."""

READ_BYTES = 4 * 1024 * 1024
CHUNK_ROWS = 10_000
"""Rows per chunk: 25 ms of one core, so that heartbeats and other lanes get their turn."""

LOG_APPEND_TIME = 1
"""The broker stamped the records itself."""

STALL_SECONDS = 30.0
"""A read that makes no progress this long has met something other than a slow broker."""


class KafkaLog:
    """The ``LogPort`` of a topic; partition number = lane number."""

    def __init__(
        self,
        topic: str,
        ends: EndOffsets,
        brokers: list[str],
        security: Mapping[str, Any] | None = None,
    ) -> None:
        self.topic = topic
        self._security = security or {}
        self._ends = ends
        self._brokers = brokers
        self._readers = asyncio.Semaphore(READERS)

    async def end(self, lane: int) -> int:
        """Return the offset that the next row of a lane would get, asked from the broker now."""
        tp = TopicPartition(self.topic, lane)
        return (await self._ends.ask([tp]))[tp]

    async def read(self, lane: int, start: int, end: int) -> AsyncIterator[Sequence[LoggedRow]]:
        """Yield the rows from ``start`` up to but without ``end``, in order, in chunks.

        Raises ``TimeoutError`` when the topic does not hold them (any more).
        """
        if start >= end:
            return
        tp = TopicPartition(self.topic, lane)
        async with self._readers:
            consumer = AIOKafkaConsumer(
                bootstrap_servers=self._brokers,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                max_partition_fetch_bytes=READ_BYTES,
                check_crcs=False,
                **self._security,
            )
            try:
                await consumer.start()
                consumer.assign([tp])
                consumer.seek(tp, start)
                async for chunk in _chunks(consumer, tp, end):
                    yield chunk
            finally:
                await consumer.stop()


class KafkaChangelog(KafkaLog):
    """The ``ChangelogPort`` of a compacted topic.

    Each acknowledgement tells ``clock`` what time it is at the broker.
    """

    def __init__(
        self,
        topic: str,
        producer: BatchProducer,
        ends: EndOffsets,
        brokers: list[str],
        clock: WallClock,
        security: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(topic, ends, brokers, security)
        self._clock = clock
        self._producer = producer
        self._written_to: dict[int, int] = {}
        self._outboxes: dict[int, LoggedRow] = {}

    async def append(self, lane: int, rows: Sequence[Row]) -> int | None:
        """Append ``rows`` as one record batch and return the offset of the first.

        None means that the broker has them, but did not say where (it had forgotten all about an
        earlier attempt except that it succeeded). Raises ``ValueError`` for rows that do not fit
        into one batch, and ``KafkaError`` when they were refused or their fate is unknown.
        """
        batch = self._producer.new_batch()
        now = self._clock.now()
        for key, value in rows:
            if batch.append(timestamp=now, key=key, value=value) is None:
                raise ValueError(f"a group of {len(rows)} rows is larger than a record batch")
        self._written_to.pop(lane, None)
        asked = self._clock.uptime()
        [written] = await self._producer.send([(self.topic, lane, batch)])
        if written is not None and written.timestamp_type == LOG_APPEND_TIME:
            self._clock.told(written.timestamp, asked, self._clock.uptime())
        if written is None or written.offset < 0:
            return None
        first: int = written.offset
        self._written_to[lane] = first + len(rows)
        if rows[0].key == OUTBOX:
            self._outboxes[lane] = LoggedRow(first, *rows[0])
        return first

    def written_to(self, lane: int) -> int | None:
        """Return the offset after the last row that was appended here; None when unknown."""
        return self._written_to.get(lane)

    def last_outbox(self, lane: int) -> LoggedRow | None:
        """Return the last outbox that was appended here, if any was."""
        return self._outboxes.get(lane)


async def _chunks(
    consumer: AIOKafkaConsumer, tp: TopicPartition, end: int
) -> AsyncIterator[Sequence[LoggedRow]]:
    loop = asyncio.get_running_loop()
    progress = loop.time()
    while True:
        fetched = await consumer.getmany(tp, timeout_ms=200, max_records=CHUNK_ROWS)
        records = fetched.get(tp, ())
        if records:
            progress = loop.time()
            rows = [LoggedRow(r.offset, r.key, r.value) for r in records if r.offset < end]
            if rows:
                yield rows
        # The position also moves over offsets that compaction has emptied.
        if await consumer.position(tp) >= end:
            return
        if loop.time() - progress > STALL_SECONDS:
            raise TimeoutError(f"{tp.topic}[{tp.partition}] has nothing to read up to {end}")
