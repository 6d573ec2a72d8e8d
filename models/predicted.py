"""The numbers of a member's score as rules read them."""

from models.member import Member
from models.rules import Predicted

SHARES = 10_000
"""Probabilities are kept in whole ten-thousandths."""


def is_current(member: Member) -> bool:
    """Tell whether the member has a score, and has not bought since.

    Who buys is scored, unless no model is at hand: a worker that has just begun knows none.
    """
    score, rhythm = member.score, member.rhythm
    return score is not None and rhythm is not None and score.day >= rhythm.last_day


def predicted(member: Member, what: Predicted) -> float | None:
    """Return a prediction, smoothed: ``churn`` is a probability, ``expected_value`` money.

    None for a member who has no score: nothing was bought yet, or no model is known.
    """
    score = member.score
    if score is None:
        return None
    return score.churn / SHARES if what == "churn" else score.value / 100
