"""Local stacks for tests: one for a whole session, and such as a test starts itself."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app import stack
from app.stack import StackInfo, state
from app.stack.files import lasting_ports
from app.stack.kafka import Broker
from app.stack.redis_server import RedisServer
from app.stack.state import Seat

# Compacted topics are cleaned within a second of a write, for tests that wait for it.
QUICK_COMPACTION = {"log.cleaner.backoff.ms": "100"}


@pytest.fixture(scope="session")
def kafka_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackInfo]:
    """A running stack; that of LIFECYCLE_TEST_BROKER and LIFECYCLE_TEST_REDIS if they are set."""
    data = tmp_path_factory.mktemp("stack")
    broker, redis = (os.environ.get(f"LIFECYCLE_TEST_{name}") for name in ("BROKER", "REDIS"))
    if broker and redis:
        yield StackInfo(broker=broker, redis=redis, data=Path(data))
        return
    try:
        set_apart(data)
        yield stack.up(data, _say, extra=QUICK_COMPACTION)
    finally:
        stack.down(data, purge=True)


def set_apart(data: Path) -> None:
    """Have a new stack in ``data`` take ports that stacks beside it do not look for.

    One that stops and comes back finds them free.
    """
    data.mkdir(exist_ok=True)
    redis, broker, _ = lasting_ports(3)  # the last one will be the controller's
    state.keep(data, RedisServer.name, Seat(redis))
    state.keep(data, Broker.name, Seat(broker))


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
