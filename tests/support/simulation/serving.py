"""The serving store, and our own projector that follows ``member-updates`` of the broker."""

import asyncio
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from aiokafka import TopicPartition

from agents.serving import Documents, Projector, ProjectorConfig, document_to_keep

if TYPE_CHECKING:
    from simulation.world import World

UPDATES = "member-updates"
PARTITION = TopicPartition(UPDATES, 0)
POLL_SECONDS = 60.0


class StoreAway(Exception):
    """The store cannot be reached."""


class Serving:
    """A projector that writes into a dictionary, whenever that is not away."""

    def __init__(self, world: "World") -> None:
        self.away = False
        self.documents: dict[bytes, bytes] = {}
        self._world = world
        self.committed = 0
        self._projector = self._new()

    def _new(self) -> Projector:
        config = ProjectorConfig("simulated", "projector", UPDATES, 20)
        return Projector(config, self, lambda _: _Consumer(self._world, self))

    def start(self) -> None:
        """Begin to follow the topic."""
        self._projector.start()

    async def hand_over(self) -> None:
        """Let another worker's projector go on from where this one has committed."""
        await self._projector.stop()
        self._projector = self._new()
        self._projector.start()

    async def write(self, documents: Documents) -> None:
        """Put and delete; half of them at the moment at which it goes away."""
        for key, value in documents.items():
            if self.away:
                raise StoreAway
            if value is None:
                self.documents.pop(key, None)
            else:
                self.documents[key] = value
            await asyncio.sleep(0.001)

    def has_caught_up(self) -> bool:
        """Tell whether everything that the topic holds is in the store."""
        return self.committed >= self._world.broker.end_offset(UPDATES, 0)

    def expected(self) -> dict[bytes, bytes]:
        """Return what the store must hold, by the topic."""
        found: dict[bytes, bytes] = {}
        for record in self._world.broker.all_records(UPDATES):
            assert record.key is not None
            kept = document_to_keep(record.value)
            found.pop(record.key, None)
            if kept is not None:
                found[record.key] = kept
        return found


class _Consumer:
    """The projector's membership of its group, which it is alone in."""

    def __init__(self, world: "World", serving: Serving) -> None:
        self._world = world
        self._serving = serving
        self._position = serving.committed

    async def start(self) -> None:
        """Do nothing."""

    async def stop(self) -> None:
        """Do nothing."""

    async def getmany(self, *, timeout_ms: int, max_records: int) -> Mapping[TopicPartition, Any]:
        """Return what there is."""
        # Longer than asked for: an idle poll costs something and tells nothing.
        seconds = max(timeout_ms / 1000, POLL_SECONDS)
        broker = self._world.broker
        await self._world.woken(broker.arrival(UPDATES, 0, self._position), seconds)
        if self._world.away:
            await self._world.news()
            return {}
        records, self._position = broker.fetch(UPDATES, 0, self._position, max_records)
        return {PARTITION: records} if records else {}

    async def commit(self, offsets: dict[TopicPartition, int]) -> None:
        """Commit."""
        self._serving.committed = offsets[PARTITION]

    def assignment(self) -> Collection[TopicPartition]:
        """Return the one partition."""
        return [PARTITION]

    async def end_offsets(self, partitions: Collection[TopicPartition]) -> Mapping[Any, int]:
        """Return where it ends."""
        return {at: self._world.broker.end_offset(*at) for at in partitions}

    async def position(self, partition: TopicPartition) -> int:
        """Return the offset that is fetched next."""
        return self._position
