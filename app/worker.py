"""The worker: the one place that chooses real things and puts them together."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from agents.clocks import FollowClock, ScaledClock, StreamClock, WallClock
from agents.fastlane.app import FastApp, create_fast_app
from agents.fastlane.lanes import LaneWorld
from agents.fastlane.settings import FastLaneConfig
from agents.lane import Lane, LaneLimits
from agents.members import BadShare, MemberEvent, MemberFold, MemberStats
from agents.partitioner import partition_function
from agents.ports import Clock
from app.stack.commands import default_data_dir
from app.topology import changelog_name, client_config, output_topics
from config.settings import Settings
from models.events import MEMBER_TOPICS
from models.member import Member
from models.rulebook import RuleBook

MemberLane: TypeAlias = Lane[Member, MemberEvent]


@dataclass(slots=True)
class Worker:
    """A worker's parts, for whoever serves or measures them."""

    settings: Settings
    book: RuleBook
    clock: Clock
    stats: MemberStats = field(default_factory=MemberStats)
    app: FastApp = field(init=False)


def choose_clock(name: str, until: int | None, settings: Settings) -> Clock:
    """Return the clock of ``--clock``: wall, stream, scaled:F or follow:FILE.

    Raises ``ValueError`` with one sentence for any other name, and ``OSError`` for the file.
    """
    kind, _, argument = name.partition(":")
    match kind:
        case "wall" if not argument:
            return WallClock()
        case "stream" if not argument:
            return StreamClock(newest_timestamp(settings) if until is None else until)
        case "scaled":
            try:
                factor = float(argument)
            except ValueError:
                raise ValueError(f"scaled:{argument}: the factor must be a number") from None
            return ScaledClock(WallClock().now(), factor)
        case "follow" if argument:
            return FollowClock(Path(argument))
    raise ValueError(f"{name!r} is no clock: wall, stream, scaled:FACTOR or follow:FILE")


def newest_timestamp(settings: Settings) -> int:
    """Return the greatest record timestamp over all member topics; 0 when there is no record."""
    admin = AdminClient(client_config(settings))
    asked = {
        TopicPartition(settings.topic(topic), partition): OffsetSpec.max_timestamp()
        for topic in MEMBER_TOPICS
        for partition in range(settings.partitions)
    }
    answers = [future.result() for future in admin.list_offsets(asked).values()]
    return max((answer.timestamp for answer in answers), default=0)


def fast_lane_config(settings: Settings, data_dir: Path) -> FastLaneConfig:
    """Return what the fast lane needs of the settings."""
    return FastLaneConfig(
        broker=settings.broker,
        group=settings.app_id,
        topics=tuple(settings.topic(topic) for topic in MEMBER_TOPICS),
        partitions=settings.partitions,
        changelog=changelog_name(settings),
        data_dir=data_dir,
        partitioner=settings.partitioner,
        changelog_settings=settings.changelog_topic_settings(),
        replication_factor=settings.replication_factor,
        commit_interval=settings.commit_interval_ms / 1000,
        session_timeout=settings.session_timeout_ms / 1000,
    )


def create_worker(settings: Settings, book: RuleBook, clock: Clock) -> Worker:
    """Put a worker together; nothing is connected before it runs."""
    worker = Worker(settings, book, clock)
    fold = MemberFold(
        book,
        output_topics(settings),
        partition_function(settings.partitioner),
        settings.partitions,
        f"/member-lifecycle/{settings.app_id}",
        BadShare(settings.bad_ratio, settings.bad_min_records),
        worker.stats,
        settings.topic_prefix,
    )
    limits = LaneLimits(group_bytes=settings.group_max_bytes)

    def open_lane(world: LaneWorld) -> MemberLane:
        return Lane(
            world.number,
            fold,
            world.rows,
            changelog=world.changelog,
            source=world.source,
            outputs=world.outputs,
            clock=clock,
            on_failure=world.on_failure,
            limits=limits,
        )

    data_dir = (settings.data_dir or default_data_dir()) / "workers"
    data_dir.mkdir(parents=True, exist_ok=True)
    worker.app = create_fast_app(fast_lane_config(settings, data_dir), open_lane)
    return worker
