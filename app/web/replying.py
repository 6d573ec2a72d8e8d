"""How answers and refusals look: JSON, never cached, with a reason and without a stack trace."""

import logging
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from app.redis_client import StoreUnavailable
from app.web.access import Refused
from app.web.ports import NotHere, Unavailable
from app.web.shapes import Problem

log = logging.getLogger(__name__)

JSON = "application/json"
HEADERS = {
    "Server": "member-lifecycle",
    # A member's document is personal, and none of this is true for long.
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_encode = msgspec.json.Encoder().encode


class BadRequest(Exception):
    """What was asked is not well formed; the message says what is wrong, in one sentence."""


class Unknown(Exception):
    """There is no such thing; ``error`` is its word for programs."""

    def __init__(self, error: str, reason: str) -> None:
        super().__init__(reason)
        self.error = error


class Busy(Exception):
    """Too many ask at once; the message says of what."""


def reply(body: Any, status: int = 200) -> web.Response:
    """Return anything that msgspec knows as JSON."""
    return raw(_encode(body), status)


def raw(body: bytes, status: int = 200) -> web.Response:
    """Return what is JSON already."""
    return web.Response(body=body, status=status, content_type=JSON)


def refusal(status: int, error: str, reason: str) -> web.Response:
    """Return why there is no other answer."""
    return reply(Problem(error, reason), status)


def safe_headers(response: web.StreamResponse) -> None:
    """Set what every answer says to browsers, where the answer does not say otherwise."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)


@web.middleware
async def refusing(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn what handlers raise into answers, and set the headers of all."""
    response = await _answer(request, handler)
    if not response.prepared:
        safe_headers(response)
    return response


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except BadRequest as error:
        return refusal(400, "bad_request", str(error))
    except Refused as error:
        response = refusal(
            error.status, {401: "unauthorized", 403: "forbidden"}[error.status], str(error)
        )
        if error.status == 401:
            response.headers["WWW-Authenticate"] = 'Bearer realm="member-lifecycle"'
        return response
    except Unknown as error:
        return refusal(404, error.error, str(error))
    except NotHere as error:
        return refusal(421, "not_here", str(error))
    except (StoreUnavailable, Unavailable) as error:
        return refusal(503, "unavailable", str(error))
    except Busy as error:
        response = refusal(503, "busy", str(error))
        response.headers["Retry-After"] = "5"
        return response
    except web.HTTPException as error:
        code = error.reason.lower().replace(" ", "_")
        response = refusal(error.status, code, f"{request.method} of that address: {error.reason}")
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        return response
    except Exception:
        log.exception("%s of a page failed", request.method)
        return refusal(500, "internal", "this failed unexpectedly; the worker's log says how")
