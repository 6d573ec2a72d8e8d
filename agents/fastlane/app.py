"""The Faust app: its settings, its one agent, and how its parts know each other."""

import asyncio
import os
from collections.abc import Iterable
from socket import gethostname
from typing import Any

import faust
from faust.types import Message

from agents.clocks import WallClock
from agents.fastlane.assignor import AddressedAssignor
from agents.fastlane.connections import Connections
from agents.fastlane.consumer import FastTransport
from agents.fastlane.failstop import fail_stop
from agents.fastlane.micro_batches import MicroBatches
from agents.fastlane.recovery import LaneTableManager
from agents.fastlane.settings import SERVICE_LOG, FastLaneConfig
from agents.fastlane.source import KafkaSource
from agents.fastlane.table import LaneTable
from agents.lanes import Lane, Lanes, LaneWorld, OpenLane
from agents.partitioner import partition_function
from agents.ports import Place
from agents.turns import Turns


class FastApp(faust.App):  # type: ignore[misc]
    """A Faust app whose member topics are read as lanes.

    Add agents, tables, timers, pages and commands as to any Faust app; other topics go through
    Faust's own path, one record at a time.
    """

    logger = SERVICE_LOG

    def __init__(
        self, config: FastLaneConfig, open_lane: OpenLane, clock: WallClock, turns: Turns
    ) -> None:
        self.lane_config = config
        self.turns = turns
        self.address = ""
        """Where this worker answers other workers; to be set before the app joins its group."""
        self._open_lane = open_lane
        super().__init__(
            config.group,
            broker=";".join(f"kafka://{address}" for address in config.brokers),
            id_format="{id}",
            autodiscover=False,
            datadir=config.data_dir,
            store="memory://",
            ConsumerScheduler=MicroBatches,
            PartitionAssignor=AddressedAssignor,
            Table=LaneTable,
            TableManager=LaneTableManager,
            topic_partitions=config.partitions,
            topic_replication_factor=config.replication_factor,
            topic_disable_leader=True,
            table_standby_replicas=0,
            recovery_consistency_check=False,
            stream_recovery_delay=0.0,
            stream_wait_empty=True,
            # In chunks: what is queued here is lost time when a lane is revoked.
            stream_buffer_maxsize=64,
            broker_session_timeout=config.session_timeout,
            broker_heartbeat_interval=config.heartbeat_interval,
            broker_rebalance_timeout=config.rebalance_timeout,
            broker_commit_interval=config.commit_interval,
            consumer_auto_offset_reset="earliest",
            producer_linger=0.0,
            web_enabled=False,
            broker_credentials=config.credentials,
            worker_redirect_stdouts=False,
        )
        self.connections = Connections(config, clock, lambda: turns.linger)
        self.table = self.Table(
            config.table,
            partitions=config.partitions,
            changelog=config.changelog,
            partition_of=partition_function(config.partitioner),
            extra_topic_configs=config.changelog_settings,
        )
        instance = f"{gethostname()}-{os.getpid()}"
        self.lanes = Lanes(
            self.table,
            self.connections.changelog,
            self.connections.source_topics,
            self._new_lane,
            instance,
        )

    def address_of(self, lane: int) -> str | None:
        """Return where the worker answers that owns a lane; None when nobody has said."""
        address: str | None = self.assignor.address_of(self.lane_config.changelog, lane)
        return address

    def _new_lane(self, number: int) -> Lane:
        config, connections = self.lane_config, self.connections
        return self._open_lane(
            LaneWorld(
                number=number,
                rows=self.table.rows(number),
                changelog=connections.changelog,
                updates=connections.updates,
                source=KafkaSource(self.consumer.reading, connections.ends, config.topics),
                outputs=connections.outputs,
                on_failure=fail_stop,
            )
        )

    async def ends(self, lanes: Iterable[int]) -> dict[Place, int]:
        """Return where the member topics of these lanes end for who reads them all.

        Waits for as long as no broker answers, and until reading has started.
        """
        source = KafkaSource(self.consumer.reading, self.connections.ends, self.lane_config.topics)
        numbers = sorted(lanes)
        found = await asyncio.gather(*map(source.ends, numbers))
        return {
            Place(topic, number): end
            for number, ends in zip(numbers, found, strict=True)
            for topic, end in ends.items()
        }

    def reached(self, place: Place) -> int:
        """Return the offset below which everything in a partition is dealt with for good."""
        offset: int = self.consumer.reading.offsets.reached(place)
        return offset

    def _new_transport(self) -> FastTransport:
        return FastTransport(self.conf.broker_consumer, self)

    def _crash(self, reason: BaseException) -> None:
        # Faust would end in an orderly way, committing on the way out.
        if not self.should_stop:
            fail_stop(reason)
        super()._crash(reason)


def create_fast_app(
    config: FastLaneConfig,
    open_lane: OpenLane,
    clock: WallClock | None = None,
    turns: Turns | None = None,
) -> FastApp:
    """Return an app with the agent that feeds the lanes; nothing is connected yet.

    ``clock`` is told the brokers' time, and stamps what is sent. ``turns`` are those of the lanes:
    they tell how often to poll.
    """
    app = FastApp(config, open_lane, clock or WallClock(), turns or Turns())
    source = app.topic(
        *config.topics,
        key_type=bytes,
        value_type=bytes,
        key_serializer="raw",
        value_serializer="raw",
    )

    @app.agent(source, name="lanes", concurrency=1)  # type: ignore[untyped-decorator]
    async def feed_lanes(stream: Any) -> None:
        # An exception that leaves an agent acknowledges what it was working on.
        polled: list[Message] = []
        try:
            async for event in stream.noack().events():
                polled.append(event.message)
                event.ack()
                # Each chunk takes Faust a round of the loop. Fed together, lanes ask together.
                if stream.channel.empty():
                    for chunk in polled:
                        place = Place(chunk.topic, chunk.partition)
                        app.tables.recovery.handover.feed(chunk.key, place, chunk.value)
                    polled.clear()
        except Exception as error:
            fail_stop(error)

    return app
