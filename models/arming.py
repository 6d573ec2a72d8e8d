"""What one event does to the member's absences, and what it shows to be overdue."""

from models import absence
from models.deciding import record
from models.decoding import Received
from models.events import CODE_OF
from models.facts import CART_EMPTIED
from models.marks import at_of, instant_of, mark, place_of
from models.member import Member
from models.outcome import Candidate, Context, Outcome
from models.rulebook import RuleBook, Track
from models.rules import FACT_CODE, Absence, Rule


def fold_absences(
    outcome: Outcome, event: Received, facts: tuple[str, ...], context: Context, backfill: bool
) -> list[Candidate]:
    """Let the event arm and disarm; return what is overdue, because the event came too late."""
    member, book, at = outcome.member, context.book, event.at
    keep_from = instant_of(member.newest) - book.limits.allowed_lateness
    it = mark(at, event.rank, CODE_OF[event.type], backfill)
    candidates: list[Candidate] = []
    for fact in facts:
        code = FACT_CODE[fact]
        if code in book.remembered_for:
            member.seen[code] = max(member.seen.get(code, 0), place_of(it))
        for track, arms, disarms in book.sides.find(fact, event.event):
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
    if CART_EMPTIED in member.seen:
        _end_by_emptied_cart(member, book)
    return candidates


def _end_by_emptied_cart(member: Member, book: RuleBook) -> None:
    """End what was armed before the cart was emptied by an event that had come too early to."""
    emptied = member.seen[CART_EMPTIED]
    for track_id, keys in list(member.tracks.items()):
        track = book.tracks.get(track_id)
        if track is None or not track.plain or "cart_emptied" not in track.sides:
            continue
        _, disarms = track.sides["cart_emptied"]
        if disarms and keys and place_of(keys[absence.ANY_KEY][-1]) < emptied:
            del member.tracks[track_id]


def _overflow(outcome: Outcome, track: Track, key: str, armed: int) -> None:
    now = outcome.member.advanced_to
    for within, rule in track.rules:
        if at_of(armed) + within > now:
            occasion = occasion_of(rule, key, armed)
            dropped = Candidate(rule, now, occasion, key=key, armed=armed)
            record(
                outcome,
                dropped,
                "overflow",
                "more open keys than allowed, or than a row has room for",
                None,
            )


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
    if at_of(armed) + track.withins[0] > member.advanced_to:
        return []
    # What followed the event is remembered until its deadline and the allowed lateness are over.
    followed = at_of(armed) < instant_of(member.newest)
    known_from = member.advanced_to - book.limits.allowed_lateness if followed else 0
    return [
        due_candidate(member, rule, key, armed, due)
        for due, rule in absence.belated(marks, index, track, member.advanced_to)
        if due >= known_from
    ]


def due_candidate(member: Member, rule: Rule, key: str, armed: int, due: int) -> Candidate:
    """Return the candidate of an absence whose deadline is reached."""
    occasion = occasion_of(rule, key, armed)
    silent = absence.is_silent(armed, due, member)
    return Candidate(rule, due, occasion, key=key, armed=armed, silent=silent)


def occasion_of(rule: Rule, key: str, armed: int) -> str:
    """Return the occasion of an absence: its key, if it has one, and the arming instant."""
    when = rule.when
    assert isinstance(when, Absence)
    prefix = f"{when.same}={key}|" if when.same is not None else ""
    return f"{prefix}{at_of(armed)}"
