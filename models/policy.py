"""Policy as data: what may be sent to a member, and when. The default is no policy at all."""

from typing import Literal, TypeAlias

import msgspec

from models.times import DAY, HOUR

Purpose: TypeAlias = Literal["marketing", "service"]
Then: TypeAlias = Literal["defer", "drop"]
PURPOSES: tuple[Purpose, ...] = ("marketing", "service")


class Consent(msgspec.Struct, frozen=True):
    """What holds for a purpose while the member has said nothing. A refusal always blocks."""

    marketing: Literal["allowed", "denied"] = "allowed"
    service: Literal["allowed", "denied"] = "allowed"


class Holds(msgspec.Struct, frozen=True):
    """How long an unsolved problem holds marketing back at most, in milliseconds; 0: it does not.

    At most, because a ticket that nobody closes in the other system must not silence for ever.
    """

    ticket: int = 0
    complaint: int = 0
    returned: int = 0


class Silence(msgspec.Struct, frozen=True):
    """No marketing for ``within`` milliseconds after an order."""

    within: int
    then: Then = "defer"


class Holdout(msgspec.Struct, frozen=True):
    """Who gets no marketing so that its effect can be told: shares of 1, by a salted hash."""

    salt: str
    everything: float = 0.0
    per_rule: float = 0.0


class Cap(msgspec.Struct, frozen=True):
    """At most so many messages of those that match, rolling (``within``) or by the calendar.

    ``per`` is a day, a week from Monday or a month of the member's own zone. A cap of one channel
    takes the channel out of a trigger; the others say no to it.
    """

    at_most: int
    within: int | None = None
    per: Literal["day", "week", "month"] | None = None
    purpose: Literal["marketing", "service", "any"] = "marketing"
    channel: str | None = None
    group: str | None = None

    def concerns(self, purpose: str, group: str | None) -> bool:
        """Tell whether messages of a purpose and group count, and are counted."""
        return self.purpose in (purpose, "any") and self.group in (group, None)

    @property
    def memory(self) -> int:
        """How long ago a message may be that still counts."""
        if self.within is not None:
            return self.within
        return {"day": 1, "week": 7, "month": 31}[self.per or "day"] * DAY + 2 * HOUR


class Arbitration(msgspec.Struct, frozen=True):
    """Candidates within ``window`` milliseconds of the first compete; one of them wins."""

    window: int
    purposes: tuple[Purpose, ...] = ("marketing",)


class QuietHours(msgspec.Struct, frozen=True):
    """Minutes of the member's day between which nothing is sent; over midnight when from > to."""

    start: int
    end: int
    then: Then
    purposes: tuple[Purpose, ...] = ("marketing",)


class FeedWatch(msgspec.Struct, frozen=True):
    """When a feed, the events of one type from one source, counts as silent.

    It is when less than the share ``below`` of the usual has come, over the last hours in which
    ``expected`` events were usual, at the earliest after ``learn`` milliseconds of its life.
    """

    below: float = 0.2
    expected: int = 50
    learn: int = 14 * DAY
    # Source -> milliseconds by which what it says may come later than it happened.
    delays: dict[str, int] = {}


class Breaker(msgspec.Struct, frozen=True):
    """How many triggers of a rule are an accident: ``times`` as many per event as were usual.

    At least ``at_least`` a day and worker, and after ``learn`` milliseconds of the rule's life.
    """

    times: float = 5.0
    at_least: int = 500
    learn: int = 14 * DAY


class Override(msgspec.Struct, frozen=True, kw_only=True):
    """An operator's word from one instant until another: hold, or release what is held.

    About a rule, a feed (of any source where ``source`` is None), or everything.
    """

    then: Literal["hold", "release"]
    since: int
    until: int
    by: str
    reason: str
    rule: str | None = None
    type: str | None = None
    source: str | None = None

    @property
    def everything(self) -> bool:
        """Tell whether it is about all rules."""
        return self.rule is None and self.type is None


class Policy(msgspec.Struct, frozen=True):
    """What may be sent. The default is no policy at all: every candidate becomes a trigger."""

    # None: nobody is asked.
    consent: Consent | None = None
    # For so many milliseconds after a member's first event, and after the registration, a word of
    # consent that is missing may still follow: until then candidates wait for it.
    consent_follows: int = 0
    # Channels of a rule that names none, best first.
    channels: tuple[str, ...] = ()
    # Purposes of which nothing is sent at all.
    stop: tuple[Purpose, ...] = ()
    # Whether only channels are named on which the member can be reached.
    reachability: bool = False
    holds: Holds = Holds()
    silence: Silence | None = None
    holdout: Holdout | None = None
    # Group of rules -> milliseconds without another message of the group.
    cool_down: dict[str, int] = {}
    caps: tuple[Cap, ...] = ()
    arbitration: Arbitration | None = None
    quiet_hours: QuietHours | None = None
    # Over how many milliseconds what waited for the morning leaves.
    pace: int = 0
    # Whether the gateway says ``sent`` for every message: then what is withdrawn before that has
    # not been seen by anybody and need not count.
    sent_is_reported: bool = True
    # None: no feed is watched, and no rule's volume.
    feeds: FeedWatch | None = None
    breaker: Breaker | None = None
    overrides: tuple[Override, ...] = ()

    @property
    def memory(self) -> int:
        """How long ago a message may be that matters to any line, in milliseconds."""
        return max((*self.cool_down.values(), *(cap.memory for cap in self.caps)), default=0)

    def without_pressure(self) -> "Policy":
        """Return what a policy asks of the member alone, not of what else is sent, nor when."""
        return Policy(
            consent=self.consent,
            channels=self.channels,
            stop=self.stop,
            reachability=self.reachability,
            holds=self.holds,
        )
