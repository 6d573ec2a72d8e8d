"""When a member is scored and asked about: with each event, and once a week.

A member who has bought is looked at anew with everything that happens to them, and at the end of
one day of the week, which the id decides: the *grid instant* of day t is the first instant of day
t + 1, and comes before every event of that instant. What was predicted there is a question; its
answer will be known when the horizon is over. Questions and purchases go to the trainer
(``models.asking``), of the members of the cohort alone.
"""

from copy import copy
from functools import lru_cache

from models.asking import Bought, Question
from models.decoding import Received
from models.events import Purchased
from models.facts import cents
from models.ids import short_hash
from models.member import Member, Score
from models.outcome import Context, Outcome
from models.predicted import SHARES
from models.predicting import Predictor
from models.rhythm import Rhythm, asked_on, bought, carted, looked, member_number, refunded
from models.rulebook import RuleBook
from models.stages import NEVER
from models.times import DAY

LOOKS = frozenset({"visit", "view_item", "search"})
CARTS = frozenset({"add_to_cart", "begin_checkout"})
# After so many days of silence nobody is asked about any more: the answer is known, and who sleeps
# for years costs nothing.
ASKED_FOR = 2 * 364
_NUMBERS = 1 << 63

# Members come again, and a hash takes a microsecond.
number_of = lru_cache(1 << 16)(member_number)


def heard(rhythm: Rhythm | None, event: Received, back: int = 0) -> Rhythm | None:
    """Return the rhythm (changed in place) after an event that gave ``back`` so many cents.

    None as long as nothing was bought.
    """
    day = event.at // DAY
    if isinstance(event.event, Purchased):
        return bought(rhythm, day, cents(event.event.total), bool(event.event.coupon))
    if rhythm is None:
        return None
    if event.type in LOOKS:
        looked(rhythm, day)
    elif event.type in CARTS:
        carted(rhythm, day)
    elif back:
        refunded(rhythm, back)
    return rhythm


def take(outcome: Outcome, event: Received, context: Context, back: int) -> None:
    """Let an event change the rhythm and the score of the outcome's member.

    ``back`` is what it gave back, in cents.
    """
    member = outcome.member
    if member.anonymous:
        return
    before = None if member.rhythm is None else member.rhythm.last_day
    rhythm = member.rhythm = heard(member.rhythm, event, back)
    if rhythm is None:
        return
    if isinstance(event.event, Purchased):
        day = event.at // DAY
        gap = 0 if before is None else day - before if day > before else -1
        _say(outcome, event, context.book, cents(event.event.total), gap)
    elif back:
        _say(outcome, event, context.book, -back, -1)
    spent = isinstance(event.event, Purchased) or back != 0
    told = spent or event.type in LOOKS or event.type in CARTS
    rescore(member, context, worth=spent, told=told)


def rescore(member: Member, context: Context, worth: bool = True, told: bool = True) -> None:
    """Score a member who has bought, at its own time, if a model is known.

    What the member is worth takes longer to work out than the rest, and is only done on demand.
    Where nothing was ``told`` of the rhythm, a score of the same day by the same model stands.
    """
    day = member.advanced_to // DAY
    predictor = None if context.models is None else context.models.at(day)
    if predictor is None or member.rhythm is None:
        return
    score = member.score
    if not told and score is not None and (score.day, score.version) == (day, predictor.version):
        return
    p, _ = predictor.churn(member.rhythm, day)
    _score(member, predictor, p, day, at_once=True, worth=worth)


def _say(outcome: Outcome, event: Received, book: RuleBook, total: int, gap: int) -> None:
    member = outcome.member
    if teaches(member, book):
        told = event.event.event_id
        identity = int.from_bytes(short_hash(told.encode() if told else event.raw), "big") >> 1
        day = event.at // DAY
        outcome.asked.append(Bought(number_of(member.id), day, total, gap, identity))


def teaches(member: Member, book: RuleBook) -> bool:
    """Tell whether a member who has bought is one of those who are learned from."""
    predictions = book.predictions
    return (
        predictions is not None
        and member.id not in book.limits.test_members
        and number_of(member.id) < predictions.share * _NUMBERS
    )


def next_due(member: Member, book: RuleBook) -> int:
    """Return the next grid instant, or ``NEVER`` for who has not bought, or not for two years.

    A row whose id is not known is looked at every day.
    """
    if member.rhythm is None or book.predictions is None:
        return NEVER
    day = member.advanced_to // DAY
    if member.id:
        number = number_of(member.id)
        while not asked_on(number, day):
            day += 1
    return (day + 1) * DAY if day - member.rhythm.last_day <= ASKED_FOR else NEVER


def ask(outcome: Outcome, due: int, context: Context) -> None:
    """Score the member at a grid instant, and ask what will come of it.

    History that is loaded on a live clock is not asked about: its answers are long known.
    """
    member = outcome.member
    rhythm = member.rhythm
    assert rhythm is not None
    if context.now is not None and due <= member.backfilled_to:
        return
    day = due // DAY - 1
    predictor = None if context.models is None else context.models.at(day)
    p: float | None = None
    p_week: float | None = None
    if predictor is not None:
        p, p_week = predictor.churn(rhythm, day)
        _score(member, predictor, p, day, at_once=False, worth=True)
    if teaches(member, context.book):
        version = 0 if predictor is None else predictor.version
        question = Question(number_of(member.id), day, copy(rhythm), p, p_week, version)
        outcome.asked.append(question)


def _score(
    member: Member, predictor: Predictor, p: float, day: int, *, at_once: bool, worth: bool
) -> None:
    """Keep what was predicted. What a member does counts at once, what time brings by half."""
    assert member.rhythm is not None
    before = member.score
    raw = round(p * SHARES)
    smooth = raw if at_once or before is None else (before.churn + raw + 1) // 2
    value = predictor.value(member.rhythm, day) if worth or before is None else before.value
    member.score = Score(smooth, raw, predictor.version, day, value)
