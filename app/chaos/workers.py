"""The worker processes of a chaos run: real ones, each in a slot that outlives it."""

import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from app.chaos import clock
from app.chaos.clock import ShiftedClock

STOP_SECONDS = 30.0
"""After so long a worker that was asked to stop is killed."""
_PAUSE_SECONDS = 1.0  # between two starts that nobody asked for
_ADDRESS = re.compile(rb"serving on (http://\S+)")
_NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class ChaosWorker:
    """One worker's slot: the process that runs in it, if any, and what became of those before."""

    log: Path
    """What all its processes wrote, one after the other."""
    exits: list[int]
    """The exit codes of the ends that nobody asked for, as ``supervise`` saw them; -N: signal N."""
    last_exit: int | None
    """The exit code of the last process that ended, asked or not."""
    frozen: bool

    def __init__(
        self,
        folder: Path,
        name: str,
        config: Path,
        variables: Mapping[str, str],
        shifted: ShiftedClock | None,
    ) -> None:
        """``variables`` are the whole environment; without ``shifted`` it has the true clock."""
        self.name = name
        self.log = folder / f"{name}.log"
        self.exits = []
        self.last_exit = None
        self.frozen = False
        self._clock = shifted
        self._variables = {**variables, **(shifted.variables if shifted else {})}
        main = ["-m", "app"] if shifted is None else ["-c", clock.START]
        self._command = [sys.executable, *main, "worker", "--config", str(config)]
        self._process: subprocess.Popen[bytes] | None = None
        self._wanted = False
        self._started = 0.0
        self._log_begin = 0

    @property
    def pid(self) -> int | None:
        """The process that runs, or None."""
        return self._process.pid if self._process is not None and self.alive else None

    @property
    def alive(self) -> bool:
        """Whether a process runs, be it frozen."""
        return self._process is not None and self._process.poll() is None

    def ready(self, timeout: float = 1.0) -> bool:
        """Whether its ``/readyz`` says that its lanes are assigned and recovered."""
        if not self.alive or self.frozen:
            return False
        with self.log.open("rb") as log:
            log.seek(self._log_begin)
            found = _ADDRESS.search(log.read())
        if found is None:
            return False
        try:
            with _NO_PROXY.open(f"{found[1].decode()}/readyz", timeout=timeout) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    def start(self) -> None:
        """Start a process; nothing happens when one runs."""
        self._wanted = True
        if self.alive:
            return
        self._ended()
        with self.log.open("ab") as log:
            self._log_begin = log.tell()
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._variables,
                # Ctrl-C is for the run, which then ends the workers.
                start_new_session=True,
            )
        self._started = time.monotonic()

    def kill(self) -> None:
        """``kill -9`` it; it stays down."""
        self._wanted = False
        self._signal(signal.SIGKILL)
        self._wait(STOP_SECONDS)

    def stop(self) -> float:
        """SIGTERM it, and SIGKILL after 30 seconds; return how many it took. It stays down."""
        self._wanted = False
        began = time.monotonic()
        self._signal(signal.SIGTERM)
        self.thaw()
        if not self._wait(STOP_SECONDS):
            self.kill()
        return time.monotonic() - began

    def freeze(self) -> None:
        """SIGSTOP it."""
        self._signal(signal.SIGSTOP)
        self.frozen = self.alive

    def thaw(self) -> None:
        """SIGCONT it."""
        self._signal(signal.SIGCONT)
        self.frozen = False

    def supervise(self) -> int | None:
        """Start it again if it ended though nobody asked it to; return how it ended, then."""
        if not self._wanted or self.alive:
            return None
        if time.monotonic() < self._started + _PAUSE_SECONDS:
            return None
        self._ended()
        assert self.last_exit is not None
        self.exits.append(self.last_exit)
        self.start()
        return self.last_exit

    def _signal(self, sign: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(sign)

    def _wait(self, seconds: float) -> bool:
        if self._process is not None:
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                return False
            self._ended()
        return True

    def _ended(self) -> None:
        self.frozen = False
        if self._process is not None:
            self.last_exit = self._process.returncode
            clock.clear_up(self._process.pid)
            self._process = None
