"""What a trigger says beside its identity: why it was raised, and what a template needs."""

from models.facts import cart_of
from models.marks import at_of, code_of
from models.member import Member
from models.outcome import Candidate
from models.rulebook import EVENT_TYPES
from models.rules import Absence
from models.stages import BANDS
from models.times import format_duration, rfc3339
from models.transitions import ACTIVE
from models.triggers import ContextItem, EvidenceEvent, Reason, TriggerContext
from models.wording import sentence


def said(member: Member, name: str) -> str | None:
    """Return what is known of one text of the member's profile."""
    said = member.profile.get(name)
    return said[0] if said is not None and isinstance(said[0], str) else None


def reason_of(candidate: Candidate, locale: str) -> Reason:
    """Return why the candidate became true, as data and in words."""
    rule, event = candidate.rule, candidate.received
    if event is not None:
        fact, since = event.type, event.at
        evidence = EvidenceEvent(
            type=fact,
            occurred_at=rfc3339(since),
            event_id=event.event.event_id,
            item_id=getattr(event.event, "item_id", None),
            order_id=getattr(event.event, "order_id", None),
            partition=event.partition,
            offset=event.offset,
        )
        text = sentence(rule, locale, since, fact, "", "")
        return Reason(text=text, kind="event", evidence=(evidence,))
    when = rule.when
    if isinstance(when, Absence):
        fact, since = EVENT_TYPES[code_of(candidate.armed)], at_of(candidate.armed)
        key = candidate.key or None
        return Reason(
            text=sentence(rule, locale, since, fact, candidate.key, ""),
            kind="absence",
            evidence=(
                EvidenceEvent(
                    type=fact,
                    occurred_at=rfc3339(since),
                    item_id=key if when.same == "item_id" else None,
                    order_id=key if when.same == "order_id" else None,
                ),
            ),
            not_seen=tuple(dict.fromkeys(pattern.type for pattern in when.of)),
            within=format_duration(when.within),
        )
    text = sentence(rule, locale, candidate.due, "", "", candidate.why)
    return Reason(text=text, kind="stage", stage=when.stage)  # type: ignore[union-attr]


def context_of(member: Member) -> TriggerContext:
    """Return what a template may show of the member."""
    lines = cart_of(member)
    cart = tuple(
        ContextItem(item_id=item, quantity=quantity, price=price)
        for item, (quantity, price) in lines.items()
    )
    priced = [(quantity or 0) * price for quantity, price in lines.values() if price is not None]
    return TriggerContext(
        items=recent_items(member),
        cart=cart,
        cart_value=round(sum(priced), 2) if priced else None,
        orders=member.order_count,
        last_order_at=rfc3339(member.orders[-1]) if member.orders else None,
        tier=member.loyalty.tier if member.loyalty else None,
        points=member.loyalty.points if member.loyalty else None,
        band=BANDS[member.band] if member.stage == ACTIVE else None,
    )


def recent_items(member: Member) -> tuple[ContextItem, ...]:
    """Return the items that the member looked at last, newest first."""
    return tuple(
        ContextItem(
            item_id=item.item_id,
            category=item.category,
            price=item.price,
            viewed_at=rfc3339(item.at),
        )
        for item in reversed(member.recent)
    )
