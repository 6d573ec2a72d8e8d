"""Both ends of a running worker: an upstream app that sends any bytes, and a gateway that reads."""

import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from confluent_kafka import Consumer, Message, Producer, TopicPartition
from worker_kit import World

from models.events import TOPIC_OF

PATIENCE = 60.0
"""Seconds after which what has not come is missing."""


class Sent(NamedTuple):
    """A record as the broker took it."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None

    @property
    def origin(self) -> tuple[str, int, int]:
        return self.topic, self.partition, self.offset


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def event(kind: str, member: str, at: int | None = None, **fields: Any) -> dict[str, Any]:
    """An event of now, or of ``at``."""
    needed: dict[str, dict[str, Any]] = {
        "view_item": {"item_id": "sku-1"},
        "search": {"query": "tea"},
        "purchase": {"order_id": "o1", "total": 25.5},
        "unsubscribed": {"channel": "sms"},
        "complained": {"channel": "sms"},
    }
    common = {"type": kind, "member_id": member, "occurred_at": now_ms() if at is None else at}
    return common | needed.get(kind, {}) | fields


class Upstream:
    """A plain Kafka producer with Java's partitioner."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._producer = Producer(
            {
                "bootstrap.servers": world.broker,
                "partitioner": "murmur2_random",
                "message.max.bytes": 17 << 20,
                "linger.ms": 0,
                # Otherwise what a broker refuses at first comes behind what was sent later.
                "enable.idempotence": True,
            }
        )

    def send(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        *,
        partition: int = -1,
        timestamp: int = 0,
        into: list[Sent] | None = None,
    ) -> None:
        """Send bytes; ``into`` learns where they went, once flushed. Timestamp 0 is now."""

        def delivered(error: object, message: Message) -> None:
            assert error is None, error
            if into is not None:
                where = (message.partition(), message.offset())
                into.append(Sent(self._world.topic(topic), *where, key, value))

        self._producer.produce(
            self._world.topic(topic),
            value,
            key,
            partition=partition,
            timestamp=timestamp,
            on_delivery=delivered,
        )
        self._producer.poll(0)

    def tell(
        self, given: dict[str, Any], *, timestamp: int = 0, into: list[Sent] | None = None
    ) -> None:
        """Send one good event as an app would."""
        key = (given.get("member_id") or given["anonymous_id"]).encode()
        raw = json.dumps(given, ensure_ascii=False).encode()
        self.send(TOPIC_OF[given["type"]], raw, key, timestamp=timestamp, into=into)

    def flush(self) -> None:
        """Return when the broker has everything."""
        assert self._producer.flush(PATIENCE) == 0


@dataclass
class Reader:
    """A gateway's consumer: all there is on some of our topics, from the beginning."""

    world: World
    topics: tuple[str, ...]
    found: list[Message] = field(default_factory=list)
    values: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": self.world.broker,
                "group.id": f"reader-{time.monotonic_ns()}",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 50,
            }
        )
        places = []
        for name in map(self.world.topic, self.topics):
            partitions = self._consumer.list_topics(name, timeout=10).topics[name].partitions
            places += [TopicPartition(name, number, 0) for number in partitions]
        self._consumer.assign(places)

    def close(self) -> None:
        self._consumer.close()

    def read(self, seconds: float = 0.0) -> None:
        """Take what has come, and what comes in the next seconds."""
        ends = time.monotonic() + seconds
        while True:
            batch = self._consumer.consume(1000, timeout=min(max(ends - time.monotonic(), 0), 0.1))
            for message in batch:
                assert message.error() is None, message.error()
            self.found += batch
            self.values += [(m.topic(), json.loads(m.value())) for m in batch if m.value()]
            if not batch and time.monotonic() >= ends:
                return

    def until(self, there: Callable[[], bool], what: str) -> None:
        """Read until it is there; fail with the workers' logs when it does not come."""
        ends = time.monotonic() + PATIENCE
        while not there():
            assert time.monotonic() < ends, f"{what} did not come\n{self.world.logs()}"
            self.read(0.2)

    def said(self, topic: str, **wanted: Any) -> list[dict[str, Any]]:
        """What has been read of a topic, as far as its fields are those wanted."""
        name = self.world.topic(topic)
        return [
            value
            for found, value in self.values
            if found == name and all(value.get(key) == one for key, one in wanted.items())
        ]


def ready(world: World, worker: subprocess.Popen[bytes]) -> str:
    """Wait until the lanes of the worker started last work; return its address."""

    def address() -> str | None:
        assert worker.poll() is None, world.logs()
        newest = max(world.folder.glob("worker-*.log"), key=_number)
        for line in newest.read_text().splitlines():
            _, found, url = line.partition("serving on ")
            if found and get(f"{url}/readyz")[0] == 200:
                return url
        return None

    found: str = wait_for(address, "a ready worker", world)
    return found


def _number(log: Path) -> int:
    return int(log.stem.rpartition("-")[2])


def get(url: str) -> tuple[int, bytes]:
    """Status and body."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def wait_for(look: Callable[[], Any], what: str, world: World) -> Any:
    """Look until something is there; fail with the workers' logs when it does not come."""
    ends = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < ends, f"{what} did not come\n{world.logs()}"
        time.sleep(0.05)
    return found
