"""The observer on a real broker and real Redis: each fact once, whatever fails."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from core_builders import whole_book
from observing_kit import Log, Said, event, of_ours, transition
from own_redis import OwnRedis, own_redis
from redis.asyncio import Redis

from agents.following import Follower
from agents.observer import FOLLOWED, Observing
from agents.observer_ports import Facts
from agents.partitioner import murmur2_partition
from agents.serving_ports import Places
from app.observed_keys import FEED_KEPT, TIMELINE_KEPT
from app.observed_store import ObservedStore
from app.observing import observer
from app.redis_client import StoreUnavailable
from app.stack import StackInfo
from config.settings import Settings
from models.times import DAY, HOUR, rfc3339

PARTITIONS = 4
WAIT_SECONDS = 60.0
BEGINNING = 1_700_000_000_000 // DAY * DAY
DIGEST = "ab" * 32
BOOK = whole_book()

pytestmark = pytest.mark.kafka


class World:
    """Topics of one test's own, and what was sent to them."""

    def __init__(self, stack: StackInfo, producer: AIOKafkaProducer) -> None:
        self.tag = uuid4().hex[:8]
        self.redis = stack.redis
        self.settings = Settings(
            broker=stack.broker,
            app_id=f"o-{self.tag}",
            topic_prefix=f"{self.tag}-",
            partitions=PARTITIONS,
            redis=stack.redis,
            redis_batch_size=40,
            test_members=frozenset({"tester"}),
        )
        self.said: list[Said] = []
        self._producer = producer
        admin = AdminClient({"bootstrap.servers": stack.broker})
        # What happened long ago would be deleted by its timestamp.
        kept = {"retention.ms": "-1"}
        new = [NewTopic(self.settings.topic(name), PARTITIONS, 1, config=kept) for name in FOLLOWED]
        for future in admin.create_topics(new).values():
            future.result()

    async def send(self, said: Sequence[Said]) -> None:
        """Send in order, each to the partition of its key."""
        sent = []
        for one in said:
            topic, at = self.settings.topic(one.topic), murmur2_partition(one.key, PARTITIONS)
            time = max(one.timestamp, 1)
            self.said.append(one)
            sent.append(await self._producer.send(topic, one.value, one.key, at, timestamp_ms=time))
        await asyncio.gather(*sent)

    def store(self, redis: str | None = None) -> ObservedStore:
        return ObservedStore.connect(
            redis or self.redis, f"o-{self.tag}:", self.settings.redis_timeout_ms
        )

    async def expected(self) -> dict[str, Any]:
        """Return what a store has that counted everything once, in one go."""
        store = ObservedStore.connect(self.redis, f"plain-{self.tag}:", 30_000)
        try:
            await Log(self.said).counted(store, [])
            return await contents(store)
        finally:
            await store.close()


@pytest.fixture
async def world(kafka_stack: StackInfo) -> AsyncIterator[World]:
    producer = AIOKafkaProducer(bootstrap_servers=kafka_stack.broker)
    await producer.start()
    try:
        yield World(kafka_stack, producer)
    finally:
        await producer.stop()


@asynccontextmanager
async def running(
    world: World, store: ObservedStore, through: "Callable[[Any], Any] | None" = None
) -> AsyncIterator[Follower[Facts]]:
    follower = observer(world.settings, BOOK, store)
    if through is not None:
        follower._store = through(follower._store)
    follower.start()
    try:
        yield follower
    finally:
        await follower.stop()


async def until(what: Callable[[], Any]) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            found = what()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return
            await asyncio.sleep(0.05)


async def is_through(world: World, store: ObservedStore) -> bool:
    try:
        places = await store.writer().places()
    except StoreUnavailable:
        return False
    return sum(places.values()) == len(world.said)


async def contents(store: ObservedStore) -> dict[str, Any]:
    """Return all that a store holds, but how far it goes, by key."""
    redis: Redis = store._redis
    prefix = store._prefix
    told: dict[str, Any] = {}
    async for raw in redis.scan_iter(match=f"{prefix}*", count=1000):
        key = raw.decode()
        name = key.removeprefix(prefix)
        kind = (await redis.type(key)).decode()
        if name == "observed" or name.startswith("lc:labels"):
            continue
        if kind == "hash":
            numbers = (await redis.hgetall(key)).items()
            told[name] = {field.decode(): int(n) for field, n in numbers if int(n)}
        elif kind == "zset":
            told[name] = await redis.zrange(key, 0, -1, withscores=True)
        elif kind == "stream":
            told[name] = sorted(fields[b"e"] for _, fields in await redis.xrange(key))
        elif name.startswith("lc:active"):
            if name.count(":") == 2:  # those by source may count a member under a former one too
                told[name] = await redis.pfcount(key)
        elif name.startswith("life:"):
            # What was seen last depends on the order; all that is counted does not.
            told[name] = True
        else:
            told[name] = await redis.get(key)
    return {name: value for name, value in told.items() if value != {}}


def life_of(member: str, random: Random) -> list[Said]:
    """A member's year, as it is sent: registers, looks, buys, comes and goes."""
    at = BEGINNING + random.randrange(30 * DAY)
    told = [event("register", member, at, source=random.choice(("app", "web")), event_id="r")]
    told.append(transition(member, rfc3339(at), "lead", "new", "registered"))
    for number in range(random.randrange(1, 8)):
        at += random.randrange(HOUR, 20 * DAY)
        told.append(event("view_item", member, at, item_id=f"sku-{number}", source="app"))
        at += random.randrange(1, HOUR)
        if random.random() < 0.5:
            order = f"{member}-{number}"
            told.append(event("purchase", member, at, order_id=order, total=10 + number))
            if random.random() < 0.3:
                told.append(event("refund", member, at + HOUR, event_id=f"f{number}",
                                  order_id=order, total=3))  # fmt: skip
        if random.random() < 0.3:
            told.append(trigger(member, at + 2 * HOUR, f"{member}-{number}"))
    return told


def trigger(member: str, at: int, name: str, rule: str = "recall") -> Said:
    told = {"type": "trigger", "trigger_id": name, "member_id": member, "rule": rule}
    reason = {"text": "no order for long", "kind": "absence"}
    return of_ours(
        "triggers",
        {
            **told,
            "rule_version": 1,
            "occasion": str(at),
            "stage": "dormant",
            "due_at": rfc3339(at),
            "raised_at": rfc3339(at + HOUR),
            "reason": reason,
        },
    )


def lives(members: int, seed: int) -> list[Said]:
    random = Random(seed)
    return [one for number in range(members) for one in life_of(f"m{number}", random)]


# --- what pages ask ---


async def test_pages_find_a_member_by_order_and_contact_and_read_the_timeline(
    world: World,
) -> None:
    at = BEGINNING
    store = world.store()
    async with running(world, store):
        await world.send(
            [
                event("link", "m1", at, other_id=DIGEST, kind="email_sha256"),
                event("purchase", "m1", at + 1, order_id="o1", total=25.5),
                transition("m1", rfc3339(at + 1), "lead", "new", "first order"),
                trigger("m1", at + 2, "t1"),
                event("visit", "tester", at + 3, test=True),
                Said("browse", b"m1", b"{", at),
            ]
        )
        await until(lambda: is_through(world, store))
        assert await store.member_by_order("o1") == "m1"
        assert await store.member_by_contact(DIGEST) == "m1"
        assert await store.member_by_order("o2") is None
        assert await store.member_by_contact("cd" * 32) is None
        told, older = await store.timeline("m1")
        assert older is None
        assert [(one["kind"], one["at"]) for one in told] == [
            ("trigger", rfc3339(at + 2)),
            ("stage", rfc3339(at + 1)),
            ("event", rfc3339(at + 1)),
            ("event", rfc3339(at)),
        ]
        paged: list[dict[str, Any]] = []
        for number in range(len(told)):  # two of them share an instant
            page, older = await store.timeline("m1", 1, older)
            assert (older is None) == (number + 1 == len(told))
            paged += page
        assert paged == told
        page, older = await store.timeline("m1", 2)
        assert await store.timeline("m1", before=older) == (told[2:], None)
        assert await store.timeline("m1", before=rfc3339(at + 1)) == (told[3:], None)
        with pytest.raises(ValueError, match="neither RFC 3339 nor"):
            await store.timeline("m1", before="yesterday")
        [tested], _ = await store.timeline("tester")
        assert tested["type"] == "visit"
        assert await store.totals() == {"events": 2, "triggers": 1, "cancelled": 0, "members": 1}
        assert (await store.stages())["new"] == 1
        [flow] = await store.flows()
        assert flow == {"from": "lead", "to": "new", "today": 1, "total": 1}
        day = rfc3339(at)[:10]
        counts = {"triggers": 1, "cancelled": 0, "settled": 0, "held_back": 0}
        assert await store.rule_counts() == {"recall": {day: counts}}
        feed = await store.feed()
        assert {entry["kind"] for _, entry in feed} == {"trigger", "stage"}
        first, entry = feed[0]
        assert entry["id"] == first
        assert await store.feed(first) == feed[1:]
        assert await store.feed(limit=1) == feed[1:]
        with pytest.raises(ValueError, match="is no id"):
            await store.feed("$")
        await store.close()


async def test_who_is_erased_is_found_by_nothing(world: World) -> None:
    store = world.store()
    async with running(world, store):
        await world.send(
            [
                event("link", "m1", BEGINNING, other_id=DIGEST, kind="phone_sha256"),
                event("purchase", "m1", BEGINNING, order_id="o1", total=5),
                event("purchase", "m2", BEGINNING, order_id="o2", total=5),
                trigger("m1", BEGINNING, "t1"),
                trigger("m2", BEGINNING, "t2"),
                transition("m1", rfc3339(BEGINNING), "lead", "new", "first order"),
            ]
        )
        await until(lambda: is_through(world, store))
        assert await store.member_by_order("o1") == "m1"
        assert len(await store.feed()) == 3
        await world.send([event("erase", "m1", BEGINNING + DAY)])
        await until(lambda: is_through(world, store))
        assert await store.member_by_order("o1") is None
        assert await store.member_by_contact(DIGEST) is None
        assert await store.timeline("m1") == ([], None)
        names = [key.decode() async for key in store._redis.scan_iter(match=f"{store._prefix}*")]
        named = [name for name in names if "m1" in name or "o1" in name or DIGEST in name]
        assert named == []
        for name in names:
            assert name.endswith("observed") or b"m1" not in await store._redis.dump(name)
        assert (await store.totals())["members"] == 1
        [(_, left)] = await store.feed()
        assert left["member_id"] == "m2"
        await store.close()


async def test_what_is_past_is_no_news_unless_time_is_made(world: World) -> None:
    now = BEGINNING + DAY
    said = [
        trigger("m1", now - 3 * HOUR, "long ago"),
        trigger("m2", now - 3 * HOUR // 2, "due long ago and sent just now"),
        transition("m3", rfc3339(now - 2 * HOUR), "lead", "new"),
        transition("m4", rfc3339(now), "lead", "new"),
    ]
    for time, expected in ((now, {"m2", "m4"}), (None, {"m1", "m2", "m3", "m4"})):
        prefix = f"o-{world.tag}:{time}:"
        store = ObservedStore.connect(world.redis, prefix, 30_000, lambda time=time: time)
        await Log(said).counted(store, [])
        assert {entry["member_id"] for _, entry in await store.feed()} == expected
        assert (await store.totals())["triggers"] == 2
        await store.close()


async def test_timelines_and_the_feed_are_bounded(world: World) -> None:
    store = world.store()
    looks = [event("visit", "m1", BEGINNING + n) for n in range(TIMELINE_KEPT + 50)]
    sent = [trigger(f"m{n % 7}", BEGINNING + n, f"t{n}") for n in range(FEED_KEPT + 500)]
    async with running(world, store):
        await world.send([*looks, *sent])
        await until(lambda: is_through(world, store))
        assert len((await store.timeline("m1", 1000))[0]) == TIMELINE_KEPT
        assert await store._redis.xlen(f"{store._prefix}feed") < FEED_KEPT + 200
        await store.close()


# --- once, whatever fails ---


class Doubtful:
    """A store of which some answers are lost, after the work or before it."""

    def __init__(self, store: Any, random: Random) -> None:
        self._store = store
        self._random = random

    async def places(self) -> Places:
        found: Places = await self._store.places()
        return found

    async def write(self, content: Facts | None, expected: Places, reached: Places) -> Places:
        luck = self._random.random()
        if luck < 0.2:
            raise StoreUnavailable("lost on the way there")
        before: Places = await self._store.write(content, expected, reached)
        if luck < 0.4:
            raise StoreUnavailable("the answer was lost")
        return before


async def test_lost_answers_and_owners_that_come_and_go_count_nothing_twice(
    world: World,
) -> None:
    store = world.store()
    random = Random(5)
    doubtful = lambda real: Doubtful(real, random)  # noqa: E731
    said = lives(60, 1)
    async with running(world, store, doubtful):
        await world.send(said[: len(said) // 2])
        async with running(world, store, doubtful):
            await world.send(said[len(said) // 2 :])
            await asyncio.sleep(1)
        async with running(world, store, doubtful):
            # What was sent last before a crash is sent again.
            again = [one for one in said[-150:] if one.topic in ("decisions", "triggers")]
            await world.send(again)
            await until(lambda: is_through(world, store))
    assert await contents(store) == await world.expected()
    assert (await store.totals())["members"] == 60
    await store.close()


async def test_an_observer_that_was_taken_over_and_does_not_know_counts_nothing(
    world: World,
) -> None:
    store = world.store()
    await world.send(lives(10, 2))
    async with running(world, store) as follower:
        await until(lambda: is_through(world, store))
        writer = follower._store
        places = await writer.places()
        name = next(name for name in places if name.endswith("browse/0"))
        stale = {**places, name: places[name] - 1}
        before = await contents(store)
        one = Log([event("visit", "m1", BEGINNING)])
        observing = Observing({name: name for name in FOLLOWED}, lambda _key, _count: 0, 1)
        facts = observing.take({TopicPartition("browse", 0): one.topics["browse"]}).content
        assert await writer.write(facts, stale, {name: places[name] + 5}) == places
        assert await contents(store) == before
        assert await writer.places() == places
    await store.close()


async def killed(redis: OwnRedis) -> None:
    redis.signal(signal.SIGKILL)
    await until(lambda: not redis.process.alive)


async def test_a_redis_that_is_killed_and_flushed_ends_up_right(
    world: World, tmp_path: Path
) -> None:
    said = lives(40, 3)
    third = len(said) // 3
    with own_redis(tmp_path) as redis:
        store = world.store(redis.url)
        async with running(world, store) as follower:
            await world.send(said[:third])
            await until(lambda: follower.stats.read >= third // 2)
            await killed(redis)
            await world.send(said[third : 2 * third])
            redis.start()
            await until(lambda: is_through(world, store))
            await world.send(said[2 * third :])
            await store._redis.flushall()
            await until(lambda: is_through(world, store))
            assert follower.stats.losses
        assert await contents(store) == await world.expected()
        await store.close()


async def test_a_redis_that_is_full_takes_nothing_and_then_all(
    world: World, tmp_path: Path
) -> None:
    await world.send(lives(20, 4))
    with own_redis(tmp_path) as redis:
        store = world.store(redis.url)
        async with running(world, store) as follower:
            await until(lambda: is_through(world, store))
            before = await contents(store)
            await store._redis.config_set("maxmemory", "1mb")
            refused = follower.stats.failures
            # Known days, known members: nothing but counters moves.
            looks = [one for one in world.said if b"view_item" in one.value]
            await world.send(looks[:5])
            await until(lambda: follower.stats.failures > refused + 2)
            assert await contents(store) == before
            await store._redis.config_set("maxmemory", "0")
            await until(lambda: is_through(world, store))
        assert await contents(store) == await world.expected()
        await store.close()
