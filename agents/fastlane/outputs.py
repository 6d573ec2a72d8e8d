"""What lanes send out: many small records over several topics, as few record batches."""

from collections.abc import Callable, Sequence

from aiokafka.producer.message_accumulator import BatchBuilder

from agents.fastlane.producer import BatchProducer
from agents.partitioner import PartitionOf
from agents.ports import Output, Sent

OUTPUT_BATCH_BYTES = 900_000
"""Below the 1,048,588 bytes that a topic takes in one batch by default."""


class KafkaOutputs:
    """The ``OutputPort`` of a Kafka cluster; records are placed by key and stamped with ``now``."""

    def __init__(
        self, producer: BatchProducer, partition_of: PartitionOf, now: Callable[[], int]
    ) -> None:
        self._now = now
        self._producer = producer
        self._partition_of = partition_of

    async def send(self, outputs: Sequence[Output]) -> Sequence[Sent]:
        """Send all, in order per key, and return the batches once every one is acknowledged.

        Raises ``KafkaError`` when one was refused (it is too large, the topic does not exist) or
        its fate is unknown.
        """
        batches = await self._batches(outputs)
        acknowledged = await self._producer.send(batches)
        return [
            Sent(topic, partition, None if told is None else told.offset, batch.record_count())
            for (topic, partition, batch), told in zip(batches, acknowledged, strict=True)
        ]

    async def _batches(self, outputs: Sequence[Output]) -> list[tuple[str, int, BatchBuilder]]:
        closed: list[tuple[str, int, BatchBuilder]] = []
        open_: dict[tuple[str, int], BatchBuilder] = {}
        now = self._now()
        for topic, key, value, headers in outputs:
            place = topic, self._partition_of(key, await self._producer.partitions(topic))
            batch = open_.get(place)
            if batch is None:
                batch = open_[place] = self._producer.new_batch()
            headers_ = list(headers)
            if batch.append(timestamp=now, key=key, value=value, headers=headers_) is None:
                closed.append((*place, batch))
                batch = open_[place] = self._producer.new_batch()
                # The first record of a batch always fits; whether the topic takes it is its say.
                batch.append(timestamp=now, key=key, value=value, headers=headers_)
        closed.extend((*place, batch) for place, batch in open_.items())
        return closed
