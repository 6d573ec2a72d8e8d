"""Which lanes are read back at an assignment, and which keep their rows."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

import pytest

from agents.lanes import Lanes
from agents.ports import LoggedRow, Row, SourceRecord, SourceTopic
from agents.recovery import OUTBOX, Outbox, Recovered, encode, epoch_bytes

TOPICS = {"browse": SourceTopic("id-1", 10)}


class Log:
    """A changelog of one lane in memory, as this process and others write it."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.end: int | None = None
        self.outbox: LoggedRow | None = None
        self.reads = 0
        self.may_read = asyncio.Event()
        self.may_read.set()

    async def append(self, lane: int, rows: Sequence[Row]) -> int:
        first = self.by_another(*rows)
        self.end = first + len(rows)
        if rows[0].key == OUTBOX:
            self.outbox = LoggedRow(first, *rows[0])
        return first

    def by_another(self, *rows: Row) -> int:
        self.rows += rows
        return len(self.rows) - len(rows)

    def written_to(self, lane: int) -> int | None:
        return self.end

    def last_outbox(self, lane: int) -> LoggedRow | None:
        return self.outbox

    async def read(self, lane: int, start: int, end: int) -> AsyncIterator[list[LoggedRow]]:
        self.reads += 1
        await self.may_read.wait()
        yield [LoggedRow(offset, *self.rows[offset]) for offset in range(start, end)]


class Table:
    def __init__(self) -> None:
        self.lanes: dict[int, dict[bytes, bytes]] = {}

    def rows(self, lane: int) -> dict[bytes, bytes]:
        return self.lanes.setdefault(lane, {})

    def forget(self, lane: int) -> None:
        self.lanes.pop(lane, None)


class WritingLane:
    """Writes one row and its outbox when it starts, unless idle, and finishes or not."""

    def __init__(self, worker: "Worker", number: int) -> None:
        self._log = worker.log
        self._rows = worker.table.rows(number)
        self._idle = worker.idle
        self._finishes = worker.finishes
        self.recovered: Recovered | None = None

    async def start(
        self, epoch: int, recovered: Recovered, topics: Mapping[str, SourceTopic]
    ) -> None:
        self.recovered = recovered
        if self._idle:
            return
        outbox = encode(Outbox(recovered.outbox.number + 1, {"browse": 5}, []))
        key, value = b"m%d" % epoch, b"state"
        self._rows[key] = value
        prefix = epoch_bytes(epoch)
        await self._log.append(0, [Row(OUTBOX, prefix + outbox), Row(b"r" + key, prefix + value)])

    def feed(self, topic: str, records: Sequence[SourceRecord]) -> None:
        raise NotImplementedError

    async def stop(self) -> bool | None:
        return self._finishes


class Worker:
    def __init__(self, finishes: bool | None) -> None:
        self.finishes = finishes
        self.idle = False
        self.log, self.table = Log(), Table()
        self.opened: list[WritingLane] = []
        self.asked_behind: list[int] = []
        """How many records the changelog had when it was asked what the member topics are."""

        log: Any = self.log

        def open_lane(number: int) -> WritingLane:
            self.opened.append(WritingLane(self, number))
            return self.opened[-1]

        self.lanes = Lanes(self.table, log, self.source_topics, open_lane, "test")

    async def source_topics(self, numbers: Iterable[int]) -> dict[int, dict[str, SourceTopic]]:
        self.asked_behind.append(len(self.log.rows))
        return dict.fromkeys(numbers, TOPICS)

    async def recovered(self) -> Recovered:
        await self.lanes.take_over([0])
        recovered = self.opened[-1].recovered
        assert recovered is not None
        return recovered


async def test_a_lane_that_finished_and_that_nobody_fenced_since_is_not_read_again() -> None:
    worker = Worker(finishes=True)
    assert (await worker.recovered()).outbox.number == 0
    await worker.lanes.stop()
    again = await worker.recovered()
    assert worker.log.reads == 1
    assert again == Recovered(0, Outbox(1, {"browse": 5}, []), (), frozenset(), {"browse": "id-1"})
    assert worker.table.rows(0) == {b"m0": b"state", b"m3": b"state"}


async def test_where_topics_end_is_asked_for_behind_the_own_fence() -> None:
    # Before it, another owner may still fold, and leave in its outbox, what came after the answer.
    worker = Worker(finishes=True)
    worker.idle = True
    await worker.recovered()
    assert worker.asked_behind == [1]


@pytest.mark.parametrize("others_wrote_a_group", [False, True])
async def test_a_lane_that_another_worker_has_fenced_since_is_read_again(
    others_wrote_a_group: bool,
) -> None:
    worker = Worker(finishes=True)
    await worker.recovered()
    await worker.lanes.stop()
    fence = worker.log.by_another(Row(b"f", b"another"))
    if others_wrote_a_group:
        prefix = epoch_bytes(fence)
        outbox = encode(Outbox(2, {"browse": 9}, []))
        worker.log.by_another(Row(OUTBOX, prefix + outbox), Row(b"rm0", prefix + b"newer"))
    worker.table.rows(0)[b"of old"] = b"no longer in the changelog"
    worker.idle = True
    again = await worker.recovered()
    assert worker.log.reads == 2
    assert b"of old" not in worker.table.rows(0)
    assert again.outbox.number == (2 if others_wrote_a_group else 1)
    assert worker.table.rows(0)[b"m0"] == (b"newer" if others_wrote_a_group else b"state")
    await worker.lanes.stop()
    assert (await worker.recovered()).outbox == again.outbox
    assert worker.log.reads == 2


async def test_a_lane_that_was_cut_off_is_read_again() -> None:
    worker = Worker(finishes=None)
    await worker.recovered()
    await worker.lanes.stop()
    assert worker.table.lanes == {}
    await worker.recovered()
    assert worker.log.reads == 2


async def test_a_lane_that_went_to_another_worker_leaves_no_rows_behind() -> None:
    worker = Worker(finishes=True)
    await worker.recovered()
    await worker.lanes.stop()
    await worker.lanes.take_over([])
    assert worker.table.lanes == {}
    await worker.recovered()
    assert worker.log.reads == 2


async def test_a_recovery_that_is_cancelled_leaves_no_lane_working() -> None:
    worker = Worker(finishes=True)

    async def never(*_: Any) -> int:
        raise ConnectionError

    worker.log.append = never  # type: ignore[method-assign]
    with pytest.raises(ConnectionError):
        await worker.lanes.take_over([0])
    assert worker.lanes.running == {}


async def test_whoever_stops_lanes_that_are_being_stopped_waits_for_them_too() -> None:
    worker = Worker(finishes=True)
    await worker.recovered()
    finish = asyncio.Event()

    async def stop() -> bool:
        await finish.wait()
        return True

    worker.opened[0].stop = stop  # type: ignore[method-assign]
    stops = [asyncio.create_task(worker.lanes.stop()) for _ in range(2)]
    await asyncio.sleep(0.01)
    assert not any(stop.done() for stop in stops)
    finish.set()
    await asyncio.gather(*stops)


async def test_a_take_over_that_was_given_up_half_way_leaves_no_rows_to_be_trusted() -> None:
    worker = Worker(finishes=True)
    await worker.recovered()
    await worker.lanes.stop()
    fence = worker.log.by_another(Row(b"f", b"another"))
    prefix = epoch_bytes(fence)
    outbox = encode(Outbox(2, {"browse": 9}, []))
    worker.log.by_another(Row(OUTBOX, prefix + outbox), Row(b"rm0", prefix + b"newer"))
    worker.idle = True
    worker.log.may_read.clear()
    taking = asyncio.create_task(worker.lanes.take_over([0]))
    await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    taking.cancel()
    await asyncio.wait([taking])
    worker.log.may_read.set()
    # Nobody else has written since: the fence lands right behind what this worker wrote last.
    await worker.recovered()
    assert worker.table.rows(0)[b"m0"] == b"newer"
