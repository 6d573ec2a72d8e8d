"""An idempotent aiokafka producer that sends whole record batches of our own making."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import UnknownTopicOrPartitionError
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.structs import RecordMetadata

PRODUCE_TIMEOUT_MS = 30_000
"""How long one request may take. A batch is sent again for as long as it takes, with the same
sequence number, so that an outage of the broker loses and repeats nothing; only a partition that
has no leader for this long, once the broker is back, fails its batch."""

CLOSE_SECONDS = 1.0


class BatchProducer:
    """Sends record batches and waits for all replicas.

    ``linger`` tells how many seconds to keep between two requests: what comes meanwhile leaves
    together. A request costs both sides the same whatever it carries.
    """

    def __init__(
        self,
        brokers: list[str],
        client_id: str,
        batch_bytes: int,
        security: Mapping[str, Any] | None = None,
        linger: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._brokers = brokers
        self._security = security or {}
        self._client_id = client_id
        self._batch_bytes = batch_bytes
        self._producer: AIOKafkaProducer | None = None
        self._known: dict[str, int] = {}
        self._linger = linger
        self._leaves_at = 0.0
        self._gate: asyncio.Event | None = None
        self._turns: defaultdict[tuple[str, int], asyncio.Lock] = defaultdict(asyncio.Lock)

    async def start(self) -> None:
        """Connect; raises ``KafkaConnectionError`` when no broker answers."""
        producer = AIOKafkaProducer(
            bootstrap_servers=self._brokers,
            client_id=self._client_id,
            acks="all",
            enable_idempotence=True,
            # A batch is complete when it is handed over: waiting would only delay it.
            linger_ms=0,
            max_batch_size=self._batch_bytes,
            max_request_size=self._batch_bytes,
            request_timeout_ms=PRODUCE_TIMEOUT_MS,
            **self._security,
        )
        await producer.start()
        self._producer = producer

    async def stop(self) -> None:
        """Send what is under way, briefly, and disconnect."""
        producer, self._producer = self._producer, None
        if producer is not None:
            try:
                await asyncio.wait_for(producer.stop(), CLOSE_SECONDS)
            except TimeoutError:
                await producer.client.close()

    async def partitions(self, topic: str) -> int:
        """Return the partition count of a topic; raises ``KafkaError`` if it does not exist.

        Waits as long as no broker answers. Also what makes ``send`` work at all: aiokafka never
        asks for the metadata of a topic that only ``send_batch`` mentions, and waits for it for
        ever.
        """
        if topic not in self._known:
            self._known[topic] = await self._ask_for_partitions(self._connected, topic)
        return self._known[topic]

    async def _ask_for_partitions(self, producer: AIOKafkaProducer, topic: str) -> int:
        client = producer.client
        while True:
            try:
                return len(await producer.partitions_for(topic))
            except UnknownTopicOrPartitionError:
                # aiokafka says so too when nobody was there to be asked.
                answered = await client.force_metadata_update()
                if answered and client.cluster.partitions_for_topic(topic) is None:
                    raise

    def new_batch(self) -> BatchBuilder:
        """Return an empty batch; its ``append`` returns None for what does not fit any more."""
        return self._connected.create_batch()

    async def send(
        self, batches: Iterable[tuple[str, int, BatchBuilder]]
    ) -> list[RecordMetadata | None]:
        """Append each batch to its topic and partition, in the order given for each partition.

        Returns once every one is acknowledged by all replicas; raises ``KafkaError`` if one was
        refused or its fate is unknown.
        """
        await self._leave()
        acknowledgements = []
        for topic, partition, batch in batches:
            # A closed batch takes no records of others.
            batch.close()
            # aiokafka lets whoever waits for a partition's queue race for it, and counts the time
            # that losers have waited again and again until they seem to have waited too long.
            async with self._turns[topic, partition]:
                acknowledgements.append(
                    await self._connected.send_batch(batch, topic, partition=partition)
                )
        return list(await asyncio.gather(*acknowledgements))

    async def _leave(self) -> None:
        """Return when the next request may leave, together with all others that wait for it."""
        if self._gate is None:
            loop = asyncio.get_running_loop()
            wait = self._leaves_at - loop.time()
            if wait <= 0:
                self._leaves_at = loop.time() + self._linger()
                return
            self._gate = asyncio.Event()
            loop.call_later(wait, self._open, self._gate)
        await self._gate.wait()

    def _open(self, gate: asyncio.Event) -> None:
        self._gate = None
        self._leaves_at = asyncio.get_running_loop().time() + self._linger()
        gate.set()

    @property
    def _connected(self) -> AIOKafkaProducer:
        if self._producer is None:
            raise ConnectionError("the producer is not connected")
        return self._producer
