"""A Redis server behind a proxy, to be killed, frozen and made slow."""

import signal
from pathlib import Path

from app.chaos.proxy import LOOPBACK, Proxy
from app.stack.lone_redis import LoneRedis


class ChaosRedis(LoneRedis):
    """The server whose data is in ``data``; clients that are to suffer come by its proxy."""

    def __init__(self, data: Path, port: int) -> None:
        """Open the proxy; the server is not started."""
        super().__init__(data, port)
        self.proxy = Proxy([port])
        self.proxied_url = f"redis://{LOOPBACK}:{self.proxy.ports[0]}/0"

    def freeze(self) -> None:
        """SIGSTOP it."""
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT it."""
        self._send(signal.SIGCONT)

    def close(self) -> None:
        """End the server, however it fares, and the proxy."""
        super().close()
        self.proxy.close()
