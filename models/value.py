"""What a member was worth and what the next 90 days are expected to bring, in cents.

Expected value is the mean of two opinions: BG/NBD with Gamma-Gamma (how many orders, times how much
an order), and a Poisson regression learned online from 90 days that have passed, which comes in
little by little while it has few labels. Money is
net of refunds. The interval is from 10 to 90 % of what members alike turned out to spend: alike are
those who are about equally likely to buy at all.

``margin`` is the share of revenue that stays with the shop; value is told after it.
"""

import math
from typing import NamedTuple

import msgspec

from models.btyd import BgNbd, GammaGamma
from models.features import FEATURES, Population, features
from models.rhythm import Rhythm, kept

HORIZON = 90
# Of the churn model's vector: how often and how late. Browsing and own labels add nothing here.
_RHYTHM_FEATURES = (
    "often_90",
    "often_14",
    "overdue",
    "late",
    "late_ratio",
    "trend_short",
    "trend_long",
    "late_longest",
)
_TAKEN = tuple(
    next(index for index, feature in enumerate(FEATURES) if feature.name == name)
    for name in _RHYTHM_FEATURES
)
VALUE_FEATURES = (*_RHYTHM_FEATURES, "mean_order", "spent_lately")
# Mean and deviation that they are scaled with until there is data.
USUAL = (*(FEATURES[index].usual for index in _TAKEN), (4.0, 1.0), (3.0, 2.0))
# Members are alike whose probability of no order in the horizon lies between two of these.
_ALIKE = (0.02, 0.1, 0.25, 0.5, 0.7, 0.85, 0.95)
GROUPS = len(_ALIKE) + 1
# Nobody spends a million times the mean order of the shop.
_MOST = math.log(1e6)


class Band(msgspec.Struct, frozen=True):
    """The interval of members alike, as parts of the expected value."""

    low: float
    high: float


class Online(msgspec.Struct, frozen=True):
    """The Poisson regression: exp of the linear part is the expected value in ``unit`` cents.

    ``share``: how much of the mean of both opinions is its own.
    To the bit what River's ``StandardScaler | LinearRegression(loss=Poisson())`` gives.
    """

    means: tuple[float, ...]
    variances: tuple[float, ...]
    weights: tuple[float, ...]
    intercept: float
    unit: float
    share: float = 0.5

    def expected(self, vector: tuple[float, ...]) -> float:
        """Return the cents expected of a vector of ``VALUE_FEATURES``."""
        total = 0.0
        for value, mean, variance, weight in zip(
            vector, self.means, self.variances, self.weights, strict=True
        ):
            if variance:
                total += (value - mean) / variance**0.5 * weight
        return math.exp(min(total + self.intercept, _MOST)) * self.unit


class Expected(NamedTuple):
    """Cents expected over the horizon. One in ten spends less than ``low``, one more than ``high``.

    Both None while nobody alike has been seen for the whole horizon. Where a tenth or more spend
    nothing, ``low`` is 0 and nine of ten are within; where nine of ten spend nothing, so is
    ``high``, below the mean.
    """

    mean: int
    low: int | None
    high: int | None


class ValueModel(msgspec.Struct, frozen=True):
    """Parameters of one day. A part is None until there is something to know it from."""

    bgnbd: BgNbd | None
    gamma_gamma: GammaGamma | None
    online: Online | None
    bands: tuple[Band | None, ...]
    margin: float

    def expected(self, rhythm: Rhythm, day: int, population: Population) -> Expected | None:
        """Return the value of the ``HORIZON`` days after the end of ``day``; None: not known yet.

        About 15 microseconds: for when a member is asked or buys, not for every event.
        """
        if self.bgnbd is None or self.gamma_gamma is None:
            return None
        vector = None
        if self.online is not None:
            vector = value_features(rhythm, day, features(rhythm, day, population))
        past = Past.of(rhythm, day)
        mean = blended(past, vector, self.bgnbd, self.gamma_gamma, self.online)
        band = self.bands[group(past, self.bgnbd)]
        mean *= self.margin
        if band is None:
            return Expected(round(mean), None, None)
        return Expected(round(mean), round(mean * band.low), round(mean * band.high))

    def historic(self, rhythm: Rhythm) -> int:
        """Return what the member has brought so far, net of refunds, in cents."""
        return round(rhythm.spent * self.margin)


class ValueCheckpoint(msgspec.Struct, frozen=True):
    """The trainer between two days: all but the open questions, which are said again."""

    closed: int | None
    margin: float
    gamma_gamma: GammaGamma | None
    online: Online | None
    squares: tuple[float, ...]
    learned: int
    outcomes: tuple[tuple[float, ...], ...]


class Past(NamedTuple):
    """A member as BG/NBD and Gamma-Gamma see it: orders are purchase days, money in cents."""

    orders: int
    span: int
    age: int
    spent: int

    @classmethod
    def of(cls, rhythm: Rhythm, day: int) -> "Past":
        """Return the past of a rhythm at the end of ``day``."""
        age = max(day - rhythm.first_day, rhythm.span)
        return cls(rhythm.purchases, rhythm.span, age, max(rhythm.spent, 0))

    def parametric(self, bgnbd: BgNbd, gamma_gamma: GammaGamma) -> float:
        """Return the cents that the parametric models expect over the horizon."""
        orders = bgnbd.expected_orders(self.orders - 1, self.span, self.age, HORIZON)
        return orders * gamma_gamma.mean_spend(self.orders, self.spent)


def blended(
    past: Past,
    vector: tuple[float, ...] | None,
    bgnbd: BgNbd,
    gamma_gamma: GammaGamma,
    online: Online | None,
) -> float:
    """Return the cents expected before margin: the mean of the opinions that there are."""
    parametric = past.parametric(bgnbd, gamma_gamma)
    if online is None or vector is None:
        return parametric
    return (1.0 - online.share) * parametric + online.share * online.expected(vector)


def group(past: Past, bgnbd: BgNbd) -> int:
    """Return which members this one is alike to: 0 to ``GROUPS`` - 1, the last hardly buy."""
    silent = bgnbd.p_no_order(past.orders - 1, past.span, past.age, HORIZON)
    return sum(silent > edge for edge in _ALIKE)


def value_features(rhythm: Rhythm, day: int, x: tuple[float, ...]) -> tuple[float, ...]:
    """Return the vector of ``VALUE_FEATURES``; ``x``: the churn model's at the end of ``day``."""
    lately = rhythm.spent_lately * kept(HORIZON, max(day - rhythm.last_day, 0))
    return (
        *[x[index] for index in _TAKEN],
        math.log1p(max(rhythm.spent, 0) / rhythm.purchases / 100),
        math.log1p(max(lately, 0.0) / 100),
    )
