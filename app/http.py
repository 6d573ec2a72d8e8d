"""What a worker answers over HTTP: its health, its metrics, and members."""

import errno
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

log = logging.getLogger(__name__)

PORTS_TRIED = 100
"""A machine with more workers than this has its ports given to it."""

SHUTDOWN_SECONDS = 1.0
"""What an answer under way may take when the worker stops: part of the 5 seconds of a stop."""

LONGEST_ID = 128

_LISTED = {
    "/healthz": "200 while the worker's loop turns",
    "/readyz": "200 when its lanes are assigned and recovered, else 503 and why not",
    "/metrics": "Prometheus",
    "/members/{id}": "what is known of a member; ?anonymous=1 for an anonymous id",
}


class LookupUnavailable(Exception):
    """Whether the member is known cannot be told now; the message says why."""


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the worker is ready: it is when there is no reason why not."""

    waiting_for: tuple[str, ...] = ()
    """Sentences for whoever waits."""

    @property
    def ready(self) -> bool:
        """Return whether the lanes work."""
        return not self.waiting_for


@dataclass(frozen=True, slots=True)
class Answers:
    """Where the answers come from."""

    health: Callable[[], Health]
    metrics: Callable[[str], tuple[bytes, str]]
    """By an ``Accept`` header: the body and its content type."""
    member: Callable[[str, bool], Awaitable[bytes | None]]
    """The JSON document of an id (True: an anonymous one), or None; raises LookupUnavailable."""


def create_web(answers: Answers) -> web.Application:
    """Return the pages as an aiohttp application."""
    pages = _Pages(answers)
    app = web.Application(middlewares=[_errors_as_json])
    app.router.add_get("/", pages.index)
    app.router.add_get("/healthz", pages.healthz)
    app.router.add_get("/readyz", pages.readyz)
    app.router.add_get("/metrics", pages.metrics)
    app.router.add_get("/members/{id}", pages.member)
    return app


class HttpServer:
    """The pages on a port of the running event loop."""

    def __init__(self, answers: Answers) -> None:
        self._runner = web.AppRunner(
            create_web(answers), access_log=None, shutdown_timeout=SHUTDOWN_SECONDS
        )

    async def start(self, host: str, port: int) -> str:
        """Listen on ``port`` or, if it is taken, on the next free one; return the URL.

        Raises ``OSError`` when the host is not ours or all of a hundred ports are taken.
        """
        await self._runner.setup()
        last = min(port + PORTS_TRIED - 1, 65535)
        for candidate in range(port, last + 1):
            try:
                await web.TCPSite(self._runner, host.strip("[]"), candidate).start()
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
        await self._runner.cleanup()


class _Pages:
    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    async def index(self, _: web.Request) -> web.Response:
        return _json(200, {"name": "member-lifecycle", "endpoints": _LISTED})

    async def healthz(self, _: web.Request) -> web.Response:
        return _json(200, {"status": "ok"})

    async def readyz(self, _: web.Request) -> web.Response:
        health = self._answers.health()
        if health.ready:
            return _json(200, {"status": "ready"})
        reason = "; ".join(health.waiting_for)
        return _json(503, {"error": "not_ready", "reason": reason, "reasons": health.waiting_for})

    async def metrics(self, request: web.Request) -> web.Response:
        body, content_type = self._answers.metrics(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def member(self, request: web.Request) -> web.Response:
        identity = request.match_info["id"]
        if len(identity) > LONGEST_ID:
            return _error(400, "bad_request", f"an id has at most {LONGEST_ID} characters")
        said = request.query.get("anonymous", "0")
        if said not in ("0", "1"):
            return _error(400, "bad_request", "anonymous must be 0 or 1")
        try:
            document = await self._answers.member(identity, said == "1")
        except LookupUnavailable as error:
            return _error(503, "unavailable", str(error))
        if document is None:
            kind = "anonymous id" if said == "1" else "member"
            return _error(404, "unknown_member", f"there is no {kind} {identity!r}")
        return web.Response(body=document, content_type="application/json")


@web.middleware
async def _errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        response = await handler(request)
    except web.HTTPException as error:
        code = error.reason.lower().replace(" ", "_")
        response = _error(error.status, code, f"{request.method} {request.path}: {error.reason}")
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
    except Exception:
        log.exception("%s of a page failed", request.method)
        response = _error(500, "internal", "this failed unexpectedly; the worker's log says how")
    # A member's document is personal, and none of this is true for long.
    response.headers["Cache-Control"] = "no-store"
    return response


def _error(status: int, error: str, reason: str) -> web.Response:
    return _json(status, {"error": error, "reason": reason})


def _json(status: int, body: Mapping[str, Any]) -> web.Response:
    return web.json_response(
        body, status=status, dumps=lambda said: json.dumps(said, ensure_ascii=False)
    )
