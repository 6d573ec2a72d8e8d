"""What the worker counts, as Prometheus wants it.

The hot path counts in plain attributes (``MemberStats``, ``LaneStats``, ``FollowerStats``);
they are read when somebody scrapes.
"""

import os
import platform
import time
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from agents.clocks import WallClock
from agents.following import FollowerStats
from agents.lane import STUCK_MS
from agents.members import MemberStats
from agents.stats import LaneStats
from agents.trainer import TrainerStats
from app import metric_list as declared
from app.foresight_metrics import foresight_values
from app.lifecycle_metrics import LifecycleFigures, lifecycle_values, observer_values
from app.metric_list import METRICS, Declared, Kind
from models.guard import Guard
from models.model import Model

_LANE_COUNTERS: Mapping[str, Declared] = {
    "records": declared.RECORDS,
    "skipped": declared.SKIPPED,
    "fired": declared.DEADLINES_FIRED,
    "stumbled": declared.DEADLINE_FAILURES,
    "groups": declared.GROUPS,
    "group_bytes": declared.GROUP_BYTES,
    "rows": declared.GROUP_ROWS,
    "outputs": declared.OUTPUTS,
    "repaired": declared.REPAIRS,
    "updates_repaired": declared.UPDATE_REPAIRS,
    "recovered": declared.RECOVERED_ROWS,
    "resent": declared.RESENT,
}
# Where MemberStats keeps the paths of bad records: all but two are about what the record says.
_REASONS = {"key": "key", "partition": "partition", "$": "content"}

_Values: TypeAlias = Mapping[tuple[str, ...], float]


class Histogram:
    """Counts per bucket; negative values (two machines' clocks) count as 0."""

    def __init__(self, metric: Declared) -> None:
        self.metric = metric
        self._counts = [0] * (len(metric.buckets) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one value."""
        seconds = max(seconds, 0.0)
        self._counts[bisect_left(self.metric.buckets, seconds)] += 1
        self._sum += seconds

    def family(self) -> HistogramMetricFamily:
        """Return it as Prometheus wants it: cumulative."""
        family = HistogramMetricFamily(self.metric.name, self.metric.says)
        bounds = [*map(str, self.metric.buckets), "+Inf"]
        total, buckets = 0, []
        for bound, count in zip(bounds, self._counts, strict=True):
            total += count
            buckets.append((bound, float(total)))
        family.add_metric([], buckets=buckets, sum_value=self._sum)
        return family


@dataclass(frozen=True, slots=True)
class Sources:
    """What the metrics are read from, when they are asked for."""

    members: MemberStats
    projection: FollowerStats
    working: Callable[[], Collection[int]]
    """The lanes being worked on."""
    rows: Callable[[], int]
    """Rows in the tables."""
    now: Callable[[], int | None]
    """Members' time, epoch milliseconds; None in stream time."""
    wall: WallClock
    """The brokers' time, which stamps what is sent."""
    ready: Callable[[], bool]
    version: str
    census: Callable[[], Mapping[str, int]]
    """Members by segment."""
    observer: FollowerStats | None = None
    """None when it is switched off."""
    figures: LifecycleFigures | None = None
    guard: Guard | None = None
    trainer: TrainerStats | None = None
    """None when predictions are switched off."""
    model: Callable[[], Model | None] = lambda: None
    """The newest churn model."""
    drift_noticed: Callable[[], int | None] = lambda: None
    """The last day on which drift was noticed, an epoch day."""
    partitions: int = 0
    lag_records: Callable[[], int] = lambda: 0
    lag_seconds: Callable[[], float] = lambda: 0.0
    data_dir: Path | None = None
    """On the file system whose room is told."""


class Metrics(Collector):
    """All metrics of one worker."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._started = time.time()
        self._lanes: dict[int, LaneStats] = {}
        self._ended = dict.fromkeys((*_LANE_COUNTERS, "crashed"), 0)
        self._latency = Histogram(declared.LATENCY)
        self._append_latency = Histogram(declared.APPEND_LATENCY)
        self._lateness = Histogram(declared.LATENESS)
        self._recovery = Histogram(declared.RECOVERY)
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    # --- rare events ---

    def lane_opened(self, number: int, stats: LaneStats) -> None:
        """Take note of a lane; what an earlier owner object of the same number counted is kept."""
        before = self._lanes.get(number)
        if before is not None:
            for name in self._ended:
                self._ended[name] += getattr(before, name)
        self._lanes[number] = stats

    def raised(self, arrived: int, due: int, now: int | None) -> None:
        """Note a trigger: the completing record's timestamp (0: a deadline), its due time, now.

        Epoch milliseconds, the last None in stream time, which knows no latency.
        """
        if now is None:
            return
        if not arrived:
            self._lateness.observe((now - due) / 1000)
            return
        self._latency.observe((now - due) / 1000)
        self._append_latency.observe((now - arrived) / 1000)

    def recovered(self, seconds: float) -> None:
        """Note that a lane recovered."""
        self._recovery.observe(seconds)

    # --- exposition ---

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """Return the metrics and their content type, by an HTTP ``Accept`` header."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    def collect(self) -> Iterator[Metric]:
        """Yield every metric of ``METRICS``, in their order."""
        values = {
            **self._worker(),
            **self._members(),
            **self._lane_values(),
            **self._closed(),
            **self._projection(),
            **observer_values(self._sources.observer, self._sources.wall.now()),
            **lifecycle_values(self._sources.figures),
            **foresight_values(
                self._sources.trainer,
                self._sources.model(),
                self._sources.drift_noticed(),
                self._sources.now(),
            ),
            **_disk(self._sources.data_dir),
        }
        histograms = {
            one.metric.name: one
            for one in (self._latency, self._append_latency, self._lateness, self._recovery)
        }
        for metric in METRICS:
            if metric.kind is Kind.HISTOGRAM:
                yield histograms[metric.name].family()
            else:
                yield _family(metric, values[metric.name])

    def _worker(self) -> dict[str, _Values]:
        sources = self._sources
        return {
            declared.READY.name: _one(sources.ready()),
            declared.BUILD.name: {(sources.version, platform.python_version()): 1},
            declared.STARTED.name: _one(self._started),
            declared.ROWS.name: _one(sources.rows()),
            declared.CLOCK_AHEAD.name: _one(sources.wall.ahead / 1000),
        }

    def _members(self) -> dict[str, _Values]:
        stats = self._sources.members
        letters: dict[tuple[str, ...], float] = {
            (reason,): float(stats.dead_letters.get(path, 0)) for path, reason in _REASONS.items()
        }
        letters[("engine",)] = self._over_lanes("crashed")
        return {
            declared.EVENTS.name: _labelled(stats.events),
            declared.DEAD_LETTERS.name: letters,
            declared.OPT_OUTS_SALVAGED.name: _one(stats.opt_outs_salvaged),
            declared.DUPLICATES.name: _one(stats.duplicates),
            declared.LATE.name: _one(stats.late),
            declared.AHEAD.name: _one(stats.ahead),
            declared.TRIGGERS.name: _labelled(stats.triggers),
            declared.CANCELLED.name: _by_labels(stats.cancelled),
            declared.VERDICTS.name: _by_labels(stats.verdicts),
            declared.TRANSITIONS.name: _by_labels(stats.transitions),
            declared.SEGMENT_MEMBERS.name: _labelled(self._sources.census()),
            declared.SEGMENT_CHANGES.name: _by_labels(stats.segment_changes),
            declared.ROWS_SAVED.name: _one(stats.rows_saved),
            declared.ROW_BYTES.name: _one(stats.state_bytes),
        }

    def _closed(self) -> dict[str, _Values]:
        guard = self._sources.guard
        feeds = guard.feeds() if guard is not None else {}
        return {
            declared.FEED_SILENT.name: {feed: float(silent) for feed, silent in feeds.items()},
            declared.BREAKER_OPEN.name: {
                (rule,): float(is_open)
                for rule, is_open in (guard.rules() if guard is not None else {}).items()
            },
        }

    def _lane_values(self) -> dict[str, _Values]:
        working = self._sources.working()
        lanes = [stats for number, stats in self._lanes.items() if number in working]
        queued: dict[tuple[str, ...], float] = {}
        for lane in lanes:
            for topic, count in lane.queued.items():
                queued[(topic,)] = queued.get((topic,), 0) + count
        return {
            **{
                metric.name: _one(self._over_lanes(name)) for name, metric in _LANE_COUNTERS.items()
            },
            **self._overdue(lanes),
            declared.LANES.name: _one(len(working)),
            declared.PARTITIONS.name: _one(self._sources.partitions),
            declared.LANES_HELD.name: _one(sum(lane.held for lane in lanes)),
            declared.LANES_STUCK.name: _one(sum(map(_is_stuck, lanes))),
            declared.LAG_RECORDS.name: _one(self._sources.lag_records()),
            declared.LAG_SECONDS.name: _one(self._sources.lag_seconds()),
            declared.DEADLINES_ARMED.name: _one(sum(lane.armed for lane in lanes)),
            declared.QUEUED.name: queued,
        }

    def _over_lanes(self, name: str) -> float:
        counted: int = sum(getattr(lane, name) for lane in self._lanes.values())
        return float(self._ended[name] + counted)

    def _overdue(self, lanes: Iterable[LaneStats]) -> dict[str, _Values]:
        now = self._sources.now()
        oldest = age = 0
        for lane in lanes:
            if now is None or lane.next_due is None or lane.next_due >= now:
                continue
            oldest = max(oldest, now - lane.next_due)
            if lane.safe_time >= 0:
                age = max(age, now - lane.safe_time)
        return {
            declared.OVERDUE.name: _one(oldest / 1000),
            declared.SAFE_TIME_AGE.name: _one(age / 1000),
        }

    def _projection(self) -> dict[str, _Values]:
        stats = self._sources.projection
        since = stats.waiting_since
        # Records are stamped by the brokers' clock, however fast members' time runs.
        lag = 0.0 if since is None else max((self._sources.wall.now() - since) / 1000, 0.0)
        return {
            declared.PROJECTION_UP.name: _one(stats.connected),
            declared.PROJECTION_BEHIND.name: _one(stats.behind),
            declared.PROJECTION_LAG.name: _one(lag),
            declared.PROJECTION_WRITTEN.name: _one(stats.written),
            declared.PROJECTION_FAILURES.name: _one(stats.failures),
            declared.PROJECTION_REFUSED.name: _one(stats.refused),
            declared.PROJECTION_LOSSES.name: _one(stats.losses),
        }


def _is_stuck(lane: LaneStats) -> bool:
    # A lane to which nothing happens, because no broker answers, does not look at itself either.
    since = lane.waiting_since
    return lane.stuck or (since is not None and time.monotonic() * 1000 - since >= STUCK_MS)


def _disk(folder: Path | None) -> dict[str, _Values]:
    try:
        room = None if folder is None else os.statvfs(folder)
    except OSError:  # it was unmounted: whoever writes there will say so
        room = None
    free = {} if room is None else _one(room.f_bavail * room.f_frsize)
    size = {} if room is None else _one(room.f_blocks * room.f_frsize)
    return {declared.DISK_FREE.name: free, declared.DISK_SIZE.name: size}


def _one(value: float) -> _Values:
    return {(): float(value)}


def _labelled(counts: Mapping[str, int]) -> _Values:
    return {(name,): count for name, count in counts.items()}


def _by_labels(counts: Mapping[tuple[str, str], int]) -> _Values:
    return {labels: count for labels, count in counts.items()}  # noqa: C416 - a wider key type


def _family(metric: Declared, values: _Values) -> Metric:
    make = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
    family = make(metric.name, metric.says, labels=metric.labels)
    for labels, value in sorted(values.items()):
        family.add_metric(labels, value)
    return family
