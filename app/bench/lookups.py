"""Lookups at a steady rate, over HTTP or straight from Redis, in a process of their own.

Each is due at its own instant, whether those before it have been answered or not, and its time
counts from then: a server that stops for a second is not forgiven the questions of that second.
"""

import asyncio
import itertools
import multiprocessing
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.synchronize import Barrier
from typing import Any, ClassVar, NamedTuple, Protocol
from urllib.parse import quote

import hiredis

TICK_SECONDS = 0.001
START_SECONDS = 60.0
"""How long all who ask may take to be ready."""
PATIENCE_SECONDS = 10.0
"""How long answers are waited for after the last question."""

_SPAWNING = multiprocessing.get_context("spawn")


class Load(NamedTuple):
    """What is asked: ``ids`` in turn, so many a second, for so many seconds."""

    host: str
    port: int
    ids: Sequence[str]
    rate: int
    seconds: float


class Answered(NamedTuple):
    """What came of the questions, and what asking them took."""

    milliseconds: list[float]
    """From when each was due until its answer was there."""
    missing: int
    """Had no answer."""
    bad: int
    """Had one that is no document."""
    late: list[float]
    """Milliseconds from when each was due until it was asked: of the above, the asker's own."""
    cpu_seconds: float
    """Of the process that asked."""


class Language(Protocol):
    """How to ask, and to tell answers in what comes back."""

    connections: ClassVar[int]
    packet: ClassVar[int]
    """Questions that a connection is asked at once, if as many are due in a tick."""

    def question(self, identity: str) -> bytes:
        """Return the bytes that ask."""

    def answers(self, data: bytes) -> Iterator[bool]:
        """Yield for each answer that is complete now whether it is a document."""


class Http:
    """``GET /members/{id}``, one question to a packet, as HTTP clients have it."""

    connections: ClassVar[int] = 32
    packet: ClassVar[int] = 1

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
    """``HGET key id``, some in a packet, as a client pipelines what many ask it for."""

    connections: ClassVar[int] = 8
    packet: ClassVar[int] = 10

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

    def ask(self, questions: Sequence[tuple[str, float]]) -> None:
        """Ask for ids that were due at these instants, in one packet."""
        self._due += [due for _, due in questions]
        self._transport.write(b"".join(self._language.question(one) for one, _ in questions))

    @property
    def waiting(self) -> int:
        return len(self._due)

    def close(self) -> None:
        self._transport.close()


async def _ask(load: Load, key: str | None, ready: Barrier) -> Answered:
    def language() -> Language:
        return Http(load.host, load.port) if key is None else Hget(key)

    loop = asyncio.get_running_loop()
    connections: list[_Connection] = []
    while len(connections) < language().connections:
        _, made = await loop.create_connection(
            lambda: _Connection(language()), load.host, load.port
        )
        connections.append(made)
    packet = language().packet
    # While another one starts, it takes what the questions of this one are to be measured with.
    ready.wait(START_SECONDS)
    began, asked, total = time.perf_counter(), 0, int(load.rate * load.seconds)
    late: list[float] = []
    turn = itertools.cycle(connections)
    cpu = time.process_time()
    while asked < total:
        now = time.perf_counter()
        due = min(int((now - began) * load.rate) + 1, total)
        instants = [began + number / load.rate for number in range(asked, due)]
        late += [(now - instant) * 1000 for instant in instants]
        ids = [load.ids[number % len(load.ids)] for number in range(asked, due)]
        questions = list(zip(ids, instants, strict=True))
        for first in range(0, len(questions), packet):
            next(turn).ask(questions[first : first + packet])
        asked = due
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
        late,
        time.process_time() - cpu,
    )


def _run(load: Load, key: str | None, ready: Barrier, told: Any) -> None:
    told.put(asyncio.run(_ask(load, key, ready)))


class Asking:
    """A process that asks; ``result`` waits for its end."""

    def __init__(self, load: Load, key: str | None, ready: Barrier) -> None:
        """``key``: of the hash in Redis; None: over HTTP."""
        self._told = _SPAWNING.Queue()
        self._patience = load.seconds + PATIENCE_SECONDS + 30.0
        self.process = _SPAWNING.Process(
            target=_run, args=(load, key, ready, self._told), daemon=True
        )
        self.process.start()

    def result(self) -> Answered:
        """Return what it saw; raises ``queue.Empty`` when it does not end."""
        answered: Answered = self._told.get(timeout=self._patience)
        return answered


@contextmanager
def asking(*loads: tuple[Load, str | None]) -> Iterator[list[Asking]]:
    """Yield processes that ask, all from now on; they have ended afterwards.

    Raises ``threading.BrokenBarrierError`` when one of them cannot.
    """
    ready = _SPAWNING.Barrier(len(loads) + 1)
    started = [Asking(load, key, ready) for load, key in loads]
    try:
        ready.wait(START_SECONDS)
        yield started
    finally:
        for one in started:
            one.process.kill()
            one.process.join()
