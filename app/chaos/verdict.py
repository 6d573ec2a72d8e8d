"""The verdict: what came out, beside what the oracle says must have."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import msgspec

from agents.members import update_of
from agents.partitioner import murmur2_partition
from app.chaos import equality
from app.chaos.equality import Equality, Era, Expected, Finding, Sourced
from app.chaos.feed import POISON
from app.chaos.reading import Record
from models.projection import project
from models.rulebook import RuleBook
from models.times import SECOND, parse_instant
from models.triggers import DeadLetter, MemberUpdate, Trigger, TriggerMessage

MARGIN_MS = 50
"""How far the workers' idea of time, which they have from the broker, and ours may lie apart."""

# What disorder, whatever its kind, leaves as it is.
_SETTLED = ("counts", "orders", "spend", "refunded", "registered_at")

# What depends on the moment at which a row was saved last.
_OF_THE_MOMENT = (
    "updated_at",
    "next_deadline_at",
    "activity_30d",
    "open_triggers",
    "last_triggers",
)
_WHOLE = tuple(name for name in MemberUpdate.__struct_fields__ if name not in _OF_THE_MOMENT)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that a run leaves behind."""

    source: Sequence[Record]
    """The member topics."""
    arrived: Mapping[int, int]
    """When the brokers had acknowledged each record, by its number; epoch milliseconds."""
    triggers: Sequence[Record]
    decisions: Sequence[Record]
    letters: Sequence[Record]
    updates: Mapping[bytes, bytes]
    """The last member update by key."""
    documents: Mapping[bytes, bytes]
    """What Redis holds, by the same keys."""
    until: int
    """Every deadline up to this instant, epoch milliseconds, has been waited for."""
    partitions: int


@dataclass(slots=True)
class Verdict:
    """What was found. ``clean`` when every event, trigger, letter and document is as it must be."""

    events: int = 0
    members: int = 0
    equality: Equality = field(default_factory=Equality)
    by_rule: Counter[str] = field(default_factory=Counter)
    """Different triggers of each rule."""
    poison: int = 0
    letters: list[Finding] = field(default_factory=list)
    """Poison that is no dead letter, and dead letters that were no poison."""
    envelopes: list[Finding] = field(default_factory=list)
    """Triggers under another key than their member's, elsewhere than its lane, or before due."""
    documents: list[Finding] = field(default_factory=list)
    """Members of whom Redis says something else than the oracle, or than the topic."""

    @property
    def clean(self) -> bool:
        """Whether nothing that is claimed was broken."""
        return self.equality.ok and not (self.letters or self.envelopes or self.documents)

    @property
    def unfinished(self) -> bool:
        """Whether what is not as it must be may still come."""
        found = self.equality
        return bool(found.missing or found.wrong or self.letters or self.documents)


def judge(evidence: Evidence, book: RuleBook) -> Verdict:
    """Compare the evidence with the oracle."""
    eras = [Era(book, evidence.until)]
    expected = equality.expect(
        map(_sourced(evidence), evidence.source),
        eras,
        lambda key: murmur2_partition(key, evidence.partitions),
    )
    found = equality.judge(
        _values(evidence.triggers), _values(evidence.decisions), expected, eras, MARGIN_MS
    )
    poison = [record for record in evidence.source if record.made == POISON]
    return Verdict(
        events=len(evidence.source) - len(poison),
        members=len(expected.members),
        equality=found,
        by_rule=_by_rule(_values(evidence.triggers)),
        poison=len(poison),
        letters=list(_judge_letters(poison, evidence.letters)),
        envelopes=list(_judge_envelopes(evidence)),
        documents=list(_judge_documents(expected, evidence, found, book)),
    )


def _sourced(evidence: Evidence) -> Callable[[Record], Sourced]:
    def sourced(record: Record) -> Sourced:
        arrived = evidence.arrived.get(record.number, evidence.until)
        return Sourced(*record[:6], arrived)

    return sourced


def _values(records: Iterable[Record]) -> list[bytes]:
    return [record.value for record in records if record.value is not None]


def _by_rule(values: Iterable[bytes]) -> Counter[str]:
    decode = msgspec.json.Decoder(TriggerMessage).decode
    rules = {said.trigger_id: said.rule for said in map(decode, values) if type(said) is Trigger}
    return Counter(rules.values())


def _judge_letters(poison: Iterable[Record], letters: Iterable[Record]) -> Iterable[Finding]:
    decode = msgspec.json.Decoder(DeadLetter).decode
    found = {}
    for raw in _values(letters):
        letter = decode(raw)
        # With the run's prefix, which ends with a dot.
        topic = letter.topic.rpartition(".")[2]
        found[topic, letter.partition, letter.offset] = letter
    for record in poison:
        value = record.value or b""
        dead = found.pop(record[:3], None)
        if dead is None:
            yield _letter(record[:3], "is poison and no dead letter")
        elif (dead.length, dead.sha256) != (len(value), sha256(value).hexdigest()):
            yield _letter(record[:3], "is a dead letter with other contents")
    for origin, dead in found.items():
        yield _letter(origin, f"is a dead letter and no poison: {dead.path}: {dead.reason}")


def _letter(origin: tuple[str, int, int], note: str) -> Finding:
    topic, partition, offset = origin
    return Finding("", "", "", f"{topic}[{partition}] offset {offset} {note}")


def _judge_envelopes(evidence: Evidence) -> Iterable[Finding]:
    decode = msgspec.json.Decoder(TriggerMessage).decode
    for record in evidence.triggers:
        said = decode(record.value or b"")
        key = said.member_id.encode()
        at = said.raised_at if type(said) is Trigger else None
        wrong = []
        if record.key != key:
            wrong.append(f"has the key {record.key!r}")
        if record.partition != murmur2_partition(key, evidence.partitions):
            wrong.append(f"is in partition {record.partition}")
        if at is not None and parse_instant(at) < parse_instant(said.due_at) - MARGIN_MS:
            wrong.append(f"was raised at {at}, due at {said.due_at}")
        yield from (Finding(said.member_id, said.rule, said.trigger_id, note) for note in wrong)


def _judge_documents(
    expected: Expected, evidence: Evidence, found: Equality, book: RuleBook
) -> Iterable[Finding]:
    documents, updates = evidence.documents, evidence.updates
    for key in sorted(documents.keys() | updates.keys()):
        if documents.get(key) != updates.get(key):
            yield _document(key, "differs from the last member update")
    decode = msgspec.json.Decoder(MemberUpdate).decode
    in_order = found.orderly - found.aged
    for row, member in expected.members.items():
        key = update_of(row)
        document = documents.get(key)
        if document is None:
            yield _document(key, "has no document")
            continue
        live, right = decode(document), project(member, None, book)
        # Workers go on to fire deadlines when the oracle has ended.
        whole = member.id in in_order and parse_instant(live.updated_at) <= evidence.until
        known = _WHOLE if whole else _SETTLED
        for name in (name for name in known if getattr(live, name) != getattr(right, name)):
            note = f"{name} is {getattr(live, name)}, expected {getattr(right, name)}"
            yield _document(key, note)


def _document(key: bytes, note: str) -> Finding:
    return Finding(key.decode(errors="replace"), "", "", note)


def longest_wait(book: RuleBook) -> int:
    """Return how long (milliseconds) after the last event the last trigger can be due."""
    waits = [within for track in book.tracks.values() for within in track.withins]
    for row in (row for rows in book.stage_rows for row in rows if row.after in book.on_stage):
        waits += [row.when.quiet or 0, row.when.dwell or 0]
    return max(waits, default=0) + SECOND


def keep(evidence: Evidence, folder: Path) -> None:
    """Write the evidence down: ``events.jsonl`` is what ``lifecycle replay`` reads."""
    events = (one for one in evidence.source if one.made != POISON)
    _write(folder / "events.jsonl", _values(sorted(events, key=lambda one: one.timestamp)))
    _write(folder / "triggers.jsonl", _values(evidence.triggers))
    _write(folder / "decisions.jsonl", _values(evidence.decisions))
    _write(folder / "dead-letters.jsonl", _values(evidence.letters))


def _write(path: Path, lines: Iterable[bytes]) -> None:
    path.write_bytes(b"".join(line + b"\n" for line in lines))
