"""Rules as data: a closed, typed vocabulary, made by the YAML loader, compiled by the rule book."""

from typing import Literal, TypeAlias

import msgspec

# Facts that the engine derives from events and that patterns may name beside the event types.
DERIVED_FACTS: tuple[str, ...] = ("cart_emptied",)

# Fields that can tie an absence's two sides together.
SAME_FIELDS: tuple[str, ...] = ("item_id", "category", "order_id", "offer_id", "survey_id")

Value: TypeAlias = str | float | bool


class Condition(msgspec.Struct, frozen=True):
    """One field of an event compared; on an order, any line may satisfy a line's field."""

    field: str
    op: Literal["in", "at_least", "below"]
    values: tuple[Value, ...]


class Pattern(msgspec.Struct, frozen=True):
    """Events of one type (or one derived fact) that satisfy every condition."""

    type: str
    where: tuple[Condition, ...] = ()
    same: str | None = None


class EventHappens(msgspec.Struct, frozen=True, tag="event"):
    """An event itself raises the rule."""

    pattern: Pattern


class Absence(msgspec.Struct, frozen=True, tag="absence"):
    """``after``, then not ``of`` within ``within`` milliseconds (see ``models.absence``)."""

    after: tuple[Pattern, ...]
    of: tuple[Pattern, ...]
    within: int
    same: str | None = None


class StageEntered(msgspec.Struct, frozen=True, tag="stage"):
    """The member enters a lifecycle stage."""

    stage: str


When: TypeAlias = EventHappens | Absence | StageEntered


class OrdersAtLeast(msgspec.Struct, frozen=True):
    """At least ``count`` purchases in the ``within`` milliseconds before the due instant."""

    count: int
    within: int


class Reentry(msgspec.Struct, frozen=True):
    """How soon a rule may raise again: ``once``, ``always``, or ``every`` milliseconds per key."""

    mode: Literal["once", "always", "every"]
    per: Literal["member", "item_id"] = "member"
    every: int = 0


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One rule; durations in milliseconds."""

    name: str
    version: int
    about: str
    when: When
    reentry: Reentry
    expires_after: int
    priority: int
    unless: OrdersAtLeast | None = None
    purpose: Literal["marketing", "service"] = "marketing"
    route: Literal["message", "agent_task"] = "message"
    group: str | None = None
    play: str | None = None
    channels: tuple[str, ...] = ()
    # Of the open triggers of one episode only the newest stays; the others are cancelled.
    episode: str | None = None
    # Facts that cancel the open trigger, beside the rule's own ``of``; deadlines stay.
    overtaken_by: tuple[Pattern, ...] = ()


class Policy(msgspec.Struct, frozen=True):
    """What may be sent. The default is no policy at all: every candidate becomes a trigger."""

    # Marketing after an opt-out: "opt_out" blocks what the member refused, None ignores it.
    consent: Literal["opt_out"] | None = None
    # Channels of a rule that names none.
    channels: tuple[str, ...] = ()


class Limits(msgspec.Struct, frozen=True):
    """Bounds of one member's state, and the allowed lateness (milliseconds)."""

    allowed_lateness: int = 3_600_000
    open_keys: int = 256
    locale: str = "en"
    time_zone: str = "UTC"
    test_members: frozenset[str] = frozenset()
