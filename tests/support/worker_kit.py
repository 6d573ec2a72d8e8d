"""Real workers as a user runs them, and a gateway's plain consumer."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Message, TopicPartition

from app.stack import StackInfo
from config.settings import Settings, load_settings


class World:
    """Topics of its own on the session's broker, and the workers on them."""

    def __init__(self, stack: StackInfo, name: str, folder: Path, partitions: int = 8) -> None:
        name = f"{name}-{time.time_ns():x}"  # a broker may outlive a test session
        self.folder = folder
        self.broker = stack.broker
        self.env = {
            **{k: v for k, v in os.environ.items() if not k.startswith("LIFECYCLE_")},
            "LIFECYCLE_BROKER": stack.broker,
            "LIFECYCLE_REDIS": stack.redis,
            "LIFECYCLE_TOPIC_PREFIX": f"{name}.",
            "LIFECYCLE_APP_ID": name,
            "LIFECYCLE_PARTITIONS": str(partitions),
            "LIFECYCLE_DATA_DIR": str(folder / "data"),
            # Neither logs nor made members have a word of consent in them.
            "LIFECYCLE_ASSUME_CONSENT": "true",
        }
        self.settings: Settings = load_settings(self.env)
        self._workers: list[subprocess.Popen[bytes]] = []

    def topic(self, name: str) -> str:
        return self.settings.topic(name)

    def lifecycle(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            command(*words), env=self.env, cwd=self.folder, capture_output=True, text=True
        )

    def start_worker(self, *words: str) -> subprocess.Popen[bytes]:
        log = self.folder / f"worker-{len(self._workers)}.log"
        with log.open("wb") as file:
            worker = subprocess.Popen(
                command("worker", *words), env=self.env, cwd=self.folder, stdout=file, stderr=file
            )
        self._workers.append(worker)
        return worker

    def wait_until_serving(self, seconds: float = 60.0) -> None:
        """A process that still starts ends at SIGTERM as any does: by the signal."""
        deadline = time.monotonic() + seconds
        for number in range(len(self._workers)):
            log = self.folder / f"worker-{number}.log"
            while "serving on" not in log.read_text():
                assert time.monotonic() < deadline, f"worker {number} never served\n{self.logs()}"
                time.sleep(0.05)

    def logs(self) -> str:
        """The workers' last words, for a failed assertion."""
        return "\n".join(
            f"--- {log.name}\n" + "\n".join(log.read_text().splitlines()[-30:])
            for log in sorted(self.folder.glob("worker-*.log"))
        )

    def stop(self) -> list[int]:
        """SIGTERM every worker that lives; return all exit codes."""
        for worker in self._workers:
            if worker.poll() is None:
                worker.terminate()
        for worker in self._workers:
            try:
                worker.wait(20)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()
        return [worker.returncode for worker in self._workers]

    def messages(
        self, topic: str, *, until: int = 0, idle: float = 2.0, limit: float = 90.0
    ) -> list[Message]:
        """Everything on an output topic: ``until`` or more, till nothing comes for a while."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.broker,
                "group.id": f"reader-{time.monotonic_ns()}",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
            }
        )
        found: list[Message] = []
        try:
            name = self.topic(topic)
            partitions = consumer.list_topics(name, timeout=10).topics[name].partitions
            consumer.assign([TopicPartition(name, number, 0) for number in partitions])
            began = last = time.monotonic()
            while time.monotonic() - last < idle or (
                len(found) < until and time.monotonic() - began < limit
            ):
                batch = consumer.consume(1000, timeout=0.2)
                for message in batch:
                    assert message.error() is None, message.error()
                    found.append(message)
                if batch:
                    last = time.monotonic()
        finally:
            consumer.close()
        return found


def permissive(config: Path) -> Path:
    """A configuration folder whose policy knows refusals only, whatever the hour of the day."""
    config.mkdir(parents=True, exist_ok=True)
    words = "{consent: opt_out, channels: [app_push, sms, email, wechat]}"
    (config / "policy.yaml").write_text(words)
    return config


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "app", *words]


@contextmanager
def world(stack: StackInfo, name: str, folder: Path, partitions: int = 8) -> Iterator[World]:
    """A world whose workers are gone afterwards, whatever happened."""
    made = World(stack, name, folder, partitions)
    try:
        yield made
    finally:
        made.stop()


def comparable(raw: bytes) -> str:
    """A trigger without what depends on the run: when it was said, and where its cause lay."""
    message: dict[str, Any] = json.loads(raw)
    message.pop("raised_at", None)
    reason = message.get("reason")
    if isinstance(reason, dict):
        for event in reason.get("evidence", ()):
            for origin in ("topic", "partition", "offset"):
                event.pop(origin, None)
    return json.dumps(message, sort_keys=True)


def as_set(values: Iterable[bytes]) -> set[str]:
    return {comparable(value) for value in values}
