"""Who reads what workers write while they write it: plain consumers, as a gateway has one."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, Self

import msgspec
from confluent_kafka import Consumer, Message, TopicPartition

from agents.recovery import FENCE
from app.bench.place import TIMEOUT_SECONDS, Place
from app.topology import changelog_name, client_config, output_topics
from models.times import parse_instant
from models.triggers import Trigger, TriggerMessage

POLL_SECONDS = 0.1
LOOK_SECONDS = 0.05


class Seen(NamedTuple):
    """A trigger: its rule, its instants and when it was read (epoch milliseconds)."""

    rule: str
    member: str
    due: int
    raised: int
    read: float
    lane: int


class Fence(NamedTuple):
    """A worker has taken a lane over: which process, and when (epoch milliseconds)."""

    lane: int
    pid: int
    at: int


class Tail:
    """Reads a topic (its full name) on a thread of its own; only committed records.

    ``take`` is called on that thread with each record and when it was read, in epoch milliseconds.
    """

    def __init__(
        self, here: Place, topic: str, take: Callable[[Message, float], None], *, old: bool
    ) -> None:
        """Begin at the beginning if ``old``, else with what comes from now on."""
        self._take = take
        self._ending = threading.Event()
        self._consumer = Consumer(
            {
                **client_config(here.settings),
                "group.id": f"{here.settings.app_id}-watcher",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
            }
        )
        places = [TopicPartition(topic, lane, 0) for lane in range(here.settings.partitions)]
        if not old:
            for one in places:
                one.offset = self._consumer.get_watermark_offsets(one, TIMEOUT_SECONDS)[1]
        self._consumer.assign(places)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Stop reading."""
        self._ending.set()
        self._thread.join()
        self._consumer.close()

    def _run(self) -> None:
        while not self._ending.is_set():
            message = self._consumer.poll(POLL_SECONDS)
            if message is not None and message.error() is None:
                self._take(message, time.time() * 1000)


class Watcher:
    """Every trigger raised, from the first on."""

    def __init__(self) -> None:
        self._seen: list[Seen] = []
        self._decode = msgspec.json.Decoder(TriggerMessage).decode

    def take(self, message: Message, read: float) -> None:
        """Note what a record says."""
        said = self._decode(message.value())
        if isinstance(said, Trigger):
            due, raised = parse_instant(said.due_at), parse_instant(said.raised_at)
            lane = message.partition()
            self._seen.append(Seen(said.rule, said.member_id, due, raised, read, lane))

    def seen(self) -> list[Seen]:
        """Return all triggers so far."""
        return list(self._seen)

    def wait(self, wanted: Callable[[Seen], bool], count: int, seconds: float) -> list[Seen]:
        """Return the wanted triggers once there are ``count``, or what came within ``seconds``."""
        limit = time.monotonic() + seconds
        while True:
            found = [one for one in self.seen() if wanted(one)]
            if len(found) >= count or time.monotonic() > limit:
                return found
            time.sleep(LOOK_SECONDS)


@contextmanager
def watching(here: Place) -> Iterator[Watcher]:
    """Yield a watcher of the triggers that stops afterwards."""
    watcher = Watcher()
    with Tail(here, output_topics(here.settings).triggers, watcher.take, old=True):
        yield watcher


@contextmanager
def watching_fences(here: Place) -> Iterator[list[Fence]]:
    """Yield a list that grows with every fence written from now on."""
    fences: list[Fence] = []

    def take(message: Message, _: float) -> None:
        if message.key() == FENCE:
            # The fence of a worker says HOST-PID.
            pid = int(message.value().rpartition(b"-")[2])
            fences.append(Fence(message.partition(), pid, message.timestamp()[1]))

    with Tail(here, changelog_name(here.settings), take, old=False):
        yield fences
