"""The simple job that every engine does: a made log of events, the state, and what must come out.

A JSON event of some 233 bytes updates the 16 fields of its member; every browse arms (again) a
deadline half an hour later, a purchase disarms it; a deadline that is reached raises a trigger
with the count of events folded so far, by which wrong state shows. The log ends with one record
per partition, of members that do nothing else: it moves every partition's time to the end, so that
all engines have fired the same deadlines when they have read it all.
"""

from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Any, NamedTuple

import orjson

from agents.partitioner import murmur2_partition

START_MS = 1_767_225_600_000
WINDOW_MS = 7 * 86_400_000
HALF_HOUR_MS = 1_800_000
HOUR_MS, DAY_MS, WEEK_MS = 3_600_000, 86_400_000, 604_800_000
EVENTS_PER_SESSION = 5.0
PAUSE_MS = 90_000.0
KINDS = ("view_item",) * 15 + ("add_to_cart",) * 3 + ("purchase",) * 2
VISIT = "visit"
CATEGORIES = ("tea", "coffee", "snacks", "skincare", "fragrance", "home", "kitchen", "pets")


class Fired(NamedTuple):
    """One trigger, as far as engines must agree on it."""

    member: str
    due: int
    folded: int


class Record(NamedTuple):
    """One record of the log: its key, its bytes and its time (epoch milliseconds)."""

    key: bytes
    value: bytes
    at: int


def make_log(events: int, members: int, partitions: int, seed: int) -> list[Record]:
    """Return ``events`` records in order of time, the last of each partition a visit at the end.

    Members come in sessions of a few events, spread evenly over a week. The same arguments give
    the same bytes.
    """
    random = Random(seed)
    drawn: list[tuple[int, int, int]] = []
    session = 0
    while len(drawn) < events - partitions:
        session += 1
        member = random.randrange(members)
        at = START_MS + random.randrange(WINDOW_MS)
        for _ in range(1 + int(random.expovariate(1 / EVENTS_PER_SESSION))):
            drawn.append((at, member, session))
            at += 1 + int(random.expovariate(1 / PAUSE_MS))
    drawn.sort()
    log = [
        _record(f"m{member:05}", at, random.choice(KINDS), number, session, random)
        for number, (at, member, session) in enumerate(drawn)
    ]
    return prefix(log, events, partitions)


def prefix(log: list[Record], events: int, partitions: int) -> list[Record]:
    """Return the first records of a log, closed by a visit per partition: ``events`` in all."""
    kept = log[: events - partitions]
    random = Random(0)
    end = kept[-1].at + 1
    closing = [
        _record(member, end, VISIT, len(kept) + place, 0, random)
        for place, member in enumerate(_one_id_per_partition(partitions))
    ]
    return kept + closing


def _one_id_per_partition(partitions: int) -> list[str]:
    found: dict[int, str] = {}
    for number in count():
        name = f"end-{number}"
        found.setdefault(murmur2_partition(name.encode(), partitions), name)
        if len(found) == partitions:
            return [found[partition] for partition in sorted(found)]
    raise AssertionError


def _record(member: str, at: int, kind: str, number: int, session: int, random: Random) -> Record:
    item = random.randrange(2000)
    event = {
        "event_id": f"e{number:06}",
        "type": kind,
        "member_id": member,
        "occurred_at": at,
        "item_id": f"sku-{item:04}",
        "category": CATEGORIES[item % len(CATEGORIES)],
        "price": round(random.uniform(5, 400), 2),
        "quantity": 1 + item % 3,
        "currency": "CNY",
        "source": "app",
        "session_id": f"s{session:06}",
        "campaign": "spring",
    }
    return Record(member.encode(), orjson.dumps(event), at)


# --- the job over dictionaries: what peers run, and the oracle ------------------------------------


def new_state() -> dict[str, Any]:
    """Return the 16 fields of a member of whom nothing is known; 0 is never."""
    return {
        "events": 0,
        "views": 0,
        "carts": 0,
        "purchases": 0,
        "revenue": 0,
        "first_at": 0,
        "last_at": 0,
        "last_view_at": 0,
        "last_purchase_at": 0,
        "in_hour": 0.0,
        "in_day": 0.0,
        "in_week": 0.0,
        "sessions": 0,
        "session_at": 0,
        "due": 0,
        "sent": 0,
    }


def fold(state: dict[str, Any], event: Mapping[str, Any]) -> None:
    """Fold an event into a member's state; what was due before it has fired already."""
    at, kind = event["occurred_at"], event["type"]
    gap = at - state["last_at"]
    if not state["events"]:
        state["first_at"] = at
    if gap > HALF_HOUR_MS:
        state["sessions"] += 1
        state["session_at"] = at
    state["events"] += 1
    state["last_at"] = at
    state["in_hour"] = state["in_hour"] * 0.5 ** (gap / HOUR_MS) + 1.0
    state["in_day"] = state["in_day"] * 0.5 ** (gap / DAY_MS) + 1.0
    state["in_week"] = state["in_week"] * 0.5 ** (gap / WEEK_MS) + 1.0
    if kind == "view_item":
        state["views"] += 1
        state["last_view_at"] = at
        state["due"] = at + HALF_HOUR_MS
    elif kind == "add_to_cart":
        state["carts"] += event["quantity"]
    elif kind == "purchase":
        state["purchases"] += 1
        state["revenue"] += round(event["price"] * 100) * event["quantity"]
        state["last_purchase_at"] = at
        state["due"] = 0


def fire(member: str, state: dict[str, Any]) -> Fired:
    """Return the trigger of a deadline that has been reached, and clear the deadline."""
    due = state["due"]
    state["due"] = 0
    state["sent"] += 1
    return Fired(member, due, state["events"])


class Heap:
    """Deadlines in order; one that was moved or cleared is passed over when it is met."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, str]] = []

    def arm(self, member: str, due: int) -> None:
        """Note a deadline."""
        heappush(self._heap, (due, member))

    def reached(self, at: int, due_of: Callable[[str], int]) -> Iterable[str]:
        """Yield the members whose deadline is at or before ``at``, in order of time."""
        heap = self._heap
        while heap and heap[0][0] <= at:
            due, member = heappop(heap)
            if due_of(member) == due:
                yield member


class DictJob:
    """The job in memory: dictionaries and a heap, as anyone would write it first."""

    def __init__(self) -> None:
        self._states: dict[str, dict[str, Any]] = {}
        self._heap = Heap()

    def take(self, event: Mapping[str, Any]) -> list[Fired]:
        """Take the next event in order of time; return the triggers that came first."""
        states, at, member = self._states, event["occurred_at"], event["member_id"]
        fired = [
            fire(one, states[one]) for one in self._heap.reached(at, lambda m: states[m]["due"])
        ]
        state = states.get(member)
        if state is None:
            state = states[member] = new_state()
        fold(state, event)
        if event["type"] == "view_item":
            self._heap.arm(member, state["due"])
        return fired


def oracle(log: Iterable[Record]) -> list[Fired]:
    """Return the triggers that a log must give."""
    job = DictJob()
    return [fired for record in log for fired in job.take(orjson.loads(record.value))]


def encode(fired: Fired) -> bytes:
    """Return a trigger's record value."""
    return orjson.dumps({"member": fired.member, "due": fired.due, "folded": fired.folded})


def digest(values: Iterable[str]) -> str:
    """Return what identifies a set of triggers, each written as a line."""
    return sha256("\n".join(sorted(values)).encode()).hexdigest()[:16]


def digest_of(fired: Iterable[Fired]) -> str:
    """Return the digest over (member, due, count of events folded)."""
    return digest({f"{one.member} {one.due} {one.folded}" for one in fired})
