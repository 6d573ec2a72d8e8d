"""Requests to a broker wait for each other for as long as they are told to, and no longer."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition
from fastlane_kit import PARTITIONS, Bench

from agents.fastlane.ends import EndOffsets
from agents.fastlane.producer import BatchProducer
from app.stack import StackInfo

pytestmark = pytest.mark.kafka

LINGER = 1.5
"""Long beside what a busy machine needs to hand over some batches."""


@pytest.fixture
def bench(kafka_stack: StackInfo, tmp_path: Path) -> Bench:
    made = Bench(kafka_stack.broker, tmp_path)
    made.create()
    return made


def counted(client: Any, kind: str) -> Callable[[], int]:
    """Return what tells how many requests of a kind the client has sent from now on."""
    sent: list[str] = []
    send = client.send

    async def noting(node: Any, request: Any, **group: Any) -> Any:
        sent.append(type(request).__name__)
        return await send(node, request, **group)

    client.send = noting
    return lambda: sum(name.startswith(kind) for name in sent)


@pytest.mark.parametrize(("linger", "most"), [(0.0, PARTITIONS), (LINGER, 2)])
async def test_batches_leave_together_while_requests_are_kept_apart(
    bench: Bench, linger: float, most: int
) -> None:
    producer = BatchProducer([bench.broker], "linger", 1 << 20, linger=lambda: linger)
    await producer.start()
    try:
        assert await producer.partitions(bench.outputs) == PARTITIONS
        requests = counted(producer._connected.client, "Produce")

        async def send(partition: int) -> int:
            batch = producer.new_batch()
            batch.append(timestamp=1, key=b"m", value=b"%d" % partition)
            [told] = await producer.send([(bench.outputs, partition, batch)])
            assert told is not None
            return told.offset

        sending = []
        for partition in range(PARTITIONS):
            sending.append(asyncio.create_task(send(partition)))
            await asyncio.sleep(0.05)
        assert await asyncio.gather(*sending) == [0] * PARTITIONS
        assert requests() == most
    finally:
        await producer.stop()


async def test_who_gives_up_waiting_takes_nobody_along(bench: Bench) -> None:
    producer = BatchProducer([bench.broker], "linger", 1 << 20, linger=lambda: LINGER)
    await producer.start()
    try:
        await producer.partitions(bench.outputs)

        async def send(partition: int) -> None:
            batch = producer.new_batch()
            batch.append(timestamp=1, key=b"m", value=b"v")
            await producer.send([(bench.outputs, partition, batch)])

        await send(0)
        gives_up, stays = asyncio.create_task(send(1)), asyncio.create_task(send(2))
        await asyncio.sleep(0)
        gives_up.cancel()
        await stays
        assert gives_up.cancelled()
    finally:
        await producer.stop()


@pytest.mark.parametrize(("linger", "most"), [(0.0, PARTITIONS), (LINGER, 2)])
async def test_questions_for_ends_are_asked_together_while_requests_are_kept_apart(
    bench: Bench, linger: float, most: int
) -> None:
    ends = EndOffsets([bench.broker], "linger", linger=lambda: linger)
    await ends.start()
    try:
        places = [TopicPartition(bench.outputs, number) for number in range(PARTITIONS)]
        assert ends._consumer is not None
        requests = counted(ends._consumer._client, "Offset")
        assert await ends.ask(places[:1]) == {places[0]: 0}
        asking = []
        for place in places[1:]:
            asking.append(asyncio.create_task(ends.ask([place])))
            await asyncio.sleep(0.05)
        assert await asyncio.gather(*asking) == [{place: 0} for place in places[1:]]
        assert requests() == most
    finally:
        await ends.stop()
