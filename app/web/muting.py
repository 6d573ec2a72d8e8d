"""Muting a member over HTTP: who may was checked before."""

import msgspec
from aiohttp import web

from app.web import replying, shapes
from app.web.instants import instant
from app.web.members import identity_of, unknown
from app.web.ports import Sources, Unavailable
from app.web.replying import BadRequest
from models.times import rfc3339


class MutePages:
    """Mutes and unmutes."""

    def __init__(self, sources: Sources) -> None:
        self._of = sources

    async def mute(self, request: web.Request, _: shapes.NoQuery) -> web.StreamResponse:
        """Mute until an instant."""
        try:
            wanted = msgspec.json.decode(await _body(request), type=shapes.MuteRequest)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadRequest(f"the body is not what it must be: {error}") from None
        until = instant(str(wanted.until), "until")
        return await self._say(request, until, wanted.reason, wanted.by)

    async def unmute(self, request: web.Request, _: shapes.NoQuery) -> web.StreamResponse:
        """End it."""
        return await self._say(request, None, None, None)

    async def _say(
        self, request: web.Request, until: int | None, reason: str | None, by: str | None
    ) -> web.StreamResponse:
        identity = identity_of(request)
        try:
            known = await self._of.members.document(identity, False, here=False)
        except Unavailable:  # who asks to be left alone is, known or not
            known = b""
        if known is None:
            raise unknown(identity)
        who = f"http {request.remote}" if by is None else f"{by} (http {request.remote})"
        try:
            event_id, at = await self._of.mutes.mute(identity, until, reason, who)
        except ValueError as error:
            raise BadRequest(f"until: {error}") from None
        return replying.reply(shapes.Muted(event_id, rfc3339(at)), 202)


async def _body(request: web.Request) -> bytes:
    """Return the whole body; raises ``BadRequest`` of one that did not come as its head says."""
    try:
        return await request.read()
    except web.RequestPayloadError:
        raise BadRequest("the body is not packed as its head says") from None
    except ConnectionError:  # nobody is there any more
        raise BadRequest("the body ended too early") from None
