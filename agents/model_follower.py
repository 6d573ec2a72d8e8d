"""Follows ``churn-model``: the models that score, and in stream time how far lanes may go.

Every worker reads the topic from its beginning; it is compacted, and holds some weeks of models.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from agents.lessons import Published
from agents.ports import Output
from agents.retrying import FIRST_RETRY_SECONDS, longer
from agents.tasks import ended
from models.asking import Reached
from models.known_models import KnownModels, Ready
from models.times import DAY

log = logging.getLogger(__name__)

POLL_MS = 1000
READY_SECONDS = 20.0
"""Lanes wait no longer for models: members are served without, too."""


@dataclass(frozen=True, slots=True)
class LearningConfig:
    """What the follower and the trainer are told; times are seconds."""

    broker: str
    group: str
    """The trainers' consumer group."""
    questions: str
    examples: str
    models: str
    lanes: int
    session_timeout: float = 6.0
    patience: float = 0.0
    """How long questions may wait at the broker for more to come: the trainer commits after each
    fetch. In stream time lanes wait for a day to be closed, and questions may not."""
    security: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Arguments of aiokafka's clients about encryption and log-in."""

    @property
    def brokers(self) -> list[str]:
        """Return the bootstrap addresses."""
        return [address.strip() for address in self.broker.split(",")]


class ModelFollower:
    """Keeps ``known`` up to date; it is the ``Days`` of the lanes (``agents.ports``)."""

    def __init__(self, config: LearningConfig, known: KnownModels) -> None:
        self.newest: Published | None = None
        """The newest that fits, which a trainer goes on from."""
        self.read_to = 0
        """The offset after the last record read."""
        self._config = config
        self._known = known
        self._watching: list[Callable[[], object]] = []
        self._task: asyncio.Task[None] | None = None
        self._moved = asyncio.Condition()
        self._read_all = asyncio.Event()
        self._encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder(Published).decode

    # --- the service ---

    def start(self) -> None:
        """Begin to follow, in a task of its own; a broker that is away is waited for.

        Whoever began already goes on.
        """
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="model-follower")

    async def stop(self) -> None:
        """End."""
        task, self._task = self._task, None
        await ended(task)

    async def _run(self) -> None:
        pause = FIRST_RETRY_SECONDS
        while True:
            try:
                await self._follow()
            except Exception as error:
                # Without a model, members are still served; scores are what they were.
                log.warning("following the models starts over: %r", error)
            await asyncio.sleep(pause)
            pause = longer(pause)

    async def _follow(self) -> None:
        config = self._config
        consumer = AIOKafkaConsumer(
            bootstrap_servers=config.brokers,
            client_id=f"{config.group}-follower",
            auto_offset_reset="earliest",
            **config.security,
        )
        place = TopicPartition(config.models, 0)
        consumer.assign([place])
        try:
            await consumer.start()
            if self.read_to:
                consumer.seek(place, self.read_to)
            end = (await consumer.end_offsets([place]))[place]
            while True:
                if self.read_to >= end:
                    self._read_all.set()
                polled = await consumer.getmany(timeout_ms=POLL_MS)
                for records in polled.values():
                    for record in records:
                        self.take(record.offset, record.value)
                async with self._moved:
                    self.read_to = await consumer.position(place)
                    self._moved.notify_all()
        finally:
            await consumer.stop()

    def take(self, offset: int, value: bytes | None) -> None:
        """Know the model of one record; what cannot be used is told and left out."""
        if value is None:
            return
        try:
            published = self._decode(value)
        except msgspec.DecodeError as error:
            log.warning("record %d of the models cannot be read: %s", offset, error)
            return
        why_not = self._known.fits(published.model)
        if why_not:
            log.warning("the model of record %d is not used: %s", offset, why_not)
            return
        self._known.learn(published.model)
        if self.newest is None or published.model.valid_from >= self.newest.model.valid_from:
            self.newest = published
            for opened in list(self._watching):
                opened()

    async def has_read(self, offset: int) -> None:
        """Wait until everything below ``offset`` has been taken."""
        async with self._moved:
            await self._moved.wait_for(lambda: self.read_to >= offset)

    # --- the days of the lanes ---

    async def ready(self) -> None:
        """Return once every model that there was at the start is known, or it takes too long.

        Lanes are taken over before the worker's other services start, so this begins to follow.
        """
        self.start()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._read_all.wait(), READY_SECONDS)

    def at(self, day: int) -> Ready | None:
        """Return the model that scores a day."""
        return self._known.at(day)

    def of(self, version: int) -> Ready | None:
        """Return the model of a version; None when it is not known any more."""
        return self._known.of(version)

    def open_to(self) -> int:
        """Return the end of the day that the newest model is for; nothing is open without one."""
        return -1 if self.newest is None else (self.newest.model.valid_from + 1) * DAY

    def reached(self, lane: int, day: int) -> Sequence[Output]:
        """Return what tells the trainer that a lane is past a day."""
        return (Output(self._config.questions, b"", self._encode(Reached(lane, day))),)

    def watch(self, opened: Callable[[], object]) -> None:
        """Call whenever there is a newer model."""
        self._watching.append(opened)

    def unwatch(self, opened: Callable[[], object]) -> None:
        """Do so no longer."""
        self._watching.remove(opened)
