"""What members are told apart by: segments, tags, RFM, as data, made by the YAML loaders."""

from collections.abc import Iterable
from typing import Literal, NamedTuple

import msgspec

from models.conditions import Test, Turn, test_of, turn_of_test
from models.facts import ACTIVITY
from models.ids import name_hash
from models.member import Member
from models.rfm import RfmTable
from models.rules import (
    SCORED,
    BirthdayKnown,
    EventsAre,
    If,
    IsIn,
    LastWas,
    Marked,
    OrdersAre,
    PointsAre,
    PredictedIs,
    Reachable,
    Requirement,
    RfmIs,
    SpendIs,
)
from models.stages import NEVER

STAGE_MOVED, SEGMENT_MOVED, RFM_MOVED = "stage moved", "segment moved", "rfm moved"


class Segment(msgspec.Struct, frozen=True):
    """The members of whom a condition holds."""

    name: str
    about: str
    condition: If
    # Which consent counts where the condition asks whether a member can be reached.
    purpose: Literal["marketing"] = "marketing"


class TagKind(msgspec.Struct, frozen=True):
    """A tag that conditions may name; it lasts ``lasts`` milliseconds if nobody says for how long.

    None: until it is taken away.
    """

    name: str
    about: str
    lasts: int | None = None


class Audiences(msgspec.Struct, frozen=True):
    """All that the business tells members apart by. A segment may ask for those before it."""

    segments: tuple[Segment, ...] = ()
    tags: tuple[TagKind, ...] = ()
    # In order of time.
    tables: tuple[RfmTable, ...] = ()


NOBODY = Audiences()


class Compiled(NamedTuple):
    """A segment as the engine uses it: its number in rows, and which news may concern it."""

    id: int
    segment: Segment
    concerned_by: frozenset[str]
    is_in: Test
    turns: tuple[Turn, ...]

    def next_turn(self, member: Member, after: int) -> int:
        """Return the first instant after ``after`` at which time may change who is in."""
        earliest = NEVER
        for turn in self.turns:
            earliest = min(earliest, turn(member, after))
        return earliest


def compiled(segments: Iterable[Segment]) -> tuple[Compiled, ...]:
    """Return the segments in their order."""
    return tuple(map(_compiled, segments))


def _compiled(segment: Segment) -> Compiled:
    wanted = tuple(requirements(segment.condition))
    return Compiled(
        name_hash(segment.name),
        segment,
        frozenset(news for one in wanted for news in _news(one)),
        test_of(segment.condition, segment.purpose),
        tuple(turn for one in wanted if (turn := turn_of_test(one)) is not None),
    )


def requirements(wanted: If) -> Iterable[Requirement]:
    """Yield everything that a condition asks for, in whatever group."""
    yield from wanted.tests
    for group in (*wanted.any_of, *wanted.none_of):
        yield from group


def _news(wanted: Requirement) -> Iterable[str]:
    """Return what may change whether a requirement holds, beside time: event types, and moves."""
    match wanted:
        case OrdersAre() | SpendIs():
            return ("purchase",)
        case EventsAre(of=kind):
            return (kind,)
        case PointsAre():
            return ("points",)
        case IsIn(what="stage" | "band"):
            return (STAGE_MOVED,)
        case IsIn(what="tier"):
            return ("tier",)
        case IsIn():
            return ("register",)
        case LastWas(what="last_order"):
            return ("purchase",)
        case LastWas(what="registered"):
            return ("register",)
        case LastWas():
            return ACTIVITY
        case Reachable():
            return ("profile", "consent", "unsubscribed", "complained")
        case BirthdayKnown():
            return ("profile",)
        case Marked(kind="tag"):
            return ("tag", "untag")
        case Marked():
            return (SEGMENT_MOVED,)
        case RfmIs():
            return (RFM_MOVED,)
        case PredictedIs():
            return (SCORED,)
