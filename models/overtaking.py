"""Withdrawing triggers that the member has overtaken, or that should never have been."""

from collections.abc import Iterable

from models import absence
from models.decoding import Received
from models.events import Complained, ConsentChanged, Unsubscribed
from models.facts import opted_out, refuses
from models.ids import short_hash
from models.marks import place, place_of
from models.member import Member, OpenTrigger
from models.outcome import Outcome
from models.permission import has_ordered
from models.rulebook import RuleBook, Side
from models.rules import Rule, StageEntered
from models.stages import NEVER
from models.times import rfc3339
from models.triggers import TriggerCancelled


def overtake(outcome: Outcome, event: Received, facts: tuple[str, ...], book: RuleBook) -> None:
    """Cancel the open triggers that the event shows to be wrong or settled."""
    member = outcome.member
    close_expired(member, book)
    if not member.open:
        return
    kept: list[OpenTrigger] = []
    for trigger in member.open:
        if event.at < trigger.due:
            over = _was_wrong(trigger, event, facts, member, book)
        else:
            over = event.at < trigger.expires and _is_settled(trigger, event, facts, member, book)
        if not over:
            kept.append(trigger)
            continue
        cancel(outcome, trigger, event.at, _cause(event))
        if event.at < trigger.due:
            _give_back(member, trigger, book)
    member.open = kept


def _was_wrong(
    trigger: OpenTrigger, event: Received, facts: Iterable[str], member: Member, book: RuleBook
) -> bool:
    """Tell whether the event, had it come in time, would have kept the trigger from being."""
    if _is_refused(trigger, event, member, book):
        return True
    rule = book.rules.get(trigger.rule)
    unless = rule.unless if rule is not None and event.type == "purchase" else None
    if unless is not None and has_ordered(member, unless, trigger.due):
        return True
    if rule is not None and isinstance(rule.when, StageEntered):
        return _is_overtaken(trigger, event, facts, book)
    track = book.track_of_rule.get(trigger.rule)
    if track is None or place(event.at, event.rank) < place_of(trigger.armed):
        return False
    return any(
        _speaks_of(side, event, trigger.key)
        for fact in facts
        for other, arms, disarms in book.sides.get(fact, ())
        if other is track
        for side in (arms, disarms)
    )


def _speaks_of(side: Side | None, event: Received, key: str) -> bool:
    if side is None:
        return False
    keys = side.keys(event.event)
    return key in keys or absence.ANY_KEY in keys


def _is_settled(
    trigger: OpenTrigger, event: Received, facts: Iterable[str], member: Member, book: RuleBook
) -> bool:
    """Tell whether an open trigger has lost its point, or its permission, with this event."""
    track = book.track_of_rule.get(trigger.rule)
    for fact in facts if track is not None else ():
        for other, _, disarms in book.sides.get(fact, ()):
            if other is track and _speaks_of(disarms, event, trigger.key):
                return True
    if _is_overtaken(trigger, event, facts, book):
        return True
    if event.type == "ticket_opened":
        return trigger.marketing
    return _is_refused(trigger, event, member, book)


def _is_overtaken(
    trigger: OpenTrigger, event: Received, facts: Iterable[str], book: RuleBook
) -> bool:
    matches = (m for fact in facts for m in book.overtaken.get(fact, {}).get(trigger.rule, ()))
    return any(match is None or match(event.event) for match in matches)


def _is_refused(trigger: OpenTrigger, event: Received, member: Member, book: RuleBook) -> bool:
    """Tell whether the event refuses a channel that the trigger names.

    One of several is enough: the gateway knows the trigger's channels and nothing else.
    """
    purpose = "marketing" if trigger.marketing else "service"
    match event.event:
        case Unsubscribed() | Complained():
            refusal = trigger.marketing
        case ConsentChanged(purpose=said, granted=granted):
            refusal = said == purpose and not granted
        case _:
            refusal = False
    if not refusal:
        return False
    channels = trigger.channels
    if channels is None:
        channels = book.policy.channels
    if not channels:
        return bool(opted_out(member, purpose))
    return any(refuses(member, purpose, channel) for channel in channels)


def _cause(event: Received) -> str:
    for field in ("order_id", "item_id", "ticket_id", "channel"):
        value = getattr(event.event, field, None)
        if value is not None:
            return f"{event.type} {value}"
    return event.type


def cancel(outcome: Outcome, trigger: OpenTrigger, at: int, reason: str) -> None:
    """Withdraw a trigger; ``reason`` names what overtook it."""
    outcome.triggers.append(
        TriggerCancelled(
            trigger_id=trigger.id.hex(),
            member_id=outcome.member.id,
            rule=trigger.rule,
            cancelled_at=rfc3339(at),
            reason=reason,
        )
    )


def _give_back(member: Member, trigger: OpenTrigger, book: RuleBook) -> None:
    """Let the rule raise again: the trigger should never have been."""
    rule_id = book.rule_ids.get(trigger.rule)
    if rule_id is None:  # the rule is gone, and its re-entry with it
        return
    if member.raised.get(rule_id) == trigger.due:
        del member.raised[rule_id]
    key = rule_id.to_bytes(4, "big") + short_hash(trigger.key.encode())
    if member.raised_keys.get(key) == trigger.due:
        del member.raised_keys[key]


def supersede(outcome: Outcome, rule: Rule, at: int, book: RuleBook) -> None:
    """Of one episode only the newest trigger stays open."""
    member = outcome.member
    if rule.episode is None or not member.open:
        return
    kept = []
    for trigger in member.open:
        other = book.rules.get(trigger.rule)
        if other is not None and other.episode == rule.episode and trigger.expires > at:
            cancel(outcome, trigger, at, f"superseded by {rule.name}")
        else:
            kept.append(trigger)
    member.open = kept


def close_expired(member: Member, book: RuleBook) -> None:
    """Drop the open triggers that no event inside the allowed lateness can cancel any more."""
    keep_from = member.advanced_to - book.limits.allowed_lateness
    if member.open:
        member.open = [trigger for trigger in member.open if trigger.expires > keep_from]


def next_close(member: Member, book: RuleBook) -> int:
    """Return when the first open trigger ends for good: what sleeps must not keep it for ever."""
    if not member.open:
        return NEVER
    return min(trigger.expires for trigger in member.open) + book.limits.allowed_lateness
