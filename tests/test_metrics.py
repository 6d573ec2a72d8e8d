"""The metrics: declared, documented, named by the conventions, and true."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from guard_kit import MONDAY, TUESDAY_NOON, Shop, by_day, until
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

from agents.clocks import WallClock
from agents.members import MemberStats
from agents.serving import ProjectionStats
from agents.stats import LaneStats
from app.metric_list import METRICS, Declared, Kind, documentation
from app.metrics import Metrics, Sources

DOCUMENT = Path(__file__).parents[1] / "docs" / "metrics.md"
NOW = 1_795_255_200_000
REMAKE = "python -c 'from app.metric_list import documentation as d; print(d(), end=\"\")'"


class World:
    """A worker of two lanes, as far as its metrics are concerned."""

    def __init__(self) -> None:
        self.members = MemberStats()
        self.projection = ProjectionStats()
        self.working = {0, 1}
        self.now: int | None = NOW
        self.ready = True
        self.shop = Shop()
        self.guard = self.shop.guard
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
BOUNDED |= {"members", "kind"}  # of the trainer: active or all; what it may decide


def test_no_label_grows_with_the_members() -> None:
    assert {label for metric in METRICS for label in metric.labels} == BOUNDED


# --- what they say ---


def test_counts_of_members_are_exported_by_their_labels() -> None:
    world = World()
    world.members.events["view_item"] = 7
    world.members.triggers["welcome"] = 3
    world.members.cancelled["welcome"] = 1
    world.members.verdicts["welcome", "reentry"] = 2
    world.members.transitions["new", "active"] = 4
    world.members.segment_changes["vip", "left"] = 2
    world.members.duplicates, world.members.late, world.members.ahead = 5, 6, 8
    world.members.state_bytes, world.members.rows_saved = 900, 5
    assert world.value("lifecycle_events_total", type="view_item") == 7
    assert world.value("lifecycle_triggers_total", rule="welcome") == 3
    assert world.value("lifecycle_triggers_cancelled_total", rule="welcome") == 1
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
