"""Reading and writing the changelog, outputs and end offsets on a real broker."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.structs import RecordMetadata
from confluent_kafka import Producer
from fastlane_kit import Bench

from agents.clocks import WallClock, machine_clock
from agents.fastlane.changelog import KafkaChangelog
from agents.fastlane.connections import Connections
from agents.fastlane.settings import FastLaneConfig
from agents.partitioner import murmur2_partition
from agents.ports import LoggedRow, Output, Row
from app.stack import StackInfo

pytestmark = pytest.mark.kafka


@pytest.fixture
def bench(kafka_stack: StackInfo, tmp_path: Path) -> Bench:
    bench = Bench(kafka_stack.broker, tmp_path)
    bench.create()
    bench.create(
        bench.changelog,
        **{
            "cleanup.policy": "compact",
            "max.message.bytes": str(17 << 20),
            "message.timestamp.type": "LogAppendTime",
        },
    )
    return bench


@pytest.fixture
def clock() -> WallClock:
    """A clock that only brokers tell what time it is."""
    return WallClock(machine=lambda: 0)


@pytest.fixture
async def connections(bench: Bench, clock: WallClock) -> AsyncIterator[Connections]:
    connections = Connections(
        FastLaneConfig(
            broker=bench.broker,
            group=bench.group,
            topics=tuple(bench.topics),
            partitions=bench.partitions,
            changelog=bench.changelog,
            data_dir=bench.folder,
        ),
        clock,
    )
    await connections.start()
    yield connections
    await connections.stop()


async def read(changelog: KafkaChangelog, lane: int, start: int, end: int) -> list[LoggedRow]:
    return [row async for chunk in changelog.read(lane, start, end) for row in chunk]


async def test_a_group_is_one_batch_however_many_write_at_the_same_time(
    connections: Connections,
) -> None:
    log = connections.changelog
    groups = [[Row(b"k%d" % i, b"%d" % g) for i in range(2000)] for g in range(20)]
    starts = await asyncio.gather(*(log.append(1, group) for group in groups))
    rows = await read(log, 1, 0, 40_000)
    for group, start in zip(groups, starts, strict=True):
        assert start is not None
        assert [Row(key, value) for _, key, value in rows[start : start + 2000]] == group


async def test_a_group_of_many_megabytes_stays_whole_and_a_larger_one_is_refused(
    connections: Connections,
) -> None:
    log = connections.changelog
    assert await log.append(0, [Row(b"%d" % i, bytes(1000)) for i in range(15_000)]) == 0
    assert len(await read(log, 0, 0, 15_000)) == 15_000
    with pytest.raises(ValueError, match="larger than a record batch"):
        await log.append(0, [Row(b"%d" % i, bytes(1000)) for i in range(17_000)])
    assert await log.end(0) == 15_000


async def test_reading_ends_at_the_own_fence_whatever_comes_behind_it(
    connections: Connections,
) -> None:
    log = connections.changelog
    await log.append(2, [Row(b"a", b"1"), Row(b"b", None)])
    fence = await log.append(2, [Row(b"f", b"")])
    await log.append(2, [Row(b"late", b"of a zombie")])
    assert fence == 2
    assert await read(log, 2, 0, fence) == [LoggedRow(0, b"a", b"1"), LoggedRow(1, b"b", None)]


async def test_reading_gets_past_offsets_that_hold_no_records(
    bench: Bench, connections: Connections
) -> None:
    log = connections.changelog
    await log.append(3, [Row(b"a", b"1")])
    transact(bench, bench.changelog, 3, commit=True)
    end = await log.end(3)
    assert end == 3
    assert [row.offset for row in await read(log, 3, 0, end)] == [0, 1]


async def test_an_acknowledgement_without_an_offset_is_an_unknown_one(bench: Bench) -> None:
    class Duplicated:
        def new_batch(self) -> Any:
            return self

        def append(self, **_: Any) -> bool:
            return True

        async def send(self, _: Any) -> list[RecordMetadata]:
            tp = TopicPartition("t", 0)
            return [RecordMetadata("t", 0, tp, -1, -1, 0, 0)]

    log = KafkaChangelog("t", Duplicated(), None, [], WallClock())  # type: ignore[arg-type]
    assert await log.append(0, [Row(b"a", b"1")]) is None


async def test_outputs_keep_their_order_per_key_and_lie_where_the_partitioner_says(
    bench: Bench, connections: Connections
) -> None:
    outputs = [
        Output(bench.outputs if i % 3 else bench.topics[0], b"m%d" % (i % 40), b"%06d" % i)
        for i in range(3000)
    ]
    await connections.outputs.send(outputs)
    for topic in (bench.outputs, bench.topics[0]):
        records = bench.read(topic)
        for record in records:
            assert record.partition() == murmur2_partition(record.key(), bench.partitions)
        for key in {output.key for output in outputs}:
            expected = [o.value for o in outputs if o.topic == topic and o.key == key]
            assert [r.value() for r in records if r.key() == key] == expected


async def test_outputs_larger_than_a_batch_are_sent_in_several_and_keep_headers_and_tombstones(
    bench: Bench, connections: Connections
) -> None:
    big = [Output(bench.outputs, b"m1", bytes(100_000), (("n", b"%d" % i),)) for i in range(25)]
    await connections.outputs.send([*big, Output(bench.outputs, b"m1", None)])
    records = bench.read(bench.outputs)
    assert [r.headers() for r in records] == [[("n", b"%d" % i)] for i in range(25)] + [None]
    assert records[-1].value() is None


async def test_ends_are_asked_after_the_question_for_everyone_who_waits(
    bench: Bench, connections: Connections
) -> None:
    tp = TopicPartition(bench.outputs, 0)

    async def write_and_ask(count: int) -> bool:
        """Return whether the answer covers what was acknowledged before the question."""
        for _ in range(count):
            [written] = await connections._sends.send([(*tp, batch_of_one(connections))])
            if (await connections.ends.ask([tp]))[tp] <= written.offset:
                return False
        return True

    assert all(await asyncio.gather(*(write_and_ask(20) for _ in range(10))))


def batch_of_one(connections: Connections) -> Any:
    batch = connections._sends.new_batch()
    batch.append(timestamp=None, key=b"k", value=b"v")
    return batch


def transact(bench: Bench, topic: str, partition: int, *, commit: bool) -> None:
    producer = Producer({"bootstrap.servers": bench.broker, "transactional.id": topic})
    producer.init_transactions()
    producer.begin_transaction()
    producer.produce(topic, key=b"t", value=b"1", partition=partition)
    producer.flush()
    (producer.commit_transaction if commit else producer.abort_transaction)()


async def test_each_acknowledgement_tells_what_time_it_is_at_the_broker(
    bench: Bench, clock: WallClock, connections: Connections
) -> None:
    assert clock.now() == 0
    before = machine_clock()
    await connections.changelog.append(0, [Row(b"a", b"1")])
    # The broker's clock is this machine's.
    assert before - 5_000 < clock.now() <= machine_clock()
    await connections.outputs.send([Output(bench.outputs, b"m1", b"stamped")])
    [record] = bench.read(bench.outputs)
    assert before - 5_000 < record.timestamp()[1] <= machine_clock()
