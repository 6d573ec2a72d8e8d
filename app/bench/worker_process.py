"""A real worker, measured from outside: what it took, and how much memory it holds."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from app.bench.place import BenchError, Place

LOOK_SECONDS = 0.01
STOP_SECONDS = 15.0
LAST_LINES = 15
_TOOK_OVER = re.compile(r"took over \d+ lanes: (\d+) changelog records in ([0-9.]+) s")


class TookOver(NamedTuple):
    """The worker's own words about the lanes it was assigned."""

    rows: int
    seconds: float


class WorkerProcess:
    """``lifecycle worker`` in a process of its own."""

    def __init__(self, place: Place, *words: str) -> None:
        """Start it with these command-line arguments."""
        self.log = place.folder / f"worker-{time.monotonic_ns()}.log"
        self.began = time.monotonic()
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "app", "worker", *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **place.variables},
            )

    @property
    def cpu_seconds(self) -> float:
        """Return the CPU time, user and system, of all its threads so far."""
        fields = self._proc("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_mb(self, name: str) -> float:
        """Return a figure of its status: ``VmRSS`` (now) or ``VmHWM`` (at most), in megabytes."""
        found = re.search(rf"{name}:\s+(\d+) kB", self._proc("status"))
        assert found is not None
        return int(found[1]) / 1024

    def wait_until_ready(self, seconds: float) -> TookOver:
        """Return when its lanes are recovered; raises ``BenchError`` when they are not in time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = _TOOK_OVER.search(self.log.read_text(errors="replace"))
            if found is not None:
                return TookOver(int(found[1]), float(found[2]))
            self.check()
            time.sleep(LOOK_SECONDS)
        raise BenchError(f"the worker was not ready within {seconds:.0f} s: {self.last_words()}")

    def check(self) -> None:
        """Raise ``BenchError`` when it has ended."""
        code = self._process.poll()
        if code is not None:
            raise BenchError(f"the worker ended with exit code {code}: {self.last_words()}")

    def last_words(self) -> str:
        """Return the end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-LAST_LINES:])

    def stop(self) -> None:
        """End it in an orderly way, or at least end it."""
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _proc(self, name: str) -> str:
        try:
            return Path(f"/proc/{self._process.pid}/{name}").read_text()
        except OSError:
            self.check()
            raise


@contextmanager
def worker(place: Place, *words: str) -> Iterator[WorkerProcess]:
    """Yield a worker, which has ended afterwards whatever happened."""
    process = WorkerProcess(place, *words)
    try:
        yield process
    finally:
        process.stop()
