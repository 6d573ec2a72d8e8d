"""The engine: one pure function folds one event into one member and says what follows.

``handle`` first advances the member to the event's time, so that what was due before it fires,
in order of (due, rule); then it folds the event. No broker, no store, no clock, no chance.
"""

from models import absence, belonging, dated, scoring, tagging, watching
from models.arming import due_candidate, fold_absences
from models.audiences import STAGE_MOVED
from models.deciding import decide, hear_consent, release
from models.decoding import Received
from models.events import Erased
from models.facts import ACTIVITY, fold, settle_cart
from models.hearing import forget, hear
from models.holding import next_release, note_held
from models.ids import content_hash, short_hash
from models.marks import instant_of, place
from models.member import KEPT_IDS, Member
from models.outcome import Candidate, Context, Outcome
from models.overtaking import cancel, close_expired, next_close, overtake
from models.rulebook import RuleBook
from models.rules import SCORED
from models.stages import NEVER
from models.times import DAY
from models.transitions import move_stage, next_stage_due

# Nobody sends an event again after so long a silence; a sleeping member need not hold its ids.
IDS_KEPT = 90 * DAY
# Of a rule that is gone: it may come back, and its "once" should hold.
RULE_MAY_RETURN = 400 * DAY


def handle(member: Member, event: Received, context: Context, quiet_until: int = 0) -> Outcome:
    """Advance ``member`` to the event's time, fold the event, and return what follows.

    The member is changed in place and is also the outcome's member. An event whose id is among the
    member's last ones changes nothing but the applied offset. Whoever knows the member's
    ``next_due`` may say it as ``quiet_until``: up to an event before it nothing has to be looked
    for.
    """
    outcome = Outcome(member)
    member.applied[event.rank - 1] = event.offset
    if _is_duplicate(member, event):
        outcome.duplicate = True
        return outcome
    if member.erased_until:
        _begin_again(member)
    book, at = context.book, event.at
    is_new = not member.newest
    newest = instant_of(member.newest)
    outcome.late = newest - at > book.limits.allowed_lateness
    backfill = event.event.origin == "backfill"
    if backfill:
        member.backfilled_to = max(member.backfilled_to, context.now or at)
    _advance(outcome, at, context, quiet_until)
    if isinstance(event.event, Erased):
        _erase(outcome, event, context)
        return outcome
    corrects = at < member.advanced_to and not outcome.late
    dates = dated.happened(member, book, at) if corrects else {}
    if event.type == "purchase" and member.logs:
        watching.settle_recalled(member, book)
    refunded = member.refunded
    facts = fold(member, event, book.limits.allowed_lateness)
    # An activity of before the stage began, but heard of only now, is a sign of life all the same.
    came_back = event.type in ACTIVITY and at == member.last_activity
    member.newest = max(member.newest, place(at, event.rank))
    member.advanced_to = max(member.advanced_to, at)
    hear(member, event, book)
    tagging.hear(member, event, book)
    if book.predictions is not None:
        scoring.take(outcome, event, context, member.refunded - refunded)
    overtake(outcome, event, facts, book)
    candidates = fold_absences(outcome, event, facts, context, backfill)
    candidates += watching.fold_watches(outcome, event, facts, context, backfill)
    news = {event.type}
    if member.score is not None and book.predictions is not None:
        candidates += watching.fold_score(member, book, backfill)
        news.add(SCORED)
    stood = member.stage, member.band
    candidates += move_stage(outcome, at, member.advanced_to, book, backfill, came_back)
    if stood != (member.stage, member.band):
        news.add(STAGE_MOVED)
    candidates += belonging.move(outcome, at, book, backfill, event, news=None if is_new else news)
    if corrects:
        candidates += dated.correct(outcome, event, dates, book)
    for match, rule in book.on_event.find(event.type, event.event):
        if match is None or match(event.event):
            occasion = event.event.event_id or content_hash(event.raw)
            candidates.append(Candidate(rule, at, occasion, received=event, silent=backfill))
    if event.type == "consent":
        hear_consent(outcome, context)
    decide(outcome, candidates, context)
    # What comes late may raise what is over already.
    close_expired(member, book)
    return outcome


def advance(member: Member, to: int, context: Context) -> Outcome:
    """Fire everything that is due up to and including the instant ``to``."""
    outcome = Outcome(member)
    if member.erased_until:
        member.advanced_to = max(member.advanced_to, to)
    else:
        _advance(outcome, to, context)
        close_expired(member, context.book)
    return outcome


def rescore(member: Member, at: int, context: Context) -> Outcome:
    """Advance to ``at`` and score the member there, as if something had happened."""
    outcome = advance(member, at, context)
    scoring.rescore(member, context)
    candidates = list(watching.fold_score(member, context.book, silent=False))
    candidates += belonging.move(outcome, at, context.book, silent=False)
    decide(outcome, candidates, context)
    close_expired(member, context.book)
    return outcome


def next_due(member: Member, book: RuleBook) -> int:
    """Return the earliest instant at which something happens by itself, or ``NEVER``."""
    if member.erased_until:
        return NEVER if is_gone(member) else member.erased_until
    # What takes longer to tell comes last, and need not look beyond what is known by then.
    due = min(
        absence.next_due(member, book),
        next_stage_due(member, book),
        scoring.next_due(member, book),
        next_close(member, book),
        next_release(member),
    )
    due = min(due, watching.next_due(member, book, due))
    due = min(due, dated.next_due(member, book, due))
    return min(due, belonging.next_due(member, book, due))


def is_gone(member: Member) -> bool:
    """Tell whether nothing of an erased member needs to be kept any longer."""
    return 0 < member.erased_until <= member.advanced_to


def settle(member: Member, book: RuleBook) -> None:
    """Drop what cannot matter any more; called before a member is encoded.

    No deadline hangs on any of it: the member's ``next_due`` stays what it is.
    """
    if member.tracks or member.seen:
        absence.prune(member, book)
    if member.logs:
        watching.prune(member, book)
    keep_from = member.advanced_to - book.limits.allowed_lateness
    if member.cart_changes:
        settle_cart(member, keep_from)
    forget(member, book)
    belonging.forget(member, book)
    if member.raised:
        member.raised = {
            rule_id: due
            for rule_id, due in member.raised.items()
            if keep_from - due < book.reentry_lasts.get(rule_id, RULE_MAY_RETURN)
        }
    if member.raised_keys:
        member.raised_keys = {
            key: due
            for key, due in member.raised_keys.items()
            if keep_from - due
            < book.reentry_lasts.get(int.from_bytes(key[:4], "big"), RULE_MAY_RETURN)
        }
    _forget_ids(member, member.advanced_to)


def _forget_ids(member: Member, at: int) -> None:
    if member.ids and at - instant_of(member.newest) > IDS_KEPT:
        member.ids = b""


def _is_duplicate(member: Member, event: Received) -> bool:
    _forget_ids(member, event.at)
    event_id = event.event.event_id
    if event_id is None:
        return False
    digest = short_hash(event_id.encode())
    found = member.ids.find(digest)
    while found >= 0:
        if found % 8 == 0:
            return True
        found = member.ids.find(digest, found + 1)
    member.ids = (member.ids + digest)[-8 * KEPT_IDS :]
    return False


def _advance(outcome: Outcome, to: int, context: Context, quiet_until: int = 0) -> None:
    member, book = outcome.member, context.book
    if context.now is not None:
        dated.settle_expired(member, book, context.now)
    if to < quiet_until:
        member.advanced_to = max(member.advanced_to, to)
        return
    belongs_due = belonging.next_due(member, book, to)
    timed = watching.next_due(member, book, to)
    while True:
        stage_due = next_stage_due(member, book)
        held_until = next_release(member)
        own_due = min(stage_due, belongs_due)
        asked_at = scoring.next_due(member, book)
        due = min(absence.next_due(member, book), timed, own_due, held_until, asked_at)
        day_due = dated.next_due(member, book, min(due, to))
        due = min(due, day_due)
        if due > to:
            break
        member.advanced_to = due
        if held_until == due:
            release(outcome, due, context)
        silent = due <= member.backfilled_to
        candidates = [
            due_candidate(member, rule, key, armed, due)
            for rule, key, armed in absence.due_at(member, book, due)
        ]
        if asked_at == due:
            scoring.ask(outcome, due, context)
            candidates += watching.fold_score(member, book, silent)
            own_due = due  # segments may go by the score
        if timed == due:
            candidates += watching.due_candidates(member, book, due)
        if day_due == due:
            candidates += dated.candidates_at(member, book, due)
        if stage_due == due:
            candidates += move_stage(outcome, due, due, book, silent)
        if own_due == due:
            candidates += belonging.move(outcome, due, book, silent)
            belongs_due = belonging.next_due(member, book, to)
        decide(outcome, candidates, context)
        if due in (timed, asked_at):  # nothing else changes a log
            timed = watching.next_due(member, book, to)
    member.advanced_to = max(member.advanced_to, to)


def _erase(outcome: Outcome, event: Received, context: Context) -> None:
    """Forget everything but the applied offsets, so that a replayed record resurrects nobody."""
    member = outcome.member
    for trigger in member.open:
        if event.at < trigger.expires:
            cancel(outcome, trigger, event.at, "erase", context.book)
    for held in member.standing.held if member.standing is not None else ():
        note_held(outcome, held, "overtaken", "erase")
    belonging.leave_all(outcome, event.at, book=context.book, why="erase")
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
