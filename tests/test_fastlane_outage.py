"""A broker that dies under a worker."""

import asyncio
import os
import signal
from pathlib import Path

import pytest
from aiokafka.errors import UnknownTopicOrPartitionError
from fastlane_kit import PARTITIONS, Bench, wait_for
from stack_fixture import set_apart

from agents.fastlane import producer
from agents.fastlane.producer import BatchProducer
from app import stack
from app.stack import state
from app.stack.kafka import Broker

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def test_a_broker_killed_and_started_again_costs_no_record_and_no_worker(tmp_path: Path) -> None:
    data = tmp_path / "stack"
    set_apart(data)
    try:
        bench = Bench(stack.up(data, print).broker, tmp_path)
        bench.create()
        bench.produce(bench.some(10_000))
        with bench.worker(max_poll_records=200) as worker:
            wait_for(lambda: bench.read(bench.outputs))
            kill_broker(data)
            stack.up(data, print)
            bench.produce(bench.some(1000))
            wait_for(lambda: sum(bench.committed().values()) == 11_000)
            assert worker.terminate() == 0, worker.said()
        assert bench.counts() == {f"m{i}": 220 for i in range(50)}
        assert len({record.value() for record in bench.read(bench.outputs)}) == 11_000
    finally:
        stack.down(data, purge=True)


def test_a_worker_told_to_stop_while_no_broker_answers_stops(tmp_path: Path) -> None:
    data = tmp_path / "stack"
    set_apart(data)
    try:
        bench = Bench(stack.up(data, print).broker, tmp_path)
        bench.create()
        with bench.worker() as worker:
            wait_for(lambda: worker.lines("caught up"))
            kill_broker(data)
            assert worker.terminate() == 0, worker.said()
    finally:
        stack.down(data, purge=True)


async def test_a_producer_that_loses_its_broker_before_its_first_word_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producer, "PRODUCE_TIMEOUT_MS", 500)
    data = tmp_path / "stack"
    set_apart(data)
    try:
        bench = Bench(stack.up(data, print).broker, tmp_path)
        outputs = BatchProducer([bench.broker], "outputs", 1 << 20)
        await outputs.start()
        # One that was there when it connected it would know of already.
        bench.create()
        kill_broker(data)
        asked = asyncio.create_task(outputs.partitions(bench.outputs))
        # For longer than a request may take.
        await asyncio.wait({asked}, timeout=3)
        assert not asked.done(), asked
        await asyncio.to_thread(stack.up, data, print)
        assert await asked == PARTITIONS
        with pytest.raises(UnknownTopicOrPartitionError):
            await outputs.partitions("what-nobody-made")
        await outputs.stop()
    finally:
        stack.down(data, purge=True)


def kill_broker(data: Path) -> None:
    process = state.load(data)[Broker.name].process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    wait_for(lambda: not process.alive)
