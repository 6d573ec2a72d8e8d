"""A worker's pages on a real socket, over sources that a test decides."""

import json
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from app.options import book_of
from app.redis_client import StoreUnavailable
from app.web.access import Access
from app.web.ports import Health, Sources
from app.web.server import HttpServer
from app.web.shapes import Ahead
from app.why_command import Answer
from config.settings import load_settings
from config.settings_kinds import Secret
from models.model import Model
from models.rulebook import RuleBook

TOKEN = "open sesame"
PLACE = "-" + "a" * 16
NOW = 1_795_255_200_000  # 2026-11-21T10:00:00Z


def shipped_book() -> RuleBook:
    return book_of(None, load_settings({}))


BOOK = shipped_book()


@dataclass
class World:
    """What the pages are about; each part may be made to fail by ``error``."""

    waiting: tuple[str, ...] = ()
    documents: dict[tuple[str, bool], bytes] = field(default_factory=dict)
    elsewhere: set[str] = field(default_factory=set)
    what_is_ahead: dict[str, list[Ahead]] = field(default_factory=dict)
    timelines: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    orders: dict[str, str] = field(default_factory=dict)
    contacts: dict[str, str] = field(default_factory=dict)
    by_stage: dict[str, list[tuple[str, int]]] = field(default_factory=dict)
    by_risk: list[tuple[str, float]] = field(default_factory=list)
    counted: dict[str, int] = field(default_factory=dict)
    in_stages: dict[str, int] = field(default_factory=dict)
    flown: list[dict[str, Any]] = field(default_factory=list)
    counts: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)
    entries: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    answers: dict[str, Answer] = field(default_factory=dict)
    muted: list[tuple[str, int | None, str | None, str]] = field(default_factory=list)
    newest_model: Model | None = None
    open_breakers: set[str] = field(default_factory=set)
    error: Exception | None = None
    redis_away: bool = False
    feeds_asked: int = 0

    # --- the ports ---

    def _fail(self) -> None:
        if self.error is not None:
            raise self.error
        if self.redis_away:
            raise StoreUnavailable("Redis: connection refused")

    def metrics(self, accept: str) -> tuple[bytes, str]:
        return b"lifecycle_ready 1\n", "text/plain; version=0.0.4; charset=utf-8"

    def own(self, identity: str) -> bytes | None:
        if self.error is not None or identity in self.elsewhere:
            return None
        return self.documents.get((identity, False))

    async def document(self, identity: str, anonymous: bool, *, here: bool) -> bytes | None:
        from app.web.ports import NotHere

        if self.error is not None:
            raise self.error
        if here and identity in self.elsewhere:
            raise NotHere("the member's lane is another worker's")
        return self.documents.get((identity, anonymous))

    async def ahead(self, identity: str, *, here: bool) -> list[Ahead] | None:
        if await self.document(identity, False, here=here) is None:
            return None
        return self.what_is_ahead.get(identity, [])

    async def ids_by_stage(self, stage: str, offset: int, limit: int) -> list[tuple[str, int]]:
        self._fail()
        return self.by_stage.get(stage, [])[offset : offset + limit]

    async def ids_by_risk(self, offset: int, limit: int) -> list[tuple[str, float]]:
        self._fail()
        return self.by_risk[offset : offset + limit]

    async def timeline(
        self, identity: str, limit: int = 100, before: str | None = None
    ) -> tuple[list[dict[str, Any]], str | None]:
        from models.times import parse_instant

        self._fail()
        known = self.timelines.get(identity, [])
        if before is None:
            first = 0
        elif before.endswith(PLACE):
            first = int(before.removesuffix(PLACE))
        else:
            at = parse_instant(before)
            first = sum(parse_instant(one["at"]) >= at for one in known)
        last = first + limit
        return known[first:last], f"{last}{PLACE}" if last < len(known) else None

    async def member_by_order(self, order: str) -> str | None:
        self._fail()
        return self.orders.get(order)

    async def member_by_contact(self, digest: str) -> str | None:
        self._fail()
        return self.contacts.get(digest)

    async def lifecycle(self) -> Mapping[str, Any]:
        self._fail()
        return {"active": {"day": 3}}

    async def rule_counts(self, days: int = 14) -> Mapping[str, Mapping[str, Mapping[str, int]]]:
        self._fail()
        return self.counts

    async def feed(
        self, after_id: str | None, limit: int
    ) -> Sequence[tuple[str, Mapping[str, Any]]]:
        self._fail()
        self.feeds_asked += 1
        if after_id is None:
            return self.entries[-limit:]
        return [one for one in self.entries if place(one[0]) > place(after_id)][:limit]

    async def totals(self) -> Mapping[str, int]:
        self._fail()
        return self.counted

    async def stages(self) -> Mapping[str, int]:
        self._fail()
        return self.in_stages

    async def flows(self) -> Sequence[Mapping[str, Any]]:
        self._fail()
        return self.flown

    async def why(
        self, identity: str, anonymous: bool, rule: str | None, since: int | None, chinese: bool
    ) -> Answer | None:
        self._fail()
        return self.answers.get(identity)

    async def mute(
        self, identity: str, until: int | None, reason: str | None, by: str
    ) -> tuple[str, int]:
        if self.error is not None:
            raise self.error
        self.muted.append((identity, until, reason, by))
        return "e1", NOW if until is None else until

    # --- what tests say ---

    def happen(self, milliseconds: int, **fields: Any) -> None:
        """Put an entry into the feed."""
        entry = {
            "at": "2026-11-21T10:00:00.000Z",
            "kind": "trigger",
            "member_id": "m1",
            "text": f"number {milliseconds}",
        }
        self.entries.append((f"{milliseconds}-0", entry | fields))

    def sources(self) -> Sources:
        return Sources(
            health=lambda: Health(self.waiting),
            metrics=self.metrics,
            members=self,
            lists=self,
            observed=self,
            report=lambda: None,
            mutes=self,
            whys=self,
            book=BOOK,
            model=lambda: self.newest_model,
            drift=lambda: False,
            breakers=lambda: dict.fromkeys(self.open_breakers, True),
            now=lambda: NOW,
        )


def place(name: str) -> tuple[int, int]:
    milliseconds, _, number = name.partition("-")
    return int(milliseconds), int(number)


@asynccontextmanager
async def served(
    world: World, token: str = TOKEN, *, loopback: bool = True
) -> AsyncIterator[aiohttp.ClientSession]:
    """The pages on a port; a session that asks them."""
    server = HttpServer(world.sources(), Access(Secret(token), loopback))
    url = await server.start("127.0.0.1", free_port())
    try:
        async with aiohttp.ClientSession(url) as session:
            yield session
    finally:
        await server.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def get(session: aiohttp.ClientSession, path: str, **more: Any) -> tuple[int, Any]:
    """Status and JSON body."""
    async with session.get(path, **more) as response:
        assert response.content_type == "application/json"
        return response.status, json.loads(await response.read())
