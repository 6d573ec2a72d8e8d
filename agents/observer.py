"""The observer: follows the member topics and what we say of members, for timelines and metrics.

A follower like the projector's, with a group of its own. Partition n of every topic goes to the
same worker, so that one observer reads, folds and writes all of a member. What the lanes do with a
record is not waited for: the topics are read side by side, in no order among each other.
"""

import logging
from collections.abc import Callable, Mapping

from aiokafka import ConsumerRecord

from agents.following import Polled, Taken
from agents.members import ANONYMOUS_UPDATE
from agents.observer_ports import Facts
from agents.partitioner import PartitionOf
from models.decoding import InvalidEvent, receive
from models.events import MEMBER_TOPICS
from models.lifecycle_facts import Fact, happened, of_decisions, of_triggers, of_updates

log = logging.getLogger(__name__)

FOLLOWED: tuple[str, ...] = (*MEMBER_TOPICS, "decisions", "triggers", "member-updates")
"""The topics, without what a broker's names may begin with."""
REMEMBERED_KEYS = 100_000


class Observing:
    """Makes facts of records; what is no event of its topic, or ours, is left out."""

    def __init__(self, topics: Mapping[str, str], partition_of: PartitionOf, count: int) -> None:
        """Take names of ``FOLLOWED`` by topics on the broker, which have ``count`` partitions."""
        self._topics = topics
        self._partition_of = partition_of
        self._count = count
        self._placed: dict[bytes, int] = {}
        self._readers: dict[str, Callable[[bytes], Fact | None]] = {
            "decisions": of_decisions,
            "triggers": of_triggers,
            "member-updates": of_updates,
        }

    def take(self, polled: Polled) -> Taken[Facts]:
        """Return the facts of what a poll brought."""
        facts: list[Fact] = []
        refused = 0
        # Who somebody is comes before what they do.
        for partition in sorted(polled, key=lambda one: FOLLOWED.index(self._topics[one.topic])):
            topic = self._topics[partition.topic]
            for record in polled[partition]:
                try:
                    fact = self._fact(topic, record)
                except (InvalidEvent, ValueError) as error:
                    refused += 1
                    log.debug(
                        "%s-%d@%d is left out: %r",
                        record.topic, record.partition, record.offset, error,
                    )  # fmt: skip
                    continue
                if fact is not None:
                    facts.append(fact)
        return Taken(tuple(facts), len(facts), refused)

    def _fact(self, topic: str, record: ConsumerRecord) -> Fact | None:
        key, value = record.key, record.value
        read = self._readers.get(topic)
        if read is None:
            received = receive(topic, value, key, record.partition, record.offset, record.timestamp)
            assert key is not None
            if self._place(key) != record.partition:
                raise InvalidEvent("partition", "the key belongs to another partition")
            return happened(received)
        if value is None or key is None or key.startswith(ANONYMOUS_UPDATE):
            return None
        return read(value)

    def _place(self, key: bytes) -> int:
        placed = self._placed.get(key)
        if placed is None:
            if len(self._placed) >= REMEMBERED_KEYS:
                self._placed.clear()
            placed = self._placed[key] = self._partition_of(key, self._count)
        return placed
