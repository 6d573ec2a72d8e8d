"""Redis as the serving store: documents of members, and indexes of them (``projection_keys``).

Beside the projection, workers keep small things for themselves under ``{prefix}note:{name}``.
"""

from collections.abc import Awaitable, Sequence
from typing import Any, Self, TypeVar

from redis.asyncio import Redis

from agents.serving_ports import Documents, Places
from app.projection_keys import (
    INDEX_BOUND,
    WRITE,
    Generation,
    key_prefix,
    pairs,
    places_of,
    write_arguments,
)
from app.redis_client import answer, connected
from models.stages import STAGES

__all__ = ["RedisStore", "key_prefix"]

T = TypeVar("T")


class RedisStore:
    """Documents and indexes in Redis; a ``FollowerStore`` for the projector, and for lookups.

    Every call ends within ``timeout_ms`` and is made once: who calls knows whether to try again.
    An index lists ``bound`` members.
    """

    def __init__(
        self, client: Redis, prefix: str, timeout_ms: int, bound: int = INDEX_BOUND
    ) -> None:
        self._client = client
        self._prefix = prefix
        self._timeout_ms = timeout_ms
        self._bound = bound
        self._live = Generation(prefix)
        self._write = client.register_script(WRITE)

    @classmethod
    def connect(cls, url: str, prefix: str, timeout_ms: int) -> Self:
        """Return a store; nothing is connected before it is used.

        Raises ``ValueError`` when the address is none.
        """
        return cls(connected(url, timeout_ms), prefix, timeout_ms)

    async def places(self) -> Places:
        """Return how far the documents go; see ``FollowerStore``.

        Raises ``StoreUnavailable``.
        """
        found = await self._ask(self._client.hgetall(self._live.projected))
        return places_of(found.items())

    async def write(self, content: Documents | None, expected: Places, reached: Places) -> Places:
        """Put and delete all in one round trip, unless the places are others.

        See ``FollowerStore``. Raises ``StoreUnavailable``.
        """
        arguments = write_arguments(content, expected, reached, self._bound)
        return places_of(pairs(await self._ask(self._write(self._live.all(), arguments))))

    async def document(self, identity: str, anonymous: bool) -> bytes | None:
        """Return the document of a member or an anonymous id; None when there is none.

        Raises ``StoreUnavailable``.
        """
        found = await self._ask(self._client.hget(self._live.documents(anonymous), identity))
        return found if isinstance(found, bytes) else None

    async def documents(self, ids: Sequence[str]) -> list[bytes | None]:
        """Return the documents of members, None where there is none.

        Raises ``StoreUnavailable``.
        """
        if not ids:
            return []
        key = self._live.documents(anonymous=False)
        return await self._ask(self._client.hmget(key, list(ids)))  # type: ignore[arg-type]

    async def ids_by_stage(self, stage: str, offset: int, limit: int) -> list[tuple[str, int]]:
        """Return members of a stage and since when (epoch ms), who came last first.

        Raises ``StoreUnavailable``.
        """
        found = await self._listed(self._live.stage(stage), offset, limit)
        return [(identity, int(since)) for identity, since in found]

    async def ids_by_risk(self, offset: int, limit: int) -> list[tuple[str, float]]:
        """Return members and their smoothed churn probability, the riskiest first.

        Raises ``StoreUnavailable``.
        """
        return await self._listed(self._live.risk, offset, limit)

    async def counts_by_stage(self) -> dict[str, int]:
        """Return how many members each stage's index lists: at most its bound.

        Raises ``StoreUnavailable``.
        """
        pipeline = self._client.pipeline(transaction=False)
        for stage in STAGES:
            pipeline.zcard(self._live.stage(stage))
        return dict(zip(STAGES, await self._ask(pipeline.execute()), strict=True))

    async def _listed(self, key: str, offset: int, limit: int) -> list[tuple[str, float]]:
        found: Any = await self._ask(
            self._client.zrevrange(key, offset, offset + limit - 1, withscores=True)
        )
        return [(str(one, "utf-8"), score) for one, score in found]

    async def note(self, name: str) -> bytes | None:
        """Return what a worker has kept under a name; None when there is nothing.

        Raises ``StoreUnavailable``.
        """
        found = await self._ask(self._client.get(f"{self._prefix}note:{name}"))
        return found if isinstance(found, bytes) else None

    async def keep_note(self, name: str, value: bytes) -> None:
        """Keep something under a name.

        Raises ``StoreUnavailable``.
        """
        await self._ask(self._client.set(f"{self._prefix}note:{name}", value))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _ask(self, question: Awaitable[T]) -> T:
        return await answer(question, self._timeout_ms)
