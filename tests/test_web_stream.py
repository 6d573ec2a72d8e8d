"""Server-sent events: what happens, once, in order, also after a dropped connection."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp
import pytest
from web_kit import TOKEN, World, free_port, served
from yarl import URL

from app.web import stream
from app.web.access import Access
from app.web.server import HttpServer
from config.settings_kinds import Secret

PATIENCE = 20.0


class Event(NamedTuple):
    name: str
    id: str
    data: Any


async def events(response: aiohttp.ClientResponse) -> AsyncIterator[Event]:
    """What a browser would make of the bytes."""
    said = {"event": "message", "id": "", "data": ""}
    async for raw in response.content:
        line = raw.decode().rstrip("\n")
        if line:
            field, _, value = line.partition(": ")
            said[field] = value
        else:
            if said["data"]:
                yield Event(said["event"], said["id"], json.loads(said["data"]))
            said = {"event": "message", "id": "", "data": ""}


async def feed(response: aiohttp.ClientResponse, count: int) -> list[str]:
    """The ids of the next entries of the feed."""
    found: list[str] = []
    async with asyncio.timeout(PATIENCE):
        async for event in events(response):
            if event.name == "feed":
                assert event.data["id"] == event.id
                found.append(event.id)
                if len(found) == count:
                    break
    return found


async def next_of(response: aiohttp.ClientResponse, name: str) -> Event:
    async with asyncio.timeout(PATIENCE):
        async for event in events(response):
            if event.name == name:
                return event
    raise AssertionError(f"the stream ended without {name}")


@asynccontextmanager
async def watching(
    session: aiohttp.ClientSession, after: str = "", **headers: str
) -> AsyncIterator[aiohttp.ClientResponse]:
    query = {"after": after} if after else {}
    async with session.get("/stream", params=query, headers=headers) as response:
        assert response.status == 200
        assert response.content_type == "text/event-stream"
        assert response.headers["Cache-Control"] == "no-store"
        yield response


def world_of(entries: int) -> World:
    world = World(counted={"events": 1}, in_stages={"active": 1})
    for number in range(1, entries + 1):
        world.happen(number)
    return world


async def test_who_begins_gets_what_happens_from_then_on() -> None:
    world = world_of(3)
    async with served(world) as session, watching(session) as response:
        await next_of(response, "live")
        world.happen(4)
        world.happen(5)
        assert await feed(response, 2) == ["4-0", "5-0"]


@pytest.mark.parametrize("by_header", [True, False])
async def test_who_comes_back_gets_what_was_missed_once_and_in_order(by_header: bool) -> None:
    world = world_of(3)
    async with served(world) as session:
        async with watching(session, after="1-0") as response:
            assert await feed(response, 2) == ["2-0", "3-0"]
        world.happen(4)
        world.happen(5)
        how = {"Last-Event-ID": "3-0"} if by_header else {}
        async with watching(session, "" if by_header else "3-0", **how) as response:
            assert await feed(response, 2) == ["4-0", "5-0"]
            world.happen(6)
            assert await feed(response, 1) == ["6-0"]


async def test_the_header_wins_over_the_address_that_a_browser_asks_again() -> None:
    async with served(world_of(5)) as session:
        async with watching(session, "1-0", **{"Last-Event-ID": "4-0"}) as response:
            assert await feed(response, 1) == ["5-0"]
        async with watching(session, "3-0", **{"Last-Event-ID": "nonsense"}) as response:
            assert await feed(response, 2) == ["4-0", "5-0"]


async def test_more_than_one_answer_s_worth_is_caught_up_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream, "CAUGHT_UP", 10)
    async with served(world_of(35)) as session, watching(session, "2-0") as response:
        assert await feed(response, 33) == [f"{number}-0" for number in range(3, 36)]


async def test_whoever_many_watch_redis_is_asked_as_for_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream, "MOST_CLIENTS", 5)
    world = world_of(1)
    async with (
        served(world) as session,
        watching(session) as first,
        watching(session) as second,
        watching(session) as third,
    ):
        for one in (first, second, third):
            await next_of(one, "live")
        asked = world.feeds_asked
        world.happen(2)
        for one in (first, second, third):
            assert await feed(one, 1) == ["2-0"]
        assert world.feeds_asked - asked <= 3


async def test_no_more_watch_than_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "MOST_CLIENTS", 1)
    async with served(world_of(1)) as session:
        async with watching(session) as first:
            await next_of(first, "live")
            async with session.get("/stream") as refused:
                assert refused.status == 503
                assert refused.headers["Retry-After"]
                assert (await refused.json())["error"] == "busy"
        async with asyncio.timeout(PATIENCE):
            while not await has_room(session):  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.05)


async def test_counters_and_stages_come_with_their_changes() -> None:
    world = world_of(0)
    async with served(world) as session, watching(session) as response:
        live = await next_of(response, "live")
        assert live.data["counters"]["events"] == 1
        assert live.data["redis"] == "up"
        world.in_stages = {"active": 2}
        stages = await next_of(response, "stages")
        by_name = {one["stage"]: one["members"] for one in stages.data["stages"]}
        assert by_name["active"] in (1, 2)
        world.counted = {"events": 1001}
        while (live := await next_of(response, "live")).data["counters"]["events"] != 1001:
            pass
        assert live.data["counters"]["events_per_second"] > 0


async def test_a_redis_that_is_away_is_told_and_what_was_missed_follows() -> None:
    world = world_of(2)
    world.redis_away = True
    async with served(world) as session, watching(session, "1-0") as response:
        live = await next_of(response, "live")
        assert live.data["redis"] == "away"
        assert live.data["counters"]["events"] is None
        world.happen(3)
        world.redis_away = False
        assert await feed(response, 2) == ["2-0", "3-0"]
        world.happen(4)
        assert await feed(response, 1) == ["4-0"]


async def test_a_redis_that_goes_away_in_between_loses_nothing() -> None:
    world = world_of(1)
    async with served(world) as session, watching(session) as response:
        await next_of(response, "live")
        world.redis_away = True
        while (await next_of(response, "live")).data["redis"] != "away":
            pass
        world.happen(2)
        world.redis_away = False
        assert await feed(response, 1) == ["2-0"]


async def test_who_does_not_read_is_let_go_and_others_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream, "MOST_CLIENTS", 2)
    monkeypatch.setattr(stream, "WRITE_SECONDS", 1.0)
    monkeypatch.setattr(stream, "ASK_SECONDS", 0.02)
    world = world_of(0)
    async with served(world) as session, watching(session) as awake:
        await next_of(awake, "live")
        assert isinstance(session._base_url, URL)
        reader, writer = await asyncio.open_connection(
            session._base_url.host, session._base_url.port, limit=1
        )
        writer.write(b"GET /stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        await reader.read(1)  # and no more
        number = 0
        assert not await has_room(session)
        async with asyncio.timeout(3 * PATIENCE):
            while not await has_room(session):
                for _ in range(20):
                    number += 1
                    world.happen(number, text="x" * 50_000)
                assert len(await feed(awake, 20)) == 20
        writer.close()


async def has_room(session: aiohttp.ClientSession) -> bool:
    async with session.get("/stream") as response:
        return response.status == 200


async def test_a_worker_that_stops_ends_the_streams_at_once() -> None:
    server = HttpServer(world_of(1).sources(), Access(Secret(TOKEN), loopback=True))
    url = await server.start("127.0.0.1", free_port())
    async with aiohttp.ClientSession(url) as session, watching(session) as response:
        await next_of(response, "live")
        async with asyncio.timeout(PATIENCE):
            await server.stop()
            async for _ in events(response):
                pass
