"""What is handed over around a seek, with the group's connection under control."""

import asyncio
from collections.abc import Collection, Mapping
from typing import NamedTuple

import pytest

from agents.handover import Handover
from agents.ports import Fetched, Place, Revoked, Start, StopWorker
from agents.reading import Reading

BROWSE, CART = Place("browse", 0), Place("cart", 0)
ASSIGNED = {BROWSE, CART}


class Record(NamedTuple):
    offset: int


class Group:
    """Fetches when told to, from where it was told to seek."""

    def __init__(self) -> None:
        self.committed: dict[Place, int | None] = {BROWSE: 5, CART: None}
        self.sought: dict[Place, int] = {}
        self.asked: list[set[Place]] = []
        self.may_fetch = asyncio.Event()
        self.may_fetch.set()
        self.commits: list[Mapping[Place, int]] = []
        self.answers = [True]

    async def starts(self, places: Collection[Place]) -> dict[Place, Start]:
        return {place: Start(0, 100, self.committed[place]) for place in places}

    async def seek(self, offsets: Mapping[Place, int]) -> None:
        self.sought = dict(offsets)

    async def fetch(self, places: Collection[Place], seconds: float) -> Fetched:
        # As in the consumer's thread: what was asked for goes on whoever stops waiting for it.
        return await asyncio.shield(asyncio.create_task(self._fetch(places)))

    async def _fetch(self, places: Collection[Place]) -> Fetched:
        self.asked.append(set(places))
        await self.may_fetch.wait()
        records = {}
        for place in places:
            first = self.sought[place]
            self.sought[place] = first + 10
            records[place] = [Record(offset) for offset in range(first, first + 10)]
        return Fetched(records, dict(self.sought))

    async def commit(self, offsets: Mapping[Place, int]) -> bool:
        self.commits.append(offsets)
        return self.answers.pop(0)


@pytest.fixture
def group() -> Group:
    return Group()


@pytest.fixture
def reading(group: Group) -> Reading:
    return Reading(group)


async def test_nothing_is_fetched_before_reading_has_begun(reading: Reading, group: Group) -> None:
    assert (await reading.poll(ASSIGNED, 0))[1] == {}
    assert group.asked == []
    await reading.begin(ASSIGNED)
    _, fetched = await reading.poll(ASSIGNED, 0)
    assert {place: records[0].offset for place, records in fetched.items()} == {BROWSE: 5, CART: 0}


async def test_a_seek_waits_for_the_fetch_under_way_and_makes_its_chunks_stale(
    reading: Reading, group: Group
) -> None:
    await reading.begin(ASSIGNED)
    group.may_fetch.clear()
    fetching = asyncio.create_task(reading.poll(ASSIGNED, 0))
    await asyncio.sleep(0)
    group.committed[BROWSE] = 7
    seeking = asyncio.create_task(reading.begin(ASSIGNED))
    await asyncio.sleep(0.01)
    assert not seeking.done()
    assert group.sought[BROWSE] == 5
    group.may_fetch.set()
    era, _ = await fetching
    await seeking
    assert not reading.is_current(era)
    era, fetched = await reading.poll(ASSIGNED, 0)
    assert fetched[BROWSE][0].offset == 7
    assert reading.is_current(era)


async def test_chunks_of_a_revoked_assignment_are_stale_at_once(reading: Reading) -> None:
    await reading.begin(ASSIGNED)
    era, _ = await reading.poll(ASSIGNED, 0)
    assert reading.is_current(era)
    reading.stop()
    assert not reading.is_current(era)


async def test_a_start_that_is_overtaken_by_a_revocation_begins_nothing(
    reading: Reading, group: Group
) -> None:
    class Slow(Group):
        async def starts(self, places: Collection[Place]) -> dict[Place, Start]:
            reading.stop()
            return await super().starts(places)

    reading = Reading(Slow())
    with pytest.raises(Revoked):
        await reading.begin(ASSIGNED)
    assert not reading.started.is_set()


@pytest.mark.parametrize(("committed", "said"), [(101, "is missing"), (-1, "was deleted")])
async def test_a_place_that_the_broker_does_not_hold_stops_the_worker(
    reading: Reading, group: Group, committed: int, said: str
) -> None:
    group.committed[BROWSE] = committed
    with pytest.raises(StopWorker, match=said):
        await reading.begin(ASSIGNED)
    assert not reading.started.is_set()


async def give_up_a_poll(reading: Reading, group: Group) -> None:
    """Cancel a poll whose fetch waits until it ``may_fetch``."""
    group.may_fetch.clear()
    polling = asyncio.create_task(reading.poll(ASSIGNED, 0))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    polling.cancel()
    await asyncio.wait([polling])


async def test_a_fetch_that_nobody_waits_for_takes_no_records_of_the_next_assignment(
    reading: Reading, group: Group
) -> None:
    await reading.begin(ASSIGNED)
    await give_up_a_poll(reading, group)
    # The group's connection knows nothing of that: the fetch goes on.
    beginning = asyncio.create_task(reading.begin(ASSIGNED))
    await asyncio.sleep(0.01)
    group.may_fetch.set()
    await beginning
    _, fetched = await reading.poll(ASSIGNED, 0)
    assert fetched[BROWSE][0].offset == 5
    assert reading.read_to(BROWSE, 100) == 100


async def test_what_a_cancelled_poll_had_under_way_comes_with_the_next(
    reading: Reading, group: Group
) -> None:
    await reading.begin(ASSIGNED)
    await give_up_a_poll(reading, group)
    group.may_fetch.set()
    era, fetched = await reading.poll(ASSIGNED, 0)
    assert reading.is_current(era)
    assert fetched[BROWSE][0].offset == 5
    assert len(group.asked) == 1


async def test_held_partitions_are_not_asked_for(reading: Reading, group: Group) -> None:
    await reading.begin(ASSIGNED)
    reading.hold(CART)
    await reading.poll(ASSIGNED, 0)
    reading.hold(BROWSE)
    await reading.poll(ASSIGNED, 0)
    reading.release(CART)
    await reading.poll(ASSIGNED, 0)
    assert group.asked == [{BROWSE}, {CART}]


async def test_the_end_to_reach_is_that_of_the_last_record_once_nothing_is_left(
    reading: Reading, group: Group
) -> None:
    group.committed = {BROWSE: 100, CART: 88}
    await reading.begin(ASSIGNED)
    assert reading.read_to(BROWSE, 100) == 0
    assert reading.read_to(CART, 100) == 100
    reading.hold(BROWSE)
    await reading.poll(ASSIGNED, 0)
    assert reading.read_to(CART, 100) == 100
    # What is left are the markers of two transactions: the position moves, no record comes.
    group.sought[CART] = 100
    reading.hold(CART)
    reading.release(BROWSE)
    group.sought[BROWSE] = 90
    await reading.poll(ASSIGNED, 0)
    assert reading.read_to(CART, 100) == 98
    assert reading.read_to(CART, 90) == 90


async def test_a_commit_that_is_refused_is_made_again(reading: Reading, group: Group) -> None:
    group.answers = [False, True]
    await reading.begin(ASSIGNED)
    assert not await reading.commit()
    reading.offsets.done(BROWSE, 9)
    assert not await reading.commit()
    assert await reading.commit()
    assert not await reading.commit()
    assert group.commits == [{BROWSE: 9}, {BROWSE: 9}]


async def test_before_partitions_are_given_up_lanes_finish_and_what_they_did_is_committed(
    reading: Reading, group: Group
) -> None:
    class FinishingLanes:
        async def take_over(self, numbers: Collection[int]) -> None:
            assert set(numbers) == {0}

        async def stop(self) -> None:
            assert not reading.started.is_set()
            reading.offsets.done(BROWSE, 9)

    working = asyncio.Event()

    async def work() -> None:
        working.set()

    failures: list[BaseException] = []
    lanes = FinishingLanes()
    handover = Handover(lanes, reading, ("browse", "cart"), failures.append, 1.0)  # type: ignore[arg-type]
    await handover.assigned(ASSIGNED, work)
    await working.wait()
    assert reading.started.is_set()
    await handover.finish()
    assert group.commits == [{BROWSE: 9}]
    # A commit that was refused is not made again before the next assignment has begun.
    reading.offsets.done(BROWSE, 11)
    group.answers = [False, True]
    await handover.finish()
    assert not await reading.commit()
    assert group.commits == [{BROWSE: 9}, {BROWSE: 11}]
    await handover.assigned({BROWSE}, work)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert "without some of the topics" in str(failures[0])


async def test_a_chunk_from_before_a_revocation_reaches_no_lane(reading: Reading) -> None:
    fed: list[int] = []

    class Lanes:
        def feed(self, number: int, topic: str, records: list[Record]) -> None:
            fed.extend(record.offset for record in records)

    handover = Handover(Lanes(), reading, ("browse", "cart"), print, 1.0)  # type: ignore[arg-type]
    await reading.begin(ASSIGNED)
    handover.feed(reading.era, BROWSE, [Record(5)])  # type: ignore[list-item]
    stale = reading.era
    reading.stop()
    handover.feed(stale, BROWSE, [Record(6)])  # type: ignore[list-item]
    await reading.begin(ASSIGNED)
    handover.feed(stale, BROWSE, [Record(7)])  # type: ignore[list-item]
    assert fed == [5]
