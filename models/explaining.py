"""What a trigger says beside its identity: why it was raised, and what a template needs."""

import msgspec

from models.calendar import Calendar
from models.decoding import Received
from models.facts import cart_of
from models.marks import at_of, code_of
from models.member import Member
from models.outcome import Candidate
from models.predicted import predicted
from models.rules import (
    EVENT_TYPES,
    SCORED,
    Absence,
    ActivityDrop,
    BandEntered,
    Count,
    Crosses,
    EventHappens,
    LateForMember,
    Rule,
    SegmentEntered,
    SegmentLeft,
    Sequence,
    Series,
    StageEntered,
    StageLeft,
    Sum,
    TierEntered,
)
from models.sequences import run_of
from models.stages import BANDS
from models.standing import Held
from models.times import format_duration, parse_instant, rfc3339
from models.transitions import ACTIVE
from models.triggers import ContextItem, EvidenceEvent, Offer, Reason, ReasonKind, TriggerContext
from models.wording import is_chinese, sentence


def said(member: Member, name: str) -> str | None:
    """Return what is known of one text of the member's profile."""
    said = member.profile.get(name)
    return said[0] if said is not None and isinstance(said[0], str) else None


def reason_of(candidate: Candidate, locale: str) -> Reason:
    """Return why the candidate became true, as data and in words."""
    rule, event, when = candidate.rule, candidate.received, candidate.rule.when
    match when:
        case EventHappens():
            assert event is not None
            evidence = _evidence(event)
            text = sentence(rule, locale, event.at, event.type, "", "", 0)
            return Reason(text=text, kind="event", evidence=(evidence,))
        case Absence():
            fact, since = EVENT_TYPES[code_of(candidate.armed)], at_of(candidate.armed)
            return Reason(
                text=sentence(rule, locale, since, fact, candidate.key, "", 0),
                kind="absence",
                evidence=(_seen(fact, since, when.same, candidate.key),),
                not_seen=tuple(dict.fromkeys(pattern.type for pattern in when.of)),
                within=format_duration(when.within),
            )
        case StageEntered() | StageLeft() | SegmentEntered() | SegmentLeft() | BandEntered():
            text = sentence(rule, locale, candidate.due, "", "", candidate.why, 0)
            if isinstance(when, SegmentEntered | SegmentLeft):
                return Reason(text=text, kind="segment", segment=when.segment)
            if isinstance(when, BandEntered):
                return Reason(text=text, kind="band")
            return Reason(text=text, kind="stage", stage=when.stage)
        case Calendar():
            offer = candidate.key.rpartition("|")[0]
            text = sentence(rule, locale, candidate.due, candidate.day, offer, "", 0)
            return Reason(text=text, kind="calendar", day=candidate.day, offer_id=offer or None)
    same = getattr(when, "same", None)
    since, number, fact = candidate.since, candidate.number, candidate.fact
    within = getattr(when, "within", 0)
    return Reason(
        text=sentence(rule, locale, since, fact, candidate.key, "", number),
        kind=_KINDS[type(when)],
        evidence=()
        if isinstance(when, ActivityDrop) or fact == SCORED
        else (_seen(fact, since, same, candidate.key),),
        within=format_duration(within) if within else None,
        step=number or None,
    )


def retold(candidate: Candidate, held: Held, locale: str) -> Reason:
    """Return why what has waited became true, in the language of a locale that may be new."""
    reason = held.reason
    about = candidate.rule, candidate.due, candidate.key, reason
    chinese = told_again(*about, "zh")
    if is_chinese(locale):
        return msgspec.structs.replace(reason, text=chinese)
    if reason.text != chinese:
        return reason
    return msgspec.structs.replace(reason, text=told_again(*about, locale))


def told_again(rule: Rule, due: int, key: str, reason: Reason, locale: str) -> str:
    """Return in a locale's language why a rule was due, from what the reason has as data.

    In English why a stage was entered is missing: it is not kept.
    """
    when, at, fact = rule.when, due, ""
    if reason.evidence:
        fact, at = reason.evidence[0].type, parse_instant(reason.evidence[0].occurred_at)
    match when:
        case ActivityDrop(lasting=lasting):
            at -= lasting
        case Crosses(dwell=dwell) if not reason.evidence:
            at -= dwell
        case Calendar():
            fact, key = reason.day or "", reason.offer_id or ""
    # Where a reason is missing the sentence ends before it.
    text = sentence(rule, locale, at, fact, key, "", reason.step or 0)
    return text if is_chinese(locale) else f"{text.rstrip('.: ')}."


_KINDS: dict[type, ReasonKind] = {
    TierEntered: "tier",
    Count: "count",
    Sum: "sum",
    Sequence: "sequence",
    Crosses: "crosses",
    Series: "series",
    ActivityDrop: "activity_drop",
    LateForMember: "late_for_member",
}


def _evidence(event: Received) -> EvidenceEvent:
    return EvidenceEvent(
        type=event.type,
        occurred_at=rfc3339(event.at),
        event_id=event.event.event_id,
        item_id=getattr(event.event, "item_id", None),
        order_id=getattr(event.event, "order_id", None),
        partition=event.partition,
        offset=event.offset,
    )


def _seen(fact: str, at: int, same: str | None, key: str) -> EvidenceEvent:
    return EvidenceEvent(
        type=fact,
        occurred_at=rfc3339(at),
        item_id=key or None if same == "item_id" else None,
        order_id=key or None if same == "order_id" else None,
    )


def offer_of(rule: Rule, occasion: str, member: Member) -> Offer | None:
    """Return the offer of a rule with a ladder: of a series, the step's own.

    The highest that the member's expected value allows, at most; none when it allows none.
    Of whom nothing is predicted any may be offered.
    """
    if not rule.ladder:
        return None
    _, step = run_of(occasion)
    level = min(step, len(rule.ladder))
    value = predicted(member, "expected_value")
    while level and value is not None and value < rule.ladder[level - 1].worth:
        level -= 1
    return Offer(level=level, name=rule.ladder[level - 1].offer) if level else None


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
        churn=predicted(member, "churn"),
        expected_value=predicted(member, "expected_value"),
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
