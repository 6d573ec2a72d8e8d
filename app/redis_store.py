"""Redis as the serving store: one packed document per member.

| key | value |
|---|---|
| ``{prefix}member:{member_id}`` | the last ``member_update`` of a member, JSON as in its topic |
| ``{prefix}anonymous:{anonymous_id}`` | the same of an id that is not linked to a member |
| ``{prefix}projected`` | hash: by partition of the topic, the offset that is to be written next |
| ``{prefix}note:{name}`` | small things that workers keep for themselves |

The prefix is the application's id and a colon. A member that is gone or erased has no key.
"""

import asyncio
import socket
from collections.abc import Awaitable, Iterable
from typing import Any, Self, TypeVar

import msgspec
from redis.asyncio import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from agents.members import ANONYMOUS_UPDATE
from agents.serving_ports import Documents, Places

T = TypeVar("T")

# Runs as one and is logged as one: no document is ever there without the places that go with it,
# and whether something was lost is decided in the instant of the writing.
# KEYS: the hash, then documents' keys. ARGV: places expected and reached, as JSON objects; then
# documents, empty where there is to be none. Returns the hash as it was.
_WRITE = """
local before, has = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #before, 2 do has[before[i]] = tonumber(before[i + 1]) end
for partition, expected in pairs(cjson.decode(ARGV[1])) do
    if (has[partition] or -1) < expected then return before end
end
for i = 2, #KEYS do
    if ARGV[i + 1] == '' then
        redis.call('DEL', KEYS[i])
    else
        redis.call('SET', KEYS[i], ARGV[i + 1])
    end
end
for partition, reached in pairs(cjson.decode(ARGV[2])) do
    redis.call('HSET', KEYS[1], partition, string.format('%.0f', reached))
end
return before
"""


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
        self._projected = self._prefix + b"projected"
        self._write = client.register_script(_WRITE)

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

    async def places(self) -> Places:
        """Return how far the documents go; see ``ProjectionStore``.

        Raises ``StoreUnavailable``.
        """
        found = await self._ask(self._client.hgetall(self._projected))
        return _places(found.items())

    async def write(self, documents: Documents, expected: Places, reached: Places) -> Places:
        """Put and delete all in one round trip, unless something was lost.

        See ``ProjectionStore``. Raises ``StoreUnavailable``.
        """
        keys = [self._projected, *map(self._key_of_update, documents)]
        places = [msgspec.json.encode(expected), msgspec.json.encode(reached)]
        values = [value or b"" for value in documents.values()]
        before = await self._ask(self._write(keys, [*places, *values]))
        return _places(zip(before[::2], before[1::2], strict=True))

    async def document(self, identity: str, anonymous: bool) -> bytes | None:
        """Return the document of a member or an anonymous id; None when there is none.

        Raises ``StoreUnavailable``.
        """
        found = await self._ask(self._client.get(self._key(identity.encode(), anonymous)))
        return found if isinstance(found, bytes) else None

    async def note(self, name: str) -> bytes | None:
        """Return what a worker has kept under a name; None when there is nothing.

        Raises ``StoreUnavailable``.
        """
        found = await self._ask(self._client.get(self._prefix + b"note:" + name.encode()))
        return found if isinstance(found, bytes) else None

    async def keep_note(self, name: str, value: bytes) -> None:
        """Keep something under a name.

        Raises ``StoreUnavailable``.
        """
        await self._ask(self._client.set(self._prefix + b"note:" + name.encode(), value))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _ask(self, question: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self._timeout):
                return await question
        except (RedisError, OSError, TimeoutError) as error:
            raise StoreUnavailable(_words(error)) from error

    def _key_of_update(self, key: bytes) -> bytes:
        if key.startswith(ANONYMOUS_UPDATE):
            return self._key(key.removeprefix(ANONYMOUS_UPDATE), anonymous=True)
        return self._key(key, anonymous=False)

    def _key(self, identity: bytes, anonymous: bool) -> bytes:
        return self._prefix + (b"anonymous:" if anonymous else b"member:") + identity


def _places(fields: Iterable[tuple[Any, Any]]) -> Places:
    return {int(partition): int(place) for partition, place in fields}


def _words(error: Exception) -> str:
    said = " ".join(str(error).split())
    return f"Redis: {said}" if said else "Redis did not answer in time"
