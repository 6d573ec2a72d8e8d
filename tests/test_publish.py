"""Publishing a group: what a worker that stood still between two steps may still say."""

from typing import Any

import pytest
from sim_world import Process, World, run

from agents.group import Group
from agents.ports import Fenced, Output, Sent
from agents.publish import FROZEN_MS, Publisher
from agents.recovery import fence, recover
from agents.stats import LaneStats
from agents.updates_log import UpdatesLog
from agents.wal import Wal

SAID = Output("triggers", b"m", b"x", ())


class StandsStill(Wal):
    """A log whose process stands still for a while just after a group was acknowledged."""

    clock: "StoppedClock"
    heir: Process | None = None

    async def write(self, group: Group, unwritten: Any = (), updates: Any = ()) -> None:
        await super().write(group, unwritten, updates)
        self.clock.ms += self.clock.stands
        if self.heir is not None:
            await fence(self.heir, 0, "heir")


class StoppedClock:
    def __init__(self, stands: int) -> None:
        self.ms = 0
        self.stands = stands

    def elapsed(self) -> int:
        return self.ms


class Sent:
    def __init__(self) -> None:
        self.outputs: list[Output] = []

    async def send(self, outputs: list[Output]) -> list[Sent]:
        self.outputs += outputs
        return []


class OneGroup:
    """A fold and a collection that have one group, without projections."""

    def close(self, _limit: int) -> list[Group]:
        return [Group({b"m": b"row"}, [SAID], [], {})]

    def project(self, _key: bytes, _body: bytes | None) -> list[Output]:
        return []

    def row_of(self, update: bytes) -> bytes:
        return update


def publisher_of(fold: OneGroup, wal: Wal, sent: Sent, clock: StoppedClock) -> Publisher[Any, Any]:
    ports: Any = (fold, {}, wal, UpdatesLog(None, 0, {}), sent, None, clock)
    return Publisher(0, *ports, LaneStats())


async def publishes(stands: int, taken_over: bool) -> list[Output]:
    """Publish one group, standing still after it is written; return what was sent."""
    log = World(("browse", "purchase"))
    process = Process(log, "first")
    epoch = await fence(process, 0, "first")
    recovered = await recover(process, 0, epoch, {})
    wal = StandsStill(process, 0, epoch, recovered, {}, 100_000)
    wal.clock = StoppedClock(stands)
    wal.heir = Process(log, "heir") if taken_over else None
    await wal.reopen({"browse": "id-1", "purchase": "id-2"})
    sent, one = Sent(), OneGroup()
    publisher = publisher_of(one, wal, sent, wal.clock)
    publisher.close(one, (), 100_000)  # type: ignore[arg-type]
    try:
        await publisher.publish()
    except Fenced:
        assert sent.outputs == []
        raise
    return sent.outputs


class Noted(Wal):
    """A log that notes which keys it was told to leave alone."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.left_alone: list[frozenset[bytes]] = []

    async def write(self, group: Group, unwritten: Any = (), updates: Any = ()) -> None:
        self.left_alone.append(frozenset(unwritten))
        await super().write(group, unwritten, updates)

    async def check(self, unwritten: Any = frozenset()) -> None:
        self.left_alone.append(frozenset(unwritten))
        await super().check(unwritten)


class ThreeGroups(OneGroup):
    def close(self, _limit: int) -> list[Group]:
        return [Group({key: b"row"}, [SAID], [], {}) for key in (b"a", b"b", b"c")]


def test_rows_of_groups_to_come_are_left_alone_by_every_write_and_look() -> None:
    async def main() -> None:
        process = Process(World(("browse", "purchase")), "first")
        epoch = await fence(process, 0, "first")
        wal = Noted(process, 0, epoch, await recover(process, 0, epoch, {}), {}, 100_000)
        await wal.reopen({"browse": "id-1", "purchase": "id-2"})
        three = ThreeGroups()
        publisher = publisher_of(three, wal, Sent(), StoppedClock(0))
        publisher.close(three, (), 100_000)  # type: ignore[arg-type]
        await publisher.publish()
        await publisher.check()
        await publisher.publish()
        await publisher.publish()
        bc, c = frozenset({b"b", b"c"}), frozenset({b"c"})
        assert wal.left_alone == [bc, bc, c, frozenset()]

    run(main())


def test_who_stood_still_after_writing_and_was_succeeded_meanwhile_says_nothing() -> None:
    with pytest.raises(Fenced):
        run(publishes(FROZEN_MS + 1, taken_over=True))


def test_who_stood_still_and_was_not_succeeded_says_it() -> None:
    assert run(publishes(FROZEN_MS + 1, taken_over=False)) == [SAID]
