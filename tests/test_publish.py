"""Publishing a group: what a worker that stood still between two steps may still say."""

from typing import Any

import pytest
from sim_world import Process, World, run

from agents.group import Group
from agents.ports import Fenced, Output
from agents.publish import FROZEN_MS, Publisher
from agents.recovery import fence, recover
from agents.stats import LaneStats
from agents.wal import Wal

SAID = Output("triggers", b"m", b"x", ())


class StandsStill(Wal):
    """A log whose process stands still for a while just after a group was acknowledged."""

    clock: "StoppedClock"
    heir: Process | None = None

    async def write(self, group: Group, unwritten: Any = frozenset()) -> None:
        await super().write(group, unwritten)
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

    async def send(self, outputs: list[Output]) -> None:
        self.outputs += outputs


class OneGroup:
    """A fold and a collection that have one group, without projections."""

    def close(self, _limit: int) -> list[Group]:
        return [Group({b"m": b"row"}, [SAID], [], {})]

    def project(self, _key: bytes, _body: bytes | None) -> list[Output]:
        return []


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
    publisher: Publisher[Any, Any] = Publisher(
        0,
        one,
        wal,
        sent,
        None,
        wal.clock,
        LaneStats(),  # type: ignore[arg-type]
    )
    publisher.close(one, (), 100_000)  # type: ignore[arg-type]
    try:
        await publisher.publish()
    except Fenced:
        assert sent.outputs == []
        raise
    return sent.outputs


def test_who_stood_still_after_writing_and_was_succeeded_meanwhile_says_nothing() -> None:
    with pytest.raises(Fenced):
        run(publishes(FROZEN_MS + 1, taken_over=True))


def test_who_stood_still_and_was_not_succeeded_says_it() -> None:
    assert run(publishes(FROZEN_MS + 1, taken_over=False)) == [SAID]
