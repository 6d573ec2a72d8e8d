"""The demo's worker: a real ``lifecycle worker`` in a process of its own."""

import http.client
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from app.metric_list import DEADLINES_ARMED, DEADLINES_FIRED

STOP_SECONDS = 10.0
LAST_LINES = 12
# The same as `lifecycle`, but asks Linux first to be terminated when the demo is killed.
_MAIN = """
import ctypes, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)
from app.cli import main
sys.exit(main())
"""
_ADDRESS = re.compile(rb"http://(127\.0\.0\.1:[0-9]+)")


class WorkerDied(Exception):
    """The worker ended by itself; the message has the last lines of its log."""


class Deadlines(NamedTuple):
    """The worker's own figures of deadlines: waiting, and fired so far."""

    armed: int
    fired: int


class WorkerProcess:
    """One worker, started at once."""

    def __init__(
        self, arguments: Sequence[str], variables: Mapping[str, str], directory: Path
    ) -> None:
        """Start it with command-line arguments and ``variables`` over the environment.

        ``directory`` is for its log and its files.
        """
        self._log = directory / "worker.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                # -P: a package of the user's own in the working directory must not be imported.
                [sys.executable, "-P", "-c", _MAIN, "worker", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **variables},
                # Ctrl-C is for the demo, which then stops the worker in an orderly way.
                start_new_session=True,
            )

    def check(self) -> None:
        """Raise ``WorkerDied`` when the worker no longer runs."""
        code = self._process.poll()
        if code is not None:
            how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            raise WorkerDied(f"the worker has ended ({how}). {self.last_words()}")

    def last_words(self) -> str:
        """Return the last lines of its log, with a heading."""
        lines = self._log.read_text(errors="replace").splitlines()[-LAST_LINES:]
        if not lines:
            return "It left no word."
        return "\n".join(["The last lines of its log:", *(f"  {line}" for line in lines)])

    def stop(self) -> None:
        """Let it finish what is in flight and end; kill it when that takes too long."""
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def deadlines(self) -> Deadlines | None:
        """Ask its ``/metrics``; None when there is no answer."""
        found = _ADDRESS.search(self._log.read_bytes())
        if found is None:
            return None
        connection = http.client.HTTPConnection(found[1].decode(), timeout=0.5)
        try:
            connection.request("GET", "/metrics")
            said = connection.getresponse().read().decode()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
        return Deadlines(_value(said, DEADLINES_ARMED.name), _value(said, DEADLINES_FIRED.name))


def _value(exposition: str, name: str) -> int:
    found = re.search(rf"^{name} ([0-9.e+]+)$", exposition, re.MULTILINE)
    return int(float(found[1])) if found else 0
