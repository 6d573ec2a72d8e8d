"""The benchmarks measure what they say: the same job everywhere, the right results, no traces."""

import json
import os
import socket
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from confluent_kafka.admin import AdminClient

from agents.members import OutputTopics
from agents.partitioner import murmur2_partition
from app.bench import commits, crew, report, storm, takeover
from app.bench.engines.lane import SimpleFold
from app.bench.place import BenchError
from app.bench.simple_job import HALF_HOUR_MS, Fired, digest_of, make_log, oracle, prefix
from app.bench.throughput import Run
from app.bench.watching import Fence, Seen
from app.options import book_of
from app.stack import StackInfo
from app.worker_process import WorkerFailed, WorkerProcess
from config.settings import load_settings
from models.member import due_of

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
        due = fold.next_due(state)
        rows[record.key] = fold.save(state, due)
        assert fold.due(rows[record.key]) == due
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


# --- a killed worker -----------------------------------------------------------------------------


def trigger(lane: int, raised: int, read: float) -> Seen:
    return Seen("browse_abandoned", "m1", raised, raised, read, lane)


def test_a_lane_works_with_its_first_trigger_raised_by_its_new_owner() -> None:
    # Lane 1's second record was raised before its new fence: the old owner's, read late.
    seen = [trigger(1, 90, 95), trigger(1, 99, 180), trigger(1, 150, 190), trigger(2, 99, 101)]
    assert takeover.working({1: 100, 2: 100, 3: 100}, seen) == {1: 190}


def test_the_fence_that_counts_is_the_first_after_the_death() -> None:
    kill = takeover.Kill(1000.0, frozenset({1}))
    fences = [Fence(1, 7, 900), Fence(1, 8, 7000), Fence(2, 8, 7001), Fence(1, 9, 9000)]
    assert takeover.first_fences(kill, fences) == [Fence(1, 8, 7000), Fence(2, 8, 7001)]


def test_a_pause_is_the_longest_time_without_a_trigger_from_death_to_end() -> None:
    seen = [trigger(1, 0, at) for at in (500, 1500, 4500, 5000)] + [trigger(2, 0, 900)]
    assert takeover.pauses(1000, 6000, {1}, seen) == [3.0]
    assert takeover.pauses(1000, 6000, {2}, seen) == [5.0]


def test_the_time_out_is_taken_from_what_a_kill_cost() -> None:
    one = {
        "lost_lanes": 2,
        "fenced": [5.5, 6.5],
        "first_trigger": [7.0, 8.0],
        "all_lanes": 9.0,
        "survivors_pause": 2.0,
    }
    found = takeover.summary(6.0, [one, {**one, "first_trigger": [6.5, 12.0]}])
    assert found["kills"][0] == {
        "lost_lanes": 2,
        "fenced_after_timeout_s": 0.5,
        "first_trigger_after_timeout_s": 2.0,
        "all_lanes_after_timeout_s": 3.0,
        "survivors_lanes_pause_s": 2.0,
    }
    assert found["first_trigger_after_timeout_s"] == {"count": 4, "p50": 2.0, "p99": 6, "max": 6}


def test_deadlines_come_due_one_after_the_other_from_now_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1_795_322_000_000
    monkeypatch.setattr(takeover, "_now", lambda: now)
    monkeypatch.setattr(takeover, "BEGIN_SECONDS", 1)
    monkeypatch.setattr(takeover, "ROUND_SECONDS", 1)
    rows = list(takeover.coming_due(book_of(None, load_settings({})), kills=1))
    gap = 1000 // takeover.DUE_A_SECOND
    assert [due_of(row.body) for row in rows] == [now + n * gap for n in range(2000 // gap)]
    assert len({row.key for row in rows}) == len(rows)


def test_lanes_are_settled_when_all_workers_have_some_and_no_fence_is_new() -> None:
    fences = [Fence(0, 7, 100), Fence(1, 7, 100), Fence(1, 8, 200)]
    later = 200 + crew.SETTLED_SECONDS * 1000
    assert crew.owners(fences) == {0: 7, 1: 8}
    assert crew.is_settled(fences, {7, 8}, 2, later)
    assert not crew.is_settled(fences, {7, 8}, 2, later - 1)
    assert not crew.is_settled(fences, {7, 8}, 3, later)
    assert not crew.is_settled(fences, {7, 8, 9}, 2, later)
    assert not crew.is_settled(fences, {8}, 2, later)


def test_a_worker_that_ends_by_itself_fails_with_its_last_words(tmp_path: Path) -> None:
    worker = WorkerProcess(["--no-such-option"], {}, tmp_path / "log")
    with pytest.raises(WorkerFailed, match=r"exit code 2(.|\n)*--no-such-option"):
        worker.wait_until_ready(60)
    worker.stop()


# --- a storm --------------------------------------------------------------------------------------


def test_a_crew_never_goes_and_never_outgrows_itself() -> None:
    assert set(storm.choices(storm.WORKERS)) == {"killed", "dismissed"}
    assert set(storm.choices(1)) == {"started"}
    assert sorted(storm.choices(2)) == ["dismissed", "killed", "started", "started"]


class Passing:
    """Time that passes when it is slept through, and a count that grows with it in lumps."""

    def __init__(self, lumps: dict[float, int]) -> None:
        self.now = 0.0
        self._lumps = lumps

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now = round(self.now + seconds, 6)

    def count(self) -> int:
        return sum(size for at, size in self._lumps.items() if at <= self.now)


def test_a_rate_counts_from_one_growth_to_another(monkeypatch: pytest.MonkeyPatch) -> None:
    # What was done before the first growth is a lump that nobody saw grow.
    passing = Passing({0.0: 500, 5.0: 10_000, 7.0: 100, 9.0: 300})
    monkeypatch.setattr(storm, "time", passing)
    calls: list[float] = []
    found = storm.rate(passing.count, 10_900, lambda: calls.append(passing.now))
    assert found == pytest.approx(400 / 4.0)
    assert len(calls) == pytest.approx(90)


def test_a_rate_needs_something_left_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    passing = Passing({0.0: 500, 1.0: 100})
    monkeypatch.setattr(storm, "time", passing)
    with pytest.raises(BenchError, match="give more --events"):
        storm.rate(passing.count, 500)
    with pytest.raises(BenchError, match="give more --events"):
        storm.rate(passing.count, 600)
    with pytest.raises(BenchError, match="600 of 700"):
        storm.rate(passing.count, 700)


# --- commits --------------------------------------------------------------------------------------


def test_groups_have_their_size_and_lie_in_their_lane() -> None:
    keys = commits.keys_by_lane(PARTITIONS)
    for lane in range(PARTITIONS):
        made = commits.groups(keys[lane], 20, OutputTopics())
        for group in made:
            assert sum(len(body or b"") for body in group.rows.values()) == 20_000
            assert {murmur2_partition(key, PARTITIONS) for key in group.rows} == {lane}
            assert [output.key for output in group.projections] == list(group.rows)
            assert {output.topic for output in group.outputs} == {"triggers", "decisions"}
        assert not made[0].rows.keys() & made[1].rows.keys()


def test_only_a_stamped_group_tells_when_it_began() -> None:
    [group, *_] = commits.groups([b"m%d" % number for number in range(100)], 20, OutputTopics())
    assert commits.instant_of(group.outputs[0].value or b"") is None
    stamped = commits.stamped(group, 1_795_322_000_123.456)
    assert commits.instant_of(stamped.outputs[0].value or b"") == 1_795_322_000_123.456
    assert commits.instant_of(stamped.outputs[1].value or b"") is None


def test_figures_are_per_commit_and_medians_over_turns() -> None:
    turn = commits.Turn(4, 2.0, [1.0, 2.0, 3.0, 9.0], [4.0, 5.0], 8.0, 20.0, 2)
    slow = turn._replace(seconds=4.0, client_cpu=16.0)
    assert commits.figures([turn, slow, slow]) == {
        "commits_per_s": 1.0,
        "p50_ms": 3.0,
        "p99_ms": 9.0,
        "client_cpu_ms": 4.0,
        "broker_cpu_ms": 5.0,
        "refused_per_commit": 0.5,
        "read_p50_ms": 5.0,
        "read_p99_ms": 5.0,
    }
    assert commits.figures([turn._replace(broker_cpu=None)])["broker_cpu_ms"] is None


def test_transactions_are_compared_with_the_same_load() -> None:
    figures = dict.fromkeys(commits._COMPARED, 2.0)
    small = {"group_kb": 20, "lanes": 1, "apart_ms": 0}
    large = {**small, "lanes": 8}
    runs: list[dict[str, Any]] = [
        {**small, "way": "fenced", **figures},
        {**large, "way": "fenced", **figures, "broker_cpu_ms": None},
        {**large, "way": "transaction", **figures, "p50_ms": 8.0},
        {**small, "way": "transaction", **figures, "p50_ms": 3.0},
    ]
    [first, second] = commits.ratios(runs)
    assert (first["lanes"], first["p50_ms"], first["broker_cpu_ms"]) == (8, 4.0, None)
    assert (second["lanes"], second["p50_ms"], second["commits_per_s"]) == (1, 1.5, 1.0)


def test_the_process_behind_a_port_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert commits.listening_on(port) == os.getpid()
    assert commits.listening_on(port) is None


# --- the commands ---------------------------------------------------------------------------------


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


@pytest.mark.kafka
@pytest.mark.chaos
def test_the_lanes_of_a_killed_worker_raise_triggers_again(
    kafka_stack: StackInfo, tmp_path: Path
) -> None:
    figures = bench(kafka_stack, tmp_path, "takeover", "--members", "3000", "--kills", "1")
    [kill] = figures["kills"]
    assert 0 < kill["lost_lanes"] < figures["lanes"]
    assert figures["first_trigger_after_timeout_s"]["count"] == kill["lost_lanes"]
    assert kill["fenced_after_timeout_s"] <= kill["first_trigger_after_timeout_s"]
    assert kill["first_trigger_after_timeout_s"] <= kill["all_lanes_after_timeout_s"]
    # Nobody was told to leave, so the group noticed by its time-out alone.
    assert kill["fenced_after_timeout_s"] > -figures["session_timeout_s"]


@pytest.mark.kafka
@pytest.mark.chaos
def test_a_storm_changes_nothing_in_what_is_said(kafka_stack: StackInfo, tmp_path: Path) -> None:
    figures = bench(kafka_stack, tmp_path, "storm", "--events", "250000")
    assert figures["digest_ok"], figures
    assert figures["missing"] == figures["spurious"] == 0
    assert figures["triggers"] > 0
    assert sum(figures["comings_and_goings"].values()) > 0
    assert figures["storm_events_per_second"] > 0


@pytest.mark.kafka
@pytest.mark.slow
def test_both_ways_of_committing_are_read_whole(kafka_stack: StackInfo, tmp_path: Path) -> None:
    words = ("commits", "--kb", "20", "--lanes", "2", "--seconds", "1", "--rounds", "1")
    figures = bench(kafka_stack, tmp_path, *words)
    assert [run["way"] for run in figures["runs"]] == ["fenced", "transaction"] * 2
    for run in figures["runs"]:
        assert run["commits_per_s"] > 0
        assert run["read_p50_ms"] > 0
    assert [ratio["apart_ms"] for ratio in figures["transaction_over_fenced"]] == [0, 200]


@pytest.mark.kafka
@pytest.mark.chaos
def test_a_redis_that_comes_back_empty_is_right_again_and_no_trigger_is_missing(
    kafka_stack: StackInfo, tmp_path: Path
) -> None:
    figures = bench(kafka_stack, tmp_path, "redis-away", "--rate", "100", "--away", "5")
    for phase in ("before", "away", "after"):
        assert figures["raised_late_ms"][phase]["count"] > 0
    assert figures["missing_triggers"] == 0
    assert figures["event_to_document_ms"]["after"]["count"] > 0
    assert figures["documents"]["there"] > figures["canaries"]
    assert figures["documents"]["wrong_at_end"] == 0
    assert figures["observer"]["behind_at_end"] == 0
