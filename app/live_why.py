"""``lifecycle why`` for HTTP: the same answer, beside the worker's work and within bounded time."""

import asyncio
from typing import Protocol

from app.live_member import Unreadable, live_member
from app.web.ports import Unavailable
from app.web.replying import Busy
from app.why_command import Answer, of_life
from config.settings import Settings
from models.member import UnknownVersion
from models.rulebook import RuleBook

PATIENCE_SECONDS = 10.0
"""A member's partitions are read through for the days asked for: a busy shop's may be long."""

AT_ONCE = 2
"""Questions that read topics at once: each takes up to a core while it does."""


class OwnRows(Protocol):
    """This worker's own rows."""

    def row(self, identity: str, *, anonymous: bool) -> tuple[bytes | None, bool]:
        """Return a row, and whether this worker owns its lane."""


class LiveWhy:
    """Reads the topics of one member at a time or two."""

    def __init__(self, settings: Settings, book: RuleBook, own: OwnRows) -> None:
        self._settings = settings
        self._book = book
        self._own = own
        self._free = AT_ONCE

    async def why(
        self, identity: str, anonymous: bool, rule: str | None, since: int | None, chinese: bool
    ) -> Answer | None:
        """Return the answer, or None for an unknown member; raises ``Unavailable`` and ``Busy``."""
        if not self._free:
            raise Busy(f"{AT_ONCE} such questions are being answered already")
        self._free -= 1
        try:
            row, ours = self._own.row(identity, anonymous=anonymous)
            if ours and row is None:
                return None
            return await asyncio.to_thread(
                self._read, (anonymous, identity), row, rule, since, chinese
            )
        except (Unreadable, UnknownVersion) as error:
            raise Unavailable(str(error)) from None
        finally:
            self._free += 1

    def _read(
        self,
        key: tuple[bool, str],
        row: bytes | None,
        rule: str | None,
        since: int | None,
        chinese: bool,
    ) -> Answer | None:
        with live_member(self._settings, key, PATIENCE_SECONDS) as live:
            found = live.row() if row is None else row
            if found is None:
                return None
            return of_life(live, found, rule, self._book, since=since, chinese=chinese)
