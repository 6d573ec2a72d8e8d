"""Who recovers when: Faust says which lanes are ours, the lanes recover themselves.

Faust reads changelogs through the group's consumer up to high-water marks. A lane reads its own,
up to its own fence; the group's consumer never fetches a changelog, so a row that a zombie writes
afterwards has no way in.
"""

import asyncio
import logging

from aiokafka.errors import IllegalStateError, KafkaError
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.types import TP
from mode import Service

from agents.fastlane.ends import is_curable
from agents.fastlane.failstop import fail_stop
from agents.fastlane.settings import SERVICE_LOG

log = logging.getLogger(__name__)

RETRY_SECONDS = 0.5


class LaneRecovery(Recovery):  # type: ignore[misc]
    """After every assignment: recover its lanes, then start reading, then let the lanes work."""

    logger = SERVICE_LOG
    _handover: asyncio.Task[None] | None = None

    def on_partitions_revoked(self, _: set[TP]) -> None:
        """Give up a recovery under way: its fences are void."""
        if self._handover is not None:
            self._handover.cancel()

    async def give_up(self) -> None:
        """Give up a recovery under way, and wait until it has left nothing behind."""
        if self._handover is not None:
            self._handover.cancel()
            await asyncio.wait([self._handover])

    async def on_stop(self) -> None:
        """Give up a recovery under way."""
        await self.give_up()

    @Service.task  # type: ignore[untyped-decorator]
    async def _restart_recovery(self) -> None:
        while not await self.wait_for_stopped(self.signal_recovery_start):
            self.signal_recovery_start.clear()
            await self.give_up()
            self._handover = asyncio.create_task(self._hand_over(self._generation_id))

    async def _hand_over(self, generation: int) -> None:
        try:
            await self._recover_and_resume(generation)
        except Exception as error:
            fail_stop(error)

    async def _recover_and_resume(self, generation: int) -> None:
        app, consumer = self.app, self.app.consumer
        assigned = set(consumer.assignment())
        sources = {tp for tp in assigned if not self._is_changelog_tp(tp)}
        lanes = _whole_lanes(sources, app.lane_config.topics)
        self.app.in_recovery = True
        await app.on_rebalance_complete.send()
        await app.lanes.take_over(lanes)
        for table in self.tables.values():
            await table.on_recovery_completed(self.actives_for_table[table], set())
        self.app.in_recovery = False
        consumer.resume_partitions(sources)
        if sources and not await self._start_reading(sources):
            return
        if app.consumer_generation_id != generation:
            return
        self.completed.set()
        app.flow_control.resume()
        consumer.resume_flow()
        await app._fetcher.maybe_start()
        self.tables.on_actives_ready()
        self.tables.on_standbys_ready()
        app.on_rebalance_end()

    async def _start_reading(self, sources: set[TP]) -> bool:
        while True:
            try:
                await self.app.consumer.start_reading(sources)
            except IllegalStateError:
                return False  # revoked meanwhile; the next assignment starts over
            except KafkaError as error:
                if not is_curable(error):
                    raise
                log.warning("cannot start reading yet, trying again: %r", error)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return True

    @Service.task  # type: ignore[untyped-decorator]
    async def _slurp_changelogs(self) -> None:
        """Do nothing: no changelog record comes through the group's consumer."""

    @Service.task  # type: ignore[untyped-decorator]
    async def _publish_stats(self) -> None:
        """Do nothing: there are no high-water marks to count down to."""


def _whole_lanes(sources: set[TP], topics: tuple[str, ...]) -> set[int]:
    lanes = {tp.partition for tp in sources if tp.topic in topics}
    torn = {lane for lane in lanes if not {TP(topic, lane) for topic in topics} <= sources}
    if torn:
        fail_stop(f"lanes {sorted(torn)} were assigned without some of the topics {topics}")
    return lanes


class LaneTableManager(TableManager):  # type: ignore[misc]
    """The ``TableManager`` of a fast lane app; it also opens and closes the lanes' connections."""

    logger = SERVICE_LOG
    _recovery: LaneRecovery | None

    @property
    def recovery(self) -> LaneRecovery:
        """Return the recovery service."""
        if self._recovery is None:
            self._recovery = LaneRecovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery

    async def on_start(self) -> None:
        """Connect, declare the changelog if it is missing, and let Faust subscribe."""
        await self.app.connections.start()
        await self._update_channels()
        await self.app.connections.check_changelog()
        await self.recovery.start()

    async def on_stop(self) -> None:
        """Disconnect after the lanes have finished."""
        await super().on_stop()
        await self.app.lanes.stop()
        await self.app.connections.stop()
