"""The members: what a lane does with the records of the member topics.

Bytes become a typed event at the edge, the core folds it, and what follows becomes records for
the output topics. Keys of rows are one byte that tells whose id it is (``m`` member, ``a``
anonymous) and the id itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import msgspec

from agents.dead_letters import dead_letter
from agents.fold import Decoded, Refused
from agents.partitioner import PartitionOf
from agents.ports import Output, SourceRecord, StopWorker
from models import engine
from models.closures import NOTHING
from models.contacts import was_sent
from models.decoding import RANK_OF, InvalidEvent, Received, instant, receive, salvage_opt_out
from models.events import MEMBER_TOPICS, Event, Unsubscribed
from models.guard import Guard
from models.member import Member, UnknownVersion, book_of, decode, decode_told, due_of, encode
from models.outcome import Context, Outcome
from models.predicting import Library
from models.projection import project
from models.rulebook import RuleBook
from models.stages import NEVER
from models.times import DAY, MINUTE, parse_instant
from models.triggers import Decision, Trigger

MEMBER = b"m"
ANONYMOUS = b"a"
# Keys of member updates: a member's id, or for an anonymous id this and the id. The byte 0xff is
# in no UTF-8 text, so that no member id can be mistaken for it. It has no say in the partition: an
# update lies in the member's lane.
ANONYMOUS_UPDATE = b"anonymous\xff"

# Placing a key costs a few microseconds in Python; members come again, so it is remembered.
REMEMBERED_KEYS = 200_000


class WrongDeployment(StopWorker):
    """More than half of many records are bad: the data is right and this program is wrong."""


@dataclass(frozen=True, slots=True)
class OutputTopics:
    """Where what follows is sent."""

    triggers: str = "triggers"
    decisions: str = "decisions"
    member_updates: str = "member-updates"
    dead_letters: str = "dead-letters"
    churn_questions: str = "churn-questions"


@dataclass(slots=True)
class MemberStats:
    """Counters of one worker since it started; read by the metrics."""

    events: dict[str, int] = field(default_factory=dict)
    triggers: dict[str, int] = field(default_factory=dict)
    cancelled: dict[tuple[str, str], int] = field(default_factory=dict)
    """By rule, and whether the message had been sent."""
    verdicts: dict[tuple[str, str], int] = field(default_factory=dict)
    transitions: dict[tuple[str, str], int] = field(default_factory=dict)
    segment_changes: dict[tuple[str, str], int] = field(default_factory=dict)
    duplicates: int = 0
    late: int = 0
    ahead: int = 0
    dead_letters: dict[str, int] = field(default_factory=dict)
    opt_outs_salvaged: int = 0
    crashed: int = 0
    state_bytes: int = 0
    rows_saved: int = 0


def update_of(row: bytes) -> bytes:
    """Return the key of the update that is made of the row with this key."""
    return row[1:] if row[:1] == MEMBER else ANONYMOUS_UPDATE + row[1:]


def placed_by(key: bytes) -> bytes:
    """Return what decides the partition of an output with this key."""
    return key.removeprefix(ANONYMOUS_UPDATE)


def _identity(key: bytes) -> tuple[str, bool]:
    """Return the id that a row's key names, and whether it is an anonymous one."""
    return key[1:].decode(), key[:1] == ANONYMOUS


def _count(counts: dict[str, int], name: str) -> None:
    counts[name] = counts.get(name, 0) + 1


class Salvaged(msgspec.Struct, frozen=True):
    """A malformed opt-out: what it must at least do, and its dead letter."""

    received: Received
    letter: Output


MemberEvent: TypeAlias = Received | Salvaged


class BadShare:
    """Watches the share of bad records; old ones count less and less.

    Raises ``WrongDeployment`` when more than ``limit`` of at least ``least`` records are bad.
    """

    def __init__(self, limit: float = 0.5, least: int = 10_000) -> None:
        self._limit = limit
        self._least = least
        self._seen = 0
        self._bad = 0

    def good(self) -> None:
        """Count a good record."""
        self._seen += 1

    def bad(self) -> None:
        """Count a bad record; raise when there are too many."""
        self._seen += 1
        self._bad += 1
        if self._seen >= self._least and self._bad > self._limit * self._seen:
            raise WrongDeployment(
                f"{self._bad} of the last {self._seen} records were not events of their topics: "
                "look into the dead letters, and check topics, producers and this version"
            )
        if self._seen >= 2 * self._least:
            self._seen //= 2
            self._bad //= 2


class MemberFold:
    """A lane's fold over members (``agents.fold.Fold``)."""

    def __init__(
        self,
        book: RuleBook,
        topics: OutputTopics,
        partition_of: PartitionOf,
        partitions: int,
        source: str,
        bad_share: BadShare,
        stats: MemberStats,
        topic_prefix: str = "",
        on_raised: Callable[[int, int, int | None], None] | None = None,
        wall_clock: Callable[[], int] | None = None,
        guard: Guard | None = None,
        models: Library | None = None,
    ) -> None:
        """Make the fold.

        ``source`` is the CloudEvents source of triggers. ``on_raised`` is told (arrived, due, now)
        of each trigger, in epoch milliseconds: the completing record's timestamp (0: a deadline).
        ``wall_clock`` tells which records are from the future; without it none is. The ``guard`` is
        told what is folded and raised; without one nothing is ever closed. ``models`` are what
        members are scored with.
        """
        self.topics: Sequence[str] = tuple(topic_prefix + topic for topic in MEMBER_TOPICS)
        self._names = {topic_prefix + topic: topic for topic in MEMBER_TOPICS}
        self._book = book
        self._out = topics
        self._partition_of = partition_of
        self._partitions = partitions
        self._source = source.encode()
        self._bad_share = bad_share
        self._stats = stats
        self._on_raised = on_raised
        self._wall_clock = wall_clock
        self._guard = guard
        self._models = models
        # Timestamps below are fine without looking at the clock.
        self._too_late = NEVER if wall_clock is None else 0
        self._placed: dict[bytes, int] = {}
        self._encode = msgspec.json.Encoder().encode

    # --- the edge ---

    def decode(self, record: SourceRecord) -> Decoded[MemberEvent] | Refused:
        """Return the record's event, or its dead letter.

        Raises ``WrongDeployment`` when most records are bad.
        """
        topic = self._names[record.topic]
        key = record.key
        try:
            if record.timestamp >= self._too_late:
                self._refuse_future(record.timestamp)
            received = receive(
                topic, record.value, key, record.partition, record.offset, record.timestamp
            )
            assert key is not None
            if self._place(key) != record.partition:
                raise InvalidEvent(
                    "partition",
                    f"the key belongs to partition {self._place(key)}: "
                    "the producer uses another partitioner or partition count",
                )
        except InvalidEvent as error:
            return self._refuse(record, error)
        self._bad_share.good()
        _count(self._stats.events, received.type)
        if received.ahead > 5 * MINUTE:
            self._stats.ahead += 1
        kind = ANONYMOUS if received.event.member_id is None else MEMBER
        return Decoded(kind + key, received.at, received)

    def _refuse_future(self, timestamp: int) -> None:
        assert self._wall_clock is not None
        self._too_late = self._wall_clock() + DAY
        if timestamp >= self._too_late:
            # Apache Kafka refuses them by itself from 4.0 on.
            raise InvalidEvent("timestamp", "was a day or more in the future")

    def _place(self, key: bytes) -> int:
        placed = self._placed.get(key)
        if placed is None:
            if len(self._placed) >= REMEMBERED_KEYS:
                self._placed.clear()
            placed = self._placed[key] = self._partition_of(key, self._partitions)
        return placed

    def _refuse(self, record: SourceRecord, error: InvalidEvent) -> Decoded[MemberEvent] | Refused:
        self._bad_share.bad()
        _count(self._stats.dead_letters, error.path if error.path in ("key", "partition") else "$")
        letter = dead_letter(self._out.dead_letters, record, error.path, error.reason)
        late = self._too_late
        arrived = record.timestamp if record.timestamp < late else late - DAY
        opt_out = salvage_opt_out(record.value, record.key, arrived)
        if opt_out is None:
            return Refused((letter,))
        self._stats.opt_outs_salvaged += 1
        assert opt_out.member_id is not None
        key = opt_out.member_id.encode()
        if self._place(key) != record.partition:
            # The member lives in another lane: tell that lane by an event of its own.
            return Refused((letter, self._forward(key, opt_out)))
        at = instant(opt_out.occurred_at, "$.occurred_at")
        rank = RANK_OF[self._names[record.topic]]
        received = Received(opt_out, at, rank, record.partition, record.offset, record.value or b"")
        return Decoded(MEMBER + key, at, Salvaged(received, letter))

    def _forward(self, key: bytes, opt_out: Event) -> Output:
        index = MEMBER_TOPICS.index("engagement" if isinstance(opt_out, Unsubscribed) else "member")
        return Output(self.topics[index], key, self._encode(opt_out))

    # --- rows ---

    def load(self, key: bytes, body: bytes | None) -> Member:
        """Return the member of a row, or a new one.

        Raises ``StopWorker`` for a row that a newer program wrote.
        """
        identity, anonymous = _identity(key)
        if body is None:
            return Member(identity, anonymous)
        try:
            return decode(body, identity, anonymous)
        except UnknownVersion as error:
            raise StopWorker(str(error)) from None

    def save(self, state: Member, due: int | None) -> bytes | None:
        """Return the member's row; None when an erased member's last trace may go.

        ``due`` is the member's ``next_due``.
        """
        if engine.is_gone(state):
            return None
        engine.settle(state, self._book)
        row = encode(state, NEVER if due is None else due, self._book.digest)
        self._stats.rows_saved += 1
        self._stats.state_bytes += len(row)
        return row

    def due(self, body: bytes) -> int | None:
        """Return the earliest deadline of a row: from its header, unless the rules have changed.

        Then the row is decoded: a deadline is what the rules say that are live when it fires.
        Raises ``StopWorker`` for a row that a newer program wrote.
        """
        try:
            if book_of(body) == self._book.digest:
                return due_of(body)
            return self.next_due(decode(body, "", False))
        except UnknownVersion as error:
            raise StopWorker(str(error)) from None

    def next_due(self, state: Member) -> int | None:
        """Return the earliest deadline of a member."""
        due = engine.next_due(state, self._book)
        return None if due >= NEVER else due

    def applied(self, state: Member, topic: int) -> int:
        """Return the last offset of a topic that was folded into the member."""
        return state.applied[topic]

    # --- folding ---

    def apply(
        self,
        state: Member,
        decoded: Decoded[MemberEvent],
        record: SourceRecord,
        now: int | None,
        quiet_until: int = 0,
    ) -> Sequence[Output]:
        """Fold one event into the member; return what is to be sent."""
        event = decoded.event
        before: list[Output] = []
        if isinstance(event, Salvaged):
            before.append(event.letter)
            event = event.received
        closed = NOTHING
        if self._guard is not None and now is not None:
            if event.event.origin != "backfill":
                self._guard.count(event.type, event.event.source, event.at)
            closed = self._guard.closed(event.at, now)
        context = Context(self._book, now, closed, self._models)
        outcome = engine.handle(state, event, context, quiet_until)
        if outcome.duplicate:
            self._stats.duplicates += 1
        if outcome.late:
            self._stats.late += 1
        outputs = self._outputs(outcome, record.timestamp, now)
        return [*before, *outputs] if before else outputs

    def advance(self, state: Member, to: int, now: int | None) -> Sequence[Output]:
        """Fire the member's deadlines up to ``to``; return what is to be sent."""
        closed = NOTHING
        if self._guard is not None and now is not None:
            closed = self._guard.closed(to, now)
        context = Context(self._book, now, closed, self._models)
        return self._outputs(engine.advance(state, to, context), 0, now)

    def crashed(self, what: SourceRecord | bytes, error: Exception) -> Sequence[Output]:
        """Return the dead letter of a record that the engine failed on: a defect of ours."""
        self._stats.crashed += 1
        if isinstance(what, bytes):
            return ()
        reason = f"the engine failed on it: {type(error).__name__}"
        return (dead_letter(self._out.dead_letters, what, "$", reason),)

    def project(self, key: bytes, body: bytes | None) -> Sequence[Output]:
        """Return the member update of a saved row.

        Raises ``StopWorker`` for a row that a newer program wrote.
        """
        to = update_of(key)
        if body is None:
            return (Output(self._out.member_updates, to, None),)
        due = self.due(body)
        member = decode_told(body, *_identity(key))
        update = project(member, due, self._book, self._models)
        return (Output(self._out.member_updates, to, self._encode(update)),)

    def row_of(self, update: bytes) -> bytes:
        """Return the key of the row that an update with this key tells of."""
        if update.startswith(ANONYMOUS_UPDATE):
            return ANONYMOUS + update.removeprefix(ANONYMOUS_UPDATE)
        return MEMBER + update

    def _outputs(self, outcome: Outcome, arrived: int, now: int | None) -> list[Output]:
        if not outcome.triggers and not outcome.decisions and not outcome.asked:
            return []
        stats, key = self._stats, outcome.member.id.encode()
        topic = self._out.churn_questions
        # No key: there is one partition, and the messages tell members by number alone.
        outputs = [Output(topic, b"", self._encode(message)) for message in outcome.asked]
        for message in outcome.triggers:
            if isinstance(message, Trigger):
                _count(stats.triggers, message.rule)
                if self._guard is not None and now is not None:
                    self._guard.raised(message.rule, now)
                if self._on_raised is not None:
                    self._on_raised(arrived, parse_instant(message.due_at), now)
                identity, kind, at = message.trigger_id, b"trigger", message.due_at
            else:
                sent = was_sent(outcome.member, bytes.fromhex(message.trigger_id))
                told = (message.rule, "yes" if sent else "no")
                stats.cancelled[told] = stats.cancelled.get(told, 0) + 1
                identity, kind = f"{message.trigger_id}/cancelled", b"trigger_cancelled"
                at = message.cancelled_at
            headers = (
                ("ce_specversion", b"1.0"),
                ("ce_id", identity.encode()),
                ("ce_type", b"member-lifecycle." + kind),
                ("ce_source", self._source),
                ("ce_time", at.encode()),
                ("content-type", b"application/json"),
            )
            outputs.append(Output(self._out.triggers, key, self._encode(message), headers))
        for decision in outcome.decisions:
            if isinstance(decision, Decision):
                verdict = (decision.rule, decision.verdict)
                stats.verdicts[verdict] = stats.verdicts.get(verdict, 0) + 1
            elif decision.kind == "segment":
                entered = decision.after, "entered"
                change = entered if decision.after else (decision.before, "left")
                stats.segment_changes[change] = stats.segment_changes.get(change, 0) + 1
            else:
                move = (decision.before, decision.after)
                stats.transitions[move] = stats.transitions.get(move, 0) + 1
            outputs.append(Output(self._out.decisions, key, self._encode(decision)))
        return outputs
