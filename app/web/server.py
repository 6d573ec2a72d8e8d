"""The port: every endpoint on it, started and stopped with the worker."""

import asyncio
import errno
import json
import logging
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from aiohttp import web

from app.web import openapi, replying, shapes
from app.web.access import Access
from app.web.console import Console
from app.web.door import Door
from app.web.endpoints import ENDPOINTS, Endpoint
from app.web.figures import FigurePages, Figures
from app.web.members import MemberPages
from app.web.muting import MutePages
from app.web.ports import Sources
from app.web.replying import BadRequest, refusing
from app.web.stream import Stream

log = logging.getLogger(__name__)

PORTS_TRIED = 100
"""A machine with more workers than this has its ports given to it."""

SHUTDOWN_SECONDS = 1.0
"""What an answer under way may take when the worker stops: part of the 5 seconds of a stop."""

LARGEST_BODY = 16 * 1024

Page = Callable[[web.Request, Any], Awaitable[web.StreamResponse]]


def create_web(sources: Sources, access: Access) -> web.Application:
    """Return the pages as an aiohttp application."""
    figures = Figures(sources)
    stream = Stream(sources, figures)
    pages = _pages(sources, figures, stream)
    app = web.Application(middlewares=[refusing], client_max_size=LARGEST_BODY)
    for endpoint in ENDPOINTS:
        handler = _handler(endpoint, pages[endpoint.name], access)
        # aiohttp's own ``{id}`` takes no braces; an id may have any character (a slash, encoded).
        path = endpoint.path.replace("{id}", "{id:[^/]+}")
        if endpoint.method == "GET":
            app.router.add_get(path, handler, allow_head=endpoint.name != "stream")
        else:
            app.router.add_route(endpoint.method, path, handler)

    async def close(_: web.Application) -> None:
        await stream.close()

    app.on_shutdown.append(close)
    return app


def _pages(sources: Sources, figures: Figures, stream: Stream) -> Mapping[str, Page]:
    """Return what answers each endpoint, by name."""
    members, mutes = MemberPages(sources), MutePages(sources)
    about, console = FigurePages(sources, figures), Console()
    return {
        "healthz": about.healthz,
        "readyz": about.readyz,
        "metrics": about.metrics,
        "api": _fixed(_listed()),
        "openapi": _fixed(json.dumps(openapi.document(), ensure_ascii=False).encode()),
        "document": members.document,
        "decisions": members.decisions,
        "timeline": members.timeline,
        "ahead": members.ahead,
        "why": members.why,
        "mute": mutes.mute,
        "unmute": mutes.unmute,
        "lookup": members.lookup,
        "members": members.members,
        "stages": about.stages,
        "lifecycle": about.lifecycle,
        "rules": about.rules,
        "model": about.model,
        "live": about.live,
        "stream": stream.answer,
        "console": console.page,
        "asset": console.asset,
    }


def _listed() -> bytes:
    listed = {f"{one.method} {one.path}": one.about for one in ENDPOINTS}
    return msgspec.json.encode(shapes.Listed("member-lifecycle", listed))


def _fixed(body: bytes) -> Page:
    async def answer(_: web.Request, __: shapes.NoQuery) -> web.StreamResponse:
        return replying.raw(body)

    return answer


def _handler(
    endpoint: Endpoint, page: Page, access: Access
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    query = endpoint.query
    nothing = query is shapes.NoQuery
    needs = endpoint.needs

    async def handle(request: web.Request) -> web.StreamResponse:
        if needs == "reading":
            access.check_reading(request.headers)
        elif needs == "changing":
            access.check_changing(request.headers)
        return await page(request, shapes.NoQuery() if nothing else _asked(request, query))

    return handle


def _asked(request: web.Request, query: type) -> Any:
    """Return what is asked; raises ``BadRequest``. What is unknown is not looked at."""
    given: dict[str, str] = {}
    known = query.__struct_fields__  # type: ignore[attr-defined]  # every query is a Struct
    for name, value in request.query.items():
        if name in known:
            if name in given:
                raise BadRequest(f"{name} is given more than once")
            given[name] = value
    try:
        return msgspec.convert(given, query, strict=False)
    except msgspec.ValidationError as error:
        raise BadRequest(str(error)) from None


class Quiet(logging.LoggerAdapter[logging.Logger]):
    """Tells in one line what aiohttp met: its own lines hold what was asked, and tracebacks."""

    def exception(  # type: ignore[override]
        self, *_: object, exc_info: BaseException | None = None, **__: object
    ) -> None:
        """Say which kind of error it was."""
        error = sys.exc_info()[1] if exc_info is None else exc_info
        self.logger.warning("a request could not be answered: %s", type(error).__name__)

    def debug(self, *_: object, **__: object) -> None:
        """Say nothing."""


class HttpServer:
    """The pages on a port of the running event loop."""

    def __init__(self, sources: Sources, access: Access) -> None:
        self._own = sources.members.own
        self._access = access
        self._door: Door | None = None
        self._listening: asyncio.Server | None = None
        self._runner = web.AppRunner(
            create_web(sources, access),
            access_log=None,
            logger=Quiet(log),
            shutdown_timeout=SHUTDOWN_SECONDS,
        )

    async def start(self, host: str, port: int) -> str:
        """Listen on ``port`` or, if it is taken, on the next free one; return the URL.

        Raises ``OSError`` when the host is not ours or all of a hundred ports are taken.
        """
        await self._runner.setup()
        others = self._runner.server
        assert others is not None
        self._door = door = Door(self._own, self._access, others)
        loop = asyncio.get_running_loop()
        last = min(port + PORTS_TRIED - 1, 65535)
        for candidate in range(port, last + 1):
            try:
                self._listening = await loop.create_server(door, host.strip("[]"), candidate)
            except OSError as error:
                if error.errno != errno.EADDRINUSE or candidate == last:
                    await self.stop()
                    raise
            else:
                break
        shown = f"[{host.strip('[]')}]" if ":" in host else host
        return f"http://{shown}:{candidate}"

    async def stop(self) -> None:
        """Finish what is being answered, briefly, and stop listening."""
        if self._listening is not None:
            self._listening.close()
        if self._door is not None:
            self._door.close()
        await self._runner.cleanup()
