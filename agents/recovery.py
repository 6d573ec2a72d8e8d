"""Reading a lane's changelog back, and what its records look like.

Keys carry their kind in the first byte: ``r`` and the member key for a row, ``f`` the fence, ``o``
the outbox, ``t`` the ids of the member topics. Values of all but fences begin with the epoch of
the owner that wrote them, eight bytes, big-endian; the epoch of an owner is the offset of its
fence. A tombstone has no value, hence no epoch of its own: every batch begins with its outbox, and
a tombstone's epoch is that of the record before it.
"""

from collections.abc import Mapping, MutableMapping, Sequence
from typing import NamedTuple, TypeVar

import msgspec

from agents.ports import ChangelogPort, LoggedRow, Output, Row, SourceTopic, StopWorker

ROW = b"r"
FENCE = b"f"
OUTBOX = b"o"
TOPICS = b"t"
EPOCH_BYTES = 8

UNKNOWN_FENCES = 5
"""A fence acknowledged without its offset is followed by another one. aiokafka says so of a batch
that a broker took for an old duplicate; Apache Kafka 4.1 was not seen to answer like that."""


KINDS = (ROW, FENCE, OUTBOX, TOPICS)

NEWER = (
    "the changelog holds records of a kind that this program does not know: a newer one has worked "
    "here. Start that one; this one has changed nothing"
)


class Outbox(NamedTuple):
    """The outputs of the last group, to be sent again by whoever recovers."""

    number: int
    """Counts the lane's groups; written again after a zombie's write, an outbox keeps it."""
    done: dict[str, int]
    """Per member topic, the offset below which everything had been dealt with; for the topic of
    updates, that below which the lane's were its owner's before this group's were sent."""
    outputs: list[Output]


NO_OUTBOX = Outbox(0, {}, [])

T = TypeVar("T")

_outbox_decoder = msgspec.msgpack.Decoder(Outbox)
_topics_decoder = msgspec.msgpack.Decoder(dict[str, str])


def encode(value: Outbox | Mapping[str, str]) -> bytes:
    """Return the bytes of an outbox or of topic ids, without the epoch."""
    return msgspec.msgpack.encode(value)


class Recovered(NamedTuple):
    """What the changelog says beside the rows themselves."""

    rows: int
    """Records read, whatever they were."""
    outbox: Outbox
    group: tuple[bytes, ...]
    """Member keys of the rows behind the last outbox: their projections may not have been sent."""
    stale: frozenset[bytes]
    """Changelog keys whose last record is a zombie's: compaction would keep that one alone, so
    they have to be written again."""
    topics: Mapping[str, str]
    """Ids of the member topics when the lane last wrote them; empty at first."""


class Recovery:
    """Folds a changelog into ``rows`` (member key to body), chunk by chunk, in order of offsets.

    Feed it everything below the own fence. It drops whatever was written under a lower epoch than
    that of a fence or record before it: a zombie's.
    """

    def __init__(self, rows: MutableMapping[bytes, bytes]) -> None:
        self._rows = rows
        self._read = 0
        self._highest = b""
        self._writer = b""
        self._outbox: Outbox | None = None
        self._group: dict[bytes, None] = {}
        self._stale: set[bytes] = set()
        self._topics: dict[str, str] = {}

    def take(self, chunk: Sequence[LoggedRow]) -> None:
        """Fold the next rows in."""
        rows, stale, group = self._rows, self._stale, self._group
        highest, writer = self._highest, self._writer
        self._read += len(chunk)
        for offset, key, value in chunk:
            kind = key[:1]
            if kind == FENCE:
                writer = epoch_bytes(offset)
                highest = max(highest, writer)
                continue
            if value is not None:
                writer = value[:EPOCH_BYTES]
            if writer < highest:
                stale.add(key)
                continue
            highest = writer
            if stale:
                stale.discard(key)
            if kind == ROW:
                if value is None:
                    rows.pop(key[1:], None)
                else:
                    rows[key[1:]] = value[EPOCH_BYTES:]
                if self._outbox is not None:
                    group[key[1:]] = None
            elif kind == OUTBOX and value is not None:
                outbox = _known_form(_outbox_decoder, value)
                if self._outbox is None or outbox.number != self._outbox.number:
                    group.clear()
                self._outbox = outbox
            elif kind == TOPICS and value is not None:
                self._topics = _known_form(_topics_decoder, value)
            elif kind not in KINDS:
                raise StopWorker(NEWER)
        self._highest, self._writer = highest, writer

    def finish(self) -> Recovered:
        """Return what is known beside the rows, once everything below the own fence was taken."""
        return Recovered(
            self._read,
            self._outbox or NO_OUTBOX,
            tuple(self._group),
            frozenset(self._stale),
            self._topics,
        )


def _known_form(decoder: msgspec.msgpack.Decoder[T], value: bytes) -> T:
    try:
        return decoder.decode(value[EPOCH_BYTES:])
    except msgspec.DecodeError:
        raise StopWorker(NEWER) from None


def epoch_bytes(epoch: int) -> bytes:
    """Return an epoch as rows carry it; the order of the bytes is that of the numbers."""
    return epoch.to_bytes(EPOCH_BYTES, "big")


def fence_row(instance: str) -> Row:
    """Return the fence of a new owner; the offset it gets is the owner's epoch."""
    return Row(FENCE, instance.encode())


async def fence(changelog: ChangelogPort, lane: int, instance: str) -> int:
    """Append a fence and return the epoch; whatever others write from now on does not count."""
    for _ in range(UNKNOWN_FENCES):
        epoch = await changelog.append(lane, [fence_row(instance)])
        if epoch is not None:
            return epoch
    raise StopWorker(
        f"the changelog of lane {lane} acknowledges fences without offsets: is its topic a Kafka "
        "topic of message format 2 or later?"
    )


async def recover(
    changelog: ChangelogPort, lane: int, epoch: int, rows: MutableMapping[bytes, bytes]
) -> Recovered:
    """Read a lane's changelog up to its own fence into ``rows``."""
    recovery = Recovery(rows)
    async for chunk in changelog.read(lane, 0, epoch):
        recovery.take(chunk)
    return recovery.finish()


def check_topics(recovered: Recovered, topics: Mapping[str, SourceTopic]) -> None:
    """Raise ``StopWorker`` when the member topics are not those whose offsets the rows carry."""
    for name, topic in topics.items():
        known = recovered.topics.get(name)
        if known is not None and known != topic.id:
            raise StopWorker(
                f"topic {name} was deleted and made again (id {known}, now {topic.id}): its new "
                "records would be skipped as already seen. Start with a new group and changelog, "
                "or bring the old topic back"
            )
        done = recovered.outbox.done.get(name, 0)
        if topic.end < done:
            raise StopWorker(
                f"topic {name} ends at offset {topic.end}, but was folded up to {done}: the broker "
                "has lost records, and new ones would be skipped as already seen. Start with a "
                "new group and changelog, or restore the topic"
            )
