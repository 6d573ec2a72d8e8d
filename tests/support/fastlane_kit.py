"""Topics, records, committed offsets and worker processes for tests of the fast lane."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewTopic

from agents.partitioner import murmur2_partition

ROOT = Path(__file__).parents[2]
PARTITIONS = 4
WAIT_SECONDS = 60.0


@dataclass
class Bench:
    """Member topics and names of one test's own on a broker."""

    broker: str
    folder: Path
    partitions: int = PARTITIONS
    tag: str = field(default_factory=lambda: uuid4().hex[:8])

    def __post_init__(self) -> None:
        self.topics = [f"{name}-{self.tag}" for name in ("browse", "cart")]
        self.outputs = f"outputs-{self.tag}"
        self.group = f"toy-{self.tag}"
        self.changelog = f"toy-{self.tag}-changelog"
        self.admin = AdminClient({"bootstrap.servers": self.broker})

    def create(self, *names: str, **settings: str) -> None:
        new = [
            NewTopic(name, self.partitions, 1, config=settings)
            for name in names or [*self.topics, self.outputs]
        ]
        for future in self.admin.create_topics(new).values():
            future.result()
        wait_for(lambda: set(names) <= set(self.admin.list_topics(timeout=10).topics))

    def produce(self, records: Iterable[tuple[str, str, str]], **settings: Any) -> None:
        producer = Producer(
            {"bootstrap.servers": self.broker, "partitioner": "murmur2_random", **settings}
        )
        for topic, key, value in records:
            producer.produce(topic, key=key, value=value)
            producer.poll(0)
        assert producer.flush(30) == 0

    def write_as_a_zombie(self, keys: Iterable[str]) -> None:
        """Write rows of an owner from before all fences to where the members' rows lie."""
        producer = Producer({"bootstrap.servers": self.broker})
        for key in keys:
            lane = murmur2_partition(key.encode(), self.partitions)
            producer.produce(self.changelog, key=f"r{key}", value=bytes(32), partition=lane)
        assert producer.flush(30) == 0

    def some(self, count: int, keys: int = 50) -> list[tuple[str, str, str]]:
        return [(self.topics[i % 2], f"m{i % keys}", f"v{i}") for i in range(count)]

    def committed(self) -> dict[tuple[str, int], int]:
        """Return the group's offsets, without those of partitions that have none."""
        [future] = self.admin.list_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(self.group)]
        ).values()
        try:
            found = future.result().topic_partitions
        except KafkaException as error:
            # A broker that has just been started on a busy machine.
            if error.args[0].code() != KafkaError.COORDINATOR_LOAD_IN_PROGRESS:
                raise
            found = []
        return {(tp.topic, tp.partition): tp.offset for tp in found if tp.offset >= 0}

    def read(self, topic: str, **settings: Any) -> list[Any]:
        """Return all records of a topic, up to the end of every partition."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.broker,
                "group.id": uuid4().hex,
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                **settings,
            }
        )
        try:
            consumer.assign([TopicPartition(topic, p, 0) for p in range(self.partitions)])
            records, open_ = [], self.partitions
            while open_:
                record = consumer.poll(10)
                assert record is not None, f"{topic} cannot be read to its end"
                if record.error() is None:
                    records.append(record)
                else:
                    open_ -= 1
            return records
        finally:
            consumer.close()

    def counts(self) -> dict[str, int]:
        """Return the count per member that the changelog holds in the end."""
        rows = {
            record.key()[1:].decode(): int.from_bytes(record.value()[8:16], "little")
            for record in self.read(self.changelog)
            if record.key().startswith(b"r")
        }
        return dict(sorted(rows.items()))

    def options(self, **more: Any) -> dict[str, Any]:
        return {
            "broker": self.broker,
            "group": self.group,
            "topics": self.topics,
            "outputs": self.outputs,
            "partitions": self.partitions,
            "changelog": self.changelog,
            "data_dir": str(self.folder / uuid4().hex),
            **more,
        }

    @contextmanager
    def worker(self, **more: Any) -> Iterator["WorkerProcess"]:
        """Run a worker with toy lanes in a process of its own; it is killed at the end."""
        log = self.folder / f"{uuid4().hex}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "fastlane_toy", json.dumps(self.options(**more))],
                env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests' / 'support'}"},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            try:
                yield WorkerProcess(process, log)
            finally:
                process.kill()
                process.wait()


@dataclass
class WorkerProcess:
    process: "subprocess.Popen[bytes]"
    log: Path

    def said(self) -> str:
        return self.log.read_text()

    def lines(self, first: str) -> list[list[str]]:
        """Return the words of what lanes have said, beginning with ``first``."""
        return [line.split() for line in self.said().splitlines() if line.startswith(first + " ")]

    def taken_over(self) -> list[int]:
        """Return how many lanes each assignment brought."""
        return [int(count) for count in re.findall(r"took over (\d+) lanes", self.said())]

    def recovered(self) -> int:
        """Return how many changelog records the last assignment made it read."""
        return int(re.findall(r"(\d+) changelog records", self.said())[-1])

    def is_frozen(self) -> bool:
        return state_of(self.process.pid) == "T"

    def wait(self) -> int:
        return self.process.wait(WAIT_SECONDS)

    def terminate(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def state_of(pid: int) -> str:
    """Return the process's state as Linux tells it; T is stopped by a signal."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def wait_for(what: Any) -> Any:
    """Return what ``what()`` gives once it is true, however slow the machine is."""
    end = time.monotonic() + WAIT_SECONDS
    while not (result := what()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)
    return result
