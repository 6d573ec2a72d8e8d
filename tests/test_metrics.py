"""The metrics: declared, documented, named by the conventions, and true."""

import json
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from core_builders import shipped_book
from guard_kit import MONDAY, TUESDAY_NOON, Shop, by_day, until
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

from agents.clocks import WallClock
from agents.fold import Decoded
from agents.following import FollowerStats
from agents.lane import STUCK_MS
from agents.members import MEMBER, BadShare, MemberFold, MemberStats, OutputTopics
from agents.partitioner import murmur2_partition
from agents.stats import LaneStats
from agents.trainer import TrainerStats
from app.foresight_metrics import foresight_values
from app.metric_list import METRICS, Declared, Kind, documentation
from app.metrics import Metrics, Sources
from models.rates import MOST_FEEDS
from models.times import DAY

DOCUMENT = Path(__file__).parents[1] / "docs" / "metrics.md"
NOW = 1_795_255_200_000
REMAKE = "python -c 'from app.metric_list import documentation as d; print(d(), end=\"\")'"


class World:
    """A worker of two lanes, as far as its metrics are concerned."""

    def __init__(self) -> None:
        self.members = MemberStats()
        self.projection = FollowerStats()
        self.working = {0, 1}
        self.now: int | None = NOW
        self.ready = True
        self.shop = Shop()
        self.guard = self.shop.guard
        self.trainer: TrainerStats | None = TrainerStats()
        self.lag = 0.5
        self.metrics = Metrics(
            Sources(
                members=self.members,
                projection=self.projection,
                working=lambda: self.working,
                rows=lambda: 12,
                now=lambda: self.now,
                wall=WallClock(),
                ready=lambda: self.ready,
                version="1.2.3",
                census=lambda: {"vip": 3, "advocates": 0},
                guard=self.guard,
                trainer=self.trainer,
                drift_noticed=lambda: 20_000,
                partitions=8,
                lag_records=lambda: int(self.lag * 10),
                lag_seconds=lambda: self.lag,
                data_dir=Path(__file__).parent,
            )
        )
        self.lanes = [LaneStats(), LaneStats()]
        for number, lane in enumerate(self.lanes):
            self.metrics.lane_opened(number, lane)

    def value(self, name: str, **labels: str) -> float:
        text = self.metrics.exposition()[0].decode()
        found = [
            sample.value
            for family in parse_text(text)
            for sample in family.samples
            if sample.name == name and sample.labels == labels
        ]
        assert len(found) == 1, f"{name} {labels}: {found}"
        return found[0]


# --- the list ---


def test_the_documentation_is_that_of_the_declarations() -> None:
    assert DOCUMENT.read_text() == documentation(), f"make it again: {REMAKE} > docs/metrics.md"


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_every_metric_is_named_by_the_conventions(metric: Declared) -> None:
    assert re.fullmatch(r"lifecycle_[a-z]+(_[a-z]+)*", metric.name)
    assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER)
    if metric.kind is Kind.HISTOGRAM:
        assert metric.name.endswith("_seconds")
        assert list(metric.buckets) == sorted(set(metric.buckets))
    assert ("bytes" in metric.name) == bool(re.search(r"_bytes(_total)?$", metric.name))
    assert metric.says.endswith(".")
    assert metric.act.endswith(".")


def test_every_metric_is_declared_under_a_name_of_its_own_and_documented_and_exported() -> None:
    names = [metric.name for metric in METRICS]
    assert len(names) == len(set(names))
    exported = [family.name for family in World().metrics.collect()]
    assert exported == [name.removesuffix("_total") for name in names]
    assert re.findall(r"^## `(.*)`$", DOCUMENT.read_text(), re.MULTILINE) == names


# What these may say is the vocabulary of the product or of its producers, never an id.
BOUNDED = {"type", "reason", "rule", "verdict", "before", "after", "topic", "version", "python"}
BOUNDED.add("source")  # of the feeds that are watched: at most 256
BOUNDED |= {"segment", "change"}  # of the segments in the file: at most 64
BOUNDED.add("sent")  # yes or no
BOUNDED |= {"members", "kind"}  # of the trainer: active or all; what it may decide
# Of the observer: its own words, and sources and stated reasons, of which it keeps 100 apart.
BOUNDED |= {"stage", "window", "weeks", "arm", "band"}


def test_no_label_grows_with_the_members() -> None:
    assert {label for metric in METRICS for label in metric.labels} == BOUNDED


# --- whatever is sent ---

HOSTILE = '"} 1\n# HELP x\\'
"""Closes a label, begins a line and ends with what escapes the quote behind it."""


def hostile(number: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Topic and event of somebody who puts something new into every field."""
    who = f"m{number}"
    new = f"{HOSTILE}{number}"
    for topic, kind, fields in (
        ("browse", "view_item", {"item_id": new, "category": new}),
        ("browse", "search", {"query": new}),
        ("browse", f"kind{number}", {}),
        ("purchase", "purchase", {"order_id": new, "total": number, "channel": new}),
        ("member", "register", {"locale": new, "time_zone": new}),
        ("member", "register", {"channel": new}),
        ("member", "tier_changed", {"tier": new}),
        ("member", "member_cancelled", {"reason": new}),
        ("engagement", "unsubscribed", {"channel": new}),
        ("engagement", "ticket_opened", {"ticket_id": new}),
        ("engagement", new, {}),
    ):
        common = {"type": kind, "member_id": who, "occurred_at": NOW, "source": new[-64:]}
        yield topic, common | fields


@dataclass(frozen=True)
class Record:
    """A record as the broker hands it over."""

    topic: str
    value: bytes
    key: bytes
    partition: int
    offset: int
    timestamp: int


def fold_hostile(fold: MemberFold, number: int) -> None:
    key = f"m{number}".encode()
    partition = murmur2_partition(key, 8)
    member = fold.load(MEMBER + key, None)
    for offset, (topic, event) in enumerate(hostile(number)):
        raw = json.dumps(event).encode()
        place = (partition + (number % 7 == 0)) % 8
        record = Record(topic, raw, key, place, offset, NOW)
        decoded = fold.decode(record)
        if isinstance(decoded, Decoded):
            fold.apply(member, decoded, record, NOW)
    fold.advance(member, NOW + 400 * DAY, NOW + 400 * DAY)


def test_whatever_is_sent_makes_no_series_of_its_own() -> None:
    world = World()
    fold = MemberFold(
        shipped_book(),
        OutputTopics(),
        murmur2_partition,
        8,
        "/test",
        BadShare(least=1 << 60),
        world.members,
    )

    def series() -> set[tuple[str, str]]:
        text = world.metrics.exposition()[0].decode()
        return {
            (sample.name, str(sorted(sample.labels.items())))
            for family in parse_text(text)
            for sample in family.samples
        }

    for number in range(150):
        fold_hostile(fold, number)
    before = series()
    for number in range(150, 300):
        fold_hostile(fold, number)
    assert series() == before
    assert sum(world.members.dead_letters.values()) > 600
    assert sum(world.members.triggers.values()) > 100
    assert not any("HELP" in labels for _, labels in before)
    assert len(before) < 2_000


def test_of_sources_that_anybody_may_make_up_so_many_are_told_apart_and_no_more() -> None:
    world = World()
    made_up = {("visit", f"{HOSTILE}{number}"): (lambda _: 60.0) for number in range(400)}
    world.shop.lives(MONDAY, TUESDAY_NOON, made_up)
    text = world.metrics.exposition()[0].decode()
    [told] = [one for one in parse_text(text) if one.name == "lifecycle_feed_silent"]
    assert len(told.samples) == MOST_FEEDS
    assert {(one.labels["type"], one.labels["source"]) for one in told.samples} <= set(made_up)


# --- what they say ---


def test_counts_of_members_are_exported_by_their_labels() -> None:
    world = World()
    world.members.events["view_item"] = 7
    world.members.triggers["welcome"] = 3
    world.members.cancelled["welcome", "no"] = 1
    world.members.verdicts["welcome", "reentry"] = 2
    world.members.transitions["new", "active"] = 4
    world.members.segment_changes["vip", "left"] = 2
    world.members.duplicates, world.members.late, world.members.ahead = 5, 6, 8
    world.members.state_bytes, world.members.rows_saved = 900, 5
    assert world.value("lifecycle_events_total", type="view_item") == 7
    assert world.value("lifecycle_triggers_total", rule="welcome") == 3
    assert world.value("lifecycle_triggers_cancelled_total", rule="welcome", sent="no") == 1
    assert world.value("lifecycle_verdicts_total", rule="welcome", verdict="reentry") == 2
    assert world.value("lifecycle_transitions_total", before="new", after="active") == 4
    assert world.value("lifecycle_segment_changes_total", segment="vip", change="left") == 2
    assert world.value("lifecycle_segment_members", segment="vip") == 3
    assert world.value("lifecycle_segment_members", segment="advocates") == 0
    assert world.value("lifecycle_duplicates_total") == 5
    assert world.value("lifecycle_late_events_total") == 6
    assert world.value("lifecycle_ahead_events_total") == 8
    assert world.value("lifecycle_row_saved_bytes_total") == 900
    assert world.value("lifecycle_rows_saved_total") == 5
    assert world.value("lifecycle_rows") == 12


def test_dead_letters_are_counted_by_what_was_wrong() -> None:
    world = World()
    assert world.value("lifecycle_dead_letters_total", reason="content") == 0
    world.members.dead_letters.update({"key": 1, "partition": 2, "$": 3})
    world.lanes[0].crashed = 4
    got = {
        reason: world.value("lifecycle_dead_letters_total", reason=reason)
        for reason in ("key", "partition", "content", "engine")
    }
    assert got == {"key": 1, "partition": 2, "content": 3, "engine": 4}


def test_counters_do_not_fall_when_a_lane_is_lost_and_opened_again() -> None:
    world = World()
    world.lanes[0].records, world.lanes[1].records = 10, 5
    assert world.value("lifecycle_records_read_total") == 15
    world.working = {1}
    assert world.value("lifecycle_records_read_total") == 15
    again = LaneStats(records=2)
    world.metrics.lane_opened(0, again)
    world.working = {0, 1}
    assert world.value("lifecycle_records_read_total") == 17
    again.records = 3
    assert world.value("lifecycle_records_read_total") == 18


def test_what_is_the_case_now_is_said_of_the_lanes_being_worked_on() -> None:
    world = World()
    world.lanes[0].queued = {"browse": 5, "cart": 1}
    world.lanes[1].queued = {"browse": 2}
    world.lanes[0].stuck = world.lanes[0].held = True
    world.lanes[0].armed, world.lanes[1].armed = 3, 4
    assert world.value("lifecycle_lane_queued_records", topic="browse") == 7
    assert world.value("lifecycle_lanes_stuck") == 1
    assert world.value("lifecycle_lanes_held") == 1
    assert world.value("lifecycle_deadlines_armed") == 7
    world.working = {1}
    assert world.value("lifecycle_lane_queued_records", topic="browse") == 2
    assert world.value("lifecycle_lanes_stuck") == 0
    assert world.value("lifecycle_deadlines_armed") == 4
    assert world.value("lifecycle_lanes") == 1


def test_a_lane_that_nothing_happens_to_is_stuck_all_the_same() -> None:
    world = World()
    now = int(time.monotonic() * 1000)
    world.lanes[0].waiting_since = now - STUCK_MS
    world.lanes[1].waiting_since = now
    assert world.value("lifecycle_lanes_stuck") == 1


def test_how_far_it_is_behind_and_how_many_lanes_there_are_is_told() -> None:
    world = World()
    world.lag = 90.0
    assert world.value("lifecycle_lag_seconds") == 90
    assert world.value("lifecycle_lag_records") == 900
    assert world.value("lifecycle_partitions") == 8


def test_the_room_on_the_disk_of_the_data_is_told() -> None:
    world = World()
    size = world.value("lifecycle_disk_size_bytes")
    assert size == pytest.approx(shutil.disk_usage(Path(__file__).parent).total, rel=0.01)
    assert 0 <= world.value("lifecycle_disk_free_bytes") <= size


def test_drift_is_told_as_a_time_and_decisions_begin_at_nothing() -> None:
    world = World()
    assert world.value("lifecycle_churn_drift_noticed_seconds") == 20_000 * 86_400
    assert world.value("lifecycle_trainer_decisions_total", kind="drift") == 0
    assert world.trainer is not None
    world.trainer.decisions["drift"] = 2
    assert world.value("lifecycle_trainer_decisions_total", kind="drift") == 2


def test_without_predictions_nothing_is_said_of_them() -> None:
    values = foresight_values(None, None, None, NOW)
    assert all("churn" in name or "trainer" in name for name in values)
    assert not any(values.values())


def test_the_oldest_overdue_deadline_is_that_of_the_lane_that_is_most_behind() -> None:
    world = World()
    world.lanes[0].next_due, world.lanes[0].safe_time = NOW - 1500, NOW - 4000
    world.lanes[1].next_due, world.lanes[1].safe_time = NOW - 500, NOW - 2000
    assert world.value("lifecycle_oldest_overdue_deadline_seconds") == 1.5
    assert world.value("lifecycle_safe_time_age_seconds") == 4


def test_an_idle_lane_is_neither_overdue_nor_old() -> None:
    world = World()
    # Nobody asks for ends while nothing is due: the last answer may be hours old.
    world.lanes[0].next_due, world.lanes[0].safe_time = NOW + 1, NOW - 3_600_000
    assert world.value("lifecycle_oldest_overdue_deadline_seconds") == 0
    assert world.value("lifecycle_safe_time_age_seconds") == 0


def test_stream_time_knows_no_lateness() -> None:
    world = World()
    world.now = None
    world.lanes[0].next_due = NOW - 1000
    world.metrics.raised(NOW, NOW, None)
    assert world.value("lifecycle_oldest_overdue_deadline_seconds") == 0
    assert world.value("lifecycle_trigger_latency_seconds_count") == 0


def buckets(world: World, name: str, bounds: Sequence[str]) -> list[float]:
    return [world.value(f"{name}_bucket", le=bound) for bound in bounds]


def test_a_trigger_of_a_record_has_a_latency_since_its_event_and_since_its_append() -> None:
    world = World()
    world.metrics.raised(arrived=NOW - 40, due=NOW - 2000, now=NOW)
    world.metrics.raised(arrived=NOW - 50, due=NOW - 50, now=NOW)
    bounds = ["0.025", "0.05", "1.0", "2.5", "+Inf"]
    assert buckets(world, "lifecycle_trigger_latency_seconds", bounds) == [0, 1, 1, 2, 2]
    assert buckets(world, "lifecycle_trigger_append_latency_seconds", bounds) == [0, 2, 2, 2, 2]
    assert world.value("lifecycle_trigger_latency_seconds_sum") == pytest.approx(2.05)
    assert world.value("lifecycle_deadline_lateness_seconds_count") == 0


def test_a_trigger_of_a_deadline_has_a_lateness() -> None:
    world = World()
    world.metrics.raised(arrived=0, due=NOW - 30, now=NOW)
    bounds = ["0.025", "0.05", "+Inf"]
    assert buckets(world, "lifecycle_deadline_lateness_seconds", bounds) == [0, 1, 1]
    assert world.value("lifecycle_trigger_latency_seconds_count") == 0


def test_an_event_of_a_clock_that_is_ahead_has_no_negative_latency() -> None:
    world = World()
    world.metrics.raised(arrived=NOW + 5, due=NOW + 5, now=NOW)
    assert buckets(world, "lifecycle_trigger_append_latency_seconds", ["0.01"]) == [1]
    assert world.value("lifecycle_trigger_append_latency_seconds_sum") == 0


def test_recoveries_are_measured() -> None:
    world = World()
    world.metrics.recovered(1.5)
    assert buckets(world, "lifecycle_recovery_seconds", ["1.0", "2.5", "+Inf"]) == [0, 1, 1]


def test_redis_away_is_seen_by_what_waits_for_it() -> None:
    world = World()
    world.projection.waiting_since = 1_000_000
    world.projection.behind, world.projection.failures = 40, 3
    assert world.value("lifecycle_redis_up") == 0
    assert world.value("lifecycle_redis_behind_records") == 40
    assert world.value("lifecycle_redis_failures_total") == 3
    assert world.value("lifecycle_redis_lag_seconds") > 1e9
    world.projection.waiting_since, world.projection.connected = None, True
    assert world.value("lifecycle_redis_up") == 1
    assert world.value("lifecycle_redis_lag_seconds") == 0


def test_silent_feeds_and_open_breakers_are_told_from_those_that_are_well() -> None:
    world = World()
    visits = {("visit", "app"): by_day}
    usual = {("purchase", "pos"): by_day, ("purchase", "web"): by_day, **visits}
    world.shop.lives(MONDAY, TUESDAY_NOON, usual, {"hello": lambda at: by_day(at) / 10})
    usual["purchase", "web"] = until(TUESDAY_NOON, by_day)
    world.shop.lives(TUESDAY_NOON, TUESDAY_NOON + 7_200_000, usual, {"hello": lambda _: 6000.0})
    assert world.value("lifecycle_feed_silent", type="purchase", source="web") == 1
    assert world.value("lifecycle_feed_silent", type="purchase", source="pos") == 0
    assert world.value("lifecycle_breaker_open", rule="hello") == 1
    assert world.value("lifecycle_breaker_open", rule="no_order") == 0


def test_the_version_and_the_readiness_are_exported() -> None:
    world = World()
    text = world.metrics.exposition()[0].decode()
    assert 'lifecycle_build_info{python="3.' in text
    assert 'version="1.2.3"} 1.0' in text
    assert world.value("lifecycle_ready") == 1
    world.ready = False
    assert world.value("lifecycle_ready") == 0


def test_prometheus_may_ask_for_the_open_format() -> None:
    world = World()
    world.metrics.recovered(0.2)
    body, content_type = world.metrics.exposition("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    families = {family.name for family in parse_openmetrics(body.decode())}
    assert families == {metric.name.removesuffix("_total") for metric in METRICS}
