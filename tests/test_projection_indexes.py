"""Members by stage and by risk, in Redis: kept with the documents, bounded, never told wrong."""

from collections.abc import AsyncIterator, Iterator
from random import Random
from uuid import uuid4

import msgspec
import pytest
from redis import Redis

from agents.members import ANONYMOUS_UPDATE
from agents.serving_ports import NOWHERE, Document
from agents.updates import document_to_keep
from app.projection_keys import Generation, key_prefix
from app.redis_client import StoreUnavailable
from app.redis_store import RedisStore
from app.stack import StackInfo
from app.stack.files import lasting_ports
from models.stages import STAGES
from models.triggers import Foreseen, MemberUpdate

pytestmark = pytest.mark.kafka

BOUND = 5


def document(stage: str, since: int = 1_000, risk: float | None = None) -> Document:
    return Document(b"{}", stage, since, risk)


class Store(RedisStore):
    """A store that knows how far it went, so that a test need not say."""

    went = NOWHERE

    async def put(self, **documents: Document | None) -> None:
        content = {key.encode(): document for key, document in documents.items()}
        before = await self.write(content, {"t/0": self.went}, {"t/0": self.went + 1})
        assert before == ({} if self.went == NOWHERE else {"t/0": self.went})
        self.went += 1


@pytest.fixture
def prefix() -> str:
    return key_prefix(f"indexes-{uuid4().hex[:8]}")


@pytest.fixture
def redis(kafka_stack: StackInfo) -> Iterator[Redis]:
    with Redis.from_url(kafka_stack.redis, decode_responses=True) as client:
        yield client


@pytest.fixture
async def store(kafka_stack: StackInfo, prefix: str) -> AsyncIterator[Store]:
    made = Store(RedisStore.connect(kafka_stack.redis, prefix, 2_000)._client, prefix, 2_000, BOUND)
    yield made
    await made.close()


async def test_a_member_is_listed_in_its_stage_and_by_its_risk(store: Store) -> None:
    await store.put(a=document("active", 30, 0.2), b=document("active", 50, 0.9))
    await store.put(c=document("active", 40), d=document("lead", 1))
    assert await store.ids_by_stage("active", 0, 10) == [("b", 50), ("c", 40), ("a", 30)]
    assert await store.ids_by_stage("active", 1, 1) == [("c", 40)]
    assert await store.ids_by_stage("lead", 0, 10) == [("d", 1)]
    assert await store.ids_by_risk(0, 10) == [("b", 0.9), ("a", 0.2)]
    counts = await store.counts_by_stage()
    assert counts == {**dict.fromkeys(STAGES, 0), "active": 3, "lead": 1}


async def test_who_has_gone_to_sleep_is_not_at_risk_until_waking_up(store: Store) -> None:
    await store.put(a=document("active", 1, 0.5), b=document("loyal", 2, 0.6))
    await store.put(a=document("dormant", 3, 0.9), b=document("lost", 4, 0.99))
    assert await store.ids_by_risk(0, 10) == []
    await store.put(a=document("active", 5, 0.4))
    assert await store.ids_by_risk(0, 10) == [("a", 0.4)]


async def test_the_instant_of_a_stage_is_kept_to_the_millisecond(store: Store) -> None:
    await store.put(a=document("new", 1_795_255_200_001))
    assert await store.ids_by_stage("new", 0, 1) == [("a", 1_795_255_200_001)]


async def test_a_member_that_changes_stage_leaves_the_old_one(store: Store) -> None:
    for at, stage in enumerate((*STAGES, *reversed(STAGES))):
        await store.put(a=document(stage, at))
        assert await store.counts_by_stage() == {**dict.fromkeys(STAGES, 0), stage: 1}
        assert await store.ids_by_stage(stage, 0, 10) == [("a", at)]


async def test_who_is_gone_or_no_more_scored_or_in_an_unknown_stage_is_listed_no_more(
    store: Store,
) -> None:
    await store.put(a=document("active", 1, 0.5), b=document("active", 2, 0.6))
    await store.put(a=None, b=document("hibernating", 3, None))
    assert await store.counts_by_stage() == dict.fromkeys(STAGES, 0)
    assert await store.ids_by_risk(0, 10) == []
    assert await store.documents(["a", "b"]) == [None, b"{}"]


async def test_anonymous_ids_are_in_no_index_and_no_member_of_the_same_name_is_touched(
    store: Store,
) -> None:
    await store.put(a=document("active", 1, 0.5))
    visitor = {ANONYMOUS_UPDATE + b"a": document("lead", 2, 0.9)}
    await store.write(visitor, {}, {})
    await store.write({ANONYMOUS_UPDATE + b"b": None, **visitor}, {}, {})
    assert await store.document("a", anonymous=True) == b"{}"
    assert await store.ids_by_stage("lead", 0, 10) == []
    assert await store.ids_by_risk(0, 10) == [("a", 0.5)]
    await store.write({ANONYMOUS_UPDATE + b"a": None}, {}, {})
    assert await store.document("a", anonymous=True) is None
    assert await store.document("a", anonymous=False) == b"{}"


async def test_an_index_lists_who_came_last_and_the_riskiest_however_they_come(
    store: Store,
) -> None:
    random = Random(7)
    names = [f"m{number:02}" for number in range(30)]
    for _ in range(20):
        random.shuffle(names)
        await store.put(
            **{name: document("active", int(name[1:]), int(name[1:]) / 100) for name in names}
        )
        last = sorted(names)[: -BOUND - 1 : -1]
        assert await store.ids_by_stage("active", 0, 100) == [(one, int(one[1:])) for one in last]
        assert await store.ids_by_risk(0, 100) == [(one, int(one[1:]) / 100) for one in last]


async def test_of_those_who_came_at_once_the_same_are_listed_in_whatever_order_they_come(
    store: Store,
) -> None:
    names = [f"m{number:02}" for number in range(30)]
    for order in (names, names[::-1]):
        await store.put(**dict.fromkeys(order))
        for one in order:
            await store.put(**{one: document("lost", 1)})
        listed = [identity for identity, _ in await store.ids_by_stage("lost", 0, 100)]
        assert listed == names[: -BOUND - 1 : -1]


async def test_more_members_than_a_command_takes_are_written_in_one_batch(
    store: Store, redis: Redis, prefix: str
) -> None:
    many = {f"m{number}": document(STAGES[number % 3], number, 0.5) for number in range(20_000)}
    await store.put(**many)
    live = Generation(prefix)
    assert redis.hlen(live.documents(anonymous=False)) == 20_000
    assert await store.counts_by_stage() == {
        stage: BOUND if stage in STAGES[:3] else 0 for stage in STAGES
    }
    await store.put(**dict.fromkeys(many))
    assert [key for key in live.all() if redis.exists(key)] == [live.projected]


async def test_nothing_is_listed_when_the_places_are_others(store: Store) -> None:
    await store.put(a=document("active", 1, 0.5))
    await store.write({b"b": document("active", 2, 0.6), b"a": None}, {"t/0": 99}, {"t/0": 100})
    assert await store.ids_by_stage("active", 0, 10) == [("a", 1)]
    assert await store.ids_by_risk(0, 10) == [("a", 0.5)]


async def test_lists_tell_that_redis_is_away(prefix: str) -> None:
    [port] = lasting_ports(1)
    store = RedisStore.connect(f"redis://127.0.0.1:{port}/0", prefix, 300)
    try:
        for question in (
            store.ids_by_stage("active", 0, 1),
            store.ids_by_risk(0, 1),
            store.counts_by_stage(),
            store.documents(["a"]),
        ):
            with pytest.raises(StoreUnavailable):
                await question
    finally:
        await store.close()


def test_what_a_member_is_listed_by_is_read_from_its_update() -> None:
    update = MemberUpdate(
        stage="active",
        since="2026-11-21T10:00:00.123Z",
        updated_at="2026-11-22T10:00:00.000Z",
        member_id="m1",
    )
    value = msgspec.json.encode(update)
    assert document_to_keep(value) == Document(value, "active", 1_795_255_200_123, None)
    foreseen = Foreseen(as_of="2026-11-20", model="2026-11-15", churn=0.7, churn_smoothed=0.625)
    value = msgspec.json.encode(msgspec.structs.replace(update, foreseen=foreseen))
    assert document_to_keep(value) == Document(value, "active", 1_795_255_200_123, 0.625)
    value = msgspec.json.encode(msgspec.structs.replace(update, erased=True))
    assert document_to_keep(value) is None
    assert document_to_keep(None) is None
