"""How an engine's process measures itself: the same for every engine."""

import os
import re
import sys
import time
from pathlib import Path
from typing import NoReturn

import msgspec


class Job(msgspec.Struct, frozen=True):
    """What an engine's process is told; ``events`` counts every record of the source."""

    broker: str
    name: str
    source: str
    triggers: str
    changelog: str
    partitions: int
    events: int
    until: int
    folder: str


class Measured(msgspec.Struct, frozen=True):
    """What an engine's process tells at its end."""

    cpu_seconds: float
    """User and system time of all threads, from the assignment of partitions to the last output's
    acknowledgement. Before it lie imports, connecting and joining the group."""
    wall_seconds: float
    """From the first record seen by the job to the last output's acknowledgement."""
    rss_mb: float
    """The most memory that the process ever held."""
    startup_cpu_seconds: float
    """What the clock of ``cpu_seconds`` left out."""


class Meter:
    """Call ``assigned``, ``first`` and ``finish`` when that has happened."""

    def __init__(self) -> None:
        self._cpu = self._wall = 0.0

    def assigned(self) -> None:
        """Partitions are assigned: from now on CPU time counts."""
        self._cpu = time.process_time()

    def first(self) -> None:
        """The first record has come: from now on the time counts."""
        self._wall = time.monotonic()

    def finish(self) -> NoReturn:
        """Everything is out: report, and end the process; its shutdown is not measured."""
        self.finish_at(time.process_time(), time.monotonic())

    def finish_at(self, cpu: float, wall: float) -> NoReturn:
        """The same for a moment that has passed: process CPU time, monotonic time."""
        report = Measured(cpu - self._cpu, wall - self._wall, _peak_mb(), self._cpu)
        sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
        sys.stdout.flush()
        os._exit(0)


def _peak_mb() -> float:
    # getrusage would tell the parent's peak too: it outlives fork and exec.
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024
