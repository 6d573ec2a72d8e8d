"""The serving store follows ``member-updates``: a real broker, and real Redis that fails."""

import argparse
import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest
from aiokafka import AIOKafkaProducer
from confluent_kafka import ConsumerGroupTopicPartitions
from confluent_kafka import TopicPartition as ConfluentPartition
from confluent_kafka.admin import AdminClient, NewTopic
from own_redis import OwnRedis, own_redis
from redis import Redis as SyncRedis
from redis.asyncio import Redis

from agents.clocks import WallClock
from agents.following import FollowerConfig
from agents.members import ANONYMOUS_UPDATE
from agents.serving import Projector
from agents.serving_ports import NOWHERE, Document, Documents, Places
from agents.standing import start
from app.member_command import add_parsers, described
from app.projection_keys import Generation, key_prefix
from app.redis_client import StoreUnavailable
from app.redis_store import RedisStore
from app.stack import StackInfo
from app.stack.files import lasting_ports
from models.stages import STAGES
from models.triggers import (
    Belongs,
    Carries,
    ConsentSaid,
    ContextItem,
    ExpectedOrder,
    Foreseen,
    LastTrigger,
    MemberUpdate,
    RfmScores,
)

PARTITIONS = 4
REDIS_TIMEOUT_MS = 300
WAIT_SECONDS = 30.0

pytestmark = pytest.mark.kafka


def update(
    identity: str, orders: int = 0, *, anonymous: bool = False, erased: bool = False
) -> bytes:
    return msgspec.json.encode(
        MemberUpdate(
            stage=STAGES[orders % len(STAGES)],
            since="2026-11-21T10:00:00.000Z",
            updated_at="2026-11-21T10:00:00.000Z",
            orders=orders,
            foreseen=None if orders % 3 else FORESEEN,
            erased=erased,
            member_id=None if anonymous else identity,
            anonymous_id=identity if anonymous else None,
        )
    )


FORESEEN = Foreseen(as_of="2026-11-20", model="2026-11-15", churn=0.5, churn_smoothed=0.25)
A_DOCUMENT = Document(b"{}", "active", 1_000, None)


class Feed:
    """A topic of member updates of one test's own, and what a right store would hold."""

    def __init__(self, stack: StackInfo, producer: AIOKafkaProducer) -> None:
        self.tag = uuid4().hex[:8]
        self.topic = f"member-updates-{self.tag}"
        self.config = FollowerConfig(stack.broker, f"projector-{self.tag}", (self.topic,), 100)
        self.prefix = key_prefix(self.tag)
        self.live = Generation(self.prefix)
        self.expected: dict[bytes, bytes] = {}
        self._producer = producer
        self._admin = AdminClient({"bootstrap.servers": stack.broker})
        self._create()

    def _create(self) -> None:
        new = NewTopic(self.topic, PARTITIONS, 1, config={"cleanup.policy": "compact,delete"})
        self._admin.create_topics([new])[self.topic].result()

    async def make_anew(self) -> None:
        """Delete the topic with all it holds, and create it again."""
        self._admin.delete_topics([self.topic])[self.topic].result()
        await until(lambda: self.topic not in self._admin.list_topics().topics)
        self._create()

    def delete_first(self, records: int) -> None:
        """Delete so many records at the beginning of each partition."""
        asked = [ConfluentPartition(self.topic, at, records) for at in range(PARTITIONS)]
        for future in self._admin.delete_records(asked).values():
            future.result()

    async def send(self, key: str | bytes, value: bytes | None) -> None:
        raw = key.encode() if isinstance(key, str) else key
        await self._producer.send_and_wait(self.topic, value, raw)

    async def send_round(self, members: int, orders: int) -> None:
        """Say something new of every member, several times."""
        sent = []
        for again in (0, 1, 2):
            for number in range(members):
                value = update(f"m{number}", 10 * orders + again)
                self.expected[f"m{number}".encode()] = value
                sent.append(await self._producer.send(self.topic, value, f"m{number}".encode()))
        await asyncio.gather(*sent)

    def committed(self) -> int:
        """Return how many records the group need not read again."""
        [future] = self._admin.list_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(self.config.group)]
        ).values()
        return sum(max(tp.offset, 0) for tp in future.result().topic_partitions)


@pytest.fixture
async def feed(kafka_stack: StackInfo) -> AsyncIterator[Feed]:
    producer = AIOKafkaProducer(bootstrap_servers=kafka_stack.broker)
    await producer.start()
    try:
        yield Feed(kafka_stack, producer)
    finally:
        await producer.stop()


@asynccontextmanager
async def running(feed: Feed, store: object) -> AsyncIterator[Projector]:
    projector = Projector(feed.config, store)  # type: ignore[arg-type]
    projector.start()
    try:
        yield projector
    finally:
        await projector.stop()


@asynccontextmanager
async def connected(url: str, feed: Feed) -> AsyncIterator[RedisStore]:
    store = RedisStore.connect(url, feed.prefix, REDIS_TIMEOUT_MS)
    try:
        yield store
    finally:
        await store.close()


async def until(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while not what():  # noqa: ASYNC110 - the things waited for know no events
            await asyncio.sleep(0.02)


async def held(url: str, feed: Feed) -> dict[bytes, bytes]:
    """Return the documents that Redis holds for the feed, by the keys of their updates.

    At that very moment its indexes must say of every member what the documents say.
    """
    live = feed.live
    async with Redis.from_url(url) as client, client.pipeline(transaction=True) as pipeline:
        pipeline.hgetall(live.documents(anonymous=False))
        pipeline.hgetall(live.documents(anonymous=True))
        for stage in STAGES:
            pipeline.zrange(live.stage(stage), 0, -1)
        pipeline.zrange(live.risk, 0, -1, withscores=True)
        members, anonymous, *stages, risk = await pipeline.execute()
    said = {key: msgspec.json.decode(value, type=MemberUpdate) for key, value in members.items()}
    assert dict(zip(STAGES, map(set, stages), strict=True)) == {
        stage: {key for key, update in said.items() if update.stage == stage} for stage in STAGES
    }
    assert dict(risk) == {
        key: update.foreseen.churn_smoothed
        for key, update in said.items()
        if update.foreseen and update.stage not in ("dormant", "lost")
    }
    return {**members, **{ANONYMOUS_UPDATE + key: value for key, value in anonymous.items()}}


async def killed(redis: OwnRedis) -> None:
    redis.signal(signal.SIGKILL)
    await until(lambda: not redis.process.alive)


async def configure(redis: OwnRedis, name: str, value: str) -> None:
    async with Redis.from_url(redis.url) as client:
        await client.config_set(name, value)


class Memory:
    """A store that keeps documents here, and answers nothing while it is ``away``.

    Of two, one may be another way to the same documents.
    """

    def __init__(self, same: "Memory | None" = None) -> None:
        self.documents: dict[bytes, bytes] = {} if same is None else same.documents
        self.reached: dict[str, int] = {} if same is None else same.reached
        self.away = False

    async def places(self) -> Places:
        if self.away:
            raise StoreUnavailable("away")
        return dict(self.reached)

    async def write(self, content: Documents | None, expected: Places, reached: Places) -> Places:
        before = await self.places()
        if any(before.get(name, NOWHERE) != at for name, at in expected.items()):
            return before
        self.reached.update(reached)
        for key, document in (content or {}).items():
            if document is None:
                self.documents.pop(key, None)
            else:
                self.documents[key] = document.value
        return before


class Forgetful(Memory):
    """A store that loses everything just after it has said for the first time how far it goes."""

    forgets = False

    async def places(self) -> Places:
        found = await super().places()
        if self.forgets:
            self.forgets = False
            self.documents.clear()
            self.reached.clear()
        return found


# --- into Redis ---


async def test_redis_holds_the_last_document_of_every_member_that_is_not_gone(
    kafka_stack: StackInfo, feed: Feed
) -> None:
    await feed.send_round(members=5, orders=1)
    await feed.send("erased", update("erased", 1))
    await feed.send("gone", update("gone", 1))
    await feed.send(ANONYMOUS_UPDATE + b"a1", update("a1", anonymous=True))
    async with connected(kafka_stack.redis, feed) as store, running(feed, store) as projector:
        await until(lambda: projector.stats.read == 18)
        assert await store.document("erased", anonymous=False) is not None
        await feed.send("erased", update("erased", erased=True))
        await feed.send("gone", None)
        await until(lambda: projector.stats.read == 20)
        visitor = update("a1", anonymous=True)
        assert await held(kafka_stack.redis, feed) == {
            **feed.expected,
            ANONYMOUS_UPDATE + b"a1": visitor,
        }
        assert await store.document("a1", anonymous=True) == visitor
        assert await store.document("a1", anonymous=False) is None
        assert await store.document("gone", anonymous=False) is None
    assert feed.committed() == 20


async def test_updates_survive_a_redis_that_is_killed_and_one_that_hangs(
    feed: Feed, tmp_path: Path
) -> None:
    with own_redis(tmp_path) as redis:
        async with connected(redis.url, feed) as store, running(feed, store) as projector:
            stats = projector.stats
            await feed.send_round(members=150, orders=1)
            await until(lambda: stats.read == 450)
            assert stats.connected

            await killed(redis)
            await feed.send_round(members=200, orders=2)
            await until(lambda: stats.failures >= 3)
            assert not stats.connected
            assert stats.last_error is not None
            assert stats.waiting_since is not None
            await until(lambda: stats.behind == 600)
            # What Redis has not taken is not committed: a restart would read it again.
            await until(lambda: feed.committed() == 450)

            redis.start()
            await until(lambda: stats.read == 1050)
            assert await held(redis.url, feed) == feed.expected

            before = stats.failures
            redis.signal(signal.SIGSTOP)
            await feed.send_round(members=200, orders=3)
            await until(lambda: stats.failures > before)
            redis.signal(signal.SIGCONT)
            await until(lambda: stats.read == 1650 and stats.behind == 0)
            assert stats.last_error is None
            assert stats.waiting_since is None
            assert await held(redis.url, feed) == feed.expected
            # Each was read once: an outage of Redis is none of the group's business.
            await until(lambda: feed.committed() == 1650)


async def test_who_rests_as_long_as_it_works_does_not_rest_for_an_outage(
    feed: Feed, tmp_path: Path
) -> None:
    feed.config = replace(feed.config, rest=25.0)
    with own_redis(tmp_path) as redis:
        async with connected(redis.url, feed) as store, running(feed, store) as projector:
            await feed.send_round(members=10, orders=1)
            await until(lambda: projector.stats.read == 30)
            await killed(redis)
            await feed.send_round(members=10, orders=2)
            await until(lambda: projector.stats.failures >= 5)
            redis.start()
            await feed.send_round(members=10, orders=3)
            await until(lambda: projector.stats.read == 90)


async def test_a_full_redis_is_waited_for_and_its_error_quotes_no_document(
    feed: Feed, tmp_path: Path
) -> None:
    with own_redis(tmp_path) as redis:
        async with connected(redis.url, feed) as store:
            await until(lambda: redis._server.log.exists())
            async with running(feed, store) as projector:
                await feed.send_round(members=10, orders=1)
                await until(lambda: projector.stats.read == 30)
                await configure(redis, "maxmemory", "1")
                await feed.send_round(members=10, orders=2)
                await until(lambda: projector.stats.failures > 0)
                said = projector.stats.last_error
                assert said is not None
                assert "maxmemory" in said
                assert feed.tag not in said
                await configure(redis, "maxmemory", "0")
                await until(lambda: projector.stats.read == 60)
                assert await held(redis.url, feed) == feed.expected


async def test_a_redis_that_is_not_there_is_named_without_its_password(feed: Feed) -> None:
    [port] = lasting_ports(1)
    url = f"redis://:hunter2@127.0.0.1:{port}/0"
    async with connected(url, feed) as store:
        with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1") as caught:
            await store.document("m1", anonymous=False)
    assert "hunter2" not in str(caught.value)


async def test_a_projector_stops_though_redis_hangs(feed: Feed, tmp_path: Path) -> None:
    with own_redis(tmp_path) as redis:
        async with connected(redis.url, feed) as store:
            projector = Projector(feed.config, store)
            projector.start()
            await feed.send_round(members=3, orders=1)
            await until(lambda: projector.stats.read == 9)
            redis.signal(signal.SIGSTOP)
            await feed.send_round(members=3, orders=2)
            await until(lambda: projector.stats.failures > 0)
            async with asyncio.timeout(WAIT_SECONDS):
                await projector.stop()
    assert feed.committed() == 9


# --- a store that loses what it had taken ---


async def saved(url: str, feed: Feed) -> dict[str, bytes]:
    """Return a dump of what Redis holds for the feed."""
    keys = feed.live.all()
    async with Redis.from_url(url) as client, client.pipeline(transaction=True) as pipeline:
        for key in keys:
            pipeline.dump(key)
        dumps = await pipeline.execute()
    return {key: dump for key, dump in zip(keys, dumps, strict=True) if dump is not None}


async def lose(url: str, feed: Feed, dump: dict[str, bytes] | None = None) -> None:
    """Set Redis back to a dump, or to nothing, at one instant: nobody else sees half of it."""
    async with Redis.from_url(url) as client, client.pipeline(transaction=True) as pipeline:
        pipeline.delete(*feed.live.all())
        for key, value in (dump or {}).items():
            pipeline.restore(key, 0, value)
        await pipeline.execute()


async def until_right(url: str, feed: Feed) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while await held(url, feed) != feed.expected:  # noqa: ASYNC110 - Redis tells nobody
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("emptied", [True, False], ids=["emptied", "its last writes lost"])
async def test_what_redis_lost_while_nothing_happens_is_written_again(
    kafka_stack: StackInfo, feed: Feed, emptied: bool, caplog: pytest.LogCaptureFixture
) -> None:
    url = kafka_stack.redis
    async with connected(url, feed) as store, running(feed, store) as projector:
        await feed.send_round(members=50, orders=1)
        await until_right(url, feed)
        old = None if emptied else await saved(url, feed)
        await feed.send_round(members=50, orders=2)
        await until_right(url, feed)
        assert projector.stats.losses == 0
        await lose(url, feed, old)
        # Not more than was lost is read again.
        await until(lambda: projector.stats.read == (600 if emptied else 450))
        assert await held(url, feed) == feed.expected
        assert projector.stats.losses == 1
    assert caplog.text.count("has lost updates") == 1


async def test_what_redis_loses_while_updates_flow_is_written_again(
    kafka_stack: StackInfo, feed: Feed
) -> None:
    url = kafka_stack.redis
    async with connected(url, feed) as store, running(feed, store) as projector:
        old = None
        for orders in range(6):
            await feed.send_round(members=100, orders=orders)
            await until(lambda: projector.stats.read > 0)
            await lose(url, feed, old)
            old = await saved(url, feed)
        await until(lambda: projector.stats.losses > 0)
        await until_right(url, feed)
        await until(lambda: feed.committed() == 1800)


async def test_a_loss_is_noticed_though_the_first_write_after_it_was_not_answered(
    kafka_stack: StackInfo, feed: Feed
) -> None:
    async with connected(kafka_stack.redis, feed) as store:
        await store.write({b"m1": A_DOCUMENT}, {}, {"t/0": 10})
        await store.write({b"m2": A_DOCUMENT}, {"t/0": 10}, {"t/0": 20})
        await lose(kafka_stack.redis, feed)
        # Were it written, the one who asks again would be told that all is there.
        for _ in range(2):
            assert await store.write({b"m3": A_DOCUMENT}, {"t/0": 20}, {"t/0": 30}) == {}
        assert await held(kafka_stack.redis, feed) == {}


async def test_nothing_is_written_over_what_another_owner_wrote_meanwhile(
    kafka_stack: StackInfo, feed: Feed
) -> None:
    async with connected(kafka_stack.redis, feed) as store:
        await store.write(None, {"t/0": NOWHERE}, {"t/0": 2**52, "t/3": 7})
        places = {"t/0": 2**52, "t/3": 7}
        assert await store.write({b"m1": A_DOCUMENT}, {"t/0": 5}, {"t/0": 9}) == places
        assert await store.write(None, {"t/3": NOWHERE}, {"t/3": 0}) == places
        assert await store.places() == places
        assert await held(kafka_stack.redis, feed) == {}
        await store.write({b"m1": A_DOCUMENT}, places, {"t/1": 1})
        assert await store.places() == {**places, "t/1": 1}
        assert await store.document("m1", anonymous=False) == A_DOCUMENT.value


class Unanswering(Memory):
    """A store that writes, and whose answer to every other write is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0

    async def write(self, content: Documents | None, expected: Places, reached: Places) -> Places:
        before = await super().write(content, expected, reached)
        self.writes += 1
        if self.writes % 2 == 0:
            raise StoreUnavailable("the answer was lost")
        return before


async def test_a_write_whose_answer_was_lost_is_neither_a_loss_nor_made_twice(feed: Feed) -> None:
    store = Unanswering()
    async with running(feed, store) as projector:
        for orders in range(5):
            await feed.send_round(members=20, orders=orders)
            await until(lambda: store.documents == feed.expected)
        await until(lambda: projector.stats.read == 300)
        assert projector.stats.failures > 0
        assert projector.stats.losses == 0


async def test_who_finds_the_store_further_on_goes_on_there(feed: Feed) -> None:
    store = Memory()
    async with running(feed, store) as projector:
        await feed.send_round(members=50, orders=1)
        await until(lambda: projector.stats.read == 150)
        # As when a rebuilt projection was switched to that had read more than we had. What it has
        # read must be there: a store beyond the end of its topic is one whose topic was made anew.
        store.away = True
        await feed.send_round(members=50, orders=2)
        store.reached.update({name: at + 5 for name, at in store.reached.items()})
        store.away = False
        await until(lambda: projector.stats.read == 300 - 5 * PARTITIONS)
        assert projector.stats.losses == 0
        await until(lambda: feed.committed() == 300)


async def test_a_worker_begins_at_what_redis_has_and_not_at_what_was_committed(
    kafka_stack: StackInfo, feed: Feed
) -> None:
    url = kafka_stack.redis
    async with connected(url, feed) as store:
        async with running(feed, store) as first:
            await feed.send_round(members=50, orders=1)
            await until(lambda: first.stats.read == 150)
        await until(lambda: feed.committed() == 150)
        await lose(url, feed)
        async with running(feed, store) as second:
            await until(lambda: second.stats.read == 150)
            await until_right(url, feed)


async def test_a_loss_between_asking_where_to_begin_and_beginning_is_not_written_over(
    feed: Feed,
) -> None:
    store = Forgetful()
    async with running(feed, store) as first:
        await feed.send_round(members=50, orders=1)
        await until(lambda: first.stats.read == 150)
    store.forgets = True
    async with running(feed, store):
        await until(lambda: not store.forgets)
        await until(lambda: store.documents == feed.expected)


async def test_a_worker_that_begins_without_redis_waits_for_it_to_say_where(feed: Feed) -> None:
    store = Memory()
    async with running(feed, store) as first:
        await feed.send_round(members=50, orders=1)
        await until(lambda: first.stats.read == 150)
    store.documents.clear()
    store.reached.clear()
    store.away = True
    async with running(feed, store) as second:
        await until(lambda: second.stats.failures >= 3)
        assert second.stats.read == 0
        store.away = False
        await until(lambda: store.documents == feed.expected)


async def test_who_cannot_ask_the_store_where_to_go_on_tells_since_when(feed: Feed) -> None:
    store = Memory()
    store.away = True
    before = WallClock().now()
    async with running(feed, store) as projector:
        await until(lambda: projector.stats.waiting_since is not None)
        since = projector.stats.waiting_since
        assert since is not None
        assert since >= before
        await until(lambda: projector.stats.failures >= 3)
        assert projector.stats.waiting_since == since
        store.away = False
        await until(lambda: len(store.reached) == PARTITIONS)
        await until(lambda: projector.stats.waiting_since is None)


async def test_two_workers_fill_an_emptied_store_again(feed: Feed) -> None:
    store = Memory()
    async with running(feed, store) as first, running(feed, store) as second:
        await feed.send_round(members=100, orders=1)
        await until(lambda: store.documents == feed.expected)
        orders = 1
        async with asyncio.timeout(WAIT_SECONDS):
            while not (first.stats.read and second.stats.read):
                orders += 1
                await feed.send_round(members=100, orders=orders)
        await until(lambda: store.documents == feed.expected)
        store.documents.clear()
        store.reached.clear()
        await until(lambda: store.documents == feed.expected)
        assert first.stats.losses > 0
        assert second.stats.losses > 0


async def test_a_topic_made_anew_is_read_from_its_beginning(feed: Feed) -> None:
    store = Memory()
    async with running(feed, store) as first:
        await feed.send_round(members=50, orders=1)
        await until(lambda: first.stats.read == 150)
    await feed.make_anew()
    await feed.send("m1", update("m1", 7))
    async with running(feed, store) as second:
        await until(lambda: store.documents[b"m1"] == update("m1", 7))
        await until(lambda: sum(store.reached.values()) == 1)
        assert second.stats.losses == 0


async def test_a_loss_of_what_the_topic_has_no_more_is_made_good_as_far_as_it_goes(
    feed: Feed,
) -> None:
    store = Memory()
    async with running(feed, store) as projector:
        await feed.send_round(members=50, orders=1)
        await until(lambda: projector.stats.read == 150)
        feed.delete_first(10)
        store.documents.clear()
        store.reached.clear()
        # All had three updates, and the first ten of a partition were of its ten first members.
        await until(lambda: store.documents == feed.expected)
        assert projector.stats.read == 150 + 150 - 10 * PARTITIONS
        assert projector.stats.losses == 1


@pytest.mark.parametrize(
    ("place", "starts"),
    [(None, 5), (4, 5), (5, 5), (7, 7), (9, 9), (10, 5)],
    ids=["unknown", "deleted", "the first", "within", "the end", "beyond"],
)
def test_reading_starts_at_the_stores_place_if_the_topic_has_it(
    place: int | None, starts: int
) -> None:
    assert start(place, first=5, end=9) == starts


# --- following the topic ---


async def test_what_is_said_often_of_a_member_is_written_once_a_batch(feed: Feed) -> None:
    await feed.send_round(members=2, orders=1)
    store = Memory()
    async with running(feed, store) as projector:
        await until(lambda: projector.stats.read == 6)
    assert projector.stats.written == 2
    assert store.documents[b"m0"] == feed.expected[b"m0"]


async def test_a_projector_goes_on_where_the_one_before_it_stopped(feed: Feed) -> None:
    store = Memory()
    await feed.send("m1", update("m1", 1))
    async with running(feed, store) as first:
        await until(lambda: first.stats.read == 1)
    await feed.send("m1", update("m1", 2))
    async with running(feed, store) as second:
        await until(lambda: second.stats.read == 1)
    assert store.documents == {b"m1": update("m1", 2)}
    assert second.stats.losses == 0


async def test_a_batch_being_held_is_left_to_whoever_gets_its_partitions(feed: Feed) -> None:
    healthy = Memory()
    stuck = Memory(healthy)
    async with running(feed, stuck) as first:
        await until(lambda: len(stuck.reached) == PARTITIONS)
        stuck.away = True
        await feed.send_round(members=50, orders=1)
        await until(lambda: first.stats.waiting_since is not None)
        async with running(feed, healthy) as second:
            await until(lambda: second.stats.written > 0)
            await feed.send_round(members=50, orders=2)
            await until(lambda: healthy.documents.items() <= feed.expected.items())
            # What the stuck one held since round 1 is partly not its own any more.
            stuck.away = False
            await until(lambda: feed.committed() == 300)
        assert first.stats.losses == second.stats.losses == 0
    assert healthy.documents == feed.expected


async def test_projectors_share_the_partitions_and_every_document_ends_right(feed: Feed) -> None:
    store = Memory()
    async with running(feed, store) as first:
        await feed.send_round(members=50, orders=1)
        await until(lambda: first.stats.read > 0)
        async with running(feed, store) as second:
            rounds = 1
            async with asyncio.timeout(WAIT_SECONDS):
                while not second.stats.read:
                    rounds += 1
                    await feed.send_round(members=50, orders=rounds)
            await feed.send_round(members=50, orders=rounds + 1)
        await until(lambda: feed.committed() == 150 * (rounds + 1))
    assert store.documents == feed.expected


async def test_what_is_no_member_update_is_skipped_and_counted(
    feed: Feed, caplog: pytest.LogCaptureFixture
) -> None:
    store = Memory()
    await feed.send("m1", update("m1", 1))
    await feed.send("m1", b"\xff{not json")
    await feed.send("m2", b"[]")
    await feed.send("m1", update("m1", 2))
    async with running(feed, store) as projector:
        await until(lambda: projector.stats.read == 4)
    assert projector.stats.refused == 2
    assert store.documents == {b"m1": update("m1", 2)}
    assert "no member update" in caplog.text


# --- lifecycle member ---


def member(stack: StackInfo, *words: str) -> int:
    parser = argparse.ArgumentParser()
    add_parsers(parser.add_subparsers())
    args = parser.parse_args(["member", *words, "--redis", stack.redis])
    code: int = args.run(args)
    return code


@pytest.fixture
def stored(kafka_stack: StackInfo, monkeypatch: pytest.MonkeyPatch) -> Iterator[SyncRedis]:
    """Redis, and an application id of the test's own."""
    app_id = f"member-{uuid4().hex[:8]}"
    monkeypatch.setenv("LIFECYCLE_APP_ID", app_id)
    with SyncRedis.from_url(kafka_stack.redis) as client:
        client.hset(f"{app_id}:members", "m1", msgspec.json.encode(KNOWN))
        client.hset(f"{app_id}:anonymous", "m1", update("m1", anonymous=True))
        client.hset(f"{app_id}:members", "odd", b"not json")
        yield client


KNOWN = MemberUpdate(
    stage="active",
    band="high",
    since="2026-11-01T10:00:00.000Z",
    updated_at="2026-11-21T10:00:00.000Z",
    member_id="m1",
    orders=3,
    spend=120.5,
    last_order_at="2026-11-20T08:00:00.000Z",
    next_deadline_at="2026-11-22T09:00:00.000Z",
    cart=(ContextItem(item_id="tea", quantity=2.0, price=12.5),),
    open_triggers=("9f2c",),
    counts={"purchase": 3, "view_item": 12},
)


def test_the_command_says_what_is_known_in_lines(
    kafka_stack: StackInfo, stored: SyncRedis, capsys: pytest.CaptureFixture[str]
) -> None:
    assert member(kafka_stack, "m1") == 0
    assert capsys.readouterr().out.splitlines() == [
        "member m1",
        "  stage          active (high) since 2026-11-01T10:00:00.000Z",
        "  orders         3, spent 120.50, refunded 0.00, last 2026-11-20T08:00:00.000Z",
        "  activity       0 in 30 days",
        "  counts         view_item 12, purchase 3",
        "  cart           tea x 2 at 12.50",
        "  consent        nothing was said",
        "  open triggers  9f2c",
        "  next deadline  2026-11-22T09:00:00.000Z",
        "  as of          2026-11-21T10:00:00.000Z",
    ]


def test_what_a_support_desk_asks_for_is_among_the_lines() -> None:
    told = msgspec.structs.replace(
        KNOWN,
        rfm=RfmScores(4, 3, 5),
        foreseen=Foreseen(
            as_of="2026-11-20",
            model="2026-11-19",
            churn=0.7,
            churn_smoothed=0.61,
            expected_value=30.0,
            expected_value_low=5.0,
            expected_value_high=80.5,
            next_order=ExpectedOrder(
                median="2026-12-01", earliest="2026-11-25", latest="2026-12-20"
            ),
            reasons=("buys less than before",),
        ),
        segments=(Belongs("vip", "2026-10-01T00:00:00.000Z"),),
        tags=(Carries("salon_guest", "2026-10-02T00:00:00.000Z", "asked", "desk"),),
        consents=(
            ConsentSaid("sms", "marketing", granted=True),
            ConsentSaid("all", "service", granted=False),
        ),
        opted_out=("email",),
        last_triggers=(
            LastTrigger("cart_abandoned", "2026-11-21T09:00:00.000Z", "open", "9f2c"),
            LastTrigger("welcome", "2026-09-01T09:00:00.000Z", "over"),
        ),
    )
    lines = list(described(told))
    for line in (
        ("rfm", "recency 4, frequency 3, monetary 5 (1 to 5)"),
        ("churn risk", "61%, by the model of 2026-11-19 (buys less than before)"),
        ("expected value", "30.00 in 90 days, between 5.00 and 80.50"),
        ("next order", "around 2026-12-01, between 2026-11-25 and 2026-12-20"),
        ("segments", "vip since 2026-10-01T00:00:00.000Z"),
        ("tags", "salon_guest since 2026-10-02T00:00:00.000Z by desk: asked"),
        ("consent", "agreed to marketing by sms"),
        ("consent", "refused service by every channel"),
        ("opted out", "email"),
        (
            "last triggers",
            "cart_abandoned due 2026-11-21T09:00:00.000Z: open, may still be overtaken, 9f2c",
        ),
        (
            "last triggers",
            "welcome due 2026-09-01T09:00:00.000Z: over: sent, taken back or expired, or the "
            "member was in a control group",
        ),
    ):
        assert line in lines
    assert ("consent", "nothing was said") not in lines


def test_of_an_erased_member_nothing_but_that_is_said() -> None:
    erased = MemberUpdate(
        stage="lead",
        since="2026-11-21T10:00:00.000Z",
        updated_at="2026-11-21T10:00:00.000Z",
        erased=True,
        member_id="m1",
    )
    assert list(described(erased)) == [
        ("erased", "at 2026-11-21T10:00:00.000Z: nothing is kept"),
    ]


def test_the_command_prints_the_document_as_json(
    kafka_stack: StackInfo, stored: SyncRedis, capsys: pytest.CaptureFixture[str]
) -> None:
    assert member(kafka_stack, "m1", "--anonymous", "--json") == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert msgspec.json.decode(last)["anonymous_id"] == "m1"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nobody"], "Redis knows no member 'nobody'"),
        (["odd"], "what Redis holds of 'odd' is no document"),
        (["nobody", "--anonymous"], "Redis knows no anonymous id 'nobody'"),
    ],
)
def test_the_command_fails_with_one_line_when_nothing_is_known(
    kafka_stack: StackInfo,
    stored: SyncRedis,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    said: str,
) -> None:
    assert member(kafka_stack, *words) == 1
    err = capsys.readouterr().err
    assert err.startswith(said)
    assert err.count("\n") == 1


def test_the_command_says_when_redis_is_away(
    kafka_stack: StackInfo, capsys: pytest.CaptureFixture[str]
) -> None:
    [port] = lasting_ports(1)
    away = StackInfo("", f"redis://:hunter2@127.0.0.1:{port}/0", kafka_stack.data)
    assert member(away, "m1") == 1
    assert "hunter2" not in (err := capsys.readouterr().err)
    assert err.startswith("Redis: ")


def test_the_command_refuses_an_address_that_is_none(
    kafka_stack: StackInfo, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = StackInfo("", "http://127.0.0.1", kafka_stack.data)
    assert member(wrong, "m1") == 2
    assert "redis" in capsys.readouterr().err
