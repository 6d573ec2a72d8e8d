"""The lanes of this worker: fenced, recovered, fed, and finished again."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from agents.ports import (
    ChangelogPort,
    LoggedRow,
    LogPort,
    OutputPort,
    SourcePort,
    SourceRecord,
    SourceTopic,
)
from agents.recovery import Recovered, Recovery, fence, recover

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LaneWorld:
    """What a lane is made of: its number, its rows, and the ports to everything else."""

    number: int
    rows: dict[bytes, bytes]
    changelog: ChangelogPort
    updates: LogPort | None
    source: SourcePort
    outputs: OutputPort
    on_failure: Callable[[BaseException], None]


class Lane(Protocol):
    """What is asked of a lane; ``agents.lane.Lane`` is one."""

    async def start(
        self, epoch: int, recovered: Recovered, topics: Mapping[str, SourceTopic]
    ) -> None:
        """Finish the recovery and begin to work."""

    def feed(self, topic: str, records: Sequence[SourceRecord]) -> None:
        """Take over a chunk of one topic, in offset order."""

    async def stop(self) -> bool | None:
        """Finish what is under way, in bounded time; nothing is fed any more.

        Returns True when the rows are what the changelog says and all outputs are out.
        """


OpenLane = Callable[[LaneWorld], Lane]


class Table(Protocol):
    """The rows of every lane of this worker."""

    def rows(self, lane: int) -> dict[bytes, bytes]:
        """Return the rows of a lane, to be changed by that lane only."""

    def forget(self, lane: int) -> None:
        """Drop the rows of a lane that belongs to another worker now."""


class OwnChangelog(ChangelogPort, Protocol):
    """A changelog that remembers what was written through it."""

    def written_to(self, lane: int) -> int | None:
        """Return the offset after the last row that was appended here; None when unknown."""

    def last_outbox(self, lane: int) -> LoggedRow | None:
        """Return the last outbox that was appended here, if any was."""


SourceTopics = Callable[[Iterable[int]], Awaitable[Mapping[int, Mapping[str, SourceTopic]]]]
"""Returns per lane what the member topics are now and where its partitions of them end."""


class Lanes:
    """All lanes of this worker.

    They are opened anew at every assignment: between two of them somebody else may have owned
    any of them, and only a new fence tells. When it lands right behind what we wrote last, nobody
    has, and the rows of a lane that had finished are still right: most lanes survive a rebalance
    without being read again.
    """

    def __init__(
        self,
        table: Table,
        changelog: OwnChangelog,
        source_topics: SourceTopics,
        open_lane: Callable[[int], Lane],
        instance: str,
    ) -> None:
        self._table = table
        self._changelog = changelog
        self._source_topics = source_topics
        self._open = open_lane
        self._instance = instance
        self._lanes: dict[int, Lane] = {}
        self._recovered: dict[int, Recovered] = {}
        self._finished: set[int] = set()
        self._stopping = asyncio.Lock()
        # Told how many seconds each take-over took; to be set by whoever measures.
        self.on_taken_over: Callable[[float], None] = lambda _: None

    @property
    def running(self) -> Mapping[int, Lane]:
        """Return the lanes that are being worked on, by number."""
        return self._lanes

    async def take_over(self, numbers: Iterable[int]) -> None:
        """Fence, recover and start these lanes; raises what any of that raises.

        Cancelled half-way it leaves none behind.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        numbers = sorted(numbers)
        for number in self._recovered.keys() - numbers:
            self._forget(number)
        lanes = {number: self._open(number) for number in numbers}
        try:
            fences = await asyncio.gather(*map(self._fence, numbers))
            # Asked for behind the fences: an owner who was still at work may have folded records
            # that an older answer does not know.
            topics = await self._source_topics(numbers)
            rows = await asyncio.gather(
                *(
                    self._recover(number, lanes[number], *fenced, topics[number])
                    for number, fenced in zip(numbers, fences, strict=True)
                )
            )
        except BaseException:
            await _stop(lanes.values())
            raise
        self._lanes = lanes
        seconds = loop.time() - began
        self.on_taken_over(seconds)
        log.info(
            "took over %d lanes: %d changelog records in %.1f s", len(lanes), sum(rows), seconds
        )

    async def _fence(self, number: int) -> tuple[int, bool]:
        """Return the epoch, and whether the rows are still as the lane has left them."""
        written_to = self._changelog.written_to(number)
        # Taken out before anything can be cancelled: half-read rows are not to be trusted.
        finished = number in self._finished
        self._finished.discard(number)
        epoch = await fence(self._changelog, number, self._instance)
        return epoch, finished and epoch == written_to

    async def _recover(
        self, number: int, lane: Lane, epoch: int, kept: bool, topics: Mapping[str, SourceTopic]
    ) -> int:
        if kept:
            recovered = self._resumed(number)
        else:
            rows = self._table.rows(number)
            rows.clear()
            recovered = await recover(self._changelog, number, epoch, rows)
        await lane.start(epoch, recovered, topics)
        # By now the lane has written the ids of its topics, whatever they were before.
        ids = {name: topic.id for name, topic in topics.items()}
        self._recovered[number] = recovered._replace(topics=ids)
        return recovered.rows

    def _resumed(self, number: int) -> Recovered:
        """Return what a recovery would have found, had it read what we know."""
        recovered = self._recovered[number]
        outbox = recovered.outbox
        written = self._changelog.last_outbox(number)
        if written is not None:
            recovery = Recovery({})
            recovery.take([written])
            # It may be from a time before another owner wrote later ones.
            outbox = max(outbox, recovery.finish().outbox, key=lambda known: known.number)
        return Recovered(0, outbox._replace(outputs=[]), (), frozenset(), recovered.topics)

    def feed(self, number: int, topic: str, records: Sequence[SourceRecord]) -> None:
        """Hand a chunk to its lane; raises ``KeyError`` when that is not being worked on."""
        self._lanes[number].feed(topic, records)

    async def stop(self) -> None:
        """Let all lanes finish what is under way, in bounded time; none works afterwards.

        What a lane could not finish is not done, so the next owner does it again.
        """
        # The worker may be told to stop in the middle of a revocation.
        async with self._stopping:
            lanes, self._lanes = self._lanes, {}
            for number, finished in zip(lanes, await _stop(lanes.values()), strict=True):
                if finished:
                    self._finished.add(number)
                else:
                    self._forget(number)

    def _forget(self, number: int) -> None:
        self._table.forget(number)
        self._recovered.pop(number, None)
        self._finished.discard(number)


async def _stop(lanes: Iterable[Lane]) -> list[bool | None]:
    return await asyncio.gather(*(lane.stop() for lane in lanes))
