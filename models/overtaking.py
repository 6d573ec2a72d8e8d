"""Withdrawing triggers that the member has overtaken, or that should never have been."""

from collections.abc import Callable, Collection, Iterable
from typing import TypeAlias

from models import absence
from models.conditions import is_disproved
from models.contacts import give_back
from models.decoding import Received, instant
from models.events import (
    Complained,
    ConsentChanged,
    Muted,
    ReturnRequested,
    TicketOpened,
    Unsubscribed,
)
from models.facts import opted_out, refuses
from models.holding import note_held
from models.ids import short_hash
from models.marks import instant_of, place, place_of
from models.member import Member
from models.outcome import Outcome
from models.permission import channels_for, has_ordered, word_awaited
from models.rulebook import RuleBook, Side
from models.rules import (
    BandEntered,
    Rule,
    SegmentEntered,
    SegmentLeft,
    StageEntered,
    StageLeft,
)
from models.stages import NEVER
from models.standing import Held, OpenTrigger
from models.times import rfc3339
from models.triggers import TriggerCancelled

_Refused: TypeAlias = Callable[[OpenTrigger, Received, Member, RuleBook], bool]
_MOVES = StageEntered | StageLeft | SegmentEntered | SegmentLeft | BandEntered


def overtake(outcome: Outcome, event: Received, facts: tuple[str, ...], book: RuleBook) -> None:
    """Cancel the open triggers that the event shows to be wrong or settled, and what waits."""
    member = outcome.member
    close_expired(member, book)
    if member.open:
        kept: list[OpenTrigger] = []
        for trigger in member.open:
            over = _is_over(trigger, event, facts, member, book, _is_refused)
            if not (over or _is_silenced(trigger, event, book)):
                kept.append(trigger)
                continue
            cancel(outcome, trigger, event.at, _cause(event), book)
            if event.at < trigger.due:
                _give_back(member, trigger, book)
        member.open = kept
    if member.standing is not None and member.standing.held:
        _drop_held(
            outcome,
            lambda held: _is_over(held, event, facts, member, book, _is_shut_out),
            _cause(event),
        )


def withdraw(
    outcome: Outcome, event: Received, rule: Rule, key: str, due: int, book: RuleBook
) -> None:
    """Take back what a rule raised for a key at ``due``: the event shows that it was wrong."""
    for trigger in _take(outcome, event, lambda one: one.due == due, (rule,), key, book):
        _give_back(outcome.member, trigger, book)


def settle_open(
    outcome: Outcome, event: Received, rules: Collection[Rule], key: str, book: RuleBook
) -> None:
    """Cancel what rules have open for a key: the event was what they asked for."""
    _take(outcome, event, lambda one: one.due <= event.at < one.expires, rules, key, book)


def _take(
    outcome: Outcome,
    event: Received,
    chosen: Callable[[OpenTrigger], bool],
    rules: Collection[Rule],
    key: str,
    book: RuleBook,
) -> list[OpenTrigger]:
    """Cancel the open triggers that are chosen, and drop those that still wait."""
    member = outcome.member
    names = {rule.name for rule in rules}

    def is_meant(trigger: OpenTrigger) -> bool:
        return trigger.rule in names and trigger.key == key and chosen(trigger)

    taken = [trigger for trigger in member.open if is_meant(trigger)]
    if taken:
        member.open = [trigger for trigger in member.open if not is_meant(trigger)]
    for trigger in taken:
        cancel(outcome, trigger, event.at, _cause(event), book)
    _drop_held(outcome, is_meant, _cause(event))
    return taken


def _drop_held(outcome: Outcome, which: Callable[[OpenTrigger], bool], cause: str) -> None:
    standing = outcome.member.standing
    if standing is None or not standing.held:
        return
    waiting: list[Held] = []
    for held in standing.held:
        if which(held.trigger):
            note_held(outcome, held, "overtaken", cause)
        else:
            waiting.append(held)
    standing.held = waiting


def _is_over(
    trigger: OpenTrigger,
    event: Received,
    facts: tuple[str, ...],
    member: Member,
    book: RuleBook,
    refused: _Refused,
) -> bool:
    if event.at >= trigger.expires:
        return False
    if _is_forbidden(trigger, event, member, book) or refused(trigger, event, member, book):
        return True
    if event.at < trigger.due:
        return _was_wrong(trigger, event, facts, member, book)
    return _is_settled(trigger, event, facts, book)


def _is_silenced(trigger: OpenTrigger, event: Received, book: RuleBook) -> bool:
    """Tell whether an order comes before the trigger was surely sent, or so short before it.

    What waits is asked again, and may wait until the silence is over.
    """
    silence = book.policy.silence
    if silence is None or event.type != "purchase" or not trigger.marketing:
        return False
    return trigger.due - silence.within < event.at < trigger.expires


def _is_forbidden(trigger: OpenTrigger, event: Received, member: Member, book: RuleBook) -> bool:
    """Tell whether the event says that nothing like the trigger may be sent for now."""
    match event.event:
        case Muted(until=until):
            if _is_said_anew(trigger, event, member):
                return False
            return max(event.at, trigger.due) < instant(until, "$.until")
        case TicketOpened():
            return trigger.marketing and (event.at >= trigger.due or book.policy.holds.ticket > 0)
        case ReturnRequested():
            return trigger.marketing and book.policy.holds.returned > 0
        case _:
            return False


def _is_said_anew(trigger: OpenTrigger, event: Received, member: Member) -> bool:
    """Tell whether another word about muting came between this one and when the trigger was due."""
    said = member.standing.mute_said if member.standing is not None else 0
    return place(event.at, event.rank) < said and instant_of(said) <= trigger.due


def _was_wrong(
    trigger: OpenTrigger, event: Received, facts: Iterable[str], member: Member, book: RuleBook
) -> bool:
    """Tell whether the event, had it come in time, would have kept the trigger from being."""
    rule = book.rules.get(trigger.rule)
    unless = rule.unless if rule is not None and event.type == "purchase" else None
    if unless is not None and has_ordered(member, unless, trigger.due):
        return True
    if rule is not None and is_disproved(member, rule, event.type, trigger.due):
        return True
    if rule is not None and isinstance(rule.when, _MOVES):
        return _is_overtaken(trigger, event, facts, book)
    track = book.track_of_rule.get(trigger.rule)
    if track is None or place(event.at, event.rank) < place_of(trigger.armed):
        return False
    return any(
        _speaks_of(side, event, trigger.key) for fact in facts for side in track.sides.get(fact, ())
    )


def _speaks_of(side: Side | None, event: Received, key: str) -> bool:
    if side is None:
        return False
    keys = side.keys(event.event)
    return key in keys or absence.ANY_KEY in keys


def _is_settled(
    trigger: OpenTrigger, event: Received, facts: Iterable[str], book: RuleBook
) -> bool:
    """Tell whether a trigger has lost its point with this event."""
    track = book.track_of_rule.get(trigger.rule)
    sides = track.sides if track is not None else {}
    for fact in facts:
        _, disarms = sides.get(fact, (None, None))
        if _speaks_of(disarms, event, trigger.key):
            return True
    return _is_overtaken(trigger, event, facts, book)


def _is_overtaken(
    trigger: OpenTrigger, event: Received, facts: Iterable[str], book: RuleBook
) -> bool:
    matches = (m for fact in facts for m in book.overtaken.get(fact, {}).get(trigger.rule, ()))
    return any(match is None or match(event.event) for match in matches)


def _is_refused(trigger: OpenTrigger, event: Received, member: Member, book: RuleBook) -> bool:
    """Tell whether the event refuses a channel that the trigger names.

    One of several is enough: the gateway knows the trigger's channels and nothing else.
    """
    if not _refuses(trigger, event):
        return False
    channels = trigger.channels
    purpose = _purpose(trigger)
    if channels is None:
        channels = book.policy.channels
    if not channels:
        return bool(opted_out(member, purpose))
    return any(refuses(member, purpose, channel) for channel in channels)


def _is_shut_out(trigger: OpenTrigger, event: Received, member: Member, book: RuleBook) -> bool:
    """Tell whether the event leaves what waits no channel: by which it goes is asked later."""
    rule = book.rules.get(trigger.rule)
    if rule is None or not _refuses(trigger, event):
        return False
    awaited = word_awaited(member, rule, book)
    if not awaited:
        return True
    return channels_for(member, rule, book) is None and awaited <= member.advanced_to


def _refuses(trigger: OpenTrigger, event: Received) -> bool:
    match event.event:
        case Unsubscribed() | Complained():
            return trigger.marketing
        case ConsentChanged(purpose=said, granted=granted):
            return said == _purpose(trigger) and not granted
        case _:
            return False


def _purpose(trigger: OpenTrigger) -> str:
    return "marketing" if trigger.marketing else "service"


def _cause(event: Received) -> str:
    for field in ("order_id", "item_id", "ticket_id", "channel"):
        value = getattr(event.event, field, None)
        if value is not None:
            return f"{event.type} {value}"
    return event.type


def cancel(outcome: Outcome, trigger: OpenTrigger, at: int, reason: str, book: RuleBook) -> None:
    """Withdraw a trigger; ``reason`` names what overtook it."""
    give_back(outcome.member, trigger, book.policy)
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


def supersede(outcome: Outcome, rule: Rule, due: int, at: int, book: RuleBook) -> None:
    """Of one episode only the newest trigger stays open; what waits since before gives way.

    The new one was due at ``due`` and is raised at ``at``.
    """
    member = outcome.member
    if rule.episode is None:
        return
    reason = f"superseded by {rule.name}"
    kept = []
    for trigger in member.open:
        if _is_of(rule.episode, trigger, book) and trigger.expires > at:
            cancel(outcome, trigger, at, reason, book)
        else:
            kept.append(trigger)
    member.open = kept
    episode = rule.episode
    _drop_held(outcome, lambda held: _is_of(episode, held, book) and held.due <= due, reason)


def _is_of(episode: str, trigger: OpenTrigger, book: RuleBook) -> bool:
    rule = book.rules.get(trigger.rule)
    return rule is not None and rule.episode == episode


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
