"""Facts that the observer learns from the topics: what happened to a member, and what we said.

Only what is looked at is decoded; what else a message says is passed over.
"""

from datetime import date
from typing import TypeAlias

import msgspec

from models.decoding import Received
from models.times import DAY, parse_instant
from models.triggers import Reason

_EPOCH = date(1970, 1, 1).toordinal()


class Told(msgspec.Struct, frozen=True):
    """A fact with the member that it is about, at an instant (epoch milliseconds)."""

    identity: str
    anonymous: bool
    at: int


class Happened(Told, frozen=True):
    """An event came in."""

    received: Received


class Moved(Told, frozen=True):
    """The member changed stage or band, or came into or left a segment."""

    kind: str
    before: str
    after: str
    why: str


class HeldBack(Told, frozen=True):
    """A candidate did not become a trigger, or not yet."""

    rule: str
    verdict: str
    occasion: str
    why: str
    stage: str
    until: str | None


class Raised(Told, frozen=True):
    """A trigger was sent."""

    trigger_id: str
    rule: str
    stage: str
    reason: Reason
    version: int
    """The rule's."""
    occasion: str
    raised_at: int
    """When it was sent, which may be later than the instant at which it was due."""
    provoked: bool
    """Whether something that the member did at that very instant raised it."""


class Cancelled(Told, frozen=True):
    """A trigger was taken back."""

    trigger_id: str
    rule: str
    reason: str


class Scored(Told, frozen=True):
    """The member was predicted as of a day, at its end or while it lasted."""

    day: int
    churn: float
    expected: float


Fact: TypeAlias = Happened | Moved | HeldBack | Raised | Cancelled | Scored


class _Trigger(msgspec.Struct, tag_field="type", tag="trigger"):
    trigger_id: str
    member_id: str
    rule: str
    stage: str
    due_at: str
    raised_at: str
    rule_version: int
    occasion: str
    reason: Reason


class _Cancelled(msgspec.Struct, tag_field="type", tag="trigger_cancelled"):
    trigger_id: str
    member_id: str
    rule: str
    cancelled_at: str
    reason: str


class _Decision(msgspec.Struct, tag_field="type", tag="decision"):
    rule: str
    verdict: str
    occasion: str
    due_at: str
    why: str
    stage: str
    member_id: str | None = None
    anonymous_id: str | None = None
    decided_at: str | None = None
    until: str | None = None


class _Transition(msgspec.Struct, tag_field="type", tag="transition"):
    kind: str
    before: str
    after: str
    at: str
    why: str
    member_id: str | None = None
    anonymous_id: str | None = None


class _Foreseen(msgspec.Struct):
    as_of: str
    churn_smoothed: float
    expected_value: float = 0.0


class _Update(msgspec.Struct):
    updated_at: str
    member_id: str | None = None
    foreseen: _Foreseen | None = None


_triggers = msgspec.json.Decoder(_Trigger | _Cancelled)
_decisions = msgspec.json.Decoder(_Decision | _Transition)
_updates = msgspec.json.Decoder(_Update)


def happened(received: Received) -> Happened:
    """Return the fact that an event is."""
    event = received.event
    identity = event.member_id or event.anonymous_id
    assert identity is not None
    return Happened(identity, event.member_id is None, received.at, received)


def of_triggers(raw: bytes) -> Fact:
    """Return what a message of the topic ``triggers`` says; raise ``ValueError`` for another."""
    said = _triggers.decode(raw)
    if isinstance(said, _Cancelled):
        at = parse_instant(said.cancelled_at)
        return Cancelled(said.member_id, False, at, said.trigger_id, said.rule, said.reason)
    provoked = any(one.occurred_at == said.due_at for one in said.reason.evidence)
    return Raised(
        said.member_id,
        False,
        parse_instant(said.due_at),
        said.trigger_id,
        said.rule,
        said.stage,
        said.reason,
        said.rule_version,
        said.occasion,
        parse_instant(said.raised_at),
        provoked,
    )


def of_decisions(raw: bytes) -> Fact | None:
    """Return what a message of ``decisions`` says; None for one that a trigger says better.

    Raises ``ValueError`` for another message.
    """
    said = _decisions.decode(raw)
    identity = said.member_id or said.anonymous_id
    if identity is None:
        raise ValueError("it names nobody")
    anonymous = said.member_id is None
    if isinstance(said, _Transition):
        at = parse_instant(said.at)
        return Moved(identity, anonymous, at, said.kind, said.before, said.after, said.why)
    if said.verdict == "raised":
        return None
    return HeldBack(
        identity,
        anonymous,
        parse_instant(said.decided_at or said.due_at),
        said.rule,
        said.verdict,
        said.occasion,
        said.why,
        said.stage,
        said.until,
    )


def of_updates(raw: bytes) -> Scored | None:
    """Return the prediction in a member update; None when there is none.

    Raises ``ValueError`` for another message.
    """
    said = _updates.decode(raw)
    seen = said.foreseen
    if said.member_id is None or seen is None:
        return None
    day = date.fromisoformat(seen.as_of).toordinal() - _EPOCH
    # The day may last yet.
    at = min((day + 1) * DAY, parse_instant(said.updated_at))
    return Scored(said.member_id, False, at, day, seen.churn_smoothed, seen.expected_value)
