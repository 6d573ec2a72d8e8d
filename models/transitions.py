"""Moving members through the stage table: when, where to, and why."""

from models.member import Member
from models.outcome import Candidate, Outcome
from models.rulebook import RuleBook
from models.stages import BANDS, NEVER, STAGES, Facts, Row, holds, possible_at
from models.times import rfc3339
from models.triggers import Transition

ACTIVE = STAGES.index("active")
# A transition may open the way for the next at the same instant; more than this is a circle.
MAX_STEPS = 8


def _facts_of(member: Member) -> Facts:
    return Facts(
        member.registered_at,
        member.order_count,
        member.orders,
        # Registering is no activity, but it brings somebody back.
        max(member.last_activity, member.first_seen, member.registered_at),
    )


def next_stage_due(member: Member, book: RuleBook) -> int:
    """Return the earliest instant at which waiting alone moves the member, or ``NEVER``."""
    if member.stage_since == 0:  # nothing has happened yet
        return NEVER
    facts = _facts_of(member)
    done = member.advanced_to
    earliest = NEVER
    for row in book.stage_rows[member.stage]:
        earliest = min(earliest, _due_of(row, facts, member.stage_since, done))
    if member.stage == ACTIVE:
        for band in book.bands:
            if BANDS[member.band] in band.before:
                earliest = min(earliest, _due_of(band, facts, member.band_since, done))
    return earliest


def _due_of(row: Row, facts: Facts, since: int, done: int) -> int:
    due = possible_at(row.when, facts, since)
    if due > done:
        return due
    # Waiting alone had made it true before, under a table that lacked the row or asked for more.
    return done + 1 if holds(row.when, facts, since, done + 1) else NEVER


def move_stage(
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
        # What waiting alone made true became so at an instant of its own, which lies behind when a
        # late event is told of.
        due = possible_at(row.when, facts, member.stage_since)
        facts.came_back = False
        since = max(at, member.stage_since, min(due, now))
        before = STAGES[member.stage]
        _transition(outcome, "stage", before, row.after, since, row.why)
        member.stage, member.stage_since = STAGES.index(row.after), since
        if member.stage == ACTIVE:
            member.band, member.band_since = 0, since
        candidates += [
            Candidate(rule, since, f"stage={row.after}|{since}", silent=silent, why=row.why)
            for rule in book.on_stage.get(row.after, ())
        ]
        candidates += [
            Candidate(rule, since, f"stage_left={before}|{since}", silent=silent, why=row.why)
            for rule in book.on_stage_left.get(before, ())
        ]
    if member.stage == ACTIVE:
        candidates += _move_band(outcome, facts, at, now, book, silent)
    return candidates


def _move_band(
    outcome: Outcome, facts: Facts, at: int, now: int, book: RuleBook, silent: bool
) -> list[Candidate]:
    member = outcome.member
    candidates: list[Candidate] = []
    for _ in range(MAX_STEPS):
        for row in book.bands:
            if BANDS[member.band] in row.before and holds(row.when, facts, member.band_since, now):
                break
        else:
            break
        due = possible_at(row.when, facts, member.band_since)
        since = max(at, member.band_since, min(due, now))
        _transition(outcome, "band", BANDS[member.band], row.after, since, row.why)
        member.band, member.band_since = BANDS.index(row.after), since
        candidates += [
            Candidate(rule, since, f"band={row.after}|{since}", silent=silent, why=row.why)
            for rule in book.on_band.get(row.after, ())
        ]
    return candidates


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
