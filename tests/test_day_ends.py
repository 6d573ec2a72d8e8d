"""A lane says which day is over, behind all that came of it; in stream time it waits for others."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from sim_worker import Worker
from sim_world import BEGINNING, World, run
from toy_days import ToyDays
from toy_job import REMIND_MS, TOPICS, value

from agents.lane import GROUP_MS

DAY = 86_400_000
HOUR = 3_600_000
TODAY = BEGINNING // DAY
FIRST = TODAY - 400


def simulated(main: Callable[[World], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    def test() -> None:
        async def begin() -> None:
            await main(World(TOPICS))

        run(begin())

    test.__name__ = main.__name__
    test.__doc__ = main.__doc__
    return test


def put(world: World, topic: str, member: bytes, at: int) -> None:
    world.produce(topic, member, value(at), at)


async def sleep(seconds: float) -> None:
    await asyncio.sleep(seconds)


def said(world: World) -> list[str]:
    """What was said, in its order: days, triggers by member, decisions by member."""
    return [
        (o.value or b"").decode() if o.topic == "days" else f"{o.topic} {o.key.decode()}"
        for o in world.sent
        if o.topic in ("days", "triggers", "decisions")
    ]


async def working(world: World, days: ToyDays, until: int | None = None) -> Worker:
    worker = Worker(world, days=days, until=until)
    await worker.start()
    return worker


# -- stream time


@simulated
async def test_a_lane_goes_no_further_than_the_days_are_open(world: World) -> None:
    days = ToyDays()
    put(world, "cart", b"a", FIRST * DAY + HOUR)
    put(world, "cart", b"b", (FIRST + 1) * DAY)
    put(world, "cart", b"c", (FIRST + 9) * DAY + HOUR)
    worker = await working(world, days, until=(FIRST + 10) * DAY)
    await sleep(2)
    assert said(world) == [str(FIRST - 1)]
    days.open(FIRST)
    await sleep(2)
    # The second record is of the first instant of the day after.
    assert said(world)[1:] == ["decisions a", str(FIRST)]
    days.open(FIRST + 1)
    await sleep(2)
    assert said(world)[3:] == ["decisions b", str(FIRST + 8)]
    days.open(FIRST + 5)
    await sleep(2)
    assert len(said(world)) == 5
    days.open(FIRST + 9)
    await sleep(2)
    assert said(world)[5:] == ["decisions c", str(FIRST + 9)]
    await worker.end()
    assert days.watched == 0


@simulated
async def test_the_end_of_a_day_does_not_wait_for_a_group_to_fill(world: World) -> None:
    """In stream time everybody waits for it, and history has many days."""
    days = ToyDays()
    for day in range(FIRST, FIRST + 10):
        put(world, "cart", b"a", day * DAY + HOUR)
    worker = await working(world, days, until=(FIRST + 10) * DAY)
    await sleep(2)
    for day in range(FIRST, FIRST + 10):
        days.open(day)
        await sleep(GROUP_MS / 2 / 1000)
        assert said(world)[-1] == str(day)
    await worker.end()


@simulated
async def test_a_deadline_at_the_end_of_a_day_belongs_to_that_day(world: World) -> None:
    days = ToyDays()
    put(world, "browse", b"at the end", (FIRST + 1) * DAY - REMIND_MS)
    put(world, "browse", b"just after", (FIRST + 1) * DAY - REMIND_MS + 1)
    worker = await working(world, days, until=(FIRST + 2) * DAY)
    days.open(FIRST)
    await sleep(2)
    assert said(world) == ["triggers at the end", str(FIRST)]
    days.open(FIRST + 1)
    await sleep(2)
    assert said(world)[2:] == ["triggers just after", str(FIRST + 1)]
    await worker.end()


@simulated
async def test_a_lane_without_records_is_past_every_whole_day_until_the_end(world: World) -> None:
    days = ToyDays()
    worker = await working(world, days, until=(FIRST + 2) * DAY + HOUR)
    await sleep(2)
    assert said(world) == [str(FIRST + 1)]
    await worker.end()


@simulated
async def test_a_lane_that_has_not_read_everything_cannot_tell(world: World) -> None:
    days = ToyDays()
    put(world, "cart", b"a", FIRST * DAY)
    put(world, "purchase", b"b", (FIRST + 5) * DAY)
    world.lagging.add("cart")
    worker = await working(world, days, until=(FIRST + 9) * DAY)
    await sleep(5)
    assert said(world) == []
    world.lagging.clear()
    world.changed()
    await sleep(2)
    assert said(world) == [str(FIRST - 1)]
    await worker.end()


@simulated
async def test_after_a_crash_a_day_is_said_again(world: World) -> None:
    put(world, "cart", b"a", FIRST * DAY)
    put(world, "cart", b"b", (FIRST + 2) * DAY)
    days = ToyDays((FIRST + 1) * DAY)
    first = await working(world, days, until=(FIRST + 3) * DAY)
    await sleep(2)
    await first.end()
    second = await working(world, days, until=(FIRST + 3) * DAY)
    await sleep(2)
    # Between the two: the last outbox, which may not have been sent.
    assert said(world) == ["decisions a", str(FIRST + 1), "decisions a", str(FIRST + 1)]
    await second.end()


# -- a live clock


@simulated
async def test_on_a_live_clock_a_day_is_over_once_all_of_it_has_been_read(world: World) -> None:
    days = ToyDays()
    worker = await working(world, days)
    await sleep(2)
    assert said(world) == [str(TODAY - 1)]
    midnight = (TODAY + 1) * DAY
    put(world, "browse", b"m", midnight - REMIND_MS)
    await sleep((midnight - BEGINNING) / 1000 - 2.1)
    assert len(said(world)) == 1
    world.lagging.add("cart")
    put(world, "cart", b"n", midnight - 50)
    await sleep(10)
    # The broker holds a record of that day.
    assert len(said(world)) == 1
    world.lagging.clear()
    world.changed()
    await sleep(5)
    assert sorted(said(world)[1:3]) == ["decisions n", "triggers m"]
    assert said(world)[3:] == [str(TODAY)]
    await sleep(DAY / 1000)
    assert said(world)[4:] == [str(TODAY + 1)]
    await worker.end()


@simulated
async def test_on_a_live_clock_nobody_waits_for_a_day_to_open(world: World) -> None:
    days = ToyDays()
    put(world, "cart", b"a", BEGINNING - HOUR)
    worker = await working(world, days)
    await sleep(2)
    assert said(world) == ["decisions a", str(TODAY - 1)]
    await worker.end()


@simulated
async def test_a_worker_that_was_away_for_days_says_the_last_that_is_over(world: World) -> None:
    days = ToyDays()
    put(world, "browse", b"m", (TODAY - 3) * DAY)
    worker = await working(world, days)
    await sleep(2)
    assert said(world) == ["triggers m", str(TODAY - 1)]
    await worker.end()
