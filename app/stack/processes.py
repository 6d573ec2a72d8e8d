"""Server processes that outlive their parent: started, recognised, and ended by identity.

A pid alone is no identity, because the kernel hands it out again. A process is known by its pid
and the instant it started, and every signal goes through a pidfd, which cannot be recycled.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc")
POLL_S = 0.05

# A dropped Popen whose process lives warns, and an unreaped child looks alive: keep and poll them.
_children: dict[int, subprocess.Popen[bytes]] = {}


class Process(NamedTuple):
    """One process, for ever: ``started`` is in clock ticks since the machine's boot."""

    pid: int
    started: int

    @property
    def alive(self) -> bool:
        """Whether this very process still runs (a zombie does not)."""
        child = _children.get(self.pid)
        if child is not None and child.poll() is not None:
            del _children[self.pid]
        return _started(self.pid) == self.started


def spawn(
    command: Sequence[str],
    log: Path,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
) -> Process:
    """Start ``command`` in a session of its own, with all its output appended to ``log``.

    Raises ``OSError`` when the program cannot be run.
    """
    with log.open("ab") as out:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=env,
            pass_fds=pass_fds,
            start_new_session=True,
        )
    _children[child.pid] = child
    # Until it is polled a child keeps its pid, even dead: its start time can be read in any case.
    return Process(child.pid, _stat(child.pid)[1])


def with_argument(argument: str) -> list[Process]:
    """Return the processes that carry ``argument`` on their command line."""
    wanted = argument.encode()
    return _scan(lambda proc: wanted in (proc / "cmdline").read_bytes().split(b"\0"))


def working_in(directory: Path, name: str) -> list[Process]:
    """Return the processes called ``name`` whose working directory is ``directory``."""
    return _scan(
        lambda proc: (
            (proc / "comm").read_text().strip() == name and (proc / "cwd").readlink() == directory
        )
    )


def stop(processes: Iterable[Process], grace_s: float) -> None:
    """End ``processes``: SIGTERM, and SIGKILL to those that still run ``grace_s`` seconds later."""
    left = list(processes)
    for sign, patience_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 10.0)):
        for process in left:
            send(process, sign)
        deadline = time.monotonic() + patience_s
        while (left := [p for p in left if p.alive]) and time.monotonic() < deadline:
            time.sleep(POLL_S)


def send(process: Process, sign: signal.Signals) -> None:
    """Signal this very process; nothing happens when it has ended."""
    with contextlib.suppress(ProcessLookupError):
        fd = os.pidfd_open(process.pid)
        try:
            # Compared after the pidfd is held: what has this start time is what gets the signal.
            if process.alive:
                signal.pidfd_send_signal(fd, sign)
        finally:
            os.close(fd)


def _scan(matches: Callable[[Path], bool]) -> list[Process]:
    found = []
    for proc in _PROC.iterdir():
        # Processes end while they are looked at, and other users' are not ours to read.
        with contextlib.suppress(OSError):
            if proc.name.isdigit() and matches(proc):
                started = _started(int(proc.name))
                if started is not None:
                    found.append(Process(int(proc.name), started))
    return found


def _started(pid: int) -> int | None:
    try:
        state, started = _stat(pid)
    except OSError:
        return None
    return None if state in "ZX" else started


def _stat(pid: int) -> tuple[str, int]:
    # The second field is the program's name in brackets, and may itself hold blanks and brackets.
    fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return fields[0], int(fields[19])
