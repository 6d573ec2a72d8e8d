"""A golden changelog: what one version of the program wrote, and what it meant by it.

``python tests/support/golden_changelog.py`` writes the files of the version of ``models.member``
that is checked out, and never those of another: it refuses when they are there. Events and rules
lie beside them and are never made again, so that nothing but a change of format changes a byte. A
version whose state holds what the events of the one before do not fill has inputs of its own.
"""

import gzip
import heapq
import json
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from scripted_models import ScriptedModels

from agents.fold import Decoded
from agents.group import Group
from agents.members import BadShare, MemberFold, MemberStats, OutputTopics
from agents.ports import LoggedRow, Output, Row
from agents.recovery import (
    OUTBOX,
    ROW,
    Outbox,
    Recovered,
    Recovery,
    encode,
    epoch_bytes,
    fence,
    recover,
)
from agents.wal import Wal
from app.event_reading import in_order, read_records
from config.paths import load_config
from models import member as rows
from models.decoding import Received, receive
from models.member import Member
from models.projection import project
from models.replay import replay
from models.rulebook import RuleBook
from models.rules import Limits
from models.times import parse_instant, rfc3339

FOLDER = Path(__file__).resolve().parents[1] / "data" / "changelog"
CUT = parse_instant("2011-09-01T00:00:00Z")
"""Events before it are in the changelog; those after it go on from there."""
UNTIL = parse_instant("2011-12-31T00:00:00Z")
"""The last events' deadlines have fired by then."""
GROUPS = 12
TOPIC_IDS = {name: f"id-of-{name}" for name in ("member", "engagement", "browse", "cart")} | {
    "purchase": "id-of-purchase"
}

Json = dict[str, Any]


def inputs(version: int) -> tuple[Path, Path]:
    """The configuration and the events of a version: its own, or those of one before."""
    for number in range(version, 1, -1):
        config = FOLDER / f"config-v{number}"
        if config.exists():
            return config, FOLDER / f"events-v{number}.jsonl.gz"
    return FOLDER / "config", FOLDER / "events.jsonl.gz"


def book(version: int = rows.VERSION) -> RuleBook:
    """The rules of the golden files: copies, so that the shop's own may change."""
    found = load_config(inputs(version)[0])
    # Predictions came with version 2, and are in no older file.
    predictions = found.predictions if version > 1 else None
    chosen = (found.rules, found.stages, found.policy, Limits(), found.audiences, predictions)
    return RuleBook(*chosen)


def fold_with(rules: RuleBook) -> MemberFold:
    """Members who have bought are scored as a script says, so that no learning changes a byte."""
    stats, models = MemberStats(), ScriptedModels()
    return MemberFold(
        rules, OutputTopics(), lambda key, count: 0, 1, "/golden", BadShare(), stats, models=models
    )


class Placed(NamedTuple):
    """An event as a record of its topic."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes
    value: bytes


def placed(version: int) -> list[Placed]:
    """All events in order of time, each with its place in its topic."""
    ends: dict[str, int] = {}
    found = []
    for record in in_order(read_records([inputs(version)[1]])):
        offset = ends.get(record.topic, 0)
        ends[record.topic] = offset + 1
        found.append(Placed(record.topic, 0, offset, record.at, record.key, record.raw))
    return found


def split(version: int) -> tuple[list[Placed], list[Placed]]:
    """The events that the changelog holds, and those that come later."""
    events = placed(version)
    return (
        [event for event in events if event.timestamp < CUT],
        [event for event in events if event.timestamp >= CUT],
    )


@dataclass
class MemoryChangelog:
    """``agents.ports.ChangelogPort`` over a list."""

    records: list[LoggedRow] = field(default_factory=list)

    async def append(self, lane: int, rows: Sequence[Row]) -> int | None:
        first = len(self.records)
        self.records += [LoggedRow(first + i, row.key, row.value) for i, row in enumerate(rows)]
        return first

    async def end(self, lane: int) -> int:
        return len(self.records)

    async def read(self, lane: int, start: int, end: int) -> AsyncIterator[Sequence[LoggedRow]]:
        yield self.records[start:end]


class Owner:
    """Folds events and deadlines as a worker does whose clock is the newest event's time."""

    def __init__(self, fold: MemberFold, bodies: dict[bytes, bytes]) -> None:
        self.bodies = bodies
        self.touched: dict[bytes, Member] = {}
        self.outputs: list[Output] = []
        self.done: dict[str, int] = {}
        self._fold = fold
        self._due = [(due, key) for key, body in bodies.items() if (due := fold.due(body))]
        heapq.heapify(self._due)

    def sees(self, event: Placed) -> None:
        self.reaches(event.timestamp)
        decoded = self._fold.decode(event)
        assert isinstance(decoded, Decoded), event.value
        member = self._member(decoded.key)
        self.outputs += self._fold.apply(member, decoded, event, event.timestamp)
        self._arm(decoded.key, member)
        self.done[event.topic] = event.offset + 1

    def reaches(self, at: int) -> None:
        """Fire what is due up to an instant, each at its own."""
        while self._due and self._due[0][0] <= at:
            due, key = heapq.heappop(self._due)
            member = self._member(key)
            if self._fold.next_due(member) == due:
                self.outputs += self._fold.advance(member, due, due)
                self._arm(key, member)

    def closes(self) -> Group:
        """What has been folded since the last group."""
        group = Group(outputs=self.outputs, done=dict(self.done))
        for key in sorted(self.touched):
            member = self.touched[key]
            due = self._fold.next_due(member)
            body = group.rows[key] = self._fold.save(member, due)
            if body is None:
                self.bodies.pop(key, None)
            else:
                self.bodies[key] = body
        self.outputs, self.touched = [], {}
        return group

    def _member(self, key: bytes) -> Member:
        member = self.touched.get(key)
        if member is None:
            member = self.touched[key] = self._fold.load(key, self.bodies.get(key))
        return member

    def _arm(self, key: bytes, member: Member) -> None:
        due = self._fold.next_due(member)
        if due is not None:
            heapq.heappush(self._due, (due, key))


async def write_changelog() -> list[LoggedRow]:
    """The changelog that this version writes, of two owners, the first of them a zombie later."""
    changelog, fold = MemoryChangelog(), fold_with(book())
    events, _ = split(rows.VERSION)
    size = -(-len(events) // GROUPS)
    groups = [events[start : start + size] for start in range(0, len(events), size)]
    bodies: dict[bytes, bytes] = {}
    for number, part in enumerate((groups[: GROUPS // 2], groups[GROUPS // 2 :]), start=1):
        epoch = await fence(changelog, 0, f"worker-{number}")
        bodies = {}
        recovered = await recover(changelog, 0, epoch, bodies)
        wal = Wal(changelog, 0, epoch, recovered, bodies, 1 << 20)
        await wal.reopen(TOPIC_IDS)
        owner = Owner(fold, bodies)
        for group in part:
            for event in group:
                owner.sees(event)
            await wal.write(owner.closes())
    # The first owner wakes and writes what it had in hand: nobody has repaired it yet.
    zombie = epoch_bytes(0)
    key = sorted(bodies)[0]
    last = Outbox(GROUPS // 2 + 1, {"browse": 1}, [])
    await changelog.append(
        0, [Row(OUTBOX, zombie + encode(last)), Row(ROW + key, zombie + bodies[key])]
    )
    return changelog.records


def read_changelog(records: Sequence[LoggedRow]) -> tuple[dict[bytes, bytes], Recovered]:
    """What a recovery makes of it: the rows, and the rest."""
    bodies: dict[bytes, bytes] = {}
    recovery = Recovery(bodies)
    recovery.take(records)
    return bodies, recovery.finish()


def what_it_says(records: Sequence[LoggedRow], rules: RuleBook) -> Json:
    """The changelog in words: members, their projections, and what recovery is told beside.

    A state is given by the fields that are not as a new member's; ``fields`` are those there are.
    """
    bodies, recovered = read_changelog(records)
    fold = fold_with(rules)
    found = {
        "fields": list(Member.__struct_fields__),
        "records": recovered.rows,
        "tombstones": sum(record.value is None for record in records),
        "topics": dict(recovered.topics),
        "stale": sorted(_readable(key) for key in recovered.stale),
        "outbox": {
            "number": recovered.outbox.number,
            "done": recovered.outbox.done,
            "outputs": [
                {"topic": output.topic, "key": _readable(output.key), "value": said(output.value)}
                | {"headers": {name: value.decode() for name, value in output.headers}}
                for output in recovered.outbox.outputs
            ],
        },
        "group": sorted(map(_readable, recovered.group)),
        "members": {
            _readable(key): {
                "next_due": fold.due(body),
                "state": state_of(fold.load(key, body)),
                "update": said(
                    msgspec.json.encode(project(fold.load(key, body), fold.due(body), rules))
                ),
            }
            for key, body in sorted(bodies.items())
        },
    }
    return said(json.dumps(found).encode())


def state_of(member: Member) -> Json:
    """Every field that says something, by its name; keys of maps as text."""
    nothing = Member("", False)
    return {
        name: msgspec.to_builtins(getattr(member, name), str_keys=True)
        for name in Member.__struct_fields__
        if getattr(member, name) != getattr(nothing, name)
    }


def what_follows(records: Sequence[LoggedRow], version: int) -> list[str]:
    """Triggers and cancellations of the later events and deadlines, folded into the changelog."""
    bodies, _ = read_changelog(records)
    owner = Owner(fold_with(book(version)), bodies)
    _, later = split(version)
    for event in later:
        owner.sees(event)
    owner.reaches(UNTIL)
    return sorted(_line(said(o.value)) for o in owner.outputs if o.topic == "triggers")


def what_the_oracle_says(version: int) -> list[str]:
    """The same, of a replay of all events without any changelog."""
    outcomes = replay(map(_received, placed(version)), book(version), UNTIL)
    messages = (
        said(msgspec.json.encode(message)) for outcome in outcomes for message in outcome.triggers
    )
    return sorted(line for line in map(_line, messages) if line >= rfc3339(CUT))


def _line(message: Json) -> str:
    at = message.get("raised_at") or message["cancelled_at"]
    words = (at, message["member_id"], message["type"], message["rule"], message["trigger_id"])
    return " ".join(words)


def _received(event: Placed) -> Received:
    return receive(event.topic, event.value, event.key, 0, event.offset, event.timestamp)


def said(value: bytes | None) -> Json:
    assert value is not None
    found: Json = json.loads(value)
    return found


def _readable(key: bytes) -> str:
    return key.decode("latin-1")


def paths(version: int) -> tuple[Path, Path]:
    """The changelog of a version, and what it says."""
    return FOLDER / f"v{version}.msgpack.gz", FOLDER / f"v{version}.json"


def kept_versions() -> list[int]:
    return sorted(int(path.name[1:].split(".")[0]) for path in FOLDER.glob("v*.msgpack.gz"))


def load(version: int) -> list[LoggedRow]:
    packed = gzip.decompress(paths(version)[0].read_bytes())
    return [LoggedRow(*record) for record in msgspec.msgpack.decode(packed)]


def expected(version: int) -> Json:
    found: Json = json.loads(paths(version)[1].read_bytes())
    return found


async def write() -> None:
    """Write the files of this version, once and for all."""
    log, words = paths(rows.VERSION)
    if log.exists():
        sys.exit(f"{log} is there: raise the version of the state, a kept file is never rewritten")
    records, rules = await write_changelog(), book()
    log.write_bytes(gzip.compress(msgspec.msgpack.encode(records), mtime=0))
    found = what_it_says(records, rules) | {"later": what_follows(records, rows.VERSION)}
    text = json.dumps(found, indent=1, ensure_ascii=False, sort_keys=True)
    words.write_text(text + "\n")
    print(f"{log}: {len(records)} records; {words}: {len(found['members'])} members")


if __name__ == "__main__":
    import asyncio

    asyncio.run(write())
