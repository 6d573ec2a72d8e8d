"""What a follower of topics asks of its store and of its consumer."""

from collections.abc import Collection, Mapping
from typing import NamedTuple, Protocol, TypeAlias, TypeVar

from aiokafka import ConsumerRecord, TopicPartition

T_contra = TypeVar("T_contra", contravariant=True)


class Document(NamedTuple):
    """A member update to be kept, and what its member is listed by."""

    value: bytes
    stage: str
    since: int
    """When the stage was entered, epoch milliseconds."""
    risk: float | None
    """The smoothed churn probability; None of who has none."""


Documents: TypeAlias = Mapping[bytes, Document | None]
"""Documents by the keys of ``member-updates``; None: there is to be none."""

Places: TypeAlias = Mapping[str, int]
"""By topic and partition (``topic/7``), the offset up to which (exclusive) its records are in."""

NOWHERE = -1
"""The place of a partition that a store has none of, where one is expected."""


class FollowerStore(Protocol[T_contra]):
    """Where a follower writes what it made of records, and with it how far that goes.

    A store that loses what it has acknowledged loses the last of it: never content without the
    places that were written with it or after it. Each call raises, within a bounded time, when the
    store is away, slow or full.
    """

    async def places(self) -> Places:
        """Return how far the store goes; a partition it knows nothing of is missing."""

    async def write(self, content: T_contra | None, expected: Places, reached: Places) -> Places:
        """Write the content, None for nothing, and set the places to ``reached`` with it.

        When a place is not exactly what is ``expected`` of it (``NOWHERE``: missing), nothing is
        written. This is decided as one with the writing: told only afterwards, in an answer that
        may get lost, a gap would be closed over, or counted twice. Returns the places before, in
        either case, when the store has acknowledged.

        When it raises, all or none may have been written. Of content that may be written again, as
        documents may, part of it too; but the places only if all was.
        """


class FollowerConsumer(Protocol):
    """What a follower asks of its membership of a group; ``AIOKafkaConsumer`` is one."""

    async def start(self) -> None:
        """Join the group, waiting for a broker."""

    async def stop(self) -> None:
        """Leave it."""

    async def getmany(
        self, *, timeout_ms: int, max_records: int
    ) -> Mapping[TopicPartition, list[ConsumerRecord]]:
        """Return what there is, waiting so long for the first record."""

    async def commit(self, offsets: dict[TopicPartition, int]) -> None:
        """Commit, or raise ``KafkaError``."""

    def assignment(self) -> Collection[TopicPartition]:
        """Return the partitions that are ours."""

    async def beginning_offsets(
        self, partitions: Collection[TopicPartition]
    ) -> Mapping[TopicPartition, int]:
        """Return where they begin."""

    async def end_offsets(
        self, partitions: Collection[TopicPartition]
    ) -> Mapping[TopicPartition, int]:
        """Return where they end."""

    async def position(self, partition: TopicPartition) -> int:
        """Return the offset that is fetched next."""

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Fetch from there next; raise ``KafkaError`` when the partition is not ours."""
