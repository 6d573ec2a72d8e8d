"""The way in: a member who is asked for plainly is answered at once, all else goes to aiohttp.

Of a thousand requests in a second nearly all ask for a member's document. On its way through
aiohttp each would take three rounds of the event loop, which the lanes have turns in, and some
objects and tasks that such a request has no use for. Here it is answered in the round in which it
is read.

Only the plain and whole request is known here. Whatever is different in any way (another address
or method, a query, an escape in the id, a body, a header that changes what is to be done, half a
request, somebody who may not ask, a member who is unknown or another worker's) is left to aiohttp,
as it came, together with the connection.
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from email.utils import formatdate
from time import time
from typing import Any

from app.web.access import Access
from app.web.replying import HEADERS, JSON
from app.web.shapes import LONGEST_ID

LONGEST_HEAD = 4096
"""Bytes of a request that are looked through here, whatever comes of it."""

MOST_AT_ONCE = 16
"""Requests of one connection that are answered in one round of the loop: a millisecond or two."""

IDLE_SECONDS = 600.0
"""How long somebody may keep a connection on which nothing is asked."""

_END = b"\r\n\r\n"
# What needs no decoding in an id; of dots alone an address is made a shorter one.
_PLAIN = re.compile(
    rb"GET /members/(?!\.{1,2} )([A-Za-z0-9._~:@-]{1,%d}) HTTP/1\.1\r\n"
    rb"((?:[A-Za-z0-9-]+:[\t\x20-\x7e]*\r\n)+)\r\n" % LONGEST_ID
)
_READ = {b"host": "Host", b"authorization": "Authorization"}
_CHANGING = frozenset({b"content-length", b"transfer-encoding", b"expect", b"upgrade"})
_ANSWER = "".join(
    f"{line}\r\n"
    for line in (
        "HTTP/1.1 200 OK",
        f"Content-Type: {JSON}",
        *(f"{name}: {value}" for name, value in HEADERS.items()),
        "Date: %s",
        "Content-Length: %d",
        "",
    )
)

Own = Callable[[str], bytes | None]
"""Returns the document of a member, if it is here at once."""


class Door:
    """Makes the protocol of each connection; ``others`` makes aiohttp's."""

    def __init__(self, own: Own, access: Access, others: Callable[[], asyncio.Protocol]) -> None:
        self.others = others
        self.open: set[asyncio.Transport] = set()
        """Connections that have not been left to aiohttp."""
        self._own = own
        self._access = access
        self._second = 0
        self._date = ""

    def __call__(self) -> "Visit":
        """Return the protocol of a new connection."""
        return Visit(self)

    def close(self) -> None:
        """Close the connections that have not been left to aiohttp, once all is sent."""
        for transport in list(self.open):
            transport.close()

    def answer(self, head: bytes) -> bytes | None:
        """Return the answer to a whole request; None: it is not for us."""
        plain = _PLAIN.fullmatch(head)
        if plain is None:
            return None
        headers = _headers(plain[2])
        if headers is None:
            return None
        try:
            self._access.check_reading(headers)
            document = self._own(plain[1].decode())
        except Exception:  # whatever it is, aiohttp's way meets it too, and says what
            return None
        return None if document is None else self._head(len(document)) + document

    def _head(self, length: int) -> bytes:
        second = int(time())
        if second != self._second:
            self._second, self._date = second, formatdate(second, usegmt=True)
        return (_ANSWER % (self._date, length)).encode()


class Visit(asyncio.Protocol):
    """One connection."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._transport: Any = None
        self._rest = b""
        self._idle: asyncio.TimerHandle | None = None
        self._asked = False
        self._full = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for a first request, not for ever."""
        self._transport = transport
        self._door.open.add(self._transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Forget it."""
        self._leave()

    def data_received(self, data: bytes) -> None:
        """Answer what is plain; leave the rest, and the connection with it, to aiohttp."""
        self._asked = True
        self._rest += data
        self._go_on()

    def pause_writing(self) -> None:
        """Neither answer nor read: the other side does not read."""
        self._full = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        self._full = False
        self._go_on()

    def _go_on(self) -> None:
        transport = self._transport
        for _ in range(MOST_AT_ONCE):
            if self._full or transport.is_closing():
                return
            if not self._rest:
                transport.resume_reading()
                return
            # A head whose end is not there, or too far away, is no whole one.
            end = self._rest.find(_END, 0, LONGEST_HEAD) + len(_END)
            answer = self._door.answer(self._rest[:end])
            if answer is None:
                self._hand_over()
                return
            transport.write(answer)
            self._rest = self._rest[end:]
        transport.pause_reading()
        asyncio.get_running_loop().call_soon(self._go_on)

    def _hand_over(self) -> None:
        self._leave()
        other, data, self._rest = self._door.others(), self._rest, b""
        self._transport.set_protocol(other)
        self._transport.resume_reading()
        other.connection_made(self._transport)
        other.data_received(data)

    def _wait(self) -> None:
        self._asked = False
        self._idle = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._look)

    def _look(self) -> None:
        if self._asked:
            self._wait()
        else:
            self._transport.close()

    def _leave(self) -> None:
        self._door.open.discard(self._transport)
        if self._idle is not None:
            self._idle.cancel()


def _headers(lines: bytes) -> Mapping[str, str] | None:
    """Return the headers that are read; None when one says that there is more to be done."""
    found: dict[str, str] = {}
    for line in lines.splitlines():
        raw, _, value = line.partition(b":")
        name = raw.lower()
        if name in _READ:
            if _READ[name] in found:
                return None
            found[_READ[name]] = value.strip().decode()
        elif name in _CHANGING or (name == b"connection" and value.strip() != b"keep-alive"):
            return None
    return found if "Host" in found else None
