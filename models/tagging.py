"""Tags: put and taken away by events, each with a reason, a source and a time to live.

Of a tag the latest word counts, in whatever order the words arrive: the one that was taken away, or
has expired, is remembered for the allowed lateness.
"""

from models.decoding import Received, instant
from models.events import Tagged, Untagged
from models.labels import KEPT_TAGS, LONGEST_REASON, Labels, Tag
from models.marks import instant_of, place
from models.member import Member
from models.rulebook import RuleBook
from models.stages import NEVER

_OF_TAGS = (Tagged, Untagged)


def hear(member: Member, received: Received, book: RuleBook) -> None:
    """Fold what an event says of a tag."""
    event, at = received.event, received.at
    if not isinstance(event, _OF_TAGS):
        return
    # What may be forgotten is forgotten first, so that whether the row was saved does not matter.
    forget(member, member.advanced_to - book.limits.allowed_lateness)
    labels = member.labels = member.labels or Labels()
    where = place(at, received.rank)
    said = labels.tags.get(event.tag)
    # All words come over one topic: at one place the one that came later is the last.
    if said is not None and said.said > where:
        return
    labels.tags.pop(event.tag, None)
    if isinstance(event, Untagged):
        labels.tags[event.tag] = Tag(where, at)
    else:
        reason = None if event.reason is None else event.reason[:LONGEST_REASON]
        labels.tags[event.tag] = Tag(where, _until(event, at, book), event.source, reason)
    while len(labels.tags) > KEPT_TAGS:
        del labels.tags[min(labels.tags, key=lambda name: _worth(labels.tags[name], name, member))]


def _until(event: Tagged, at: int, book: RuleBook) -> int:
    if event.expires_at is not None:
        # An instant that is past ends the tag at once: 0 would be for good.
        return max(instant(event.expires_at, "$.expires_at"), 1)
    kind = book.tags.get(event.tag)
    return 0 if kind is None or kind.lasts is None else at + kind.lasts


def _worth(tag: Tag, name: str, member: Member) -> tuple[bool, int, str]:
    """What is over goes first, then what was said longest ago."""
    return tag.until == 0 or tag.until > member.advanced_to, tag.said, name


def next_due(member: Member) -> int:
    """Return when the first tag expires, or ``NEVER``."""
    if member.labels is None or not member.labels.tags:
        return NEVER
    done = member.advanced_to
    return min(
        (tag.until for tag in member.labels.tags.values() if tag.until > done), default=NEVER
    )


def forget(member: Member, keep_from: int) -> None:
    """Drop the tags that are over, unless a word before the last may still arrive."""
    labels = member.labels
    if labels is None or not labels.tags:
        return
    labels.tags = {
        name: tag
        for name, tag in labels.tags.items()
        if tag.until == 0 or tag.until >= keep_from or instant_of(tag.said) >= keep_from
    }
