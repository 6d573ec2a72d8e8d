"""Lookups at a steady rate, over HTTP or straight from Redis, in a process of their own.

Each is due at its own instant, whether those before it have been answered or not, and its time
counts from then: a server that stops for a second is not forgiven the questions of that second.
"""

import asyncio
import multiprocessing
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote

import hiredis

TICK_SECONDS = 0.001
CONNECTIONS = 8
PATIENCE_SECONDS = 10.0
"""How long answers are waited for after the last question."""


class Load(NamedTuple):
    """What is asked: ``ids`` in turn, so many a second, for so many seconds."""

    host: str
    port: int
    ids: Sequence[str]
    rate: int
    seconds: float


class Answered(NamedTuple):
    """Milliseconds from when each question was due; what had no answer, and what had a bad one."""

    milliseconds: list[float]
    missing: int
    bad: int


class Language(Protocol):
    """How to ask, and to tell answers in what comes back."""

    def question(self, identity: str) -> bytes:
        """Return the bytes that ask."""

    def answers(self, data: bytes) -> Iterator[bool]:
        """Yield for each answer that is complete now whether it is a document."""


class Http:
    """``GET /members/{id}``."""

    def __init__(self, host: str, port: int) -> None:
        self._host = f"{host}:{port}"
        self._rest = b""

    def question(self, identity: str) -> bytes:
        """Return a request."""
        path = f"/members/{quote(identity, safe='')}"
        return f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\n\r\n".encode()

    def answers(self, data: bytes) -> Iterator[bool]:
        """Yield whether the status is 200."""
        self._rest += data
        while True:
            head, found, rest = self._rest.partition(b"\r\n\r\n")
            if not found:
                return
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            if len(rest) < length:
                return
            self._rest = rest[length:]
            yield head.startswith(b"HTTP/1.1 200")


class Hget:
    """``HGET key id``."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()
        self._reader = hiredis.Reader()

    def question(self, identity: str) -> bytes:
        """Return a command."""
        parts = (b"HGET", self._key, identity.encode())
        return b"*3\r\n" + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)

    def answers(self, data: bytes) -> Iterator[bool]:
        """Yield whether there is a document."""
        self._reader.feed(data)
        while (answer := self._reader.gets()) is not False:
            yield isinstance(answer, bytes)


class _Connection(asyncio.Protocol):
    def __init__(self, language: Language) -> None:
        self._language = language
        self._due: deque[float] = deque()
        self.milliseconds: list[float] = []
        self.bad = 0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        for good in self._language.answers(data):
            self.milliseconds.append((now - self._due.popleft()) * 1000)
            self.bad += not good

    def ask(self, identity: str, due: float) -> None:
        self._due.append(due)
        self._transport.write(self._language.question(identity))

    @property
    def waiting(self) -> int:
        return len(self._due)

    def close(self) -> None:
        self._transport.close()


async def _ask(load: Load, key: str | None) -> Answered:
    def connection() -> _Connection:
        return _Connection(Http(load.host, load.port) if key is None else Hget(key))

    loop = asyncio.get_running_loop()
    made = [
        await loop.create_connection(connection, load.host, load.port) for _ in range(CONNECTIONS)
    ]
    connections = [protocol for _, protocol in made]
    began, asked, total = time.perf_counter(), 0, int(load.rate * load.seconds)
    while asked < total:
        now = time.perf_counter()
        while asked < total and (due := began + asked / load.rate) <= now:
            connections[asked % CONNECTIONS].ask(load.ids[asked % len(load.ids)], due)
            asked += 1
        await asyncio.sleep(TICK_SECONDS)
    ends = time.perf_counter() + PATIENCE_SECONDS
    while time.perf_counter() < ends:
        if not any(one.waiting for one in connections):
            break
        await asyncio.sleep(TICK_SECONDS)
    for one in connections:
        one.close()
    return Answered(
        [taken for one in connections for taken in one.milliseconds],
        sum(one.waiting for one in connections),
        sum(one.bad for one in connections),
    )


def _run(load: Load, key: str | None, told: Any) -> None:
    told.put(asyncio.run(_ask(load, key)))


class Asking:
    """A process that asks; ``result`` waits for its end."""

    def __init__(self, load: Load, key: str | None) -> None:
        """``key``: of the hash in Redis; None: over HTTP."""
        spawning = multiprocessing.get_context("spawn")
        self._told = spawning.Queue()
        self._patience = load.seconds + PATIENCE_SECONDS + 30.0
        self.process = spawning.Process(target=_run, args=(load, key, self._told), daemon=True)
        self.process.start()

    def result(self) -> Answered:
        """Return what it saw; raises ``queue.Empty`` when it does not end."""
        answered: Answered = self._told.get(timeout=self._patience)
        return answered


@contextmanager
def asking(*loads: tuple[Load, str | None]) -> Iterator[list[Asking]]:
    """Yield processes that ask; they have ended afterwards."""
    started = [Asking(load, key) for load, key in loads]
    try:
        yield started
    finally:
        for one in started:
            one.process.kill()
            one.process.join()
