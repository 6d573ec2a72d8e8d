"""One order out of several topics: by effective time, never waiting for what does not exist yet.

The merge takes the earliest of its topics' heads. A topic with nothing queued may still hold an
earlier record on the broker, so its silence has to be proven: it must have been read up to an end
offset that was asked for after the candidate itself had been fed. That it lies below the end of
its own topic in the same answer proves nothing: the ends of an answer come from several brokers,
or from one that looks at them one after the other. ``told_ends`` brings such answers; ``lead`` says
which record is next, whether it may be taken, or what it waits for.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import Generic

from agents.fold import Decoded, EventT, Refused
from agents.ports import SourceRecord, StopWorker

NEVER = 1 << 62
"""Later than every instant and beyond every offset."""


class TopicQueue(Generic[EventT]):
    """What has been fed of one topic and not yet taken; its head is decoded."""

    __slots__ = (
        "_bytes",
        "_chunk",
        "_chunks",
        "_decode",
        "_first",
        "_place",
        "_refuse",
        "at",
        "decoded",
        "end",
        "known",
        "name",
        "next",
        "order",
        "paused",
        "record",
        "taken",
    )

    def __init__(
        self,
        name: str,
        order: int,
        decode: Callable[[SourceRecord], Decoded[EventT] | Refused],
        refuse: Callable[[Refused], None],
    ) -> None:
        self.name = name
        self.order = order
        self.next = 0
        """The offset after the last record fed."""
        self.end = 0
        """The end last told: every record at or above it is younger than the asking."""
        self.known = 0
        """The offset after the last record that had been fed when that was asked for."""
        self.taken = 0
        """The offset below which every record has been taken."""
        self.paused = False
        self.record: SourceRecord | None = None
        self.decoded: Decoded[EventT] | None = None
        self.at = NEVER
        self._decode = decode
        self._refuse = refuse
        self._first: int | None = None
        self._chunk: Sequence[SourceRecord] = ()
        self._place = 0
        self._bytes = 0
        self._chunks: deque[tuple[Sequence[SourceRecord], int]] = deque()

    def feed(self, records: Sequence[SourceRecord]) -> None:
        """Queue a chunk; what has been fed before is left out.

        Raises ``StopWorker`` for records from before the first one ever fed: folding them now
        would put them behind records that came after them.
        """
        if not records:
            return
        first = records[0].offset
        if self._first is None:
            self._first = first
        elif first < self._first:
            raise StopWorker(
                f"{self.name} was read from offset {self._first} and then from {first}: a record "
                "would be folded after later ones. Start the worker again"
            )
        if first < self.next:
            records = [record for record in records if record.offset >= self.next]
            if not records:
                return
        size = sum([len(record.value or b"") for record in records])
        self._chunks.append((records, size))
        self._bytes += size
        self.next = records[-1].offset + 1

    def load(self) -> bool:
        """Make the next record the head; return whether there is one.

        Refused records on the way are dealt with: they have no time of their own.
        """
        while True:
            if self._place == len(self._chunk):
                if not self._chunks:
                    self.record = self.decoded = None
                    self.at = NEVER
                    self._chunk = ()
                    self._place = self._bytes = 0
                    return False
                self._chunk, size = self._chunks.popleft()
                self._place = 0
                self._bytes -= size
            record = self._chunk[self._place]
            self._place += 1
            decoded = self._decode(record)
            if isinstance(decoded, Refused):
                self.taken = record.offset + 1
                self._refuse(decoded)
                continue
            self.record = record
            self.decoded = decoded
            self.at = decoded.at
            return True

    def __len__(self) -> int:
        """Return how many records are queued behind the head."""
        return sum([len(chunk) for chunk, _ in self._chunks]) + len(self._chunk) - self._place

    @property
    def queued_bytes(self) -> int:
        """Return about how many bytes of values are queued."""
        return self._bytes


class Wait(Enum):
    """Why the head that is next may not be taken."""

    NOTHING = "it may be taken"
    ENDS = "the ends must be asked for again: it had not been fed when they last were"
    RECORDS = "the broker holds records of another topic that have not been fed"


class Lead(Generic[EventT]):
    """The topic whose head is next, and how far it may be taken before looking again.

    There is one per merge, changed by each look: records of several topics alternate, and making a
    new one for every one or two records would cost as much as finding out.
    """

    __slots__ = ("below", "last_at", "queue", "wait")

    def __init__(self, queue: TopicQueue[EventT]) -> None:
        self.queue = queue
        self.last_at = NEVER
        """The head leads while its time is at most this."""
        self.below = 0
        """It may be taken while its offset is below this."""
        self.wait = Wait.NOTHING


class Merge(Generic[EventT]):
    """The topics of a lane, in the order in which records of one instant are taken."""

    def __init__(
        self,
        topics: Iterable[str],
        decode: Callable[[SourceRecord], Decoded[EventT] | Refused],
        refuse: Callable[[Refused], None],
    ) -> None:
        self.queues = [TopicQueue(name, order, decode, refuse) for order, name in enumerate(topics)]
        self.by_name = {queue.name: queue for queue in self.queues}
        self._lead: Lead[EventT] = Lead(self.queues[0])

    def fed(self) -> dict[str, int]:
        """Return per topic the offset after the last record fed: to be kept with a question."""
        return {queue.name: queue.next for queue in self.queues}

    def told_ends(self, ends: Mapping[str, int], fed: Mapping[str, int]) -> None:
        """Take the answer to a question for the ends, asked when ``fed`` had been fed.

        It replaces the one before, and may be lower: the last offsets of a topic need not hold
        records.
        """
        for queue in self.queues:
            queue.end = ends[queue.name]
            queue.known = fed[queue.name]

    def fed_to(self, ends: Mapping[str, int]) -> bool:
        """Return whether every topic has been fed up to these ends."""
        return all(queue.next >= ends[queue.name] for queue in self.queues)

    def taken_to(self, ends: Mapping[str, int]) -> bool:
        """Return whether no record below these ends is waiting or still to be fed."""
        for queue in self.queues:
            if queue.record is None and not queue.load():
                if queue.next < ends[queue.name]:
                    return False
            elif queue.record.offset < ends[queue.name]:  # type: ignore[union-attr]
                return False
        return True

    def lead(self) -> Lead[EventT] | None:
        """Return which head is next, or None when nothing is queued."""
        best: TopicQueue[EventT] | None = None
        best_at = last_at = NEVER
        silent = unread = False
        for queue in self.queues:
            if queue.record is None and not queue.load():
                silent = True
                if queue.next < queue.end:
                    unread = True
                continue
            at = queue.at
            if at < best_at:
                # Whoever led so far comes earlier in the order and wins ties from now on.
                last_at = best_at - 1
                best = queue
                best_at = at
            elif at < last_at:
                last_at = at
        if best is None:
            return None
        lead = self._lead
        lead.queue = best
        lead.last_at = last_at
        lead.below = NEVER
        lead.wait = Wait.NOTHING
        if unread:
            lead.below = 0
            lead.wait = Wait.RECORDS
        elif silent:
            lead.below = best.known
            if best.record.offset >= best.known:  # type: ignore[union-attr]
                lead.wait = Wait.ENDS
        return lead
