"""A worker that dies anywhere: every question is asked, as if nothing had happened, and in time."""

import asyncio
import json
from functools import cache
from random import Random
from typing import Any

import msgspec
import pytest
from scripted_models import ScriptedModels
from sim_worker import Worker
from sim_world import BEGINNING, World, run
from toy_days import ToyDays

from agents.lessons import Lessons
from agents.members import BadShare, MemberFold, MemberStats, OutputTopics
from agents.ports import Output
from config.paths import load_config
from models.asking import Bought, Message, Question, Reached
from models.events import MEMBER_TOPICS
from models.policy import Policy
from models.predictions import Predictions
from models.rulebook import RuleBook
from models.rules import Limits
from models.times import DAY
from models.training import Trainer

DAYS = 24
FIRST = BEGINNING // DAY - DAYS
UNTIL = (FIRST + DAYS) * DAY
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Message).decode


class SayingDays(ToyDays):
    """Says what a follower says, and opens a day as soon as the one before is over."""

    def reached(self, lane: int, day: int) -> list[Output]:
        asyncio.get_running_loop().call_later(0.02, self.open, day + 1)
        return [Output("churn-questions", b"", _encode(Reached(lane, day)))]


def fold() -> MemberFold:
    book = RuleBook((), load_config().stages, Policy(), Limits(), predictions=Predictions())
    stats, models = MemberStats(), ScriptedModels()
    return MemberFold(
        book, OutputTopics(), lambda key, count: 0, 1, "/test", BadShare(), stats, models=models
    )


def fill(world: World) -> None:
    rng = Random(7)
    ends: list[int] = sorted(FIRST * DAY + rng.randrange(DAYS * DAY) for _ in range(60))
    for number, at in enumerate(ends):
        member = f"m{rng.randrange(9)}"
        event = {"type": "purchase", "member_id": member, "occurred_at": at}
        event |= {"order_id": f"o{number}", "event_id": f"e{number}", "total": 10}
        world.produce("purchase", member.encode(), json.dumps(event).encode(), at)


def log(world: World) -> list[Message]:
    return [_decode(o.value or b"") for o in world.sent if o.topic == "churn-questions"]


def finished(world: World) -> bool:
    return any(isinstance(one, Reached) and one.day == FIRST + DAYS - 1 for one in log(world))


async def work(world: World, days: SayingDays, die_at: int | None = None) -> int:
    """Let a worker live until everything is said or it dies; return how far it came."""
    job: Any = fold()
    worker = Worker(world, f"dies at {die_at}", die_at=die_at, fold=job, until=UNTIL, days=days)
    worker.launch()
    await worker.until(lambda: finished(world))
    points = worker.process.points
    await worker.end()
    return points


@cache
def told(die_at: int | None = None) -> tuple[list[Message], int]:
    """What is said when the first worker dies at one of its awaits, and how far it came."""

    async def main() -> tuple[list[Message], int]:
        world, days = World(MEMBER_TOPICS), SayingDays()
        fill(world)
        points = await work(world, days, die_at)
        if not finished(world):
            await work(world, days)
        return log(world), points

    return run(main())


def names(messages: list[Message]) -> dict[tuple[int, int, int], Message]:
    """Questions and purchases by name; two of one name must be the same."""
    found: dict[tuple[int, int, int], Message] = {}
    for one in messages:
        if not isinstance(one, Reached):
            name = (one.member, one.day, one.id if isinstance(one, Bought) else -1)
            assert found.setdefault(name, one) == one
    return found


def test_a_life_without_a_crash_asks_everybody_once() -> None:
    messages, _ = told()
    assert len(names(messages)) == sum(not isinstance(one, Reached) for one in messages)
    assert sum(isinstance(one, Question) for one in messages) > 15
    assert sum(isinstance(one, Reached) for one in messages) > 20


@pytest.mark.parametrize("share", [step / 40 for step in range(41)])
def test_wherever_a_worker_dies_the_same_is_said_before_the_day_is_over(share: float) -> None:
    whole, points = told()
    messages, _ = told(1 + int(share * (points - 1)))
    assert names(messages) == names(whole)
    # Behind the end of a day nothing of that day is said for the first time.
    over, heard = -1, set()
    for one in messages:
        if isinstance(one, Reached):
            over = max(over, one.day)
        elif (raw := _encode(one)) not in heard:
            assert one.day > over, one
            heard.add(raw)
    assert last_model(messages) == last_model(whole)


def last_model(messages: list[Message]) -> bytes:
    """The model of the last day that the log makes."""
    lessons = Lessons(1, Trainer())
    found = b""
    for offset, message in enumerate(messages):
        lessons.hear(offset, message)
        while lessons.due():
            found = _encode(lessons.close()[0].model)
    assert lessons.closed == FIRST + DAYS - 1
    return found
