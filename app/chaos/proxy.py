"""A TCP proxy on loopback that can delay, drop and black-hole what goes through it."""

import asyncio
import socket
import struct
import threading
from collections.abc import Coroutine, Sequence
from typing import Any, TypeAlias

LOOPBACK = "127.0.0.1"
_CHUNK = 128 << 10
# What is under way in one direction of a connection; then its sender has to wait, as ever.
_CHUNKS_UNDER_WAY = 64
_RESET = struct.pack("ii", 1, 0)

_UnderWay: TypeAlias = "asyncio.Queue[tuple[float, bytes]]"


class Proxy:
    """Ports on 127.0.0.1, each a way to one port there; all share one fate.

    It works from its making until ``close``, in a thread of its own, and may be told what to do
    from any other thread.
    """

    ports: tuple[int, ...]
    """Where it listens, in the order of its targets."""

    def __init__(self, targets: Sequence[int]) -> None:
        """Listen; raises ``OSError``. Nothing needs to listen on the targets yet."""
        self._listeners = [socket.create_server((LOOPBACK, 0), backlog=128) for _ in targets]
        self.ports = tuple(listener.getsockname()[1] for listener in self._listeners)
        self._delay = 0.0
        self._links: set[asyncio.Task[None]] = set()
        self._open = asyncio.Event()
        self._open.set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        for listener, target in zip(self._listeners, targets, strict=True):
            listener.setblocking(False)
            self._loop.create_task(self._listen(listener, target))
        self._thread.start()

    def delay(self, seconds: float) -> None:
        """Let every byte, either way, arrive so much later; 0 ends it."""
        self._delay = seconds

    def drop(self) -> None:
        """Reset all present connections; new ones work."""
        self._do(self._drop())

    def partition(self) -> None:
        """Black-hole both directions: connections stay open, new ones hang, nothing gets through.

        What was sent meanwhile arrives when it is healed, as TCP sends it again, even when its
        sender has given up and gone.
        """
        self._do(self._set_open(False))

    def heal(self) -> None:
        """End partition and delay."""
        self._delay = 0.0
        self._do(self._set_open(True))

    def close(self) -> None:
        """Reset all connections and listen no more."""
        if not self._loop.is_closed():
            self._do(self._drop())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    def _do(self, what: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result()

    def _run(self) -> None:
        try:
            self._loop.run_forever()
            left = asyncio.all_tasks(self._loop)
            for task in left:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        finally:
            for listener in self._listeners:
                listener.close()
            self._loop.close()

    async def _set_open(self, is_open: bool) -> None:
        if is_open:
            self._open.set()
        else:
            self._open.clear()

    async def _drop(self) -> None:
        links = list(self._links)
        for link in links:
            link.cancel()
        await asyncio.gather(*links, return_exceptions=True)

    async def _listen(self, listener: socket.socket, target: int) -> None:
        while True:
            client, _ = await self._loop.sock_accept(listener)
            link = self._loop.create_task(self._link(client, target))
            self._links.add(link)
            link.add_done_callback(self._links.discard)

    async def _link(self, client: socket.socket, target: int) -> None:
        with client, socket.socket() as server:
            try:
                for end in (client, server):
                    end.setblocking(False)
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                await self._open.wait()
                await self._loop.sock_connect(server, (LOOPBACK, target))
                async with asyncio.TaskGroup() as both:
                    self._carry(both, client, server)
                    self._carry(both, server, client)
            except BaseException as error:
                # How one end broke off is how the other sees it: by a reset, not by an end.
                for end in (client, server):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                if not isinstance(error, (OSError, BaseExceptionGroup)):
                    raise

    def _carry(self, tasks: asyncio.TaskGroup, source: socket.socket, to: socket.socket) -> None:
        under_way: _UnderWay = asyncio.Queue(_CHUNKS_UNDER_WAY)
        tasks.create_task(self._take(source, under_way))
        tasks.create_task(self._give(under_way, to))

    async def _take(self, source: socket.socket, under_way: _UnderWay) -> None:
        data = b"?"
        while data:
            data = await self._loop.sock_recv(source, _CHUNK)
            await under_way.put((self._loop.time() + self._delay, data))

    async def _give(self, under_way: _UnderWay, to: socket.socket) -> None:
        while True:
            due, data = await under_way.get()
            early = due - self._loop.time()
            if early > 0 and self._delay:
                await asyncio.sleep(early)
            await self._open.wait()
            if not data:
                break
            await self._loop.sock_sendall(to, data)
        to.shutdown(socket.SHUT_WR)
