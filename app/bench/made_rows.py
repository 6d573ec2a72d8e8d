"""Rows of many members, as the engine writes them, and a changelog full of them."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from agents.clocks import WallClock
from agents.fastlane.connections import Connections
from agents.group import Group
from agents.members import ANONYMOUS, MEMBER
from agents.partitioner import murmur2_partition
from agents.recovery import NO_OUTBOX, Recovered, fence
from agents.wal import Wal
from app.bench.place import Place, say
from app.event_files import Event
from app.simulator import simulate
from app.worker import fast_lane_config
from models import engine
from models.decoding import Received, receive
from models.events import TOPIC_OF
from models.member import encode
from models.replay import Replay
from models.rulebook import RuleBook

SEED = 1
DAYS = 200
SAMPLE_MEMBERS = 500
GROUP_BYTES = 1 << 20
TOLD_EVERY = 200_000
_NOTHING = Recovered(0, NO_OUTBOX, (), frozenset(), {})
_json = msgspec.json.Encoder().encode


class MadeRow(NamedTuple):
    """A member's row: the first byte of its key, and its body. Whose it is stands in the key."""

    kind: bytes
    body: bytes


class NamedRow(NamedTuple):
    """A member's row under its key."""

    key: bytes
    body: bytes


def rows_of(run: Replay, book: RuleBook) -> list[MadeRow]:
    """Return the rows of all members of a replay, as a worker would save them now."""
    rows = []
    for (anonymous, _), member in run.members.items():
        engine.settle(member, book)
        body = encode(member, engine.next_due(member, book), book.digest)
        rows.append(MadeRow(ANONYMOUS if anonymous else MEMBER, body))
    return rows


def made_rows(book: RuleBook, now: int) -> list[MadeRow]:
    """Return rows of made members with 200 days behind them; what was due before ``now`` fired."""
    run = Replay(book)
    for offset, event in enumerate(simulate(SAMPLE_MEMBERS, DAYS, SEED, now)):
        run.fold(_received(event, offset))
    for _ in run.finish(now):
        pass
    return rows_of(run, book)


def _received(event: Event, offset: int) -> Received:
    identity: str = event.get("member_id") or event["anonymous_id"]
    at = event["occurred_at"]
    return receive(TOPIC_OF[event["type"]], _json(event), identity.encode(), 0, offset, at)


def filled(rows: Sequence[MadeRow], members: int) -> Iterator[NamedRow]:
    """Yield that many members, ``filled-NUMBER``, with those rows in turn."""
    for number in range(members):
        kind, body = rows[number % len(rows)]
        yield NamedRow(kind + b"filled-%08d" % number, body)


def fill(here: Place, rows: Iterable[NamedRow]) -> None:
    """Write a changelog of those members, by the worker's own code.

    The product's topics must be there. Raises ``KafkaError`` when it cannot be written.
    """
    asyncio.run(_fill(here, rows))


async def _fill(here: Place, rows: Iterable[NamedRow]) -> None:
    partitions = here.settings.partitions
    connections = Connections(fast_lane_config(here.settings, here.folder), WallClock())
    await connections.start()
    try:
        await connections.check_own_topics()
        topics = await connections.source_topics(range(partitions))
        lanes = []
        for lane in range(partitions):
            epoch = await fence(connections.changelog, lane, "bench")
            wal = Wal(connections.changelog, lane, epoch, _NOTHING, {}, GROUP_BYTES)
            await wal.reopen({name: topic.id for name, topic in topics[lane].items()})
            lanes.append(_FillingLane(wal))
        for place, (key, body) in enumerate(rows, start=1):
            # The first byte of a key is its kind; the rest places it, as it does an event.
            await lanes[murmur2_partition(key[1:], partitions)].add(key, body)
            if place % TOLD_EVERY == 0:
                say(f"{place:,} rows written")
        for filling in lanes:
            await filling.end()
    finally:
        await connections.stop()


class _FillingLane:
    """A lane's changelog and the group that is being collected for it."""

    def __init__(self, wal: Wal) -> None:
        self._wal = wal
        self._rows: dict[bytes, bytes | None] = {}
        self._size = 0

    async def add(self, key: bytes, body: bytes) -> None:
        self._rows[key] = body
        self._size += len(body)
        if self._size > GROUP_BYTES:
            await self._write(self._rows)
            self._rows, self._size = {}, 0

    async def end(self) -> None:
        # The projections of the last group's members are sent again: it is a small one.
        last = self._rows.popitem() if self._rows else None
        await self._write(self._rows)
        if last is not None:
            await self._write(dict([last]))

    async def _write(self, rows: dict[bytes, bytes | None]) -> None:
        await self._wal.write(Group(rows=rows))
