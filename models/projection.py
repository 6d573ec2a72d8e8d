"""The projection: what the serving store knows of a member, derived from the row.

The rule book says only what the segments in a row are called, and by which table it was scored.
"""

from collections.abc import Iterator
from itertools import chain
from typing import Literal

from models.contacts import contact_of
from models.events import CLASS_OF
from models.explaining import recent_items, said
from models.facts import activity_at, cart_of, opted_out, refuses
from models.foreseeing import foreseen
from models.marks import instant_of
from models.member import Member
from models.predicting import Library
from models.rfm import table_at, unpack
from models.rulebook import RuleBook
from models.stages import BANDS, STAGES
from models.standing import GIVEN_BACK, RAISED, SENT, OpenTrigger
from models.times import rfc3339
from models.triggers import (
    Belongs,
    Carries,
    ConsentSaid,
    ContextItem,
    LastTrigger,
    MemberUpdate,
    RfmScores,
)

_TYPES = tuple(CLASS_OF)
_ACTIVE = STAGES.index("active")
_OUTCOMES: dict[int, Literal["open", "sent", "not_sent"]] = {
    RAISED: "open",
    SENT: "sent",
    GIVEN_BACK: "not_sent",
}
TOLD_TRIGGERS = 5
"""How many of a member's last triggers are told: what a support desk looks at. Each takes about
100 bytes of every update."""


def project(
    member: Member,
    next_due: int | None,
    book: RuleBook | None = None,
    models: Library | None = None,
) -> MemberUpdate:
    """Return the member's projection; ``next_due`` is the row's earliest deadline.

    Without the rule book, or the models, it is without what those say.
    """
    member_id = None if member.anonymous else member.id
    anonymous_id = member.id if member.anonymous else None
    if member.erased_until:
        at = rfc3339(member.advanced_to)
        return MemberUpdate(
            stage=STAGES[0],
            since=at,
            updated_at=at,
            erased=True,
            member_id=member_id,
            anonymous_id=anonymous_id,
        )
    loyalty = member.loyalty
    return MemberUpdate(
        stage=STAGES[member.stage],
        since=rfc3339(member.stage_since),
        updated_at=rfc3339(member.advanced_to),
        band=BANDS[member.band] if member.stage == _ACTIVE else None,
        registered_at=_moment(member.registered_at),
        orders=member.order_count,
        spend=member.spend / 100,
        refunded=member.refunded / 100,
        last_order_at=_moment(member.orders[-1]) if member.orders else None,
        last_activity_at=_moment(member.last_activity),
        next_deadline_at=None if next_due is None else rfc3339(next_due),
        activity_30d=round(activity_at(member, member.advanced_to), 3),
        tier=loyalty.tier if loyalty else None,
        points=loyalty.points if loyalty else None,
        locale=said(member, "locale"),
        time_zone=said(member, "time_zone"),
        birthday=said(member, "birthday"),
        recent_items=recent_items(member),
        cart=tuple(
            ContextItem(item_id=item, quantity=quantity, price=price)
            for item, (quantity, price) in cart_of(member).items()
        ),
        opted_out=opted_out(member, "marketing"),
        muted_until=muted_until(member),
        open_triggers=tuple(trigger.id.hex() for trigger in member.open),
        counts={_TYPES[code]: count for code, count in member.counts.items()},
        segments=() if book is None else tuple(_segments(member, book)),
        tags=tuple(_tags(member)),
        rfm=_rfm(member, book),
        foreseen=foreseen(member, models),
        member_id=member_id,
        anonymous_id=anonymous_id,
        last_triggers=_last_triggers(member, book),
        consents=tuple(_consents(member)),
    )


def muted_until(member: Member) -> str | None:
    """Return until when nothing is sent to the member, while that lasts."""
    standing = member.standing
    if standing is None or standing.muted_until <= member.advanced_to:
        return None
    return rfc3339(standing.muted_until)


def _consents(member: Member) -> Iterator[ConsentSaid]:
    for name in sorted(member.consent):
        said, _, channel = name.partition(":")
        purpose: Literal["marketing", "service"] = "service" if said == "service" else "marketing"
        yield ConsentSaid(channel, purpose, not refuses(member, purpose, channel))


def _last_triggers(member: Member, book: RuleBook | None) -> tuple[LastTrigger, ...]:
    """Return the newest triggers: those that are open, and what re-entry remembers of others."""
    known: dict[tuple[int, str], OpenTrigger | None] = {}
    if book is not None:
        for rule_id, due in chain(member.raised.items(), _raised_by_key(member)):
            rule = book.reentry_of.get(rule_id)
            if rule is not None:
                known[due, rule.name] = None
    for trigger in member.open:
        known[trigger.due, trigger.rule] = trigger
    newest = sorted(known, reverse=True)[:TOLD_TRIGGERS]
    return tuple(_last_trigger(member, due, rule, known[due, rule]) for due, rule in newest)


def _last_trigger(member: Member, due: int, rule: str, trigger: OpenTrigger | None) -> LastTrigger:
    if trigger is None:
        return LastTrigger(rule, rfc3339(due), "over")
    return LastTrigger(rule, rfc3339(due), _outcome(member, trigger), trigger.id.hex())


def _raised_by_key(member: Member) -> Iterator[tuple[int, int]]:
    # A key begins with the rule's id, 4 bytes (``models.deciding.reentry_key``).
    for key, due in member.raised_keys.items():
        yield int.from_bytes(key[:4], "big"), due


def _outcome(member: Member, trigger: OpenTrigger) -> Literal["open", "sent", "not_sent"]:
    contact = contact_of(member, trigger.id)
    return "open" if contact is None else _OUTCOMES[contact.state]


def _segments(member: Member, book: RuleBook) -> Iterator[Belongs]:
    if member.labels is not None:
        for one in book.segments:
            since = member.labels.segments.get(one.id)
            if since is not None:
                yield Belongs(one.segment.name, rfc3339(since))


def _tags(member: Member) -> Iterator[Carries]:
    for name, tag in member.labels.tags.items() if member.labels is not None else ():
        if tag.until == 0 or tag.until > member.advanced_to:
            since, until = rfc3339(instant_of(tag.said)), _moment(tag.until)
            yield Carries(name, since, tag.reason, tag.source, until)


def _rfm(member: Member, book: RuleBook | None) -> RfmScores | None:
    scores = unpack(member.labels.rfm) if member.labels is not None else None
    if scores is None:
        return None
    table = None if book is None else table_at(book.audiences.tables, member.advanced_to)
    return RfmScores(*scores, None if table is None else table.date)


def _moment(instant: int) -> str | None:
    return rfc3339(instant) if instant else None
