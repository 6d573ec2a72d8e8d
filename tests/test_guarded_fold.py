"""A worker's fold under a guard: what it counts, what it is told, and what is kept of it."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from guard_kit import LANES, MONDAY, TUESDAY_NOON, Shop, by_day, nothing, until

from agents.fold import Decoded
from agents.group import Collecting
from agents.members import BadShare, MemberFold, MemberStats, OutputTopics
from agents.partitioner import murmur2_partition
from agents.ports import Output
from app.guard_keeper import GuardKeeper
from app.redis_client import StoreUnavailable
from app.redis_store import RedisStore
from app.stack import processes
from app.stack.files import lasting_ports
from app.stack.redis_server import RedisServer
from models.decoding import RANK_OF
from models.events import TOPIC_OF
from models.guard import Guard
from models.times import HOUR, MINUTE, rfc3339

WEB = ("purchase", "web")
OUT = OutputTopics()
PARTITIONS = 8


@dataclass(frozen=True)
class Record:
    """A record as the broker hands it over."""

    topic: str
    value: bytes
    key: bytes
    partition: int
    offset: int
    timestamp: int


def fold_of(shop: Shop, guard: Guard | None, kind: type[MemberFold] = MemberFold) -> MemberFold:
    return kind(
        shop.book,
        OUT,
        murmur2_partition,
        PARTITIONS,
        "/test",
        BadShare(),
        MemberStats(),
        guard=guard,
    )


def record(kind: str, at: int, offset: int, member: str = "m1", **fields: Any) -> Record:
    body = {"type": kind, "member_id": member, "occurred_at": at, **fields}
    key = member.encode()
    place = murmur2_partition(key, PARTITIONS)
    return Record(TOPIC_OF[kind], json.dumps(body).encode(), key, place, offset, at)


def collecting(fold: MemberFold, rows: dict[bytes, bytes] | None = None) -> Any:
    return Collecting(fold, {} if rows is None else rows, lambda key, due: None)


def give(into: Any, fold: MemberFold, one: Record, now: int | None) -> object:
    decoded = fold.decode(one)
    assert isinstance(decoded, Decoded)
    return into.apply(RANK_OF[one.topic] - 1, decoded, one, now)


def put_out(into: Any) -> Sequence[Output]:
    return [output for group in into.close(1 << 20) for output in group.outputs]


def verdicts(outputs: Sequence[Output], rule: str = "") -> list[str]:
    decisions = [json.loads(one.value or b"") for one in outputs if one.topic == OUT.decisions]
    return [
        one["verdict"]
        for one in decisions
        if one["type"] == "decision" and rule in ("", one["rule"])
    ]


def silenced() -> Shop:
    """A shop whose web orders stopped at noon."""
    shop = Shop()
    shop.lives(MONDAY, TUESDAY_NOON + HOUR, {WEB: until(TUESDAY_NOON, by_day)})
    return shop


def counted(shop: Shop, now: int) -> float:
    """How many visits from the app the guard has counted on all lanes."""
    shop.guard.closed(now, now + 20_000)
    return sum(shop.guard.learnt(now).events.get("visit", {}).values()) * LANES


def test_each_event_of_life_is_counted_once_however_often_its_record_comes() -> None:
    shop = Shop()
    fold = fold_of(shop, shop.guard)
    into = collecting(fold)
    records = [record("visit", TUESDAY_NOON + at, at, source="app") for at in range(5)]
    history = record("visit", TUESDAY_NOON + 9, 9, source="app", origin="backfill")
    for one in (*records, *records, history, records[0]):
        give(into, fold, one, TUESDAY_NOON + 10)
    assert counted(shop, TUESDAY_NOON + 10) == pytest.approx(5)


def test_each_trigger_is_counted() -> None:
    shop = Shop()
    fold = fold_of(shop, shop.guard)
    into = collecting(fold)
    for offset in range(3):
        give(into, fold, record("visit", TUESDAY_NOON + offset, offset), TUESDAY_NOON)
    shop.guard.closed(TUESDAY_NOON, TUESDAY_NOON + MINUTE)
    (found,) = shop.guard.learnt(TUESDAY_NOON).triggers["hello"].values()
    assert found * LANES == pytest.approx(3)


def test_what_is_concluded_from_a_silent_feed_waits_in_the_worker_and_not_without_a_guard() -> None:
    at = TUESDAY_NOON + HOUR + MINUTE
    due = at + 2 * HOUR
    for guarded, expected in ((True, ["raised", "suspended"]), (False, ["raised", "raised"])):
        shop = silenced()
        fold = fold_of(shop, shop.guard if guarded else None)
        into = collecting(fold)
        give(into, fold, record("visit", at, 0, source="app"), at)
        assert into.advance(b"mm1", due, due + 5) is None
        assert verdicts(put_out(into)) == expected


def test_in_stream_time_nothing_is_counted_and_nothing_closed() -> None:
    shop = silenced()
    fold = fold_of(shop, shop.guard)
    before = counted(shop, shop.at)
    into = collecting(fold)
    at = shop.at + MINUTE
    give(into, fold, record("visit", at, 0, source="app"), None)
    into.advance(b"mm1", at + 2 * HOUR, None)
    assert verdicts(put_out(into)) == ["raised", "raised"]
    assert counted(shop, shop.at) == before


def test_a_tuesday_noon_without_orders() -> None:
    """The web's orders stay away; who browses meanwhile is spoken to once, and not at once."""
    shop = Shop()
    back = TUESDAY_NOON + 4 * HOUR
    orders = {WEB: until(TUESDAY_NOON, by_day, until(back, nothing, by_day))}
    shop.lives(MONDAY, TUESDAY_NOON, orders)
    fold = fold_of(shop, shop.guard)
    into = collecting(fold)
    visitors = [f"m{number}" for number in range(60)]
    for number, member in enumerate(visitors):
        give(into, fold, record("visit", shop.at, number, member), shop.at)
    outputs = list(put_out(into))
    while shop.at < back + 3 * HOUR:
        shop.lives(shop.at, shop.at + 10 * MINUTE, orders)
        for key in [b"m" + member.encode() for member in visitors]:
            due = into.next_due(key)
            if due is not None and due <= shop.at:
                into.advance(key, shop.at, shop.at)
        outputs += put_out(into)
    assert verdicts(outputs, "no_order") == ["suspended"] * 60 + ["raised"] * 60
    said = [json.loads(one.value or b"") for one in outputs if one.topic == OUT.triggers]
    found = [one for one in said if one["rule"] == "no_order"]
    assert sorted(one["member_id"] for one in found) == sorted(visitors)
    assert {one["not_before"] >= rfc3339(back) for one in found} == {True}
    assert len({one["not_before"][:16] for one in found}) > 10


class Defective(MemberFold):
    """A fold that fails on the records of searches."""

    def apply(self, state: Any, decoded: Any, *rest: Any) -> Sequence[Output]:
        found = super().apply(state, decoded, *rest)
        if decoded.event.type == "search":
            raise RuntimeError("a defect")
        return found


def test_what_is_folded_anew_after_a_defect_is_what_it_was_though_the_guard_has_spoken() -> None:
    shop = Shop()
    shop.lives(MONDAY, TUESDAY_NOON, {WEB: by_day})
    fold = fold_of(shop, shop.guard, Defective)
    into = collecting(fold)
    at, due = shop.at, shop.at + 2 * HOUR
    give(into, fold, record("visit", at, 0, source="app"), at)
    assert into.advance(b"mm1", due, at + 1) is None  # before anybody is missed
    shop.lives(shop.at, shop.at + HOUR, {})
    assert shop.guard.closed(shop.at, shop.at + 1).feeds
    search = record("search", due + 1, 1, query="tea")
    assert isinstance(give(into, fold, search, shop.at + 1), RuntimeError)
    assert verdicts(put_out(into)) == ["raised", "raised"]


class Notes:
    """What a store keeps, while it is there."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.away = False

    async def note(self, name: str) -> bytes | None:
        if self.away:
            raise StoreUnavailable("away")
        return self.kept.get(name)

    async def keep_note(self, name: str, value: bytes) -> None:
        if self.away:
            raise StoreUnavailable("away")
        self.kept[name] = value


def keeper(shop: Shop, notes: Notes) -> GuardKeeper:
    return GuardKeeper(shop.guard, notes, lambda: shop.at)


def began(at: int) -> Shop:
    shop = Shop()
    shop.at = at
    shop.guard.closed(at, at)
    return shop


async def test_what_was_learnt_is_read_before_anything_is_written() -> None:
    notes, old = Notes(), silenced()
    kept = keeper(old, notes)
    await kept.turn()
    assert notes.kept == {}
    await kept.turn()
    new = began(old.at)
    notes.away = True
    follower = keeper(new, notes)
    await follower.turn()
    await follower.turn()
    notes.away = False
    before = notes.kept["guard"]
    await follower.turn()
    assert notes.kept["guard"] == before
    assert new.guard.learnt(new.at).usual == old.guard.learnt(old.at).usual
    await follower.turn()
    assert msgspec.msgpack.decode(notes.kept["guard"])[2] == msgspec.msgpack.decode(before)[2]


@pytest.mark.parametrize("junk", [b"", b"junk", msgspec.msgpack.encode([1, 2, 3])])
async def test_what_cannot_be_read_is_learnt_anew(junk: bytes) -> None:
    notes, shop = Notes(), began(MONDAY)
    notes.kept["guard"] = junk
    kept = keeper(shop, notes)
    await kept.turn()
    await kept.turn()
    assert notes.kept["guard"] != junk


async def test_a_guard_that_has_not_begun_is_left_alone() -> None:
    notes = Notes()
    kept = keeper(Shop(), notes)
    for _ in range(3):
        await kept.turn()
    assert notes.kept == {}


async def test_a_store_that_does_not_answer_does_not_keep_a_worker_from_ending() -> None:
    class Frozen(Notes):
        async def keep_note(self, name: str, value: bytes) -> None:
            await asyncio.Event().wait()

    shop = silenced()
    kept = keeper(shop, Frozen())
    await kept.turn()
    kept.start()
    async with asyncio.timeout(30):
        await kept.stop()


async def test_at_its_end_a_worker_writes_what_it_has_learnt() -> None:
    notes, shop = Notes(), silenced()
    kept = keeper(shop, notes)
    await kept.turn()
    kept.start()
    await kept.stop()
    assert set(notes.kept) == {"guard"}


@pytest.mark.kafka
async def test_redis_keeps_it_from_one_worker_to_the_next(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    server = RedisServer(tmp_path)
    server.prepare(lambda _: None)
    [port] = lasting_ports(1)
    process = server.launch(port)
    store = RedisStore.connect(f"redis://127.0.0.1:{port}/0", "test:", 2000)
    try:
        async with asyncio.timeout(30):
            while not await is_there(store):  # noqa: ASYNC110 - a server tells nobody that it is up
                await asyncio.sleep(0.05)
        old = silenced()
        before = GuardKeeper(old.guard, store, lambda: old.at)
        await before.turn()
        await before.turn()
        new = began(old.at)
        await GuardKeeper(new.guard, store, lambda: new.at).turn()
        assert new.guard.feeds() == {WEB: True}
        assert await store.note("another") is None
    finally:
        await store.close()
        processes.stop([process], 0.0)


async def is_there(store: RedisStore) -> bool:
    try:
        await store.note("anything")
    except StoreUnavailable:
        return False
    return True
