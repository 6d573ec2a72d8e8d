"""A lane whose clock moves on while it works: a deadline is reached between any two readings."""

import asyncio
import random
from collections.abc import Callable

import pytest
from sim_worker import Worker
from sim_world import BEGINNING, VirtualClock, World, now, run
from toy_job import TOPICS, value

from agents.ports import Timer

DEADLINES = 300
READING_MS = 0.17
EARLIEST_MS = 1.0


@pytest.fixture
def _ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every reading of members' time take a fraction of a millisecond, and wake a bit early."""
    ahead, chance = 0.0, random.Random(1)

    def read(_: VirtualClock) -> int:
        nonlocal ahead
        ahead += READING_MS
        return BEGINNING + int(asyncio.get_running_loop().time() * 1000 + ahead)

    def call_at(_: VirtualClock, at: int, call: Callable[[], object]) -> Timer:
        early = chance.uniform(0, EARLIEST_MS)
        return asyncio.get_running_loop().call_at((at - BEGINNING - ahead - early) / 1000, call)

    monkeypatch.setattr(VirtualClock, "now", read)
    monkeypatch.setattr(VirtualClock, "call_at", call_at)


@pytest.mark.usefixtures("_ticking")
def test_no_deadline_is_slept_through_when_the_clock_reaches_it_between_two_readings() -> None:
    async def main() -> None:
        world = World(TOPICS)
        worker = Worker(world)
        await worker.start()
        for number in range(DEADLINES):
            world.produce("browse", b"m%d" % number, value(now()), now())
            await asyncio.sleep(0.0071)
        await worker.until(lambda: len(worker.lateness) == DEADLINES)
        # One question for the ends, or two: nothing that waits for the next look at the changelog.
        assert max(worker.lateness) < 50
        await worker.end()

    run(main())
