"""Who reads the triggers while they are raised: a plain consumer, as a gateway has it."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import msgspec
from confluent_kafka import Consumer, TopicPartition

from app.bench.place import Place
from app.topology import client_config, output_topics
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


class Watcher:
    """Reads the triggers topic on a thread of its own."""

    def __init__(self, here: Place) -> None:
        """Begin at the beginning."""
        self._seen: list[Seen] = []
        self._ending = threading.Event()
        self._decode = msgspec.json.Decoder(TriggerMessage).decode
        self._consumer = Consumer(
            {
                **client_config(here.settings),
                "group.id": f"{here.settings.app_id}-watcher",
                "enable.auto.commit": False,
            }
        )
        topic = output_topics(here.settings).triggers
        self._consumer.assign(
            [TopicPartition(topic, number, 0) for number in range(here.settings.partitions)]
        )
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def wait(self, wanted: Callable[[Seen], bool], count: int, seconds: float) -> list[Seen]:
        """Return the wanted triggers once there are ``count``, or what came within ``seconds``."""
        limit = time.monotonic() + seconds
        while True:
            found = [one for one in list(self._seen) if wanted(one)]
            if len(found) >= count or time.monotonic() > limit:
                return found
            time.sleep(LOOK_SECONDS)

    def close(self) -> None:
        """Stop reading."""
        self._ending.set()
        self._thread.join()
        self._consumer.close()

    def _run(self) -> None:
        while not self._ending.is_set():
            message = self._consumer.poll(POLL_SECONDS)
            if message is None or message.error() is not None:
                continue
            read = time.time() * 1000
            said = self._decode(message.value())
            if isinstance(said, Trigger):
                due, raised = parse_instant(said.due_at), parse_instant(said.raised_at)
                self._seen.append(Seen(said.rule, said.member_id, due, raised, read))


@contextmanager
def watching(here: Place) -> Iterator[Watcher]:
    """Yield a watcher that stops afterwards."""
    watcher = Watcher(here)
    try:
        yield watcher
    finally:
        watcher.close()
