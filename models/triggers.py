"""What we say: triggers and their cancellations, decisions, member updates, dead letters."""

from typing import Literal, TypeAlias

import msgspec

Verdict: TypeAlias = Literal[
    "raised",  # became a trigger
    "unless",  # the rule's own exception held when it fired
    "condition",  # what the rule's `if` asks of the member did not hold
    "reentry",  # the rule raised for the same key too recently
    "expired",  # decided later than expires_at
    "late",  # completed by an event older than the allowed lateness
    "backfill",  # completed by history
    "anonymous",  # nobody to send to yet
    "consent",  # the member opted out of every channel that the rule has, or never opted in
    "overflow",  # too many open keys, or too many that wait: this one was dropped
    "mute",  # nothing is sent to the member for now
    "stop",  # the policy has stopped everything of the purpose
    "unreachable",  # the member can be reached on none of the channels
    "hold",  # an open ticket, a complaint or a return
    "silence",  # too soon after an order
    "holdout",  # in a control group: the trigger that would have been is in the decision
    "shadow",  # of a rule that only decides: likewise
    "cool_down",  # the rule's group rests
    "cap",  # enough has been sent already
    "arbitration",  # another rule won
    "quiet",  # it is night, and nothing waits for the morning
    "held",  # waits for the morning, or for the end of the silence; is decided again then
    "suspended",  # waits: a feed is silent, the rule's breaker open, or an operator holds it
    "overtaken",  # while it waited, the member did what it was about, or forbade it
]


ReasonKind: TypeAlias = Literal[
    "event",
    "absence",
    "stage",
    "segment",
    "band",
    "tier",
    "count",
    "sum",
    "sequence",
    "crosses",
    "series",
    "activity_drop",
    "late_for_member",
    "calendar",
]


class EvidenceEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """One event that made a rule true."""

    type: str
    occurred_at: str
    event_id: str | None = None
    item_id: str | None = None
    order_id: str | None = None
    topic: str | None = None
    partition: int | None = None
    offset: int | None = None


class Reason(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why: the evidence as data and in one sentence in the member's language."""

    text: str
    kind: ReasonKind
    evidence: tuple[EvidenceEvent, ...] = ()
    not_seen: tuple[str, ...] = ()
    within: str | None = None
    stage: str | None = None
    segment: str | None = None
    step: int | None = None
    day: str | None = None
    offer_id: str | None = None
    # Of a score: what made it so, the strongest first, in the member's language.
    because: tuple[str, ...] = ()


class ContextItem(msgspec.Struct, frozen=True, omit_defaults=True):
    """One item that a template may show."""

    item_id: str
    category: str | None = None
    price: float | None = None
    quantity: float | None = None
    viewed_at: str | None = None


class TriggerContext(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a template needs without a second look-up."""

    items: tuple[ContextItem, ...] = ()
    cart: tuple[ContextItem, ...] = ()
    cart_value: float | None = None
    orders: int = 0
    last_order_at: str | None = None
    tier: str | None = None
    points: float | None = None
    band: str | None = None
    # As the rules see them: the smoothed probability that the member does not buy within the
    # horizon, and what the member is expected to spend within the next 90 days.
    churn: float | None = None
    expected_value: float | None = None


class Offer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the member is offered."""

    level: int = 0
    name: str | None = None


class Trigger(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="trigger"):
    """Tell the gateway to send something; ``trigger_id`` is the same however often it is said."""

    schema_version: int = 1
    trigger_id: str
    member_id: str
    rule: str
    rule_version: int
    occasion: str
    group: str | None
    purpose: Literal["marketing", "service"]
    route: Literal["message", "agent_task"]
    play: str | None
    channels: tuple[str, ...]
    locale: str
    time_zone: str
    stage: str
    due_at: str
    raised_at: str
    not_before: str
    not_after: str
    expires_at: str
    test: bool
    offer: Offer | None
    reason: Reason
    context: TriggerContext


class TriggerCancelled(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="trigger_cancelled"
):
    """Tell the gateway to forget a trigger; ``reason`` names what overtook it."""

    schema_version: int = 1
    trigger_id: str
    member_id: str
    rule: str
    cancelled_at: str
    reason: str


class Decision(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag="decision"
):
    """The audit record of one candidate: what was decided and why, also when nothing was sent."""

    schema_version: int = 1
    rule: str
    rule_version: int
    verdict: Verdict
    occasion: str
    due_at: str
    why: str
    stage: str
    member_id: str | None = None
    anonymous_id: str | None = None
    trigger_id: str | None = None
    # The member's time when it was decided, where that is later than ``due_at``.
    decided_at: str | None = None
    # Of "held" and "suspended": when it is decided again. Of "arbitration": who won. Of "holdout"
    # and "shadow": the trigger that was not sent.
    until: str | None = None
    won_by: str | None = None
    trigger: Trigger | None = None


class Transition(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    tag_field="type",
    tag="transition",
):
    """A member changed stage or band, or came into or out of a segment, and why.

    Of a segment the side that is outside is empty. ``since`` is when a segment that is left had
    been entered.
    """

    schema_version: int = 1
    kind: Literal["stage", "band", "segment"]
    before: str
    after: str
    at: str
    why: str
    since: str | None = None
    member_id: str | None = None
    anonymous_id: str | None = None


class Belongs(msgspec.Struct, frozen=True):
    """A segment that the member is in."""

    segment: str
    since: str


class Carries(msgspec.Struct, frozen=True, omit_defaults=True):
    """A tag that the member carries; without ``expires_at`` until it is taken away."""

    tag: str
    since: str
    reason: str | None = None
    source: str | None = None
    expires_at: str | None = None


class RfmScores(msgspec.Struct, frozen=True, omit_defaults=True):
    """How lately, how often and for how much the member buys: 1 to 5, by the table of a date."""

    recency: int
    frequency: int
    monetary: int
    table: str | None = None


class ExpectedOrder(msgspec.Struct, frozen=True, kw_only=True):
    """The dates (UTC) between which eight of ten next orders fall, and the one in the middle."""

    median: str
    earliest: str
    latest: str


class Foreseen(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was predicted of a member at the end of a day (UTC), by the model valid from a day."""

    as_of: str
    model: str
    # The probability that no order follows within the horizon; rules go by the smoothed one.
    churn: float
    churn_smoothed: float
    # What the next 90 days are expected to bring; eight of ten bring something in the interval.
    expected_value: float = 0.0
    expected_value_low: float | None = None
    expected_value_high: float | None = None
    # Told of who is more likely to order than not.
    next_order: ExpectedOrder | None = None
    # What moves the probability most, in words, of who is more likely to stay away than not.
    reasons: tuple[str, ...] = ()


class LastTrigger(msgspec.Struct, frozen=True, omit_defaults=True):
    """A trigger that was raised for the member, and what became of it."""

    rule: str
    due_at: str
    # "open": may still be overtaken. "sent": so the gateway said, on at least one channel.
    # "not_sent": on none. "over": it was sent, overtaken or has expired long since, or the member
    # was in a control group.
    outcome: Literal["open", "sent", "not_sent", "over"]
    trigger_id: str | None = None


class ConsentSaid(msgspec.Struct, frozen=True):
    """What the member's latest word is on a channel (or ``all``) and a purpose."""

    channel: str
    purpose: Literal["marketing", "service"]
    granted: bool


class MemberUpdate(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    tag_field="type",
    tag="member_update",
):
    """The projection of one member, for the serving store."""

    schema_version: int = 1
    stage: str
    since: str
    updated_at: str
    band: str | None = None
    member_id: str | None = None
    anonymous_id: str | None = None
    registered_at: str | None = None
    orders: int = 0
    spend: float = 0.0
    refunded: float = 0.0
    last_order_at: str | None = None
    last_activity_at: str | None = None
    next_deadline_at: str | None = None
    activity_30d: float = 0.0
    tier: str | None = None
    points: float | None = None
    locale: str | None = None
    time_zone: str | None = None
    birthday: str | None = None
    recent_items: tuple[ContextItem, ...] = ()
    cart: tuple[ContextItem, ...] = ()
    opted_out: tuple[str, ...] = ()
    # Told while it lasts.
    muted_until: str | None = None
    open_triggers: tuple[str, ...] = ()
    counts: dict[str, int] = {}
    segments: tuple[Belongs, ...] = ()
    tags: tuple[Carries, ...] = ()
    rfm: RfmScores | None = None
    foreseen: Foreseen | None = None
    erased: bool = False
    # The newest first, as far as the member's row remembers them.
    last_triggers: tuple[LastTrigger, ...] = ()
    # Every word that was said; where nothing was, the policy decides.
    consents: tuple[ConsentSaid, ...] = ()


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="dead_letter"):
    """A record that is never tried again: raw bytes, origin, and one sentence of reason."""

    schema_version: int = 1
    topic: str
    partition: int
    offset: int
    timestamp: int
    path: str
    reason: str
    key: str | None  # base64
    raw: str  # base64 of the first 64 kB
    length: int
    sha256: str


TriggerMessage: TypeAlias = Trigger | TriggerCancelled
DecisionMessage: TypeAlias = Decision | Transition
