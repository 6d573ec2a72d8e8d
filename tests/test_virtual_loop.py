"""The event loop of the simulation: time that jumps, and the same order every time."""

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import pytest
from simulation.loop import BEGINNING, NothingLeft, VirtualLoop, now, run


def test_time_passes_only_when_nothing_else_is_to_be_done() -> None:
    async def main() -> list[tuple[str, int]]:
        seen = []

        async def wake(name: str, seconds: float) -> None:
            await asyncio.sleep(seconds)
            seen.append((name, now() - BEGINNING))

        began = time.monotonic()
        await asyncio.gather(wake("year", 365 * 86400.0), wake("day", 86400.25), wake("now", 0))
        assert time.monotonic() - began < 3600
        return seen

    assert run(main()) == [("now", 0), ("day", 86_400_250), ("year", 365 * 86_400_000)]


def test_a_leap_puts_off_what_would_have_happened_in_it_and_nothing_else() -> None:
    async def main() -> list[tuple[str, int]]:
        seen = []

        async def wake(name: str, seconds: float) -> None:
            await asyncio.sleep(seconds)
            seen.append((name, now() - BEGINNING))

        async def leaps() -> None:
            await asyncio.sleep(2)
            running = asyncio.get_running_loop()
            assert isinstance(running, VirtualLoop)
            running.leap(3600)
            await wake("leapt", 0)

        sleepers = (wake("soon", 3), wake("later", 30), wake("at its time", 3604))
        await asyncio.gather(leaps(), *sleepers)
        return seen

    assert run(main()) == [
        ("leapt", 3_602_000),
        ("soon", 3_603_000),
        ("at its time", 3_604_000),
        ("later", 3_630_000),
    ]


def test_a_run_in_which_everybody_waits_says_so() -> None:
    ended = []

    async def main() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    with pytest.raises(NothingLeft):
        run(main())
    assert ended


def test_a_timer_that_was_cancelled_does_not_move_time() -> None:
    async def main() -> int:
        loop = asyncio.get_running_loop()
        for seconds in range(10_000):
            loop.call_later(5 + seconds, asyncio.Event().set).cancel()
        for _ in range(1_000):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.Event().wait(), 0.001)
        await asyncio.wait_for(asyncio.sleep(0.5), 3600)
        return now() - BEGINNING

    assert run(main()) == 1_500


def test_whatever_still_runs_at_the_end_is_cancelled() -> None:
    ended = []

    async def forever() -> None:
        try:
            await asyncio.sleep(1e9)
        finally:
            ended.append(now() - BEGINNING)

    async def main() -> None:
        asyncio.get_running_loop().create_task(forever())
        await asyncio.sleep(2)

    run(main())
    assert ended == [2_000]


SETS_OF_TASKS = """
import asyncio
from simulation.loop import run

async def one(name, seen):
    try:
        await asyncio.sleep(1)
    except asyncio.CancelledError:
        seen.append(name)

async def main():
    padding = [bytearray(name * 1000) for name in range(SIZE)]
    seen = []
    try:
        async with asyncio.TaskGroup() as group:
            tasks = {group.create_task(one(name, seen)) for name in range(50)}
            await asyncio.sleep(0)
            raise ValueError
    except* ValueError:
        pass
    print(seen)

run(main())
"""


def test_sets_of_tasks_are_gone_through_alike_in_every_process() -> None:
    support = Path(__file__).parent / "support"
    seen = {
        subprocess.run(
            [sys.executable, "-c", SETS_OF_TASKS.replace("SIZE", str(size))],
            env={"PYTHONPATH": str(support)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for size in (0, 7, 40)
    }
    assert len(seen) == 1
    assert seen.pop().startswith("[0, 1, 2,")
