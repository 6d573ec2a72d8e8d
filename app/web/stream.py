"""What happens, while it happens: server-sent events to everybody who watches.

One task of the worker asks Redis while anybody watches, whoever many they are, and hands each of
them the same bytes. Who reads too slowly is let go; a browser comes back by itself, says what it
saw last, and gets what it missed.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any

import msgspec
from aiohttp import web

from agents.tasks import ended
from app.redis_client import StoreUnavailable
from app.web import shapes
from app.web.figures import Figures
from app.web.ports import Observed, Sources
from app.web.replying import Busy, safe_headers
from models.times import rfc3339

log = logging.getLogger(__name__)

MOST_CLIENTS = 50
"""Who watches at one worker at once."""

WAITING = 40
"""How many askings' events may wait for a client that does not read: ten seconds' at least."""

CAUGHT_UP = 1000
"""Entries of the feed that a client gets that comes back: as many as are kept."""

ASK_SECONDS = 0.25
LIVE_SECONDS = 1.0
STAGES_SECONDS = 2.0
HEARTBEAT_SECONDS = 10.0
WRITE_SECONDS = 5.0
"""How long a client may take nothing of what has been sent before it is let go."""

RETRY_MS = 1000

_encode = msgspec.json.Encoder().encode
_Place = tuple[int, int]
_Told = tuple[_Place | None, bytes]
"""An event as it is sent, and where it stands in the feed, if there."""


class _Client:
    """Somebody who watches."""

    def __init__(self) -> None:
        self.waiting: asyncio.Queue[list[_Told] | None] = asyncio.Queue(WAITING)
        self.too_slow = False

    def tell(self, events: list[_Told]) -> None:
        try:
            self.waiting.put_nowait(events)
        except asyncio.QueueFull:
            self.too_slow = True
            self.end()

    def end(self) -> None:
        """Let it go, without what waits for it."""
        while not self.waiting.empty():
            self.waiting.get_nowait()
        self.waiting.put_nowait(None)


class Stream:
    """Everybody who watches, and the task that asks for them."""

    def __init__(self, sources: Sources, figures: Figures) -> None:
        self._of = sources
        self._observed: Observed = sources.observed
        self._figures = figures
        self._clients: set[_Client] = set()
        self._task: asyncio.Task[None] | None = None
        self._asks = False
        self._closed = False

    # --- watching ---

    async def answer(self, request: web.Request, query: shapes.StreamQuery) -> web.StreamResponse:
        """Send events until the client, or the worker, goes."""
        after = _seen_last(request, query)
        if self._closed or len(self._clients) >= MOST_CLIENTS:
            raise Busy(f"{MOST_CLIENTS} watch at this worker already")
        client = _Client()
        self._clients.add(client)
        try:
            if self._task is None:
                self._task = asyncio.create_task(self._ask(), name="stream")
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            safe_headers(response)
            await response.prepare(request)
            try:
                await self._send(response, client, after)
            except TimeoutError:
                client.too_slow = True
            except ConnectionError:  # it has gone
                pass
            if client.too_slow and request.transport is not None:
                request.transport.abort()
            return response
        finally:
            self._clients.discard(client)

    async def _send(self, response: web.StreamResponse, client: _Client, after: str | None) -> None:
        await _write(response, b"retry: %d\n\n" % RETRY_MS)
        sent = (0, 0)
        while True:
            try:
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    told = await client.waiting.get()
            except TimeoutError:
                await _write(response, b": still here\n\n")
                continue
            if told is None:
                return
            if after is not None and self._asks:
                # What was missed, now that nothing can be missed from here on.
                with suppress(StoreUnavailable):
                    async for place, event in self._missed(after):
                        sent = place
                        await _write(response, event)
                    after = None
            new = [
                event for place, event in told if place is None or (after is None and place > sent)
            ]
            if new:
                await _write(response, b"".join(new))

    async def _missed(self, after: str) -> AsyncIterator[tuple[_Place, bytes]]:
        while True:
            found = await self._observed.feed(after, CAUGHT_UP)
            for name, entry in found:
                yield _place(name), _feed_event(name, entry)
            if len(found) < CAUGHT_UP:
                return
            after = found[-1][0]

    # --- asking ---

    async def _ask(self) -> None:
        """Ask as long as anybody watches."""
        try:
            asking = _Asking(self._of, self._observed, self._figures)
            while self._clients and not self._closed:
                try:
                    events = await asking.ask()
                except StoreUnavailable:
                    events = asking.away()
                except Exception:
                    log.exception("asking for those who watch failed")
                    events = asking.away()
                self._asks = asking.newest is not None
                if events:
                    for client in list(self._clients):
                        client.tell(events)
                await asyncio.sleep(ASK_SECONDS)
        finally:
            self._task, self._asks = None, False

    async def close(self) -> None:
        """Let everybody go: the worker stops."""
        self._closed = True
        for client in list(self._clients):
            client.end()
        await ended(self._task)


class _Asking:
    """Asks for what is new, each at its own pace."""

    def __init__(self, sources: Sources, observed: Observed, figures: Figures) -> None:
        self._of = sources
        self._observed = observed
        self._figures = figures
        self.newest: str | None = None
        """The entry up to which the feed has been asked for; None before the first answer."""
        self._live_at = self._stages_at = float("-inf")
        self._stages: bytes | None = None
        self._counted: tuple[float, int] | None = None

    async def ask(self) -> list[_Told]:
        """Return what is new; raises ``StoreUnavailable``."""
        events: list[_Told] = []
        events += await self._feed()
        now = time.monotonic()
        if now - self._live_at >= LIVE_SECONDS:
            self._live_at = now
            events.append((None, _event(b"live", self._live("up", await self._counters(now)))))
        if now - self._stages_at >= STAGES_SECONDS:
            self._stages_at = now
            stages = _event(b"stages", await self._figures.stages())
            if stages != self._stages:
                self._stages = stages
                events.append((None, stages))
        return events

    def away(self) -> list[_Told]:
        """Return, each second, that nothing can be told."""
        now = time.monotonic()
        if now - self._live_at < LIVE_SECONDS:
            return []
        self._live_at, self._counted = now, None
        return [(None, _event(b"live", self._live("away", shapes.Counters())))]

    async def _feed(self) -> list[_Told]:
        if self.newest is None:
            # Who needs what is older asks for it by itself.
            newest = await self._observed.feed(None, 1)
            self.newest = newest[-1][0] if newest else "0-0"
            return []
        found = await self._observed.feed(self.newest, CAUGHT_UP)
        if found:
            self.newest = found[-1][0]
        return [(_place(name), _feed_event(name, entry)) for name, entry in found]

    async def _counters(self, now: float) -> shapes.Counters:
        totals = await self._figures.totals()
        counters = shapes.Counters(**msgspec.structs.asdict(totals))
        events = counters.events or 0
        before, self._counted = self._counted, (now, events)
        if before is None or now <= before[0]:
            return counters
        rate = max(events - before[1], 0) / (now - before[0])
        return msgspec.structs.replace(counters, events_per_second=round(rate, 1))

    def _live(self, redis: str, counters: shapes.Counters) -> Mapping[str, Any]:
        return {"now": rfc3339(self._of.now()), "redis": redis, "counters": counters}


def _seen_last(request: web.Request, query: shapes.StreamQuery) -> str | None:
    """Return the entry after which to go on; a header that is none of ours is not looked at."""
    said = request.headers.get("Last-Event-ID", "")
    milliseconds, _, number = said.partition("-")
    if _is_number(milliseconds) and _is_number(number):
        return said
    return query.after


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20


def _place(name: str) -> _Place:
    milliseconds, _, number = name.partition("-")
    return int(milliseconds), int(number)


def _feed_event(name: str, entry: Mapping[str, Any]) -> bytes:
    return b"id: %s\n%s" % (name.encode(), _event(b"feed", {**entry, "id": name}))


def _event(name: bytes, data: Any) -> bytes:
    # JSON has no line breaks of its own, so that one data line holds it.
    return b"event: %s\ndata: %s\n\n" % (name, _encode(data))


async def _write(response: web.StreamResponse, event: bytes) -> None:
    async with asyncio.timeout(WRITE_SECONDS):
        await response.write(event)
