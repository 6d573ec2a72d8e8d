"""What an assignment of partitions sets going, and what ends it.

Assigned: take the lanes over (fence, recover, start), then let their records be read. Revoked, or
told to stop: read no more, give up a take-over under way, let the lanes finish what they have, and
commit it, all in bounded time, for the group waits meanwhile.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence

from agents.lanes import Lanes
from agents.ports import Place, Revoked, SourceRecord, StopWorker
from agents.reading import Reading

log = logging.getLogger(__name__)


class Handover:
    """The lanes of this worker from one assignment to the next.

    ``on_failure`` hears why a take-over failed; the worker cannot go on then.
    """

    def __init__(
        self,
        lanes: Lanes,
        reading: Reading,
        topics: Sequence[str],
        on_failure: Callable[[BaseException], object],
        commit_seconds: float,
    ) -> None:
        self._lanes = lanes
        self._reading = reading
        self._topics = topics
        self._on_failure = on_failure
        self._commit_seconds = commit_seconds
        self._taking: asyncio.Task[None] | None = None
        self._closed = False

    async def assigned(
        self, places: Collection[Place], working: Callable[[], Awaitable[None]]
    ) -> None:
        """Begin to take over the lanes of these partitions, and only these.

        ``working`` is called when they work and their records may be fetched.
        """
        await self.give_up()
        if not self._closed:
            self._taking = asyncio.create_task(self._take(set(places), working))

    async def _take(
        self, places: Collection[Place], working: Callable[[], Awaitable[None]]
    ) -> None:
        try:
            await self._lanes.take_over(self._whole_lanes(places))
            if places:
                await self._reading.begin(places)
            await working()
        except Revoked:
            return  # the next assignment starts over
        except Exception as error:
            self._on_failure(error)

    def _whole_lanes(self, places: Collection[Place]) -> set[int]:
        lanes = {place.partition for place in places}
        torn = {n for n in lanes if not {Place(topic, n) for topic in self._topics} <= set(places)}
        if torn:
            raise StopWorker(
                f"lanes {sorted(torn)} were assigned without some of the topics {self._topics}"
            )
        return lanes

    def feed(self, era: int, place: Place, records: Sequence[SourceRecord]) -> None:
        """Hand a chunk to its lane, unless it was fetched before the last seek or revocation."""
        if self._reading.is_current(era):
            self._lanes.feed(place.partition, place.topic, records)

    def void(self) -> None:
        """Begin to give up a take-over under way: its fences are about to be void."""
        if self._taking is not None:
            self._taking.cancel()

    async def give_up(self) -> None:
        """Give up a take-over under way, and wait until it has left nothing behind."""
        if self._taking is not None:
            self._taking.cancel()
            await asyncio.wait([self._taking])

    async def close(self) -> None:
        """Finish, and take over nothing any more: the worker was told to stop."""
        self._closed = True
        await self.finish()

    async def finish(self) -> None:
        """Let the lanes finish what is under way, and commit it."""
        self._reading.stop()
        await self.give_up()
        await self._lanes.stop()
        try:
            await asyncio.wait_for(self._reading.commit_last(), self._commit_seconds)
        except TimeoutError:
            log.warning("offsets were not committed in time: their records will be read again")
