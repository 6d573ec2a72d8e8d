"""The lanes of this worker: fenced, recovered, fed, and finished again."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Protocol

from agents.fastlane.connections import Connections
from agents.fastlane.table import LaneTable
from agents.ports import ChangelogPort, OutputPort, SourcePort, SourceRecord, SourceTopic
from agents.recovery import Recovered, Recovery, fence, recover

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LaneWorld:
    """What a lane is made of: its number, its rows, and the ports to everything else."""

    number: int
    rows: dict[bytes, bytes]
    changelog: ChangelogPort
    source: SourcePort
    outputs: OutputPort
    on_failure: Callable[[BaseException], None]


class Lane(Protocol):
    """What this package asks of a lane; ``agents.lane.Lane`` is one."""

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


class Lanes:
    """All lanes of this worker.

    They are opened anew at every assignment: between two of them somebody else may have owned
    any of them, and only a new fence tells. When it lands right behind what we wrote last, nobody
    has, and the rows of a lane that had finished are still right: most lanes survive a rebalance
    without being read again.
    """

    def __init__(
        self,
        table: LaneTable,
        connections: Connections,
        open_lane: Callable[[int], Lane],
        instance: str,
    ) -> None:
        self._table = table
        self._connections = connections
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
        began = monotonic()
        numbers = sorted(numbers)
        topics = await self._connections.source_topics(numbers)
        for number in self._recovered.keys() - numbers:
            self._forget(number)
        lanes = {number: self._open(number) for number in numbers}
        try:
            rows = await asyncio.gather(
                *(self._recover(number, lane, topics[number]) for number, lane in lanes.items())
            )
        except BaseException:
            await _stop(lanes.values())
            raise
        self._lanes = lanes
        seconds = monotonic() - began
        self.on_taken_over(seconds)
        log.info(
            "took over %d lanes: %d changelog records in %.1f s", len(lanes), sum(rows), seconds
        )

    async def _recover(self, number: int, lane: Lane, topics: Mapping[str, SourceTopic]) -> int:
        changelog = self._connections.changelog
        written_to = changelog.written_to(number)
        epoch = await fence(changelog, number, self._instance)
        if number in self._finished and epoch == written_to:
            recovered = self._resumed(number)
        else:
            rows = self._table.rows(number)
            rows.clear()
            recovered = await recover(changelog, number, epoch, rows)
        self._finished.discard(number)
        await lane.start(epoch, recovered, topics)
        # By now the lane has written the ids of its topics, whatever they were before.
        ids = {name: topic.id for name, topic in topics.items()}
        self._recovered[number] = recovered._replace(topics=ids)
        return recovered.rows

    def _resumed(self, number: int) -> Recovered:
        """Return what a recovery would have found, had it read what we know."""
        recovered = self._recovered[number]
        outbox = recovered.outbox
        written = self._connections.changelog.last_outbox(number)
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
