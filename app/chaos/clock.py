"""Wall clocks of single processes, shifted by libfaketime while they run.

libfaketime 0.9.10 has two holes, which ``START`` goes around. ``clock_nanosleep`` until an instant
of the monotonic clock fails (Python's ``time.sleep``), and ``cnd_timedwait`` is not told of the
shift, so that librdkafka, which waits by it, hangs; bound to the C library itself, it keeps the
true time.
"""

import contextlib
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

START = """
import os, select, sys, time
flags = sys.getdlopenflags()
sys.setdlopenflags(flags | os.RTLD_DEEPBIND)
import confluent_kafka
sys.setdlopenflags(flags)
time.sleep = lambda seconds: select.select((), (), (), seconds)
from app.cli import main
sys.exit(main())
"""
"""What a Python process runs in place of ``-m app`` if its clock can be shifted."""

_LIBRARIES = (
    "/usr/lib/*/faketime/libfaketimeMT.so.1",
    "/usr/lib*/faketime/libfaketimeMT.so.1",
    "/usr/local/lib/faketime/libfaketimeMT.so.1",
)
_PROBE_S = 30
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where the library itself leaves its files


def find_library() -> Path | None:
    """Return libfaketime for programs with threads; None when it is not installed."""
    for pattern in _LIBRARIES:
        found = sorted(Path("/").glob(pattern.lstrip("/")))
        if found:
            return found[0]
    return None


def why_not(library: Path | None) -> str | None:
    """Return why clocks cannot be shifted here with ``library``; None when they can."""
    if library is None:
        return "libfaketime is not installed (Debian: apt-get install faketime)"
    # It may be there for another machine's kind of program, or without its shared memory.
    try:
        said = subprocess.run(
            [sys.executable, "-c", "import time; print(time.time())"],
            env={"LD_PRELOAD": str(library), "FAKETIME": f"+{2 * _PROBE_S}s"},
            capture_output=True,
            text=True,
            timeout=_PROBE_S,
            check=True,
        ).stdout
        works = float(said) > time.time() + _PROBE_S
    except (OSError, subprocess.SubprocessError, ValueError):
        works = False
    return None if works else f"{library} does not shift the clock of {sys.executable}"


class ShiftedClock:
    """The wall clock of the processes started with ``variables``; at first the true one."""

    def __init__(self, library: Path, file: Path) -> None:
        """``file`` says the shift to those processes."""
        self._file = file
        self.variables: Mapping[str, str] = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }
        self.shift(0)

    def shift(self, seconds: float) -> None:
        """Let the clock differ from the true one by so much; it is seen within a second."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{seconds:+f}\n")
        fresh.replace(self._file)


def clear_up(pid: int) -> None:
    """Remove what a process that was killed has left of the library in shared memory."""
    for name in (f"faketime_shm_{pid}", f"sem.faketime_sem_{pid}"):
        with contextlib.suppress(OSError):
            (_SHARED_MEMORY / name).unlink()
