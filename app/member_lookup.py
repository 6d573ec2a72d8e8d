"""Finding what is known of a member: in our own rows, else in the store, else at its owner."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import quote

import msgspec

from agents.members import ANONYMOUS, MEMBER
from agents.ports import Output
from agents.updates import document_to_keep
from app.redis_client import StoreUnavailable
from app.web.ports import NotHere, Unavailable
from app.web.shapes import Ahead, AheadOf
from models.member import UnknownVersion, decode, due_of
from models.rulebook import RuleBook
from models.times import rfc3339
from models.triggers import MemberUpdate
from models.why import RuleState, rule_state

MOST_AHEAD = 50
"""Deadlines told of one member: the next ones."""

AVOIDED_SECONDS = 1.0
"""How long the store is not asked after it did not answer: each asking may take its time-out."""

_DEADLINE = ("the next deadline of a rule or a stage", "规则或阶段的下一个到期时间")


class DocumentStore(Protocol):
    """Where the documents of other workers' members are found."""

    async def document(self, identity: str, anonymous: bool) -> bytes | None:
        """Return a document or None; raises ``StoreUnavailable``."""


class Asking(Protocol):
    """Asks the worker that owns a lane."""

    async def ask(self, lane: int, path: str) -> bytes | None:
        """Return its answer, None for 404; raises ``Unavailable``."""


@dataclass(slots=True)
class MemberLookup:
    """Answers for any member on any worker."""

    lane_of: Callable[[bytes], int]
    """By the id alone, as producers place it."""
    rows: Callable[[int], Mapping[bytes, bytes] | None]
    """The rows of a lane that this worker works on, else None."""
    project: Callable[[bytes, bytes | None], Sequence[Output]]
    """What readers are told of a row (``Fold.project``)."""
    store: DocumentStore
    owners: Asking
    book: RuleBook
    _avoided_until: float = field(default=0.0, init=False)

    def row(self, identity: str, *, anonymous: bool) -> tuple[bytes | None, bool]:
        """Return a row of our own (None when nothing is known), and whether its lane is ours."""
        key = identity.encode()
        rows = self.rows(self.lane_of(key))
        if rows is None:
            return None, False
        return rows.get((ANONYMOUS if anonymous else MEMBER) + key), True

    def own(self, identity: str) -> bytes | None:
        """Return the JSON document of a member of our own lanes; None: ask for ``document``."""
        row, _ = self.row(identity, anonymous=False)
        return None if row is None else self._document_of(row, identity, anonymous=False)

    async def document(self, identity: str, anonymous: bool, *, here: bool = False) -> bytes | None:
        """Return the member's JSON document; None when nothing is known.

        A row of our own is right at this moment; the store may be a little behind, and when it is
        away, or has nothing (it may have lost what it had), the lane's owner is asked. Raises
        ``Unavailable``, and ``NotHere`` if only ``here``.
        """
        row, ours = self.row(identity, anonymous=anonymous)
        if ours:
            return self._document_of(row, identity, anonymous)
        if here:
            raise _not_here()
        away = "Redis did not answer a moment ago"
        if time.monotonic() >= self._avoided_until:
            try:
                kept = await self.store.document(identity, anonymous)
                if kept is not None:
                    return kept
                away = "Redis has no such document"
            except StoreUnavailable as error:
                self._avoided_until = time.monotonic() + AVOIDED_SECONDS
                away = str(error)
        path = f"/members/{quote(identity, safe='')}?here=1&anonymous={int(anonymous)}"
        try:
            return await self.owners.ask(self.lane_of(identity.encode()), path)
        except Unavailable as error:
            raise Unavailable(f"{away}; {error}") from None

    async def ahead(self, identity: str, *, here: bool = False) -> list[Ahead] | None:
        """Return the member's next deadlines; None when nothing is known.

        Raises ``Unavailable``, and ``NotHere`` if only ``here``.
        """
        row, ours = self.row(identity, anonymous=False)
        if ours:
            if row is None or self._document_of(row, identity, False) is None:
                return None
            return self._ahead_of(row, identity)
        if here:
            raise _not_here()
        path = f"/members/{quote(identity, safe='')}/ahead?here=1"
        try:
            answer = await self.owners.ask(self.lane_of(identity.encode()), path)
        except Unavailable:
            known = await self.document(identity, False)
            return None if known is None else _next_of(known)
        return None if answer is None else msgspec.json.decode(answer, type=AheadOf).ahead

    def _document_of(self, row: bytes | None, identity: str, anonymous: bool) -> bytes | None:
        key = (ANONYMOUS if anonymous else MEMBER) + identity.encode()
        kept = document_to_keep(self.project(key, row)[0].value)
        return None if kept is None else kept.value

    def _ahead_of(self, row: bytes, identity: str) -> list[Ahead]:
        try:
            member = decode(row, identity, False)
        except UnknownVersion as error:
            raise Unavailable(str(error)) from None
        found: list[Ahead] = []
        for rule in self.book.rules.values():
            states = [rule_state(member, rule, self.book, chinese) for chinese in (False, True)]
            found += _of_rule(*states)
        due = due_of(row)
        if due is not None and all(one.at != rfc3339(due) for one in found):
            found.append(Ahead(rfc3339(due), *_DEADLINE))
        return sorted(found, key=lambda one: one.at)[:MOST_AHEAD]


def _of_rule(english: RuleState, chinese: RuleState) -> Iterable[Ahead]:
    for armed, in_chinese in zip(english.armed, chinese.armed, strict=True):
        yield Ahead(armed.due_at, armed.text, in_chinese.text, english.rule)
    for held, in_chinese_too in zip(english.held, chinese.held, strict=True):
        waits = f"waits {held.text}", f"等待{in_chinese_too.text}"
        yield Ahead(held.until, *waits, english.rule)


def _next_of(document: bytes) -> list[Ahead]:
    at = msgspec.json.decode(document, type=MemberUpdate).next_deadline_at
    return [] if at is None else [Ahead(at, *_DEADLINE)]


def _not_here() -> NotHere:
    return NotHere("the member's lane is another worker's")
