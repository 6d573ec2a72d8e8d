"""Deciding about candidates: each gets one verdict, recorded; some become triggers.

The order in which a candidate is asked about: what the rule itself says (history, lateness,
``unless``, re-entry, expiry), mute and stop, consent, reachability, unsolved problems, silent
feeds and breakers, silence after an order, control groups, cool-down and caps, competition, quiet
hours. The first no counts.
"""

from functools import partial

import msgspec

from models.conditions import first_unmet
from models.contacts import note
from models.explaining import context_of, offer_of, reason_of, retold, said
from models.holding import (
    candidate_of,
    decided_at,
    hold,
    note_held,
    rank_of,
    take_ripe,
    take_unspoken,
    window_end,
)
from models.holdout import held_out
from models.ids import short_hash, trigger_id
from models.member import KEPT_OPEN, KEPT_RAISED, Member
from models.outcome import Candidate, Context, Outcome
from models.overtaking import cancel, supersede
from models.permission import (
    barred,
    channels_for,
    has_ordered,
    held_back,
    reachable,
    word_awaited,
)
from models.predicted import is_current
from models.pressure import Pause, next_look, quiet_at, quiet_from, silence_at, uncapped
from models.rulebook import RuleBook
from models.rules import SCORED, Series
from models.sequences import run_of
from models.stages import STAGES
from models.standing import CONSENT, MORNING, OPENING, SILENCE, WINDOW, Held, OpenTrigger
from models.suspending import suspended
from models.times import rfc3339
from models.triggers import Decision, Reason, Trigger, Verdict
from models.wording import is_chinese, unmet

TOO_LATE = "decided after expires_at"
"""Why a candidate has expired that no policy held back: by the wall clock it comes too late."""


class Ruling(msgspec.Struct, frozen=True):
    """What was decided about one candidate, and why.

    ``held`` and ``suspended`` are decided about a candidate that waits until ``until`` for what
    ``waits_for`` says, ``raised`` about one that may become a trigger on ``channels``.
    """

    verdict: Verdict
    why: str
    channels: tuple[str, ...] = ()
    until: int = 0
    waits_for: int = WINDOW


def decide(outcome: Outcome, candidates: list[Candidate], context: Context) -> None:
    """Give each candidate its verdict, in order of (due, rule)."""
    if len(candidates) > 1:
        candidates.sort(key=lambda c: (c.due, c.rule.name, c.key))
    for candidate in candidates:
        if candidate.rule.mode != "off":
            ruling = _rule_on(outcome, candidate, context)
            _carry_out(outcome, candidate, _competing(outcome, candidate, ruling, context), context)


def release(outcome: Outcome, at: int, context: Context) -> None:
    """Ask again about what has waited until the instant ``at``."""
    _ask_again(outcome, take_ripe(outcome.member, at), context)


def hear_consent(outcome: Outcome, context: Context) -> None:
    """Ask at once about what has waited for a word of consent: one has come."""
    _ask_again(outcome, take_unspoken(outcome.member), context)


def _ask_again(outcome: Outcome, waited: list[Held], context: Context) -> None:
    competing: list[Candidate] = []
    others: list[Candidate] = []
    for held in waited:
        rule = context.book.rules.get(held.trigger.rule)
        if rule is None or rule.mode == "off":
            note_held(outcome, held, "overtaken", "the rule is gone or off")
            continue
        candidate = candidate_of(held, outcome.member, rule)
        (competing if held.waits_for == WINDOW else others).append(candidate)
    _arbitrate(outcome, sorted(competing, key=partial(rank_of, outcome.member)), context)
    decide(outcome, others, context)


def _arbitrate(outcome: Outcome, ranked: list[Candidate], context: Context) -> None:
    """Of each purpose the first that nothing holds back wins; the others hear who did."""
    before = [_rule_on(outcome, candidate, context) for candidate in ranked]
    winners: dict[str, Candidate] = {}
    is_changed = False
    for candidate, ruling in zip(ranked, before, strict=True):
        winner = winners.get(candidate.rule.purpose)
        if winner is None:
            if is_changed:
                # What was carried out before may have changed the answer.
                ruling = _rule_on(outcome, candidate, context)
            if ruling.verdict == "raised":
                winners[candidate.rule.purpose] = candidate
        elif ruling.verdict == "raised":
            rule = winner.rule
            why = f"{rule.name} won with priority {rule.priority}; here {candidate.rule.priority}"
            record(outcome, candidate, "arbitration", why, won_by=rule.name)
            continue
        _carry_out(outcome, candidate, ruling, context)
        is_changed = True


def _rule_on(outcome: Outcome, candidate: Candidate, context: Context) -> Ruling:
    own = _own_verdict(outcome, candidate, context)
    return _policy_verdict(outcome, candidate, context) if own is None else Ruling(*own)


def _own_verdict(
    outcome: Outcome, candidate: Candidate, context: Context
) -> tuple[Verdict, str] | None:
    """Return what the rule itself, or the time, says against a candidate."""
    member, rule = outcome.member, candidate.rule
    if candidate.silent:
        return "backfill", "completed by history, which messages nobody"
    if outcome.late and candidate.received is not None:
        return "late", "the event was older than the allowed lateness"
    wrong = _condition_verdict(member, candidate, context.book)
    if wrong is not None:
        return wrong
    last = _last_raised(member, candidate, context.book)
    if last is not None:
        if rule.reentry.mode == "once":
            return "reentry", f"already raised once, at {rfc3339(last)}"
        if rule.reentry.mode == "every" and _occurred(candidate) - last < rule.reentry.every:
            return "reentry", f"raised at {rfc3339(last)}"
    if member.anonymous:
        return "anonymous", "nobody to send to before the id is linked"
    expires = expiry_of(candidate)
    if context.now is not None and context.now >= expires:
        return "expired", TOO_LATE
    if candidate.held is not None and member.advanced_to >= expires:
        return "expired", "waited until expires_at"
    return None


def _condition_verdict(
    member: Member, candidate: Candidate, book: RuleBook
) -> tuple[Verdict, str] | None:
    """Return what ``unless`` or ``if`` says: when it was due, and when what waited may go on."""
    rule, due = candidate.rule, candidate.due
    now = due if candidate.held is None else member.advanced_to
    if rule.unless is not None:
        if has_ordered(member, rule.unless, due):
            return "unless", f"at least {rule.unless.count} orders before the deadline"
        if has_ordered(member, rule.unless, now, but=due):
            return "unless", f"at least {rule.unless.count} orders before it could go on"
    wanting = first_unmet(member, rule, due) or first_unmet(member, rule, now)
    if wanting is not None:
        return "condition", unmet(wanting, is_chinese(book.limits.locale))
    return None


def _policy_verdict(outcome: Outcome, candidate: Candidate, context: Context) -> Ruling:
    member, rule, book = outcome.member, candidate.rule, context.book
    at = member.advanced_to
    no = barred(member, rule, at, book)
    if no is not None:
        return Ruling(*no)
    allowed = channels_for(member, rule, book)
    if allowed is None:
        until = min(word_awaited(member, rule, book), expiry_of(candidate))
        if at < until:
            missing = f"nothing is said yet that allows {rule.purpose}: it may follow"
            return Ruling("held", missing, until=until, waits_for=CONSENT)
        return Ruling("consent", f"no channel is left that the member allows for {rule.purpose}")
    channels = reachable(member, allowed, book)
    if channels is None:
        return Ruling("unreachable", "the member can be reached on none of the channels")
    why = held_back(member, rule, at, book)
    if why is not None:
        return Ruling("hold", why)
    why = suspended(rule, at, context)
    if why is not None:
        return _suspending(member, candidate, why, at, book)
    pause = silence_at(member, rule, at, book)
    if pause is not None:
        return _waiting("silence", pause, SILENCE, candidate)
    # Those who test are treated always, and as often as they like.
    is_test = member.id in book.limits.test_members
    if rule.purpose == "marketing" and rule.mode == "live" and not is_test:
        group = held_out(book.policy.holdout, member.id, rule.name)
        if group is not None:
            return Ruling("holdout", group, channels)
    if not is_test:
        channels, full = uncapped(member, rule, channels, at, book)
        if full is not None:
            return Ruling(*full)
    if rule.mode == "shadow":
        return Ruling("shadow", "the rule decides and sends nothing", channels)
    return Ruling("raised", "nothing held it back", channels)


def _competing(outcome: Outcome, candidate: Candidate, ruling: Ruling, context: Context) -> Ruling:
    """Let what may be raised wait for others that may come in the same window."""
    if ruling.verdict != "raised":
        return ruling
    end = window_end(outcome.member, candidate.rule, context.book)
    if end is None:
        return ruling
    return Ruling("held", "others may compete", ruling.channels, end, WINDOW)


def _suspending(member: Member, candidate: Candidate, why: str, at: int, book: RuleBook) -> Ruling:
    """Let a candidate wait for what nobody knows the end of: it is asked about now and then."""
    expires = expiry_of(candidate)
    if at >= expires:
        return Ruling("expired", f"{why}; it expires before")
    until = min(next_look(member, at, book.policy), expires)
    return Ruling("suspended", why, until=until, waits_for=OPENING)


def _waiting(verdict: Verdict, pause: Pause, waits_for: int, candidate: Candidate) -> Ruling:
    if pause.then == "drop":
        return Ruling(verdict, pause.why)
    if pause.until >= expiry_of(candidate):
        return Ruling("expired", f"{pause.why}; it expires before")
    return Ruling("held", pause.why, until=pause.until, waits_for=waits_for)


def _carry_out(outcome: Outcome, candidate: Candidate, ruling: Ruling, context: Context) -> None:
    member, book = outcome.member, context.book
    if ruling.verdict == "raised":
        pause = quiet_at(member, candidate.rule, member.advanced_to, book)
        if pause is not None:
            ruling = _waiting("quiet", pause, MORNING, candidate)
    match ruling.verdict:
        case "held":
            if ruling.waits_for != WINDOW and not _goes_on(candidate.held, ruling):
                record(outcome, candidate, ruling.verdict, ruling.why, until=ruling.until)
            _hold(outcome, candidate, ruling, context)
        case "suspended":
            if candidate.held is None or candidate.held.waits_for != OPENING:
                record(outcome, candidate, ruling.verdict, ruling.why, until=ruling.until)
            _hold(outcome, candidate, ruling, context)
        case "raised":
            trigger = _trigger_of(outcome.member, candidate, ruling.channels, context)
            _raise(outcome, candidate, trigger, ruling.channels, book)
            record(outcome, candidate, "raised", ruling.why, raised=trigger.trigger_id)
        case "holdout" | "shadow":
            # Counted like those who are treated: the rule has had its turn.
            trigger = _trigger_of(outcome.member, candidate, ruling.channels, context)
            _use_up_reentry(member, candidate, book)
            record(outcome, candidate, ruling.verdict, ruling.why, would_be=trigger)
        case verdict:
            record(outcome, candidate, verdict, ruling.why)


def _goes_on(held: Held | None, ruling: Ruling) -> bool:
    """Tell whether a candidate waits for what it waited for, and as long."""
    if held is None:
        return False
    return (held.waits_for, held.release) == (ruling.waits_for, ruling.until)


def expiry_of(candidate: Candidate) -> int:
    """Return when a candidate has lost its point."""
    if candidate.held is not None:
        return candidate.held.trigger.expires
    return min(candidate.due + candidate.rule.expires_after, candidate.ends)


def reentry_key(candidate: Candidate, book: RuleBook) -> bytes:
    """Return what re-entry is counted by: the rule and the candidate's own key."""
    if candidate.held is not None:
        return candidate.held.reentry
    key = candidate.key
    if not key and candidate.received is not None:
        key = getattr(candidate.received.event, "item_id", None) or ""
    rule_id = book.rule_ids[candidate.rule.name]
    return rule_id.to_bytes(4, "big") + short_hash(key.encode())


def _last_raised(member: Member, candidate: Candidate, book: RuleBook) -> int | None:
    reentry = candidate.rule.reentry
    if reentry.mode == "always":
        return None
    if reentry.mode == "every" and reentry.per != "member":
        return member.raised_keys.get(reentry_key(candidate, book))
    last = member.raised.get(book.rule_ids[candidate.rule.name])
    is_series = isinstance(candidate.rule.when, Series)
    if last is not None and is_series and last > _occurred(candidate):
        return None  # the steps of one run are one occasion
    return last


def _occurred(candidate: Candidate) -> int:
    """Return what re-entry is counted to: of a series when the run began."""
    if not isinstance(candidate.rule.when, Series):
        return candidate.due
    return run_of(candidate.occasion)[0]


def _use_up_reentry(member: Member, candidate: Candidate, book: RuleBook) -> None:
    rule, due = candidate.rule, candidate.due
    # Each takes its place at the end anew: a row that was saved in between has forgotten the old.
    if rule.reentry.mode == "every" and rule.reentry.per != "member":
        key = reentry_key(candidate, book)
        member.raised_keys.pop(key, None)
        member.raised_keys[key] = due
        while len(member.raised_keys) > KEPT_RAISED:
            del member.raised_keys[min(member.raised_keys, key=member.raised_keys.__getitem__)]
    elif rule.reentry.mode != "always":
        rule_id = book.rule_ids[rule.name]
        member.raised.pop(rule_id, None)
        member.raised[rule_id] = due


def _version_of(candidate: Candidate) -> int:
    return candidate.rule.version if candidate.held is None else candidate.held.version


def _identity(member: Member, candidate: Candidate) -> str:
    if candidate.held is not None:
        return candidate.held.trigger.id.hex()
    rule = candidate.rule
    return trigger_id(member.id, rule.name, rule.version, candidate.occasion)


def _locale(member: Member, book: RuleBook) -> str:
    return said(member, "locale") or book.limits.locale


def _trigger_of(
    member: Member, candidate: Candidate, channels: tuple[str, ...], context: Context
) -> Trigger:
    rule, due, book, held = candidate.rule, candidate.due, context.book, candidate.held
    begins = due if held is None else member.advanced_to
    expires = expiry_of(candidate)
    locale = _locale(member, book)
    return Trigger(
        trigger_id=_identity(member, candidate),
        member_id=member.id,
        rule=rule.name,
        rule_version=_version_of(candidate),
        occasion=candidate.occasion,
        group=rule.group,
        purpose=rule.purpose,
        route=rule.route,
        play=rule.play,
        channels=channels,
        locale=locale,
        time_zone=said(member, "time_zone") or book.limits.time_zone,
        stage=STAGES[member.stage],
        due_at=rfc3339(due),
        raised_at=rfc3339(begins if context.now is None else context.now),
        not_before=rfc3339(begins),
        not_after=rfc3339(min(expires, quiet_from(member, rule, member.advanced_to, book))),
        expires_at=rfc3339(expires),
        test=member.id in book.limits.test_members,
        offer=offer_of(rule, candidate.occasion, member),
        reason=_reason_of(member, candidate, locale, context),
        context=context_of(member),
    )


def _raise(
    outcome: Outcome,
    candidate: Candidate,
    trigger: Trigger,
    channels: tuple[str, ...],
    book: RuleBook,
) -> None:
    member, rule, due = outcome.member, candidate.rule, candidate.due
    # What was due long ago and had to wait meets what is open now, and not what was then.
    at = due if candidate.held is None else member.advanced_to
    supersede(outcome, rule, due, at, book)
    outcome.triggers.append(trigger)
    _use_up_reentry(member, candidate, book)
    opened = _open_trigger(member, candidate, channels, book)
    member.open.append(opened)
    if member.id not in book.limits.test_members:
        note(member, opened, rule.group, member.advanced_to, book.policy)
    if len(member.open) > KEPT_OPEN:
        _withdraw_one(outcome, at, book)


def _open_trigger(
    member: Member, candidate: Candidate, channels: tuple[str, ...], book: RuleBook
) -> OpenTrigger:
    return OpenTrigger(
        bytes.fromhex(_identity(member, candidate)),
        candidate.rule.name,
        candidate.key,
        candidate.armed,
        candidate.due,
        expiry_of(candidate),
        candidate.rule.purpose == "marketing",
        None if channels == book.policy.channels else channels,
    )


def _withdraw_one(outcome: Outcome, at: int, book: RuleBook) -> None:
    """Make room: what cannot be watched any longer is withdrawn, for an opt-out must reach it."""
    member = outcome.member
    # What has expired is only kept for what may arrive late, and is no longer anybody's.
    alive = [trigger for trigger in member.open if trigger.expires > at]
    if len(alive) > KEPT_OPEN:
        dropped = min(alive, key=lambda trigger: trigger.expires)
        alive.remove(dropped)
        cancel(outcome, dropped, at, "too many open triggers", book)
    member.open = alive


def _hold(outcome: Outcome, candidate: Candidate, ruling: Ruling, context: Context) -> None:
    member, book, kept = outcome.member, context.book, candidate.held
    channels = ruling.channels or candidate.rule.channels or book.policy.channels
    held = Held(
        _open_trigger(member, candidate, channels, book),
        _version_of(candidate),
        candidate.occasion,
        reentry_key(candidate, book),
        ruling.until,
        ruling.waits_for,
        _reason_of(member, candidate, _locale(member, book), context)
        if kept is None
        else kept.reason,
    )
    hold(outcome, held, book)


def _reason_of(member: Member, candidate: Candidate, locale: str, context: Context) -> Reason:
    """Return why a candidate became true; of a score also what made it so."""
    held, score = candidate.held, member.score
    reason = reason_of(candidate, locale) if held is None else retold(candidate, held, locale)
    if not (candidate.fact == SCORED or reason.because) or score is None or context.models is None:
        return reason
    predictor = context.models.at(score.day)
    if predictor is None or member.rhythm is None or not is_current(member):
        return reason
    chinese = is_chinese(locale)
    words = tuple(words[chinese] for words in predictor.because(member.rhythm, score.day))
    return msgspec.structs.replace(reason, because=words)


def record(
    outcome: Outcome,
    candidate: Candidate,
    verdict: Verdict,
    why: str,
    raised: str | None = None,
    *,
    would_be: Trigger | None = None,
    won_by: str | None = None,
    until: int | None = None,
) -> None:
    """Note the verdict of a candidate among the decisions."""
    member, rule = outcome.member, candidate.rule
    outcome.decisions.append(
        Decision(
            rule=rule.name,
            rule_version=_version_of(candidate),
            verdict=verdict,
            occasion=candidate.occasion,
            due_at=rfc3339(candidate.due),
            why=why,
            stage=STAGES[member.stage],
            member_id=None if member.anonymous else member.id,
            anonymous_id=member.id if member.anonymous else None,
            trigger_id=raised,
            decided_at=decided_at(member, candidate.due),
            until=None if until is None else rfc3339(until),
            won_by=won_by,
            trigger=would_be,
        )
    )
