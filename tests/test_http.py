"""What a worker answers over HTTP, asked over a real socket on loopback."""

import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from agents.members import ANONYMOUS, MEMBER
from agents.ports import Output
from app.http import Answers, Health, HttpServer, LookupUnavailable
from app.member_lookup import MemberLookup
from app.redis_store import StoreUnavailable

NUL_AND_SLASH = "a/b?c#d%2F \x00 \N{GRINNING FACE}"
SECRET = "hunter2"


class World:
    """What the pages are about."""

    def __init__(self) -> None:
        self.waiting: tuple[str, ...] = ()
        self.documents: dict[tuple[str, bool], bytes] = {}
        self.error: Exception | None = None

    def answers(self) -> Answers:
        return Answers(lambda: Health(self.waiting), self.metrics, self.member)

    def metrics(self, accept: str) -> tuple[bytes, str]:
        return b"lifecycle_ready 1\n", "text/plain; version=0.0.4; charset=utf-8"

    async def member(self, identity: str, anonymous: bool) -> bytes | None:
        if self.error is not None:
            raise self.error
        return self.documents.get((identity, anonymous))


@asynccontextmanager
async def served(world: World) -> AsyncIterator[aiohttp.ClientSession]:
    server = HttpServer(world.answers())
    url = await server.start("127.0.0.1", free_port())
    try:
        async with aiohttp.ClientSession(url) as session:
            yield session
    finally:
        await server.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def get(session: aiohttp.ClientSession, path: str) -> tuple[int, Mapping[str, Any]]:
    async with session.get(path) as response:
        assert response.content_type == "application/json"
        return response.status, json.loads(await response.read())


async def test_a_worker_that_waits_is_healthy_and_says_why_it_is_not_ready() -> None:
    world = World()
    world.waiting = ("lanes are being recovered", "no broker answers")
    async with served(world) as session:
        assert await get(session, "/healthz") == (200, {"status": "ok"})
        status, body = await get(session, "/readyz")
        assert status == 503
        assert body["error"] == "not_ready"
        assert body["reasons"] == list(world.waiting)
        assert body["reason"] == "lanes are being recovered; no broker answers"


async def test_a_worker_that_waits_for_nothing_is_ready() -> None:
    async with served(World()) as session:
        assert await get(session, "/readyz") == (200, {"status": "ready"})


async def test_metrics_come_in_the_type_that_prometheus_asks_for() -> None:
    async with served(World()) as session, session.get("/metrics") as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert await response.text() == "lifecycle_ready 1\n"


async def test_the_index_names_every_page() -> None:
    async with served(World()) as session:
        _, body = await get(session, "/")
        assert set(body["endpoints"]) == {"/healthz", "/readyz", "/metrics", "/members/{id}"}


async def test_a_member_is_answered_byte_for_byte_and_never_cached() -> None:
    world = World()
    world.documents["m1", False] = b'{"stage":"active",  "member_id":"m1"}'
    async with served(world) as session, session.get("/members/m1") as response:
        assert response.status == 200
        assert response.content_type == "application/json"
        assert response.headers["Cache-Control"] == "no-store"
        assert await response.read() == world.documents["m1", False]


async def test_an_anonymous_id_is_not_a_member_of_the_same_name() -> None:
    world = World()
    world.documents["x", True] = b'{"anonymous_id":"x"}'
    async with served(world) as session:
        assert await get(session, "/members/x?anonymous=1") == (200, {"anonymous_id": "x"})
        status, body = await get(session, "/members/x")
        assert (status, body["error"]) == (404, "unknown_member")
        assert body["reason"] == "there is no member 'x'"


async def test_any_id_that_an_event_may_have_can_be_asked_for() -> None:
    world = World()
    world.documents[NUL_AND_SLASH, False] = b"{}"
    async with served(world) as session:
        url = f"/members/{quote(NUL_AND_SLASH, safe='')}"
        assert await get(session, url) == (200, {})


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("/nowhere", 404, "not_found"),
        ("/members/", 404, "not_found"),
        ("/members/" + "x" * 129, 400, "bad_request"),
        ("/members/x?anonymous=perhaps", 400, "bad_request"),
        ("/members/%FF", 404, "unknown_member"),
        ("/members/x", 404, "unknown_member"),
    ],
)
async def test_what_cannot_be_answered_is_answered_with_a_reason(
    path: str, status: int, error: str
) -> None:
    async with served(World()) as session:
        got, body = await get(session, path)
        assert (got, body["error"]) == (status, error)
        assert body["reason"]


async def test_a_method_that_changes_something_is_refused_with_those_allowed() -> None:
    async with served(World()) as session, session.post("/members/x") as response:
        assert response.status == 405
        assert "GET" in response.headers["Allow"]
        assert (await response.json())["error"] == "method_not_allowed"


async def test_a_lookup_that_cannot_be_made_now_says_so() -> None:
    world = World()
    world.error = LookupUnavailable("Redis did not answer in time")
    async with served(world) as session:
        status, body = await get(session, "/members/x")
        assert (status, body["error"]) == (503, "unavailable")
        assert body["reason"] == "Redis did not answer in time"


async def test_a_defect_is_logged_and_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    world.error = RuntimeError(SECRET)
    async with served(world) as session:
        status, body = await get(session, "/members/x")
        assert (status, body["error"]) == (500, "internal")
        assert SECRET not in str(body)
        assert "Traceback" not in str(body)
    assert SECRET in caplog.text


async def test_a_second_worker_takes_the_next_free_port() -> None:
    first, second = HttpServer(World().answers()), HttpServer(World().answers())
    port = free_port()
    try:
        assert await first.start("127.0.0.1", port) == f"http://127.0.0.1:{port}"
        url = await second.start("127.0.0.1", port)
        assert int(url.rpartition(":")[2]) > port
        async with aiohttp.ClientSession(url) as session:
            assert (await get(session, "/healthz"))[0] == 200
    finally:
        await second.stop()
        await first.stop()


async def test_an_address_that_is_not_ours_is_an_error() -> None:
    server = HttpServer(World().answers())
    with pytest.raises(OSError, match="192\\.0\\.2\\.1"):
        await server.start("192.0.2.1", 8080)


# --- finding the document ---


class Store:
    """Documents of other workers' members."""

    def __init__(self) -> None:
        self.documents = {("far", False): b'{"from":"store"}', ("near", False): b'{"from":"store"}'}
        self.down = False

    async def document(self, identity: str, anonymous: bool) -> bytes | None:
        if self.down:
            raise StoreUnavailable("Redis: connection refused")
        return self.documents.get((identity, anonymous))


def project(key: bytes, body: bytes | None) -> tuple[Output, ...]:
    return (Output("member-updates", key[1:], body),)


def lookup(store: Store) -> MemberLookup:
    own = {
        MEMBER + b"near": b'{"from":"row"}',
        ANONYMOUS + b"visitor": b'{"anonymous":true}',
        MEMBER + b"gone": b'{"erased":true}',
    }
    return MemberLookup(
        lane_of=lambda identity: 1 if identity == b"far" else 0,
        rows=lambda lane: own if lane == 0 else None,
        project=project,
        store=store,
    )


async def test_a_member_of_our_own_lane_is_answered_from_its_row() -> None:
    store = Store()
    store.down = True
    assert await lookup(store).document("near", anonymous=False) == b'{"from":"row"}'
    assert await lookup(store).document("visitor", anonymous=True) == b'{"anonymous":true}'


async def test_our_own_lane_knows_who_is_unknown_and_who_is_erased() -> None:
    store = Store()
    store.documents["gone", False] = store.documents["nobody", False] = b'{"from":"store"}'
    assert await lookup(store).document("gone", anonymous=False) is None
    assert await lookup(store).document("nobody", anonymous=False) is None


async def test_a_member_of_another_lane_is_answered_from_the_store() -> None:
    store = Store()
    assert await lookup(store).document("far", anonymous=False) == b'{"from":"store"}'
    store.down = True
    with pytest.raises(LookupUnavailable, match="connection refused"):
        await lookup(store).document("far", anonymous=False)
