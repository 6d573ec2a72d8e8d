"""What the running system holds of one member: its row, its events and what was said, from Kafka.

Everything of a member lies in one partition of each topic, so that is what is read. The row is the
changelog's: no worker has to answer, and none is disturbed. It takes as long as reading a lane back
does when a worker takes it over, a few seconds for a million members.
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeAlias

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from agents.members import ANONYMOUS, MEMBER
from agents.partitioner import partition_function
from agents.ports import LoggedRow
from agents.recovery import Recovery
from app.topology import changelog_name, client_config, output_topics
from config.settings import Settings
from models.decoding import InvalidEvent, Received, receive
from models.events import MEMBER_TOPICS
from models.replay import MemberKey, key_of
from models.triggers import Decision, Transition, TriggerCancelled, TriggerMessage

Said: TypeAlias = Decision | TriggerCancelled

TIMEOUT_SECONDS = 10.0
"""How long a broker may take to answer before it is said not to."""

CHUNK = 10_000
POLL_SECONDS = 0.1
"""How long a chunk waits to be full, at the end of a partition above all."""

_decision = msgspec.json.Decoder(Decision | Transition)
_trigger = msgspec.json.Decoder(TriggerMessage)


class Unreadable(Exception):
    """The running system cannot be read; the message is one sentence and says what to do."""


class Heard(NamedTuple):
    """What topics say of a member, in order."""

    events: list[Received]
    said: list[Said]


class _OneRow(dict[bytes, bytes]):
    """The rows of a lane, of which one is kept."""

    def __init__(self, key: bytes) -> None:
        super().__init__()
        self._key = key

    def __setitem__(self, key: bytes, row: bytes) -> None:
        if key == self._key:
            super().__setitem__(key, row)


class LiveMember:
    """Reads the partitions that one member's records are in."""

    def __init__(
        self, settings: Settings, member: MemberKey, consumer: Consumer, patience: float
    ) -> None:
        """``patience``: seconds after which reading is given up, however far it is."""
        self._settings, self.member, self._consumer = settings, member, consumer
        self._gives_up = time.monotonic() + patience
        anonymous, identity = member
        self._key = identity.encode()
        self._row_key = (ANONYMOUS if anonymous else MEMBER) + self._key
        place = partition_function(settings.partitioner)
        self.lane = place(self._key, settings.partitions)

    def row(self) -> bytes | None:
        """Return the member's row as it is now; raises ``Unreadable``."""
        rows = _OneRow(self._row_key)
        recovery = Recovery(rows)
        for chunk in self._chunks(changelog_name(self._settings), 0):
            recovery.take([_logged(message) for message in chunk])
        return rows.get(self._row_key)

    def heard(self, since: int) -> Heard:
        """Return what arrived, and was said, from an instant on; raises ``Unreadable``."""
        events: list[Received] = []
        said: list[Said] = []
        for topic in MEMBER_TOPICS:
            for message in self._mine(self._settings.topic(topic), since):
                event = self._event(topic, message)
                if event is not None:
                    events.append(event)
        names = output_topics(self._settings)
        # What a worker says again when it takes a lane over is the same to the byte.
        for value in dict.fromkeys(m.value() for m in self._mine(names.decisions, since)):
            decision = _decision.decode(value or b"")
            if isinstance(decision, Decision) and self._is_about(decision):
                said.append(decision)
        if not self.member[0]:
            for value in dict.fromkeys(m.value() for m in self._mine(names.triggers, since)):
                message = _trigger.decode(value or b"")
                if isinstance(message, TriggerCancelled):
                    said.append(message)
        events.sort(key=lambda event: (event.at, event.rank, event.offset))
        return Heard(events, sorted(said, key=_moment))

    def _is_about(self, decision: Decision) -> bool:
        anonymous, identity = self.member
        return identity == (decision.anonymous_id if anonymous else decision.member_id)

    def _event(self, topic: str, message: Message) -> Received | None:
        key, (_, timestamp) = message.key(), message.timestamp()
        place = message.partition() or 0, message.offset() or 0
        try:
            event = receive(topic, message.value(), key, *place, timestamp)
        except InvalidEvent:  # a dead letter by now
            return None
        return event if key_of(event) == self.member else None

    def _mine(self, topic: str, since: int) -> Iterator[Message]:
        for chunk in self._chunks(topic, since):
            yield from (message for message in chunk if message.key() == self._key)

    def _chunks(self, topic: str, since: int) -> Iterator[list[Message]]:
        """Yield the records of the lane's partition, up to its end of now."""
        try:
            yield from self._read(self._found(topic, since), topic)
        except KafkaException as error:
            raise Unreadable(f"topic {topic} cannot be read: {error.args[0].str()}") from None

    def _found(self, topic: str, since: int) -> TopicPartition:
        """Return where to begin; raises ``Unreadable`` when the topic is not ours."""
        settings = self._settings
        try:
            found = self._consumer.list_topics(topic, timeout=TIMEOUT_SECONDS).topics[topic]
        except KafkaException as error:
            raise Unreadable(
                f"no Kafka broker answers at {settings.broker}: {error.args[0].str()} "
                "(without one: --events FILE)"
            ) from None
        if not found.partitions:
            raise Unreadable(
                f"there is no topic {topic} on {settings.broker}: are LIFECYCLE_APP_ID and "
                "LIFECYCLE_TOPIC_PREFIX those of the workers?"
            )
        if len(found.partitions) != settings.partitions:
            raise Unreadable(
                f"{topic} has {len(found.partitions)} partitions, not {settings.partitions} "
                "(set LIFECYCLE_PARTITIONS as the workers have it)"
            )
        place = TopicPartition(topic, self.lane, since)
        if since:
            [place] = self._consumer.offsets_for_times([place], TIMEOUT_SECONDS)
        return place

    def _read(self, place: TopicPartition, topic: str) -> Iterator[list[Message]]:
        first, end = self._consumer.get_watermark_offsets(
            TopicPartition(topic, self.lane), TIMEOUT_SECONDS
        )
        if place.offset < 0:  # librdkafka's word for: no record is so young
            return
        at = max(first, place.offset)
        self._consumer.assign([TopicPartition(topic, self.lane, at)])
        heard = time.monotonic()
        while at < end:
            chunk: list[Message] = self._consumer.consume(CHUNK, timeout=POLL_SECONDS)
            if chunk:
                heard = time.monotonic()
            elif time.monotonic() - heard > TIMEOUT_SECONDS:
                raise Unreadable(
                    f"topic {topic} stopped at offset {at} of {end}: is a broker down?"
                )
            if time.monotonic() > self._gives_up:
                raise Unreadable(f"topic {topic} has too much to be read in time")
            for message in chunk:
                error = message.error()
                if error is None:
                    at = (message.offset() or 0) + 1
                elif error.code() == KafkaError._PARTITION_EOF:
                    at = end  # the last records may have been compacted away
                else:
                    raise KafkaException(error)
            yield [message for message in chunk if message.error() is None]


def _logged(message: Message) -> LoggedRow:
    return LoggedRow(message.offset() or 0, message.key() or b"", message.value())


def _moment(said: Said) -> str:
    if isinstance(said, TriggerCancelled):
        return said.cancelled_at
    return said.decided_at or said.due_at


@contextmanager
def live_member(
    settings: Settings, member: MemberKey, patience: float = math.inf
) -> Iterator[LiveMember]:
    """Connect, for as long as the block lasts; reading ends after ``patience`` seconds."""
    consumer = Consumer(
        {
            **client_config(settings),
            # Nothing is committed and no group is joined, yet librdkafka wants a name for one.
            "group.id": f"{settings.app_id}-why",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 20,
            "isolation.level": "read_committed",
        }
    )
    try:
        yield LiveMember(settings, member, consumer, patience)
    finally:
        consumer.close()
