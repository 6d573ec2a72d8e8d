"""Who recovers when: Faust says which lanes are ours, the lanes recover themselves.

Faust reads changelogs through the group's consumer up to high-water marks. A lane reads its own,
up to its own fence; the group's consumer never fetches a changelog, so a row that a zombie writes
afterwards has no way in.
"""

from functools import partial

from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.types import TP
from mode import Service

from agents.fastlane.failstop import fail_stop
from agents.fastlane.settings import SERVICE_LOG
from agents.handover import Handover
from agents.ports import Place


class LaneRecovery(Recovery):  # type: ignore[misc]
    """After every assignment: hand its lanes over, and tell Faust when they work."""

    logger = SERVICE_LOG
    _handover: Handover | None = None

    @property
    def handover(self) -> Handover:
        """Return what takes lanes over and finishes them."""
        if self._handover is None:
            config = self.app.lane_config
            self._handover = Handover(
                self.app.lanes,
                self.app.consumer.reading,
                config.topics,
                fail_stop,
                config.last_commit_timeout,
            )
        return self._handover

    def on_partitions_revoked(self, _: set[TP]) -> None:
        """Give up a recovery under way: its fences are void."""
        self.handover.void()

    async def on_stop(self) -> None:
        """Give up a recovery under way."""
        await self.handover.give_up()

    @Service.task  # type: ignore[untyped-decorator]
    async def _restart_recovery(self) -> None:
        while not await self.wait_for_stopped(self.signal_recovery_start):
            self.signal_recovery_start.clear()
            app = self.app
            assigned = set(app.consumer.assignment())
            sources = {tp for tp in assigned if not self._is_changelog_tp(tp)}
            app.in_recovery = True
            await app.on_rebalance_complete.send()
            await self.handover.assigned(
                {Place(*tp) for tp in sources}, partial(self._work, sources, self._generation_id)
            )

    async def _work(self, sources: set[TP], generation: int) -> None:
        app, consumer = self.app, self.app.consumer
        for table in self.tables.values():
            await table.on_recovery_completed(self.actives_for_table[table], set())
        app.in_recovery = False
        consumer.resume_partitions(sources)
        if app.consumer_generation_id != generation:
            return
        self.completed.set()
        app.flow_control.resume()
        consumer.resume_flow()
        await app._fetcher.maybe_start()
        self.tables.on_actives_ready()
        self.tables.on_standbys_ready()
        app.on_rebalance_end()

    @Service.task  # type: ignore[untyped-decorator]
    async def _slurp_changelogs(self) -> None:
        """Do nothing: no changelog record comes through the group's consumer."""

    @Service.task  # type: ignore[untyped-decorator]
    async def _publish_stats(self) -> None:
        """Do nothing: there are no high-water marks to count down to."""


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
        await self.app.connections.check_own_topics()
        await self.recovery.start()

    async def on_stop(self) -> None:
        """Disconnect after the lanes have finished."""
        await super().on_stop()
        await self.app.lanes.stop()
        await self.app.connections.stop()
