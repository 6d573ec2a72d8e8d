"""The benchmarks measure what they say: the same job everywhere, the right results, no traces."""

import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from confluent_kafka.admin import AdminClient

from agents.partitioner import murmur2_partition
from app.bench import report
from app.bench.engines.lane import SimpleFold
from app.bench.simple_job import HALF_HOUR_MS, Fired, digest_of, make_log, oracle, prefix
from app.bench.throughput import Run
from app.stack import StackInfo

PARTITIONS = 4
LOG = make_log(3000, 50, PARTITIONS, seed=3)


def plain_truth() -> list[Fired]:
    """A browse without a purchase or another browse within half an hour, by looking at each."""
    by_member: dict[str, list[Any]] = defaultdict(list)
    for record in LOG:
        event = orjson.loads(record.value)
        by_member[event["member_id"]].append(event)
    found = []
    for member, events in by_member.items():
        for place, event in enumerate(events):
            due = event["occurred_at"] + HALF_HOUR_MS
            if event["type"] != "view_item" or due > LOG[-1].at:
                continue
            before = [e for e in events[place + 1 :] if e["occurred_at"] < due]
            if not any(e["type"] in ("view_item", "purchase") for e in before):
                found.append(Fired(member, due, place + 1 + len(before)))
    return found


def test_the_log_is_in_order_closed_in_every_partition_and_the_same_again() -> None:
    assert [record.at for record in LOG] == sorted(record.at for record in LOG)
    assert len(LOG) == 3000
    last = {murmur2_partition(record.key, PARTITIONS) for record in LOG[-PARTITIONS:]}
    assert last == set(range(PARTITIONS))
    assert make_log(3000, 50, PARTITIONS, seed=3) == LOG
    assert make_log(3000, 50, PARTITIONS, seed=4) != LOG


def test_a_prefix_is_closed_too() -> None:
    short = prefix(LOG, 500, PARTITIONS)
    assert short[:-PARTITIONS] == LOG[: 500 - PARTITIONS]
    assert {record.at for record in short[-PARTITIONS:]} == {short[-PARTITIONS - 1].at + 1}


def test_the_oracle_finds_what_plain_loops_find() -> None:
    truth = plain_truth()
    assert len(truth) > 100
    assert sorted(oracle(LOG)) == sorted(truth)


def test_the_lanes_fold_says_the_same_and_survives_its_rows() -> None:
    fold = SimpleFold("source", "triggers")
    rows: dict[bytes, bytes] = {}
    said = []
    for offset, record in enumerate(LOG):
        source = SimpleNamespace(key=record.key, value=record.value, offset=offset)
        decoded = fold.decode(source)  # type: ignore[arg-type]
        state = fold.load(decoded.key, rows.get(decoded.key))  # type: ignore[union-attr]
        assert fold.applied(state, 0) < offset
        said += fold.apply(state, decoded, source, None)  # type: ignore[arg-type]
        rows[record.key] = fold.save(state)
        assert fold.due(rows[record.key]) == fold.next_due(state)
    for key, row in rows.items():
        said += fold.advance(fold.load(key, row), LOG[-1].at, None)
    found = [Fired(**orjson.loads(output.value or b"")) for output in said]
    assert sorted(found) == sorted(plain_truth())


def test_a_digest_tells_a_wrong_count_and_a_missing_trigger() -> None:
    truth = plain_truth()
    assert digest_of(truth) == digest_of(reversed(truth))
    assert digest_of(truth[1:]) != digest_of(truth)
    wrong = truth[0]._replace(folded=truth[0].folded + 1)
    assert digest_of([wrong, *truth[1:]]) != digest_of(truth)


def test_one_wrong_turn_makes_a_run_wrong() -> None:
    turn = SimpleNamespace(cpu_seconds=1.0, wall_seconds=2.0, rss_mb=3.0, startup_cpu_seconds=0.5)
    run = Run("lane", 1000, "right", [turn, turn], ["wrong", "right"])  # type: ignore[list-item]
    figures = run.figures()
    assert figures["digest_ok"] is False
    assert figures["events_per_cpu_second"] == 1000
    assert figures["wall_events_per_second"] == 500


def test_percentiles_of_a_hundred_values() -> None:
    found = report.percentiles(range(100))
    assert found == {"count": 100, "p50": 50, "p99": 99, "max": 99}
    assert report.percentiles([]) == {"count": 0}


def bench(stack: StackInfo, folder: Path, *words: str) -> dict[str, Any]:
    """Run a benchmark to its end and return its figures; nothing of it is left on the broker."""
    variables = {k: v for k, v in os.environ.items() if not k.startswith("LIFECYCLE_")}
    done = subprocess.run(
        [sys.executable, "-m", "app", "bench", *words, "--broker", stack.broker, "--json"],
        env={**variables, "LIFECYCLE_REDIS": stack.redis, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    topics = AdminClient({"bootstrap.servers": stack.broker}).list_topics(timeout=10).topics
    assert not [name for name in topics if name.startswith(f"bench-{words[0]}")]
    assert not list(folder.iterdir())
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert figures["machine"]["cores"] == os.cpu_count()
    return figures


@pytest.mark.kafka
@pytest.mark.slow
def test_all_engines_do_the_same_job_and_the_worker_says_what_the_replay_says(
    kafka_stack: StackInfo, tmp_path: Path
) -> None:
    figures = bench(kafka_stack, tmp_path, "throughput", "--events", "2000", "--rounds", "1")
    runs = {run["engine"]: run for run in figures["runs"]}
    assert {"lane", "engine", "stock_faust", "confluent_loop"} <= set(runs)
    assert all(run["digest_ok"] for run in runs.values()), runs
    assert runs["lane"]["digest"] == runs["confluent_loop"]["digest"]
    for run in runs.values():
        assert run["events_per_cpu_second"] > 0
        assert run["wall_events_per_second"] > 0
        assert run["rss_mb"] > 10


@pytest.mark.kafka
@pytest.mark.slow
def test_every_deadline_and_every_event_of_the_latency_run_gives_its_trigger(
    kafka_stack: StackInfo, tmp_path: Path
) -> None:
    figures = bench(kafka_stack, tmp_path, "latency", "--rate", "50", "--seconds", "1")
    assert figures["deadline_lateness_ms"]["raised"]["count"] == 1000
    assert figures["event_to_trigger_ms"]["read"]["count"] == 50
    assert figures["event_to_trigger_ms"]["read"]["p50"] > 0


@pytest.mark.kafka
@pytest.mark.slow
def test_a_worker_recovers_every_row_that_was_filled_in(
    kafka_stack: StackInfo, tmp_path: Path
) -> None:
    figures = bench(kafka_stack, tmp_path, "recovery", "--members", "3000")
    # Beside the rows: a fence of the filling and one of the worker per lane, outboxes, topic ids.
    assert 3000 < figures["changelog_records"] < 3200
    assert figures["seconds_from_start"] > figures["recovery_seconds"]


@pytest.mark.kafka
@pytest.mark.slow
def test_memory_looks_at_the_shipped_sample_and_at_a_worker(
    kafka_stack: StackInfo, tmp_path: Path
) -> None:
    figures = bench(kafka_stack, tmp_path, "memory", "--members", "3000")
    assert figures["rows"][0]["members"] == 1000
    assert 50 < figures["rows"][0]["mean"] < 2048
    assert figures["worker"]["rss_mb"] >= figures["worker"]["rss_mb_without_members"]


@pytest.mark.kafka
@pytest.mark.slow
def test_deadlines_fire_among_many_armed_ones(kafka_stack: StackInfo, tmp_path: Path) -> None:
    figures = bench(kafka_stack, tmp_path, "timers", "--members", "3000")
    assert figures["armed_in_one_lane"] > 2000
    assert figures["deadline_lateness_ms"]["raised"]["count"] == 1000
    assert figures["arm_us"] > 0
