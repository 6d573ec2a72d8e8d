"""What happens in a run, as plain values derived from its seed: events, faults and settings."""

import json
from collections.abc import Callable
from random import Random
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

from models.times import DAY, MINUTE
from simulation.faults import ANYWHERE, REQUESTS, WRITES, ZOMBIES, Fault
from simulation.lives import lives

MEMBERS = ("m1", "m2", "m3", "m4", "m5", "m6")
VISITOR = "visitor"
ITEMS = ("tea", "cup", "pot")
ORDERS = ("o1", "o2", "o3")
LATENESS_MS = 2_000
LATE = (60 * MINUTE, 2 * DAY)
"""Of a year: how late is not too late by the shipped limits, and how late is the latest."""

HISTORY_MS = 4 * 3_600_000
"""How far back the events reach that are in the topics before the first worker starts."""

Kind: TypeAlias = Literal["small", "pressed", "shipped"]
"""Small rules; the same under a policy with caps, silence, control groups and arbitration; and all
shipped rules under the shipped policy, for a year."""

KINDS: tuple[Kind, ...] = get_args(Kind)


class Event(NamedTuple):
    """One record to be produced."""

    at: int
    """Milliseconds since the run began; below zero: there before it."""
    topic: str
    key: str
    delay: int = 0
    """How long ago it occurred when it is produced."""
    body: str = ""
    """JSON of its own fields; empty with ``raw``."""
    raw: str = ""
    """The whole value, of a record that is no event."""
    kind: str = ""
    """late, disordered, duplicate, poison, or nothing special."""
    elsewhere: bool = False
    """Put it into a partition that is not its key's."""


class Scenario(NamedTuple):
    """A run, before it happens."""

    seed: int
    lanes: int
    workers: int
    group_bytes: int
    queue_records: int
    projector: bool
    flushes: bool
    """Producers keep what happens while the broker is away, and send it afterwards."""
    events: tuple[Event, ...]
    faults: tuple[Fault, ...]
    kind: Kind = "small"


_TYPES = (
    *(("browse", "view_item"),) * 5,
    *(("cart", "add_to_cart"),) * 4,
    *(("cart", "remove_from_cart"),) * 2,
    *(("purchase", "purchase"),) * 5,
    *(("browse", "search"),) * 3,
    ("browse", "visit"),
    ("cart", "begin_checkout"),
    *(("member", "register"),) * 2,
    *(("purchase", "order_placed"),) * 2,
    ("purchase", "cancel"),
    ("engagement", "ticket_opened"),
    ("engagement", "opened"),
    ("engagement", "review"),
    ("member", "profile"),
    ("member", "points"),
)


def scenario(seed: int, kind: Kind = "small") -> Scenario:
    """Return the scenario of a seed."""
    rng = Random(seed)
    lanes = rng.choice((2, 2, 3))
    workers = rng.choice((1, 2, 2, 3))
    events, ends = _year(rng) if kind == "shipped" else _events(rng)

    def moment() -> int:
        if kind != "shipped":
            return rng.randrange(0, ends)
        # In all the rest of the year there is nobody whom it would concern.
        return max(rng.choice(events).at + rng.randrange(-500, 5_000), 0)

    return Scenario(
        seed,
        lanes,
        workers,
        rng.choice((600, 3000, 4_000_000)),
        rng.choice((3, 10_000)),
        rng.random() < 0.3,
        rng.random() < 0.25,
        tuple(events),
        tuple(sorted(_faults(rng, lanes, workers, ends, moment), key=lambda fault: fault.at)),
        kind,
    )


def _events(rng: Random) -> tuple[list[Event], int]:
    # Members whose events come in order are judged to the last field: half of them.
    disorderly = set(rng.sample((*MEMBERS, VISITOR), rng.choice((0, 2, 3))))
    events: list[Event] = []
    history = rng.choice((0, 10, 20))
    at = -HISTORY_MS
    for _ in range(history):
        at += rng.choice((500, 3_000, 12_000, HISTORY_MS // 12))
        if at < -1_000:
            events.append(_event(rng, at, disorderly, len(events)))
    at = rng.choice((0, 3_000))
    for _ in range(rng.randrange(20, 60)):
        at += rng.choice((1, 40, 300, 1_000, 1_500, 4_000, 7_000)) + 1
        event = _event(rng, at, disorderly, len(events))
        events.append(event)
        if event.key in disorderly and event.body and rng.random() < 0.15:
            at += rng.choice((1, 300, 2_000))
            # Sent again by an upstream that heard no answer.
            delay = event.delay + at - event.at
            events.append(event._replace(at=at, delay=delay, kind="duplicate"))
        elif rng.random() < 0.03:
            at += 1
            events.append(_poison(rng, at))
    return events, at


def _event(rng: Random, at: int, disorderly: set[str], number: int) -> Event:
    topic, kind = rng.choice(_TYPES)
    key = rng.choice((*MEMBERS, *MEMBERS, VISITOR))
    if key != VISITOR and key not in disorderly and rng.random() < 0.01:
        topic, kind = "member", "erase"
    body: dict[str, Any] = {"type": kind}
    if key == VISITOR:
        body["anonymous_id"] = key
    else:
        body["member_id"] = key
    if rng.random() < 0.5 or key in disorderly:
        body["event_id"] = f"e{number}"
    match kind:
        case "view_item" | "add_to_cart" | "remove_from_cart":
            body["item_id"] = rng.choice(ITEMS)
            body["price"] = rng.choice((5, 10))
        case "purchase":
            body["order_id"], body["total"] = rng.choice(ORDERS), rng.choice((5, 10, 20))
            chosen = rng.sample(ITEMS, rng.randrange(3))
            body["items"] = [{"item_id": item, "quantity": 1} for item in chosen]
        case "order_placed" | "cancel":
            body["order_id"] = rng.choice(ORDERS)
        case "search":
            body["query"] = "tea"
        case "opened":
            body["channel"] = "sms"
            if rng.random() < 0.15:
                body["type"] = "unsubscribed"
        case "ticket_opened":
            body["ticket_id"] = f"t{number}"
        case "points":
            body["balance"] = rng.choice((0, 50))
        case "profile":
            body["locale"] = rng.choice(("en", "zh-CN"))
    delay, said = 0, ""
    if key in disorderly and rng.random() < 0.4:
        late = rng.random() < 0.2
        delay = rng.randrange(LATENESS_MS, 20_000) if late else rng.randrange(1, LATENESS_MS + 1)
        said = "late" if late else "disordered"
    return Event(at, topic, key, delay, json.dumps(body), kind=said)


def _year(rng: Random) -> tuple[list[Event], int]:
    deeds, names = lives(rng)
    disorderly = set(rng.sample(names, rng.choice((0, 1, 2))))
    events: list[Event] = []
    at = -DAY * 365
    for deed in deeds:
        at = max(deed.at, at + 1)
        delay, said = 0, ""
        if deed.name in disorderly and rng.random() < 0.4:
            late = rng.random() < 0.2
            delay = rng.randrange(LATE[0], LATE[1]) if late else rng.randrange(1, LATE[0] + 1)
            said = "late" if late else "disordered"
        named = {"event_id": f"e{len(events)}"}
        body = deed.body | (named if rng.random() < 0.5 or deed.name in disorderly else {})
        event = Event(at, deed.topic, deed.name, delay, json.dumps(body), kind=said)
        events.append(event)
        if deed.name in disorderly and rng.random() < 0.1:
            at += rng.choice((1, 300, 2_000))
            delay = event.delay + at - event.at
            events.append(event._replace(at=at, delay=delay, kind="duplicate"))
        elif at > 0 and rng.random() < 0.01:
            at += 1
            events.append(_poison(rng, at))
    return events, at


def _poison(rng: Random, at: int) -> Event:
    key = rng.choice(MEMBERS)
    match rng.randrange(5):
        case 0:
            return Event(at, "browse", key, raw="{not json", kind="poison")
        case 1:
            return Event(at, "cart", key, raw='{"type":"no_such"}', kind="poison")
        case 2:
            body = json.dumps({"type": "visit", "member_id": "somebody else"})
            return Event(at, "browse", key, body=body, kind="poison")
        case 3:
            body = json.dumps({"type": "visit", "member_id": key})
            return Event(at, "browse", key, body=body, kind="poison", elsewhere=True)
        case _:
            raw = json.dumps({"type": "unsubscribed", "member_id": key})
            return Event(at, "engagement", key, raw=raw, kind="poison")


def _faults(
    rng: Random, lanes: int, workers: int, ends: int, moment: Callable[[], int]
) -> list[Fault]:
    found: list[Fault] = []
    for _ in range(rng.randrange(2, 10)):
        at = moment()
        slot = rng.randrange(workers)
        lasts = rng.choice((100, 2_000, 15_000))
        # Most of what matters is at writes.
        point = rng.choice((rng.choice(WRITES), rng.choice(ANYWHERE), ""))
        skip = rng.choice((0, 0, 1, 3))
        match rng.randrange(22):
            case 0 | 1 | 2 | 3:
                found.append(Fault("crash", at, slot, lasts, point, skip))
            case 4:
                name, late = rng.choice(("append", "send")), rng.choice((0, 5, 20))
                found.append(Fault("stray", at, slot, lasts, name, late))
            case 5 | 6 | 7 | 8:
                lasts = rng.choice((1_000, 14_000, 30_000, 45_000))
                found.append(Fault("freeze", at, slot, lasts, point, skip))
            case 9:
                name = rng.choice(("append", "send", rng.choice(REQUESTS)))
                found.append(Fault("lose request", at, slot, 0, name, skip))
            case 10:
                name = rng.choice(("append", "send", rng.choice((*REQUESTS, "fetch"))))
                found.append(Fault("lose answer", at, slot, 0, f"{name} answered", skip))
            case 11:
                name = rng.choice(WRITES)
                found.append(Fault("fail", at, slot, 0, name, skip))
            case 12:
                found.append(Fault("forget offset", at, slot, 0, "append answered", skip))
            case 13:
                found.append(Fault("delay", at, slot, lasts))
            case 14:
                found.append(Fault("join", at, workers, rng.choice((10_000, 30_000))))
            case 15:
                found.append(Fault("leave", at, slot, lasts))
            case 16:
                lasts = rng.choice((2_000, 20_000, 60_000))
                found.append(Fault("lag", rng.choice((0, at)), rng.randrange(5), lasts))
            case 17:
                found.append(Fault("rewind", at, slot))
            case 18:
                found += [Fault("compact", at, lane) for lane in range(lanes)]
            case 19:
                found.append(Fault("broker away", at, 0, rng.choice((500, 4_000, 12_000))))
            case 20:
                found.append(Fault("cut off", at, slot, rng.choice((3_000, 16_000, 30_000))))
            case 21:
                step = rng.choice((-3_600_000, -5_000, -500, 500, 5_000, 3_600_000))
                found.append(Fault("clock", at, slot, step))
    if any(fault.kind == "compact" for fault in found) and rng.random() < 0.5:
        # Without zombies compaction may come as soon as it likes.
        found = [fault for fault in found if fault.kind not in ZOMBIES]
        for at in (ends // 3, ends // 2, 2 * ends // 3, ends):
            found += [Fault("compact", at, lane) for lane in range(lanes)]
    if rng.random() < 0.3:
        found.append(Fault("redis away", moment(), 0, rng.choice((5_000, 40_000))))
    if rng.random() < 0.12:
        found.append(Fault("rules", rng.randrange(ends // 4, ends)))
    elif rng.random() < 0.1:
        found.append(Fault("topic anew", rng.randrange(ends // 4, ends), rng.randrange(5)))
    return found
