"""What stands between a candidate and a trigger, told by the member alone: mute, consent, holds."""

from models.facts import ALL_CHANNELS, opted_out, refuses
from models.member import Member
from models.rulebook import RuleBook
from models.rules import OrdersAtLeast, Rule
from models.times import rfc3339
from models.triggers import Verdict


def barred(member: Member, rule: Rule, at: int, book: RuleBook) -> tuple[Verdict, str] | None:
    """Return why nothing at all may be sent by this rule at an instant."""
    standing = member.standing
    if standing is not None and at < standing.muted_until:
        return "mute", f"muted until {rfc3339(standing.muted_until)}"
    if rule.purpose in book.policy.stop:
        return "stop", f"the policy has stopped everything of purpose {rule.purpose}"
    return None


def channels_for(member: Member, rule: Rule, book: RuleBook) -> tuple[str, ...] | None:
    """Return the channels that the member allows (empty: the gateway's choice), None for none."""
    wanted = rule.channels or book.policy.channels
    consent = book.policy.consent
    if consent is None:
        return wanted
    allowed = getattr(consent, rule.purpose) == "allowed"
    if rule.purpose == "marketing" and book.limits.assume_consent:
        allowed = True
    if not allowed:
        return _granted(member, rule.purpose, wanted)
    if not member.consent:
        return wanted
    if not wanted:
        # Nobody says which channel it will be: any refusal closes it.
        return None if opted_out(member, rule.purpose) else ()
    return tuple(c for c in wanted if not refuses(member, rule.purpose, c)) or None


def word_awaited(member: Member, rule: Rule, book: RuleBook) -> int:
    """Return until when a word may follow that allows a rule's channel; 0 when all are refused."""
    wanted = rule.channels or book.policy.channels
    refused = [channel for channel in wanted if refuses(member, rule.purpose, channel)]
    if len(refused) == len(wanted) if wanted else opted_out(member, rule.purpose):
        return 0
    return max(member.first_seen, member.registered_at) + book.policy.consent_follows


def _granted(member: Member, purpose: str, wanted: tuple[str, ...]) -> tuple[str, ...] | None:
    names = {name.removeprefix(f"{purpose}:") for name in member.consent if _of(name, purpose)}
    if not wanted:
        if ALL_CHANNELS in names and not opted_out(member, purpose):
            return ()
        wanted = tuple(sorted(names - {ALL_CHANNELS}))
    spoken_of = (c for c in wanted if c in names or ALL_CHANNELS in names)
    return tuple(c for c in spoken_of if not refuses(member, purpose, c)) or None


def _of(name: str, purpose: str) -> bool:
    return name.startswith(f"{purpose}:")


def reachable(member: Member, channels: tuple[str, ...], book: RuleBook) -> tuple[str, ...] | None:
    """Return the channels on which the member can be reached; None when that is none of them."""
    if not book.policy.reachability:
        return channels
    known = member.profile.get("channels")
    listed, said_at = known if known is not None else (None, -1)
    reach = member.standing.reach if member.standing is not None else {}
    # A list that is newer than what came back has been put right.
    back = {channel for channel, sign in reach.items() if sign & 1 and sign >> 4 >= said_at}
    if isinstance(listed, tuple | list):
        channels = tuple(c for c in channels or listed if c in listed)
        if not channels:
            return None
    if not back:
        return channels
    return tuple(channel for channel in channels if channel not in back) or None


def held_back(member: Member, rule: Rule, at: int, book: RuleBook) -> str | None:
    """Return the unsolved problem for which there is no marketing now."""
    holds, standing = book.policy.holds, member.standing
    if rule.purpose != "marketing" or standing is None:
        return None
    if member.tickets and at < standing.ticket_at + holds.ticket:
        return "a ticket is open"
    if at < standing.complaint_at + holds.complaint:
        return f"complained at {rfc3339(standing.complaint_at)}"
    for word in standing.returns.values():
        if word & 1 and at < (word >> 4) + holds.returned:
            return f"a return was requested at {rfc3339(word >> 4)} and is not refunded yet"
    return None


def has_ordered(member: Member, wanted: OrdersAtLeast, at: int, but: int | None = None) -> bool:
    """Tell whether the member ordered as often as ``wanted`` in the window that ends at ``at``.

    The order of the instant ``but`` does not count: it is what a rule is about.
    """
    orders = (order for order in member.orders if order != but)
    return sum(at - wanted.within <= order < at for order in orders) >= wanted.count
