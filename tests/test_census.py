"""Live counts: how many members each segment has, counted from the rows of a worker's lanes."""

import asyncio
from pathlib import Path

import pytest
from audience_kit import book_with
from core_builders import DAY, NOON, Life

from app import census
from app.census import Census
from models.member import labels_of
from models.rulebook import RuleBook

WANTED = {"buyers": {"orders": {"at_least": 1}}, "big": {"spend": {"at_least": 50}}}


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(census, "PAUSE", 0)
    monkeypatch.setattr(census, "REST", 0)


@pytest.fixture
def book(tmp_path: Path) -> RuleBook:
    return book_with(tmp_path, WANTED, tags={"guest": {"about": "To be invited."}})


def row(book: RuleBook, *totals: float) -> bytes:
    life = Life(book)
    life.sees("visit", NOON)
    for number, total in enumerate(totals):
        life.sees("purchase", NOON + number + 1, total=total)
    return life.is_saved_and_loaded()


class Worker:
    """The rows of some lanes, one of which may go away."""

    def __init__(self, book: RuleBook, lanes: dict[int, dict[bytes, bytes]]) -> None:
        self.lanes = lanes
        self.moves = 0
        self.asked = 0
        self.census = Census(book, lambda: set(self.lanes), self._rows, lambda: self.moves)

    def _rows(self, lane: int) -> dict[bytes, bytes] | None:
        self.asked += 1
        return self.lanes.get(lane)

    async def settles(self) -> None:
        for _ in range(50):
            await asyncio.sleep(0)


@pytest.fixture
def worker(book: RuleBook) -> Worker:
    visitor, buyer, big = row(book), row(book, 10), row(book, 10, 60)
    many = {b"m%d" % number: buyer for number in range(250)}
    return Worker(book, {0: {b"ma": visitor, b"mb": big}, 3: many})


def test_what_is_told_apart_is_read_off_a_row(book: RuleBook) -> None:
    assert labels_of(row(book)) is None
    labels = labels_of(row(book, 60))
    assert labels is not None
    assert {book.segment_names[one] for one in labels.segments} == {"buyers", "big"}
    tagged = Life(book)
    tagged.sees("tag", NOON, tag="guest")
    found = labels_of(tagged.is_saved_and_loaded())
    assert found is not None
    assert list(found.tags) == ["guest"]


async def test_every_lane_is_counted_and_an_empty_segment_too(worker: Worker) -> None:
    assert worker.census.members == {}
    worker.census.start()
    await worker.settles()
    assert worker.census.members == {"buyers": 251, "big": 1}
    del worker.lanes[3]
    await worker.settles()
    assert worker.census.members == {"buyers": 1, "big": 1}
    await worker.census.stop()


async def test_nothing_is_counted_again_before_somebody_moves(
    worker: Worker, book: RuleBook
) -> None:
    worker.census.start()
    await worker.settles()
    asked = worker.asked
    await worker.settles()
    assert worker.asked == asked
    worker.lanes[0][b"mc"] = row(book, 70)
    worker.moves += 2
    await worker.settles()
    assert worker.census.members == {"buyers": 252, "big": 2}
    await worker.census.stop()


async def test_a_row_that_a_newer_program_wrote_is_left_to_the_lane(worker: Worker) -> None:
    newer = bytearray(worker.lanes[0][b"mb"])
    newer[0] = 200
    worker.lanes[0][b"mb"] = bytes(newer)
    worker.census.start()
    await worker.settles()
    assert worker.census.members == {"buyers": 250, "big": 0}
    await worker.census.stop()


async def test_without_segments_nothing_runs(tmp_path: Path) -> None:
    worker = Worker(book_with(tmp_path, {}), {0: {}})
    worker.census.start()
    await worker.settles()
    assert worker.asked == 0
    await worker.census.stop()


def test_a_member_who_left_is_not_counted(book: RuleBook, tmp_path: Path) -> None:
    fresh = book_with(tmp_path / "2", {"fresh": {"last_order": {"newer_than": "5d"}}})
    life = Life(fresh)
    life.sees("purchase", NOON)
    life.reaches(NOON + 5 * DAY)
    labels = labels_of(life.is_saved_and_loaded())
    assert labels is not None
    assert labels.segments == {}
    assert labels.left
