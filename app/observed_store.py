"""What the observer has seen, for pages and metrics: timelines, lookups, the feed, the lifecycle.

Every call ends within ``timeout_ms`` and raises ``StoreUnavailable`` when Redis is away.
"""

import re
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Self

import msgspec
from redis.asyncio import Redis

from app.observed_keys import Keys
from app.observed_writer import ObservedWriter
from app.redis_client import answer, connected
from models.lifecycle import JOINED, day_key, day_of, week_of
from models.lifecycle_fold import Order
from models.lifecycle_report import DAYS_READ, WINDOWS, Report, Snapshot, report
from models.retelling import Retelling
from models.stages import STAGES
from models.times import DAY, parse_instant, rfc3339

COHORTS = 13
"""Weeks of cohorts that are told of each stage; of all who joined it is a year."""
JOINED_COHORTS = 53

_order_of = msgspec.msgpack.Decoder(Order).decode
_CURSOR = re.compile("[0-9]{1,15}-[0-9a-f]{16}")
_json_of = msgspec.json.Decoder(dict[str, Any]).decode


class ObservedStore:
    """Reads what the observer has written; ``now`` is members' time, None in stream time."""

    def __init__(
        self,
        redis: Redis,
        prefix: str,
        timeout_ms: int,
        now: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._redis = redis
        self._prefix = prefix
        self._keys = Keys(prefix)
        self._timeout_ms = timeout_ms
        self._now = now

    @classmethod
    def connect(
        cls,
        url: str,
        prefix: str,
        timeout_ms: int,
        now: Callable[[], int | None] = lambda: None,
    ) -> Self:
        """Return a store; nothing is connected before it is used.

        Raises ``ValueError`` when the address is none.
        """
        return cls(connected(url, timeout_ms), prefix, timeout_ms, now)

    def writer(
        self, uncounted: frozenset[str] = frozenset(), retelling: Retelling | None = None
    ) -> ObservedWriter:
        """Return where the observer writes, over the same connections."""
        asked = self._redis, self._prefix, self._timeout_ms
        return ObservedWriter(*asked, uncounted, self._now, retelling)

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    # --- one member ---

    async def timeline(
        self, member_id: str, limit: int = 100, before: str | None = None
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Return the newest entries, newest first, and what to ask with for those before them.

        ``before`` is what an earlier answer ended with, else an instant (RFC 3339), which is left
        out. The second is None when there is nothing older. Raises ``ValueError`` for another.
        """
        newest, last = _begin(before)
        key = self._keys.timeline(member_id)
        found = await self._ask(self._redis.zrevrangebyscore(key, newest, "-inf", withscores=True))
        if last is not None:
            names = [_cursor(raw, at) for raw, at in found]
            # Where it is gone, it was the oldest.
            found = found[names.index(last) + 1 :] if last in names else []
        page = found[:limit]
        more = _cursor(*page[-1]) if page and len(found) > limit else None
        # The first byte only orders what happened at one instant.
        return [{"at": rfc3339(int(at)), **_json_of(raw[1:])} for raw, at in page], more

    async def member_by_order(self, order_id: str) -> str | None:
        """Return whose order it is."""
        raw = await self._ask(self._redis.get(self._keys.order(order_id)))
        if raw is None:
            return None
        order = _order_of(raw)
        return None if order.anonymous else order.identity

    async def member_by_contact(self, digest: str) -> str | None:
        """Return whose hashed phone number or e-mail address (SHA-256, hexadecimal) it is."""
        raw = await self._ask(self._redis.get(self._keys.contact(digest.lower())))
        return None if raw is None else raw.decode()

    # --- all members ---

    async def totals(self) -> dict[str, int]:
        """Return events, triggers and cancellations counted since ever, and members."""
        now = await self._counters(self._keys.now)
        members = sum(n for name, n in now.items() if name.startswith("members|"))
        told = {name: now.get(name, 0) for name in ("events", "triggers", "cancelled")}
        return {**told, "members": members}

    async def stages(self) -> dict[str, int]:
        """Return how many members and leads are in each stage."""
        now = await self._counters(self._keys.now)
        return {stage: now.get(f"stage|{stage}", 0) for stage in STAGES}

    async def flows(self) -> list[dict[str, Any]]:
        """Return how many moved from stage to stage, today and since ever."""
        now = await self._counters(self._keys.now)
        day = await self._counters(self._keys.counters(day_key(day_of(self._as_of(now)))))
        paths = sorted(name[6:] for name in now if name.startswith("moves|"))
        return [
            {
                "from": path.partition(">")[0],
                "to": path.partition(">")[2],
                "today": day.get(f"move|{path}", 0),
                "total": now[f"moves|{path}"],
            }
            for path in paths
        ]

    async def rule_counts(self, days: int = 14) -> dict[str, dict[str, dict[str, int]]]:
        """Return triggers, cancellations and candidates held back, by rule and day (UTC)."""
        today = day_of(self._as_of(await self._counters(self._keys.now)))
        pipeline = self._redis.pipeline(transaction=False)
        span = range(today - days + 1, today + 1)
        for day in span:
            pipeline.hgetall(self._keys.counters(day_key(day)))
        told: dict[str, dict[str, dict[str, int]]] = {}
        for day, raw in zip(span, await self._ask(pipeline.execute()), strict=True):
            for name, number in _numbers(raw).items():
                if name.startswith("rule|"):
                    rule, _, what = name[5:].rpartition("|")
                    none = dict.fromkeys(("triggers", "cancelled", "settled", "held_back"), 0)
                    on = told.setdefault(rule, {}).setdefault(rfc3339(day * DAY)[:10], none)
                    on[what] = number
        return told

    async def lifecycle(self, as_of: int | None = None) -> Report:
        """Return the lifecycle metrics as of an instant (epoch ms), else of members' time.

        ``models.lifecycle_report`` makes them. Counters of days that are long past are gone, and
        what stands now stands as of now.
        """
        return report(await self.snapshot(as_of))

    async def snapshot(self, as_of: int | None = None) -> Snapshot:
        """Return the counters of ``lifecycle``."""
        keys = self._keys
        now = await self._counters(keys.now)
        at = self._as_of(now) if as_of is None else as_of
        today = day_of(at)
        days = range(today - DAYS_READ, today + 1)
        cohorts = [
            (stage, week_of(today) - back)
            for stage in (JOINED, *STAGES)
            for back in range(JOINED_COHORTS if stage == JOINED else COHORTS)
        ]
        sources = sorted(name[8:] for name, n in now.items() if name.startswith("members|") and n)
        pipeline = self._redis.pipeline(transaction=False)
        for day in days:
            pipeline.hgetall(keys.counters(day_key(day)))
        for stage, week in cohorts:
            pipeline.hgetall(keys.counters(f"cohort:{stage}:{week}"))
        for source in (None, *sources):
            for length in WINDOWS.values():
                span = range(today - length + 1, today + 1)
                pipeline.pfcount(*(keys.active(day, source) for day in span))
        found = iter(await self._ask(pipeline.execute()))
        by_day = {day: _numbers(next(found)) for day in days}
        by_cohort: dict[str, dict[int, dict[str, int]]] = {JOINED: {}}
        for stage, week in cohorts:
            by_cohort.setdefault(stage, {})[week] = _numbers(next(found))
        active = {window: next(found) for window in WINDOWS}
        by_source = {source: {window: next(found) for window in WINDOWS} for source in sources}
        return Snapshot(at, now, by_day, active, by_source, by_cohort)

    # --- the feed ---

    async def feed(
        self, after_id: str | None = None, limit: int = 50
    ) -> list[tuple[str, dict[str, Any]]]:
        """Return the entries after one, else the newest; oldest first.

        Raises ``ValueError`` when ``after_id`` is no id of an entry.
        """
        if after_id is None:
            found = await self._ask(self._redis.xrevrange(self._keys.feed, count=limit))
            found = found[::-1]
        else:
            _check_id(after_id)
            newer = self._redis.xrange(self._keys.feed, f"({after_id}", "+", limit)
            found = await self._ask(newer)
        return [
            (name.decode(), {"id": name.decode(), **_json_of(fields[b"e"])})
            for name, fields in found
        ]

    # --- reading ---

    def _as_of(self, now: dict[str, int]) -> int:
        told = self._now()
        return now.get("newest", 0) if told is None else told

    async def _counters(self, key: str) -> dict[str, int]:
        return _numbers(await self._ask(self._redis.hgetall(key)))

    async def _ask(self, question: Any) -> Any:
        return await answer(question, self._timeout_ms)


def _begin(before: str | None) -> tuple[str, str | None]:
    """Return the newest score to read, and the cursor of the entry after which to begin."""
    if before is None:
        return "+inf", None
    if _CURSOR.fullmatch(before):
        return before.partition("-")[0], before
    return f"({parse_instant(before)}", None


def _cursor(raw: bytes, at: float) -> str:
    return f"{at:.0f}-{blake2b(raw, digest_size=8).hexdigest()}"


def _numbers(raw: dict[bytes, bytes]) -> dict[str, int]:
    return {name.decode(): int(number) for name, number in raw.items()}


def _check_id(entry: str) -> None:
    first, _, second = entry.partition("-")
    if not (first.isascii() and first.isdigit() and second.isascii() and second.isdigit()):
        raise ValueError(f"{entry!r} is no id of a feed entry")
