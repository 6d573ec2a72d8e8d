"""Rules as data: a closed, typed vocabulary, made by the YAML loader, compiled by the rule book."""

from typing import Literal, TypeAlias

import msgspec

from models.calendar import Calendar
from models.events import CLASS_OF, CODE_OF, type_of

# Facts that the engine derives from events and that patterns may name beside the event types.
DERIVED_FACTS: tuple[str, ...] = ("cart_emptied",)

# Codes of facts in marks and rows: event types from 0, derived facts from 120 on.
FACT_CODE: dict[str, int] = CODE_OF | {name: 120 + n for n, name in enumerate(DERIVED_FACTS)}
# What is read of a member who has just been scored.
SCORED = "scored"
FACT_OF: dict[int, str] = {code: name for name, code in FACT_CODE.items()}
EVENT_TYPES: tuple[str, ...] = tuple(type_of(cls) for cls in CLASS_OF.values())
assert tuple(CODE_OF) == EVENT_TYPES

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


class StageLeft(msgspec.Struct, frozen=True, tag="stage_left"):
    """The member leaves a lifecycle stage."""

    stage: str


class SegmentEntered(msgspec.Struct, frozen=True, tag="segment"):
    """The member comes to be in a segment."""

    segment: str


class SegmentLeft(msgspec.Struct, frozen=True, tag="segment_left"):
    """The member is no longer in a segment."""

    segment: str


class BandEntered(msgspec.Struct, frozen=True, tag="band"):
    """The member enters a band of the stage ``active``, from another band."""

    band: str


class TierEntered(msgspec.Struct, frozen=True, tag="tier"):
    """The loyalty programme says that the member has a tier, and said another (or none) before."""

    tier: str


class Count(msgspec.Struct, frozen=True, tag="count"):
    """The event that makes it ``at_least`` within the last ``within`` milliseconds, per key.

    It can do so again once there were fewer in between.
    """

    of: tuple[Pattern, ...]
    at_least: int
    within: int
    same: str | None = None


class Sum(msgspec.Struct, frozen=True, tag="sum"):
    """The event that makes the sum of a field reach ``at_least``, read like ``Count``."""

    of: tuple[Pattern, ...]
    field: str
    at_least: float
    within: int
    same: str | None = None


class Sequence(msgspec.Struct, frozen=True, tag="sequence"):
    """The event that completes the steps, in order, in less than ``within`` milliseconds.

    Other events may lie between; what one completed sequence used is not used again.
    """

    steps: tuple[tuple[Pattern, ...], ...]
    within: int
    same: str | None = None


Predicted: TypeAlias = Literal["churn", "expected_value"]
PREDICTED: tuple[Predicted, ...] = ("churn", "expected_value")
Measure: TypeAlias = Literal["points", "orders", "spend"] | Predicted
# Numbers that stand until they are said anew; the others are of a window.
STANDING: tuple[Measure, ...] = ("points", *PREDICTED)


class Crosses(msgspec.Struct, frozen=True, tag="crosses"):
    """A number of the member goes up to ``at_least``, or down ``below``, and stays for ``dwell``.

    It can do so again once it was ``back``: below it on the way up, at least it on the way down.
    Orders and spend are those of the last ``within`` milliseconds; the others have no window.
    What is predicted is read when the member is scored, and goes with the member's own score.
    """

    measure: Measure
    level: float
    back: float
    upward: bool = True
    within: int = 0
    dwell: int = 0


class Series(msgspec.Struct, frozen=True, tag="series"):
    """Steps at the given times after an event, until another event: 1, 2, 3 ... to the last.

    A later ``after`` begins at the first step again.
    """

    after: tuple[Pattern, ...]
    until: tuple[Pattern, ...]
    steps: tuple[int, ...]
    same: str | None = None


class ActivityDrop(msgspec.Struct, frozen=True, tag="activity_drop"):
    """The member's activity stays ``below`` this share of what it used to be for ``lasting``."""

    below: float
    lasting: int


class LateForMember(msgspec.Struct, frozen=True, tag="late_for_member"):
    """More time than usual for *this* member has passed since the last ``of``.

    Usual is the ``percentile`` of the member's own gaps, leaning on ``typical`` milliseconds as
    long as there are few; with less than three orders it is ``fixed`` milliseconds.
    """

    of: tuple[Pattern, ...]
    percentile: float
    typical: int
    fixed: int


When: TypeAlias = (
    EventHappens
    | Absence
    | StageEntered
    | StageLeft
    | SegmentEntered
    | SegmentLeft
    | BandEntered
    | TierEntered
    | Count
    | Sum
    | Sequence
    | Crosses
    | Series
    | ActivityDrop
    | LateForMember
    | Calendar
)


class OrdersAre(msgspec.Struct, frozen=True, tag="orders"):
    """The orders of the last ``within`` milliseconds, or ever, are so many."""

    at_least: int | None
    below: int | None
    within: int | None = None


class SpendIs(msgspec.Struct, frozen=True, tag="spend"):
    """What the orders of the last ``within`` milliseconds came to, or of ever, is so much.

    With a window it is told to the 28-day cell: the cell that the window begins in counts whole.
    """

    at_least: float | None
    below: float | None
    within: int | None = None


class EventsAre(msgspec.Struct, frozen=True, tag="counts"):
    """So many events of one type were ever seen."""

    of: str
    at_least: int | None
    below: int | None


class PointsAre(msgspec.Struct, frozen=True, tag="points"):
    """The points balance is so high; a member of whom none was said has none of it."""

    at_least: float | None
    below: float | None


class IsIn(msgspec.Struct, frozen=True, tag="is_in"):
    """A word that is known of the member is one of these."""

    what: Literal["stage", "band", "tier", "source", "campaign"]
    words: tuple[str, ...]


class LastWas(msgspec.Struct, frozen=True, tag="last"):
    """Something last happened that long ago; what never happened is neither older nor newer."""

    what: Literal["last_order", "last_activity", "registered"]
    older_than: int | None = None
    newer_than: int | None = None


class Reachable(msgspec.Struct, frozen=True, tag="reachable"):
    """The member has one of these channels, and does not refuse it for the rule's purpose."""

    channels: tuple[str, ...]


class BirthdayKnown(msgspec.Struct, frozen=True, tag="birthday"):
    """A birthday was said, or was not."""

    known: bool


class Marked(msgspec.Struct, frozen=True, tag="marked"):
    """The member carries one of these tags, or is in one of these segments."""

    kind: Literal["tag", "segment"]
    names: tuple[str, ...]


class RfmIs(msgspec.Struct, frozen=True, tag="rfm"):
    """One of the RFM scores, 1 to 5, is so high; who never ordered has none."""

    what: Literal["recency", "frequency", "monetary"]
    at_least: int | None
    below: int | None


class PredictedIs(msgspec.Struct, frozen=True, tag="predicted"):
    """A prediction is so high; of a member who has no score it is not known, and does not hold."""

    what: Predicted
    at_least: float | None
    below: float | None


Requirement: TypeAlias = (
    OrdersAre
    | SpendIs
    | EventsAre
    | PointsAre
    | IsIn
    | LastWas
    | Reachable
    | BirthdayKnown
    | Marked
    | RfmIs
    | PredictedIs
)


class If(msgspec.Struct, frozen=True):
    """What must hold of the member when a candidate is due.

    All of ``tests``; of each group in ``any_of`` all tests, for one group at least; and none of the
    groups in ``none_of``.
    """

    tests: tuple[Requirement, ...] = ()
    any_of: tuple[tuple[Requirement, ...], ...] = ()
    none_of: tuple[tuple[Requirement, ...], ...] = ()


class OrdersAtLeast(msgspec.Struct, frozen=True):
    """At least ``count`` purchases in the ``within`` milliseconds before the due instant."""

    count: int
    within: int


class Reentry(msgspec.Struct, frozen=True):
    """How soon a rule may raise again: ``once``, ``always``, or ``every`` milliseconds per key.

    A calendar rule comes to each occasion once, however the profile changes: ``per`` occasion.
    """

    mode: Literal["once", "always", "every"]
    per: Literal["member", "item_id", "occasion"] = "member"
    every: int = 0


class Rung(msgspec.Struct, frozen=True):
    """One offer of a ladder, for members with at least this expected value (0: for everybody)."""

    offer: str
    worth: float = 0.0


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
    condition: If | None = None
    # Shadow decides and records and sends nothing; off does not even decide.
    mode: Literal["live", "shadow", "off"] = "live"
    purpose: Literal["marketing", "service"] = "marketing"
    route: Literal["message", "agent_task"] = "message"
    group: str | None = None
    play: str | None = None
    channels: tuple[str, ...] = ()
    # Of the open triggers of one episode only the newest stays; the others are cancelled.
    episode: str | None = None
    # Facts that cancel the open trigger, beside the rule's own ``of``; deadlines stay.
    overtaken_by: tuple[Pattern, ...] = ()
    # Offers, gentlest first: of a series each step has its own, the last the rest.
    ladder: tuple[Rung, ...] = ()
    # What the rule is there for: a row of the capabilities, or the words of a document.
    serves: str | None = None


class Limits(msgspec.Struct, frozen=True):
    """Bounds of one member's state, and the allowed lateness (milliseconds)."""

    allowed_lateness: int = 3_600_000
    open_keys: int = 256
    locale: str = "en"
    time_zone: str = "UTC"
    test_members: frozenset[str] = frozenset()
    # Take it that everybody agreed to marketing who has said nothing: for public logs, which have
    # no consent in them, and for trying things out.
    assume_consent: bool = False
