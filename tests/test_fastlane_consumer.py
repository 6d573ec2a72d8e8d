"""What the consumer hands over around a seek, with the thread that fetches under control."""

import asyncio
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from fastlane_toy import toy_app
from faust.types import TP

from agents.fastlane.consumer import FastConsumer, Fetched, Start

BROWSE, CART = TP("browse", 0), TP("cart", 0)
ASSIGNED = {BROWSE, CART}


class Record(NamedTuple):
    offset: int


class FetchingThread:
    """Fetches when told to, from where it was told to seek."""

    def __init__(self) -> None:
        self.groups: dict[TP, int | None] = {BROWSE: 5, CART: None}
        self.ends: dict[TP, int] = {BROWSE: 100, CART: 100}
        self.sought: dict[TP, int] = {}
        self.asked: list[set[TP]] = []
        self.may_fetch = asyncio.Event()
        self.may_fetch.set()

    async def starts(self, tps: Any) -> dict[TP, Start]:
        return {tp: Start(0, self.ends[tp], self.groups[tp]) for tp in tps}

    async def seek_all(self, offsets: dict[TP, int]) -> None:
        self.sought = dict(offsets)

    async def getmany(self, wanted: set[TP], _: float) -> Fetched:
        self.asked.append(wanted)
        await self.may_fetch.wait()
        records = {}
        for tp in wanted:
            first = self.sought[tp]
            self.sought[tp] = first + 10
            records[tp] = [Record(offset) for offset in range(first, first + 10)]
        return Fetched(records, dict(self.sought))


@pytest.fixture
async def consumer(tmp_path: Path) -> FastConsumer:
    app = toy_app(
        {
            "broker": "127.0.0.1:1",
            "group": "toy",
            "topics": ["browse", "cart"],
            "outputs": "outputs",
            "partitions": 1,
            "changelog": "toy-changelog",
            "data_dir": str(tmp_path),
        }
    )
    consumer: FastConsumer = app.consumer
    consumer._thread = FetchingThread()
    return consumer


async def fetch(consumer: FastConsumer) -> dict[TP, list[Record]]:
    fetched: dict[TP, list[Record]] = await consumer._getmany(ASSIGNED, 0.0)
    return fetched


async def test_nothing_is_fetched_before_reading_has_started(consumer: FastConsumer) -> None:
    assert await fetch(consumer) == {}
    assert consumer._thread.asked == []
    await consumer.start_reading(ASSIGNED)
    assert {tp: records[0].offset for tp, records in (await fetch(consumer)).items()} == {
        BROWSE: 5,
        CART: 0,
    }


async def test_a_seek_waits_for_the_fetch_under_way_and_makes_its_chunks_stale(
    consumer: FastConsumer,
) -> None:
    thread = consumer._thread
    await consumer.start_reading(ASSIGNED)
    thread.may_fetch.clear()
    fetching = asyncio.create_task(fetch(consumer))
    await asyncio.sleep(0)
    era = consumer._fetched_era
    thread.groups[BROWSE] = 7
    seeking = asyncio.create_task(consumer.start_reading(ASSIGNED))
    await asyncio.sleep(0.01)
    assert not seeking.done()
    assert thread.sought[BROWSE] == 5
    thread.may_fetch.set()
    await fetching
    await seeking
    assert not consumer.is_current(era)
    assert (await fetch(consumer))[BROWSE][0].offset == 7
    assert consumer.is_current(consumer._fetched_era)


async def test_chunks_of_a_revoked_assignment_are_stale_at_once(consumer: FastConsumer) -> None:
    await consumer.start_reading(ASSIGNED)
    await fetch(consumer)
    assert consumer.is_current(consumer._fetched_era)
    consumer.stop_reading()
    assert not consumer.is_current(consumer._fetched_era)


async def test_held_partitions_are_not_asked_for(consumer: FastConsumer) -> None:
    thread = consumer._thread
    await consumer.start_reading(ASSIGNED)
    consumer.hold(CART)
    await fetch(consumer)
    consumer.hold(BROWSE)
    await fetch(consumer)
    consumer.release(CART)
    await fetch(consumer)
    assert thread.asked == [{BROWSE}, {CART}]


async def test_the_end_to_reach_is_that_of_the_last_record_once_nothing_is_left(
    consumer: FastConsumer,
) -> None:
    thread = consumer._thread
    thread.groups = {BROWSE: 100, CART: 88}
    await consumer.start_reading(ASSIGNED)
    assert consumer.read_to(BROWSE, 100) == 0
    assert consumer.read_to(CART, 100) == 100
    await fetch(consumer)
    assert consumer.read_to(CART, 100) == 100
    # What is left are the markers of two transactions.
    thread.sought[CART] = 100
    consumer.hold(BROWSE)
    consumer._positions[CART] = 100
    assert consumer.read_to(CART, 100) == 98
    assert consumer.read_to(CART, 90) == 90


async def test_a_commit_that_is_refused_is_made_again(consumer: FastConsumer) -> None:
    thread, answers, made = consumer._thread, [False, True], []

    async def commit(offsets: dict[TP, int]) -> bool:
        made.append(offsets)
        return answers.pop(0)

    thread.commit = commit
    await consumer.start_reading(ASSIGNED)
    assert not await consumer.commit()
    consumer.offsets.done(BROWSE, 9)
    assert not await consumer.commit()
    assert await consumer.commit()
    assert not await consumer.commit()
    assert made == [{BROWSE: 9}, {BROWSE: 9}]


async def test_before_partitions_are_given_up_lanes_finish_and_what_they_did_is_committed(
    consumer: FastConsumer,
) -> None:
    made = []

    async def commit(offsets: dict[TP, int]) -> bool:
        made.append(offsets)
        return True

    class FinishingLane:
        async def stop(self) -> bool:
            assert not consumer.reading.is_set()
            consumer.offsets.done(BROWSE, 9)
            return True

    consumer._thread.commit = commit
    await consumer.start_reading(ASSIGNED)
    consumer.app.lanes._lanes = {0: FinishingLane()}
    await consumer.wait_empty()
    assert made == [{BROWSE: 9}]
    assert consumer.app.lanes.running == {}
