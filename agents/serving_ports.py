"""What the projector asks of the serving store and of its consumer."""

from collections.abc import Collection, Mapping
from typing import Protocol, TypeAlias

from aiokafka import ConsumerRecord, TopicPartition

Documents: TypeAlias = Mapping[bytes, bytes | None]
"""Documents by the keys of ``member-updates``; None: there is to be none."""

Places: TypeAlias = Mapping[int, int]
"""By partition of ``member-updates``, the offset up to which (exclusive) its updates are in."""


class ProjectionStore(Protocol):
    """Where documents are kept, and with them how far they go.

    A store that loses what it has acknowledged loses the last of it: never a document without the
    places that were written with it or after it. Each call raises, within a bounded time, when the
    store is away, slow or full.
    """

    async def places(self) -> Places:
        """Return how far the store goes; a partition it knows nothing of is missing."""

    async def write(self, documents: Documents, expected: Places, reached: Places) -> Places:
        """Put and delete all, and set the places to ``reached`` after them.

        When a place is below what is ``expected`` of it, or missing, nothing is written. This is
        decided as one with the writing: told only afterwards, in an answer that may get lost, a gap
        would be closed over. Returns the places before, in either case, when the store has
        acknowledged.

        Writing again what was written changes nothing. When it raises, all, some or none may have
        been written, and the places only if all was.
        """


class UpdatesConsumer(Protocol):
    """What a projector asks of its membership of a group; ``AIOKafkaConsumer`` is one."""

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
