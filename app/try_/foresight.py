"""What is predicted of a shop's members, and how good that has been: the parts of the page."""

import msgspec

from models.model import Model
from models.predicting import Worth

_LIKELY = 0.5


class Foresight(msgspec.Struct, frozen=True):
    """What is predicted of one member at the end of the log.

    ``churn``: the chance of no order within the horizon; ``reasons``: what raises it, in English
    and Chinese; ``value``: cents earned in the next 90 days (None: not known yet);
    ``next_days``: epoch days of the next order: 10 % sooner, the middle, 90 % sooner; ``usual``:
    the middle of the member's gaps, ``silent``: since the day of the last order, in days.
    """

    churn: float
    reasons: tuple[tuple[str, str], ...]
    value: Worth | None
    next_days: tuple[int, int, int]
    usual: float
    silent: int

    @property
    def slipping(self) -> bool:
        """Tell whether the member is overdue and more likely to stay away than to order."""
        return self.churn >= _LIKELY and self.silent > self.usual


class Bin(msgspec.Struct, frozen=True):
    """Members who were given about the same chance: how many, the chance, and what happened."""

    rows: int
    said: float
    happened: float


class Quality(msgspec.Struct, frozen=True):
    """How good the chances given in the past were, of members who had lately bought.

    ``guess``: the log loss of saying everybody the share that left; days are epoch days.
    """

    rows: int
    members: int
    first_day: int
    last_day: int
    left: float
    said: float
    auc: float
    log_loss: float
    guess: float
    off: float
    bins: tuple[Bin, ...]


class TooLittle(msgspec.Struct, frozen=True):
    """There is not enough past to judge predictions by: what there is, and what it takes."""

    days: int
    rows: int
    left: int
    days_wanted: int
    rows_wanted: int
    each_wanted: int


class Predictions(msgspec.Struct):
    """Everything that is predicted. ``scores``: (epoch day, chance) once a week, oldest first.

    ``margin``: the share of an order that is earned, in which value is told;
    ``models``: the model of each day, by its epoch day. ``members`` of ``of`` were learned from.
    """

    horizon: int
    margin: float
    today: dict[str, Foresight]
    scores: dict[str, list[tuple[int, float]]]
    judged: Quality | TooLittle
    models: dict[int, Model]
    members: int
    of: int
