"""A corner of a broker that one measurement has for itself, cleared away when it is over."""

import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from app import stack
from app.stack.commands import default_data_dir
from app.topology import client_config, ensure_topics
from app.worker_process import WorkerProcess
from config.rule_files import POLICY_FILE
from config.settings import Settings, load_settings

PARTITIONS = 16
TIMEOUT_SECONDS = 20.0
POLL_SECONDS = 0.2


class BenchError(Exception):
    """A measurement could not be made; the message says why."""


def say(line: str) -> None:
    """Tell whoever waits what goes on."""
    print(line, file=sys.stderr, flush=True)


class Place:
    """Where a measurement is made: ``variables`` make any process of ours work there."""

    def __init__(self, settings: Settings, variables: Mapping[str, str], folder: Path) -> None:
        self.settings = settings
        self.variables = variables
        self.folder = folder
        self._admin = AdminClient(client_config(settings))

    def make_topics(self) -> None:
        """Make the product's topics; raises ``TopologyError``."""
        ensure_topics(self.settings)

    def make_topic(self, name: str, settings: Mapping[str, str]) -> str:
        """Make one topic with as many partitions as all others, and return its full name."""
        full = self.settings.topic(name)
        new = NewTopic(full, self.settings.partitions, 1, config=dict(settings))
        self._admin.create_topics([new], operation_timeout=TIMEOUT_SECONDS)[full].result()
        while full not in self._admin.list_topics(timeout=TIMEOUT_SECONDS).topics:
            time.sleep(POLL_SECONDS)
        return full

    def ends(self, *topics: str) -> dict[str, int]:
        """Return the sum of the end offsets of each topic (by their full names)."""
        sums = dict.fromkeys(topics, 0)
        for (topic, _), end in self.each_end(*topics).items():
            sums[topic] += end
        return sums

    def each_end(self, *topics: str) -> dict[tuple[str, int], int]:
        """Return the end offset of each partition of topics (by their full names)."""
        asked = {
            TopicPartition(topic, number): OffsetSpec.latest()
            for topic in topics
            for number in range(self.settings.partitions)
        }
        answers = self._admin.list_offsets(asked, request_timeout=TIMEOUT_SECONDS)
        return {(at.topic, at.partition): future.result().offset for at, future in answers.items()}

    def read(self, topic: str) -> Iterator[Message]:
        """Yield every record of a topic (its full name) up to where its partitions end now."""
        consumer = Consumer(
            {
                **client_config(self.settings),
                "group.id": f"{self.settings.app_id}-reader",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
            }
        )
        open_ = self.settings.partitions
        try:
            consumer.assign([TopicPartition(topic, number, 0) for number in range(open_)])
            while open_:
                messages = consumer.consume(10_000, timeout=POLL_SECONDS)
                for message in messages:
                    error = message.error()
                    if error is None:
                        yield message
                    elif error.code() == KafkaError._PARTITION_EOF:
                        open_ -= 1
                    else:
                        raise KafkaException(error)
        finally:
            consumer.close()

    def worker_log(self) -> Path:
        """Return a new place for what a worker says."""
        return self.folder / f"worker-{time.monotonic_ns()}.log"

    def clear(self) -> None:
        """Delete every topic whose name begins with ours."""
        admin, prefix = self._admin, self.settings.app_id
        present = admin.list_topics(timeout=TIMEOUT_SECONDS).topics
        names = [name for name in present if name.startswith(prefix)]
        if names:
            for future in admin.delete_topics(names, operation_timeout=TIMEOUT_SECONDS).values():
                future.exception()


@contextmanager
def broker(settings: Settings, chosen: bool) -> Iterator[Settings]:
    """Yield settings whose broker answers: the one chosen, else the local stack.

    Raises ``StackError``.
    """
    if chosen:
        yield settings
        return
    with stack.borrowed(default_data_dir(), say, lasting=True) as info:
        yield load_settings(os.environ, None, {"broker": info.broker, "redis": info.redis})


@contextmanager
def place(settings: Settings, name: str, partitions: int = PARTITIONS) -> Iterator[Place]:
    """Yield a place of its own on the broker of ``settings``; raises ``KafkaException``."""
    unique = f"bench-{name}-{time.time_ns():x}"
    with tempfile.TemporaryDirectory(prefix="lifecycle-bench-") as folder:
        variables = {
            "LIFECYCLE_BROKER": settings.broker,
            "LIFECYCLE_REDIS": settings.redis,
            "LIFECYCLE_TOPIC_PREFIX": f"{unique}.",
            "LIFECYCLE_APP_ID": unique,
            "LIFECYCLE_PARTITIONS": str(partitions),
            "LIFECYCLE_DATA_DIR": folder,
        }
        made = Place(load_settings({**os.environ, **variables}), variables, Path(folder))
        try:
            yield made
        finally:
            made.clear()


def without_policy(config: Path) -> Path:
    """Make the folder a configuration that refuses nobody: what is not in it is as shipped.

    A measurement of triggers would be one of refusals otherwise, and of the hour of the day.
    """
    config.mkdir(exist_ok=True)
    (config / POLICY_FILE).write_text("")
    return config


@contextmanager
def worker(here: Place, *words: str) -> Iterator[WorkerProcess]:
    """Yield a worker with these command-line arguments; it has ended afterwards in any case."""
    process = WorkerProcess(words, here.variables, here.worker_log())
    try:
        yield process
    finally:
        process.stop()
