"""Any worker answers for any member: by its own row, by Redis, or by asking the lane's owner."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from stocked_redis import Stock, stock
from web_kit import BOOK, TOKEN, World, served

from agents.members import ANONYMOUS, MEMBER
from agents.ports import Output
from app.member_lookup import MemberLookup
from app.owners import Owners
from app.redis_client import StoreUnavailable
from app.serving import advertised
from app.web.ports import NotHere, Unavailable
from app.web.shapes import Ahead
from config.settings_kinds import Secret
from models.times import rfc3339
from models.triggers import MemberUpdate


def document(source: str, **fields: object) -> bytes:
    known = {"type": "member_update", "stage": "lead", "since": "2026-11-21T10:00:00.000Z"}
    return json.dumps(known | {"updated_at": source} | fields).encode()


class Store:
    """Documents of other workers' members."""

    def __init__(self) -> None:
        self.documents = {("far", False): document("store"), ("near", False): document("store")}
        self.down = False
        self.asked = 0

    async def document(self, identity: str, anonymous: bool) -> bytes | None:
        self.asked += 1
        if self.down:
            raise StoreUnavailable("Redis: connection refused")
        return self.documents.get((identity, anonymous))


class Owner:
    """The worker that owns lane 1."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes] = {}
        self.down = False

    async def ask(self, lane: int, path: str) -> bytes | None:
        assert lane == 1
        if self.down:
            raise Unavailable("the worker that owns the member's lane does not answer")
        return self.answers.get(path)


def project(key: bytes, body: bytes | None) -> tuple[Output, ...]:
    return (Output("member-updates", key[1:], body),)


def lookup(store: Store, owner: Owner | None = None) -> MemberLookup:
    own = {
        MEMBER + b"near": document("row"),
        ANONYMOUS + b"visitor": document("anonymous row"),
        MEMBER + b"gone": document("row", erased=True),
    }
    return MemberLookup(
        lane_of=lambda identity: 1 if identity.startswith(b"far") else 0,
        rows=lambda lane: own if lane == 0 else None,
        project=project,
        store=store,
        owners=owner or Owner(),
        book=BOOK,
    )


async def test_a_member_of_our_own_lane_is_answered_from_its_row() -> None:
    store = Store()
    store.down = True
    assert await lookup(store).document("near", anonymous=False) == document("row")
    assert await lookup(store).document("visitor", anonymous=True) == document("anonymous row")


async def test_our_own_lane_knows_who_is_unknown_and_who_is_erased() -> None:
    store = Store()
    store.documents["gone", False] = store.documents["nobody", False] = document("store")
    assert await lookup(store).document("gone", anonymous=False) is None
    assert await lookup(store).document("nobody", anonymous=False) is None
    assert await lookup(store).ahead("gone") is None
    assert await lookup(store).ahead("nobody") is None


async def test_a_member_of_another_lane_is_answered_from_the_store() -> None:
    store, owner = Store(), Owner()
    owner.down = True
    assert await lookup(store, owner).document("far", anonymous=False) == document("store")


async def test_the_owner_is_asked_when_the_store_is_away() -> None:
    store, owner = Store(), Owner()
    store.down = True
    owner.answers["/members/far%2F%20?here=1&anonymous=1"] = document("owner")
    found = lookup(store, owner)
    assert await found.document("far/ ", anonymous=True) == document("owner")
    assert await found.document("far", anonymous=False) is None


async def test_the_owner_is_asked_when_the_store_has_lost_what_it_had() -> None:
    store, owner = Store(), Owner()
    store.documents.clear()
    owner.answers["/members/far?here=1&anonymous=0"] = document("owner")
    found = lookup(store, owner)
    assert await found.document("far", anonymous=False) == document("owner")
    assert await found.document("far away", anonymous=False) is None
    assert store.asked == 2
    owner.down = True
    with pytest.raises(Unavailable, match="no such document; the worker that owns"):
        await found.document("far", anonymous=False)


async def test_a_store_that_did_not_answer_is_left_alone_for_a_moment() -> None:
    store, owner = Store(), Owner()
    store.down = True
    found = lookup(store, owner)
    for _ in range(5):
        await found.document("far", anonymous=False)
    assert store.asked == 1


async def test_when_neither_answers_it_is_said_of_both() -> None:
    store, owner = Store(), Owner()
    store.down = owner.down = True
    with pytest.raises(Unavailable, match="connection refused; the worker that owns"):
        await lookup(store, owner).document("far", anonymous=False)


async def test_who_is_asked_for_its_own_rows_asks_nobody() -> None:
    store = Store()
    with pytest.raises(NotHere):
        await lookup(store).document("far", anonymous=False, here=True)
    with pytest.raises(NotHere):
        await lookup(store).ahead("far", here=True)
    assert store.asked == 0


# --- what is ahead --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stocked() -> Stock:
    return stock(BOOK)


async def test_what_is_ahead_is_what_the_row_waits_for_the_next_first(stocked: Stock) -> None:
    found = MemberLookup(
        lane_of=lambda _: 0,
        rows=lambda _: stocked.rows,
        project=lambda key, row: project(key, stocked.documents[key[1:].decode(), False]),
        store=Store(),
        owners=Owner(),
        book=BOOK,
    )
    named = 0
    for (identity, anonymous), raw in stocked.documents.items():
        if anonymous:
            continue
        ahead = await found.ahead(identity)
        assert ahead is not None
        assert [one.at for one in ahead] == sorted(one.at for one in ahead)
        due = json.loads(raw).get("next_deadline_at")
        if due is not None:
            assert due in {one.at for one in ahead}
        assert all(one.what_zh for one in ahead)
        named += sum(one.rule in BOOK.rules for one in ahead)
    assert named > 10


async def test_what_is_ahead_elsewhere_is_asked_of_the_owner() -> None:
    owner = Owner()
    owner.answers["/members/far/ahead?here=1"] = (
        b'{"member_id":"far","ahead":[{"at":"2026-11-22T00:00:00.000Z","what":"x","rule":"r"}]}'
    )
    found = lookup(Store(), owner)
    assert await found.ahead("far") == [Ahead("2026-11-22T00:00:00.000Z", "x", None, "r")]
    assert await found.ahead("far away") is None


async def test_without_the_owner_the_next_deadline_is_told() -> None:
    store, owner = Store(), Owner()
    owner.down = True
    at = rfc3339(1_795_255_200_000)
    store.documents["far", False] = document("store", next_deadline_at=at)
    ahead = await lookup(store, owner).ahead("far")
    assert ahead is not None
    assert [one.at for one in ahead] == [at]
    assert MemberUpdate.__struct_fields__.count("next_deadline_at") == 1


# --- asking, over a real socket -------------------------------------------------------------------


@asynccontextmanager
async def asking(world: World, token: str, **how: bool) -> AsyncIterator[Owners]:
    async with served(world, **how) as session:
        owners = Owners(
            lambda lane: str(session._base_url).rstrip("/") if lane else None, Secret(token)
        )
        try:
            yield owners
        finally:
            await owners.close()


async def test_an_owner_answers_who_has_the_same_token() -> None:
    world = World(documents={("m/1", False): b"{}"}, elsewhere={"m2"})
    async with asking(world, TOKEN, loopback=False) as owners:
        assert await owners.ask(1, "/members/m%2F1?here=1&anonymous=0") == b"{}"
        assert await owners.ask(1, "/members/m3?here=1&anonymous=0") is None
        with pytest.raises(Unavailable, match="handed it on"):
            await owners.ask(1, "/members/m2?here=1&anonymous=0")
        with pytest.raises(Unavailable, match="no other worker"):
            await owners.ask(0, "/members/m3?here=1&anonymous=0")
    async with asking(world, "", loopback=False) as owners:
        with pytest.raises(Unavailable):
            await owners.ask(1, "/members/m%2F1?here=1&anonymous=0")


async def test_an_owner_that_is_gone_is_said_to_be() -> None:
    owners = Owners(lambda _: "http://127.0.0.1:9", Secret())
    try:
        with pytest.raises(Unavailable, match="does not answer"):
            await owners.ask(1, "/members/m1?here=1&anonymous=0")
    finally:
        await owners.close()


@pytest.mark.parametrize(
    ("url", "broker", "told"),
    [
        ("http://127.0.0.1:8080", "127.0.0.1:9092", "http://127.0.0.1:8080"),
        ("http://[::1]:8080", "127.0.0.1:9092", "http://[::1]:8080"),
        ("http://worker-1:8080", "127.0.0.1:9092", "http://worker-1:8080"),
        ("http://0.0.0.0:8081", "127.0.0.1:9092,other:9092", "http://127.0.0.1:8081"),
        ("http://[::]:8081", "127.0.0.1:9092", "http://127.0.0.1:8081"),
    ],
)
def test_a_worker_is_reached_where_it_listens(url: str, broker: str, told: str) -> None:
    assert advertised(url, broker) == told
