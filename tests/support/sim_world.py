"""A world for one lane: logs, offsets, a virtual clock, and everything that can go wrong.

What is simulated is the broker and time, never the lane: batches are appended whole, offsets have
holes after compaction, an append may be acknowledged without its offset, effects happen between
two awaits so that a process can die or freeze before and after each of them, and what a frozen
process was about to do still happens when it thaws.
"""

import asyncio
import random
import selectors
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from agents.ports import LoggedRow, Output, Row, Sent, SourceTopic, Timer

T = TypeVar("T")

BEGINNING = 1_795_000_000_000 // 3_600_000 * 3_600_000
"""When the world begins: epoch milliseconds, at a full hour."""


class NothingLeft(Exception):
    """Everybody waits and no timer is set: the run is stuck."""


class _Skipping(selectors.DefaultSelector):
    """A selector that does not wait, but moves the loop's time on."""

    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise NothingLeft
            self.loop.seconds += max(timeout, 0.0)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on which time passes only when nothing else is to be done."""

    def __init__(self) -> None:
        selector = _Skipping()
        selector.loop = self
        self.seconds = 0.0
        super().__init__(selector)

    def time(self) -> float:
        return self.seconds


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run to the end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


class VirtualClock:
    """Members' time and process time, both by the virtual loop; ``until`` makes it stream time."""

    def __init__(self, until: int | None = None) -> None:
        self.until = until

    def now(self) -> int | None:
        return None if self.until is not None else BEGINNING + self.elapsed()

    def elapsed(self) -> int:
        return int(asyncio.get_running_loop().time() * 1000 + 1e-6)

    def call_at(self, at: int, call: Callable[[], object]) -> Timer:
        return asyncio.get_running_loop().call_at((at - BEGINNING) / 1000, call)

    def call_later(self, delay: int, call: Callable[[], object]) -> Timer:
        return asyncio.get_running_loop().call_later(delay / 1000, call)


def now() -> int:
    """Return the virtual time in epoch milliseconds."""
    return BEGINNING + int(asyncio.get_running_loop().time() * 1000 + 1e-6)


@dataclass(slots=True)
class Record:
    """A record of a member topic."""

    topic: str
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    partition: int = 0


@dataclass
class World:
    """The broker's side: what is in the logs, whoever comes and goes."""

    topics: Iterable[str]
    seed: int = 0
    latency_ms: tuple[float, float] = (0.5, 3.0)
    commit_chance: float = 0.3
    """Chance that an offset declared done is committed at once; else it waits for the next."""
    rewind_chance: float = 0.0
    """Chance that a fetched chunk is followed by one that was handed over before."""
    forget_offset_chance: float = 0.0
    """Chance that an append is acknowledged without its offset."""

    logs: dict[str, list[Record]] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    changelog: list[LoggedRow] = field(default_factory=list)
    changelog_end: int = 0
    batches: list[tuple[int, str, list[Row]]] = field(default_factory=list)
    sent: list[Output] = field(default_factory=list)
    committed: dict[str, int] = field(default_factory=dict)
    lagging: set[str] = field(default_factory=set)
    """Topics of which nothing is delivered for the time being."""
    away: bool = False
    """Whether the broker is away: calls wait until it is back."""
    owner: "Process | None" = None
    """Who is assigned the lane: nobody else is handed records or may commit."""

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.news = asyncio.Event()
        self._ages: list[tuple[int, int]] = []
        for topic in self.topics:
            self.logs[topic] = []
            self.ids[topic] = f"id-of-{topic}"

    def produce(self, topic: str, key: bytes, value: bytes, timestamp: int | None = None) -> Record:
        """Append a record to a member topic."""
        log = self.logs[topic]
        at = now() if timestamp is None else timestamp
        record = Record(topic, log[-1].offset + 1 if log else 0, at, key, value)
        log.append(record)
        self.changed()
        return record

    def end(self, topic: str) -> int:
        log = self.logs[topic]
        return log[-1].offset + 1 if log else 0

    def changed(self) -> None:
        """Wake whoever waits for something to happen in the world."""
        self.news.set()
        self.news = asyncio.Event()

    def append(self, rows: Sequence[Row], by: str) -> int:
        """Append one batch to the changelog, whole."""
        first = self.changelog_end
        self.batches.append((first, by, list(rows)))
        for row in rows:
            self.changelog.append(LoggedRow(self.changelog_end, row.key, row.value))
            self.changelog_end += 1
        self._ages.append((now(), self.changelog_end))
        return first

    def compact(self, upto: int | None = None) -> None:
        """Keep only the last record of each key below an offset, and no tombstones."""
        upto = self.changelog_end if upto is None else upto
        last = {row.key: row.offset for row in self.changelog if row.offset < upto}
        self.changelog = [
            row
            for row in self.changelog
            if row.offset >= upto or (last[row.key] == row.offset and row.value is not None)
        ]

    def compact_older(self, lag_ms: int) -> None:
        """Compact what is older than the compaction lag."""
        self.compact(max([end for at, end in self._ages if at <= now() - lag_ms], default=0))

    def ends_at(self, topic: str) -> int:
        """Return the offset that the next output to a topic gets."""
        return sum(output.topic == topic for output in self.sent)

    def source_topics(self) -> Mapping[str, SourceTopic]:
        return {topic: SourceTopic(self.ids[topic], self.end(topic)) for topic in self.logs}


class Process:
    """One worker process: the three ports of its lane.

    It dies at its await number ``die_at``, and stands still from a named or numbered one on until
    it is thawed.
    """

    def __init__(self, world: World, name: str, die_at: int | None = None) -> None:
        self.world = world
        self.name = name
        self.points = 0
        self.trace: list[str] = []
        self.died = asyncio.Event()
        self.paused: set[str] = set()
        self.position = {topic: world.committed.get(topic, 0) for topic in world.logs}
        self.done_offsets: dict[str, int] = {}
        self.questions = 0
        self._fetched = dict.fromkeys(world.logs, 0)
        self._die_at = die_at
        self._freeze_at: str | int | None = None
        self._thawed = asyncio.Event()
        self.frozen = asyncio.Event()

    def freeze_at(self, point: str | int) -> None:
        """Stand still when that point is reached next; ``frozen`` is set then."""
        self._freeze_at = point

    def thaw(self) -> None:
        self._thawed.set()

    def kill(self) -> None:
        """Take no further effect on the world, and never hear from it again."""
        self.died.set()

    async def point(self, name: str) -> None:
        """Pass a moment at which the process may be stopped, and let some time pass."""
        self.points += 1
        self.trace.append(name)
        if self.points == self._die_at:
            self.kill()
        if self._freeze_at in (name, self.points):
            self._freeze_at = None
            self.frozen.set()
        await self._if_running()
        await asyncio.sleep(self.world.rng.uniform(*self.world.latency_ms) / 1000)
        while self.world.away:
            await self.world.news.wait()
        await self._if_running()

    async def _if_running(self) -> None:
        if self.frozen.is_set():
            await self._thawed.wait()
        if self.died.is_set():
            await asyncio.Event().wait()

    # -- the changelog

    async def append(self, lane: int, rows: Sequence[Row]) -> int | None:
        await self.point("append")
        first = self.world.append(rows, self.name)
        await self.point("appended")
        return None if self.world.rng.random() < self.world.forget_offset_chance else first

    async def end(self, lane: int) -> int:
        await self.point("end")
        return self.world.changelog_end

    async def read(self, lane: int, start: int, end: int) -> AsyncIterator[Sequence[LoggedRow]]:
        place = start
        while True:
            await self.point("read")
            rows = [row for row in self.world.changelog if place <= row.offset < end][:7]
            if not rows:
                return
            place = rows[-1].offset + 1
            yield rows

    # -- the outputs

    async def send(self, outputs: Sequence[Output]) -> Sequence[Sent]:
        assert outputs, "nothing to send"
        sent = []
        for output in outputs:
            await self.point("send")
            sent.append(Sent(output.topic, 0, self.world.ends_at(output.topic), 1))
            self.world.sent.append(output)
        await self.point("sent")
        return sent

    # -- the updates

    @property
    def updates(self) -> "Updates":
        return Updates(self)

    # -- the member topics

    async def ends(self, lane: int) -> Mapping[str, int]:
        await self.point("ends")
        self.questions += 1
        ends = {}
        for topic in self.world.logs:
            end = self.world.end(topic)
            ends[topic] = self._fetched[topic] if self.position[topic] >= end else end
        await self.point("ended")
        return ends

    def pause(self, lane: int, topic: str) -> None:
        assert topic not in self.paused
        self.paused.add(topic)

    def resume(self, lane: int, topic: str) -> None:
        self.paused.remove(topic)
        self.world.changed()

    def done(self, lane: int, topic: str, offset: int) -> None:
        assert offset > self.done_offsets.get(topic, -1), "done went back"
        self.done_offsets[topic] = offset
        if self.world.owner is self and self.world.rng.random() < self.world.commit_chance:
            self.world.committed[topic] = max(self.world.committed.get(topic, 0), offset)

    async def fetch(self, topic: str, feed: Callable[[str, Sequence[Record]], None]) -> None:
        """Hand over a topic from where the group is, in chunks of chance size, for ever."""
        world, rng = self.world, self.world.rng
        chunk: list[Record] = []
        while True:
            while (
                self.position[topic] >= world.end(topic)
                or topic in self.paused
                or topic in world.lagging
                or world.away
                or world.owner is not self
            ):
                await world.news.wait()
            await self._if_running()
            if chunk and rng.random() < world.rewind_chance:
                feed(topic, chunk)
                continue
            most = rng.choice((1, 2, 5, 50))
            log = world.logs[topic]
            chunk = [r for r in log if r.offset >= self.position[topic]][:most]
            self.position[topic] = self._fetched[topic] = chunk[-1].offset + 1
            await asyncio.sleep(rng.uniform(*world.latency_ms) / 1000)
            await self._if_running()
            feed(topic, chunk)


class Updates:
    """The ``LogPort`` of what was sent to ``member-updates``."""

    topic = "member-updates"

    def __init__(self, process: Process) -> None:
        self._process = process

    async def end(self, lane: int) -> int:
        await self._process.point("updates end")
        return self._process.world.ends_at(self.topic)

    async def read(self, lane: int, start: int, end: int) -> AsyncIterator[Sequence[LoggedRow]]:
        await self._process.point("updates read")
        updates = [output for output in self._process.world.sent if output.topic == self.topic]
        yield [LoggedRow(start, output.key, output.value) for output in updates[start:end]]
