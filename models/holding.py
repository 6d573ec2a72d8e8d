"""Candidates that wait: for the end of a window, of quiet hours, of the silence after an order, for
a feed that has fallen silent, or for the consent that follows a registration.

When they may go on is a deadline of the member like any other. What they are about stays as it was
(occasion, due instant, id, reason); whether they may be sent is asked anew.
"""

from models.member import Member
from models.outcome import Candidate, Outcome
from models.rulebook import RuleBook
from models.rules import Rule
from models.stages import NEVER, STAGES
from models.stakes import stake_of
from models.standing import CONSENT, KEPT_HELD, WINDOW, Held, Standing
from models.times import rfc3339
from models.triggers import Decision, Verdict

# Priority decides, then the money at stake, then what was due first, then the name.
Rank = tuple[int, float, int, str, str]


def rank_of(member: Member, candidate: Candidate) -> Rank:
    """Return what a member's candidates compete by; the least wins."""
    rule, stake = candidate.rule, stake_of(member, candidate)
    return (-rule.priority, -stake, candidate.due, rule.name, candidate.key)


def next_release(member: Member) -> int:
    """Return when the first candidate that waits is asked again, or ``NEVER``."""
    if member.standing is None or not member.standing.held:
        return NEVER
    return min(held.release for held in member.standing.held)


def window_end(member: Member, rule: Rule, book: RuleBook) -> int | None:
    """Return when the window ends in which a rule's candidate competes; None without one."""
    arbitration = book.policy.arbitration
    if arbitration is None or rule.purpose not in arbitration.purposes:
        return None
    held = member.standing.held if member.standing is not None else []
    ends = (one.release for one in held if one.waits_for == WINDOW)
    return min(ends, default=member.advanced_to + arbitration.window)


def hold(outcome: Outcome, held: Held, book: RuleBook) -> None:
    """Let a candidate wait; the least important gives way where there are too many."""
    member = outcome.member
    standing = member.standing = member.standing or Standing()
    standing.held.append(held)
    if len(standing.held) > KEPT_HELD:
        least = max(standing.held, key=lambda held: _rank_of_held(member, held, book))
        standing.held.remove(least)
        note_held(outcome, least, "overflow", "more candidates wait than a row has room for")


def _rank_of_held(member: Member, held: Held, book: RuleBook) -> Rank:
    rule, trigger = book.rules.get(held.trigger.rule), held.trigger
    if rule is None:
        return (0, 0.0, trigger.due, trigger.rule, trigger.key)
    return rank_of(member, candidate_of(held, member, rule))


def take_ripe(member: Member, at: int) -> list[Held]:
    """Remove and return the candidates that have waited until ``at``."""
    standing = member.standing
    assert standing is not None
    ripe = [held for held in standing.held if held.release <= at]
    standing.held = [held for held in standing.held if held.release > at]
    return ripe


def take_unspoken(member: Member) -> list[Held]:
    """Remove and return the candidates that wait for a word of consent."""
    standing = member.standing
    if standing is None:
        return []
    unspoken = [held for held in standing.held if held.waits_for == CONSENT]
    if unspoken:
        standing.held = [held for held in standing.held if held.waits_for != CONSENT]
    return unspoken


def candidate_of(held: Held, member: Member, rule: Rule) -> Candidate:
    """Return what waited as the candidate that it was."""
    trigger = held.trigger
    return Candidate(
        rule,
        trigger.due,
        held.occasion,
        key=trigger.key,
        armed=trigger.armed,
        silent=held.release <= member.backfilled_to,
        held=held,
    )


def note_held(outcome: Outcome, held: Held, verdict: Verdict, why: str) -> None:
    """Record the end of a candidate that waited, when there may be no rule any longer."""
    outcome.decisions.append(
        Decision(
            rule=held.trigger.rule,
            rule_version=held.version,
            verdict=verdict,
            occasion=held.occasion,
            due_at=rfc3339(held.trigger.due),
            why=why,
            stage=STAGES[outcome.member.stage],
            member_id=outcome.member.id,
            decided_at=decided_at(outcome.member, held.trigger.due),
        )
    )


def decided_at(member: Member, due: int) -> str | None:
    """Return when what was due before is decided; None for what is decided at once."""
    return rfc3339(member.advanced_to) if member.advanced_to > due else None
