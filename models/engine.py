"""The engine: one pure function folds one event into one member and says what follows.

``handle`` first advances the member to the event's time, so that what was due before it fires,
in order of (due, rule); then it folds the event. No broker, no store, no clock, no chance.
"""

from collections.abc import Iterable

import msgspec

from models import absence
from models.decoding import Received
from models.events import CODE_OF, Complained, ConsentChanged, Erased, Unsubscribed
from models.facts import ACTIVITY, cart_of, fold, opted_out, refuses, settle_cart
from models.ids import content_hash, short_hash, trigger_id
from models.marks import at_of, code_of, instant_of, mark, place, place_of
from models.member import KEPT_IDS, KEPT_OPEN, KEPT_RAISED, Member, OpenTrigger
from models.rulebook import EVENT_TYPES, FACT_CODE, RuleBook, Side, Track
from models.rules import Absence, OrdersAtLeast, Rule, StageEntered
from models.stages import BANDS, NEVER, STAGES, Facts, holds, possible_at
from models.times import DAY, format_duration, rfc3339
from models.triggers import (
    ContextItem,
    Decision,
    DecisionMessage,
    EvidenceEvent,
    Reason,
    Transition,
    Trigger,
    TriggerCancelled,
    TriggerContext,
    TriggerMessage,
    Verdict,
)
from models.wording import sentence

ACTIVE = STAGES.index("active")
# A transition may open the way for the next at the same instant; more than this is a circle.
MAX_STEPS = 8
# Nobody sends an event again after so long a silence; a sleeping member need not hold its ids.
IDS_KEPT = 90 * DAY


class Context(msgspec.Struct, frozen=True):
    """What ``handle`` knows beside the member: the rules, and what time it is.

    ``now`` is epoch milliseconds on a wall clock, None in stream time, where *now* is always the
    instant at which something became due.
    """

    book: RuleBook
    now: int | None = None


class Outcome(msgspec.Struct):
    """What follows from one event or one advance: messages in the order in which they arose."""

    member: Member
    triggers: list[TriggerMessage] = msgspec.field(default_factory=list)
    decisions: list[DecisionMessage] = msgspec.field(default_factory=list)
    duplicate: bool = False
    late: bool = False


class Candidate(msgspec.Struct, frozen=True):
    """A rule whose condition became true, before anything is decided about it."""

    rule: Rule
    due: int
    occasion: str
    key: str = ""
    armed: int = 0  # the arming mark of an absence
    received: Received | None = None  # the completing event
    silent: bool = False  # completed by history
    why: str = ""  # of a stage


def handle(member: Member, event: Received, context: Context) -> Outcome:
    """Advance ``member`` to the event's time, fold the event, and return what follows.

    The member is changed in place and is also the outcome's member. An event whose id is among the
    member's last ones changes nothing but the applied offset.
    """
    outcome = Outcome(member)
    member.applied[event.rank - 1] = event.offset
    if _is_duplicate(member, event):
        outcome.duplicate = True
        return outcome
    if member.erased_until:
        _begin_again(member)
    book, at = context.book, event.at
    newest = instant_of(member.newest)
    outcome.late = newest - at > book.limits.allowed_lateness
    backfill = event.event.origin == "backfill"
    if backfill:
        member.backfilled_to = max(member.backfilled_to, context.now or at)
    _advance(outcome, at, context)
    if isinstance(event.event, Erased):
        _erase(outcome, event, context)
        return outcome
    facts = fold(member, event, book.limits.allowed_lateness)
    # An activity of before the stage began, but heard of only now, is a sign of life all the same.
    came_back = event.type in ACTIVITY and at == member.last_activity
    member.newest = max(member.newest, place(at, event.rank))
    member.advanced_to = max(member.advanced_to, at)
    _overtake(outcome, event, facts, book)
    candidates = _fold_absences(outcome, event, facts, context, backfill)
    candidates += _move_stage(outcome, at, member.advanced_to, book, backfill, came_back)
    for match, rule in book.on_event.get(event.type, ()):
        if match is None or match(event.event):
            occasion = event.event.event_id or content_hash(event.raw)
            candidates.append(Candidate(rule, at, occasion, received=event, silent=backfill))
    _decide(outcome, candidates, context)
    return outcome


def advance(member: Member, to: int, context: Context) -> Outcome:
    """Fire everything that is due up to and including the instant ``to``."""
    outcome = Outcome(member)
    if member.erased_until:
        member.advanced_to = max(member.advanced_to, to)
    else:
        _advance(outcome, to, context)
        _close_expired(member, context.book)
    return outcome


def next_due(member: Member, book: RuleBook) -> int:
    """Return the earliest instant at which something happens by itself, or ``NEVER``."""
    if member.erased_until:
        return NEVER if is_gone(member) else member.erased_until
    return min(
        absence.next_due(member, book), _next_stage_due(member, book), _next_close(member, book)
    )


def is_gone(member: Member) -> bool:
    """Tell whether nothing of an erased member needs to be kept any longer."""
    return 0 < member.erased_until <= member.advanced_to


def settle(member: Member, book: RuleBook) -> None:
    """Drop what cannot matter any more; called before a member is encoded."""
    if member.tracks or member.seen:
        absence.prune(member, book)
    keep_from = member.advanced_to - book.limits.allowed_lateness
    if member.cart_changes:
        settle_cart(member, keep_from)
    _close_expired(member, book)
    if member.raised:
        member.raised = {
            rule_id: due
            for rule_id, due in member.raised.items()
            if _reentry_matters(rule_id, due, keep_from, book)
        }
    if member.raised_keys:
        member.raised_keys = {
            key: due
            for key, due in member.raised_keys.items()
            if _reentry_matters(int.from_bytes(key[:4], "big"), due, keep_from, book)
        }
    _forget_ids(member, member.advanced_to)


def _close_expired(member: Member, book: RuleBook) -> None:
    """Drop the open triggers that no event inside the allowed lateness can cancel any more."""
    keep_from = member.advanced_to - book.limits.allowed_lateness
    if member.open:
        member.open = [trigger for trigger in member.open if trigger.expires > keep_from]


def _next_close(member: Member, book: RuleBook) -> int:
    """Return when the first open trigger ends for good: what sleeps must not keep it for ever."""
    if not member.open:
        return NEVER
    return min(trigger.expires for trigger in member.open) + book.limits.allowed_lateness


def _forget_ids(member: Member, at: int) -> None:
    if member.ids and at - instant_of(member.newest) > IDS_KEPT:
        member.ids = b""


def _reentry_matters(rule_id: int, due: int, now: int, book: RuleBook) -> bool:
    rule = book.reentry_of.get(rule_id)
    if rule is None:  # the rule may come back: its "once" should hold
        return now - due < 400 * DAY
    return rule.reentry.mode == "once" or now - due < rule.reentry.every


def _is_duplicate(member: Member, event: Received) -> bool:
    event_id = event.event.event_id
    if event_id is None:
        return False
    _forget_ids(member, event.at)
    digest = short_hash(event_id.encode())
    found = member.ids.find(digest)
    while found >= 0:
        if found % 8 == 0:
            return True
        found = member.ids.find(digest, found + 1)
    member.ids = (member.ids + digest)[-8 * KEPT_IDS :]
    return False


# --- time -------------------------------------------------------------------------------------


def _advance(outcome: Outcome, to: int, context: Context) -> None:
    member, book = outcome.member, context.book
    while True:
        stage_due = _next_stage_due(member, book)
        due = min(absence.next_due(member, book), stage_due)
        if due > to:
            break
        member.advanced_to = due
        silent = due <= member.backfilled_to
        candidates = [
            Candidate(
                rule,
                due,
                _absence_occasion(rule, key, armed),
                key=key,
                armed=armed,
                silent=absence.is_silent(armed, due, member),
            )
            for rule, key, armed in absence.due_at(member, book, due)
        ]
        if stage_due == due:
            candidates += _move_stage(outcome, due, due, book, silent)
        _decide(outcome, candidates, context)
    member.advanced_to = max(member.advanced_to, to)


def _absence_occasion(rule: Rule, key: str, armed: int) -> str:
    when = rule.when
    assert isinstance(when, Absence)
    prefix = f"{when.same}={key}|" if when.same is not None else ""
    return f"{prefix}{at_of(armed)}"


def _fold_absences(
    outcome: Outcome, event: Received, facts: tuple[str, ...], context: Context, backfill: bool
) -> list[Candidate]:
    member, book, at = outcome.member, context.book, event.at
    keep_from = instant_of(member.newest) - book.limits.allowed_lateness
    it = mark(at, event.rank, CODE_OF[event.type], backfill)
    candidates: list[Candidate] = []
    for fact in facts:
        code = FACT_CODE[fact]
        if code in book.remembered_for:
            member.seen[code] = max(member.seen.get(code, 0), place_of(it))
        for track, arms, disarms in book.sides.get(fact, ()):
            ends = disarms.keys(event.event) if disarms else ()
            begins = arms.keys(event.event) if arms else ()
            if not ends and not begins:
                continue
            if track.plain:
                marks, index = absence.fold_plain(member, track, it, bool(begins))
                candidates += _belated(outcome, book, marks, index, track, it, "")
                continue
            keys = member.tracks.setdefault(track.id, {})
            if track.same is not None and absence.ANY_KEY in ends:
                for marks in keys.values():
                    absence.fold(marks, it, False, track.short, keep_from)
            for key in dict.fromkeys((*ends, *begins)):
                does_arm = key in begins
                if does_arm and key not in ends and absence.disarmed_by_any(keys, place_of(it)):
                    continue
                marks = keys.setdefault(key, [])
                index = absence.fold(marks, it, does_arm, track.short, keep_from)
                if does_arm:
                    candidates += _belated(outcome, book, marks, index, track, it, key)
            if len(keys) > 1:
                for key, armed in absence.overflow(member, track, book):
                    _overflow(outcome, track, key, armed)
    return candidates


def _overflow(outcome: Outcome, track: Track, key: str, armed: int) -> None:
    now = outcome.member.advanced_to
    for within, rule in track.rules:
        if at_of(armed) + within > now:
            occasion = _absence_occasion(rule, key, armed)
            dropped = Candidate(rule, now, occasion, key=key, armed=armed)
            _record(outcome, dropped, "overflow", "too many open keys", None)


def _belated(
    outcome: Outcome,
    book: RuleBook,
    marks: list[int],
    index: int,
    track: Track,
    armed: int,
    key: str,
) -> list[Candidate]:
    """Return what an event that came in order, but after its own deadline, should have fired."""
    member = outcome.member
    if index < 0 or outcome.late:
        return []
    # What followed the event is remembered until its deadline and the allowed lateness are over.
    followed = at_of(armed) < instant_of(member.newest)
    known_from = member.advanced_to - book.limits.allowed_lateness if followed else 0
    return [
        Candidate(
            rule,
            due,
            _absence_occasion(rule, key, armed),
            key=key,
            armed=armed,
            silent=absence.is_silent(armed, due, member),
        )
        for due, rule in absence.belated(marks, index, track, member.advanced_to)
        if due >= known_from
    ]


# --- stages -----------------------------------------------------------------------------------


def _facts_of(member: Member) -> Facts:
    return Facts(
        member.registered_at,
        member.order_count,
        member.orders,
        # Registering is no activity, but it brings somebody back.
        max(member.last_activity, member.first_seen, member.registered_at),
    )


def _next_stage_due(member: Member, book: RuleBook) -> int:
    if member.stage_since == 0:  # nothing has happened yet
        return NEVER
    facts = _facts_of(member)
    done = member.advanced_to
    earliest = NEVER
    for row in book.stage_rows[member.stage]:
        due = possible_at(row.when, facts, member.stage_since)
        if done < due < earliest:
            earliest = due
    if member.stage == ACTIVE:
        for band in book.bands:
            if BANDS[member.band] in band.before:
                due = possible_at(band.when, facts, member.band_since)
                if done < due < earliest:
                    earliest = due
    return earliest


def _move_stage(
    outcome: Outcome, at: int, now: int, book: RuleBook, silent: bool, came_back: bool = False
) -> list[Candidate]:
    """Follow the table from the member's stage as far as it leads at the instant ``now``.

    ``at`` is the instant of what made it move; it dates the transition.
    """
    member = outcome.member
    facts = _facts_of(member)
    facts.came_back = came_back and member.stage_since > 0
    candidates: list[Candidate] = []
    if member.stage_since == 0:
        member.stage_since = member.band_since = at
    for _ in range(MAX_STEPS):
        for row in book.stage_rows[member.stage]:
            if holds(row.when, facts, member.stage_since, now):
                break
        else:
            break
        facts.came_back = False
        since = max(at, member.stage_since)
        _transition(outcome, "stage", STAGES[member.stage], row.after, since, row.why)
        member.stage, member.stage_since = STAGES.index(row.after), since
        if member.stage == ACTIVE:
            member.band, member.band_since = 0, since
        candidates += [
            Candidate(rule, since, f"stage={row.after}|{since}", silent=silent, why=row.why)
            for rule in book.on_stage.get(row.after, ())
        ]
    if member.stage == ACTIVE:
        _move_band(outcome, facts, at, now, book)
    return candidates


def _move_band(outcome: Outcome, facts: Facts, at: int, now: int, book: RuleBook) -> None:
    member = outcome.member
    for _ in range(MAX_STEPS):
        for row in book.bands:
            if BANDS[member.band] in row.before and holds(row.when, facts, member.band_since, now):
                break
        else:
            return
        since = max(at, member.band_since)
        _transition(outcome, "band", BANDS[member.band], row.after, since, row.why)
        member.band, member.band_since = BANDS.index(row.after), since


def _transition(outcome: Outcome, kind: str, before: str, after: str, at: int, why: str) -> None:
    member = outcome.member
    outcome.decisions.append(
        Transition(
            kind=kind,  # type: ignore[arg-type]
            before=before,
            after=after,
            at=rfc3339(at),
            why=why,
            member_id=None if member.anonymous else member.id,
            anonymous_id=member.id if member.anonymous else None,
        )
    )


# --- deciding ---------------------------------------------------------------------------------


def _decide(outcome: Outcome, candidates: list[Candidate], context: Context) -> None:
    """Give each candidate its verdict, in order of (due, rule)."""
    if len(candidates) > 1:
        candidates.sort(key=lambda c: (c.due, c.rule.name, c.key))
    for candidate in candidates:
        channels = _channels(outcome.member, candidate.rule, context.book)
        verdict, why = _verdict(outcome, candidate, channels, context)
        raised = (
            _raise(outcome, candidate, channels or (), context) if verdict == "raised" else None
        )
        _record(outcome, candidate, verdict, why, raised)


def _verdict(
    outcome: Outcome, candidate: Candidate, channels: tuple[str, ...] | None, context: Context
) -> tuple[Verdict, str]:
    member, rule, due = outcome.member, candidate.rule, candidate.due
    if candidate.silent:
        return "backfill", "completed by history, which messages nobody"
    if outcome.late and candidate.received is not None:
        return "late", "the event was older than the allowed lateness"
    if rule.unless is not None and _has_ordered(member, rule.unless, due):
        return "unless", f"at least {rule.unless.count} orders before the deadline"
    last = _last_raised(member, candidate, context.book)
    if last is not None:
        if rule.reentry.mode == "once":
            return "reentry", f"already raised once, at {rfc3339(last)}"
        if rule.reentry.mode == "every" and due - last < rule.reentry.every:
            return "reentry", f"raised at {rfc3339(last)}"
    if member.anonymous:
        return "anonymous", "nobody to send to before the id is linked"
    if context.now is not None and context.now >= due + rule.expires_after:
        return "expired", "decided after expires_at"
    if channels is None:
        return "consent", f"the member refuses {rule.purpose} messages"
    return "raised", "nothing held it back"


def _has_ordered(member: Member, wanted: OrdersAtLeast, due: int) -> bool:
    count = sum(due - wanted.within <= order < due for order in member.orders)
    return count >= wanted.count


def _channels(member: Member, rule: Rule, book: RuleBook) -> tuple[str, ...] | None:
    """Return the channels that may be used (empty: the gateway's choice), None if none is left."""
    wanted = _wanted(rule, book)
    if book.policy.consent is None:
        return wanted
    return _allowed(member, rule.purpose, wanted)


def _wanted(rule: Rule | None, book: RuleBook) -> tuple[str, ...]:
    """Return the channels of a rule that nobody refuses anything to."""
    return rule.channels if rule is not None and rule.channels else book.policy.channels


def _allowed(member: Member, purpose: str, wanted: tuple[str, ...]) -> tuple[str, ...] | None:
    if not member.consent:
        return wanted
    if not wanted:
        # Nobody says which channel it will be: any refusal closes it.
        return None if opted_out(member, purpose) else ()
    return tuple(c for c in wanted if not refuses(member, purpose, c)) or None


def _reentry_key(candidate: Candidate, book: RuleBook) -> bytes:
    key = candidate.key
    if not key and candidate.received is not None:
        key = getattr(candidate.received.event, "item_id", None) or ""
    rule_id = book.rule_ids[candidate.rule.name]
    return rule_id.to_bytes(4, "big") + short_hash(key.encode())


def _last_raised(member: Member, candidate: Candidate, book: RuleBook) -> int | None:
    reentry = candidate.rule.reentry
    if reentry.mode == "always":
        return None
    if reentry.mode == "every" and reentry.per == "item_id":
        return member.raised_keys.get(_reentry_key(candidate, book))
    return member.raised.get(book.rule_ids[candidate.rule.name])


def _raise(
    outcome: Outcome, candidate: Candidate, channels: tuple[str, ...], context: Context
) -> str:
    member, rule, due, book = outcome.member, candidate.rule, candidate.due, context.book
    identity = trigger_id(member.id, rule.name, rule.version, candidate.occasion)
    _supersede(outcome, rule, due, book)
    expires = due + rule.expires_after
    now = due if context.now is None else context.now
    locale = _profile(member, "locale") or book.limits.locale
    outcome.triggers.append(
        Trigger(
            trigger_id=identity,
            member_id=member.id,
            rule=rule.name,
            rule_version=rule.version,
            occasion=candidate.occasion,
            group=rule.group,
            purpose=rule.purpose,
            route=rule.route,
            play=rule.play,
            channels=channels,
            locale=locale,
            time_zone=_profile(member, "time_zone") or book.limits.time_zone,
            stage=STAGES[member.stage],
            due_at=rfc3339(due),
            raised_at=rfc3339(now),
            not_before=rfc3339(due),
            not_after=rfc3339(expires),
            expires_at=rfc3339(expires),
            test=member.id in book.limits.test_members,
            offer=None,
            reason=_reason(candidate, locale),
            context=_context(member),
        )
    )
    reentry = rule.reentry
    if reentry.mode == "every" and reentry.per == "item_id":
        member.raised_keys[_reentry_key(candidate, book)] = due
        while len(member.raised_keys) > KEPT_RAISED:
            del member.raised_keys[min(member.raised_keys, key=member.raised_keys.__getitem__)]
    elif reentry.mode != "always":
        member.raised[book.rule_ids[rule.name]] = due
    member.open.append(
        OpenTrigger(
            bytes.fromhex(identity),
            rule.name,
            candidate.key,
            candidate.armed,
            due,
            expires,
            rule.purpose == "marketing",
            None if channels == _wanted(rule, book) else channels,
        )
    )
    if len(member.open) > KEPT_OPEN:
        # What cannot be watched any longer is withdrawn: an opt-out would not reach it.
        dropped = min(member.open, key=lambda trigger: trigger.expires)
        member.open.remove(dropped)
        _cancel(outcome, dropped, due, "too many open triggers")
    return identity


def _profile(member: Member, name: str) -> str | None:
    said = member.profile.get(name)
    return said[0] if said is not None and isinstance(said[0], str) else None


def _reason(candidate: Candidate, locale: str) -> Reason:
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


def _context(member: Member) -> TriggerContext:
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


def _record(
    outcome: Outcome, candidate: Candidate, verdict: Verdict, why: str, raised: str | None
) -> None:
    member, rule = outcome.member, candidate.rule
    outcome.decisions.append(
        Decision(
            rule=rule.name,
            rule_version=rule.version,
            verdict=verdict,
            occasion=candidate.occasion,
            due_at=rfc3339(candidate.due),
            why=why,
            stage=STAGES[member.stage],
            member_id=None if member.anonymous else member.id,
            anonymous_id=member.id if member.anonymous else None,
            trigger_id=raised,
        )
    )


# --- overtaken --------------------------------------------------------------------------------


def _overtake(outcome: Outcome, event: Received, facts: tuple[str, ...], book: RuleBook) -> None:
    """Cancel the open triggers that the event shows to be wrong or settled."""
    member = outcome.member
    _close_expired(member, book)
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
        _cancel(outcome, trigger, event.at, _cause(event))
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
    if unless is not None and _has_ordered(member, unless, trigger.due):
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
        channels = _wanted(book.rules.get(trigger.rule), book)
    if not channels:
        return bool(opted_out(member, purpose))
    return any(refuses(member, purpose, channel) for channel in channels)


def _cause(event: Received) -> str:
    for field in ("order_id", "item_id", "ticket_id", "channel"):
        value = getattr(event.event, field, None)
        if value is not None:
            return f"{event.type} {value}"
    return event.type


def _cancel(outcome: Outcome, trigger: OpenTrigger, at: int, reason: str) -> None:
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


def _supersede(outcome: Outcome, rule: Rule, at: int, book: RuleBook) -> None:
    """Of one episode only the newest trigger stays open."""
    member = outcome.member
    if rule.episode is None or not member.open:
        return
    kept = []
    for trigger in member.open:
        other = book.rules.get(trigger.rule)
        if other is not None and other.episode == rule.episode and trigger.expires > at:
            _cancel(outcome, trigger, at, f"superseded by {rule.name}")
        else:
            kept.append(trigger)
    member.open = kept


# --- erase ------------------------------------------------------------------------------------


def _erase(outcome: Outcome, event: Received, context: Context) -> None:
    """Forget everything but the applied offsets, so that a replayed record resurrects nobody."""
    member = outcome.member
    for trigger in member.open:
        if event.at < trigger.expires:
            _cancel(outcome, trigger, event.at, "erase")
    fresh = Member(member.id, member.anonymous)
    for name in Member.__struct_fields__:
        if name not in ("id", "anonymous", "applied"):
            setattr(member, name, getattr(fresh, name))
    member.advanced_to = event.at
    # On a wall clock the offsets are committed long before a day has passed. In stream time a day
    # may pass within a millisecond, so the stub stays.
    member.erased_until = NEVER if context.now is None else max(context.now, event.at) + DAY


def _begin_again(member: Member) -> None:
    member.erased_until = 0
    member.advanced_to = 0
