"""Plays a feed: slice by slice into Kafka, and the worker's clock behind it.

A slice is what happens in a tick. Its events are produced and acknowledged, then the clock is set
to its end: the worker never knows a time whose events the broker does not hold. The clock waits
when the worker has not caught up: triggers that live for a day must not expire while a busy
machine takes a breath.
"""

import os
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from confluent_kafka import Consumer, TopicPartition

from app.demo.feed import Feed, Played, waves
from app.event_reading import Record
from app.topology import client_config
from config.settings import Settings
from models.events import MEMBER_TOPICS
from models.times import HOUR

MOST_AHEAD = 16 * HOUR
"""How far the clock may be ahead of what has been folded. The triggers that live shortest live for
a day; what is due is raised a little after it is folded, hence not closer to 24."""


class Sender(Protocol):
    """Where records go (``app.producing.EventProducer``)."""

    def send(self, record: Record) -> None:
        """Take one record."""

    def flush(self) -> None:
        """Return when all are acknowledged."""


class Folded(Protocol):
    """How far the worker is."""

    def count(self) -> int:
        """Return how many records of the member topics have been folded."""


class FollowedClock:
    """The file that ``--clock follow:FILE`` reads: eight bytes, written at once."""

    def __init__(self, path: Path, now: int) -> None:
        self.path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        self.set(now)

    def set(self, now: int) -> None:
        """Let it be ``now`` (epoch milliseconds)."""
        os.pwrite(self._file, now.to_bytes(8, "little", signed=True), 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        os.close(self._file)


class CommittedOffsets:
    """How many records of the member topics the worker's group has committed."""

    def __init__(self, settings: Settings) -> None:
        config = {**client_config(settings), "group.id": settings.app_id}
        self._consumer = Consumer({**config, "enable.auto.commit": False})
        self._asked = [
            TopicPartition(settings.topic(topic), number)
            for topic in MEMBER_TOPICS
            for number in range(settings.partitions)
        ]

    def count(self) -> int:
        """Ask the broker; raises ``KafkaException`` when it does not answer in ten seconds."""
        answers = self._consumer.committed(self._asked, timeout=10.0)
        return sum(max(answer.offset, 0) for answer in answers)

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()


class Slice(NamedTuple):
    """A slice that has been played."""

    end: int
    produced: int
    """Records of the member topics up to here."""


class Player:
    """The state of a play; ``position`` is what the clock says."""

    def __init__(
        self,
        feed: Feed,
        sender: Sender,
        clock: FollowedClock,
        folded: Folded,
        lane_of: Callable[[bytes], int],
    ) -> None:
        self.feed = feed
        self.position = feed.start
        self.settled = feed.start
        """All events up to here have been folded."""
        self.produced = 0
        self.folded = 0
        self.visitors: set[str] = set()
        """Anonymous ids that have not been linked to a member."""
        self.histories: dict[str, list[tuple[int, str]]] = {}
        """Per member the (instant, type) of each event so far."""
        self._sender = sender
        self._clock = clock
        self._worker = folded
        self._lane_of = lane_of
        self._open: deque[Slice] = deque()
        self._ends: list[int] = []
        self._handed: list[float] = []
        self._next = next(feed.events, None)

    @property
    def through(self) -> bool:
        """Whether the feed is played to its end."""
        return self.position >= self.feed.end

    @property
    def lag(self) -> int:
        """Records produced and not yet folded."""
        return self.produced - self.folded

    def play_to(self, wanted: int, began: float) -> None:
        """Play what happens up to ``wanted``, or as far as the worker can follow.

        ``began`` is the process's time at which this is done, for ``handed_at``.
        """
        end = min(wanted, self.feed.end, self.settled + MOST_AHEAD)
        if end <= self.position:
            return
        self._produce(list(self._until(end)))
        self._clock.set(end)
        self.position = end
        self._ends.append(end)
        self._handed.append(began)
        self._open.append(Slice(end, self.produced))

    def play_first(self, began: float) -> None:
        """Play up to the first event of a member, to see whether the worker is there."""
        while self._next is not None and self._next.record.topic == "items":
            self._produce([self._next])
            self._next = next(self.feed.events, None)
        if self._next is not None:
            self.settled = self._next.record.at
            self.play_to(self._next.record.at + 1, began)

    def look(self) -> None:
        """Ask how far the worker is."""
        self.folded = self._worker.count()
        while self._open and self._open[0].produced <= self.folded:
            self.settled = self._open.popleft().end

    def handed_at(self, instant: int) -> float:
        """Return the process's time at which the slice with ``instant`` began to be produced."""
        return self._handed[min(bisect_left(self._ends, instant), len(self._handed) - 1)]

    def _until(self, end: int) -> Iterator[Played]:
        while self._next is not None and self._next.record.at < end:
            yield self._next
            self._next = next(self.feed.events, None)

    def _produce(self, events: list[Played]) -> None:
        for wave in waves(events, self._lane_of):
            for event in wave:
                self._sender.send(event.record)
                self._note(event)
            self._sender.flush()

    def _note(self, event: Played) -> None:
        if event.type == "item":
            return
        self.produced += 1
        if event.member_id is None:
            self.visitors.add(str(event.anonymous_id))
            return
        self.histories.setdefault(event.member_id, []).append((event.record.at, event.type))
        if event.type == "link" and event.anonymous_id is not None:
            self.visitors.discard(event.anonymous_id)
