"""A Redis server of a test's own, to be ill-treated."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis import Redis

from app.stack import processes
from app.stack.files import lasting_ports
from app.stack.processes import Process
from app.stack.redis_server import RedisServer


class OwnRedis:
    """A server that a test may kill, freeze and start again, at one address."""

    def __init__(self, folder: Path) -> None:
        (folder / "logs").mkdir(parents=True)
        self._server = RedisServer(folder)
        self._server.prepare(lambda _: None)
        [self.port] = lasting_ports(1)
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self) -> None:
        self.process: Process = self._server.launch(self.port)

    def set(self, **options: str) -> None:
        """Set what its configuration file may say."""
        with Redis.from_url(self.url) as client:
            for name, value in options.items():
                client.config_set(name.replace("_", "-"), value)

    def signal(self, sign: signal.Signals) -> None:
        os.kill(self.process.pid, sign)


@contextmanager
def own_redis(folder: Path) -> Iterator[OwnRedis]:
    """A server that has ended afterwards."""
    redis = OwnRedis(folder)
    try:
        yield redis
    finally:
        processes.stop([redis.process], 0.0)
