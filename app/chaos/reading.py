"""Reading back what is in the topics and in Redis, and listening to the triggers meanwhile."""

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from redis import Redis

from agents.members import ANONYMOUS_UPDATE
from app.chaos.canaries import RULE, Canaries
from app.chaos.upstream import MADE, NUMBER, now_ms
from app.projection_keys import Generation, key_prefix
from app.topology import client_config
from config.settings import Settings

POLL_SECONDS = 0.1
READ_SECONDS = 60.0
TIMEOUT_SECONDS = 20.0


class Record(NamedTuple):
    """One record as it lies in a topic; ``topic`` is without the run's prefix."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    made: str = ""
    """What its producer made it for, if it was ours."""
    number: int = -1
    """Of the record among all that the producer sent, likewise."""


class ReadingError(Exception):
    """A topic could not be read to its end."""


class _Said(msgspec.Struct):
    type: str
    rule: str
    occasion: str = ""


class Listener:
    """Reads the triggers topic on a thread of its own, as a gateway does."""

    def __init__(self, settings: Settings, canaries: Canaries) -> None:
        """Begin at the beginning."""
        self.heard = 0
        """When the last message was read, epoch milliseconds."""
        self._canaries = canaries
        self._ending = threading.Event()
        self._decode = msgspec.json.Decoder(_Said).decode
        self._consumer = Consumer(_config(settings, "listener"))
        topic = settings.topic("triggers")
        self._consumer.assign(
            [TopicPartition(topic, number, 0) for number in range(settings.partitions)]
        )
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._ending.set()
        self._thread.join()
        self._consumer.close()

    def _run(self) -> None:
        while not self._ending.is_set():
            message = self._consumer.poll(POLL_SECONDS)
            # librdkafka tells of lost connections here, and mends them by itself.
            if message is None or message.error() is not None:
                continue
            said = self._decode(message.value() or b"")
            now = now_ms()
            self.heard = now
            if said.type == "trigger" and said.rule == RULE:
                self._canaries.saw(said.occasion, now)


def read_topics(settings: Settings, names: Iterable[str]) -> dict[str, list[Record]]:
    """Return all records that the topics hold at this moment, by topic, in the order of offsets.

    Raises ``ReadingError`` when that cannot be had within a minute, or a broker does not answer.
    """
    found: dict[str, list[Record]] = {name: [] for name in names}
    try:
        with _consumer(settings) as consumer:
            for name, records in found.items():
                records.extend(_read(consumer, settings, name))
    except KafkaException as error:
        raise ReadingError(f"reading back failed: {error.args[0].str()}") from None
    return found


def _read(consumer: Consumer, settings: Settings, name: str) -> Iterator[Record]:
    topic = settings.topic(name)
    partitions = consumer.list_topics(topic, timeout=TIMEOUT_SECONDS).topics[topic].partitions
    consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
    unread = set(partitions)
    limit = time.monotonic() + READ_SECONDS
    while unread:
        if time.monotonic() > limit:
            raise ReadingError(f"{topic} could not be read to its end within {READ_SECONDS:.0f} s")
        for message in consumer.consume(1000, POLL_SECONDS):
            error = message.error()
            if error is None:
                yield _record(name, message)
            elif error.code() == KafkaError._PARTITION_EOF:
                unread.discard(message.partition())


def _record(name: str, message: Message) -> Record:
    partition, offset = message.partition(), message.offset()
    assert partition is not None
    assert offset is not None
    headers = dict(message.headers() or ())
    return Record(
        name,
        partition,
        offset,
        message.timestamp()[1],
        message.key(),
        message.value(),
        _text(headers.get(MADE), ""),
        int(_text(headers.get(NUMBER), "-1")),
    )


def _text(header: str | bytes | None, default: str) -> str:
    return header.decode() if isinstance(header, bytes) else header or default


def last_by_key(updates: Iterable[Record]) -> dict[bytes, bytes]:
    """Return the last value of each key that is not gone."""
    last = {one.key: one.value for one in updates if one.key is not None}
    return {key: value for key, value in last.items() if value is not None}


def documents(settings: Settings) -> Mapping[bytes, bytes]:
    """Return every member's document in Redis, by the key of its update."""
    live = Generation(key_prefix(settings.app_id))
    found: dict[bytes, bytes] = {}
    with Redis.from_url(settings.redis, socket_timeout=TIMEOUT_SECONDS) as redis:
        for anonymous, update in ((False, b""), (True, ANONYMOUS_UPDATE)):
            for identity, value in redis.hscan_iter(live.documents(anonymous), count=1000):
                found[update + identity] = value
    return found


@contextmanager
def _consumer(settings: Settings) -> Iterator[Consumer]:
    consumer = Consumer(_config(settings, "reader"))
    try:
        yield consumer
    finally:
        consumer.close()


def _config(settings: Settings, name: str) -> dict[str, str | int | bool]:
    return {
        **client_config(settings),
        "group.id": f"{settings.app_id}-{name}",
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "enable.partition.eof": True,
        "fetch.wait.max.ms": 50,
        "reconnect.backoff.max.ms": 500,
    }
