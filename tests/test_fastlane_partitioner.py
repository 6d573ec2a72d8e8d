"""Where keys belong, against the hashes Kafka documents and the producers people use."""

from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Producer
from fastlane_kit import Bench

from agents.partitioner import (
    Partitioner,
    crc32_partition,
    murmur2,
    murmur2_partition,
    partition_function,
)
from app.stack import StackInfo

KEYS = [*(f"m{i}" for i in range(300)), "会员-7", "😀", "\0", "a", "ab", "abc", "abcd", "x" * 200]


@pytest.mark.parametrize(
    ("key", "hashed"),
    # The signed values of Kafka's own UtilsTest.
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_gives_kafkas_known_answers(key: bytes, hashed: int) -> None:
    assert murmur2(key) == hashed & 0xFFFFFFFF


def test_a_partitioner_is_found_by_its_name() -> None:
    assert partition_function("murmur2") is murmur2_partition
    assert partition_function("crc32") is crc32_partition


@pytest.mark.kafka
@pytest.mark.parametrize(
    ("name", "librdkafka"),
    [("murmur2", "murmur2_random"), ("crc32", "consistent_random"), ("crc32", None)],
)
def test_every_key_lies_where_a_librdkafka_producer_puts_it(
    name: Partitioner, librdkafka: str | None, kafka_stack: StackInfo, tmp_path: Path
) -> None:
    bench = Bench(kafka_stack.broker, tmp_path, partitions=7)
    bench.create(bench.outputs)
    settings = {"partitioner": librdkafka} if librdkafka else {}
    assert placed(bench, settings) == {key: partition_of(name)(key.encode(), 7) for key in KEYS}


def partition_of(name: Partitioner) -> Callable[[bytes, int], int]:
    return partition_function(name)


def placed(bench: Bench, settings: dict[str, str]) -> dict[str, int]:
    where: dict[str, int] = {}
    producer = Producer({"bootstrap.servers": bench.broker, **settings})
    for key in KEYS:
        producer.produce(
            bench.outputs,
            key=key,
            value=b"",
            on_delivery=lambda error, record: where.update(
                {record.key().decode(): record.partition()}
            ),
        )
    assert producer.flush(30) == 0
    return where
