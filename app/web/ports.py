"""Where the answers come from: what the pages ask, and nothing of how it is found."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from app.web.shapes import Ahead
from app.why_command import Answer
from models.lifecycle_report import Report
from models.model import Model
from models.rulebook import RuleBook


class Unavailable(Exception):
    """It cannot be told now; the message says why, in one sentence without secrets."""


class NotHere(Exception):
    """Only this worker's own rows were asked for, and the member is another worker's."""


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the worker is ready: it is when there is no reason why not."""

    waiting_for: tuple[str, ...] = ()
    """Sentences for whoever waits."""

    @property
    def ready(self) -> bool:
        """Return whether the lanes work."""
        return not self.waiting_for


class MemberSource(Protocol):
    """What is known of a member now, wherever its lane is worked on."""

    def own(self, identity: str) -> bytes | None:
        """Return the JSON document of a member of our own lanes; None: ask for ``document``."""

    async def document(self, identity: str, anonymous: bool, *, here: bool) -> bytes | None:
        """Return the JSON document or None; raises ``Unavailable``, ``NotHere`` if ``here``."""

    async def ahead(self, identity: str, *, here: bool) -> list[Ahead] | None:
        """Return what will happen if nothing happens before, None of an unknown member.

        Raises as ``document``.
        """


class Lists(Protocol):
    """Members by what they have in common; raises ``StoreUnavailable``."""

    async def ids_by_stage(self, stage: str, offset: int, limit: int) -> Sequence[tuple[str, int]]:
        """Return members of a stage and since when (epoch ms), the newest first."""

    async def ids_by_risk(self, offset: int, limit: int) -> Sequence[tuple[str, float]]:
        """Return members and their churn probability, the highest first."""


class Observed(Protocol):
    """What all workers have seen together; each raises ``StoreUnavailable``."""

    async def timeline(
        self, identity: str, limit: int = 100, before: str | None = None
    ) -> tuple[Sequence[Mapping[str, Any]], str | None]:
        """Return what happened to a member, the newest first, and where what is older goes on.

        ``before``: such a place, or an instant (RFC 3339); raises ``ValueError`` of anything else.
        """

    async def member_by_order(self, order: str) -> str | None:
        """Return whose order it is."""

    async def member_by_contact(self, digest: str) -> str | None:
        """Return whose phone or e-mail has the SHA-256 (small hex)."""

    async def lifecycle(self) -> Report:
        """Return the lifecycle metrics."""

    async def rule_counts(self, days: int = 14) -> Mapping[str, Mapping[str, Mapping[str, int]]]:
        """Return by rule and day: triggers, cancelled, held_back."""

    async def feed(
        self, after_id: str | None, limit: int
    ) -> Sequence[tuple[str, Mapping[str, Any]]]:
        """Return what came after an entry, or the newest without one; the oldest first."""

    async def totals(self) -> Mapping[str, int]:
        """Return events, triggers, cancelled and members."""

    async def stages(self) -> Mapping[str, int]:
        """Return members by stage."""

    async def flows(self) -> Sequence[Mapping[str, Any]]:
        """Return how many went from a stage to another: from, to, today, total."""


class Mutes(Protocol):
    """How a member is muted."""

    async def mute(
        self, identity: str, until: int | None, reason: str | None, by: str
    ) -> tuple[str, int]:
        """Say it to all, until an instant (None: from now on no more); return event id and instant.

        Raises ``Unavailable`` when nobody has acknowledged it, ``ValueError`` for an instant past.
        """


class Whys(Protocol):
    """Answers what ``lifecycle why`` answers."""

    async def why(
        self, identity: str, anonymous: bool, rule: str | None, since: int | None, chinese: bool
    ) -> Answer | None:
        """Return it, or None for an unknown member; raises ``Unavailable``."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Everything that the pages ask."""

    health: Callable[[], Health]
    metrics: Callable[[str], tuple[bytes, str]]
    """By an ``Accept`` header: the body and its content type."""
    members: MemberSource
    lists: Lists
    observed: Observed
    report: Callable[[], Report | None]
    """The lifecycle metrics as they were a moment ago, if they were read: reading takes a while."""
    mutes: Mutes
    whys: Whys
    book: RuleBook
    model: Callable[[], Model | None]
    drift: Callable[[], bool]
    """Whether members behave otherwise than predicted."""
    breakers: Callable[[], Mapping[str, bool]]
    """By rule, whether its breaker is open."""
    now: Callable[[], int]
    """Members' time, epoch milliseconds."""
