"""The console: files of the package, read once."""

import gzip
import hashlib
import re
from dataclasses import dataclass
from importlib import resources

from aiohttp import web

from app.web import shapes
from app.web.replying import Unknown

_PAGE = "index.html"
_NAME = re.compile(r"[a-z][a-z0-9-]*\.(css|js|svg)")
_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True, slots=True)
class _File:
    content_type: str
    body: bytes
    packed: bytes
    tag: str


class Console:
    """Answers the page and what it consists of."""

    def __init__(self) -> None:
        self._files = {
            one.name: _file(one.name, one.read_bytes())
            for one in resources.files("app").joinpath("console").iterdir()
            if one.name == _PAGE or _NAME.fullmatch(one.name)
        }

    async def page(self, request: web.Request, _: shapes.NoQuery) -> web.StreamResponse:
        """Answer the page."""
        return self._answer(request, _PAGE)

    async def asset(self, request: web.Request, _: shapes.NoQuery) -> web.StreamResponse:
        """Answer one of its parts."""
        name = request.match_info["file"]
        return self._answer(request, name if name != _PAGE else "")

    def _answer(self, request: web.Request, name: str) -> web.StreamResponse:
        file = self._files.get(name)
        if file is None:
            raise Unknown("not_found", "the console has no such part")
        headers = {
            "Content-Security-Policy": _POLICY,
            # Asked for each time, and sent only when it has changed.
            "Cache-Control": "no-cache",
            "ETag": file.tag,
            "Vary": "Accept-Encoding",
        }
        if request.headers.get("If-None-Match") == file.tag:
            return web.Response(status=304, headers=headers)
        headers["Content-Type"] = file.content_type
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            return web.Response(body=file.packed, headers=headers | {"Content-Encoding": "gzip"})
        return web.Response(body=file.body, headers=headers)


def _file(name: str, body: bytes) -> _File:
    ending = name.rpartition(".")[2]
    tag = hashlib.sha256(body).hexdigest()[:20]
    return _File(_TYPES[ending], body, gzip.compress(body, 9), f'"{tag}"')
