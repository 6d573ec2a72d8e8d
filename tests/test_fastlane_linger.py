"""Requests to a broker wait for each other for as long as they are told to, and no longer."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition
from fastlane_kit import PARTITIONS, Bench

from agents.fastlane.ends import EndOffsets
from agents.fastlane.producer import BatchProducer
from app.stack import StackInfo

pytestmark = pytest.mark.kafka

LINGER = 3.0
SOON = 0.1
"""All requests of a test are made long before the pause is over, on a busy machine too."""


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


async def one_by_one(
    calls: Iterable[Coroutine[Any, Any, int]], patience: float | None
) -> list[int]:
    """Begin each call when the one before is done, or after ``patience`` seconds."""
    begun = []
    for call in calls:
        begun.append(asyncio.create_task(call))
        await asyncio.wait(begun[-1:], timeout=patience)
    return await asyncio.gather(*begun)


async def test_batches_leave_together_while_requests_are_kept_apart(bench: Bench) -> None:
    linger = 0.0
    producer = BatchProducer([bench.broker], "linger", 1 << 20, linger=lambda: linger)
    await producer.start()
    try:
        assert await producer.partitions(bench.outputs) == PARTITIONS

        async def send(partition: int) -> int:
            batch = producer.new_batch()
            batch.append(timestamp=1, key=b"m", value=b"%d" % partition)
            [told] = await producer.send([(bench.outputs, partition, batch)])
            assert told is not None
            return told.offset

        # A new topic's leaders may refuse at first, which would be asked again.
        await one_by_one(map(send, range(PARTITIONS)), None)
        requests = counted(producer._connected.client, "Produce")
        assert await one_by_one(map(send, range(PARTITIONS)), None) == [1] * PARTITIONS
        assert requests() == PARTITIONS
        linger = LINGER
        assert await one_by_one(map(send, range(PARTITIONS)), SOON) == [2] * PARTITIONS
        assert requests() == PARTITIONS + 2
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


async def test_questions_for_ends_are_asked_together_while_requests_are_kept_apart(
    bench: Bench,
) -> None:
    linger = 0.0
    ends = EndOffsets([bench.broker], "linger", linger=lambda: linger)
    await ends.start()
    try:
        assert ends._consumer is not None

        async def ask(partition: int) -> int:
            place = TopicPartition(bench.outputs, partition)
            return (await ends.ask([place]))[place]

        await one_by_one(map(ask, range(PARTITIONS)), None)
        requests = counted(ends._consumer._client, "Offset")
        assert await one_by_one(map(ask, range(PARTITIONS)), None) == [0] * PARTITIONS
        assert requests() == PARTITIONS
        linger = LINGER
        assert await one_by_one(map(ask, range(PARTITIONS)), SOON) == [0] * PARTITIONS
        assert requests() == PARTITIONS + 2
    finally:
        await ends.stop()
