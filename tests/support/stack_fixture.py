"""One local stack for a whole test session."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app import stack
from app.stack import StackInfo

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
        yield stack.up(data, _say, extra=QUICK_COMPACTION)
    finally:
        stack.down(data, purge=True)


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
