"""Asking the worker that owns a lane over HTTP, as workers do when Redis is away.

Who owns which lane, and where it listens, comes with the group's assignment
(``agents.fastlane.assignor``): it is known as long as there is a Kafka to work on.
"""

from collections.abc import Callable

import aiohttp
from yarl import URL

from app.web.ports import Unavailable
from config.settings_kinds import Secret

SECONDS = 2.0
"""How long one may take."""


class Owners:
    """Asks owners, each by its address."""

    def __init__(self, address_of: Callable[[int], str | None], token: Secret) -> None:
        """``address_of`` tells who owns a lane; None when nobody knows."""
        self._address_of = address_of
        self._headers = {"Authorization": f"Bearer {token.reveal()}"} if token else {}
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, lane: int, path: str) -> bytes | None:
        """Return the body of an owner's answer, None for 404; raises ``Unavailable``."""
        address = self._address_of(lane)
        if address is None:
            raise Unavailable("no other worker is known to own the member's lane")
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(SECONDS), headers=self._headers
            )
        try:
            # The path is encoded already: a slash in an id must stay one.
            async with self._session.get(URL(address + path, encoded=True)) as answer:
                if answer.status == 404:
                    return None
                if answer.status == 200:
                    return await answer.read()
        except (aiohttp.ClientError, OSError, TimeoutError):
            raise Unavailable("the worker that owns the member's lane does not answer") from None
        raise Unavailable("the worker that owned the member's lane has handed it on")

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
