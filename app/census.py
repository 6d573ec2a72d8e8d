"""How many members each segment has: counted by going through the rows, a little at a time.

A worker counts the lanes that it works on. Counting goes beside the lanes' work and takes some two
parts in a hundred of a core, so that a million rows take ten minutes; it begins again only when
somebody has moved or the lanes are others.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress

from agents.tasks import ended
from models.member import UnknownVersion, labels_of
from models.rulebook import RuleBook

SLICE = 100
"""Rows looked at before others get their turn: a millisecond."""
PAUSE = 0.05
"""Seconds between two slices."""
REST = 5.0
"""Seconds between two countings, and between two looks whether one is needed."""


class Census:
    """Counts while it runs; ``members`` is the last whole count, empty before the first."""

    def __init__(
        self,
        book: RuleBook,
        lanes: Callable[[], Collection[int]],
        rows: Callable[[int], Mapping[bytes, bytes] | None],
        moves: Callable[[], int],
    ) -> None:
        """``moves`` says how often anybody has come into a segment or left one so far."""
        self.members: Mapping[str, int] = {}
        self._names = book.segment_names
        self._lanes = lanes
        self._rows = rows
        self._moves = moves
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to count, unless there is nothing to be counted."""
        if self._names:
            self._task = asyncio.create_task(self._count_on())

    async def stop(self) -> None:
        """End."""
        await ended(self._task)

    async def _count_on(self) -> None:
        counted: tuple[int, frozenset[int]] | None = None
        while True:
            now = self._moves(), frozenset(self._lanes())
            if now != counted:
                self.members = await self._count(now[1])
                counted = now
            await asyncio.sleep(REST)

    async def _count(self, lanes: Collection[int]) -> Mapping[str, int]:
        found = dict.fromkeys(self._names.values(), 0)
        for lane in sorted(lanes):
            rows = self._rows(lane)
            keys = list(rows or ())
            for start in range(0, len(keys), SLICE):
                rows = self._rows(lane)
                if rows is None:  # the lane went to another worker
                    break
                for key in keys[start : start + SLICE]:
                    self._add(rows.get(key), found)
                await asyncio.sleep(PAUSE)
        return found

    def _add(self, row: bytes | None, found: dict[str, int]) -> None:
        with suppress(UnknownVersion):  # the lane will stop the worker with a sentence
            labels = None if row is None else labels_of(row)
            for segment in labels.segments if labels is not None else ():
                name = self._names.get(segment)
                if name is not None:
                    found[name] += 1
