"""The worker: the one place that chooses real things and puts them together."""

import asyncio
import logging
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from mode import Service

from agents.clocks import FollowClock, ScaledClock, StreamClock, WallClock
from agents.fastlane.app import FastApp, create_fast_app
from agents.fastlane.settings import FastLaneConfig
from agents.following import FollowerConfig
from agents.lane import Lane, LaneLimits
from agents.lanes import LaneWorld
from agents.members import BadShare, MemberEvent, MemberFold, MemberStats, placed_by
from agents.partitioner import partition_function
from agents.ports import Clock
from agents.serving import Projector
from agents.turns import Turns
from app.census import Census
from app.foresight import Foresight
from app.guard_keeper import GuardKeeper
from app.kafka_security import for_aiokafka, for_faust, for_librdkafka
from app.lag import LagWatch
from app.lifecycle_metrics import LifecycleFigures
from app.metrics import Metrics, Sources
from app.observed_store import ObservedStore
from app.observing import observer
from app.redis_store import RedisStore, key_prefix
from app.serving import Engine, Serving, advertised
from app.stack.commands import default_data_dir
from app.topology import changelog_name, client_config, output_topics
from app.web.ports import Health
from config.settings import Settings
from models.events import MEMBER_TOPICS
from models.guard import Guard
from models.member import Member
from models.rulebook import RuleBook

log = logging.getLogger(__name__)

MemberLane: TypeAlias = Lane[Member, MemberEvent]

PROJECTOR_REST = 1.0
"""What Redis has lost is written again while lanes work, and they cannot wait for it."""

CATCHING_UP_RECORDS = 10_000
"""A projector that is further behind has the observer rest: people look for members first."""


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


class Part(Protocol):
    """Something that runs beside the lanes, in tasks of its own."""

    def start(self) -> None:
        """Begin."""

    async def stop(self) -> None:
        """End."""


class Worker:
    """One worker's parts; nothing is connected before its app runs."""

    def __init__(self, settings: Settings, book: RuleBook, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        stats = MemberStats()
        self._book = book
        self._wall = wall = clock if isinstance(clock, WallClock) else WallClock()
        self._partition_of = partition_function(settings.partitioner)
        self._turns = Turns()
        self._store = RedisStore.connect(
            settings.redis, key_prefix(settings.app_id), settings.redis_timeout_ms
        )
        self._projector = Projector(
            FollowerConfig(
                settings.broker,
                f"{settings.app_id}-projector",
                (settings.topic("member-updates"),),
                settings.redis_batch_size,
                settings.session_timeout_ms / 1000,
                for_aiokafka(settings),
                rest=PROJECTOR_REST,
            ),
            self._store,
            pressed=lambda: self._turns.pressed,
        )
        self._observed = ObservedStore.connect(
            settings.redis, key_prefix(settings.app_id), settings.redis_timeout_ms, clock.now
        )
        self._observer = (
            observer(settings, book, self._observed, self._others_first)
            if settings.observer
            else None
        )
        self._figures: LifecycleFigures | None = None
        if self._observer is not None:
            self._figures = LifecycleFigures(self._observed.lifecycle)
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
        data_dir = (settings.data_dir or default_data_dir()) / "workers"
        data_dir.mkdir(parents=True, exist_ok=True)
        self._lag = LagWatch(
            lambda: self.app.lanes.running,
            lambda lanes: self.app.ends(lanes),
            lambda place: self.app.reached(place),
            time.monotonic,
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
                partitions=settings.partitions,
                lag_records=self._lag.records,
                lag_seconds=self._lag.seconds,
                data_dir=data_dir,
                observer=None if self._observer is None else self._observer.stats,
                figures=self._figures,
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
        self.app: FastApp = create_fast_app(
            fast_lane_config(settings, data_dir),
            self._open_lane,
            wall,
            self._turns,
        )
        self.app.lanes.on_taken_over = self._metrics.recovered
        http = self._serving()
        self.app.add_dependency(self._listening(http))
        self.app.service(self._beside(http))

    def _others_first(self) -> bool:
        return self._turns.pressed or self._projector.stats.behind > CATCHING_UP_RECORDS

    def _foreseen(self) -> dict[str, Any]:
        """Return what the metrics ask of predictions, if they are switched on."""
        foresight = self._foresight
        if foresight is None:
            return {}
        return {
            "trainer": foresight.trainer.stats,
            "model": foresight.model,
            "drift_noticed": foresight.drift_noticed,
        }

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
            turns=self._turns,
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

    def _serving(self) -> Serving:
        """Return what answers over HTTP."""
        engine = Engine(
            book=self._book,
            clock=self._clock,
            wall=self._wall.now,
            health=self._health,
            metrics=self._metrics.exposition,
            lane_of=lambda key: self._partition_of(key, self._settings.partitions),
            rows=self._rows,
            project=self._fold.project,
            address_of=self.app.address_of,
            guard=self._guard,
            foresight=self._foresight,
        )
        return Serving(self._settings, engine, self._store, self._observed, self._figures)

    def _listening(self, http: Serving) -> Service:
        """Return the service that Faust starts first: the group is told where it listens."""
        app, settings = self.app, self._settings

        class Listening(Service):  # type: ignore[misc]
            async def on_start(self, *_: Any) -> None:
                url = await http.start()
                app.address = advertised(url, settings.broker)
                log.info("listening on %s", url)

            async def on_stop(self, *_: Any) -> None:
                await http.stop()

        return Listening()

    def _beside(self, http: Serving) -> type[Service]:
        """Return the service that Faust starts once the lanes work, and stops first."""
        beside = [
            self._projector,
            self._observer,
            self._figures,
            self._census,
            self._lag,
            self._foresight,
            self._keeper(),
        ]
        parts: list[Part] = [part for part in beside if part is not None]
        stores = self._store, self._observed

        class Beside(Service):  # type: ignore[misc]
            async def on_start(self, *_: Any) -> None:
                log.info("serving on %s", http.url)
                for part in parts:
                    part.start()

            async def on_stop(self, *_: Any) -> None:
                # At once: each takes leave of a broker, and a stop has five seconds for all.
                stopping = (http.stop(), *(part.stop() for part in parts))
                for ended in await asyncio.gather(*stopping, return_exceptions=True):
                    if isinstance(ended, BaseException):
                        log.warning("a part did not stop as it should: %r", ended)
                for store in stores:
                    await store.close()

        return Beside
