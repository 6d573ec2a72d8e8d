"""The local stack as a whole: brought up, asked, and brought down again."""

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from app.stack import processes, state
from app.stack.errors import StackError
from app.stack.files import LOOPBACK, free_port, last_words, locked
from app.stack.kafka import Broker
from app.stack.processes import Process
from app.stack.redis_server import RedisServer
from app.stack.state import Seat

_OURS = (
    *("kafka", "kafka.new", "kafka.properties", "redis", "logs", "tmp"),
    *("state.json", "state.json.new", "kept", "borrowed"),
)
_ANSWER_S = 2.0
_FIRST_ANSWER_S = 0.5
_HASTE_S = 2.0
_ATTEMPTS = 3
_PORT_TAKEN = "Address already in use"


@dataclass(frozen=True, slots=True)
class StackInfo:
    """A running stack: ``broker`` is ``host:port``, ``redis`` a URL, ``data`` the directory."""

    broker: str
    redis: str
    data: Path


class Server(Protocol):
    """One server of the stack; every method may raise StackError."""

    name: str
    port: int  # where it listens unless that is taken
    ready_s: float  # how long it may take to answer
    grace_s: float  # how long it may take to stop when asked to
    log: Path

    def find(self) -> list[Process]:
        """Return every process of this server, those that only prepare its start included."""

    def prepare(self, progress: Callable[[str], None]) -> None:
        """Do all that a start needs beforehand."""

    def launch(self, port: int) -> Process:
        """Start it on ``port``, without waiting until it is ready."""

    def answers(self, seat: Seat, timeout_s: float) -> bool:
        """Whether this very server, not another on its port, serves requests."""


def up(
    data_dir: Path,
    progress: Callable[[str], None],
    extra: Mapping[str, str] | None = None,
    lasting: bool = False,
) -> StackInfo:
    """Start what of the stack does not run yet, wait until it serves, and say where it is.

    It runs until ``down``, whoever borrows it meanwhile.
    ``progress`` is told, line by line, what takes a while. ``extra`` are broker properties over
    the usual ones. ``lasting`` is for a broker that is to be as fast as it can be after a minute,
    as in production, and not ready at once. A broker that already runs keeps what it was started
    with. Raises StackError; then nothing that this call started runs.
    """
    data = data_dir.expanduser().resolve()
    with _held(data, progress):
        _bring_up(_servers(data, extra, lasting), data, progress)
        (data / "kept").touch()
        return _info(data)


@contextmanager
def borrowed(
    data_dir: Path, progress: Callable[[str], None], lasting: bool = False
) -> Iterator[StackInfo]:
    """Yield the stack, started if it does not run.

    The last that gives it back stops it, unless it was brought ``up``, before or meanwhile.
    Raises as ``up`` does.
    """
    data = data_dir.expanduser().resolve()
    with ExitStack() as ours:
        with _held(data, progress):
            # The lock is the kernel's: it ends with who borrows, however that ends.
            mine = os.open(data / "borrowed", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            ours.callback(os.close, mine)
            fcntl.flock(mine, fcntl.LOCK_SH)
            servers = _servers(data, lasting=lasting)
            if not any(_runs(server, state.load(data).get(server.name)) for server in servers):
                # What was brought up has ended with its machine.
                (data / "kept").unlink(missing_ok=True)
            _bring_up(servers, data, progress)
            info = _info(data)
        try:
            yield info
        finally:
            # Who purged it meanwhile has stopped it, and what runs there now is not what was lent.
            if os.fstat(mine).st_nlink:
                with _held(data, progress):
                    if not (data / "kept").exists() and _is_last(mine):
                        for server in servers:
                            _bring_down(server, data)


@contextmanager
def _held(data: Path, progress: Callable[[str], None]) -> Iterator[None]:
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        with locked(data / "lock", lambda: progress(f"waiting for another command on {data}")):
            (data / "logs").mkdir(exist_ok=True)
            yield
    except OSError as error:
        raise StackError(
            f"the stack cannot work in {data} ({error}): check it, or name another --data-dir"
        ) from error


def _is_last(mine: int) -> bool:
    try:
        fcntl.flock(mine, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def down(data_dir: Path, purge: bool = False) -> None:
    """Stop the stack, and forget its data if ``purge``.

    Whatever an ``up`` that was killed left running is stopped as well. Raises StackError.
    """
    data = data_dir.expanduser().resolve()
    if not data.is_dir():
        return
    try:
        with locked(data / "lock", lambda: None):
            (data / "kept").unlink(missing_ok=True)
            for server in _servers(data):
                _bring_down(server, data)
            if purge:
                _purge(data)
    except OSError as error:
        raise StackError(f"the stack in {data} cannot be stopped ({error}): check it") from error


def status(data_dir: Path) -> StackInfo | None:
    """Return where the stack is if all its servers run and answer, else None."""
    data = data_dir.expanduser().resolve()
    seats = state.load(data)
    if all(_runs(server, seats.get(server.name)) for server in _servers(data)):
        return _info(data)
    return None


def _servers(
    data: Path, extra: Mapping[str, str] | None = None, lasting: bool = False
) -> tuple[Server, ...]:
    return RedisServer(data), Broker(data, extra or {}, lasting=lasting)


def _info(data: Path) -> StackInfo:
    seats = state.load(data)
    return StackInfo(
        broker=f"{LOOPBACK}:{seats[Broker.name].port}",
        redis=f"redis://{LOOPBACK}:{seats[RedisServer.name].port}/0",
        data=data,
    )


def _runs(server: Server, seat: Seat | None) -> bool:
    return seat is not None and seat.taken and server.answers(seat, _ANSWER_S)


def _bring_up(servers: Iterable[Server], data: Path, progress: Callable[[str], None]) -> None:
    ours = []
    try:
        for server in servers:
            if not _runs(server, state.load(data).get(server.name)):
                ours.append(server)
                _start(server, data, progress)
    except BaseException:
        for server in ours:
            _bring_down(server, data)
        raise


def _start(server: Server, data: Path, progress: Callable[[str], None]) -> None:
    _bring_down(server, data)
    server.prepare(progress)
    last_port = state.load(data).get(server.name, Seat(server.port)).port
    for attempt in range(1, _ATTEMPTS + 1):
        progress(f"starting {server.name}")
        began = time.monotonic()
        port = free_port(last_port, server.port)
        seat = Seat(port, server.launch(port))
        # Kept before it is ready: who is killed while waiting leaves a trail.
        state.keep(data, server.name, seat)
        try:
            wait_until_ready(server, seat)
        except StackError:
            # Two starts at once may have found the same port free.
            if attempt == _ATTEMPTS or _PORT_TAKEN not in server.log.read_text(errors="replace"):
                raise
            _bring_down(server, data)
            continue
        progress(f"{server.name} is ready in {time.monotonic() - began:.1f} s")
        return


def wait_until_ready(server: Server, seat: Seat) -> None:
    """Return when the server launched in ``seat`` answers; raises StackError when it does not."""
    deadline = time.monotonic() + server.ready_s
    while not server.answers(seat, _FIRST_ANSWER_S):
        if not seat.taken:
            what = "stopped while starting"
        elif time.monotonic() > deadline:
            what = f"did not answer within {server.ready_s:.0f} s"
        else:
            time.sleep(processes.POLL_S)
            continue
        raise StackError(
            f"{server.name} {what} ({last_words(server.log)}): see {server.log}, "
            "or start over with 'lifecycle down --purge'"
        )


def _bring_down(server: Server, data: Path) -> None:
    seat = state.load(data).get(server.name)
    known = [] if seat is None or seat.process is None else [seat.process]
    # A server that does not serve has nothing to finish, and one that starts may be deaf for long.
    grace_s = server.grace_s if _runs(server, seat) else _HASTE_S
    processes.stop({*known, *server.find()}, grace_s)
    left = server.find()
    if left:
        raise StackError(f"{server.name} cannot be stopped: end process {left[0].pid}")
    if seat is not None:
        state.keep(data, server.name, Seat(seat.port))


def _purge(data: Path) -> None:
    for name in _OURS:
        path = data / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    (data / "lock").unlink()
    # What else is in there is not ours to delete.
    if not any(data.iterdir()):
        data.rmdir()
