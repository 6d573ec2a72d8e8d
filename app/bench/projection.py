"""How fast documents and indexes get into Redis: from memory, by a rebuild, by a projector.

All three write the same made updates, through the same script, into one Redis on this machine. Of
each the CPU time per update is told beside the rate: of this process (reading, deciding, packing)
and of Redis. What is slower than both together is the machine's other work.
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from statistics import median
from typing import Any

import msgspec
from confluent_kafka import Producer
from redis import Redis

from agents.following import FollowerConfig
from agents.serving import Projector
from agents.serving_ports import Document
from agents.updates import document_to_keep
from app.bench.place import BenchError, Place, place, say
from app.kafka_security import for_aiokafka
from app.projection_keys import Generation, key_prefix
from app.projection_rebuild import BATCH, Rebuild, RebuildError
from app.redis_store import RedisStore
from app.topology import client_config
from config.settings import Settings
from models.stages import STAGES
from models.times import DAY, rfc3339
from models.triggers import (
    Carries,
    ContextItem,
    ExpectedOrder,
    Foreseen,
    MemberUpdate,
    RfmScores,
)

MEMBERS = 200_000
SEED = 1
NOW = 1_795_255_200_000
WRITERS = 2
"""One batch on its way while the next is prepared; more only queue up before Redis."""
TIMEOUT_MS = 10_000
LIMIT_SECONDS = 600.0


def projection(settings: Settings, members: int = MEMBERS, rounds: int = 3) -> dict[str, Any]:
    """Measure each way in turns; return the figures: medians over the turns.

    Raises ``BenchError``.
    """
    say(f"making {members:,} member updates")
    updates = [(f"m{number:08}".encode(), value) for number, value in _made(members)]
    turns: dict[str, list[dict[str, float]]] = {"memory": [], "rebuild": [], "projector": []}
    with place(settings, "projection") as here:
        here.make_topics()
        _produce(here, updates)
        with Redis.from_url(here.settings.redis) as redis:
            for turn in range(1, rounds + 1):
                for way, write in (
                    ("memory", lambda: asyncio.run(_from_memory(here, updates))),
                    ("rebuild", lambda: _rebuild(here)),
                    ("projector", lambda: asyncio.run(_project(here, members))),
                ):
                    say(f"turn {turn} of {rounds}: {way}")
                    turns[way].append(_measured(here, redis, members, write))
    return {
        "runs": [
            {"way": way, **{name: median(one[name] for one in told) for name in told[0]}}
            for way, told in turns.items()
        ],
        "members": members,
        "rounds": rounds,
        "mean_update_bytes": round(sum(len(value) for _, value in updates) / members),
    }


def _measured(here: Place, redis: Redis, members: int, write: Any) -> dict[str, float]:
    with _cleared(here, redis) as live:
        before, cpu, began = _used(redis), time.process_time(), time.monotonic()
        write()
        seconds = time.monotonic() - began
        own, served = time.process_time() - cpu, _used(redis) - before
        kept = redis.hlen(live.documents(anonymous=False))
        listed = sum(redis.zcard(live.stage(stage)) for stage in STAGES)
        if kept != members or not listed:
            raise BenchError(f"Redis holds {kept} documents of {members}, {listed} by stage")
        return {
            "members_per_second": round(members / seconds),
            "our_cpu_us": round(own / members * 1e6, 1),
            "redis_cpu_us": round(served / members * 1e6, 1),
        }


@contextmanager
def _cleared(here: Place, redis: Redis) -> Iterator[Generation]:
    live = Generation(key_prefix(here.settings.app_id))
    keys = [*live.all(), *live.next.all(), live.rebuilt]
    redis.unlink(*keys)
    try:
        yield live
    finally:
        redis.unlink(*keys)


def _used(redis: Redis) -> float:
    told: Any = redis.info("cpu")
    return float(told["used_cpu_user"] + told["used_cpu_sys"])


async def _from_memory(here: Place, updates: list[tuple[bytes, bytes]]) -> None:
    settings = here.settings
    batches = iter([updates[at : at + BATCH] for at in range(0, len(updates), BATCH)])
    store = RedisStore.connect(settings.redis, key_prefix(settings.app_id), TIMEOUT_MS)

    async def write(own: str) -> None:
        reached = 0
        for batch in batches:
            documents: dict[bytes, Document | None] = {
                key: document_to_keep(value) for key, value in batch
            }
            await store.write(documents, {own: reached or -1}, {own: reached + len(batch)})
            reached += len(batch)

    try:
        await asyncio.gather(*(write(f"memory/{number}") for number in range(WRITERS)))
    finally:
        await store.close()


def _rebuild(here: Place) -> None:
    try:
        Rebuild(here.settings).run()
    except RebuildError as error:
        raise BenchError(str(error)) from None


async def _project(here: Place, members: int) -> None:
    settings = here.settings
    store = RedisStore.connect(settings.redis, key_prefix(settings.app_id), TIMEOUT_MS)
    projector = Projector(
        FollowerConfig(
            settings.broker,
            f"{settings.app_id}-projector-{time.monotonic_ns():x}",
            (settings.topic("member-updates"),),
            settings.redis_batch_size,
            settings.session_timeout_ms / 1000,
            for_aiokafka(settings),
        ),
        store,
    )
    projector.start()
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            while projector.stats.read < members:  # noqa: ASYNC110 - it is its own clock
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise BenchError(f"the projector took more than {LIMIT_SECONDS:.0f} s") from None
    finally:
        await projector.stop()
        await store.close()


def _produce(here: Place, updates: list[tuple[bytes, bytes]]) -> None:
    producer = Producer({**client_config(here.settings), "linger.ms": 20})
    topic = here.settings.topic("member-updates")
    for number, (key, value) in enumerate(updates):
        while True:
            try:
                producer.produce(topic, value, key, number % here.settings.partitions)
                break
            except BufferError:
                producer.poll(0.1)
    if producer.flush(LIMIT_SECONDS):
        raise BenchError("not every update was taken")


def _made(members: int) -> Iterator[tuple[int, bytes]]:
    """Yield updates as long as a shop's: half of the members have bought and are scored."""
    random, encode = Random(SEED), msgspec.json.Encoder().encode
    for number in range(members):
        stage = random.choices(STAGES, (30, 5, 5, 20, 10, 15, 15))[0]
        viewed = rfc3339(NOW - random.randrange(30 * DAY))
        update = MemberUpdate(
            stage=stage,
            since=rfc3339(NOW - random.randrange(100 * DAY)),
            updated_at=rfc3339(NOW),
            member_id=f"m{number:08}",
            last_activity_at=viewed,
            next_deadline_at=rfc3339(NOW + random.randrange(DAY)),
            activity_30d=round(random.random() * 9, 3),
            locale="zh-CN",
            recent_items=tuple(
                ContextItem(item_id=f"sku-{item:04}", category="tea", price=12.5, viewed_at=viewed)
                for item in random.sample(range(2000), 3)
            ),
            cart=(ContextItem(item_id="sku-0001", quantity=2.0, price=12.5),),
            counts={"view_item": random.randrange(99), "purchase": 3},
            tags=(Carries("gift_buyer", viewed, "three gifts", "rule"),),
        )
        if stage != STAGES[0]:
            update = _bought(update, round(random.random(), 4))
        yield number, encode(update)


def _bought(update: MemberUpdate, churn: float) -> MemberUpdate:
    return msgspec.structs.replace(
        update,
        orders=3,
        spend=120.5,
        last_order_at=rfc3339(NOW - 40 * DAY),
        rfm=RfmScores(3, 4, 5, "2026-11-01"),
        foreseen=Foreseen(
            as_of="2026-11-20",
            model="2026-11-15",
            churn=churn,
            churn_smoothed=churn,
            expected_value=31.7,
            expected_value_low=2.0,
            expected_value_high=90.0,
            next_order=ExpectedOrder(
                median="2026-12-03", earliest="2026-11-22", latest="2027-01-09"
            ),
            reasons=("no order for 40 days", "fewer visits than usual"),
        ),
    )
