"""The churn probability: no purchase day within the horizon after the end of a day.

Three opinions, blended in log odds. The *direct* twin answers the question itself, from labels as
old as the horizon. The *weekly* twin answers it for 7 days, from labels of a week ago, and is
rolled forward over weeks in which the member does nothing; so it notices soon when members change.
BG/NBD knows the shape of such data before anything was learned. How much each counts is in the
parameters: the trainer says what has earned what, and how far the level of all is behind
(``models.leveling``).
"""

import math
from collections.abc import Callable
from functools import cached_property, lru_cache
from math import exp, expm1, log
from typing import NamedTuple, TypeAlias, cast

import msgspec
from msgspec import structs

from models.btyd import BgNbd
from models.features import (
    DAY,
    DAYS,
    FEATURES,
    KNOWN,
    MEMBER,
    OF_CHURN,
    ROLLING,
    TABLES,
    UNSAID,
    USUAL,
    VIEWS,
    Population,
    features,
    usual,
)
from models.fusing import Fused, Table, again
from models.logistic import FAR, Logistic, formula, sigmoid
from models.rhythm import Rhythm

Told: TypeAlias = Callable[[Rhythm, int], tuple[float, float | None]]
"""A score without names: of a member at the end of a day."""

WEEK = 7
# Log odds of a week beyond these are taken as these: nobody is lost or kept for certain.
_CERTAIN = 30.0


class Blend(msgspec.Struct, frozen=True):
    """How much each opinion counts; together 1."""

    direct: float
    weekly: float
    bgnbd: float


class Churn(msgspec.Struct, frozen=True):
    """Everything that scores of one version are made from.

    ``shift``: log odds that are added to what the opinions come to.
    """

    horizon: int
    population: Population
    direct: Logistic | None
    weekly: Logistic | None
    bgnbd: BgNbd | None
    blend: Blend
    shift: float = 0.0


class Opinions(NamedTuple):
    """Log odds of churn within the horizon by each part; None for one that knows nothing yet."""

    direct: float | None
    weekly: float | None
    bgnbd: float | None


class Score(NamedTuple):
    """Probabilities of no purchase: within the horizon, and within 7 days (None: not yet known)."""

    p: float
    p_week: float | None


class Reason(NamedTuple):
    """A feature that makes a member's score high (log odds above the usual) or low (below)."""

    feature: str
    log_odds: float


class Scorer:
    """A version of the parameters, ready for use."""

    def __init__(self, churn: Churn) -> None:
        self.churn = churn
        self._shares = shares = _shares(churn)
        numbers = _numbers(churn) | {f"by_{part}": share for part, share in shares.items()}
        # Asked with every event: one function in one piece, and a tuple without names.
        self.told: Told = _fused(_Shape.of(churn), tuple(shares)).given(numbers)

    def __call__(self, rhythm: Rhythm, day: int) -> Score:
        """Return the score at the end of ``day``, which is not before the last purchase day."""
        return Score(*self.told(rhythm, day))

    def opinions(self, rhythm: Rhythm, day: int) -> Opinions:
        """Return what each part says, also one that does not count."""
        return Opinions(*self._opinions(rhythm, day))

    def unshifted(self, opinions: Opinions) -> float | None:
        """Return the log odds that opinions come to, without the shift; None where none counts."""
        told = [getattr(opinions, part) * share for part, share in self._shares.items()]
        return sum(told) if told else None

    @cached_property
    def _opinions(self) -> Callable[[Rhythm, int], tuple[float | None, ...]]:
        fused = _fused(_Shape.of(self.churn), None).given(_numbers(self.churn))
        return cast(Callable[[Rhythm, int], tuple[float | None, ...]], fused)

    def reasons(self, rhythm: Rhythm, day: int, most: int = 3) -> tuple[Reason, ...]:
        """Return the features that moved the direct twin's score most, the strongest first.

        Measured from the mean of the base; empty while nothing is learned.
        """
        direct = self.churn.direct
        if direct is None:
            return ()
        x = features(rhythm, day, self.churn.population)[:OF_CHURN]
        parts = [
            Reason(name, (value - mean) / math.sqrt(variance) * weight)
            for name, value, mean, variance, weight in zip(
                _NAMES, x, direct.means, direct.variances, direct.weights, strict=True
            )
            if variance
        ]
        parts.sort(key=lambda reason: (-abs(reason.log_odds), reason.feature))
        return tuple(parts[:most])


class _Shape(NamedTuple):
    """What versions that differ by numbers alone have in common.

    Weeks of the horizon; the features that count for each twin; whether there is BG/NBD. None for
    a twin that knows nothing yet.
    """

    weeks: int
    direct: tuple[str, ...] | None
    weekly: tuple[str, ...] | None
    bgnbd: bool

    @classmethod
    def of(cls, churn: Churn) -> "_Shape":
        return cls(
            -(-churn.horizon // WEEK),
            None if churn.direct is None else churn.direct.counting(_NAMES),
            None if churn.weekly is None else churn.weekly.counting(_ROLLING),
            churn.bgnbd is not None,
        )


_NAMES = tuple(feature.name for feature in FEATURES[:OF_CHURN])
_ROLLING = _NAMES[:ROLLING]
_AHEAD = "_ahead"

# The log odds of an order in the week that begins now and in the last one of the horizon; between
# them they go with the logarithm of time.
_WEEKLY = """
if next_week > -CERTAIN and next_week < CERTAIN:
    begins = -next_week
    leaving = 1.0 + exp(begins)
    p_week = 1.0 / leaving
else:
    begins = -CERTAIN if next_week > 0.0 else CERTAIN
    leaving = 1.0 + exp(begins)
    p_week = sigmoid(next_week)
if last_week > -CERTAIN and last_week < CERTAIN:
    ends = -last_week
else:
    ends = -CERTAIN if last_week > 0.0 else CERTAIN
slope = begins - ends
silent = (1.0 / (1.0 + exp(ends))) ** rest{between}
"""
# ``BgNbd.p_no_order``, written out.
_BGNBD = """
often = r + many
aged = alpha + age
orders = -expm1(-often * log1p(horizon / aged))
if gaps:
    left = LEFT[gaps] + often * log(aged / (alpha + span))
    alive = 1.0 / (1.0 + exp(left)) if left < FAR else 0.0
else:
    alive = 1.0
no_order = 1.0 - alive * orders
"""
# ``log_odds``, written out.
_LOG_ODDS = """
if {p} > 1e-6 and {p} < 1.0 - 1e-6:
    {p}_within = {p}
else:
    {p}_within = 1e-6 if {p} < 0.5 else 1.0 - 1e-6
{of} = log({p}_within / (1.0 - {p}_within))
"""
# ``sigmoid``, written out.
_BLEND = """
blended = {blended} + shift
p = 1.0 / (1.0 + exp(-blended)) if blended > -FAR else 0.0
"""
_KNOWN = {
    **KNOWN,
    **{"exp": exp, "expm1": expm1, "sigmoid": sigmoid, "CERTAIN": _CERTAIN, "FAR": FAR},
}


def _shares(churn: Churn) -> dict[str, float]:
    """Return how much each opinion counts, of those that are there and count: together 1."""
    there = (part for part in Opinions._fields if getattr(churn, part) is not None)
    shares = {part: float(getattr(churn.blend, part)) for part in there}
    total = sum(shares.values())
    return {part: share / total for part, share in shares.items() if share}


def _numbers(churn: Churn) -> dict[str, float | Table]:
    """Return the numbers of a version by the names that the formulas have for them."""
    last, between, rest = _steps(churn.horizon)
    numbers: dict[str, float | Table] = dict(zip(USUAL, usual(churn.population), strict=True))
    numbers |= {"base": churn.population.base, "horizon": float(churn.horizon)}
    numbers |= {"shift": churn.shift}
    numbers |= {"until_last_week": last, "rest": rest}
    numbers |= {f"share_{week}": share for week, share in enumerate(between)}
    if churn.direct is not None:
        numbers |= churn.direct.numbers("direct", _NAMES, UNSAID)
    if churn.weekly is not None:
        numbers |= churn.weekly.numbers("weekly", _ROLLING, UNSAID)
    if churn.bgnbd is not None:
        numbers |= structs.asdict(churn.bgnbd) | {"LEFT": _left(churn.bgnbd)}
    return numbers


@lru_cache(8)
def _left(bgnbd: BgNbd) -> Table:
    """Return, by the number of gaps, the log odds of having left that come with each order."""
    a, b = bgnbd.a, bgnbd.b
    return Table(lambda gaps: log(a / (b + gaps - 1.0)) if gaps else 0.0, DAYS)


@lru_cache(64)
def _fused(shape: _Shape, counting: tuple[str, ...] | None) -> Fused:
    """Return the function from a rhythm and a day to the two numbers of the score.

    It asks the opinions that are ``counting`` and no others. None: it tells all of them, no score.
    """
    said = [MEMBER]
    if shape.weekly is not None:
        said += [f"day{_AHEAD} = day + until_last_week", again(DAY, _AHEAD)]
        said.append(f"last_week = {formula('weekly', shape.weekly, UNSAID, _AHEAD)}")
    said += [DAY, VIEWS]
    if shape.weekly is None:
        said.append("p_week = of_weekly = None")
    else:
        # The first week between is the one that begins now.
        steps = (
            f"(1.0 + exp(begins - slope * share_{week}))" for week in range(1, shape.weeks - 1)
        )
        between = ("leaving", *steps) if shape.weeks > 1 else ()
        rolled = "".join(f" / {factor}" for factor in between)
        said.append(f"next_week = {formula('weekly', shape.weekly, UNSAID)}")
        said.append(_WEEKLY.format(between=rolled))
        said.append(_LOG_ODDS.format(p="silent", of="of_weekly"))
    if shape.direct is None:
        said.append("of_direct = None")
    else:
        said.append(f"of_direct = {formula('direct', shape.direct, UNSAID)}")
    if shape.bgnbd:
        said += [_BGNBD, _LOG_ODDS.format(p="no_order", of="of_bgnbd")]
    else:
        said.append("of_bgnbd = None")
    blended = " + ".join(f"of_{part} * by_{part}" for part in counting or ())
    said.append(_BLEND.format(blended=blended) if blended else "p = base")
    wanted = (
        ("p", "p_week") if counting is not None else tuple(map("of_{}".format, Opinions._fields))
    )
    return Fused(("rhythm", "day"), "\n".join(said), wanted, _KNOWN, TABLES)


def _steps(horizon: int) -> tuple[int, tuple[float, ...], float]:
    """Return how a horizon is gone through week by week.

    Days until its last week begins; how far on the way there each week before that is; the share
    of a week that is left to it.
    """
    weeks = -(-horizon // WEEK)
    way = math.log(weeks)
    between = tuple(math.log1p(step) / way for step in range(weeks - 1))
    return (weeks - 1) * WEEK, between, horizon / WEEK - (weeks - 1)
