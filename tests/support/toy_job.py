"""A small job for lanes to fold: counts per topic, and a reminder that a purchase prevents.

``browse`` arms a reminder, ``purchase`` disarms it, ``cart`` is answered with a decision that
tells everything counted so far, and ``member`` may carry a special kind: ``raise`` makes the fold
fail half-way, ``forget`` makes the member vanish ten minutes later. ``truth`` says by brute force
what must come out.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from agents.fold import Decoded, Refused
from agents.ports import Output, SourceRecord

TOPICS = ("member", "engagement", "browse", "cart", "purchase")
REMIND_MS = 60_000
FORGET_MS = 600_000
NO_DEADLINE = 0


@dataclass(slots=True)
class State:
    key: bytes
    due: int | None = None
    counts: list[int] = field(default_factory=lambda: [0] * len(TOPICS))
    applied: list[int] = field(default_factory=lambda: [-1] * len(TOPICS))
    fired: int = 0
    forgotten: bool = False
    gone: bool = False


class Event(NamedTuple):
    topic: int
    kind: str


class Hiccup(Exception):
    """Raised by the fold on purpose."""


def value(at: int, kind: str = "") -> bytes:
    return json.dumps({"at": at, "kind": kind}).encode()


class ToyFold:
    topics: Sequence[str] = TOPICS

    def __init__(self, stumble_on: bytes | None = None) -> None:
        self.stumble_on = stumble_on
        self.due_calls = 0

    def decode(self, record: SourceRecord) -> Decoded[Event] | Refused:
        try:
            event = json.loads(record.value or b"")
            at, kind = event["at"], event["kind"]
        except (ValueError, KeyError, TypeError):
            where = f"{record.topic}:{record.offset}".encode()
            return Refused((Output("dead-letters", record.key or b"", where),))
        assert record.key is not None
        return Decoded(
            record.key, min(at, record.timestamp), Event(TOPICS.index(record.topic), kind)
        )

    def load(self, key: bytes, body: bytes | None) -> State:
        if body is None:
            return State(key)
        due = int.from_bytes(body[:8], "big")
        counts, applied, fired, forgotten = json.loads(body[8:])
        return State(key, due or None, counts, applied, fired, forgotten)

    def save(self, state: State, due: int | None) -> bytes | None:
        if state.gone:
            return None
        rest = [state.counts, state.applied, state.fired, state.forgotten]
        return (due or NO_DEADLINE).to_bytes(8, "big") + json.dumps(rest).encode()

    def due(self, body: bytes) -> int | None:
        self.due_calls += 1
        return int.from_bytes(body[:8], "big") or None

    def next_due(self, state: State) -> int | None:
        return state.due

    def applied(self, state: State, topic: int) -> int:
        return state.applied[topic]

    def apply(
        self,
        state: State,
        decoded: Decoded[Event],
        record: SourceRecord,
        now: int | None,
        quiet_until: int = 0,
    ) -> Sequence[Output]:
        outputs = list(self.advance(state, decoded.at, now))
        topic, kind = decoded.event
        state.gone = False
        state.counts[topic] += 1
        state.applied[topic] = record.offset
        name = TOPICS[topic]
        if kind == "raise":
            raise Hiccup
        if kind == "forget":
            state.forgotten = True
            state.due = decoded.at + FORGET_MS
        elif state.forgotten:
            pass
        elif name == "browse":
            state.due = decoded.at + REMIND_MS
        elif name == "purchase":
            state.due = None
        elif name == "cart":
            said = {"id": f"{name}:{record.offset}", "counts": state.counts, "at": now}
            outputs.append(Output("decisions", state.key, json.dumps(said).encode()))
        return outputs

    def advance(self, state: State, to: int, now: int | None) -> Sequence[Output]:
        if state.due is None or state.due > to:
            return ()
        due, state.due = state.due, None
        if state.key == self.stumble_on:
            raise Hiccup
        if state.forgotten:
            state.gone = True
            state.forgotten = False
            state.counts = [0] * len(TOPICS)
            return ()
        state.fired += 1
        said = {"id": f"{state.key.decode()}@{due}", "fired": state.fired, "at": now}
        return (Output("triggers", state.key, json.dumps(said).encode()),)

    def crashed(self, what: SourceRecord | bytes, error: Exception) -> Sequence[Output]:
        if isinstance(what, bytes):
            return (Output("dead-letters", what, b"deadline"),)
        where = f"{what.topic}:{what.offset} raised {type(error).__name__}".encode()
        return (Output("dead-letters", what.key or b"", where),)

    def project(self, key: bytes, body: bytes | None) -> Sequence[Output]:
        return (Output("member-updates", key, body),)

    def row_of(self, update: bytes) -> bytes:
        return update


class Said(NamedTuple):
    """Triggers and decisions without the clock reading, and the final counts by member."""

    said: dict[str, str]
    counts: dict[bytes, list[int]]


def truth(records: Iterable[SourceRecord], until: int) -> Said:
    """Return what comes out of these records, taken in order of time, and deadlines to ``until``.

    Knows ``browse``, ``cart``, ``purchase`` and plain records; shares nothing with the job above.
    """
    in_order = []
    for record in records:
        at = min(json.loads(record.value or b"")["at"], record.timestamp)
        in_order.append((at, TOPICS.index(record.topic), record.offset, record))
    in_order.sort(key=lambda entry: entry[:3])
    said: dict[str, str] = {}
    counts: dict[bytes, list[int]] = {}
    for member in sorted({record.key or b"" for *_, record in in_order}):
        mine = [entry for entry in in_order if entry[3].key == member]
        count = [0, 0, 0, 0, 0]
        reminders = 0
        for place, (at, topic, offset, _) in enumerate(mine):
            count[topic] += 1
            if topic == 3:
                said[f"cart:{offset}"] = str(count)
            later = [entry for entry in mine[place + 1 :] if entry[1] in (2, 4)]
            ended = bool(later) and later[0][0] < at + REMIND_MS
            if topic == 2 and not ended and at + REMIND_MS <= until:
                reminders += 1
                said[f"{member.decode()}@{at + REMIND_MS}"] = str(reminders)
        counts[member] = count
    return Said(said, counts)


def said_by(sent: Iterable[Output]) -> tuple[dict[str, str], dict[str, set[bytes]]]:
    """Return the same from what was sent, and for each id the different bytes it was sent as."""
    said: dict[str, str] = {}
    versions: dict[str, set[bytes]] = {}
    for output in sent:
        if output.topic not in ("triggers", "decisions"):
            continue
        content = json.loads(output.value or b"")
        said[content["id"]] = str(content.get("counts", content.get("fired")))
        versions.setdefault(content["id"], set()).add(output.value or b"")
    return said, versions
