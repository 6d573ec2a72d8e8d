"""The messages that count: which there were, how caps and cool-downs count them, what gives back.

A message of ours counts from the instant when it is raised. What the gateway says about it later
narrows it to the channels by which it went, or gives the slot back when it went by none.
"""

from models.events import (
    NOT_ARRIVED,
    MessageBounced,
    MessageClicked,
    MessageDelivered,
    MessageFailed,
    MessageOpened,
    MessageSent,
)
from models.ids import name_hash, short_hash
from models.local_time import local_date, monday_of
from models.member import Member
from models.policy import Cap, Policy
from models.standing import (
    GIVEN_BACK,
    KEPT_CONTACTS,
    KEPT_WORDS,
    RAISED,
    SENT,
    Contact,
    OpenTrigger,
    Standing,
)
from models.times import format_duration, rfc3339

_Message = (
    MessageSent | MessageDelivered | MessageFailed | MessageOpened | MessageClicked | MessageBounced
)


def note(member: Member, trigger: OpenTrigger, group: str | None, at: int, policy: Policy) -> None:
    """Count a trigger that has just been raised."""
    if not policy.memory:
        return
    standing = member.standing = member.standing or Standing()
    of_group = name_hash(group) if group is not None else 0
    contact = Contact(at, trigger.id[:8], trigger.marketing, of_group, trigger.channels)
    _keep(standing, contact, policy)


def give_back(member: Member, trigger: OpenTrigger, policy: Policy) -> None:
    """Do not count a trigger that is withdrawn before it was sent, if we would have been told."""
    contact = contact_of(member, trigger.id) if policy.sent_is_reported else None
    if contact is not None and contact.state == RAISED:
        contact.state = GIVEN_BACK


def contact_of(member: Member, trigger_id: bytes) -> Contact | None:
    """Return what is remembered of a trigger's message."""
    contacts = () if member.standing is None else member.standing.contacts
    return next((contact for contact in contacts if contact.id == trigger_id[:8]), None)


def was_sent(member: Member, trigger_id: bytes) -> bool:
    """Tell whether the gateway has said that a trigger's message left, as far as is remembered."""
    contact = contact_of(member, trigger_id)
    return contact is not None and contact.state == SENT


def hear_of_message(
    standing: Standing, event: _Message, at: int, where: int, policy: Policy
) -> None:
    """Take the gateway's (or another tool's) word about a message."""
    if not policy.memory:
        return
    identity = _identity(event)
    is_campaign = event.trigger_id is None
    known = [c for c in standing.contacts if c.id == identity and (c.at <= at or not is_campaign)]
    if isinstance(event, MessageSent) and (is_campaign or not known):
        sent = Contact(at, identity, True, 0, (event.channel,), SENT, {event.channel: where << 1})
        _keep(standing, sent, policy)
    elif known:
        # Of a campaign that is sent again and again it is the latest.
        _hear_of(known[-1], event.channel, where, isinstance(event, NOT_ARRIVED))


def _hear_of(contact: Contact, channel: str, where: int, lost: bool) -> None:
    """Note one channel's word: what failed on one may have gone by another."""
    words = contact.words
    if where >= words.get(channel, 0) >> 1:
        words[channel] = where << 1 | lost
    if len(words) > KEPT_WORDS:
        # What was lost is missed least.
        del words[min(words, key=lambda channel: (not words[channel] & 1, words[channel]))]
    went_by = tuple(sorted(channel for channel, word in words.items() if not word & 1))
    contact.state = SENT if went_by else GIVEN_BACK
    if went_by:
        contact.channels = went_by


def _identity(event: _Message) -> bytes:
    if event.trigger_id is not None:
        try:
            return bytes.fromhex(event.trigger_id)[:8].ljust(8, b"\0")
        except ValueError:
            return short_hash(event.trigger_id.encode())
    # One without a name is a campaign too: it reached the member all the same.
    return short_hash(f"{event.campaign or ''}|{event.channel}".encode())


def _keep(standing: Standing, contact: Contact, policy: Policy) -> None:
    contacts = standing.contacts
    contacts.append(contact)
    if len(contacts) > 1 and contacts[-2].at > contact.at:
        contacts.sort(key=lambda contact: contact.at)
    if len(contacts) > KEPT_CONTACTS:
        _drop_one(contacts, policy)


def _drop_one(contacts: list[Contact], policy: Policy) -> None:
    """Drop the oldest that no cap needs: of those that a cap counts the newest few are enough."""
    needed: set[int] = set()
    groups = {name_hash(group) for group in policy.cool_down}
    for group in groups:
        needed.update([n for n, c in enumerate(contacts) if c.group == group and _counts(c)][-1:])
    for cap in policy.caps:
        wanted = [n for n, c in enumerate(contacts) if _is_counted(c, cap, policy)]
        needed.update(wanted[-cap.at_most :] if cap.at_most else ())
    spare = (index for index in range(len(contacts)) if index not in needed)
    del contacts[next(spare, 0)]


def recall(standing: Standing, now: int, counted_for: int) -> None:
    """Forget the messages that no cap or cool-down can count any more, so many ms after."""
    if standing.contacts[0].at <= now - counted_for:
        standing.contacts = [c for c in standing.contacts if c.at > now - counted_for]


def _counts(contact: Contact) -> bool:
    return contact.state != GIVEN_BACK


def _is_counted(contact: Contact, cap: Cap, policy: Policy) -> bool:
    if not _counts(contact):
        return False
    if cap.purpose != "any" and contact.marketing != (cap.purpose == "marketing"):
        return False
    if cap.group is not None and contact.group != name_hash(cap.group):
        return False
    if cap.channel is None:
        return True
    channels = policy.channels if contact.channels is None else contact.channels
    # Without channels it is the gateway that chooses: it may have been this one.
    return not channels or cap.channel in channels


def _period(cap: Cap, at: int, zone: str) -> object:
    day = local_date(at, zone)
    match cap.per:
        case "week":
            return monday_of(day)
        case "month":
            return day.replace(day=1)
        case _:
            return day


def used_up(member: Member, cap: Cap, at: int, zone: str, policy: Policy) -> bool:
    """Tell whether a cap leaves no room for one more message at an instant."""
    if cap.at_most == 0:
        return True
    if member.standing is None:
        return False
    left, begins = cap.at_most, at - cap.memory
    now = None if cap.within is not None else _period(cap, at, zone)
    # Newest first: some stay for long after they count.
    for contact in reversed(member.standing.contacts):
        if contact.at <= begins:
            break
        if not _is_counted(contact, cap, policy):
            continue
        if now is None or _period(cap, contact.at, zone) == now:
            left -= 1
            if not left:
                return True
    return False


def said_of(cap: Cap) -> str:
    """Return a cap in words."""
    span = f"in {format_duration(cap.within)}" if cap.within is not None else f"a {cap.per}"
    of: list[str] = [cap.purpose] if cap.purpose != "any" else []
    of += [f"on {cap.channel}"] if cap.channel is not None else []
    of += [f"of group {cap.group}"] if cap.group is not None else []
    return " ".join(("at most", str(cap.at_most), *of, span))


def cooling(member: Member, group: str | None, at: int, policy: Policy) -> str | None:
    """Return why the group of a rule still rests at an instant."""
    span = policy.cool_down.get(group, 0) if group is not None else 0
    if not span or group is None or member.standing is None:
        return None
    for contact in reversed(member.standing.contacts):
        if contact.group == name_hash(group) and _counts(contact) and contact.at > at - span:
            return f"group {group} rests {format_duration(span)} from {rfc3339(contact.at)}"
    return None
