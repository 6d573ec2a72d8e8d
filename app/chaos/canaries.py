"""Canaries: an event in every lane twice a second, each a trigger at once, to see what stalls."""

import json
from collections.abc import Iterator
from threading import Lock
from typing import NamedTuple

from agents.partitioner import murmur2_partition
from app.chaos.feed import Sending

PERIOD_MS = 500
RULE = "ticket"
"""The rule in the run's configuration that raises at once and always."""

PREFIX = "canary-"
# A member with hundreds of open triggers would have them withdrawn; nobody lives that long.
LIFE = 20


class Canary(NamedTuple):
    """One that came back; both in epoch milliseconds."""

    lane: int
    sent: int
    seen: int


class Canaries:
    """Sends them and takes note of their triggers. Used from several threads."""

    def __init__(self, start: int, partitions: int) -> None:
        """Begin at ``start``, epoch milliseconds."""
        self.back: list[Canary] = []
        self._lanes = range(partitions)
        self._next = start
        self._count = 0
        self._members: list[str] = []
        self._out: dict[str, tuple[int, int]] = {}
        self._lock = Lock()

    def due(self, now: int, at_once: bool = False) -> Iterator[Sending]:
        """Yield one for each lane when it is time, or ``at_once``; ``now`` is when it is sent."""
        if now < self._next and not at_once:
            return
        self._next = now + PERIOD_MS
        if self._count % LIFE == 0:
            self._members = [self._member(lane) for lane in self._lanes]
        for lane, member in zip(self._lanes, self._members, strict=True):
            name = f"{PREFIX}{lane}-{self._count}"
            with self._lock:
                self._out[name] = (lane, now)
            event = {
                "type": "ticket_opened",
                "event_id": name,
                "member_id": member,
                "occurred_at": now,
            }
            yield Sending(now, "engagement", member.encode(), json.dumps(event).encode())
        self._count += 1

    def saw(self, occasion: str, at: int) -> None:
        """Take note of a trigger of :data:`RULE`; one seen again, or no canary's, is ignored."""
        with self._lock:
            sent = self._out.pop(occasion, None)
            if sent is not None:
                self.back.append(Canary(*sent, at))

    def all_lanes_since(self, instant: int) -> bool:
        """Return whether one sent at ``instant`` or later has come back from every lane."""
        with self._lock:
            return {one.lane for one in self.back if one.sent >= instant} >= set(self._lanes)

    def all_back(self) -> bool:
        """Return whether none is still out."""
        with self._lock:
            return not self._out

    def longest(self, since: int, until: int) -> int | None:
        """Return the longest way (milliseconds) of any sent from ``since`` to ``until``.

        None when one of them has not come back.
        """
        with self._lock:
            if any(since <= sent <= until for _, sent in self._out.values()):
                return None
            ways = [one.seen - one.sent for one in self.back if since <= one.sent <= until]
        return max(ways, default=None)

    def progress(self, since: int, until: int) -> float | None:
        """Return how many came back between two instants, as a share of those sent; None of none.

        With the lanes at work it is 1, or a little more or less for those under way at the ends.
        """
        with self._lock:
            sent = [one.sent for one in self.back] + [sent for _, sent in self._out.values()]
            there = sum(since <= one <= until for one in sent)
            came = sum(since <= one.seen <= until for one in self.back)
        return came / there if there else None

    def _member(self, lane: int) -> str:
        number = 0
        while True:
            member = f"{PREFIX}{self._count}-{number}"
            if murmur2_partition(member.encode(), len(self._lanes)) == lane:
                return member
            number += 1
