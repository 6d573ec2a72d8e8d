"""Worker processes of the fast lane on a real broker: what they commit and how they end."""

import re
import signal
from collections import Counter
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from fastlane_kit import Bench, wait_for

from agents.partitioner import murmur2_partition
from app.stack import StackInfo

pytestmark = pytest.mark.kafka

# What 1,000 records of ``Bench.some`` come to.
TWENTY_EACH = {f"m{i}": 20 for i in range(50)}


@pytest.fixture
def bench(kafka_stack: StackInfo, tmp_path: Path) -> Bench:
    bench = Bench(kafka_stack.broker, tmp_path)
    bench.create()
    return bench


def origins(bench: Bench) -> Counter[str]:
    return Counter(record.value().decode() for record in bench.read(bench.outputs))


def test_a_terminated_worker_has_committed_all_it_did_and_exits_with_0(bench: Bench) -> None:
    bench.produce(bench.some(1000))
    with bench.worker() as worker:
        wait_for(lambda: len(bench.read(bench.outputs)) == 1000)
        assert worker.terminate() == 0, worker.said()
    assert sum(bench.committed().values()) == 1000
    assert set(origins(bench).values()) == {1}
    assert bench.counts() == TWENTY_EACH


def test_an_exception_in_a_lane_ends_the_worker_with_70_and_acknowledges_nothing(
    bench: Bench,
) -> None:
    bench.produce(bench.some(1000))
    with bench.worker(raise_on="v0") as worker:
        assert worker.wait() == 70
        assert "RuntimeError: this record is a defect" in worker.said()
    partition = murmur2_partition(b"m0", bench.partitions)
    assert (bench.topics[0], partition) not in bench.committed()
    with bench.worker():
        wait_for(lambda: len(origins(bench)) == 1000)
    assert bench.counts() == TWENTY_EACH


def test_an_exception_in_the_agent_ends_the_worker_with_70(bench: Bench) -> None:
    bench.produce(bench.some(10))
    with bench.worker(feed_raises=True) as worker:
        assert worker.wait() == 70
        assert "RuntimeError: this chunk cannot be taken" in worker.said()
    assert bench.committed() == {}


def test_what_no_lane_has_declared_done_is_never_committed(bench: Bench) -> None:
    bench.produce(bench.some(1000))
    with bench.worker(never_done=True) as worker:
        wait_for(lambda: len(bench.read(bench.outputs)) == 1000)
        assert worker.terminate() == 0, worker.said()
    assert bench.committed() == {}


def test_two_workers_killed_in_turn_lose_nothing_and_count_nothing_twice(bench: Bench) -> None:
    produced = 0

    def produce(count: int) -> None:
        nonlocal produced
        bench.produce(bench.some(count))
        produced += count

    def outputs_reach(count: int) -> None:
        wait_for(lambda: len(origins(bench)) >= count)

    produce(1000)
    with bench.worker() as first:
        outputs_reach(500)
        with bench.worker() as second:
            wait_for(lambda: second.taken_over() == [2])
            produce(1000)
            outputs_reach(1500)
            first.kill()
            produce(1000)
            outputs_reach(2500)
            with bench.worker() as third:
                wait_for(lambda: third.taken_over() == [2])
                second.kill()
                produce(1000)
                outputs_reach(produced)
                assert third.terminate() == 0, third.said()
    assert len(origins(bench)) == produced
    assert bench.counts() == dict.fromkeys(TWENTY_EACH, 80)
    assert sum(bench.committed().values()) == produced


def test_lanes_that_nobody_else_has_owned_keep_their_rows_over_a_rebalance(bench: Bench) -> None:
    bench.produce(bench.some(1000))
    with bench.worker() as stayer:
        wait_for(lambda: sum(bench.committed().values()) == 1000)
        with bench.worker() as guest:
            wait_for(lambda: guest.taken_over() == [2] and stayer.taken_over() == [4, 2])
            assert stayer.recovered() == 0
            assert guest.recovered() > 0
            bench.produce(bench.some(1000))
            wait_for(lambda: sum(bench.committed().values()) == 2000)
            assert guest.terminate() == 0, guest.said()
        wait_for(lambda: stayer.taken_over() == [4, 2, 4])
        assert stayer.recovered() > 0
        bench.produce(bench.some(1000))
        wait_for(lambda: sum(bench.committed().values()) == 3000)
        stayer.kill()
    assert bench.counts() == dict.fromkeys(TWENTY_EACH, 60)


def test_a_worker_frozen_before_it_wrote_finds_its_lane_taken_and_stops_with_70(
    bench: Bench,
) -> None:
    bench.produce(bench.some(1000))
    with bench.worker(freeze_on="v999") as frozen:
        wait_for(lambda: frozen.is_frozen())
        with bench.worker() as heir:
            wait_for(lambda: sum(bench.committed().values()) == 1000)
            sent = origins(bench)
            frozen.process.send_signal(signal.SIGCONT)
            assert frozen.wait() == 70
            assert re.search(r"lane \d was taken over", frozen.said())
            # A group that was written before the heir's fence may have been sent by both.
            assert origins(bench).keys() == sent.keys()
            bench.produce(bench.some(1000))
            wait_for(lambda: sum(bench.committed().values()) == 2000)
            heir.kill()
    assert bench.counts() == dict.fromkeys(TWENTY_EACH, 40)
    with bench.worker() as last:
        bench.produce(bench.some(1000))
        wait_for(lambda: sum(bench.committed().values()) == 3000)
        assert last.terminate() == 0, last.said()
    assert bench.counts() == dict.fromkeys(TWENTY_EACH, 60)


def test_a_deleted_range_below_the_groups_offset_stops_the_worker_with_a_sentence(
    bench: Bench,
) -> None:
    bench.produce(bench.some(1000))
    with bench.worker() as worker:
        wait_for(lambda: sum(bench.committed().values()) == 1000)
        assert worker.terminate() == 0
    bench.produce(bench.some(1000))
    partition = murmur2_partition(b"m0", bench.partitions)
    end = bench.committed()[bench.topics[0], partition] + 1
    doomed = TopicPartition(bench.topics[0], partition, end)
    for future in bench.admin.delete_records([doomed]).values():
        future.result()
    with bench.worker() as worker:
        assert worker.wait() == 70
        assert f"{bench.topics[0]}[{partition}] holds offsets {end} to" in worker.said()


def test_a_topic_made_again_under_the_same_name_stops_the_worker_with_a_sentence(
    bench: Bench,
) -> None:
    bench.produce(bench.some(1000))
    with bench.worker() as worker:
        wait_for(lambda: sum(bench.committed().values()) == 1000)
        assert worker.terminate() == 0
    for future in bench.admin.delete_topics([bench.topics[0]]).values():
        future.result()
    wait_for(lambda: bench.topics[0] not in bench.admin.list_topics(timeout=10).topics)
    bench.create(bench.topics[0])
    bench.produce(bench.some(3000))
    with bench.worker() as worker:
        assert worker.wait() == 70
        assert f"topic {bench.topics[0]} was deleted and made again" in worker.said()


def test_a_worker_without_a_lane_waits_for_one(kafka_stack: StackInfo, tmp_path: Path) -> None:
    bench = Bench(kafka_stack.broker, tmp_path, partitions=1)
    bench.create()
    with bench.worker() as first:
        wait_for(lambda: first.taken_over() == [1])
        with bench.worker() as second:
            wait_for(lambda: sum(first.taken_over()[-1:] + second.taken_over()[-1:]) == 1)
            owner, idle = (first, second) if first.taken_over()[-1] else (second, first)
            bench.produce(bench.some(500))
            wait_for(lambda: sum(bench.committed().values()) == 500)
            assert owner.terminate() == 0, owner.said()
            wait_for(lambda: idle.taken_over()[-1] == 1)
            bench.produce(bench.some(500))
            wait_for(lambda: sum(bench.committed().values()) == 1000)
            assert idle.terminate() == 0, idle.said()
    assert bench.counts() == TWENTY_EACH


def test_member_topics_that_differ_in_partitions_stop_the_worker_with_a_sentence(
    kafka_stack: StackInfo, tmp_path: Path
) -> None:
    bench = Bench(kafka_stack.broker, tmp_path)
    bench.create(bench.topics[0])
    with bench.worker() as worker:
        assert worker.wait() == 70
        assert f"{bench.topics[1]} does not exist" in worker.said()
