"""A Redis server apart from the stack, to be killed and started again at one address."""

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

from app.stack import processes
from app.stack.files import LOOPBACK
from app.stack.local import wait_until_ready
from app.stack.redis_server import RedisServer
from app.stack.state import Seat


class LoneRedis:
    """The server whose data is in ``data``."""

    def __init__(self, data: Path, port: int) -> None:
        """Nothing is started."""
        self._data = data
        self._server = RedisServer(data)
        self._seat = Seat(port)
        self.url = f"redis://{LOOPBACK}:{port}/0"

    @property
    def runs(self) -> bool:
        """Whether the server's process lives."""
        return self._seat.taken

    def start(self, progress: Callable[[str], None]) -> None:
        """Start it and wait until it answers; nothing happens when it runs. Raises StackError."""
        if self.runs:
            return
        (self._data / "logs").mkdir(parents=True, exist_ok=True)
        self._server.prepare(progress)
        self._seat = Seat(self._seat.port, self._server.launch(self._seat.port))
        wait_until_ready(self._server, self._seat)

    def kill(self) -> None:
        """``kill -9`` it."""
        self._send(signal.SIGKILL)
        self._end()

    def forget(self) -> None:
        """Delete all its data; it does not run."""
        shutil.rmtree(self._data / "redis")

    def close(self) -> None:
        """End the server, however it fares."""
        self._end()

    def _send(self, sign: signal.Signals) -> None:
        if self._seat.process is not None:
            processes.send(self._seat.process, sign)

    def _end(self) -> None:
        known = set() if self._seat.process is None else {self._seat.process}
        processes.stop(known | set(self._server.find()), grace_s=0)
