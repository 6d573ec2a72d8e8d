"""Which segments a member belongs to: when it comes into one, when it leaves, and why.

Whether a member is in a segment follows from the member and the time. The row keeps what has been
said: the segments that it is in, since when, and for the allowed lateness those that it has left,
so that an event which comes late can show that one was never entered, or never left.
"""

from models import rfm, tagging
from models.audiences import RFM_MOVED, SEGMENT_MOVED, Compiled
from models.decoding import Received
from models.labels import Labels
from models.member import Member
from models.outcome import Candidate, Outcome
from models.overtaking import withdraw
from models.rulebook import RuleBook
from models.stages import NEVER
from models.times import rfc3339
from models.triggers import Transition

_NO_LABELS = Labels()


def next_due(member: Member, book: RuleBook, to: int = NEVER) -> int:
    """Return the earliest instant at which waiting alone changes where the member belongs.

    ``NEVER`` for none; one after ``to`` may be left out. A tag that expires is one, and RFM scores
    that change.
    """
    if not member.newest:  # nothing has happened yet
        return NEVER
    done = member.advanced_to
    earliest = min(tagging.next_due(member), rfm.next_due(member, book.audiences.tables, to))
    to = min(to, earliest - 1)
    segments = member.labels.segments if member.labels is not None else {}
    for one in book.segments:
        inside = one.id in segments
        if one.is_in(member, done) is not inside:
            return done + 1  # the configuration is another one
        turn = one.next_turn(member, done) if one.turns else NEVER
        while turn <= to:
            if one.is_in(member, turn) is not inside:
                earliest, to = turn, turn - 1
                break
            turn = one.next_turn(member, turn)
    return earliest


def move(
    outcome: Outcome,
    at: int,
    book: RuleBook,
    silent: bool,
    event: Received | None = None,
    news: set[str] | None = None,
) -> list[Candidate]:
    """Note which segments the member has come into and left; return what that raises.

    ``at`` is the instant of what made it move: the event that was folded, else a deadline.
    ``news`` is what may have changed beside time (``audiences.compiled``); None: anything.
    """
    member = outcome.member
    forget(member, book)
    if _rescore(member, book) and news is not None:
        news.add(RFM_MOVED)
    member.labels = member.labels or Labels()
    candidates: list[Candidate] = []
    for one in book.segments:
        if news is not None and one.concerned_by.isdisjoint(news):
            continue
        before = len(outcome.decisions)
        if event is not None and at < member.advanced_to:
            _correct(outcome, one, event, member.labels, book)
        candidates += _move(outcome, one, at, member.labels, book, silent)
        if news is not None and len(outcome.decisions) > before:
            news.add(SEGMENT_MOVED)
    if member.labels == _NO_LABELS:
        member.labels = None
    return candidates


def _rescore(member: Member, book: RuleBook) -> bool:
    """Bring the RFM scores up to date; tell whether they are others than before."""
    scores = rfm.scored(member, book.audiences.tables, member.advanced_to)
    said = member.labels.rfm if member.labels is not None else 0
    if scores != said:
        member.labels = member.labels or Labels()
        member.labels.rfm = scores
    return scores != said


def _move(
    outcome: Outcome, one: Compiled, at: int, labels: Labels, book: RuleBook, silent: bool
) -> list[Candidate]:
    member, name = outcome.member, one.segment.name
    inside = one.is_in(member, member.advanced_to)
    since = labels.segments.get(one.id)
    if inside is (since is not None):
        return []
    began = _began(member, one, at, inside)
    if since is None:
        labels.segments[one.id] = began
        _say_entered(outcome, one, began)
        rules, occasion = book.on_segment.get(name, ()), f"segment={name}|{began}"
    else:
        del labels.segments[one.id]
        labels.left.pop(one.id, None)
        labels.left[one.id] = since, began
        _say_left(outcome, one, since, began)
        rules, occasion = book.on_segment_left.get(name, ()), f"segment_left={name}|{began}"
    why = one.segment.about
    return [Candidate(rule, began, occasion, silent=silent, why=why) for rule in rules]


def _began(member: Member, one: Compiled, at: int, inside: bool) -> int:
    """Return since when, from ``at`` on, the member has been inside (or outside) until now."""
    now = member.advanced_to
    began = at if one.is_in(member, at) is inside else None
    turn = one.next_turn(member, at)
    while turn <= now:
        if one.is_in(member, turn) is not inside:
            began = None
        elif began is None:
            began = turn
        turn = one.next_turn(member, turn)
    return now if began is None else began


def _correct(
    outcome: Outcome, one: Compiled, event: Received, labels: Labels, book: RuleBook
) -> None:
    """Take back what an event that takes its place in the past shows never to have been so."""
    member, name = outcome.member, one.segment.name
    since, gone = labels.segments.get(one.id), labels.left.get(one.id)
    if since is not None and event.at < since and not one.is_in(member, since):
        del labels.segments[one.id]
        _say_left(outcome, one, since, since)
        for rule in book.on_segment.get(name, ()):
            withdraw(outcome, event, rule, "", since, book)
    elif since is None and gone and event.at < gone[1] and one.is_in(member, gone[1]):
        del labels.left[one.id]
        labels.segments[one.id] = gone[0]
        _say_entered(outcome, one, gone[1], since=gone[0])
        for rule in book.on_segment_left.get(name, ()):
            withdraw(outcome, event, rule, "", gone[1], book)


def leave_all(outcome: Outcome, at: int, book: RuleBook, why: str) -> None:
    """Say that the member leaves every segment."""
    labels = outcome.member.labels
    for one in book.segments if labels is not None else ():
        since = labels.segments.pop(one.id, None)  # type: ignore[union-attr]
        if since is not None:
            _say_left(outcome, one, since, max(at, since), why)


def forget(member: Member, book: RuleBook) -> None:
    """Drop what cannot matter any more."""
    labels = member.labels
    if labels is None:
        return
    keep_from = member.advanced_to - book.limits.allowed_lateness
    if not labels.segments.keys() <= book.segment_names.keys():
        known = book.segment_names
        labels.segments = {one: at for one, at in labels.segments.items() if one in known}
    if labels.left:
        labels.left = {one: was for one, was in labels.left.items() if was[1] >= keep_from}
    tagging.forget(member, keep_from)
    if labels == _NO_LABELS:
        member.labels = None


def _say_entered(outcome: Outcome, one: Compiled, at: int, since: int | None = None) -> None:
    name, why = one.segment.name, one.segment.about
    outcome.decisions.append(_transition(outcome.member, "", name, at, why, since))


def _say_left(outcome: Outcome, one: Compiled, since: int, at: int, why: str = "") -> None:
    name, why = one.segment.name, why or f"no longer: {one.segment.about}"
    outcome.decisions.append(_transition(outcome.member, name, "", at, why, since))


def _transition(
    member: Member, before: str, after: str, at: int, why: str, since: int | None
) -> Transition:
    return Transition(
        kind="segment",
        before=before,
        after=after,
        at=rfc3339(at),
        why=why,
        since=None if since is None else rfc3339(since),
        member_id=None if member.anonymous else member.id,
        anonymous_id=member.id if member.anonymous else None,
    )
