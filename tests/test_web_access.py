"""Who may read and change what over HTTP, and what a mute leaves behind."""

import asyncio
import json
import logging
from typing import Any

import aiohttp
import pytest
from web_kit import TOKEN, World, served
from yarl import URL

from app.web.endpoints import ENDPOINTS
from app.web.ports import Unavailable

BEARER = {"Authorization": f"Bearer {TOKEN}"}
MUTE = {"until": "2026-12-01T00:00:00+08:00"}
OPEN = {"/healthz", "/readyz", "/metrics", "/api", "/openapi.json", "/"}


def known() -> World:
    return World(documents={("m1", False): b"{}"})


async def ask(
    session: aiohttp.ClientSession, method: str, path: str, **more: Any
) -> tuple[int, dict[str, Any]]:
    async with session.request(method, path, **more) as response:
        return response.status, json.loads(await response.read())


# --- changing -------------------------------------------------------------------------------------


async def test_a_member_is_muted_with_the_token_and_the_event_says_who_and_why() -> None:
    world = known()
    async with served(world) as session:
        body = MUTE | {"reason": "asked at the desk", "by": "ann"}
        status, said = await ask(session, "POST", "/members/m1/mute", json=body, headers=BEARER)
        assert (status, said) == (202, {"event_id": "e1", "until": "2026-11-30T16:00:00.000Z"})
        assert world.muted == [("m1", 1796054400000, "asked at the desk", "ann (http 127.0.0.1)")]


@pytest.mark.parametrize("until", ["1796054400000", 1796054400000, "2026-12-01T00:00:00+08:00"])
async def test_until_when_is_said_as_a_timeline_or_a_person_says_it(until: str | int) -> None:
    world = known()
    async with served(world) as session:
        body = {"until": until}
        status, _ = await ask(session, "POST", "/members/m1/mute", json=body, headers=BEARER)
        assert status == 202
        assert [at for _, at, *_ in world.muted] == [1796054400000]


async def test_a_mute_is_ended_with_the_token() -> None:
    world = known()
    async with served(world) as session:
        status, said = await ask(session, "DELETE", "/members/m1/mute", headers=BEARER)
        assert (status, said["until"]) == (202, "2026-11-21T10:00:00.000Z")
        assert world.muted == [("m1", None, None, "http 127.0.0.1")]


@pytest.mark.parametrize("method", ["POST", "DELETE"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer open"},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": TOKEN},
        {"Authorization": "Bearer \N{SNOWMAN}"},
    ],
)
async def test_nothing_is_changed_without_the_token(method: str, headers: dict[str, str]) -> None:
    world = known()
    async with (
        served(world) as session,
        session.request(method, "/members/m1/mute", json=MUTE, headers=headers) as response,
    ):
        assert response.status == 401
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
        said = await response.text()
        assert json.loads(said)["error"] == "unauthorized"
        assert TOKEN not in said
    assert world.muted == []


@pytest.mark.parametrize("headers", [{}, BEARER, {"Authorization": "Bearer "}])
async def test_nothing_is_changed_where_no_token_is_set(headers: dict[str, str]) -> None:
    world = known()
    async with served(world, token="") as session:
        status, said = await ask(session, "POST", "/members/m1/mute", json=MUTE, headers=headers)
        assert (status, said["error"]) == (403, "forbidden")
        assert "LIFECYCLE_TOKEN" in said["reason"]
    assert world.muted == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff",
        b'{"until":"\xff"}',
        b'{"until":-1}',
        b'{"until":true}',
        b'{"until":1796054400000.5}',
        b'{"until":253402300800000}',
        b'{"until":null}',
        b'{"until":"tomorrow"}',
        b'{"until":"2026-12-01T00:00:00"}',
        b'{"until":"9999-12-31T23:59:59.999-01:00"}',
        b'{"until":"2026-12-01T00:00:00Z","by":""}',
        json.dumps({**MUTE, "reason": "x" * 257}).encode(),
        json.dumps({**MUTE, "by": "x" * 65}).encode(),
    ],
)
async def test_a_mute_that_is_not_well_formed_is_refused(body: bytes) -> None:
    world = known()
    async with served(world) as session:
        status, said = await ask(session, "POST", "/members/m1/mute", data=body, headers=BEARER)
        assert (status, said["error"]) == (400, "bad_request")
    assert world.muted == []


async def test_a_body_that_is_too_large_is_not_read() -> None:
    world = known()
    async with served(world) as session:
        data = json.dumps({**MUTE, "more": "x" * 20_000})
        status, said = await ask(session, "POST", "/members/m1/mute", data=data, headers=BEARER)
        assert status == 413
        assert said["reason"]
    assert world.muted == []


async def test_a_body_that_cannot_be_unpacked_is_refused() -> None:
    world = known()
    async with served(world) as session:
        packed = BEARER | {"Content-Encoding": "gzip"}
        data = json.dumps(MUTE)
        status, said = await ask(session, "POST", "/members/m1/mute", data=data, headers=packed)
        assert (status, said["error"]) == (400, "bad_request")
    assert world.muted == []


async def test_who_hangs_up_in_the_middle_of_a_body_is_no_failure_of_ours(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = known()
    async with served(world) as session:
        url = URL(str(session._base_url))
        _, writer = await asyncio.open_connection(url.host, url.port)
        head = f"POST /members/m1/mute HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}"
        writer.write(f'{head}\r\nContent-Length: 100\r\n\r\n{{"until"'.encode())
        await writer.drain()
        await asyncio.sleep(0.1)
        writer.close()
        await asyncio.sleep(0.1)
    assert [one for one in caplog.records if one.levelno >= logging.ERROR] == []
    assert world.muted == []


async def test_a_member_that_is_unknown_is_not_muted() -> None:
    world = known()
    async with served(world) as session:
        status, said = await ask(session, "POST", "/members/m2/mute", json=MUTE, headers=BEARER)
        assert (status, said["error"]) == (404, "unknown_member")
    assert world.muted == []


async def test_a_mute_that_nobody_acknowledged_is_not_said_to_be_one() -> None:
    world = known()
    world.error = Unavailable("no Kafka broker has acknowledged it")
    async with served(world) as session:
        status, said = await ask(session, "POST", "/members/m1/mute", json=MUTE, headers=BEARER)
        assert (status, said["error"]) == (503, "unavailable")


# --- reading --------------------------------------------------------------------------------------


def addresses() -> list[str]:
    """Every address that can be read, with an id where one is needed."""
    named = (one.path.replace("{id}", "m1") for one in ENDPOINTS if one.method == "GET")
    return [path for path in named if "{" not in path]


@pytest.mark.parametrize("path", addresses())
async def test_beyond_loopback_what_tells_of_members_needs_the_token(path: str) -> None:
    async with (
        served(known(), loopback=False) as session,
        session.get(path, headers={}) as response,
    ):
        assert (response.status == 401) == (path not in OPEN)


async def test_beyond_loopback_the_token_opens() -> None:
    async with served(known(), loopback=False) as session:
        assert await ask(session, "GET", "/members/m1", headers=BEARER) == (200, {})


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8080", 200),
        ("127.0.0.1", 200),
        ("localhost:8080", 200),
        ("[::1]:8080", 200),
        ("[::1]", 200),
        ("rebound.example:8080", 401),
        ("rebound.example", 401),
        ("127.0.0.1.example", 401),
        ("192.0.2.1:8080", 401),
    ],
)
async def test_who_asks_loopback_by_another_name_needs_the_token(host: str, status: int) -> None:
    async with served(known()) as session:
        assert (await ask(session, "GET", "/members/m1", headers={"Host": host}))[0] == status
        opened = await ask(session, "GET", "/members/m1", headers={"Host": host, **BEARER})
        assert opened == (200, {})


async def test_who_asks_loopback_by_another_name_without_a_token_set_is_told_why() -> None:
    async with served(known(), token="") as session:
        status, said = await ask(session, "GET", "/members/m1", headers={"Host": "rebound.example"})
        assert (status, said["error"]) == (403, "forbidden")
        assert "LIFECYCLE_TOKEN" in said["reason"]
