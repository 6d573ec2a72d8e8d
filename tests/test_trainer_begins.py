"""A trainer makes its learner beside the event loop: the first loads River, which takes a while."""

import asyncio
from threading import Event
from typing import Any, cast

from aiokafka import AIOKafkaConsumer, TopicPartition

from agents.lessons import Learner
from agents.model_follower import LearningConfig, ModelFollower
from agents.trainer import TrainerAgent
from models.checkpoint import Checkpoint
from models.training import Trainer

CONFIG = LearningConfig("127.0.0.1:1", "trainer", "questions", "examples", "models", 2)


class Log:
    """A consumer whose one partition is ours and holds what begins at 7."""

    def __init__(self) -> None:
        self.sought: list[int] = []

    def assignment(self) -> set[TopicPartition]:
        return {TopicPartition(CONFIG.questions, 0)}

    async def end_offsets(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(places, 0)

    async def beginning_offsets(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(places, 7)

    def seek(self, _: TopicPartition, offset: int) -> None:
        self.sought.append(offset)


class NoModels:
    newest = None

    async def has_read(self, offset: int) -> None:
        assert offset == 0


async def begin(dealt_meanwhile: bool) -> tuple[TrainerAgent, list[int]]:
    """Let a trainer begin whose learner is made only while the loop goes on."""
    going_on = Event()

    def learner(_: Checkpoint | None) -> Learner:
        assert going_on.wait(10), "the loop stood still"
        return Trainer()

    log = Log()
    agent = TrainerAgent(CONFIG, learner, cast("ModelFollower", NoModels()))
    beginning = asyncio.create_task(agent._begin(cast("AIOKafkaConsumer", log)))
    for _ in range(10):
        await asyncio.sleep(0)
    if dealt_meanwhile:
        await agent.on_partitions_revoked(())
    going_on.set()
    await beginning
    return agent, log.sought


async def test_the_loop_goes_on_while_a_learner_is_made() -> None:
    agent, sought = await begin(dealt_meanwhile=False)
    assert sought == [7]
    lessons: Any = agent._lessons
    assert lessons is not None


async def test_what_is_dealt_anew_meanwhile_is_begun_anew() -> None:
    agent, sought = await begin(dealt_meanwhile=True)
    assert sought == []
    assert agent._lessons is None
    assert agent._dealt
