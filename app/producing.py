"""Sending events to Kafka as any upstream app would: plain librdkafka, acknowledged by all."""

import time
from collections.abc import Callable, Iterable

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from app.event_reading import Record
from app.topology import client_config
from config.settings import Settings

PARTITIONERS = {"murmur2": "murmur2_random", "crc32": "consistent_random"}


class EventProducer:
    """An idempotent producer that places keys as the settings say, and counts acknowledgements."""

    def __init__(self, settings: Settings, linger_ms: int = 5) -> None:
        self._settings = settings
        self.sent = 0
        self.acknowledged = 0
        self._error: KafkaError | None = None
        self._producer = Producer(
            {
                **client_config(settings),
                "partitioner": PARTITIONERS[settings.partitioner],
                "enable.idempotence": True,
                "linger.ms": linger_ms,
                "message.max.bytes": 16 * 1024 * 1024,
                "queue.buffering.max.messages": 200_000,
            }
        )

    def send(self, record: Record) -> None:
        """Send one record with its own time as timestamp; waits while the queue is full."""
        # Catalogue entries have no time of their own: they get the broker's now.
        timestamp = {"timestamp": record.at} if record.topic != "items" else {}
        while True:
            try:
                self._producer.produce(
                    self._settings.topic(record.topic),
                    value=record.raw,
                    key=record.key,
                    on_delivery=self._delivered,
                    **timestamp,
                )
            except BufferError:
                self._producer.poll(0.1)
            else:
                break
        self.sent += 1
        self._producer.poll(0)

    def flush(self, timeout: float = 60.0) -> None:
        """Wait until everything is acknowledged; raise ``KafkaException`` when it is not."""
        left = self._producer.flush(timeout)
        if self._error is not None:
            raise KafkaException(self._error)
        if left:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    def _delivered(self, error: KafkaError | None, _: Message) -> None:
        if error is None:
            self.acknowledged += 1
        elif self._error is None:
            self._error = error


def produce_all(
    producer: EventProducer,
    records: Iterable[Record],
    rate: float | None,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Send records in their order, at most ``rate`` a second; return how many.

    Raises ``KafkaException`` when the broker did not take them all.
    """
    began = time.monotonic()
    for count, record in enumerate(records, start=1):
        producer.send(record)
        if progress is not None and count % 10_000 == 0:
            progress(count)
        if rate is not None:
            ahead = count / rate - (time.monotonic() - began)
            if ahead > 0.005:
                time.sleep(ahead)
    producer.flush()
    return producer.sent
