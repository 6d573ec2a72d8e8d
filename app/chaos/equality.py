"""What a run must have said: the oracle, and where what was said differs from it.

The oracle folds the same source records in order of time, through the same core, with neither
broker nor clock. What may be claimed of a rule depends on how promptly the member's records came:

========================================= ==================================================
the member's records                      the triggers that stand after all cancellations
========================================= ==================================================
in order, nothing was decided meanwhile   are the oracle's, and so is everything else said:
                                          each trigger, cancellation, verdict and transition,
                                          field by field
delayed up to the allowed lateness, and   are the oracle's, for ``steady`` rules
up to the absence's ``within``
delayed up to the absence's ``within``    are all the oracle's, for ``steady`` absences; some
                                          may be missing, for what is late completes nothing
delayed for longer                        nothing is claimed
========================================= ==================================================

A rule is *steady* when it may raise always, waits for no derived fact, and, if it is an event's,
is not overtaken by others: what is not revived after a disorder (re-entry used up by a trigger
that should never have been, a deadline ended by a cart that was not empty after all) cannot concern
it. What the clock held back until it had expired is no trigger either; the decision says so.

Under a policy with caps, silence, arbitration or quiet hours one trigger more or less decides about
the next: nothing is claimed of members whose records were delayed, or of whom the clock, and not
the oracle, let a candidate expire.

A candidate that expired leaves no open trigger, so the end of one does not move the member's own
time on (docs/upgrades.md). Whether a rule that was changed afterwards still finds due what lies
before the change depends on that time: nothing is claimed of it, of such members.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec

from models.decoding import RANK_OF, InvalidEvent, Received, instant, receive, salvage_opt_out
from models.engine import advance, handle, next_due, settle
from models.ids import trigger_id
from models.member import Member, decode, encode
from models.outcome import Context, Outcome
from models.rulebook import RuleBook
from models.rules import DERIVED_FACTS, Absence, EventHappens, Rule
from models.times import parse_instant
from models.triggers import (
    Decision,
    DecisionMessage,
    Transition,
    Trigger,
    TriggerCancelled,
    TriggerMessage,
)

RowKey = bytes
"""The byte ``m`` (member) or ``a`` (anonymous) and the id, as the keys of the engine's rows."""


class Sourced(NamedTuple):
    """A record of a member topic as the broker holds it; times in epoch milliseconds."""

    topic: str
    """Without any prefix."""
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    arrived: int
    """The broker had it by then, at the latest."""


class Era(NamedTuple):
    """Rules, and the instant (epoch milliseconds, inclusive) up to which they were in force."""

    book: RuleBook
    until: int


class Promptness(Enum):
    """How a member's records came; see the table above."""

    IN_ORDER = 0
    DELAYED = 1


class Finding(NamedTuple):
    """One thing that was said and should not have been, or the other way round."""

    member: str
    rule: str
    trigger_id: str
    note: str


@dataclass
class Equality:
    """What the comparison found; ``ok`` when nothing that is claimed was broken."""

    missing: list[Finding] = field(default_factory=list)
    spurious: list[Finding] = field(default_factory=list)
    wrong: list[Finding] = field(default_factory=list)
    """Said with other contents than the oracle's, or twice in different bytes."""
    triggers: int = 0
    """Different triggers said."""
    cancelled: int = 0
    duplicates: int = 0
    """Messages said again, after the first time."""
    duplicates_identical: int = 0
    late_pairs: int = 0
    """Triggers that the oracle does not know, each with its cancellation."""
    expired: int = 0
    """Candidates of the oracle's triggers that the clock let expire before they were decided."""
    aged: frozenset[str] = frozenset()
    """Their members, whose states differ from the oracle's in what a trigger leaves behind."""
    orderly: frozenset[str] = frozenset()
    """Members whose records came in order: those of which everything is compared."""
    unclaimed: int = 0
    """Differences of members and rules of which nothing is claimed."""

    @property
    def ok(self) -> bool:
        """Return whether everything claimed holds."""
        return not (self.missing or self.spurious or self.wrong)


def steady(rule: Rule) -> bool:
    """Tell whether disorder within bounds leaves the rule's standing triggers as they are."""
    if rule.reentry.mode != "always":
        return False
    match rule.when:
        case EventHappens():
            return not rule.overtaken_by
        case Absence(of=of):
            return not any(pattern.type in DERIVED_FACTS for pattern in of)
        case _:
            return False


# --- the oracle ---


@dataclass
class Expected:
    """What the oracle says."""

    said: list[TriggerMessage]
    members: dict[RowKey, Member]
    """The members' states at the end, as if just read from their rows."""
    received: dict[RowKey, list[tuple[Received, Sourced]]]
    """Each member's events, in the order of time; duplicates included."""
    refused: int
    """Records that are no event of their topic, nor a malformed opt-out."""
    letters: set[tuple[str, int, int]]
    """Topic, partition and offset of the records that must be dead letters."""
    decided: list[DecisionMessage] = field(default_factory=list)
    """Every verdict and every transition."""


def expect(
    source: Iterable[Sourced],
    eras: Sequence[Era],
    partition_of: Callable[[bytes], int] | None = None,
) -> Expected:
    """Fold the source in order of time, member by member, under the rules of each era in turn.

    Between two eras every member goes through its row, as it does when a worker starts anew with
    other rules. ``partition_of`` places a key; without it every record is where it belongs.
    """
    found = Expected([], {}, {}, 0, set())
    for record in sorted(source, key=lambda record: (record.partition, record.offset)):
        received = _receive(record, partition_of)
        if received is None:
            found.letters.add((record.topic, record.partition, record.offset))
            received = _salvage(record, partition_of)
        if received is None:
            found.refused += 1
            continue
        found.received.setdefault(_row_key(received), []).append((received, record))
    for key, own in sorted(found.received.items()):
        own.sort(key=lambda entry: (entry[0].at, entry[0].rank))
        member = Member(key[1:].decode(), key[:1] == b"a")
        todo = [received for received, _ in own]
        for book, until in eras:
            context = Context(book)
            count = sum(received.at <= until for received in todo)
            for received in todo[:count]:
                _keep(found, handle(member, received, context))
            del todo[:count]
            # Step by step, as a lane does: a member's own time goes no further than what was due.
            while (due := next_due(member, book)) <= until:
                _keep(found, advance(member, due, context))
            member = _through_row(member, book)
        found.members[key] = member
    return found


def _receive(record: Sourced, partition_of: Callable[[bytes], int] | None) -> Received | None:
    key = record.key
    try:
        received = receive(
            record.topic, record.value, key, record.partition, record.offset, record.timestamp
        )
    except InvalidEvent:
        return None
    assert key is not None
    if partition_of is not None and partition_of(key) != record.partition:
        return None
    return received


def _salvage(record: Sourced, partition_of: Callable[[bytes], int] | None) -> Received | None:
    # A malformed opt-out must stop marketing all the same. One that lies in another lane than
    # its member's is forwarded, and comes along as a record of its own.
    opt_out = salvage_opt_out(record.value, record.key, record.timestamp)
    if opt_out is None or opt_out.member_id is None:
        return None
    named = opt_out.member_id.encode()
    if partition_of is not None and partition_of(named) != record.partition:
        return None
    at = instant(opt_out.occurred_at, "$.occurred_at")
    rank = RANK_OF[record.topic]
    return Received(opt_out, at, rank, record.partition, record.offset, record.value or b"")


def _row_key(received: Received) -> RowKey:
    event = received.event
    if event.member_id is not None:
        return b"m" + event.member_id.encode()
    assert event.anonymous_id is not None
    return b"a" + event.anonymous_id.encode()


def _keep(found: Expected, outcome: Outcome) -> None:
    found.said += outcome.triggers
    found.decided += outcome.decisions


def _through_row(member: Member, book: RuleBook) -> Member:
    settle(member, book)
    row = encode(member, next_due(member, book), book.digest)
    return decode(row, member.id, member.anonymous)


# --- the comparison ---


_triggers: msgspec.json.Decoder[TriggerMessage] = msgspec.json.Decoder(Trigger | TriggerCancelled)
_decisions: msgspec.json.Decoder[Decision | Transition] = msgspec.json.Decoder(
    Decision | Transition
)


def compare(
    said: Iterable[bytes],
    decisions: Iterable[bytes],
    source: Iterable[Sourced],
    eras: Sequence[Era],
    partition_of: Callable[[bytes], int] | None = None,
    margin: int = 0,
) -> Equality:
    """Compare what was said (values of ``triggers`` and ``decisions``) with the oracle's word.

    ``said`` is in the order of each partition's offsets.

    ``margin`` is how far, in milliseconds, the workers' idea of time and that of ``arrived`` may
    lie apart. Raises ``msgspec.DecodeError`` for bytes that are none of our messages.
    """
    expected = expect(source, eras, partition_of)
    return judge(said, decisions, expected, eras, margin)


def judge(
    said: Iterable[bytes],
    decisions: Iterable[bytes],
    expected: Expected,
    eras: Sequence[Era],
    margin: int = 0,
) -> Equality:
    """Compare with what is already known to be expected; as ``compare`` otherwise."""
    result = Equality()
    live = _Said()
    repeats = [repeat for raw in said if (repeat := live.add(raw, result)) is not None]
    ours = _Said()
    for message in expected.said:
        ours.keep(message)
    result.triggers, result.cancelled = len(live.raised), len(live.cancelled)
    audited = {_decisions.decode(raw) for raw in decisions}
    instants, expired = _decided(audited)
    _, by_the_clock = _decided(audited.difference(expected.decided))
    claims = _Claims(expected, eras, instants, frozenset(by_the_clock.values()), margin)
    result.orderly = claims.orderly
    for message in repeats:
        if message.member_id in claims.orderly or claims.of(message.member_id, message.rule)[1]:
            result.wrong.append(_finding(message, "said again in other bytes"))
        else:
            # Taken back in the disorder, and come true again.
            result.unclaimed += 1
    for identity in dict.fromkeys((*live.raised, *ours.raised)):
        mine, right = live.raised.get(identity), ours.raised.get(identity)
        too_late = right is not None and parse_instant(right.expires_at) <= eras[-1].until
        if mine is None and identity in expired and too_late:
            result.expired += 1
            result.aged |= {ours.raised[identity].member_id}
            continue
        if right is None and identity in live.cancelled:
            result.late_pairs += 1
        _judge_one(result, claims, identity, live, ours, mine or right)  # type: ignore[arg-type]
    _judge_decisions(result, audited, set(expected.decided), eras[-1].until)
    return result


class _Said:
    """Messages by trigger id; the first of each counts, as it does for a gateway."""

    def __init__(self) -> None:
        self.raised: dict[str, Trigger] = {}
        self.cancelled: dict[str, TriggerCancelled] = {}
        self._bytes: dict[tuple[str, bool], bytes] = {}

    def add(self, raw: bytes, result: Equality) -> TriggerMessage | None:
        """Take a message; return one that has been said before in other bytes."""
        message = _triggers.decode(raw)
        key = message.trigger_id, isinstance(message, Trigger)
        first = self._bytes.get(key)
        if first is None:
            if not key[1] and message.trigger_id not in self.raised:
                result.wrong.append(_finding(message, "cancelled before it was raised"))
            self._bytes[key] = raw
            self.keep(message)
            return None
        result.duplicates += 1
        if first == raw:
            result.duplicates_identical += 1
            return None
        return message

    def keep(self, message: TriggerMessage) -> None:
        if isinstance(message, Trigger):
            self.raised.setdefault(message.trigger_id, message)
        else:
            self.cancelled.setdefault(message.trigger_id, message)

    def stands(self, identity: str) -> bool:
        return identity in self.raised and identity not in self.cancelled


def _finding(message: TriggerMessage, note: str) -> Finding:
    return Finding(message.member_id, message.rule, message.trigger_id, note)


def _judge_one(
    result: Equality, claims: "_Claims", identity: str, live: _Said, ours: _Said, any_: Trigger
) -> None:
    mine, right = live.raised.get(identity), ours.raised.get(identity)
    if (mine is None or right is None) and claims.due_before_a_change(any_):
        result.unclaimed += 1
        return
    equal, no_extra = claims.of(any_.member_id, any_.rule)
    if claims.promptness(any_.member_id) is Promptness.IN_ORDER:
        if mine is None:
            result.missing.append(_finding(any_, "not raised"))
        elif right is None:
            result.spurious.append(_finding(any_, "raised"))
        elif _plain(mine) != _plain(right):
            result.wrong.append(_finding(any_, _differences(_plain(mine), _plain(right))))
        if mine is not None and right is not None:
            a, b = live.cancelled.get(identity), ours.cancelled.get(identity)
            if a != b:
                result.wrong.append(_finding(any_, f"cancelled: {a}, expected: {b}"))
        return
    if mine is not None and right is not None:
        found, wanted = (_identity(trigger, claims.pressed) for trigger in (mine, right))
        if found != wanted:
            result.wrong.append(_finding(any_, _differences(found, wanted)))
    stands, should = live.stands(identity), ours.stands(identity)
    if stands == should:
        return
    if should and equal:
        result.missing.append(_finding(any_, "does not stand"))
    elif stands and no_extra:
        result.spurious.append(_finding(any_, "stands"))
    else:
        result.unclaimed += 1


def _judge_decisions(
    result: Equality, live: set[DecisionMessage], ours: set[DecisionMessage], until: int
) -> None:
    """Of members whose records came in order every verdict and transition is the oracle's.

    The oracle's time ends at ``until``, the worker's may go on.
    """
    found = {_said_of(decision): decision for decision in live}
    right = {_said_of(decision): decision for decision in ours}
    for said in found.keys() ^ right.keys():
        is_live = said in found
        decision = found[said] if is_live else right[said]
        member = decision.member_id
        if member is None or member not in result.orderly or member in result.aged:
            continue
        if _instant(decision) > until:
            continue
        what = decision.rule if isinstance(decision, Decision) else decision.kind
        note = "decided, and not by the oracle" if is_live else "not decided"
        finding = Finding(member, what, "", f"{note}: {decision}")
        (result.spurious if is_live else result.missing).append(finding)


def _said_of(decision: DecisionMessage) -> bytes:
    """Return what must be equal of a decision: of the trigger that it names, what is its own."""
    plain: dict[str, Any] = msgspec.to_builtins(decision)
    if isinstance(decision, Decision) and decision.trigger is not None:
        plain["trigger"] = _plain(decision.trigger)
    return msgspec.json.encode(plain, order="sorted")


def _decided(
    decisions: Iterable[DecisionMessage],
) -> tuple[dict[str, set[int]], dict[str, str]]:
    """Return each member's instants at which something was decided, and what had expired whom."""
    instants: dict[str, set[int]] = {}
    expired: dict[str, str] = {}
    for decision in decisions:
        if decision.member_id is None:
            continue
        own = instants.setdefault(decision.member_id, set())
        own.add(_instant(decision))
        if isinstance(decision, Transition):
            continue
        # What waited was first looked at when it was due.
        own |= {parse_instant(at) for at in (decision.due_at, decision.decided_at) if at}
        if decision.verdict == "expired":
            identity = trigger_id(
                decision.member_id, decision.rule, decision.rule_version, decision.occasion
            )
            expired[identity] = decision.member_id
    return instants, expired


def _instant(decision: DecisionMessage) -> int:
    return parse_instant(decision.at if isinstance(decision, Transition) else decision.due_at)


class _Claims:
    """What may be claimed of each member and rule."""

    def __init__(
        self,
        expected: Expected,
        eras: Sequence[Era],
        decided: Mapping[str, set[int]],
        aged: frozenset[str],
        margin: int,
    ) -> None:
        policies = [era.book.policy for era in eras]
        self._eras = eras
        self._aged = aged
        self.pressed = any(policy != policy.without_pressure() for policy in policies)
        self._delay: dict[str, int] = {}
        self._promptness: dict[str, Promptness] = {}
        self._lateness = min(era.book.limits.allowed_lateness for era in eras)
        self._rules = [era.book.rules for era in eras]
        for key, own in expected.received.items():
            if key[:1] == b"a":
                continue
            name = key[1:].decode()
            self._delay[name] = max(sourced.arrived - one.at for one, sourced in own) + margin
            prompt = _in_order(own, decided.get(name, set()), margin)
            prompt = prompt and not (self.pressed and name in aged)
            self._promptness[name] = Promptness.IN_ORDER if prompt else Promptness.DELAYED

    @property
    def orderly(self) -> frozenset[str]:
        return frozenset(
            name for name, how in self._promptness.items() if how is Promptness.IN_ORDER
        )

    def promptness(self, member: str) -> Promptness:
        return self._promptness.get(member, Promptness.IN_ORDER)

    def due_before_a_change(self, trigger: Trigger) -> bool:
        """Tell whether a changed rule may or may not look back at this, as its member's time is."""
        if trigger.member_id not in self._aged:
            return False
        name, due = trigger.rule, parse_instant(trigger.due_at)
        return any(
            due <= era.until and era.book.rules.get(name) != then.book.rules.get(name)
            for era, then in pairwise(self._eras)
        )

    def of(self, member: str, rule: str) -> tuple[bool, bool]:
        """Return whether the oracle's triggers must stand, and whether no others may."""
        if self.pressed:
            return False, False
        delay = self._delay.get(member, 0)
        all_found = no_others = True
        for rules in self._rules:
            found = rules.get(rule)
            if found is None:
                continue
            bearable = steady(found)
            if isinstance(found.when, Absence):
                bearable = bearable and delay <= found.when.within
                no_others = no_others and bearable
            else:
                no_others = no_others and bearable and delay <= self._lateness
            all_found = all_found and bearable and delay <= self._lateness
        return all_found, no_others


def _in_order(own: Sequence[tuple[Received, Sourced]], decided: set[int], margin: int) -> bool:
    """Tell whether a lane cannot but have folded these in their order, before what came due.

    An event must be younger than the arrival of all before it: then no record of others that lies
    before those in their topics, and is not reordered there, is younger than the event.
    """
    latest = 0
    for received, sourced in own:
        if latest > received.at:
            return False
        arrived = sourced.arrived + margin
        latest = max(latest, arrived)
        if arrived > received.at and any(received.at < at <= arrived for at in decided):
            return False
    return True


_FREE = ("topic", "partition", "offset")


def _plain(trigger: Trigger) -> dict[str, Any]:
    """Return what must be equal: all but when it was said, and where the evidence lay."""
    plain: dict[str, Any] = msgspec.to_builtins(trigger)
    del plain["raised_at"]
    for evidence in plain["reason"].get("evidence", ()):
        for name in _FREE:
            evidence.pop(name, None)
    return plain


def _identity(trigger: Trigger, pressed: bool) -> dict[str, Any]:
    """Return what no disorder may change; under pressure it may change when it may be sent."""
    plain = _plain(trigger)
    for name in ("stage", "reason", "context", "channels", "locale", "time_zone"):
        del plain[name]
    if pressed:
        del plain["not_before"], plain["not_after"]
    return plain


def _differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    names = [name for name in a if a[name] != b.get(name)]
    return "; ".join(f"{name}: {a[name]!r}, expected {b.get(name)!r}" for name in names)
