"""What is asked about one member, or about whom."""

import re
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from app.web import replying, shapes
from app.web.figures import is_trusted
from app.web.instants import instant
from app.web.ports import Sources, Unavailable
from app.web.replying import BadRequest, Unknown
from config.reading import suggestion
from models.times import rfc3339

_DECIDED = frozenset({"decision", "trigger", "cancelled"})


def identity_of(request: web.Request) -> str:
    """Return the id in the address; raises ``BadRequest`` when it is longer than any."""
    identity = request.match_info["id"]
    if len(identity) > shapes.LONGEST_ID:
        raise BadRequest(f"an id has at most {shapes.LONGEST_ID} characters")
    return identity


def unknown(identity: str, *, anonymous: bool = False) -> Unknown:
    """Return that nothing is known of an id."""
    kind = "anonymous id" if anonymous else "member"
    return Unknown("unknown_member", f"there is no {kind} {identity!r}")


class MemberPages:
    """Answers about members."""

    def __init__(self, sources: Sources) -> None:
        self._of = sources

    async def document(
        self, request: web.Request, query: shapes.DocumentQuery
    ) -> web.StreamResponse:
        """Answer the member's document, byte for byte as it is kept."""
        identity, anonymous = identity_of(request), query.anonymous == "1"
        found = await self._of.members.document(identity, anonymous, here=query.here == "1")
        if found is None:
            raise unknown(identity, anonymous=anonymous)
        return replying.raw(found)

    async def decisions(self, request: web.Request, query: shapes.LimitQuery) -> web.StreamResponse:
        """Answer what was decided."""
        identity = identity_of(request)
        entries, _ = await self._entries(identity, shapes.ENTRIES, None)
        decided = [entry for entry in entries if entry.get("kind") in _DECIDED][: query.limit]
        return replying.reply({"member_id": identity, "decisions": decided})

    async def timeline(
        self, request: web.Request, query: shapes.TimelineQuery
    ) -> web.StreamResponse:
        """Answer what happened and what is ahead."""
        identity = identity_of(request)
        entries, following = await self._entries(identity, query.limit, _place(query.before))
        try:
            ahead = await self._of.members.ahead(identity, here=False) or []
        except Unavailable:  # what happened is told all the same
            ahead = []
        return replying.reply(
            {"member_id": identity, "entries": entries, "ahead": ahead, "next": following}
        )

    async def ahead(self, request: web.Request, query: shapes.HereQuery) -> web.StreamResponse:
        """Answer what is ahead."""
        identity = identity_of(request)
        ahead = await self._of.members.ahead(identity, here=query.here == "1")
        if ahead is None:
            raise unknown(identity)
        return replying.reply({"member_id": identity, "ahead": ahead})

    async def why(self, request: web.Request, query: shapes.WhyQuery) -> web.StreamResponse:
        """Answer what ``lifecycle why`` does."""
        identity, anonymous = identity_of(request), query.anonymous == "1"
        rules = self._of.book.rules
        if query.rule is not None and query.rule not in rules:
            hint = suggestion(query.rule, rules)
            raise Unknown("unknown_rule", f"there is no rule {query.rule!r}{hint}")
        since = None if query.since is None else instant(query.since, "since")
        chinese = query.language == "zh"
        answer = await self._of.whys.why(identity, anonymous, query.rule, since, chinese)
        if answer is None:
            raise unknown(identity, anonymous=anonymous)
        return replying.reply(answer)

    async def lookup(self, _: web.Request, query: shapes.LookupQuery) -> web.StreamResponse:
        """Answer whose id, order or contact it is."""
        match (query.id, query.order, query.contact):
            case (str(identity), None, None):
                known = await self._of.members.document(identity, False, here=False)
                found = None if known is None else identity
            case (None, str(order), None):
                found = await self._of.observed.member_by_order(order)
            case (None, None, str(contact)):
                found = await self._of.observed.member_by_contact(contact.lower())
            case _:
                raise BadRequest("ask for one of id, order and contact")
        if found is None:
            raise Unknown("unknown_member", "there is no member of that id, order or contact")
        return replying.reply(shapes.Found(found))

    async def members(self, _: web.Request, query: shapes.ListQuery) -> web.StreamResponse:
        """Answer members of a stage, or those most likely to leave."""
        listed: list[Any]
        trusted: bool | None = None
        lists = self._of.lists
        match (query.stage, query.risk):
            case (str(stage), None):
                by_stage = await lists.ids_by_stage(stage, query.offset, query.limit)
                listed = [shapes.ListedMember(one, since=rfc3339(at)) for one, at in by_stage]
            case (None, str()):
                by_risk = await lists.ids_by_risk(query.offset, query.limit)
                listed = [shapes.ListedMember(one, churn=churn) for one, churn in by_risk]
                model = self._of.model()
                trusted = model is not None and is_trusted(model)
            case _:
                raise BadRequest("ask for one of stage and risk")
        return replying.reply(shapes.Members(listed, trusted))

    async def _entries(
        self, identity: str, limit: int, before: str | None
    ) -> tuple[Sequence[Any], str | None]:
        """Return a timeline and where it goes on; raises ``Unknown`` of no member."""
        entries, following = await self._of.observed.timeline(identity, limit, before)
        if not entries and await self._of.members.document(identity, False, here=False) is None:
            raise unknown(identity)
        return entries, following


def _place(before: str | None) -> str | None:
    """Return a place in a timeline as it is, an instant as RFC 3339; raises ``BadRequest``."""
    if before is None or re.fullmatch(shapes.PLACE, before):
        return before
    return rfc3339(instant(before, "before"))
