"""Counts what the observer has read: one look at what is stored, one write, each batch once."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec
from redis.asyncio import Redis

from agents.observer_ports import Facts
from agents.serving_ports import Places
from app.observed_keys import (
    BY_SOURCE_SECONDS,
    FEED_KEPT,
    GONE_SECONDS,
    KEPT_SECONDS,
    MOST_LABELS,
    NEWS_MS,
    ORDERS_KEPT,
    TIMELINE_KEPT,
    WRITE,
    Keys,
)
from app.redis_client import answer
from models.events import OrderCancelled, Purchased, Refunded
from models.lifecycle import NOW, OTHER, Life, pack
from models.lifecycle_facts import Fact, Happened
from models.lifecycle_fold import Change, Entry, Order, fold
from models.retelling import Retelling
from models.times import rfc3339

SLICE_MEMBERS = 32
"""Members folded before everything else on the event loop gets its turn: some 1 ms."""

_ORDERS = (Purchased, Refunded, OrderCancelled)
_LABELS = ("source", "reason")
_order_bytes = msgspec.msgpack.Encoder().encode
_order_of = msgspec.msgpack.Decoder(Order).decode
_json = msgspec.json.Encoder().encode
_todo = msgspec.msgpack.Encoder().encode

Who = tuple[str, bool]


class ObservedWriter:
    """A ``FollowerStore`` of facts. Every call ends within twice ``timeout_ms``."""

    def __init__(
        self,
        redis: Redis,
        prefix: str,
        timeout_ms: int,
        uncounted: frozenset[str] = frozenset(),
        now: Callable[[], int | None] = lambda: None,
        retelling: Retelling | None = None,
    ) -> None:
        """Write with a client; members ``uncounted`` have timelines and count nowhere.

        ``now`` is members' time, which says what is news; None in stream time, where all is.
        With a ``retelling`` what we said of members is kept in Chinese, too.
        """
        self._redis = redis
        self._keys = Keys(prefix)
        self._timeout_ms = timeout_ms
        self._uncounted = uncounted
        self._now = now
        self._retelling = retelling
        self._script = redis.register_script(WRITE)
        self._labels: dict[str, set[str]] = {kind: set() for kind in _LABELS}

    async def places(self) -> Places:
        """Return how far what is counted goes; see ``FollowerStore``.

        Raises ``StoreUnavailable``.
        """
        found = await answer(self._redis.hgetall(self._keys.observed), self._timeout_ms)
        return _places(found.items())

    async def write(self, content: Facts | None, expected: Places, reached: Places) -> Places:
        """Count facts, once; see ``FollowerStore``. Raises ``StoreUnavailable``."""
        now = self._now()
        news_since = 0 if now is None else now - NEWS_MS
        batch = _Batch(self._keys, self._labels, self._uncounted, news_since, self._retelling)
        if content:
            await self._fold(batch, content)
        arguments: list[bytes | int] = [
            _json(expected),
            _json(reached),
            _todo(batch.todo()),
            KEPT_SECONDS,
            TIMELINE_KEPT,
            FEED_KEPT,
            ORDERS_KEPT,
            *batch.values,
        ]
        asked = self._script([self._keys.observed], arguments)
        before = await answer(asked, self._timeout_ms)
        return _places(zip(before[::2], before[1::2], strict=True))

    async def _fold(self, batch: "_Batch", facts: Facts) -> None:
        by_member: dict[Who, list[Fact]] = {}
        order_ids: dict[str, None] = {}
        for fact in facts:
            by_member.setdefault((fact.identity, fact.anonymous), []).append(fact)
            if isinstance(fact, Happened) and isinstance(fact.received.event, _ORDERS):
                order_ids[fact.received.event.order_id] = None
        names = [self._keys.life(*who) for who in by_member]
        wanted = names + [self._keys.order(order) for order in order_ids]
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.mget(wanted)
        for kind in _LABELS:
            pipeline.smembers(self._keys.labels(kind))
        found, *labels = await answer(pipeline.execute(), self._timeout_ms)
        for kind, members in zip(_LABELS, labels, strict=True):
            self._labels[kind] = {member.decode() for member in members}
        kept = zip(order_ids, found[len(names) :], strict=True)
        orders = {name: _order_of(raw) for name, raw in kept if raw is not None}
        each = zip(by_member.items(), names, found, strict=False)
        for place, ((who, told), key, raw) in enumerate(each, start=1):
            batch.fold(who, key, raw, told, orders)
            if place % SLICE_MEMBERS == 0:
                await asyncio.sleep(0)


class _Batch:
    """What a batch of facts comes to, as the script wants it."""

    def __init__(
        self,
        keys: Keys,
        labels: dict[str, set[str]],
        uncounted: frozenset[str],
        news_since: int,
        retelling: Retelling | None,
    ) -> None:
        self._keys = keys
        self._news_since = news_since
        self._known = labels
        self._uncounted = uncounted
        self._retelling = retelling
        self.values: list[bytes] = []
        """Bytes that are put, which ``todo`` names by their number, from 1."""
        self._put: list[tuple[str, int, int]] = []
        self._counts: dict[tuple[str, str], int] = {}
        self._distinct: dict[tuple[str, int], dict[str, None]] = {}
        self._timelines: list[list[Any]] = []
        self._index: list[tuple[str, str, int, str]] = []
        self._erase: list[tuple[str, ...]] = []
        self._feed: list[str] = []
        self._new_labels: list[tuple[str, str]] = []
        self._newest = 0

    def fold(
        self, who: Who, key: str, raw: bytes | None, facts: list[Fact], orders: dict[str, Order]
    ) -> None:
        """Fold the facts about one member."""
        identity, anonymous = who
        counted = anonymous or identity not in self._uncounted
        change = fold(raw, facts, orders, self._label, counted, self._retelling)
        self._store_life(key, raw, change)
        for counter, moved in change.counts.items():
            self._counts[counter] = self._counts.get(counter, 0) + moved
        if not anonymous:
            self._store_member(identity, change)
        for order_id, order in change.orders.items():
            self._set(self._keys.order(order_id), _order_bytes(order), KEPT_SECONDS)
        if counted:
            happened = (fact.at for fact in facts if isinstance(fact, Happened))
            self._newest = max(self._newest, max(happened, default=0))

    def _store_life(self, key: str, raw: bytes | None, change: Change) -> None:
        life = change.life
        is_over = (life.erased or life.gone) and not life.seen
        seconds = GONE_SECONDS if is_over else 0
        packed = b"" if life == Life() else pack(life)
        if packed != (raw or b""):
            self._set(key, packed, seconds)

    def _store_member(self, identity: str, change: Change) -> None:
        keys = self._keys
        timeline = keys.timeline(identity)
        if change.erase:
            of_member = timeline, keys.orders(identity), keys.contacts(identity)
            self._erase.append((identity, *of_member, keys.order(""), keys.contact("")))
        if change.entries:
            self._timelines.append([timeline, *_scored(change.entries)])
        for order_id, order in change.orders.items():
            if order.identity == identity:
                self._index.append((keys.orders(identity), order_id, order.at, keys.order("")))
        for digest, at in change.contacts.items():
            self._set(keys.contact(digest), identity.encode(), 0)
            self._index.append((keys.contacts(identity), digest, at, ""))
        for day, source in change.active:
            self._distinct.setdefault((keys.active(day), KEPT_SECONDS), {})[identity] = None
            of_source = keys.active(day, source), BY_SOURCE_SECONDS
            self._distinct.setdefault(of_source, {})[identity] = None
        for news in change.feed:
            if news.said_at >= self._news_since:
                self._feed.append(_json({"at": rfc3339(news.at), **news.what}).decode())

    def _set(self, key: str, value: bytes, seconds: int) -> None:
        self.values.append(value)
        self._put.append((key, len(self.values), seconds))

    def _label(self, kind: str, name: str) -> str:
        known, name = self._known[kind], name.replace("|", "/")
        if name in known:
            return name
        if len(known) >= MOST_LABELS:
            return OTHER
        known.add(name)
        self._new_labels.append((self._keys.labels(kind), name))
        return name

    def todo(self) -> dict[str, Any]:
        """Return it all."""
        counted: dict[str, list[Any]] = {}
        for (name, field), moved in self._counts.items():
            if moved:
                kept = 0 if name == NOW else KEPT_SECONDS
                counters = counted.setdefault(name, [self._keys.counters(name), kept])
                counters += (field, str(moved))  # Lua has no integers of its own
        return {
            "erase": self._erase,
            "put": self._put,
            "count": list(counted.values()),
            "distinct": [[*key, *members] for key, members in self._distinct.items()],
            "timeline": self._timelines,
            "index": self._index,
            "labels": self._new_labels,
            "feed": self._feed[-FEED_KEPT:],
            "stream": self._keys.feed,
            "now": self._keys.now,
            "newest": self._newest,
        }


def _scored(entries: Iterable[Entry]) -> Iterator[int | str]:
    """Yield instants and entries; an entry that is said again is the same bytes, and one."""
    for entry in entries:
        yield entry.at
        yield f"{entry.rank}{_json(entry.what).decode()}"


def _places(fields: Iterable[tuple[Any, Any]]) -> Places:
    return {name.decode(): int(place) for name, place in fields}
