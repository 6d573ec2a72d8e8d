"""What upstream apps send during a run: members' lives in seconds, and all that goes wrong there.

All of it follows from the seed, the start and the bursts: the same three give the same bytes.
"""

import json
from collections.abc import Iterator
from heapq import heapify, heappop, heappush, heapreplace
from random import Random
from typing import Any, NamedTuple, TypeAlias

from agents.partitioner import murmur2_partition
from models.events import TOPIC_OF
from models.times import DAY, SECOND

EVENT, DUPLICATE, LATE, POISON = "event", "duplicate", "late", "poison"
"""What a record is: carried as a header, so that whoever reads the topics back knows."""

MEMBERS = 200
"""Members alive at a time; each sends an event every two or three seconds."""

LATE_PREFIX = "late-"
"""Members of whom some events arrive after the allowed lateness; one slot of twelve is theirs."""

ITEMS = 25
SESSIONS = (1, 4)
# What always goes wrong, as shares of all events, and what does in a burst.
USUAL = {"duplicates": 0.02, "disorder": 0.03, "poison": 0.005}
BURST = {"duplicates": 0.6, "disorder": 0.8, "poison": 0.3}
LATE_SHARE = 0.2
# A duplicate comes while the member's last event ids still hold the original.
DUPLICATE_MS = 700
DISORDER_MS = 1_200
LATE_BEYOND_MS = (2 * SECOND, 6 * SECOND)
HUGE_BYTES = (1 << 20, 3 << 20)

Step: TypeAlias = tuple[int, str, dict[str, Any]]
"""Milliseconds since the step before, the event's type and its own fields."""


class Sending(NamedTuple):
    """One record: when it is sent (epoch milliseconds, also its timestamp), and what is sent."""

    at: int
    topic: str
    key: bytes
    value: bytes | None
    made: str = EVENT
    partition: int | None = None
    """None: where its key belongs."""


class Burst(NamedTuple):
    """A time (epoch milliseconds, the end not included) in which much more of a kind goes wrong."""

    kind: str
    since: int
    until: int


class Feed:
    """A running upstream. ``due`` is asked again and again, with times that never go back."""

    def __init__(self, seed: int, start: int, partitions: int, lateness: int) -> None:
        """Begin at ``start``; ``lateness`` (milliseconds) is what late events are later than."""
        self._seed = seed
        self._partitions = partitions
        self._lateness = lateness
        self._chance = Random(f"{seed}/upstream")
        self._bursts: list[Burst] = []
        self._lives = [self._life(slot, start) for slot in range(MEMBERS)]
        # (instant, slot, what happens then): the next event of each slot.
        self._next = [(*next(life), slot) for slot, life in enumerate(self._lives)]
        heapify(self._next)
        self._waiting: list[tuple[int, int, Sending]] = []
        self._count = 0

    def burst(self, kind: str, since: int, until: int) -> None:
        """Let much more of ``kind`` (a key of ``BURST``) go wrong for a while."""
        self._bursts.append(Burst(kind, since, until))

    def due(self, now: int) -> Iterator[Sending]:
        """Yield what is to be sent up to and including ``now``, in order of sending."""
        while self._next[0][0] <= now:
            at, topic, key, value, slot = self._next[0]
            self._upset(at, topic, key, value)
            heapreplace(self._next, (*next(self._lives[slot]), slot))
        while self._waiting and self._waiting[0][0] <= now:
            yield heappop(self._waiting)[2]

    def _upset(self, at: int, topic: str, key: bytes, value: bytes) -> None:
        """Send one event, with whatever goes wrong about it."""
        chance = self._chance
        delay, made = 0, EVENT
        if self._wrong("disorder", at):
            delay = chance.randint(1, DISORDER_MS)
        if key.startswith(LATE_PREFIX.encode()) and chance.random() < LATE_SHARE:
            delay, made = self._lateness + chance.randint(*LATE_BEYOND_MS), LATE
        self._send(Sending(at + delay, topic, key, value, made))
        if self._wrong("duplicates", at):
            again = at + delay + chance.randint(0, DUPLICATE_MS)
            self._send(Sending(again, topic, key, value, DUPLICATE))
        if self._wrong("poison", at):
            self._send(self._poison(at, key))

    def _wrong(self, kind: str, at: int) -> bool:
        share = USUAL[kind]
        if any(one.kind == kind and one.since <= at < one.until for one in self._bursts):
            share = BURST[kind]
        return self._chance.random() < share

    def _send(self, sending: Sending) -> None:
        # The count keeps what is sent at one instant in the order in which it arose.
        self._count += 1
        heappush(self._waiting, (sending.at, self._count, sending))

    def _poison(self, at: int, key: bytes) -> Sending:
        """Return a record that is no event: each way in which one can be none."""
        chance = self._chance
        good = {
            "type": "view_item",
            "event_id": f"poison-{self._count}",
            "member_id": key.decode(),
            "occurred_at": at,
            "item_id": "poisoned",
        }
        kinds = ("bytes", "type", "field", "key", "place", "time", "tombstone", "huge")
        match chance.choice(kinds):
            case "bytes":
                value: bytes | None = chance.randbytes(chance.randint(1, 200))
            case "type":
                value = _json({**good, "type": "poisoned"})
            case "field":
                value = _json({**good, "item_id": [1, 2]})
            case "key":
                return Sending(at, "browse", b"not-" + key, _json(good), POISON)
            case "place":
                right = murmur2_partition(key, self._partitions)
                wrong = (right + 1) % self._partitions
                if wrong == right:
                    return Sending(at, "browse", key, b"", POISON)
                return Sending(at, "browse", key, _json(good), POISON, wrong)
            case "time":
                value = _json({**good, "occurred_at": at + 2 * DAY})
            case "tombstone":
                value = None
            case _:
                value = b'{"type":"view_item","junk":"' + b"x" * chance.randint(*HUGE_BYTES)
        return Sending(at, chance.choice(("browse", "cart", "purchase")), key, value, POISON)

    def _life(self, slot: int, start: int) -> Iterator[tuple[int, str, bytes, bytes]]:
        """Yield (instant, topic, key, value) of the members of a slot, one after the other."""
        at = start
        prefix = LATE_PREFIX if slot % 12 == 11 else ""
        number = 0
        while True:
            number += 1
            member = f"{prefix}m{slot:03}-{number}"
            chance = Random(f"{self._seed}/{member}")
            for told, (pause, kind, fields) in enumerate(_steps(chance)):
                at += pause
                event = {
                    "type": kind,
                    "event_id": f"{member}-{told}",
                    "member_id": member,
                    "occurred_at": at,
                    **fields,
                }
                yield at, TOPIC_OF[kind], member.encode(), _json(event)


def _json(event: dict[str, Any]) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode()


def _steps(chance: Random) -> Iterator[Step]:
    """Yield what one member does, from registering to not being heard of any more."""
    yield chance.randint(0, 4_000), "register", {}
    if chance.random() < 0.1:
        refusal = {"channel": "app_push", "purpose": "marketing", "granted": False}
        yield chance.randint(120, 500), "consent", refusal
    for session in range(chance.randint(*SESSIONS)):
        # Sometimes so long that the member has fallen asleep by the stage table.
        pause = 18_000 if chance.random() < 0.1 else chance.randint(500, 9_000)
        yield pause, "visit", {}
        yield from _session(chance, session)
    yield chance.randint(120, 3_000), "visit", {}


def _session(chance: Random, session: int) -> Iterator[Step]:
    if chance.random() < 0.3:
        yield chance.randint(120, 400), "search", {"query": "tea"}
    seen = []
    for _ in range(chance.randint(1, 3)):
        item = f"i{chance.randrange(ITEMS)}"
        seen.append(item)
        yield chance.randint(120, 1_600), "view_item", {"item_id": item}
    if chance.random() < 0.6:
        item = chance.choice(seen)
        yield chance.randint(120, 5_000), "add_to_cart", {"item_id": item, "price": 9.5}
        if chance.random() < 0.2:
            yield chance.randint(120, 6_000), "remove_from_cart", {"item_id": item}
        elif chance.random() < 0.4:
            yield chance.randint(120, 6_000), "begin_checkout", {}
    if chance.random() < 0.5:
        order = {
            "order_id": f"o{session}",
            "total": 19.0,
            "items": [{"item_id": item, "quantity": 1, "price": 9.5} for item in sorted(set(seen))],
        }
        # Before or after the deadlines of four to six seconds, about as often.
        yield chance.randint(120, 9_000), "purchase", order
    if chance.random() < 0.04:
        yield chance.randint(120, 2_000), "ticket_opened", {"ticket_id": f"t{session}"}
    if chance.random() < 0.02:
        yield chance.randint(120, 2_000), "unsubscribed", {"channel": "sms"}
