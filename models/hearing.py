"""What an event changes in how things stand: mute, reach, returns, problems, messages sent.

As with all facts the latest word counts, in whatever order the words arrive.
"""

from typing import TypeVar

from models.contacts import hear_of_message, recall
from models.decoding import Received, instant
from models.events import (
    Complained,
    MessageBounced,
    MessageClicked,
    MessageDelivered,
    MessageFailed,
    MessageOpened,
    MessageSent,
    Muted,
    OrderCancelled,
    Refunded,
    ReturnRequested,
    TicketOpened,
)
from models.ids import name_hash
from models.marks import instant_of, place
from models.member import Member
from models.rulebook import RuleBook
from models.standing import KEPT_REACH, KEPT_RETURNS, Standing
from models.times import DAY

K = TypeVar("K", str, int)

# Problems are forgotten after the longest time for which policy may heed them.
LONGEST_HOLD = 90 * DAY
_NO_STANDING = Standing()

_HEARD = (
    Muted,
    Complained,
    TicketOpened,
    ReturnRequested,
    OrderCancelled,
    Refunded,
    MessageSent,
    MessageDelivered,
    MessageFailed,
    MessageOpened,
    MessageClicked,
    MessageBounced,
)


def hear(member: Member, received: Received, book: RuleBook) -> None:
    """Fold one event into how things stand with the member."""
    event, at = received.event, received.at
    if not isinstance(event, _HEARD):
        return
    # What may be forgotten is forgotten first, so that whether the row was saved does not matter.
    forget(member, book)
    standing = member.standing or Standing()
    where = place(at, received.rank)
    match event:
        case Muted():
            if where >= standing.mute_said:
                standing.mute_said = where
                standing.muted_until = instant(event.until, "$.until")
        case TicketOpened():
            standing.ticket_at = max(standing.ticket_at, at)
        case ReturnRequested():
            _latest(standing.returns, name_hash(event.order_id), where, True, KEPT_RETURNS)
        case Refunded() | OrderCancelled():
            _latest(standing.returns, name_hash(event.order_id), where, False, KEPT_RETURNS)
        case Complained():
            standing.complaint_at = max(standing.complaint_at, at)
        case MessageBounced():
            _latest(standing.reach, event.channel, where, True, KEPT_REACH)
            hear_of_message(standing, event, at, where, book.policy)
        case MessageDelivered() | MessageOpened() | MessageClicked():
            _latest(standing.reach, event.channel, where, False, KEPT_REACH)
            hear_of_message(standing, event, at, where, book.policy)
        case MessageSent() | MessageFailed():
            hear_of_message(standing, event, at, where, book.policy)
    member.standing = standing


def _latest(words: dict[K, int], key: K, where: int, bad: bool, most: int) -> None:
    # All words of one kind come over one topic: at one place the one that came later is the last.
    if where >= words.get(key, 0) >> 1:
        words[key] = where << 1 | bad
    while len(words) > most:
        # What is well is missed least.
        del words[min(words, key=lambda key: (words[key] & 1, words[key]))]


def forget(member: Member, book: RuleBook) -> None:
    """Drop what cannot matter any more."""
    standing = member.standing
    if standing is None:
        return
    now = member.advanced_to
    keep_from = now - book.limits.allowed_lateness
    if standing.contacts:
        recall(standing, now, book.counted_for)
    if standing.reach:
        standing.reach = _worth(standing.reach, keep_from, 0)
    if standing.returns:
        standing.returns = _worth(standing.returns, keep_from, now - LONGEST_HOLD)
    if standing.muted_until < keep_from and instant_of(standing.mute_said) < keep_from:
        standing.muted_until = standing.mute_said = 0
    if standing.complaint_at < now - LONGEST_HOLD:
        standing.complaint_at = 0
    if standing.ticket_at < now - LONGEST_HOLD:
        standing.ticket_at = 0
    if standing == _NO_STANDING:
        member.standing = None


def _worth(words: dict[K, int], well_from: int, bad_from: int) -> dict[K, int]:
    return {
        key: word
        for key, word in words.items()
        if word >> 4 >= (bad_from if word & 1 else well_from)
    }
