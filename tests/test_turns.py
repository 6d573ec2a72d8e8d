"""Lanes have their turns one after another, and everything else goes in between."""

import asyncio
from itertools import pairwise

import pytest
from sim_world import VirtualLoop, run

from agents.turns import CALM, LINGER, MEMORY, MOST_PATIENCE, ROUNDS, WAITS, Turns


async def test_between_two_turns_everything_else_goes_on() -> None:
    turns, course = Turns(), list[str]()

    async def lane(name: str) -> None:
        for _ in range(2):
            await turns.mine()
            course.append(name)

    async def everything_else() -> None:
        while len(course) < 6 or course[-1] == "else":
            await asyncio.sleep(0)
            course.append("else")
            if course.count("else") > 40:
                return

    await asyncio.gather(*(lane(name) for name in "abc"), everything_else())
    assert sorted(one for one in course if one != "else") == ["a", "a", "b", "b", "c", "c"]
    places = [place for place, one in enumerate(course) if one != "else"]
    assert all(later - earlier > ROUNDS for earlier, later in pairwise(places))


async def test_turns_come_in_the_order_in_which_they_were_asked_for() -> None:
    turns, had = Turns(), list[int]()

    async def lane(number: int) -> None:
        await turns.mine()
        had.append(number)

    await asyncio.gather(*map(lane, range(5)))
    assert had == [0, 1, 2, 3, 4]


async def test_who_is_cancelled_while_it_waits_keeps_nobody_waiting() -> None:
    turns, had = Turns(), list[str]()

    async def lane(name: str) -> None:
        await turns.mine()
        had.append(name)

    tasks = [asyncio.create_task(lane(name)) for name in "abcd"]
    await asyncio.sleep(0)
    tasks[1].cancel()
    tasks[2].cancel()
    await asyncio.wait(tasks)
    assert had == ["a", "d"]
    await lane("later")
    assert had == ["a", "d", "later"]


async def test_turns_are_pressed_while_somebody_waits() -> None:
    turns = Turns()
    assert not turns.pressed
    await turns.mine()
    assert not turns.pressed
    second = asyncio.create_task(turns.mine())
    await asyncio.sleep(0)
    assert turns.pressed
    await second
    assert not turns.pressed


def test_how_long_turns_are_waited_for_is_known_and_forgotten() -> None:
    async def taking_turns() -> None:
        turns = Turns()
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)

        async def busy(milliseconds: int) -> None:
            for _ in range(300):
                await turns.mine()
                loop.seconds += milliseconds / 1000

        await asyncio.gather(busy(10), busy(10), busy(10))
        # For the turns of the two others.
        assert turns.waited == pytest.approx(0.020, rel=0.05)
        assert turns.patience == turns.linger == 0
        await asyncio.gather(busy(40), busy(40))
        assert turns.waited == pytest.approx(0.040, rel=0.1)
        assert turns.patience == WAITS * (turns.waited - CALM)
        assert turns.linger == LINGER * turns.patience
        await asyncio.gather(busy(200), busy(200))
        assert turns.patience == MOST_PATIENCE
        await busy(0)
        assert turns.patience > 0.9 * MOST_PATIENCE
        loop.seconds += 2 * MEMORY
        await busy(0)
        assert turns.patience == 0

    run(taking_turns())
