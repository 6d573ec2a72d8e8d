"""The trainer: closes days, learns, publishes models. One of the workers' trainers works at a time.

Each worker has one, in a consumer group of their own; the log of questions has one partition, and
whoever is assigned it goes on where the newest checkpoint in ``churn-model`` stands. Nothing else
is remembered: examples are sent before the model that has learned from them, so that a trainer that
is killed in between says them again, and its successor the same model. What is published follows
from the log alone (``agents.lessons``), and a trainer that has been replaced and does not know it
yet does no harm.

Learning runs in a thread: a day of a large base takes seconds, and lanes must go on.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import msgspec
from aiokafka import (
    AIOKafkaConsumer,
    AIOKafkaProducer,
    ConsumerRebalanceListener,
    ConsumerRecord,
    TopicPartition,
)
from aiokafka.errors import KafkaError

from agents.lessons import Learner, Lessons, Published
from agents.model_follower import (
    POLL_MS,
    LearningConfig,
    ModelFollower,
)
from agents.retrying import FIRST_RETRY_SECONDS, longer
from agents.tasks import ended
from models.asking import Example, Message
from models.checkpoint import Checkpoint
from models.known_models import KEPT

log = logging.getLogger(__name__)

T = TypeVar("T")

RECORDS = 2_000
"""Messages taken per poll: some 10 ms."""

FETCH_BYTES = 64 * 1024
"""A fetch returns when there is so much, or after the trainer's patience."""

IDLE_MS = 500
"""How long a fetch of a trainer without patience waits for the first record."""

STOP_SECONDS = 2.0

HELD_FOR_EVER_MS = 2**31 - 1
"""A day of a large base may take its time: that is no reason to deal the partition out anew."""


@dataclass(slots=True)
class TrainerStats:
    """What a trainer has done since it started; read by the metrics."""

    working: bool = False
    """Whether the log of questions is ours."""
    behind: int = 0
    """Messages of the log that have not been heard yet."""
    heard: int = 0
    refused: int = 0
    """Records that are no message: left out."""
    repeated: int = 0
    """Messages that had been said before."""
    learned: int = 0
    """Examples learned."""
    days: int = 0
    """Days closed."""
    seconds: float = 0.0
    """Time spent closing them."""
    decisions: dict[str, int] = field(default_factory=dict)
    """What was decided by rule, by kind."""


class TrainerAgent(ConsumerRebalanceListener):  # type: ignore[misc]
    """Reads the questions, if they are ours, and publishes a model a day.

    ``learner`` makes one of a checkpoint, or a new one.
    """

    def __init__(
        self,
        config: LearningConfig,
        learner: Callable[[Checkpoint | None], Learner],
        follower: ModelFollower,
    ) -> None:
        self.stats = TrainerStats()
        self._config = config
        self._learner = learner
        self._follower = follower
        self._lessons: Lessons | None = None
        self._dealt = True
        self._task: asyncio.Task[None] | None = None
        self._place = TopicPartition(config.questions, 0)
        self._encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder(Message).decode

    # --- the service ---

    def start(self) -> None:
        """Begin, in a task of its own; a broker that is away is waited for."""
        self._task = asyncio.create_task(self._run(), name="trainer")

    async def stop(self) -> None:
        """Leave the group; what is not published is learned again by the next."""
        task, self._task = self._task, None
        await ended(task)

    async def _run(self) -> None:
        pause = FIRST_RETRY_SECONDS
        while True:
            heard = self.stats.heard
            try:
                await self._train()
            except Exception as error:
                # Members are served with the models that there are.
                log.warning("the trainer starts over: %r", error, exc_info=error)
            pause = FIRST_RETRY_SECONDS if self.stats.heard > heard else longer(pause)
            await asyncio.sleep(pause)

    async def _train(self) -> None:
        config = self._config
        self._lessons, self._dealt = None, True
        consumer = AIOKafkaConsumer(
            bootstrap_servers=config.brokers,
            client_id=config.group,
            group_id=config.group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_min_bytes=FETCH_BYTES if config.patience else 1,
            fetch_max_wait_ms=int(config.patience * 1000) or IDLE_MS,
            session_timeout_ms=int(config.session_timeout * 1000),
            heartbeat_interval_ms=int(config.session_timeout * 1000 / 6),
            max_poll_interval_ms=HELD_FOR_EVER_MS,
            **config.security,
        )
        consumer.subscribe([config.questions], listener=self)
        producer = AIOKafkaProducer(
            bootstrap_servers=config.brokers,
            client_id=config.group,
            enable_idempotence=True,
            **config.security,
        )
        try:
            await producer.start()
            await consumer.start()
            while True:
                if self._dealt:
                    await self._begin(consumer)
                polled = await consumer.getmany(timeout_ms=POLL_MS, max_records=RECORDS)
                # What was dealt to us during the poll came from where the group had committed.
                if not self._dealt and self._lessons is not None:
                    await self._hear(polled.get(self._place, []), self._lessons, producer)
                    await self._look(consumer)
        finally:
            self.stats.working = False
            with suppress(TimeoutError, KafkaError):
                async with asyncio.timeout(STOP_SECONDS):
                    await consumer.stop()
                    await producer.stop()

    # --- partitions come and go ---

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:  # noqa: ARG002
        """Go on with what is under way: the next owner says the same."""
        self._lessons, self._dealt = None, True

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:  # noqa: ARG002
        """Begin anew before anything else is heard."""
        self._dealt = True

    async def _begin(self, consumer: AIOKafkaConsumer) -> None:
        """Go on from the newest checkpoint, if the log is ours."""
        self._dealt = False
        self._lessons = None
        self.stats.working = self._place in consumer.assignment()
        if not self.stats.working:
            return
        models = TopicPartition(self._config.models, 0)
        ends = await consumer.end_offsets([models])
        await self._follower.has_read(ends[models])
        since = self._follower.newest
        firsts = await consumer.beginning_offsets([self._place])
        start = firsts[self._place] if since is None else max(since.offset, firsts[self._place])
        if self._dealt:
            return
        # The first of a process loads River, which takes most of a second.
        learner = await _aside(partial(self._learner, None if since is None else since.checkpoint))
        if not self._dealt:
            consumer.seek(self._place, start)
            self._lessons = Lessons(self._config.lanes, learner, since)
            log.info(
                "training from offset %d of the questions, %s",
                start,
                "without a checkpoint" if since is None else f"behind day {self._lessons.closed}",
            )

    # --- working ---

    async def _hear(
        self, records: list[ConsumerRecord], lessons: Lessons, producer: AIOKafkaProducer
    ) -> None:
        stats = self.stats
        for record in records:
            try:
                message = self._decode(record.value)
            except (msgspec.DecodeError, TypeError) as error:
                stats.refused += 1
                log.warning("%d of the questions is no message: %s", record.offset, error)
                continue
            lessons.hear(record.offset, message)
            stats.heard += 1
            while lessons.due():
                began = asyncio.get_running_loop().time()
                published, examples = await _aside(lessons.close)
                stats.seconds += asyncio.get_running_loop().time() - began
                if self._lessons is not lessons:
                    return  # the partition was dealt out anew
                await self._publish(published, examples, producer)
        stats.repeated = lessons.repeated

    async def _publish(
        self, published: Published, examples: Collection[Example], producer: AIOKafkaProducer
    ) -> None:
        config, model = self._config, published.model
        sent = [
            await producer.send(config.examples, self._encode(example), partition=0)
            for example in examples
        ]
        for one in sent:
            await one
        # A month and more of keys, used again and again: compaction keeps the topic that small.
        key = str(model.valid_from % KEPT).encode()
        await producer.send_and_wait(config.models, self._encode(published), key, partition=0)
        stats = self.stats
        stats.learned += len(examples)
        stats.days += 1
        for decision in model.decisions:
            stats.decisions[decision.kind] = stats.decisions.get(decision.kind, 0) + 1
            log.warning("day %d: %s: %s", decision.day, decision.kind, decision.about)

    async def _look(self, consumer: AIOKafkaConsumer) -> None:
        """Note how far behind the log we are, for those who watch."""
        with suppress(KafkaError):
            end = consumer.highwater(self._place)
            position = await consumer.position(self._place)
            self.stats.behind = 0 if end is None else max(end - position, 0)
            await consumer.commit({self._place: position})


async def _aside(work: Callable[[], T]) -> T:
    """Return what ``work`` returns, done in a thread that no end of the process waits for."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def finish(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return  # nobody waits any more
        if error is None:
            done.set_result(result)  # type: ignore[arg-type]
        else:
            done.set_exception(error)

    def run() -> None:
        result, failed = None, None
        try:
            result = work()
        except Exception as error:
            failed = error
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(finish, result, failed)

    threading.Thread(target=run, name="trainer", daemon=True).start()
    return await done
