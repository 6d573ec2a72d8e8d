"""What lanes are handed: in order, from where the group is, without holes, once per assignment."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from threading import Event, Thread

import pytest
from confluent_kafka import Producer
from fastlane_kit import Bench, WorkerProcess, wait_for

from agents.turns import MOST_PATIENCE
from app.stack import StackInfo

pytestmark = pytest.mark.kafka


@pytest.fixture
def bench(kafka_stack: StackInfo, tmp_path: Path) -> Bench:
    bench = Bench(kafka_stack.broker, tmp_path)
    bench.create()
    return bench


def chunks(worker: WorkerProcess) -> dict[tuple[str, str, str], list[tuple[int, int]]]:
    """Return the first and last offsets handed over, per lane, its epoch, and topic."""
    epochs: dict[str, str] = {}
    fed: dict[tuple[str, str, str], list[tuple[int, int]]] = defaultdict(list)
    for line in worker.said().splitlines():
        match line.split():
            case ["started", lane, epoch, _]:
                epochs[lane] = epoch
            case ["fed", lane, topic, first, last]:
                fed[lane, epochs[lane], topic].append((int(first), int(last)))
    return fed


def assert_contiguous(fed: Iterable[list[tuple[int, int]]]) -> None:
    for handed in fed:
        for (_, last), (first, _) in pairwise(handed):
            assert first == last + 1, handed


@pytest.mark.slow
def test_no_chunk_is_skipped_or_repeated_within_an_assignment_whoever_joins_and_leaves(
    bench: Bench,
) -> None:
    # A worker folds 500 records a second and gets 400 and a backlog: some are always under way.
    enough, options = Event(), {"max_poll_records": 500, "slow_seconds": 0.002}
    sent: list[tuple[str, str, str]] = []

    def upstream() -> Iterator[tuple[str, str, str]]:
        for record in bench.some(100_000):
            if enough.wait(0.0025 if len(sent) > 1500 else 0):
                return
            sent.append(record)
            yield record

    producing = Thread(target=lambda: bench.produce(upstream()))
    with bench.worker(**options) as stayer:
        producing.start()
        try:
            for _ in range(3):
                with bench.worker(**options) as guest:
                    wait_for(lambda guest=guest: guest.lines("fed"))
                    assert guest.terminate() == 0, guest.said()
                    assert_contiguous(chunks(guest).values())
                wait_for(lambda: stayer.taken_over()[-1] == 4)
        finally:
            enough.set()
            producing.join()
        wait_for(lambda: sum(bench.committed().values()) == len(sent))
        assert stayer.terminate() == 0, stayer.said()
    assert_contiguous(chunks(stayer).values())
    # What a lane has sent last is sent again by its next owner.
    assert len({record.value() for record in bench.read(bench.outputs)}) == len(sent)
    assert bench.counts() == Counter(key for _, key, _ in sent)


def test_a_worker_goes_on_where_the_group_is_and_knows_that_nothing_is_left(bench: Bench) -> None:
    bench.produce(bench.some(1000))
    with bench.worker() as worker:
        wait_for(lambda: sum(bench.committed().values()) == 1000)
        assert worker.terminate() == 0
    with bench.worker() as worker:
        wait_for(lambda: len(worker.lines("caught up")) == bench.partitions)
        bench.produce([(bench.topics[0], "m1", "one more")])
        # Being fed is not yet being applied: only what is committed tells where the lane began.
        wait_for(lambda: sum(bench.committed().values()) == 1001)
        assert worker.terminate() == 0
        committed = bench.committed()
        for (lane, _, topic), handed in chunks(worker).items():
            assert handed[0][0] == committed[topic, int(lane)] - 1


def test_a_lane_that_pauses_its_topics_gets_everything_in_the_end(bench: Bench) -> None:
    bench.produce(bench.some(2000))
    with bench.worker(queue_records=10, max_poll_records=20) as worker:
        wait_for(lambda: sum(bench.committed().values()) == 2000)
        assert worker.terminate() == 0
        assert_contiguous(chunks(worker).values())
        assert all(last - first < 20 for fed in chunks(worker).values() for first, last in fed)


def test_what_a_poll_brought_is_fed_at_one_moment(bench: Bench) -> None:
    bench.produce(bench.some(1000))
    with bench.worker() as worker:
        wait_for(lambda: sum(bench.committed().values()) == 1000)
        # There was something in every partition of every topic.
        assert max(int(number) for _, _, number in worker.lines("at once")) > 1


def test_while_lanes_wait_for_their_turns_polls_are_far_between(bench: Bench) -> None:
    def trickle() -> Iterator[tuple[str, str, str]]:
        for number in range(100):
            time.sleep(0.02)
            yield bench.topics[0], "m1", str(number)

    with bench.worker(waited=1.0) as worker:
        wait_for(lambda: len(worker.lines("caught up")) == bench.partitions)
        began = time.monotonic()
        bench.produce(trickle())
        wait_for(lambda: sum(bench.committed().values()) == 100)
        polls = 2 + (time.monotonic() - began) / MOST_PATIENCE
        assert sum(len(fed) for fed in chunks(worker).values()) <= polls


def test_markers_of_transactions_at_the_end_do_not_keep_a_lane_waiting(bench: Bench) -> None:
    with bench.worker() as worker:
        wait_for(lambda: len(worker.lines("caught up")) == bench.partitions)
        transact(bench, "kept", commit=True)
        transact(bench, "rolled back", commit=False)
        wait_for(lambda: any(words[3:] == ["1", "0"] for words in worker.lines("caught up")))
        bench.produce([(bench.topics[0], "m1", "after")])
        wait_for(lambda: len(bench.read(bench.outputs)) == 2)
        wait_for(lambda: any(words[3:] == ["5", "0"] for words in worker.lines("caught up")))


def transact(bench: Bench, value: str, *, commit: bool) -> None:
    producer = Producer(
        {
            "bootstrap.servers": bench.broker,
            "partitioner": "murmur2_random",
            "transactional.id": bench.tag,
        }
    )
    producer.init_transactions()
    producer.begin_transaction()
    producer.produce(bench.topics[0], key="m1", value=value)
    producer.flush()
    (producer.commit_transaction if commit else producer.abort_transaction)()


def test_a_row_written_to_the_changelog_by_somebody_else_never_gets_in(bench: Bench) -> None:
    with bench.worker() as worker:
        bench.produce(bench.some(500))
        wait_for(lambda: sum(bench.committed().values()) == 500)
        bench.write_as_a_zombie(f"m{i}" for i in range(50))
        bench.produce(bench.some(500))
        wait_for(lambda: sum(bench.committed().values()) == 1000)
        worker.kill()
    assert bench.counts() == {f"m{i}": 20 for i in range(50)}
