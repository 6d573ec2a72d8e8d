"""Making the whole projection again beside the live one, and switching to it at one instant.

Workers go on writing the live one meanwhile. The new one is made from all of ``member-updates``,
with places of its own, so that it is known at any moment how far it goes; when that is at least as
far as the live one goes, the script that compares them renames the keys. Readers see all of the old
or all of the new; a worker whose next write finds other places than it left goes on from those.

Whoever makes a projection may be killed at any moment. What it leaves is deleted by Redis itself
(personal data that nobody looks after must not stay), is never continued (what was erased
meanwhile may have left the topic, and would come back), and is no obstacle to the next attempt.
"""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from agents.retrying import FIRST_RETRY_SECONDS, longer
from agents.serving_ports import NOWHERE, Document, Documents, Places
from agents.updates import document_to_keep
from app.projection_keys import (
    INDEX_BOUND,
    SWITCH,
    WRITE,
    Generation,
    key_prefix,
    pairs,
    places_of,
    write_arguments,
)
from app.redis_client import words_of
from app.topology import client_config
from config.settings import Settings
from models.times import rfc3339

BATCH = 500
"""Updates per write: some 5 ms of Redis, in which it answers nobody else."""

POLL_SECONDS = 0.05
"""How long a poll gathers records on the way."""

GLANCE_SECONDS = 0.002
"""The same at the end: the less a batch is gathered, the nearer we are to workers who write each
record as it comes."""

BROKER_SECONDS = 20.0
"""How long the broker may take to tell of its topic."""

REDIS_SECONDS = 5.0
"""How long one question to Redis may take, or longer if a worker's may: nobody waits for us."""

ABANDONED_MS = 600_000
"""How long an unfinished projection stays when nobody writes it any more. It outlasts a Redis that
is away for ``PATIENCE_SECONDS`` and a laptop's lid that was closed for a coffee."""

PATIENCE_SECONDS = 60.0
"""How long Redis may be away, and how long the workers may stay ahead of us, before we give up."""


class RebuildError(Exception):
    """The projection was not made again, and the live one is as it was; the message says why."""


@dataclass(slots=True)
class Rebuilt:
    """What a rebuild came to."""

    records: int = 0
    """Of the topic."""
    refused: int = 0
    """Records that are no member update: left out."""
    members: int = 0
    anonymous: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class _Read:
    """What one poll brought."""

    documents: dict[bytes, Document | None] = field(default_factory=dict)
    reached: dict[str, int] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    """Partitions of which everything has been read."""


class Rebuild:
    """One rebuild: made, run once, and done with."""

    def __init__(
        self,
        settings: Settings,
        progress: Callable[[int, int], None] = lambda read, of: None,  # noqa: ARG005
        bound: int = INDEX_BOUND,
    ) -> None:
        """``progress`` is told how many records have been read, of how many at the beginning.

        Raises ``ValueError`` when the address of Redis is none.
        """
        seconds = max(settings.redis_timeout_ms / 1000, REDIS_SECONDS)
        self._redis = Redis.from_url(
            settings.redis,
            socket_timeout=seconds,
            socket_connect_timeout=seconds,
            retry=Retry(NoBackoff(), 0),
        )
        self._live = Generation(key_prefix(settings.app_id))
        self._topic = settings.topic("member-updates")
        self._settings = settings
        self._progress = progress
        self._bound = bound
        self._write_script = self._redis.register_script(WRITE)
        self._switch_script = self._redis.register_script(SWITCH)
        self._called = rfc3339(time.time_ns() // 1_000_000)
        self._places: dict[str, int] = {}
        self._result = Rebuilt()

    def run(self) -> Rebuilt:
        """Make the projection and switch to it; return what it came to.

        Raises ``RebuildError`` and ``KafkaException``.
        """
        began = time.monotonic()
        consumer = Consumer(
            {
                **client_config(self._settings),
                "group.id": f"{self._settings.app_id}-rebuild",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 20,
            }
        )
        try:
            self._refuse_eviction()
            total = self._begin(consumer)
            with ThreadPoolExecutor(1, "redis") as writer:
                self._follow(consumer, writer, total)
        finally:
            consumer.close()
            self._redis.close()
        self._result.seconds = time.monotonic() - began
        return self._result

    # --- the beginning ---

    def _refuse_eviction(self) -> None:
        told = self._ask(lambda: self._redis.info("memory"))
        policy = told.get("maxmemory_policy", "noeviction")
        if told.get("maxmemory") and policy != "noeviction":
            raise RebuildError(
                f"Redis may throw away parts of a projection (maxmemory-policy {policy}): "
                "set it to noeviction"
            )

    def _begin(self, consumer: Consumer) -> int:
        """Clear what an earlier attempt left, go to the topic's beginning; return its length."""
        known = consumer.list_topics(self._topic, timeout=BROKER_SECONDS).topics[self._topic]
        if known.error is not None:
            raise RebuildError(f"topic {self._topic}: {known.error.str()}")
        partitions = [TopicPartition(self._topic, number) for number in known.partitions]
        total = 0
        for tp in partitions:
            tp.offset, end = consumer.get_watermark_offsets(tp, timeout=BROKER_SECONDS)
            total += end - tp.offset
            self._places[_name(tp.topic, tp.partition)] = tp.offset
        self._ask(lambda: self._redis.unlink(*self._live.next.all()))
        self._write({}, dict.fromkeys(self._places, NOWHERE), self._places)
        consumer.assign(partitions)
        return total

    # --- the way ---

    def _follow(self, consumer: Consumer, writer: ThreadPoolExecutor, total: int) -> None:
        left = set(self._places)
        written: Future[None] | None = None
        latest: float | None = None
        while True:
            read = self._poll(consumer, POLL_SECONDS if left else GLANCE_SECONDS)
            left -= read.ended
            if written is not None:
                written.result()
                written = None
            if read.reached:
                # While Redis takes this batch, the next one is read and prepared.
                expected = dict(self._places)
                self._places.update(read.reached)
                written = writer.submit(self._write, read.documents, expected, read.reached)
                self._progress(self._result.records, max(total, self._result.records))
            if left:
                continue
            latest = latest or time.monotonic() + PATIENCE_SECONDS
            if written is not None:
                written.result()
                written = None
            ahead = self._switch()
            if not ahead:
                return
            self._check_ends(consumer, ahead)
            if time.monotonic() > latest:
                raise RebuildError(
                    "the workers' projection stays ahead: try again when there is less to do"
                )

    def _poll(self, consumer: Consumer, seconds: float) -> _Read:
        read, kept = _Read(), self._places
        for message in consumer.consume(BATCH, timeout=seconds):
            name, offset = _name(message.topic(), message.partition()), message.offset()
            error = message.error()
            if error is None:
                self._take(message, read.documents)
                read.reached[name] = offset + 1
            elif error.code() == KafkaError._PARTITION_EOF:
                # What was compacted away at the end has offsets too.
                read.ended.add(name)
                if offset > max(kept[name], read.reached.get(name, 0)):
                    read.reached[name] = offset
            else:
                raise KafkaException(error)
        return read

    def _take(self, message: Message, documents: dict[bytes, Document | None]) -> None:
        self._result.records += 1
        key = cast("bytes | None", message.key())
        try:
            if key is None:
                raise ValueError
            documents[key] = document_to_keep(cast("bytes | None", message.value()))
        except ValueError:
            self._result.refused += 1

    def _write(self, documents: Documents, expected: Places, reached: Places) -> None:
        arguments = write_arguments(documents, expected, reached, self._bound, ABANDONED_MS)
        answer = self._ask(lambda: self._write_script(self._live.next.all(), arguments))
        before = places_of(pairs(answer))
        # It stands at the end already if an earlier attempt was written and its answer lost.
        if not (_stands(before, expected) or _stands(before, {**expected, **reached})):
            raise RebuildError(
                "the projection that was being made is gone: Redis lost it, or another rebuild "
                "began; try again"
            )

    # --- the end ---

    def _switch(self) -> Places:
        """Switch; return where the live projection is further on, if it could not be done."""
        keys = [self._live.rebuilt, *self._live.all(), *self._live.next.all()]
        answer = self._ask(lambda: self._switch_script(keys, [self._called, *self._places]))
        if isinstance(answer, list):
            return places_of(pairs(answer))
        if answer == 0:
            raise RebuildError("the projection that was being made is gone: try again")
        self._result.members = self._ask(
            lambda: self._redis.hlen(self._live.documents(anonymous=False))
        )
        self._result.anonymous = self._ask(
            lambda: self._redis.hlen(self._live.documents(anonymous=True))
        )
        return {}

    def _check_ends(self, consumer: Consumer, ahead: Places) -> None:
        """Raise when what is live goes further than the topic: it was made from another one."""
        for name, place in ahead.items():
            tp = TopicPartition(self._topic, int(name.rpartition("/")[2]))
            # Asked for after the place: nobody can have read what was not there.
            _, end = consumer.get_watermark_offsets(tp, timeout=BROKER_SECONDS)
            if place > end:
                raise RebuildError(
                    f"the projection goes to offset {place} of {name}, which ends at {end}: it is "
                    "another broker's, or the topic was made anew; then delete the Redis key "
                    f"{self._live.projected} and try again"
                )

    def _ask(self, question: Callable[[], Any]) -> Any:
        """Return Redis' answer; what is away for a while is waited for."""
        pause, latest = FIRST_RETRY_SECONDS, time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return question()
            except (RedisError, OSError) as error:
                if time.monotonic() > latest:
                    raise RebuildError(words_of(error)) from error
            time.sleep(pause)
            pause = longer(pause)


def _stands(places: Places, at: Places) -> bool:
    return all(places.get(name, NOWHERE) == place for name, place in at.items())


def _name(topic: str | None, partition: int | None) -> str:
    return f"{topic}/{partition}"
