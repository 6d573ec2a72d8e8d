"""The churn score worked out step by step, as its definition reads: what the fused one must equal.

Nothing is shared, looked up or left out here; sums and quotients are in the order that River and
the definition of the features give them.
"""

from collections.abc import Sequence
from math import erfc, exp, log, log1p, sqrt

from models.btyd import BgNbd
from models.churn import Churn, Opinions
from models.features import OF_CHURN, Population
from models.logistic import Logistic, log_odds, sigmoid
from models.rhythm import Rhythm, kept


def own_gap_in_logs(rhythm: Rhythm, population: Population) -> tuple[float, float]:
    """Mean and deviation of log(1 + gap), shrunk to the base's."""
    gaps, logs = rhythm.gaps, rhythm.logs / 64
    variance = max(0.0, rhythm.squares / 16 - logs * logs / gaps) if gaps else 0.0
    mean = (logs + 2.0 * population.log_mean) / (gaps + 2.0)
    return mean, sqrt((variance + 3.0 * population.log_variance) / (gaps + 3.0))


def rolling(rhythm: Rhythm, day: int, population: Population) -> tuple[float, ...]:
    """The features that change in a known way while a member does nothing."""
    silence, tenure = day - rhythm.last_day, day - rhythm.first_day
    gaps = rhythm.gaps
    mean, deviation = own_gap_in_logs(rhythm, population)
    late = (log1p(silence) - mean) / deviation
    beyond = erfc((log1p(silence + 30) - mean) / deviation / sqrt(2.0))
    within = erfc(late / sqrt(2.0)) - beyond
    overdue = -8.0 if beyond <= 0.0 else 8.0 if within <= 0.0 else log(beyond / within)
    late = max(-6.0, min(6.0, late))
    counts = (rhythm.week, rhythm.fortnight, rhythm.month, rhythm.quarter)
    often = {
        life: (count + 64) / 64 * kept(life, silence)
        for life, count in zip((7, 14, 30, 90), counts, strict=True)
    }
    rates = {
        life: (often[life] + 0.5)
        / (life / log(2.0) * (1.0 - kept(life, tenure + 1)) + 0.5 * population.mean_gap)
        for life in (7, 30, 90)
    }
    away = rhythm.lapsed + max(0, silence - 29)
    known = max(0, tenure - 29)
    base = 21.0 * population.base
    return (
        log1p(often[90]),
        max(-8.0, min(8.0, overdue)),
        late,
        log(rates[7] / rates[30]),
        log(rates[30] / rates[90]),
        log((away + base) / (known - away + 21.0 - base)),
        log1p(rhythm.coupons / 64 * kept(30, silence)),
        log1p(max(0.0, rhythm.spent_lately / 100.0 * kept(90, silence))),
        late * late,
        log1p(often[30]) * log1p(gaps),
        log1p(often[90]) * late,
        log1p(silence) * log1p(tenure),
        late * log(rates[7] / rates[30]),
    )


def of_value(rhythm: Rhythm, day: int, population: Population) -> tuple[float, ...]:
    """The features that only the value model looks at."""
    silence = day - rhythm.last_day
    own_gap = (rhythm.span + 2.0 * population.mean_gap) / (rhythm.gaps + 2.0)
    return (
        log1p((rhythm.fortnight + 64) / 64 * kept(14, silence)),
        log1p(silence) - log1p(own_gap),
        log1p(silence) - log1p(max(rhythm.longest, own_gap)),
    )


def seen(
    rhythm: Rhythm, day: int, population: Population, often: float, trend: float
) -> tuple[float, ...]:
    """The features of what a member looked at, who has bought so ``often``, with this trend."""
    looks = rhythm.looks
    cart_open = 1.0 if looks is not None and looks.cart_day > rhythm.last_day else 0.0
    if looks is None or not looks.day:
        return log1p(365), 0.0, cart_open, *(0.0,) * 11
    since = day - looks.day
    short, middle, long = (
        count / 64 * kept(life, since)
        for life, count in ((3, looks.short), (14, looks.middle), (30, looks.long))
    )
    mean, deviation = own_gap_in_logs(rhythm, population)
    unseen = (log1p(min(since, day - rhythm.last_day)) - mean) / deviation
    seen_late = max(-6.0, min(6.0, unseen))
    trending = log((short / 3.0 + 0.02) / (long / 30.0 + 0.02))
    after = log1p(max(0, looks.day - rhythm.last_day))
    return (
        log1p(since),
        log1p(middle),
        cart_open,
        trending,
        log1p(day - rhythm.last_day),
        after,
        log1p(since) * log1p(middle),
        seen_late,
        seen_late * seen_late,
        log1p(middle) * often,
        log1p(middle) * trending,
        log1p(middle) * seen_late,
        log1p(middle) * trend,
        after * often,
    )


def vector(rhythm: Rhythm, day: int, population: Population) -> tuple[float, ...]:
    """All features, in their order."""
    x = rolling(rhythm, day, population)
    looks = seen(rhythm, day, population, x[0], x[3])
    return x + looks + of_value(rhythm, day, population)


def logit(logistic: Logistic, x: Sequence[float]) -> float:
    """What River says of a vector, as log odds."""
    total = 0.0
    numbers = zip(x, logistic.means, logistic.variances, logistic.weights, strict=True)
    for value, mean, variance, weight in numbers:
        total += ((value - mean) / variance**0.5 if variance else 0.0) * weight
    return total + logistic.intercept


def _week(logistic: Logistic, x: Sequence[float]) -> float:
    found = logit(logistic, x)
    return found if -30.0 < found < 30.0 else 30.0 if found > 0.0 else -30.0


def opinions(churn: Churn, rhythm: Rhythm, day: int) -> Opinions:
    """What each part says."""
    x = vector(rhythm, day, churn.population)[:OF_CHURN]
    return Opinions(
        None if churn.direct is None else logit(churn.direct, x),
        None if churn.weekly is None else _rolled(churn.weekly, churn, rhythm, day),
        None if churn.bgnbd is None else _by_bgnbd(churn.bgnbd, churn.horizon, rhythm, day),
    )


def _rolled(weekly: Logistic, churn: Churn, rhythm: Rhythm, day: int) -> float:
    """Silence through every week of the horizon, of the last one as much as belongs to it."""
    weeks = -(-churn.horizon // 7)
    begins = _week(weekly, rolling(rhythm, day, churn.population))
    ends = _week(weekly, rolling(rhythm, day + 7 * (weeks - 1), churn.population))
    silent = (1.0 / (1.0 + exp(-ends))) ** (churn.horizon / 7 - (weeks - 1))
    for step in range(weeks - 1):
        share = log1p(step) / log(weeks)
        silent /= 1.0 + exp(-begins - (ends - begins) * share)
    return log_odds(silent)


def _by_bgnbd(bgnbd: BgNbd, horizon: int, rhythm: Rhythm, day: int) -> float:
    age = day - rhythm.first_day
    return log_odds(bgnbd.p_no_order(rhythm.gaps, rhythm.span, age, horizon))


def score(churn: Churn, rhythm: Rhythm, day: int) -> tuple[float, float | None]:
    """The probabilities of no purchase within the horizon, and within 7 days."""
    said = opinions(churn, rhythm, day)
    blend = (churn.blend.direct, churn.blend.weekly, churn.blend.bgnbd)
    shares = [0.0 if one is None else share for one, share in zip(said, blend, strict=True)]
    p_week = None
    if churn.weekly is not None:
        p_week = sigmoid(logit(churn.weekly, rolling(rhythm, day, churn.population)))
    if not sum(shares):
        return churn.population.base, p_week
    parts = [(one or 0.0) * (share / sum(shares)) for one, share in zip(said, shares, strict=True)]
    return sigmoid(parts[0] + parts[1] + parts[2] + churn.shift), p_week
