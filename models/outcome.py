"""What goes into the engine beside the member, and what comes out."""

import msgspec

from models.asking import Bought, Question
from models.closures import NOTHING, Closed
from models.decoding import Received
from models.member import Member
from models.predicting import Models
from models.rulebook import RuleBook
from models.rules import Rule
from models.stages import NEVER
from models.standing import Held
from models.triggers import DecisionMessage, TriggerMessage


class Context(msgspec.Struct, frozen=True):
    """What ``handle`` knows beside the member: the rules, what time it is, and what is closed.

    ``now`` is epoch milliseconds on a wall clock, None in stream time, where *now* is always the
    instant at which something became due. Without ``models`` nobody is scored.
    """

    book: RuleBook
    now: int | None = None
    closed: Closed = NOTHING
    models: Models | None = None


class Outcome(msgspec.Struct):
    """What follows from one event or one advance: messages in the order in which they arose."""

    member: Member
    triggers: list[TriggerMessage] = msgspec.field(default_factory=list)
    decisions: list[DecisionMessage] = msgspec.field(default_factory=list)
    asked: list[Question | Bought] = msgspec.field(default_factory=list)
    """What the trainer is told."""
    duplicate: bool = False
    late: bool = False


class Candidate(msgspec.Struct, frozen=True):
    """A rule whose condition became true, before anything is decided about it."""

    rule: Rule
    due: int
    occasion: str
    key: str = ""
    armed: int = 0  # the arming mark of an absence
    received: Received | None = None  # the completing event
    silent: bool = False  # completed by history
    why: str = ""  # of a stage or band
    fact: str = ""  # type of the event that completed or armed a log, as far as it is known
    since: int = 0  # since when a log has been waiting
    number: int = 0  # step of a series, from 1
    day: str = ""  # the local date that a calendar is about
    held: Held | None = None  # what was kept of it while it waited
    ends: int = NEVER  # when what it speaks of is over
