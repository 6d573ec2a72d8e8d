"""Locks, logs and ports of the local stack."""

import fcntl
import os
import random
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path

from app.stack.errors import StackError

LOOPBACK = "127.0.0.1"
_PORTS_TRIED = 200
# Below what Linux gives to outgoing connections: one could take the port of a server that is down.
_LASTING_PORTS = range(10_000, 32_000)
_LOG_KEPT_BYTES = 1 << 20
_LOCK_PATIENCE_S = 600.0
_LOCK_POLL_S = 0.1


@contextmanager
def locked(path: Path, waiting: Callable[[], None]) -> Iterator[int]:
    """Hold the lock file ``path``, and yield its descriptor; ``waiting`` is told once if it waits.

    The lock is the kernel's: it ends with its last holder, however that ends. A child that is
    given the descriptor holds it too. Raises StackError after ten minutes.
    """
    fd = _acquire(path, waiting)
    try:
        yield fd
    finally:
        os.close(fd)


def _acquire(path: Path, waiting: Callable[[], None]) -> int:
    deadline = time.monotonic() + _LOCK_PATIENCE_S
    told = False
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # A purge may have removed the file between open and flock: then it locks nothing.
            if path.exists() and os.fstat(fd).st_ino == path.stat().st_ino:
                return fd
        except BlockingIOError:
            if not told:
                waiting()
                told = True
            if time.monotonic() > deadline:
                os.close(fd)
                raise StackError(
                    f"another process has held {path} for ten minutes: end it and try again"
                ) from None
            time.sleep(_LOCK_POLL_S)
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def free_port(preferred: int, default: int) -> int:
    """Return ``preferred`` if it can be listened on, else the next such port from ``default`` on.

    Raises StackError when none of 200 is free.
    """
    for port in chain([preferred], range(default, default + _PORTS_TRIED)):
        if _can_listen(port):
            return port
    raise StackError(
        f"no free port from {default} to {default + _PORTS_TRIED - 1}: end what listens there"
    )


def lasting_ports(count: int) -> list[int]:
    """Return so many free ports for servers that stop and come back to theirs.

    They begin at a random one, since others may look for some at the same time. Raises StackError.
    """
    begin = random.choice(_LASTING_PORTS[: -(count + _PORTS_TRIED)])
    free = filter(_can_listen, range(begin, begin + count + _PORTS_TRIED))
    found = list(islice(free, count))
    if len(found) < count:
        raise StackError(f"no {count} free ports from {begin} on: end what listens there")
    return found


def _can_listen(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: a port whose old connections are in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def rotate(log: Path) -> None:
    """Make room for a new ``log``: the old one's last megabyte becomes ``NAME.1``."""
    if not log.exists():
        return
    with log.open("rb") as old:
        old.seek(max(0, log.stat().st_size - _LOG_KEPT_BYTES))
        log.with_name(log.name + ".1").write_bytes(old.read())
    log.unlink()


def last_words(log: Path) -> str:
    """Return the last lines of ``log`` that are not a stack trace's, as one line."""
    lines = log.read_text(errors="replace").splitlines()[-200:] if log.exists() else []
    telling = [line.strip() for line in lines if line.strip() and not line.startswith(("\t", " "))]
    return " | ".join(telling[-3:]) or "it said nothing"
