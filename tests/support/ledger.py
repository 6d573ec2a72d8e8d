"""What a broker holds of a world in the end, and what the oracle says it must hold."""

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import msgspec
from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec
from worker_kit import World, comparable, permissive

from agents.partitioner import murmur2_partition
from agents.recovery import EPOCH_BYTES, FENCE, ROW
from app.topology import changelog_name
from config.paths import load_config, package_dir
from models import engine
from models.decoding import Received, receive
from models.events import MEMBER_TOPICS
from models.member import Member, decode
from models.projection import project
from models.replay import Replay, in_order
from models.rulebook import RuleBook
from models.triggers import Trigger

ANSWER_SECONDS = 5.0
"""A question that a broker was asked just before it froze is never answered: it is asked again."""

Place = tuple[str, int]
"""Topic and partition."""


def members_of(lane: int, partitions: int, name: str, number: int = 1) -> list[str]:
    """Return so many member ids beginning with ``name`` that belong to a lane."""
    found: list[str] = []
    for tried in count():
        member = f"{name}-{tried}"
        if murmur2_partition(member.encode(), partitions) == lane:
            found.append(member)
            if len(found) == number:
                return found
    raise AssertionError


def write_shipped_rules(folder: Path, browse_within: str) -> Path:
    """Write a configuration folder with the shipped rules; one of them waits less long.

    All policy is what a member refuses, so that the hour of the day changes nothing; and nobody is
    scored, for on a live clock scores depend on when a day's model is there.
    """
    rules = permissive(folder / "shop") / "rules"
    rules.mkdir()
    for path in (package_dir() / "rules").glob("*.yaml"):
        if not path.name.endswith(".test.yaml"):
            shutil.copy(path, rules)
    browse = rules / "browse_abandoned.yaml"
    text, changed = re.subn(r"within: 2h", f"within: {browse_within}", browse.read_text())
    assert changed == 1
    browse.write_text(text)
    (rules.parent / "predictions.yaml").write_text("# None.\n")
    return rules.parent


class Ledger:
    """Looks at the topics and offsets of a world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._admins = [AdminClient({"bootstrap.servers": world.broker})]
        self._partitions = world.settings.partitions
        self.changelog = changelog_name(world.settings)

    def records(self, topic: str) -> list[Message]:
        """Return all records of a topic (by its whole name) in order of offsets, by partition."""
        consumer = Consumer(
            {
                "bootstrap.servers": self._world.broker,
                "group.id": uuid4().hex,
                "enable.auto.commit": False,
                "enable.partition.eof": True,
            }
        )
        found: list[Message] = []
        try:
            consumer.assign([TopicPartition(topic, p, 0) for p in range(self._partitions)])
            # An end is told again when more has come meanwhile.
            ended: set[int] = set()
            while len(ended) < self._partitions:
                batch = consumer.consume(5000, timeout=1)
                ended |= {message.partition() for message in batch if message.error() is not None}
                found += [message for message in batch if message.error() is None]
        finally:
            consumer.close()
        return sorted(found, key=lambda message: (message.partition(), message.offset()))

    def sent(self, topic: str) -> list[Message]:
        """Return all records of one of the world's topics."""
        return self.records(self._world.topic(topic))

    @property
    def admin(self) -> AdminClient:
        """Return the client for questions about the broker."""
        return self._admins[-1]

    def committed(self) -> dict[Place, int]:
        """Return the workers' offsets, without those of partitions that have none."""
        asked = [ConsumerGroupTopicPartitions(self._world.settings.app_id)]
        asking = self.admin.list_consumer_group_offsets(asked, request_timeout=ANSWER_SECONDS)
        [future] = asking.values()
        found = future.result().topic_partitions
        return {(tp.topic, tp.partition): tp.offset for tp in found if tp.offset >= 0}

    def ends(self) -> dict[Place, int]:
        """Return the end offsets of the member topics, without those of empty partitions."""
        asked = {
            TopicPartition(self._world.topic(topic), partition): OffsetSpec.latest()
            for topic in MEMBER_TOPICS
            for partition in range(self._partitions)
        }
        answers = self.admin.list_offsets(asked, request_timeout=ANSWER_SECONDS).items()
        ends = {(tp.topic, tp.partition): future.result().offset for tp, future in answers}
        return {place: end for place, end in ends.items() if end}

    def all_done(self) -> bool:
        """Return whether the workers have dealt with, and committed, all that there is."""
        try:
            return self.committed() == self.ends()
        except KafkaException:
            # Who asked before a broker was away goes on asking with the leader epoch of then, which
            # the broker refuses for ever. The old client must stay: what is under way refers to it.
            self._admins.append(AdminClient({"bootstrap.servers": self._world.broker}))
            return False

    # -- the changelog

    def log(self) -> "Log":
        return Log(self.records(self.changelog))

    # -- what must be

    def received(self) -> list[Received]:
        """Return every event that lies in the member topics."""
        return [
            receive(
                topic,
                message.value(),
                message.key(),
                message.partition(),
                message.offset(),
                message.timestamp()[1],
            )
            for topic in MEMBER_TOPICS
            for message in self.sent(topic)
        ]


class Written(NamedTuple):
    """One record of the changelog."""

    lane: int
    offset: int
    key: bytes
    value: bytes | None
    epoch: int
    """The epoch it was written under; a fence's own offset."""


class Log:
    """The changelog as it lies on the broker."""

    def __init__(self, messages: list[Message]) -> None:
        self.records: list[Written] = []
        for message in messages:
            key, value, offset = message.key(), message.value(), message.offset()
            if key[:1] == FENCE:
                epoch = offset
            elif value is not None:
                epoch = int.from_bytes(value[:EPOCH_BYTES], "big")
            else:
                epoch = self.records[-1].epoch
            self.records.append(Written(message.partition(), offset, key, value, epoch))

    def of_zombies(self) -> list[Written]:
        """Return what was written under an epoch after a higher one had begun."""
        highest: dict[int, int] = {}
        found = []
        for record in self.records:
            if record.epoch < highest.get(record.lane, -1):
                found.append(record)
            highest[record.lane] = max(record.epoch, highest.get(record.lane, -1))
        return found

    def last_rows(self) -> dict[bytes, bytes]:
        """Return what compaction keeps of the members' rows: the last one of each key.

        Nobody's epoch is asked: this is what there is once everything else has been compacted.
        """
        kept = {record.key: record.value for record in self.records if record.key[:1] == ROW}
        return {key[1:]: value[EPOCH_BYTES:] for key, value in kept.items() if value is not None}


@dataclass(frozen=True)
class Truth:
    """What the oracle says, had there been no trouble at all."""

    triggers: set[str]
    states: Mapping[str, dict[str, Any]]
    updates: Mapping[str, dict[str, Any]]
    book: RuleBook
    until: int

    def state_of(self, key: bytes, row: bytes) -> dict[str, Any]:
        """Return a row's state as ``states`` has it."""
        assert key[:1] == b"m"
        return _state(decode(row, key[1:].decode(), False), self.until, self.book)


def truth(ledger: Ledger, world: World, config: Path, until: int) -> Truth:
    """Return what the world's workers have to come to when all is over at ``until``."""
    loaded = load_config(config)
    book = RuleBook(
        loaded.rules, loaded.stages, loaded.policy, world.settings.limits(), loaded.audiences
    )
    run = Replay(book)
    outcomes = [run.fold(event) for event in in_order(ledger.received())]
    outcomes += run.finish(until)
    triggers = {
        comparable(msgspec.json.encode(message)) for one in outcomes for message in one.triggers
    }
    states = {
        identity: _state(member, until, book) for (_, identity), member in run.members.items()
    }
    updates = {identity: _known(member, book) for (_, identity), member in run.members.items()}
    return Truth(triggers, states, updates, book, until)


def _state(member: Member, until: int, book: RuleBook) -> dict[str, Any]:
    """Return all of a member, as if it had been saved at ``until``."""
    engine.advance(member, until, engine.Context(book))
    engine.settle(member, book)
    return msgspec.structs.asdict(member)


def _known(member: Member, book: RuleBook) -> dict[str, Any]:
    update = msgspec.json.encode(project(member, engine.next_due(member, book), book))
    return known(update)


def known(update: bytes) -> dict[str, Any]:
    """Return a member update without what only tells when it was made."""
    document: dict[str, Any] = msgspec.json.decode(update)
    for of_the_moment in ("updated_at", "activity_30d"):
        document.pop(of_the_moment, None)
    return document


def repeats(messages: list[Message]) -> dict[str, list[bytes]]:
    """Return all that was said under each id: the ids of a trigger and of its cancellation differ.

    A gateway drops the second of one id unread, so that its bytes must be those of the first.
    """
    said: dict[str, list[bytes]] = {}
    for message in messages:
        identity = dict(message.headers())["ce_id"].decode()
        said.setdefault(identity, []).append(message.value())
    return said


def triggers_of(messages: list[Message], rule: str, member: str) -> list[bytes]:
    """Return every record that says a rule's trigger to a member."""
    return [
        message.value()
        for message in messages
        if message.key() == member.encode()
        and b'"type":"trigger"' in message.value()
        and msgspec.json.decode(message.value(), type=Trigger).rule == rule
    ]
