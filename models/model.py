"""What the trainer publishes at the end of each day and every worker follows: numbers, as JSON."""

import msgspec

from models.churn import Churn
from models.next_order import NextOrderModel
from models.value import ValueModel


class Quality(msgspec.Struct, frozen=True):
    """How good served predictions were, by the answers of about the last four weeks.

    ``churned``, ``predicted``: shares; their difference is the error of the level. ``ece``: mean
    distance of the two over 15 classes of equal width of log odds. None where nothing tells.
    """

    labels: float
    churned: float | None
    predicted: float | None
    log_loss: float | None
    auc: float | None
    ece: float | None


class Figures(msgspec.Struct, frozen=True):
    """What is known of the model's quality at the end of a day.

    ``active``: members with a purchase within the horizon before the question; ``everyone``: all.
    ``opinions``: log loss of each part over the answers that weigh in the blend, as the part would
    answer now. ``week_residual``: share that stayed away for 7 days less what was predicted, of the
    last day. ``learned``: labels learned by the direct and the weekly twin.
    """

    active: Quality
    everyone: Quality
    opinions: dict[str, float]
    week_residual: float | None
    learned: tuple[int, int]


class Decision(msgspec.Struct, frozen=True):
    """Something that the trainer decided by rule on a day.

    ``kind``: ``trusted`` (a learned part counts for the first time), ``promoted`` (a shadow took
    the champion's place), ``drift`` (members behave otherwise than predicted), ``settled`` (they
    are predicted again). ``about``: the evidence in one sentence.
    """

    day: int
    kind: str
    about: str


class Model(msgspec.Struct, frozen=True):
    """Parameters for scores of days from ``valid_from`` on, made at the end of the day before.

    ``version`` is ``valid_from``, an epoch day. ``schema``: of the features that it is about.
    """

    version: int
    valid_from: int
    schema: str
    churn: Churn
    value: ValueModel
    next_order: NextOrderModel
    figures: Figures
    decisions: tuple[Decision, ...]
    champions: tuple[str, str]
