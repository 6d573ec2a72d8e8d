"""Where reading the member topics begins, what waits, and what may be committed.

Nothing is fetched before the start of every partition is known and sought, and no chunk fetched
before a seek or a revocation is handed over after it: folding a later chunk first would make a lane
skip the earlier one.
"""

import asyncio
from collections.abc import Collection, Mapping
from typing import Any

from agents.offsets import OffsetBook
from agents.ports import GroupPort, Place, Revoked, Start, StopWorker

HELD_POLL_SECONDS = 0.02
"""How long a poll waits while lanes hold partitions back: the poll under way cannot notice that one
was released."""


class Reading:
    """The reading of all lanes of this worker, from one assignment to the next."""

    def __init__(self, group: GroupPort) -> None:
        self.offsets = OffsetBook()
        self.started = asyncio.Event()
        """Set while records may be handed over."""
        self.era = 0
        """Counts seeks and revocations: a chunk fetched in another era is stale."""
        self._group = group
        self._held: set[Place] = set()
        self._polling: asyncio.Task[tuple[int, Mapping[Place, list[Any]]]] | None = None
        self._seeking = asyncio.Lock()
        self._committing = asyncio.Lock()
        self._positions: dict[Place, int] = {}
        self._next_record: dict[Place, int] = {}

    # -- where it begins

    async def begin(self, places: Collection[Place]) -> None:
        """Seek the partitions of the lanes just taken over to where their group is, and begin.

        Returns with reading allowed; raises ``Revoked`` when they were revoked meanwhile,
        ``StopWorker`` when the broker does not hold where the group goes on, and what the port
        raises.
        """
        self.stop()
        era = self.era
        async with self._seeking:
            await self._end_poll()
            starts = await self._group.starts(places)
            for place, start in starts.items():
                _check(place, start)
            offsets = {place: start.offset for place, start in starts.items()}
            if era == self.era:
                await self._group.seek(offsets)
            if era != self.era:
                raise Revoked
            self._positions = offsets
            self._held.clear()
            self.offsets.start({place: start.committed or 0 for place, start in starts.items()})
            self.started.set()

    def stop(self) -> None:
        """Hand over nothing more, not even what has been fetched, until reading begins again."""
        self.era += 1
        self.started.clear()
        self._positions = {}
        self._next_record = {}

    # -- what is handed over

    def hold(self, place: Place) -> None:
        """Hand over no more of a partition; the chunk under way may still arrive."""
        self._held.add(place)

    def release(self, place: Place) -> None:
        """Hand it over again."""
        self._held.discard(place)

    def is_current(self, era: int) -> bool:
        """Return whether a chunk of that era may still be handed to a lane."""
        return self.started.is_set() and era == self.era

    async def poll(
        self, places: Collection[Place], seconds: float
    ) -> tuple[int, Mapping[Place, list[Any]]]:
        """Return what there is in these partitions but for those held, and the era it belongs to.

        Waits so long for the first record. Raises what the port raises. What a cancelled poll has
        under way comes with the next one: a fetch that nobody waits for any more would still take
        its records, and after a seek those of the new place.
        """
        polling = self._polling
        if polling is None:
            polling = self._polling = asyncio.create_task(self._poll(places, seconds))
        try:
            return await asyncio.shield(polling)
        except asyncio.CancelledError:
            polling = None
            raise
        finally:
            if polling is not None and self._polling is polling:
                self._polling = None

    async def _poll(
        self, places: Collection[Place], seconds: float
    ) -> tuple[int, Mapping[Place, list[Any]]]:
        wanted = set(places) - self._held
        era = self.era
        if not self.started.is_set() or not wanted:
            await asyncio.sleep(HELD_POLL_SECONDS)
            return era, {}
        fetched = await self._group.fetch(wanted, HELD_POLL_SECONDS if self._held else seconds)
        if fetched is None:
            return era, {}
        if self.is_current(era):
            self._positions.update(fetched.positions)
            self._next_record.update((at, r[-1].offset + 1) for at, r in fetched.records.items())
        return era, fetched.records

    async def _end_poll(self) -> None:
        polling = self._polling
        if polling is not None:
            await asyncio.wait([polling])
            # Whoever still waits for it gets it; otherwise it is from before the seek, and dropped.
            if self._polling is polling:
                self._polling = None

    def read_to(self, place: Place, end: int) -> int:
        """Return the offset that a lane reaches once it has been handed all records below ``end``.

        To be asked while ``started`` is set: before, nothing says what is left to read. It is
        ``end`` itself, except when the last offsets below it hold no records (the markers of
        transactions, or what compaction removed): then the offset after the last record fetched,
        or 0 if none was fetched since reading began.
        """
        if self._positions.get(place, -1) < end:
            return end
        return min(end, self._next_record.get(place, 0))

    # -- what is committed

    async def commit(self) -> bool:
        """Commit what the lanes have declared done; return whether anything was.

        Only while records may be handed over: between two assignments it would be committed in the
        name of a generation in which somebody else may have gone further.
        """
        return self.started.is_set() and await self.commit_last()

    async def commit_last(self) -> bool:
        """Commit the same after ``stop``, before the partitions are given up."""
        async with self._committing:
            due = self.offsets.due()
            if not due or not await self._group.commit(due):
                return False
            self.offsets.committed(due)
            return True


def _check(place: Place, start: Start) -> None:
    if start.beginning <= start.offset <= start.end:
        return
    what = "was deleted" if start.offset < start.beginning else "is missing"
    raise StopWorker(
        f"{place.topic}[{place.partition}] holds offsets {start.beginning} to {start.end}, but "
        f"this group goes on at {start.offset}: what it has not read {what}. If the topic was made "
        "again, start with a new group and changelog; if its retention deleted records, "
        "accept the loss by setting the group's offset to the beginning"
    )
