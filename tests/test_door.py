"""Plain questions for a member are answered at the door, all else as ever: nobody sees which."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from web_kit import TOKEN, World, free_port

from app.web import door
from app.web.access import Access
from app.web.server import HttpServer
from config.settings_kinds import Secret

HOST = "Host: 127.0.0.1"


@dataclass
class Counting(World):
    """Tells which way was taken."""

    at_the_door: list[str] = field(default_factory=list)
    inside: list[str] = field(default_factory=list)

    def own(self, identity: str) -> bytes | None:
        found = super().own(identity)
        if found is not None:
            self.at_the_door.append(identity)
        return found

    async def document(self, identity: str, anonymous: bool, *, here: bool) -> bytes | None:
        self.inside.append(identity)
        return await super().document(identity, anonymous, here=here)


def world() -> Counting:
    known = {"m1": b'{"stage":"active"}', "m2": b"{}", "a b": b'{"a":1}', "..": b'{"dots":2}'}
    return Counting(documents={(name, False): raw for name, raw in known.items()})


class Client:
    """One connection, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, line: str, *headers: str, body: str = "") -> None:
        self.writer.write("\r\n".join([line, *headers, "", body]).encode("latin-1"))

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.splitlines()[:-1]
        headers = dict(line.split(": ", 1) for line in lines)
        body = await self.reader.readexactly(int(headers["Content-Length"]))
        return int(first.split()[1]), headers, body

    async def ask(self, line: str, *headers: str, body: str = "") -> tuple[int, bytes]:
        self.send(line, *headers, body=body)
        status, _, raw = await self.answer()
        return status, raw


@asynccontextmanager
async def client(
    about: World, token: str = TOKEN, *, loopback: bool = True
) -> AsyncIterator[Client]:
    server = HttpServer(about.sources(), Access(Secret(token), loopback))
    url = await server.start("127.0.0.1", free_port())
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    try:
        yield Client(reader, writer)
    finally:
        await server.stop()
        writer.close()
        await writer.wait_closed()


async def test_a_plain_question_is_answered_at_the_door_again_and_again() -> None:
    about = world()
    async with client(about) as one:
        for _ in range(3):
            assert await one.ask("GET /members/m1 HTTP/1.1", HOST) == (200, b'{"stage":"active"}')
        many = "User-Agent: x/1", "Accept: */*", "Accept-Encoding: gzip", "connection: keep-alive"
        assert await one.ask("GET /members/m2 HTTP/1.1", "HOST: localhost:8080", *many) == (
            200,
            b"{}",
        )
    assert about.at_the_door == ["m1", "m1", "m1", "m2"]
    assert about.inside == []


async def test_nobody_sees_which_way_was_taken() -> None:
    about = world()
    async with client(about) as one:
        one.send("GET /members/m1 HTTP/1.1", HOST)
        at_the_door = await one.answer()
        one.send("GET /members/m1?anonymous=0 HTTP/1.1", HOST)
        inside = await one.answer()
    assert (about.at_the_door, about.inside) == (["m1"], ["m1"])
    for _, headers, _ in (at_the_door, inside):
        assert headers.pop("Date").endswith(" GMT")
    assert at_the_door == inside


@pytest.mark.parametrize(
    ("line", "headers", "body", "status"),
    [
        ("GET /members/a%20b HTTP/1.1", (HOST,), "", 200),
        ("GET /members/m1? HTTP/1.1", (HOST,), "", 200),
        ("GET /members/m1 HTTP/1.1", (HOST, "Content-Length: 2"), "{}", 200),
        ("GET /members/m1 HTTP/1.1", (HOST, "Connection: close"), "", 200),
        ("GET /members/m1 HTTP/1.1", (HOST, "Expect: 100-continue"), "", 100),
        ("GET /members/m1 HTTP/1.1", (HOST, "X-Name: é"), "", 200),
        ("GET /members/m1 HTTP/1.1", (HOST, "X-Long: " + "x" * door.LONGEST_HEAD), "", 200),
        ("GET /members/m1 HTTP/1.1", (HOST, "X Y: 1"), "", 400),
        ("GET /members/m1 HTTP/1.1", (HOST, "X: 1", " folded"), "", 400),
        ("GET /members/m1/ahead HTTP/1.1", (HOST,), "", 200),
        ("GET /members/.. HTTP/1.1", (HOST,), "", 200),
        ("GET /members/nobody HTTP/1.1", (HOST,), "", 404),
        ("GET /members/%s HTTP/1.1" % ("m" * 129), (HOST,), "", 400),
        ("POST /members/m1 HTTP/1.1", (HOST, "Content-Length: 0"), "", 405),
        ("GET /members/m1 HTTP/1.1", ("Host: evil.example",), "", 401),
        ("GET /members/m1 HTTP/1.1", ("Host: evil.example", HOST), "", 400),
        ("nonsense", (), "", 400),
    ],
)  # fmt: skip
async def test_whatever_is_not_plain_goes_the_long_way(
    line: str, headers: tuple[str, ...], body: str, status: int
) -> None:
    about = world()
    async with client(about) as one:
        one.send(line, *headers, body=body)
        first = await one.reader.readline()
        assert int(first.split()[1]) == status
    assert about.at_the_door == []


async def test_what_comes_in_pieces_and_what_comes_behind_it_are_answered() -> None:
    about = world()
    async with client(about) as one:
        one.writer.write(b"GET /members/m1 HTTP/1.1\r\nHo")
        await asyncio.sleep(0.05)
        one.send("st: 127.0.0.1")
        assert (await one.answer())[0] == 200
        assert await one.ask("GET /members/m2 HTTP/1.1", HOST) == (200, b"{}")
    assert about.at_the_door == []


async def test_many_questions_at_once_are_answered_in_their_order() -> None:
    about = world()
    names = ["m1", "m2"] * (2 * door.MOST_AT_ONCE)
    async with client(about) as one:
        for name in names:
            one.send(f"GET /members/{name} HTTP/1.1", HOST)
        one.send("GET /healthz HTTP/1.1", HOST)
        one.send("GET /members/m1 HTTP/1.1", HOST)
        for name in names:
            assert (await one.answer())[2] == about.documents[name, False]
        assert (await one.answer())[2] == b'{"status":"ok"}'
        assert (await one.answer())[2] == about.documents["m1", False]
    assert about.at_the_door == names
    assert about.inside == ["m1"]


async def test_who_does_not_read_is_not_answered_for_ever() -> None:
    about = Counting(documents={("m1", False): b"x" * 100_000})
    count = 200
    async with client(about) as one:
        for _ in range(count):
            one.send("GET /members/m1 HTTP/1.1", HOST)
        await one.writer.drain()
        await asyncio.sleep(0.2)
        assert len(about.at_the_door) < count / 2
        for _ in range(count):
            assert (await one.answer())[0] == 200
    assert len(about.at_the_door) == count


async def test_a_name_beyond_loopback_needs_the_token_at_the_door_too() -> None:
    about = world()
    line, host = "GET /members/m1 HTTP/1.1", "Host: shop.example"
    async with client(about, loopback=False) as one:
        with_token = f"authorization: Bearer {TOKEN}"
        assert await one.ask(line, host, with_token) == (200, about.documents["m1", False])
        assert about.at_the_door == ["m1"]
        assert (await one.ask(line, host, f"Authorization: Bearer {TOKEN}x"))[0] == 401
    assert about.at_the_door == ["m1"]
    assert about.inside == []


async def test_two_tokens_are_left_to_who_knows_which_counts() -> None:
    about = world()
    headers = HOST, "Authorization: none", f"Authorization: Bearer {TOKEN}"
    async with client(about, loopback=False) as one:
        assert (await one.ask("GET /members/m1 HTTP/1.1", *headers))[0] == 401
    assert about.at_the_door == []


async def test_what_fails_at_the_door_is_told_inside() -> None:
    class Failing(Counting):
        def own(self, identity: str) -> bytes | None:
            raise ZeroDivisionError

    about = Failing(documents={("m1", False): b"{}"})
    async with client(about) as one:
        assert await one.ask("GET /members/m1 HTTP/1.1", HOST) == (200, b"{}")
    assert about.inside == ["m1"]


async def test_who_asks_nothing_for_long_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "IDLE_SECONDS", 0.1)
    async with client(world()) as one:
        assert (await one.ask("GET /members/m1 HTTP/1.1", HOST))[0] == 200
        assert await asyncio.wait_for(one.reader.read(), 5) == b""


async def test_a_stop_ends_connections_on_which_nothing_is_asked() -> None:
    async with client(world()) as one:
        assert (await one.ask("GET /members/m1 HTTP/1.1", HOST))[0] == 200
        waiting = asyncio.create_task(one.reader.read())
    assert await asyncio.wait_for(waiting, 5) == b""
