"""Deciding about candidates: each gets one verdict, recorded; some become triggers."""

from models.explaining import context_of, reason_of, said
from models.ids import short_hash, trigger_id
from models.member import KEPT_OPEN, KEPT_RAISED, Member, OpenTrigger
from models.outcome import Candidate, Context, Outcome
from models.overtaking import cancel, supersede
from models.permission import channels_for, has_ordered
from models.rulebook import RuleBook
from models.stages import STAGES
from models.times import rfc3339
from models.triggers import Decision, Trigger, Verdict


def decide(outcome: Outcome, candidates: list[Candidate], context: Context) -> None:
    """Give each candidate its verdict, in order of (due, rule)."""
    if len(candidates) > 1:
        candidates.sort(key=lambda c: (c.due, c.rule.name, c.key))
    for candidate in candidates:
        channels = channels_for(outcome.member, candidate.rule, context.book)
        verdict, why = _verdict(outcome, candidate, channels, context)
        raised = (
            _raise(outcome, candidate, channels or (), context) if verdict == "raised" else None
        )
        record(outcome, candidate, verdict, why, raised)


def _verdict(
    outcome: Outcome, candidate: Candidate, channels: tuple[str, ...] | None, context: Context
) -> tuple[Verdict, str]:
    member, rule, due = outcome.member, candidate.rule, candidate.due
    if candidate.silent:
        return "backfill", "completed by history, which messages nobody"
    if outcome.late and candidate.received is not None:
        return "late", "the event was older than the allowed lateness"
    if rule.unless is not None and has_ordered(member, rule.unless, due):
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


def reentry_key(candidate: Candidate, book: RuleBook) -> bytes:
    """Return what re-entry is counted by: the rule and the candidate's own key."""
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
        return member.raised_keys.get(reentry_key(candidate, book))
    return member.raised.get(book.rule_ids[candidate.rule.name])


def _raise(
    outcome: Outcome, candidate: Candidate, channels: tuple[str, ...], context: Context
) -> str:
    member, rule, due, book = outcome.member, candidate.rule, candidate.due, context.book
    identity = trigger_id(member.id, rule.name, rule.version, candidate.occasion)
    supersede(outcome, rule, due, book)
    expires = due + rule.expires_after
    now = due if context.now is None else context.now
    locale = said(member, "locale") or book.limits.locale
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
            time_zone=said(member, "time_zone") or book.limits.time_zone,
            stage=STAGES[member.stage],
            due_at=rfc3339(due),
            raised_at=rfc3339(now),
            not_before=rfc3339(due),
            not_after=rfc3339(expires),
            expires_at=rfc3339(expires),
            test=member.id in book.limits.test_members,
            offer=None,
            reason=reason_of(candidate, locale),
            context=context_of(member),
        )
    )
    reentry = rule.reentry
    if reentry.mode == "every" and reentry.per == "item_id":
        member.raised_keys[reentry_key(candidate, book)] = due
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
            None if channels == book.policy.channels else channels,
        )
    )
    if len(member.open) > KEPT_OPEN:
        _withdraw_one(outcome, due)
    return identity


def _withdraw_one(outcome: Outcome, due: int) -> None:
    """Make room: what cannot be watched any longer is withdrawn, for an opt-out must reach it."""
    member = outcome.member
    # What has expired is only kept for what may arrive late, and is no longer anybody's.
    alive = [trigger for trigger in member.open if trigger.expires > due]
    if len(alive) > KEPT_OPEN:
        dropped = min(alive, key=lambda trigger: trigger.expires)
        alive.remove(dropped)
        cancel(outcome, dropped, due, "too many open triggers")
    member.open = alive


def record(
    outcome: Outcome, candidate: Candidate, verdict: Verdict, why: str, raised: str | None
) -> None:
    """Note the verdict of a candidate among the decisions."""
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
