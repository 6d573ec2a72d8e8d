"""What goes over HTTP, typed: queries, bodies and answers. ``/openapi.json`` is made of these.

Instants are RFC 3339 in UTC, in members' time.
"""

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct

from models.chinese import Called
from models.times import MAX_INSTANT

LONGEST_ID = 128
"""Characters of any id, as in events."""

ENTRIES = 100
"""Entries of one timeline at most: that many are kept."""

LISTED = 100
"""Members of one list at most."""

FURTHEST = 100_000
"""How far into a list one can begin: the lists themselves are bounded."""

NEWS = 50
"""Entries of the feed in a first picture."""

PLACE = "[0-9]{1,15}-[0-9a-f]{16}"
"""A place in a timeline, where what is older goes on: its form, as the store makes it."""

_INSTANTS = [
    {"type": "string", "format": "date-time"},
    {"type": "string", "pattern": "^[0-9]{1,14}$"},
]

Bit: TypeAlias = Literal["0", "1"]
Identity: TypeAlias = Annotated[str, Meta(min_length=1, max_length=LONGEST_ID)]
When: TypeAlias = Annotated[
    str,
    Meta(
        max_length=40,
        description="RFC 3339 with an offset, or epoch milliseconds.",
        extra_json_schema={"anyOf": _INSTANTS},
    ),
]
"""An instant as asked for; what it must be is checked where it is read."""


# --- queries and bodies -------------------------------------------------------------------------


class NoQuery(Struct, frozen=True):
    """Nothing can be asked."""


class DocumentQuery(Struct, frozen=True):
    """Which of the two kinds of id is meant, and how far to look."""

    anonymous: Annotated[Bit, Meta(description="1: an anonymous id.")] = "0"
    here: Annotated[
        Bit, Meta(description="1: only from this worker's own rows, else 421: workers ask so.")
    ] = "0"


class HereQuery(Struct, frozen=True):
    """How far to look."""

    here: Bit = "0"


class LimitQuery(Struct, frozen=True):
    """How many, the newest first."""

    limit: Annotated[int, Meta(ge=1, le=ENTRIES)] = ENTRIES


class TimelineQuery(Struct, frozen=True):
    """How many, the newest first, and only those before a place or an instant."""

    limit: Annotated[int, Meta(ge=1, le=ENTRIES)] = ENTRIES
    before: (
        Annotated[
            str,
            Meta(
                max_length=40,
                description="`next` of an answer, RFC 3339 with an offset, or epoch milliseconds.",
                extra_json_schema={
                    "anyOf": [*_INSTANTS, {"type": "string", "pattern": f"^{PLACE}$"}]
                },
            ),
        ]
        | None
    ) = None


class WhyQuery(Struct, frozen=True):
    """About one rule or all, in a language, and from when on topics are read."""

    rule: Annotated[str, Meta(min_length=1, max_length=LONGEST_ID)] | None = None
    since: When | None = None
    language: Literal["en", "zh"] = "en"
    anonymous: Bit = "0"


class LookupQuery(Struct, frozen=True):
    """One of the three."""

    id: Identity | None = None
    order: Identity | None = None
    contact: (
        Annotated[
            str,
            Meta(
                pattern="^[0-9a-fA-F]{64}$",
                description="SHA-256, as hex, of the normalised phone number or e-mail address.",
            ),
        ]
        | None
    ) = None


class ListQuery(Struct, frozen=True):
    """Members of a stage, those who came into it last first; or the most likely to leave first."""

    stage: Literal["lead", "new", "silent", "active", "loyal", "dormant", "lost"] | None = None
    risk: Literal["1"] | None = None
    limit: Annotated[int, Meta(ge=1, le=LISTED)] = 50
    offset: Annotated[int, Meta(ge=0, le=FURTHEST)] = 0


class StreamQuery(Struct, frozen=True):
    """Where to go on; a ``Last-Event-ID`` header wins."""

    after: (
        Annotated[
            str, Meta(pattern="^[0-9]{1,19}-[0-9]{1,19}$", description="The id of a feed entry.")
        ]
        | None
    ) = None


class MuteRequest(Struct, frozen=True):
    """Until when nothing is to be sent, why, and who wants it."""

    until: When | Annotated[int, Meta(ge=0, le=MAX_INSTANT)]
    reason: Annotated[str, Meta(max_length=256)] | None = None
    by: Annotated[str, Meta(min_length=1, max_length=64)] | None = None


# --- answers ------------------------------------------------------------------------------------


class Problem(Struct, frozen=True):
    """Why there is no other answer: a word for programs and a sentence for people."""

    error: str
    reason: str


class Status(Struct, frozen=True):
    """The worker's loop turns."""

    status: Literal["ok", "ready"]


class NotReady(Struct, frozen=True):
    """What the worker waits for."""

    error: Literal["not_ready"]
    reason: str
    reasons: tuple[str, ...]


class Listed(Struct, frozen=True):
    """What there is: address -> what it answers."""

    name: str
    endpoints: dict[str, str]


class Found(Struct, frozen=True):
    """Who it is."""

    member_id: str


class TimelineEntry(Struct, frozen=True, omit_defaults=True):
    """One thing that happened to a member; fields beyond these tell more of it."""

    at: str
    kind: Literal["event", "decision", "trigger", "cancelled", "stage", "band", "segment", "score"]
    type: str | None = None
    rule: str | None = None
    verdict: str | None = None
    text: str | None = None
    text_zh: str | None = None
    why: str | None = None
    sent: bool | None = None


class Ahead(Struct, frozen=True, omit_defaults=True):
    """What will happen at an instant if nothing happens before."""

    at: str
    what: str
    what_zh: str | None = None
    rule: str | None = None


class Timeline(Struct, frozen=True):
    """What happened, the newest first, and what is ahead, the next first.

    ``next``: what to ask ``before`` for older entries; null when there are none.
    """

    member_id: str
    entries: list[TimelineEntry]
    ahead: list[Ahead]
    next: str | None


class AheadOf(Struct, frozen=True):
    """What is ahead of a member, the next first."""

    member_id: str
    ahead: list[Ahead]


class Decisions(Struct, frozen=True):
    """What was decided of a member, the newest first."""

    member_id: str
    decisions: list[TimelineEntry]


class ListedMember(Struct, frozen=True, omit_defaults=True):
    """One member of a list: ``since`` when in the stage, or the probability of leaving."""

    member_id: str
    since: str | None = None
    churn: float | None = None


class Members(Struct, frozen=True, omit_defaults=True):
    """A part of a list; by risk with whether the probabilities are to be trusted.

    Until the model has learned, they are the same for everybody, and so is the order by chance.
    """

    members: list[ListedMember]
    trusted: bool | None = None


class Muted(Struct, frozen=True):
    """The event that says so, and the instant."""

    event_id: str
    until: str


class Words(Struct, frozen=True):
    """The same in both languages."""

    en: str
    zh: str


class StageCount(Struct, frozen=True):
    """How many members are in a stage."""

    stage: str
    members: int
    words: Words


class Flow(Struct, frozen=True):
    """How many members went from one stage to another: today, and ever."""

    before: str = msgspec.field(name="from")
    after: str = msgspec.field(name="to")
    today: int
    total: int


class Stages(Struct, frozen=True):
    """Where members are, and where they go."""

    stages: list[StageCount]
    flows: list[Flow]


class DayCounts(Struct, frozen=True):
    """What became of a rule's candidates on a day (UTC).

    ``cancelled`` were overtaken before they were sent, ``settled`` after it.
    """

    day: str
    triggers: int
    held_back: int
    cancelled: int
    settled: int


class RuleRow(Struct, frozen=True):
    """A rule and its last days; ``today`` is null when they cannot be told.

    ``words``: when it raises, as the engine says it; ``chinese``: what the shop calls it, if it
    said so.
    """

    rule: str
    about: str
    words: Words
    chinese: Called | None
    mode: Literal["live", "shadow", "off"]
    group: str | None
    priority: int
    purpose: Literal["marketing", "service"]
    today: DayCounts | None
    days: list[DayCounts]
    breaker_open: bool


class QualityRow(Struct, frozen=True):
    """How good predictions were by the answers of about the last four weeks."""

    labels: float
    churned: float | None
    predicted: float | None
    auc: float | None
    ece: float | None
    log_loss: float | None


class Decided(Struct, frozen=True):
    """Something that the trainer decided at the end of a day."""

    day: str
    kind: str
    about: str


class ModelRow(Struct, frozen=True):
    """The newest churn model: ``auc`` and so on are those of active members.

    ``learned``: answers that it has learned from; ``trusted``: whether they tell how good it is,
    before which its scores mean little.
    """

    version: int
    valid_from: str
    learned: int
    trusted: bool
    labels: float
    auc: float | None
    ece: float | None
    log_loss: float | None
    drift: bool
    active: QualityRow
    everyone: QualityRow
    decisions: list[Decided]


class Totals(Struct, frozen=True):
    """What all workers have counted together since the beginning; null when Redis is away."""

    events: int | None = None
    triggers: int | None = None
    cancelled: int | None = None
    members: int | None = None


class Counters(Totals, frozen=True):
    """The same with how fast events come, as ``/stream`` tells it once it has counted twice."""

    events_per_second: float | None = None


class FeedEntry(Struct, frozen=True, omit_defaults=True):
    """One thing worth telling while it happens; fields beyond these tell more of it."""

    id: str
    at: str
    kind: Literal["trigger", "cancelled", "stage"]
    member_id: str
    text: str
    text_zh: str | None = None
    rule: str | None = None
    stage: str | None = None
    before: str | None = None
    after: str | None = None
    sent: bool | None = None


class Names(Struct, frozen=True):
    """What the shop calls its segments and tags in Chinese, by name, as far as it said so."""

    segments: dict[str, Called]
    tags: dict[str, Called]


class Live(Struct, frozen=True):
    """One picture of everything; what needs Redis is empty or null when it is away."""

    now: str
    redis: Literal["up", "away"]
    counters: Totals
    stages: list[StageCount]
    flows: list[Flow]
    feed: list[FeedEntry]
    rules: list[RuleRow]
    names: Names
    model: ModelRow | None
