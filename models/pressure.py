"""How much is enough: silence after an order, cool-downs, frequency caps, quiet hours."""

import msgspec

from models.contacts import cooling, said_of, used_up
from models.explaining import said
from models.holdout import spread
from models.local_time import in_quiet, local_text, zone_of
from models.member import Member
from models.policy import Policy, Then
from models.rulebook import RuleBook
from models.rules import Rule
from models.stages import NEVER
from models.times import MINUTE, format_duration, rfc3339
from models.triggers import Verdict

# What waits for a feed is asked about so often. A member's row is written each time.
LOOK_AGAIN = 15 * MINUTE


class Pause(msgspec.Struct, frozen=True):
    """Nothing is sent before ``until``: what comes meanwhile waits or is dropped."""

    until: int
    then: Then
    why: str


def zone_for(member: Member, book: RuleBook) -> str:
    """Return the name of the member's zone, or of the brand's where it is not known."""
    return zone_of(said(member, "time_zone"), book.limits.time_zone)


def silence_at(member: Member, rule: Rule, at: int, book: RuleBook) -> Pause | None:
    """Return the silence after an order that an instant falls into."""
    silence = book.policy.silence
    if silence is None or rule.purpose != "marketing" or not member.orders:
        return None
    until = member.orders[-1] + silence.within
    if at >= until:
        return None
    why = f"ordered at {rfc3339(member.orders[-1])}: silence for {format_duration(silence.within)}"
    return Pause(until, silence.then, why)


def uncapped(
    member: Member, rule: Rule, channels: tuple[str, ...], at: int, book: RuleBook
) -> tuple[tuple[str, ...], tuple[Verdict, str] | None]:
    """Return the channels whose own caps have room, and what says no to all of them.

    What is decided ``at`` a quiet hour is asked about as of the instant at which it would be sent.
    """
    policy = book.policy
    pause = quiet_at(member, rule, at, book)
    if pause is not None and pause.then == "defer":
        at = pause.until
    why = cooling(member, rule.group, at, policy)
    if why is not None:
        return channels, ("cool_down", why)
    zone = zone_for(member, book) if policy.caps else ""
    left = channels
    for cap in policy.caps:
        if not cap.concerns(rule.purpose, rule.group):
            continue
        if cap.channel is not None and cap.channel not in left:
            continue
        if not used_up(member, cap, at, zone, policy):
            continue
        if cap.channel is not None:
            left = tuple(channel for channel in left if channel != cap.channel)
        if cap.channel is None or not left:
            return channels, ("cap", f"{said_of(cap)}: used up")
    return left, None


def next_look(member: Member, at: int, policy: Policy) -> int:
    """Return when a candidate that waits for a feed is asked about again.

    For each member at another instant: when the feed is back, not all of them leave in one second.
    """
    return at + LOOK_AGAIN + spread(member.id, at, max(policy.pace, LOOK_AGAIN))


def quiet_at(member: Member, rule: Rule, at: int, book: RuleBook) -> Pause | None:
    """Return the quiet hours that an instant falls into; they end a little later for each member.

    By the member's time: a gateway does not send what it hears of after ``not_after``.
    """
    quiet = book.policy.quiet_hours
    if quiet is None or rule.purpose not in quiet.purposes:
        return None
    zone = zone_for(member, book)
    end = in_quiet(at, zone, quiet.start, quiet.end)
    if end is None:
        return None
    until = end + spread(member.id, end, book.policy.pace)
    return Pause(until, quiet.then, f"quiet hours until {local_text(end, zone)} in {zone}")


def quiet_from(member: Member, rule: Rule, at: int, book: RuleBook) -> int:
    """Return when the next quiet hours begin, or ``NEVER``."""
    quiet = book.policy.quiet_hours
    if quiet is None or rule.purpose not in quiet.purposes:
        return NEVER
    begins = in_quiet(at, zone_for(member, book), quiet.end, quiet.start)
    return NEVER if begins is None else begins
