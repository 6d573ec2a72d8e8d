"""How far a worker is behind: by what is done of what there was, never by what records say."""

import asyncio
from collections.abc import Collection

from agents.ports import Place
from app.lag import OPEN_QUESTIONS, Ends, LagWatch

BROWSE, CART = Place("browse", 0), Place("cart", 0)


class World:
    """Two topics of one lane, with where they end and what is done."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.lanes = {0}
        self.end = {BROWSE: 10, CART: 5}
        self.done = dict(self.end)
        self.answers = asyncio.Event()
        self.answers.set()
        self.lag = LagWatch(
            lambda: self.lanes, self.ends, lambda place: self.done[place], lambda: self.now
        )

    async def ends(self, lanes: Collection[int]) -> Ends:
        found = dict(self.end)
        await self.answers.wait()
        return {place: end for place, end in found.items() if place.partition in lanes}

    async def passes(self, seconds: float) -> None:
        self.now += seconds
        await self.lag.ask()


async def test_who_has_done_everything_is_behind_by_the_time_since_the_last_asking() -> None:
    world = World()
    await world.passes(60)
    world.now += 1.5
    assert world.lag.seconds() == 1.5
    assert world.lag.records() == 0


async def test_what_waits_counts_until_it_is_done() -> None:
    world = World()
    await world.passes(1)
    world.end[BROWSE] = 100
    for _ in range(10):
        await world.passes(2)
    assert (world.lag.seconds(), world.lag.records()) == (20, 90)
    world.done[BROWSE] = 99
    assert (world.lag.seconds(), world.lag.records()) == (20, 1)
    world.done[BROWSE] = 100
    assert (world.lag.seconds(), world.lag.records()) == (0, 0)


async def test_under_a_steady_load_it_is_how_long_a_record_waits() -> None:
    world = World()
    for second in range(100):
        world.end[BROWSE] = 10 + second * 50
        # What came twenty seconds ago is done just now.
        world.done[BROWSE] = 10 + max(second - 20, 0) * 50
        await world.passes(1)
    assert world.lag.seconds() == 20
    assert world.lag.records() == 20 * 50


async def test_while_no_broker_answers_it_grows() -> None:
    world = World()
    await world.passes(1)
    world.answers.clear()
    asking = asyncio.create_task(world.passes(2))
    await asyncio.sleep(0)
    world.now += 600
    assert world.lag.seconds() == 602
    world.answers.set()
    await asking
    # The question is as old as the outage: of what came since, nothing is known yet.
    assert world.lag.seconds() == 600
    await world.passes(0)
    assert world.lag.seconds() == 0


async def test_lanes_that_are_dealt_out_anew_begin_anew() -> None:
    world = World()
    world.end[BROWSE] = 1000
    await world.passes(1)
    world.now += 300
    assert world.lag.seconds() >= 300
    world.lanes = {0, 1}
    assert (world.lag.seconds(), world.lag.records()) == (0, 0)
    world.lanes = set()
    world.now += 300
    assert (world.lag.seconds(), world.lag.records()) == (0, 0)


async def test_an_answer_about_lanes_that_have_gone_is_dropped() -> None:
    world = World()
    world.answers.clear()
    asking = asyncio.create_task(world.passes(1))
    await asyncio.sleep(0)
    world.lanes = {1}
    world.answers.set()
    await asking
    assert world.lag.records() == 0


async def test_a_long_lag_takes_no_more_room_and_is_still_told_well() -> None:
    world = World()
    for second in range(50 * OPEN_QUESTIONS):
        world.end[BROWSE] = 11 + second
        await world.passes(2)
    assert len(world.lag._open) <= OPEN_QUESTIONS
    world.done[BROWSE] = world.end[BROWSE] // 2
    passed = 50 * OPEN_QUESTIONS * 2
    assert 0.45 * passed < world.lag.seconds() < 0.6 * passed
