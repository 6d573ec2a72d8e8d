"""Apache Kafka behind the same face as the simulated cluster: our own adapters where there are any.

What no adapter of ours does (a request sent twice, a generation made up) is asked of the broker in
its own protocol.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import (
    BrokerResponseError,
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    KafkaConnectionError,
    OffsetOutOfRangeError,
    for_code,
)
from aiokafka.protocol.commit import OffsetCommitRequest
from aiokafka.protocol.group import (
    HeartbeatRequest,
    JoinGroupRequest,
    LeaveGroupRequest,
    ProtocolMetadata,
    SyncGroupRequest,
)
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import InitProducerIdRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from confluent_kafka import ConsumerGroupTopicPartitions
from confluent_kafka import TopicPartition as Place
from confluent_kafka.admin import AdminClient, NewTopic

from agents.clocks import WallClock
from agents.fastlane.changelog import KafkaChangelog
from agents.fastlane.ends import EndOffsets
from agents.fastlane.producer import BatchProducer
from agents.fastlane.topic_ids import describe_topics
from agents.ports import LoggedRow, Row
from simulation import errors
from simulation.broker import Appended, Fetched, NewRecord, Record, TopicConfig
from simulation.cluster import Cluster, Member, Writer
from simulation.groups import Joined

WAIT_SECONDS = 60.0
POLL_SECONDS = 0.1
BATCH_BYTES = 16 * 1024 * 1024

DUPLICATE_SEQUENCE = 46
MEMBER_ID_REQUIRED = 79

REFUSALS: Mapping[int, type[errors.BrokerError]] = {
    1: errors.OffsetOutOfRange,
    3: errors.UnknownTopic,
    10: errors.BatchTooLarge,
    22: errors.StaleGeneration,
    25: errors.UnknownMember,
    27: errors.RebalanceUnderWay,
    32: errors.InvalidTimestamp,
    45: errors.OutOfOrderSequence,
    87: errors.InvalidRecord,
}


def check(code: int) -> None:
    """Raise what the simulation would raise for an error code of the protocol."""
    if code:
        refusal = REFUSALS.get(code)
        raise refusal(code) if refusal else for_code(code)(code)


async def wait_until(what: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something is so, however slow the machine is."""
    end = time.monotonic() + WAIT_SECONDS
    while not await what():
        assert time.monotonic() < end, "it did not happen"
        await asyncio.sleep(POLL_SECONDS)


class _KafkaWriter:
    def __init__(self, changelog: KafkaChangelog, connection: AIOKafkaClient) -> None:
        self._changelog = changelog
        self._connection = connection

    def lose_request(self) -> None:
        self._lose(reached=False)

    def lose_acknowledgement(self) -> None:
        self._lose(reached=True)

    def _lose(self, *, reached: bool) -> None:
        send = self._connection.send

        async def lossy(node: int, request: Any, **options: Any) -> Any:
            if not isinstance(request, ProduceRequest):
                return await send(node, request, **options)
            self._connection.send = send
            if reached:
                await send(node, request, **options)
            raise KafkaConnectionError("the connection broke")

        self._connection.send = lossy

    async def append(self, lane: int, rows: Sequence[Row]) -> int | None:
        try:
            return await self._changelog.append(lane, rows)
        except BrokerResponseError as error:
            check(error.errno)
            raise

    async def end(self, lane: int) -> int:
        return await self._changelog.end(lane)

    def read(self, lane: int, start: int, end: int) -> AsyncIterator[Sequence[LoggedRow]]:
        return self._changelog.read(lane, start, end)


class _KafkaMember:
    def __init__(
        self, client: AIOKafkaClient, node: int, group: str, session_ms: int, rebalance_ms: int
    ) -> None:
        self._client = client
        self._node = node
        self._group = group
        self._times = session_ms, rebalance_ms
        self.id = ""

    async def join(self, metadata: bytes) -> Joined:
        known = [("lanes", ProtocolMetadata(0, [], metadata).encode())]
        while True:
            answer = await self._client.send(
                self._node,
                # Without an instance id: members that leave are forgotten.
                JoinGroupRequest(self._group, *self._times, self.id, None, "consumer", known),
            )
            self.id = answer.member_id or self.id
            if answer.error_code == GroupLoadInProgressError.errno:
                await asyncio.sleep(POLL_SECONDS)
            elif answer.error_code != MEMBER_ID_REQUIRED:
                break
        check(answer.error_code)
        members = {
            member: ProtocolMetadata.decode(data).user_data for member, _, data in answer.members
        }
        return Joined(answer.generation_id, answer.leader_id, members)

    async def sync(self, generation: int, assignment: Mapping[str, bytes] | None = None) -> bytes:
        given = list((assignment or {}).items())
        answer = await self._client.send(
            self._node, SyncGroupRequest(self._group, generation, self.id, None, given)
        )
        check(answer.error_code)
        assigned: bytes = answer.member_assignment
        return assigned

    async def heartbeat(self, generation: int) -> None:
        answer = await self._client.send(
            self._node, HeartbeatRequest(self._group, generation, self.id)
        )
        check(answer.error_code)

    async def commit(self, generation: int, offsets: Mapping[tuple[str, int], int]) -> None:
        given = [(topic, [(number, offset, "")]) for (topic, number), offset in offsets.items()]
        answer = await self._client.send(
            self._node,
            OffsetCommitRequest(
                self._group, generation, self.id, OffsetCommitRequest.DEFAULT_RETENTION_TIME, given
            ),
        )
        for _, partitions in answer.topics:
            for _, code in partitions:
                check(code)

    async def leave(self) -> None:
        answer = await self._client.send(self._node, LeaveGroupRequest(self._group, self.id))
        check(answer.error_code)


class KafkaCluster:
    """A real one; everything made through it is gone when its stack is closed."""

    def __init__(self, broker: str, open_: AsyncExitStack) -> None:
        self._broker = broker
        self._open = open_
        # It writes to standard error by itself when a broker goes.
        self._admin = AdminClient({"bootstrap.servers": broker, "log_level": 2})
        self._tag = uuid4().hex[:8]
        self._made = 0
        self._epochs: dict[int, int] = {}
        self._consumer: AIOKafkaConsumer | None = None
        self._client: AIOKafkaClient | None = None
        self._ends: EndOffsets | None = None

    def now(self) -> int:
        return time.time_ns() // 1_000_000

    # -- topics

    async def create_topic(self, config: TopicConfig, name: str | None = None) -> str:
        if name is None:
            self._made += 1
            name = f"log-behaviour-{self._tag}-{self._made}"
            self._open.push_async_callback(self._delete_if_there, name)
        settings = {
            "cleanup.policy": "compact" if config.compact else "delete",
            "retention.ms": "-1",
            "message.timestamp.type": "LogAppendTime" if config.log_append_time else "CreateTime",
            "max.message.bytes": str(config.max_batch_bytes),
            "min.compaction.lag.ms": str(config.min_compaction_lag),
            "delete.retention.ms": str(config.delete_retention),
        }
        if config.compact:
            # Each batch begins a segment, and whatever is in closed segments is compacted.
            settings |= {"segment.ms": "1", "min.cleanable.dirty.ratio": "0.001"}
        await self._ask(
            self._admin.create_topics, [NewTopic(name, config.partitions, 1, config=settings)]
        )

        async def is_there() -> bool:
            return bool(await describe_topics([self._broker], [name]))

        await wait_until(is_there)
        return name

    async def delete_topic(self, name: str) -> None:
        await self._ask(self._admin.delete_topics, [name])

        async def is_gone() -> bool:
            return not await describe_topics([self._broker], [name])

        await wait_until(is_gone)

    async def _delete_if_there(self, name: str) -> None:
        if await describe_topics([self._broker], [name]):
            await self.delete_topic(name)

    async def topic_id(self, name: str) -> str:
        return (await describe_topics([self._broker], [name]))[name].id

    async def delete_records(self, topic: str, partition: int, before: int) -> None:
        await self._ask(self._admin.delete_records, [Place(topic, partition, before)])

    async def _ask(self, call: Callable[..., Mapping[Any, Any]], *args: Any) -> list[Any]:
        futures = call(*args).values()
        return [await asyncio.to_thread(future.result, WAIT_SECONDS) for future in futures]

    # -- writing

    async def _connect(self) -> AIOKafkaClient:
        client = AIOKafkaClient(bootstrap_servers=self._broker)
        await client.bootstrap()
        self._open.push_async_callback(client.close)
        return client

    async def _own_client(self) -> AIOKafkaClient:
        if self._client is None:
            self._client = await self._connect()
        return self._client

    async def new_producer(self) -> int:
        client = await self._own_client()
        answer = await client.send(client.get_random_node(), InitProducerIdRequest(None, 0))
        check(answer.error_code)
        id_: int = answer.producer_id
        self._epochs[id_] = answer.producer_epoch
        return id_

    async def append(
        self, producer: int, topic: str, partition: int, sequence: int, records: Sequence[NewRecord]
    ) -> Appended:
        batch = DefaultRecordBatchBuilder(
            2, 0, 0, producer, self._epochs[producer], sequence, BATCH_BYTES
        )
        for place, (key, value, timestamp, headers) in enumerate(records):
            batch.append(place, timestamp, key, value, list(headers))
        client = await self._own_client()
        await client.add_topic(topic)
        request = ProduceRequest(None, -1, 30_000, [(topic, [(partition, bytes(batch.build()))])])
        node = client.cluster.leader_for_partition(TopicPartition(topic, partition))
        [(_, [(_, code, offset, timestamp, *_)])] = (await client.send(node, request)).topics
        if code == DUPLICATE_SEQUENCE:
            return Appended(None, None)
        check(code)
        return Appended(offset, None if timestamp < 0 else timestamp)

    async def transact(self, topic: str, partition: int, record: NewRecord) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self._broker, transactional_id=uuid4().hex)
        async with producer, producer.transaction():
            await producer.send_and_wait(
                topic, record.value, record.key, partition, record.timestamp
            )

    async def writer(self, topic: str) -> Writer:
        # The client must not refuse what the topic is there to refuse.
        producer = BatchProducer([self._broker], "log-behaviour", BATCH_BYTES)
        await producer.start()
        self._open.push_async_callback(producer.stop)
        await producer.partitions(topic)
        changelog = KafkaChangelog(
            topic, producer, await self._own_ends(), [self._broker], WallClock()
        )
        return _KafkaWriter(changelog, producer._connected.client)

    # -- reading

    async def _own_ends(self) -> EndOffsets:
        if self._ends is None:
            self._ends = EndOffsets([self._broker], "log-behaviour")
            await self._ends.start()
            self._open.push_async_callback(self._ends.stop)
        return self._ends

    async def _own_consumer(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            self._consumer = AIOKafkaConsumer(
                bootstrap_servers=self._broker,
                enable_auto_commit=False,
                auto_offset_reset="none",
                isolation_level="read_committed",
            )
            await self._consumer.start()
            self._open.push_async_callback(self._consumer.stop)
        return self._consumer

    async def ends(self, topic: str, partition: int) -> tuple[int, int]:
        tp = TopicPartition(topic, partition)
        beginnings = await (await self._own_consumer()).beginning_offsets([tp])
        return beginnings[tp], (await (await self._own_ends()).ask([tp]))[tp]

    async def fetch(self, topic: str, partition: int, start: int, most: int = 500) -> Fetched:
        tp = TopicPartition(topic, partition)
        _, end = await self.ends(topic, partition)
        consumer = await self._own_consumer()
        consumer.assign([tp])
        consumer.seek(tp, start)
        records: Sequence[Any] = ()
        position = start
        try:
            while not records and (position < end or start > end):
                fetched = await consumer.getmany(tp, timeout_ms=500, max_records=most)
                records, position = fetched.get(tp, ()), await consumer.position(tp)
        except OffsetOutOfRangeError as error:
            raise errors.OffsetOutOfRange(str(error)) from None
        return Fetched(
            [
                Record(
                    *(r.topic, r.partition, r.offset, r.timestamp, r.key, r.value), tuple(r.headers)
                )
                for r in records
            ],
            position,
        )

    async def compact(
        self, topic: str, partition: int, done: Callable[[], Awaitable[bool]]
    ) -> None:
        await wait_until(done)

    # -- groups

    async def member(self, group: str, session_ms: int, rebalance_ms: int) -> Member:
        # A join that waits holds up its connection: each member has its own.
        client = await self._connect()
        name = f"{group}-{self._tag}"
        while True:
            try:
                node = await client.coordinator_lookup(CoordinationType.GROUP, name)
            except GroupCoordinatorNotAvailableError:
                # The first group of a new broker has to wait for the topic of offsets.
                await asyncio.sleep(POLL_SECONDS)
            else:
                return _KafkaMember(client, node, name, session_ms, rebalance_ms)

    async def committed(self, group: str, topic: str, partition: int) -> int | None:
        [found] = await self._ask(
            self._admin.list_consumer_group_offsets,
            [ConsumerGroupTopicPartitions(f"{group}-{self._tag}", [Place(topic, partition)])],
        )
        offset: int = found.topic_partitions[0].offset
        return offset if offset >= 0 else None


def on_kafka(broker: str, behaviour: Callable[[Cluster], Awaitable[None]]) -> None:
    """Check a behaviour of a real broker."""

    async def check() -> None:
        async with AsyncExitStack() as open_:
            await behaviour(KafkaCluster(broker, open_))

    asyncio.run(check())
