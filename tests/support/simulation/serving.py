"""The serving store, and our own projector that follows ``member-updates`` of the broker."""

import asyncio
from collections import deque
from collections.abc import Collection, Mapping
from random import Random
from typing import TYPE_CHECKING, Any

from aiokafka import TopicPartition

from agents.following import Follower, FollowerConfig
from agents.serving import Projector
from agents.serving_ports import NOWHERE, Documents, Places
from agents.standing import place_name
from agents.updates import document_to_keep
from simulation.process_ports import UPDATES

if TYPE_CHECKING:
    from simulation.world import World

POLL_SECONDS = 60.0
KILLED = 0.02
"""The share of requests that find it just killed, and started again."""
UNANSWERED = 0.3
"""The share of writes of which the answer gets lost."""
REMEMBERED = 8
"""States of the store, one per write, of which it may come back with an older one."""


class StoreAway(Exception):
    """The store cannot be reached."""


class Serving:
    """A projector that writes into a dictionary, whenever that is not away.

    When it goes away or is killed it may lose the last of what it has acknowledged, or all.
    """

    def __init__(self, world: "World") -> None:
        self.documents: dict[bytes, bytes] = {}
        self.partitions = [TopicPartition(UPDATES, lane) for lane in range(world.lanes)]
        self._reached: dict[str, int] = {}
        self._before: deque[tuple[dict[bytes, bytes], dict[str, int]]] = deque(maxlen=REMEMBERED)
        self._away = False
        self._rng = Random(world.scenario.seed)
        self._world = world
        self._projector = self._new()

    def _new(self) -> Projector:
        config = FollowerConfig("simulated", "projector", (UPDATES,), 20)
        return Projector(config, self, lambda listener: _Consumer(self._world, self, listener))

    def start(self) -> None:
        """Begin to follow the topic."""
        self._projector.start()

    async def hand_over(self) -> None:
        """Let, now and then, another worker's projector go on instead of this one."""
        if self._rng.random() < 0.5:
            return
        await self._projector.stop()
        self._projector = self._new()
        self._projector.start()

    @property
    def away(self) -> bool:
        """Whether the store takes and tells nothing."""
        return self._away

    @away.setter
    def away(self, away: bool) -> None:
        if away and not self._away:
            self._lose()
        self._away = away

    def _lose(self) -> None:
        happens = self._rng.random()
        if happens < 0.2:
            self.documents, self._reached = {}, {}
        elif happens < 0.7 and self._before:
            self.documents, self._reached = self._rng.choice(self._before)
        else:
            return
        self._before.clear()
        self._world.count("lost by redis")

    async def places(self) -> Places:
        """Return how far the documents go."""
        if self._rng.random() < KILLED:
            self._lose()
            # Who connects anew may never notice that it was gone.
            if self._rng.random() < 0.5:
                raise StoreAway
        if self.away:
            raise StoreAway
        return dict(self._reached)

    async def write(self, content: Documents | None, expected: Places, reached: Places) -> Places:
        """Put and delete; half of them, or all and no answer, at the moment it goes away."""
        before = await self.places()
        if any(before.get(name, NOWHERE) != at for name, at in expected.items()):
            return before
        self._before.append((dict(self.documents), dict(self._reached)))
        for key, value in (content or {}).items():
            if value is None:
                self.documents.pop(key, None)
            else:
                self.documents[key] = value.value
            await asyncio.sleep(0.001)
            if self.away:
                raise StoreAway
        self._reached.update(reached)
        await asyncio.sleep(0.001)
        if self.away or self._rng.random() < UNANSWERED:
            raise StoreAway
        return before

    def has_caught_up(self) -> bool:
        """Tell whether everything that the topic holds is in the store."""
        end = self._world.broker.end_offset
        return all(self._reached.get(place_name(at), 0) >= end(*at) for at in self.partitions)

    def expected(self) -> dict[bytes, bytes]:
        """Return what the store must hold, by the topic."""
        found: dict[bytes, bytes] = {}
        for record in self._world.broker.all_records(UPDATES):
            assert record.key is not None
            kept = document_to_keep(record.value)
            found.pop(record.key, None)
            if kept is not None:
                found[record.key] = kept.value
        return found


class _Consumer:
    """The projector's membership of its group, which it is alone in."""

    def __init__(self, world: "World", serving: Serving, projector: Follower[Documents]) -> None:
        self._world = world
        self._serving = serving
        self._projector = projector
        self._positions = dict.fromkeys(serving.partitions, 0)

    async def start(self) -> None:
        """Get all partitions."""
        await self._projector.on_partitions_assigned(self._positions)

    async def stop(self) -> None:
        """Do nothing."""

    async def getmany(self, *, timeout_ms: int, max_records: int) -> Mapping[TopicPartition, Any]:
        """Return what there is."""
        # Longer than asked for: an idle poll costs something and tells nothing.
        seconds = max(timeout_ms / 1000, POLL_SECONDS)
        broker = self._world.broker
        places = [(*at, position) for at, position in self._positions.items()]
        await self._world.woken(broker.arrivals(places), seconds)
        if self._world.away:
            await self._world.news()
            return {}
        found = {}
        for at, position in self._positions.items():
            records, self._positions[at] = broker.fetch(*at, position, max_records)
            if records:
                found[at] = records
        return found

    async def commit(self, offsets: dict[TopicPartition, int]) -> None:
        """Do nothing: where it goes on is the store's to say."""

    def assignment(self) -> Collection[TopicPartition]:
        """Return all partitions."""
        return self._serving.partitions

    async def beginning_offsets(self, partitions: Collection[TopicPartition]) -> Mapping[Any, int]:
        """Return where it begins."""
        return dict.fromkeys(partitions, 0)

    async def end_offsets(self, partitions: Collection[TopicPartition]) -> Mapping[Any, int]:
        """Return where it ends."""
        return {at: self._world.broker.end_offset(*at) for at in partitions}

    async def position(self, partition: TopicPartition) -> int:
        """Return the offset that is fetched next."""
        return self._positions[partition]

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Go there."""
        self._positions[partition] = offset
