"""What there is to catch up with comes in pieces: one large answer would hold up the event loop."""

import asyncio
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.conn import AIOKafkaConnection
from confluent_kafka.admin import AdminClient, NewTopic

from agents.following import FETCH_MAX_BYTES, Follower, FollowerConfig, Polled, Taken
from agents.serving_ports import NOWHERE, Places
from app.stack import StackInfo

pytestmark = pytest.mark.kafka

PARTITIONS = 8
RECORD = bytes(64 * 1024)
EACH = 12
"""Records of a partition: together six times what a fetch may bring."""


class Store:
    """Keeps nothing but how far it goes."""

    def __init__(self) -> None:
        self._held: dict[str, int] = {}

    async def places(self) -> Places:
        return dict(self._held)

    async def write(self, content: int | None, expected: Places, reached: Places) -> Places:
        before = dict(self._held)
        if all(before.get(name, NOWHERE) == place for name, place in expected.items()):
            self._held.update(reached)
        return before


async def test_a_follower_that_has_much_to_catch_up_with_fetches_it_in_pieces(
    kafka_stack: StackInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = f"much-{uuid4().hex}"
    admin = AdminClient({"bootstrap.servers": kafka_stack.broker})
    for made in admin.create_topics([NewTopic(topic, PARTITIONS)]).values():
        made.result()
    producer = AIOKafkaProducer(bootstrap_servers=kafka_stack.broker)
    async with producer:
        for number in range(PARTITIONS * EACH):
            await producer.send_and_wait(topic, RECORD, partition=number % PARTITIONS)
    sizes = []
    handle = AIOKafkaConnection._handle_frame

    def measuring(self: AIOKafkaConnection, frame: bytes) -> None:
        sizes.append(len(frame))
        handle(self, frame)

    monkeypatch.setattr(AIOKafkaConnection, "_handle_frame", measuring)
    taken = 0
    all_of_it = asyncio.Event()

    def take(polled: Polled) -> Taken[int]:
        nonlocal taken
        count = sum(map(len, polled.values()))
        taken += count
        if taken == PARTITIONS * EACH:
            all_of_it.set()
        return Taken(count, count, 0)

    follower = Follower(FollowerConfig(kafka_stack.broker, topic, (topic,)), Store(), take)
    follower.start()
    try:
        async with asyncio.timeout(60):
            await all_of_it.wait()
    finally:
        await follower.stop()
    assert sum(sizes) > PARTITIONS * EACH * len(RECORD)
    # Of each partition whole batches come, and what tells about it.
    assert max(sizes) < FETCH_MAX_BYTES + len(RECORD) + 10_000
