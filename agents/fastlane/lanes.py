"""The lanes of this worker: fenced, recovered, fed, and finished again."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Protocol

from agents.fastlane.connections import Connections
from agents.fastlane.table import LaneTable
from agents.ports import (
    ChangelogPort,
    OutputPort,
    SourcePort,
    SourceRecord,
    SourceTopic,
)
from agents.recovery import Recovered, fence, recover

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

    async def stop(self) -> None:
        """Finish what is under way, in bounded time; nothing is fed any more."""


OpenLane = Callable[[LaneWorld], Lane]


class Lanes:
    """All lanes of this worker.

    They are opened anew at every assignment: between two of them somebody else may have owned
    any of them, and only a new fence tells.
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
        lanes: dict[int, Lane] = {}
        try:
            for number in numbers:
                self._table.forget(number)
                lanes[number] = self._open(number)
            rows = await asyncio.gather(
                *(self._recover(number, lanes[number], topics[number]) for number in numbers)
            )
        except BaseException:
            await _stop(lanes.values())
            raise
        self._lanes = lanes
        log.info(
            "took over %d lanes: %d changelog records in %.1f s",
            len(lanes),
            sum(rows),
            monotonic() - began,
        )

    async def _recover(self, number: int, lane: Lane, topics: Mapping[str, SourceTopic]) -> int:
        changelog = self._connections.changelog
        epoch = await fence(changelog, number, self._instance)
        recovered = await recover(changelog, number, epoch, self._table.rows(number))
        await lane.start(epoch, recovered, topics)
        return recovered.rows

    def feed(self, number: int, topic: str, records: Sequence[SourceRecord]) -> None:
        """Hand a chunk to its lane; raises ``KeyError`` when that is not being worked on."""
        self._lanes[number].feed(topic, records)

    async def stop(self) -> None:
        """Let all lanes finish what is under way, in bounded time, and drop them.

        What a lane could not finish is not done, so the next owner does it again.
        """
        lanes, self._lanes = self._lanes, {}
        await _stop(lanes.values())
        for number in lanes:
            self._table.forget(number)


async def _stop(lanes: Iterable[Lane]) -> None:
    await asyncio.gather(*(lane.stop() for lane in lanes))
