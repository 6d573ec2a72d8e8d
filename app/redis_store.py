"""Redis as the serving store: one packed document per member.

| key | value |
|---|---|
| ``{prefix}member:{member_id}`` | the last ``member_update`` of a member, JSON as in its topic |
| ``{prefix}anonymous:{anonymous_id}`` | the same of an id that is not linked to a member |

The prefix is the application's id and a colon. A member that is gone or erased has no key.
"""

import asyncio
import socket
from typing import Any, Self

from redis.asyncio import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from agents.members import ANONYMOUS_UPDATE
from agents.serving import Documents


class StoreUnavailable(Exception):
    """Redis did not answer, or refused; the message says which, without its address's secrets."""


def key_prefix(app_id: str) -> str:
    """Return what the keys of an application begin with."""
    return f"{app_id}:"


class RedisStore:
    """Documents in Redis; a ``ProjectionStore`` for the projector, ``document`` for lookups.

    Every call ends within ``timeout_ms`` and is made once: who calls knows whether to try again.
    """

    def __init__(self, client: Redis, prefix: str, timeout_ms: int) -> None:
        self._client = client
        self._prefix = prefix.encode()
        self._timeout = timeout_ms / 1000

    @classmethod
    def connect(cls, url: str, prefix: str, timeout_ms: int) -> Self:
        """Return a store; nothing is connected before it is used.

        Raises ``ValueError`` when the address is none.
        """
        options: dict[str, Any] = {}
        if not url.startswith("unix:"):
            # When a network comes back, the kernel may deliver what a connection that was given up
            # long ago still held: an older document over a newer one. It must not outlive the call.
            options["socket_keepalive_options"] = {socket.TCP_USER_TIMEOUT: timeout_ms}
        client = Redis.from_url(
            url,
            socket_timeout=timeout_ms / 1000,
            socket_connect_timeout=timeout_ms / 1000,
            retry=Retry(NoBackoff(), 0),
            **options,
        )
        return cls(client, prefix, timeout_ms)

    async def write(self, documents: Documents) -> None:
        """Put and delete all in one round trip; see ``ProjectionStore``.

        Raises ``StoreUnavailable``.
        """
        put = {self._key_of_update(key): value for key, value in documents.items() if value}
        gone = [self._key_of_update(key) for key, value in documents.items() if not value]
        # No transaction: each document stands for itself, and MULTI would double the replies.
        pipeline = self._client.pipeline(transaction=False)
        if put:
            pipeline.mset(put)
        if gone:
            pipeline.delete(*gone)
        try:
            async with asyncio.timeout(self._timeout):
                # Raised by the pipeline itself, an error would quote the documents.
                replies = await pipeline.execute(raise_on_error=False)
        except (RedisError, OSError, TimeoutError) as error:
            raise StoreUnavailable(_words(error)) from error
        for reply in replies:
            if isinstance(reply, Exception):
                raise StoreUnavailable(_words(reply))

    async def document(self, identity: str, anonymous: bool) -> bytes | None:
        """Return the document of a member or an anonymous id; None when there is none.

        Raises ``StoreUnavailable``.
        """
        try:
            async with asyncio.timeout(self._timeout):
                found = await self._client.get(self._key(identity.encode(), anonymous))
        except (RedisError, OSError, TimeoutError) as error:
            raise StoreUnavailable(_words(error)) from error
        return found if isinstance(found, bytes) else None

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def _key_of_update(self, key: bytes) -> bytes:
        if key.startswith(ANONYMOUS_UPDATE):
            return self._key(key.removeprefix(ANONYMOUS_UPDATE), anonymous=True)
        return self._key(key, anonymous=False)

    def _key(self, identity: bytes, anonymous: bool) -> bytes:
        return self._prefix + (b"anonymous:" if anonymous else b"member:") + identity


def _words(error: Exception) -> str:
    said = " ".join(str(error).split())
    return f"Redis: {said}" if said else "Redis did not answer in time"
