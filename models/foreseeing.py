"""What is told of a member's future, from the score in the row and the model that made it."""

from models.member import Member
from models.next_order import NextOrder, worth_telling
from models.predicted import SHARES, is_current
from models.predicting import Foreteller, Library
from models.times import DAY, rfc3339
from models.triggers import ExpectedOrder, Foreseen


def foreseen(member: Member, models: Library | None) -> Foreseen | None:
    """Return what is predicted; None for who has no score.

    Of a score whose model is not known any more, or from before the last purchase, only what is in
    the row is told.
    """
    score, rhythm = member.score, member.rhythm
    if score is None or rhythm is None:
        return None
    told = Foreseen(
        as_of=_date(score.day),
        model=_date(score.version),
        churn=score.raw / SHARES,
        churn_smoothed=score.churn / SHARES,
        expected_value=score.value / 100,
    )
    predictor = None if models is None else models.of(score.version)
    if predictor is None or not is_current(member):
        return told
    return _with_intervals(told, member, predictor)


def _with_intervals(told: Foreseen, member: Member, predictor: Foreteller) -> Foreseen:
    score, rhythm = member.score, member.rhythm
    assert score is not None
    assert rhythm is not None
    worth = predictor.worth(rhythm, score.day)
    order: NextOrder | None = None
    reasons: tuple[tuple[str, str], ...] = ()
    if worth_telling(told.churn):
        order = predictor.next_order(rhythm, score.day)
    else:
        reasons = predictor.because(rhythm, score.day)
    return Foreseen(
        as_of=told.as_of,
        model=told.model,
        churn=told.churn,
        churn_smoothed=told.churn_smoothed,
        expected_value=told.expected_value,
        expected_value_low=None if worth is None else _money(worth.low),
        expected_value_high=None if worth is None else _money(worth.high),
        next_order=None
        if order is None
        else ExpectedOrder(
            median=_date(score.day + max(1, round(order.median))),
            earliest=_date(score.day + order.low),
            latest=_date(score.day + order.high),
        ),
        reasons=tuple(english for english, _ in reasons),
    )


def _date(day: int) -> str:
    return rfc3339(day * DAY)[:10]


def _money(cents: int | None) -> float | None:
    return None if cents is None else cents / 100
