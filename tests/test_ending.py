"""A task that is told to end ends, though a library loses the word."""

import asyncio

import pytest

from agents import tasks
from agents.tasks import ended
from app.redis_client import answer, connected
from app.stack import StackInfo


@pytest.mark.kafka
async def test_a_task_that_asks_redis_ends_at_the_first_word(kafka_stack: StackInfo) -> None:
    redis = connected(kafka_stack.redis, 5_000)

    async def asks() -> None:
        while True:
            await answer(redis.get("nothing"), 5_000)

    await answer(redis.get("nothing"), 5_000)
    for steps in range(60):
        task = asyncio.create_task(asks())
        for _ in range(steps):
            await asyncio.sleep(0)
        assert task.cancel()
        [finished, _] = await asyncio.wait([task], timeout=5)
        assert finished, f"it went on, cancelled after {steps} steps of the loop"
    await redis.aclose()


async def deaf(words: int, heard: list[None]) -> None:
    """Lose some cancellations, as what awaits a task of its own and suppresses its end may do."""
    while len(heard) < words:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            heard.append(None)
    await asyncio.sleep(3600)


async def test_a_task_that_lost_the_word_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "AGAIN_SECONDS", 0.01)
    heard: list[None] = []
    task = asyncio.create_task(deaf(3, heard))
    await asyncio.sleep(0)
    await ended(task)
    assert task.cancelled()
    assert len(heard) == 3


async def test_what_made_a_task_fail_is_raised() -> None:
    async def fails() -> None:
        raise ValueError("no")

    task = asyncio.create_task(fails())
    await asyncio.sleep(0)
    with pytest.raises(ValueError, match="no"):
        await ended(task)
    await ended(None)


async def test_who_waits_for_an_end_may_be_cancelled_itself() -> None:
    task = asyncio.create_task(deaf(1, []))
    await asyncio.sleep(0)
    waiting = asyncio.create_task(ended(task))
    await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    task.cancel()
