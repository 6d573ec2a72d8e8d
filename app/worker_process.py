"""A real ``lifecycle worker`` in a process of its own, started, watched and ended by its parent."""

import http.client
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from app.metric_list import DEADLINES_ARMED, DEADLINES_FIRED, Declared

LOOK_SECONDS = 0.01
STOP_SECONDS = 10.0
LAST_LINES = 12
# The same as `lifecycle`, but asks Linux first to be terminated when the parent is killed.
_MAIN = """
import ctypes, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)
from app.cli import main
sys.exit(main())
"""
_ADDRESS = re.compile(rb"http://(127\.0\.0\.1:[0-9]+)")
_TOOK_OVER = re.compile(r"took over \d+ lanes: (\d+) changelog records in ([0-9.]+) s")


class WorkerFailed(Exception):
    """The worker ended by itself, or did not get ready; the message has its last words."""


class Deadlines(NamedTuple):
    """The worker's own figures of deadlines: waiting, and fired so far."""

    armed: int
    fired: int


class TookOver(NamedTuple):
    """The worker's own words about the lanes it was assigned first."""

    rows: int
    seconds: float


class WorkerProcess:
    """One worker, started at once.

    To be started from the main thread: Linux ends it together with the *thread* that started it.
    """

    def __init__(self, arguments: Sequence[str], variables: Mapping[str, str], log: Path) -> None:
        """Start it with command-line arguments, and ``variables`` over the environment.

        What it says goes to the file ``log``.
        """
        self._log = log
        self.began = time.monotonic()
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                # -P: a package of the user's own in the working directory must not be imported.
                [sys.executable, "-P", "-c", _MAIN, "worker", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, **variables},
                # Ctrl-C is for the parent, which then stops the worker in an orderly way.
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Return the process's number, which stands in the fences that it writes."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Return how it ended (minus the signal if by one), or None while it runs."""
        return self._process.poll()

    @property
    def cpu_seconds(self) -> float:
        """Return the CPU time, user and system, of all its threads so far."""
        try:
            return cpu_seconds(self.pid)
        except OSError:
            self.check()
            raise

    def memory_mb(self, name: str) -> float:
        """Return a figure of its status: ``VmRSS`` (now) or ``VmHWM`` (at most), in megabytes."""
        found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())
        if found is None:
            self.check()
            raise ValueError(f"a process has no {name}")
        return int(found[1]) / 1024

    def wait_until_ready(self, seconds: float) -> TookOver:
        """Return when its first lanes are recovered; raises ``WorkerFailed`` if not in time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = _TOOK_OVER.search(self._log.read_text(errors="replace"))
            if found is not None:
                return TookOver(int(found[1]), float(found[2]))
            self.check()
            time.sleep(LOOK_SECONDS)
        raise WorkerFailed(f"the worker was not ready within {seconds:.0f} s. {self.last_words()}")

    def check(self) -> None:
        """Raise ``WorkerFailed`` when the worker no longer runs."""
        code = self.exit_code
        if code is not None:
            how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            raise WorkerFailed(f"the worker has ended ({how}). {self.last_words()}")

    def last_words(self) -> str:
        """Return the last lines of its log, with a heading."""
        lines = self._log.read_text(errors="replace").splitlines()[-LAST_LINES:]
        if not lines:
            return "It left no word."
        return "\n".join(["The last lines of its log:", *(f"  {line}" for line in lines)])

    def kill(self) -> None:
        """End it as a crash would; it has ended when this returns."""
        self._process.kill()
        self._process.wait()

    def ask_to_stop(self) -> None:
        """Tell it to finish what is in flight and end; returns at once."""
        self._process.terminate()

    def stop(self) -> None:
        """Let it finish what is in flight and end; kill it when that takes too long."""
        self.ask_to_stop()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    @property
    def address(self) -> str | None:
        """Return where it listens, ``HOST:PORT``; None before it does."""
        found = _ADDRESS.search(self._log.read_bytes())
        return None if found is None else found[1].decode()

    def deadlines(self) -> Deadlines | None:
        """Ask its ``/metrics``; None when there is no answer."""
        told = self.figures(DEADLINES_ARMED, DEADLINES_FIRED)
        return None if told is None else Deadlines(*told)

    def figures(self, *metrics: Declared) -> list[int] | None:
        """Ask its ``/metrics`` for metrics without labels; None when there is no answer."""
        address = self.address
        if address is None:
            return None
        connection = http.client.HTTPConnection(address, timeout=0.5)
        try:
            connection.request("GET", "/metrics")
            said = connection.getresponse().read().decode()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
        return [_value(said, metric.name) for metric in metrics]


def cpu_seconds(pid: int) -> float:
    """Return the CPU time, user and system, of a process so far; raises ``OSError`` if none."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _value(exposition: str, name: str) -> int:
    found = re.search(rf"^{name} ([0-9.e+]+)$", exposition, re.MULTILINE)
    return int(float(found[1])) if found else 0
