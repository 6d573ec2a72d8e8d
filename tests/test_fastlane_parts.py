"""The small parts of the fast lane that need no broker."""

import asyncio
import logging
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fastlane_kit import ROOT
from fastlane_toy import toy_app

from agents.fastlane.app import FastApp
from agents.fastlane.micro_batches import MicroBatches
from agents.fastlane.quiet import OncePerInterval
from agents.offsets import OffsetBook
from agents.partitioner import murmur2_partition
from agents.ports import Place, Start

BROWSE, CART = Place("browse", 0), Place("cart", 0)


def test_only_what_is_done_and_not_yet_committed_is_due() -> None:
    book = OffsetBook()
    book.start({BROWSE: 10, CART: 0})
    assert book.due() == {}
    book.done(BROWSE, 10)
    book.done(CART, 5)
    assert book.due() == {CART: 5}
    book.committed({CART: 5})
    assert book.due() == {}


def test_done_never_goes_back() -> None:
    book = OffsetBook()
    book.start({})
    book.done(BROWSE, 7)
    book.done(BROWSE, 3)
    assert book.due() == {BROWSE: 7}


def test_a_refused_commit_is_due_again_and_a_new_assignment_starts_over() -> None:
    book = OffsetBook()
    book.start({BROWSE: 0})
    book.done(BROWSE, 7)
    assert book.due() == book.due() == {BROWSE: 7}
    book.start({BROWSE: 4})
    assert book.due() == {}
    book.done(BROWSE, 5)
    assert book.due() == {BROWSE: 5}


def test_a_chunk_is_all_records_of_one_partition_out_of_a_poll() -> None:
    polled = {BROWSE: ["b1", "b2"], CART: ["c1"]}
    assert list(MicroBatches().iterate(polled)) == [(BROWSE, ["b1", "b2"]), (CART, ["c1"])]


def test_a_group_without_an_offset_starts_at_the_beginning_of_what_is_there() -> None:
    assert Start(beginning=3, end=9, committed=None).offset == 3
    assert Start(beginning=3, end=9, committed=0).offset == 0


def test_the_same_complaint_is_logged_once_in_a_while() -> None:
    once = OncePerInterval()

    def passes(message: str) -> bool:
        return once.filter(logging.LogRecord("n", logging.ERROR, "", 0, message, (), None))

    assert [passes(m) for m in ("away %s", "away %s", "other", "away %s")] == [
        True,
        False,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("reason", "says"),
    [
        ("'it is over'", "stopping: it is over\n"),
        ("ValueError('a\\nb')", "stopping: ValueError: a b\n"),
        ("StopWorker('start again')", "stopping: start again\n"),
    ],
)
def test_fail_stop_says_one_line_and_exits_with_70(reason: str, says: str) -> None:
    code = (
        "import atexit, logging\n"
        "from agents.fastlane.failstop import fail_stop\n"
        "from agents.ports import StopWorker\n"
        "logging.basicConfig(format='%(message)s')\n"
        "atexit.register(print, 'tidied up')\n"
        f"fail_stop({reason})\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 70
    assert ended.stderr.startswith(says)
    assert ended.stdout == ""


@pytest.fixture
def app(tmp_path: Path) -> FastApp:
    options: dict[str, Any] = {
        "broker": "127.0.0.1:1",
        "group": "toy",
        "topics": ["browse", "cart"],
        "outputs": "outputs",
        "partitions": 4,
        "changelog": "toy-changelog",
        "data_dir": str(tmp_path),
    }
    return toy_app(options)


async def test_all_chunks_of_a_poll_are_handed_over_in_one_go(
    app: FastApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer, handed, rounds = app.consumer, [], 0
    polls = iter([range(100), range(100, 150)])

    async def poll(timeout: float) -> AsyncIterator[tuple[None, int]]:  # noqa: ASYNC109
        for chunk in next(polls, ()):
            yield None, chunk
        if len(handed) == 150:
            consumer._stopped.set()

    async def hand_over(chunk: int) -> None:
        handed.append((chunk, rounds))

    monkeypatch.setattr(consumer, "getmany", poll)
    monkeypatch.setattr(consumer, "callback", hand_over)

    async def count() -> None:
        nonlocal rounds
        while not consumer.should_stop:
            rounds += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    await consumer._drain_messages(consumer)
    await counting
    assert [chunk for chunk, _ in handed] == list(range(150))
    # Each round of the loop may have a lane's turn in it.
    assert handed[99][1] - handed[0][1] <= 1
    assert handed[149][1] - handed[100][1] <= 1


async def test_a_revocation_does_not_wait_for_what_is_being_handed_over(
    app: FastApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer, handed = app.consumer, []
    polls, full = iter([[1, 2, 3], [4, 5]]), asyncio.Event()

    async def poll(timeout: float) -> AsyncIterator[tuple[None, int]]:  # noqa: ASYNC109
        for chunk in next(polls, ()):
            yield None, chunk
        if handed == [1, 4, 5]:
            consumer._stopped.set()

    async def hand_over(chunk: int) -> None:
        if chunk == 2:
            # As when the agent's queue has no room left.
            full.set()
            await asyncio.Event().wait()
        handed.append(chunk)

    monkeypatch.setattr(consumer, "getmany", poll)
    monkeypatch.setattr(consumer, "callback", hand_over)
    consumer.resume_flow()
    draining = asyncio.create_task(consumer._drain_messages(consumer))
    await full.wait()
    consumer.stop_flow()
    async with asyncio.timeout(10):
        await draining
    # What it had in hand is given up, and what comes next is not.
    assert handed == [1, 4, 5]


def test_the_table_finds_a_key_in_its_lane_and_only_while_that_is_here(app: FastApp) -> None:
    lane = murmur2_partition(b"m1", 4)
    assert app.table.get(b"m1") is None
    app.table.rows(lane)[b"m1"] = b"state"
    app.table.rows((lane + 1) % 4)[b"m2"] = b"in a lane that is not its own"
    assert app.table[b"m1"] == b"state"
    assert b"m1" in app.table
    assert murmur2_partition(b"m2", 4) == (lane + 1) % 4 or b"m2" not in app.table
    assert len(app.table) == 2
    app.table.forget(lane)
    assert b"m1" not in app.table


def test_nobody_but_a_lane_writes_the_table(app: FastApp) -> None:
    with pytest.raises(TypeError, match="by the lane alone"):
        app.table[b"m1"] = b"state"
    app.table.rows(murmur2_partition(b"m1", 4))[b"m1"] = b"state"
    with pytest.raises(TypeError, match="by the lane alone"):
        del app.table[b"m1"]
    assert app.table[b"m1"] == b"state"


def test_the_changelog_is_a_compacted_faust_changelog_with_small_segments(app: FastApp) -> None:
    topic = app.table.changelog_topic
    assert topic.get_topic_name() == "toy-changelog"
    assert topic.partitions == 4
    assert topic.compacting
    assert topic.config["segment.bytes"] == str(32 << 20)
    assert topic.config["min.compaction.lag.ms"] == "300000"
    assert int(topic.config["max.message.bytes"]) > 16 << 20
