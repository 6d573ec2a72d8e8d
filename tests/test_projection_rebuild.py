"""The projection made again beside the live one: real Kafka and Redis, and what gets between."""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Timer
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from redis import Redis
from redis.exceptions import ConnectionError as RedisAway

from agents.following import FollowerConfig
from agents.members import ANONYMOUS_UPDATE
from agents.serving import Projector
from app import projection_rebuild
from app.bench.projection import projection
from app.projection_command import add_parsers
from app.projection_keys import Generation, key_prefix
from app.projection_rebuild import Rebuild, RebuildError, Rebuilt
from app.redis_store import RedisStore
from app.stack import StackInfo, processes
from app.stack.files import lasting_ports
from app.stack.redis_server import RedisServer
from config.settings import Settings, load_settings
from models.stages import STAGES
from models.triggers import Foreseen, MemberUpdate

PARTITIONS = 4
WAIT_SECONDS = 120.0

pytestmark = pytest.mark.kafka


def update(
    identity: str, orders: int = 0, *, erased: bool = False, anonymous: bool = False
) -> bytes:
    risk = round(orders % 10 / 10, 1)
    return msgspec.json.encode(
        MemberUpdate(
            stage=STAGES[orders % len(STAGES)],
            since=f"2026-11-21T10:00:00.{orders % 1000:03}Z",
            updated_at="2026-11-22T10:00:00.000Z",
            orders=orders,
            member_id=None if anonymous else identity,
            anonymous_id=identity if anonymous else None,
            foreseen=Foreseen(as_of="a", model="m", churn=risk, churn_smoothed=risk),
            erased=erased,
        )
    )


class Shop:
    """A topic of member updates of one test's own, and what a right Redis would hold."""

    def __init__(self, stack: StackInfo) -> None:
        tag = f"rebuild-{uuid4().hex[:8]}"
        self.variables = {
            "LIFECYCLE_BROKER": stack.broker,
            "LIFECYCLE_REDIS": stack.redis,
            "LIFECYCLE_APP_ID": tag,
            "LIFECYCLE_TOPIC_PREFIX": f"{tag}.",
            "LIFECYCLE_PARTITIONS": str(PARTITIONS),
        }
        self.expected: dict[bytes, bytes] = {}
        self._admin = AdminClient({"bootstrap.servers": stack.broker})
        self._producer = Producer({"bootstrap.servers": stack.broker, "linger.ms": 2})
        self.make_topic()

    @property
    def settings(self) -> Settings:
        return load_settings(self.variables)

    @property
    def topic(self) -> str:
        return self.settings.topic("member-updates")

    @property
    def live(self) -> Generation:
        return Generation(key_prefix(self.settings.app_id))

    def make_topic(self) -> None:
        new = NewTopic(self.topic, PARTITIONS, 1, config={"cleanup.policy": "compact"})
        self._admin.create_topics([new])[self.topic].result()
        wait(lambda: self.topic in self._admin.list_topics().topics)

    def delete_topic(self) -> None:
        self._admin.delete_topics([self.topic])[self.topic].result()
        wait(lambda: self.topic not in self._admin.list_topics().topics)

    def send(self, key: bytes, value: bytes | None) -> None:
        self._producer.produce(self.topic, value, key)
        self._producer.poll(0)
        if value is None or b'"erased":true' in value:
            self.expected.pop(key, None)
        else:
            self.expected[key] = value

    def send_all(self, members: int, orders: int) -> None:
        for number in range(members):
            self.send(f"m{number}".encode(), update(f"m{number}", orders + number))
        self.flush()

    def flush(self) -> None:
        assert self._producer.flush(WAIT_SECONDS) == 0


def wait(what: Callable[[], object]) -> None:
    latest = time.monotonic() + WAIT_SECONDS
    while not what():
        assert time.monotonic() < latest
        time.sleep(0.01)


def documents(redis: Redis, made: Generation) -> dict[bytes, bytes]:
    members: Any = redis.hgetall(made.documents(anonymous=False))
    anonymous: Any = redis.hgetall(made.documents(anonymous=True))
    return {
        **members,
        **{ANONYMOUS_UPDATE + key: value for key, value in anonymous.items()},
    }


def indexes(redis: Redis, made: Generation) -> dict[str, dict[bytes, float]]:
    found: dict[str, Any] = {
        key: redis.zrange(key, 0, -1, withscores=True)
        for key in (made.risk, *map(made.stage, STAGES))
    }
    return {key: dict(listed) for key, listed in found.items()}


def assert_right(redis: Redis, shop: Shop) -> None:
    """Everything that Redis holds is what the topic says, and nothing of it will go by itself."""
    live = shop.live
    assert documents(redis, live) == shop.expected
    wanted: dict[str, dict[bytes, float]] = {live.stage(stage): {} for stage in STAGES}
    wanted[live.risk] = {}
    for key, value in shop.expected.items():
        if not key.startswith(ANONYMOUS_UPDATE):
            said = msgspec.json.decode(value, type=MemberUpdate)
            assert said.foreseen is not None
            wanted[live.stage(said.stage)][key] = 1_795_255_200_000 + said.orders % 1000
            if said.stage not in ("dormant", "lost"):
                wanted[live.risk][key] = said.foreseen.churn_smoothed
    assert indexes(redis, live) == wanted
    assert {redis.ttl(key) for key in live.all() if redis.exists(key)} <= {-1}
    assert not redis.exists(*live.next.all())


@pytest.fixture
def shop(kafka_stack: StackInfo) -> Shop:
    return Shop(kafka_stack)


@pytest.fixture
def redis(shop: Shop) -> Iterator[Redis]:
    with Redis.from_url(shop.settings.redis) as client:
        yield client


def plant(redis: Redis, made: Generation, member: str) -> None:
    """Put a member into a projection of whom the topic says nothing, or nothing any more."""
    redis.hset(made.documents(anonymous=False), member, update(member, 1))
    redis.zadd(made.stage("new"), {member: 1})
    redis.zadd(made.risk, {member: 0.99})


# --- from nothing, and over what was wrong ---


def test_a_rebuilt_projection_is_what_the_topic_says_and_nothing_else(
    shop: Shop, redis: Redis
) -> None:
    shop.send_all(members=300, orders=1)
    shop.send(b"erased", update("erased", 1))
    shop.send(b"gone", update("gone", 2))
    shop.send(ANONYMOUS_UPDATE + b"a1", update("a1", 3, anonymous=True))
    shop.send_all(members=200, orders=5)
    shop.send(b"erased", update("erased", erased=True))
    shop.send(b"gone", None)
    shop.flush()
    # As after a dump that is older than the topic's tombstones.
    for member in ("erased", "gone", "long forgotten"):
        plant(redis, shop.live, member)
    done = Rebuild(shop.settings).run()
    assert_right(redis, shop)
    assert done.records == 505
    assert (done.members, done.anonymous, done.refused) == (300, 1, 0)
    assert redis.get(shop.live.rebuilt) is not None


def test_what_is_no_member_update_is_left_out_and_counted(shop: Shop, redis: Redis) -> None:
    shop.send_all(members=3, orders=1)
    shop._producer.produce(shop.topic, b"{not json", b"m1")
    shop._producer.produce(shop.topic, b"[]", b"m2")
    shop.flush()
    assert Rebuild(shop.settings).run().refused == 2
    assert_right(redis, shop)


def test_an_empty_topic_gives_an_empty_projection(shop: Shop, redis: Redis) -> None:
    plant(redis, shop.live, "long forgotten")
    done = Rebuild(shop.settings).run()
    assert (done.records, done.members) == (0, 0)
    assert_right(redis, shop)


def test_an_index_of_a_rebuilt_projection_is_bounded(shop: Shop, redis: Redis) -> None:
    shop.send_all(members=700, orders=0)
    Rebuild(shop.settings, bound=10).run()
    assert {len(listed) for listed in indexes(redis, shop.live).values()} == {10}


# --- while workers write ---


def projector(shop: Shop, store: RedisStore) -> Projector:
    settings = shop.settings
    return Projector(
        FollowerConfig(settings.broker, f"{settings.app_id}-projector", (shop.topic,), 100), store
    )


class Reader:
    """Somebody who asks all the time, and takes note of whoever was missing."""

    def __init__(self, redis: Redis, shop: Shop, members: int) -> None:
        self.asked = 0
        self.missing = 0
        self._redis = redis
        self._key = shop.live.documents(anonymous=False)
        self._ids = [f"m{number}" for number in range(members)]

    def look(self) -> None:
        self.asked += 1
        self.missing += self._redis.hmget(self._key, self._ids).count(None)


async def test_workers_write_and_readers_read_while_it_is_made_again(
    shop: Shop, redis: Redis
) -> None:
    members = 400
    settings = shop.settings
    store = RedisStore.connect(settings.redis, key_prefix(settings.app_id), 2_000)
    following = projector(shop, store)
    following.start()
    reader = Reader(redis, shop, members)
    try:
        shop.send_all(members, orders=1)
        made = shop.live.documents(anonymous=False)
        await asyncio.to_thread(wait, lambda: redis.hlen(made) == members)
        plant(redis, shop.live, "long forgotten")
        for again in range(3):
            rebuilding = asyncio.create_task(asyncio.to_thread(Rebuild(settings).run))
            orders = 10 * again
            while not rebuilding.done():
                orders += 1
                for number in range(0, members, 7):
                    shop.send(f"m{number}".encode(), update(f"m{number}", orders + number))
                    reader.look()
                    await asyncio.sleep(0.001)
            assert (await rebuilding).members == members
        shop.send(b"m5", update("m5", erased=True))
        shop.flush()
        await asyncio.to_thread(wait, lambda: documents(redis, shop.live) == shop.expected)
        assert reader.asked > 50
        assert reader.missing == 0
        assert following.stats.losses == 0
    finally:
        await following.stop()
        await store.close()
    assert_right(redis, shop)


def test_nobody_is_switched_to_what_is_older_than_what_was_there(shop: Shop, redis: Redis) -> None:
    shop.send_all(members=50, orders=1)
    Rebuild(shop.settings).run()
    told = {name: int(at) for name, at in redis.hgetall(shop.live.projected).items()}
    # The topic goes on after it was read to its end, and the workers have written that already.
    later: list[int] = []

    def meanwhile(read: int, _: int) -> None:
        later.append(read)
        if len(later) == 1:
            redis.hset(shop.live.projected, mapping={name: at + 1 for name, at in told.items()})
            for partition in range(PARTITIONS):
                key = f"late{partition}".encode()
                shop.expected[key] = update(key.decode(), 3)
                shop._producer.produce(shop.topic, shop.expected[key], key, partition)
            shop.flush()

    Rebuild(shop.settings, meanwhile).run()
    assert_right(redis, shop)
    assert later[-1] == 54


def test_a_projection_of_another_topic_is_not_replaced_unasked(shop: Shop, redis: Redis) -> None:
    shop.send_all(members=50, orders=1)
    Rebuild(shop.settings).run()
    before = documents(redis, shop.live)
    shop.delete_topic()
    shop.make_topic()
    shop.expected.clear()
    shop.send_all(members=5, orders=1)
    with pytest.raises(RebuildError, match="delete the Redis key"):
        Rebuild(shop.settings).run()
    assert documents(redis, shop.live) == before
    redis.delete(shop.live.projected)
    Rebuild(shop.settings).run()
    assert_right(redis, shop)


def test_who_stays_behind_the_workers_gives_up_and_leaves_all_as_it_is(
    shop: Shop, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projection_rebuild, "PATIENCE_SECONDS", 1.0)
    monkeypatch.setattr(Rebuild, "_check_ends", lambda *_: None)
    shop.send_all(members=20, orders=1)
    Rebuild(shop.settings).run()
    before = documents(redis, shop.live)
    name = next(iter(redis.hgetall(shop.live.projected)))
    redis.hset(shop.live.projected, name, 10**6)
    shop.send_all(members=20, orders=2)
    with pytest.raises(RebuildError, match="stays ahead"):
        Rebuild(shop.settings).run()
    assert documents(redis, shop.live) == before


# --- what gets in between ---


def started(shop: Shop) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "app", "projection", "rebuild"]
    return subprocess.Popen(
        command, env={**os.environ, **shop.variables}, stderr=subprocess.DEVNULL
    )


def test_killed_in_the_middle_it_leaves_the_live_one_and_nothing_that_stays(
    shop: Shop, redis: Redis
) -> None:
    shop.send_all(members=300, orders=1)
    Rebuild(shop.settings).run()
    before = documents(redis, shop.live), indexes(redis, shop.live)
    shop.send_all(members=30_000, orders=2)
    made = shop.live.next.documents(anonymous=False)
    process = started(shop)
    try:
        wait(lambda: redis.hlen(made))
    finally:
        process.kill()
        assert process.wait() == -signal.SIGKILL
    assert 0 < redis.hlen(made) < 30_000
    assert (documents(redis, shop.live), indexes(redis, shop.live)) == before
    left = [key for key in shop.live.next.all() if redis.exists(key)]
    assert all(0 < redis.pttl(key) <= projection_rebuild.ABANDONED_MS for key in left)
    # Erased since, and gone from the topic: were the unfinished one continued, it would be back.
    plant(redis, shop.live.next, "erased since")
    Rebuild(shop.settings).run()
    assert_right(redis, shop)


def test_the_later_of_two_rebuilds_at_once_is_the_one_that_is_made(
    shop: Shop, redis: Redis
) -> None:
    shop.send_all(members=3_000, orders=1)
    second: list[Rebuilt] = []

    def meanwhile(*_: int) -> None:
        if not second:
            second.append(Rebuild(shop.settings).run())

    with pytest.raises(RebuildError, match="another rebuild"):
        Rebuild(shop.settings, meanwhile).run()
    assert second[0].members == 3_000
    assert_right(redis, shop)


def test_a_write_and_a_switch_whose_answers_are_lost_are_made_once(
    shop: Shop, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.send_all(members=1_500, orders=1)
    rebuild = Rebuild(shop.settings)
    ask, answers = rebuild._ask, 0

    def deaf(question: Callable[[], object]) -> object:
        def again() -> object:
            nonlocal answers
            answer = question()
            answers += 1
            if answers % 2 == 0:
                raise RedisAway("the answer was lost")
            return answer

        return ask(again)

    monkeypatch.setattr(rebuild, "_ask", deaf)
    assert rebuild.run().members == 1_500
    assert_right(redis, shop)


# --- a Redis of its own, to be ill-treated ---


@pytest.fixture
def own_redis(tmp_path: Path, shop: Shop) -> Iterator[processes.Process]:
    (tmp_path / "logs").mkdir()
    server = RedisServer(tmp_path)
    server.prepare(lambda _: None)
    [port] = lasting_ports(1)
    process = server.launch(port)
    shop.variables["LIFECYCLE_REDIS"] = f"redis://127.0.0.1:{port}/0"
    with Redis.from_url(shop.variables["LIFECYCLE_REDIS"]) as client:
        wait(lambda: _answers(client))
    try:
        yield process
    finally:
        processes.stop([process], 0.0)


def _answers(client: Redis) -> bool:
    with suppress(RedisAway):
        return bool(client.ping())
    return False


def test_a_redis_that_loses_everything_meanwhile_is_no_half_projection(
    shop: Shop, own_redis: processes.Process
) -> None:
    shop.send_all(members=3_000, orders=1)
    with Redis.from_url(shop.settings.redis) as redis:
        with pytest.raises(RebuildError, match="Redis lost it"):
            Rebuild(shop.settings, lambda *_: redis.flushall()).run()
        assert not redis.exists(*shop.live.all())
        Rebuild(shop.settings).run()
        assert_right(redis, shop)


def test_a_redis_that_hangs_for_a_while_is_waited_for(
    shop: Shop, own_redis: processes.Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.send_all(members=3_000, orders=1)
    held: list[int] = []

    def meanwhile(read: int, _: int) -> None:
        if not held:
            held.append(read)
            os.kill(own_redis.pid, signal.SIGSTOP)
            waking.start()

    monkeypatch.setattr(projection_rebuild, "REDIS_SECONDS", 0.3)
    shop.variables["LIFECYCLE_REDIS_TIMEOUT_MS"] = "300"
    waking = Timer(1.5, os.kill, (own_redis.pid, signal.SIGCONT))
    Rebuild(shop.settings, meanwhile).run()
    waking.join()
    with Redis.from_url(shop.settings.redis) as redis:
        assert_right(redis, shop)


def test_a_redis_that_may_throw_things_away_is_refused(
    shop: Shop, own_redis: processes.Process
) -> None:
    with Redis.from_url(shop.settings.redis) as redis:
        redis.config_set("maxmemory", "100mb")
        redis.config_set("maxmemory-policy", "volatile-lru")
        with pytest.raises(RebuildError, match=r"volatile-lru.*noeviction"):
            Rebuild(shop.settings).run()
        redis.config_set("maxmemory-policy", "noeviction")
        assert Rebuild(shop.settings).run().records == 0


def test_a_full_redis_is_told_of_and_the_live_one_stays(
    shop: Shop, own_redis: processes.Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.send_all(members=300, orders=1)
    Rebuild(shop.settings).run()
    monkeypatch.setattr(projection_rebuild, "PATIENCE_SECONDS", 0.5)
    with Redis.from_url(shop.settings.redis) as redis:
        redis.config_set("maxmemory", "1")
        with pytest.raises(RebuildError, match="maxmemory"):
            Rebuild(shop.settings).run()
        redis.config_set("maxmemory", "0")
        assert documents(redis, shop.live) == shop.expected


# --- the command ---


def rebuild(shop: Shop, monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    for name, value in shop.variables.items():
        monkeypatch.setenv(name, value)
    parser = argparse.ArgumentParser()
    add_parsers(parser.add_subparsers())
    args = parser.parse_args(["projection", "rebuild", *words])
    code: int = args.run(args)
    return code


def test_the_command_says_what_was_made(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.send_all(members=1_200, orders=1)
    shop.send(ANONYMOUS_UPDATE + b"a1", update("a1", anonymous=True))
    shop.flush()
    assert rebuild(shop, monkeypatch, "--json") == 0
    said, last = capsys.readouterr().out.splitlines()
    assert said.startswith("1,200 members and 1 anonymous ids from 1,201 updates in ")
    told = json.loads(last)
    assert {name: told[name] for name in ("members", "anonymous", "records", "refused")} == {
        "members": 1_200,
        "anonymous": 1,
        "records": 1_201,
        "refused": 0,
    }


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"LIFECYCLE_TOPIC_PREFIX": "nothing-here."}, "topic nothing-here.member-updates: "),
        ({"LIFECYCLE_BROKER": "127.0.0.1:1"}, "Kafka at 127.0.0.1:1: "),
        ({"LIFECYCLE_REDIS": "redis://:hunter2@127.0.0.1:1/0"}, "Redis: "),
    ],
    ids=["no topic", "no broker", "no Redis"],
)
def test_the_command_fails_with_one_line(
    shop: Shop,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variables: dict[str, str],
    said: str,
) -> None:
    monkeypatch.setattr(projection_rebuild, "PATIENCE_SECONDS", 0.5)
    monkeypatch.setattr(projection_rebuild, "BROKER_SECONDS", 3.0)
    shop.variables.update(variables)
    assert rebuild(shop, monkeypatch, "--json") == 1
    out, err = capsys.readouterr()
    assert err.startswith(said)
    assert err.count("\n") == 1
    assert "hunter2" not in err
    assert json.loads(out)["error"] == "not_rebuilt"


# --- how fast ---


def test_every_way_is_measured_and_nothing_of_it_stays(redis: Redis, shop: Shop) -> None:
    figures = projection(shop.settings, members=700, rounds=1)
    assert [one["way"] for one in figures["runs"]] == ["memory", "rebuild", "projector"]
    assert all(one["members_per_second"] > 0 for one in figures["runs"])
    assert not list(redis.scan_iter("bench-projection-*"))
