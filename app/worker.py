"""The worker: the one place that chooses real things and puts them together."""

import logging
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from mode import Service

from agents.clocks import FollowClock, ScaledClock, StreamClock, WallClock
from agents.fastlane.app import FastApp, create_fast_app
from agents.fastlane.settings import FastLaneConfig
from agents.lane import Lane, LaneLimits
from agents.lanes import LaneWorld
from agents.members import BadShare, MemberEvent, MemberFold, MemberStats, placed_by
from agents.partitioner import partition_function
from agents.ports import Clock
from agents.serving import Projector, ProjectorConfig
from app.census import Census
from app.foresight import Foresight
from app.guard_keeper import GuardKeeper
from app.http import Answers, Health, HttpServer
from app.kafka_security import for_aiokafka, for_faust, for_librdkafka
from app.member_lookup import MemberLookup
from app.metrics import Metrics, Sources
from app.redis_store import RedisStore, key_prefix
from app.stack.commands import default_data_dir
from app.topology import changelog_name, client_config, output_topics
from config.settings import Settings
from models.events import MEMBER_TOPICS
from models.guard import Guard
from models.member import Member
from models.rulebook import RuleBook

log = logging.getLogger(__name__)

MemberLane: TypeAlias = Lane[Member, MemberEvent]


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
        updates=settings.topic("member-updates"),
        placed_by=placed_by,
        data_dir=data_dir,
        partitioner=settings.partitioner,
        changelog_settings=settings.changelog_topic_settings(),
        replication_factor=settings.replication_factor,
        security=for_aiokafka(settings),
        librdkafka_security=for_librdkafka(settings),
        credentials=for_faust(settings),
        commit_interval=settings.commit_interval_ms / 1000,
        session_timeout=settings.session_timeout_ms / 1000,
    )


class Worker:
    """One worker's parts; nothing is connected before its app runs."""

    def __init__(self, settings: Settings, book: RuleBook, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        stats = MemberStats()
        wall = clock if isinstance(clock, WallClock) else WallClock()
        self._partition_of = partition_function(settings.partitioner)
        self._store = RedisStore.connect(
            settings.redis, key_prefix(settings.app_id), settings.redis_timeout_ms
        )
        self._projector = Projector(
            ProjectorConfig(
                settings.broker,
                f"{settings.app_id}-projector",
                settings.topic("member-updates"),
                settings.redis_batch_size,
                settings.session_timeout_ms / 1000,
                for_aiokafka(settings),
            ),
            self._store,
        )
        policy = book.policy
        self._guard: Guard | None = None
        # What is usual is learnt from life itself: history and time that is made are no baseline.
        if isinstance(clock, WallClock) and (policy.feeds or policy.breaker):
            self._guard = Guard(book, lambda: len(self.app.lanes.running))
        self._foresight: Foresight | None = None
        if book.predictions is not None:
            self._foresight = Foresight(settings, book.predictions, live=clock.until is None)
        self._census = Census(
            book,
            lambda: self.app.lanes.running,
            self._rows,
            lambda: sum(stats.segment_changes.values()),
        )
        self._metrics = Metrics(
            Sources(
                members=stats,
                projection=self._projector.stats,
                working=lambda: self.app.lanes.running,
                rows=lambda: len(self.app.table.data),
                now=clock.now,
                wall=wall,
                ready=lambda: self._health().ready,
                version=version("member-lifecycle"),
                census=lambda: self._census.members,
                guard=self._guard,
                **self._foreseen(),
            )
        )
        self._fold = MemberFold(
            book,
            output_topics(settings),
            self._partition_of,
            settings.partitions,
            f"/member-lifecycle/{settings.app_id}",
            BadShare(settings.bad_ratio, settings.bad_min_records),
            stats,
            settings.topic_prefix,
            self._metrics.raised,
            clock.now if isinstance(clock, WallClock) else None,
            self._guard,
            None if self._foresight is None else self._foresight.follower,
        )
        data_dir = (settings.data_dir or default_data_dir()) / "workers"
        data_dir.mkdir(parents=True, exist_ok=True)
        self.app: FastApp = create_fast_app(
            fast_lane_config(settings, data_dir),
            self._open_lane,
            wall,
        )
        self.app.lanes.on_taken_over = self._metrics.recovered
        self.app.service(self._serving())

    def _foreseen(self) -> dict[str, Any]:
        """Return what the metrics ask of predictions, if they are switched on."""
        foresight = self._foresight
        if foresight is None:
            return {}
        return {"trainer": foresight.trainer.stats, "model": foresight.model}

    def _open_lane(self, world: LaneWorld) -> MemberLane:
        lane: MemberLane = Lane(
            world.number,
            self._fold,
            world.rows,
            changelog=world.changelog,
            updates=world.updates,
            source=world.source,
            outputs=world.outputs,
            clock=self._clock,
            on_failure=world.on_failure,
            limits=LaneLimits(group_bytes=self._settings.group_max_bytes),
            days=None if self._foresight is None else self._foresight.follower,
        )
        self._metrics.lane_opened(world.number, lane.stats)
        return lane

    def _health(self) -> Health:
        if self.app.lanes.running:
            return Health()
        return Health(("no lanes are assigned and recovered yet",))

    def _rows(self, number: int) -> Mapping[bytes, bytes] | None:
        if number not in self.app.lanes.running:
            return None
        rows: Mapping[bytes, bytes] = self.app.table.rows(number)
        return rows

    def _keeper(self) -> GuardKeeper | None:
        clock = self._clock
        if self._guard is None or not isinstance(clock, WallClock):
            return None
        return GuardKeeper(self._guard, self._store, clock.now)

    def _serving(self) -> type[Service]:
        """Return the service that Faust starts and stops with the app: HTTP and the projection."""
        lookup = MemberLookup(
            lane_of=lambda key: self._partition_of(key, self._settings.partitions),
            rows=self._rows,
            project=self._fold.project,
            store=self._store,
        )
        http = HttpServer(Answers(self._health, self._metrics.exposition, lookup.document))
        settings, projector, store = self._settings, self._projector, self._store
        keeper, census, foresight = self._keeper(), self._census, self._foresight

        class Serving(Service):  # type: ignore[misc]
            async def on_start(self, *_: Any) -> None:
                log.info("serving on %s", await http.start(settings.http_host, settings.http_port))
                projector.start()
                census.start()
                if foresight is not None:
                    foresight.start()
                if keeper is not None:
                    keeper.start()

            async def on_stop(self, *_: Any) -> None:
                await http.stop()
                await census.stop()
                if foresight is not None:
                    await foresight.stop()
                if keeper is not None:
                    await keeper.stop()
                await projector.stop()
                await store.close()

        return Serving
