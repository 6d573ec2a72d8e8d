"""What the churn models look at: declared, hashed, and worked out from a rhythm in microseconds.

A feature is a function of the member's rhythm, a day and what is usual in the base, at the *end* of
that day. The day may lie ahead of the last event: the features of a member who stays away.
"""

from hashlib import blake2b
from math import erfc, log, log1p, sqrt

import msgspec

from models.rhythm import LAPSE, LOG_UNIT, SQUARE_UNIT, UNIT, Rhythm, kept


class Feature(msgspec.Struct, frozen=True):
    """One number of the vector: how it is made, from what state, and what it is for.

    ``usual``: mean and deviation that it is scaled with until there is data of one's own. (What has
    hardly varied yet would be scaled out of all proportion when it first does.)
    """

    name: str
    formula: str
    state: str
    why: str
    usual: tuple[float, float]


class Population(msgspec.Struct, frozen=True):
    """What is usual in the base, as of a day: days, logarithms of (1 + days), a share.

    ``base``: the share of labels that were churn. The defaults stand in before there is any data.
    """

    mean_gap: float = 30.0
    log_mean: float = 3.0
    log_variance: float = 1.0
    base: float = 0.5


# Who never looked: as if a year ago.
_LONG_AGO = log1p(365)
FEATURES: tuple[Feature, ...] = (
    Feature(
        "often_90",
        "log(1 + d90)",
        "purchase days decayed with half-life 90",
        "how often, over a quarter",
        (1.0, 1.0),
    ),
    Feature(
        "often_14",
        "log(1 + d14)",
        "purchase days decayed with half-life 14",
        "how often, lately",
        (0.5, 0.5),
    ),
    Feature(
        "overdue",
        "logit of P(gap > silence + 30 | gap > silence), the member's own log-normal gap, within 8",
        "sums of log gaps and their squares",
        "how likely a month more of silence is by the member's own rhythm",
        (0.0, 2.0),
    ),
    Feature(
        "late",
        "(log(1 + silence) - own mean of log(1 + gap)) / own deviation, within 6",
        "sums of log gaps and their squares",
        "how unusual the silence is for this member",
        (0.0, 1.5),
    ),
    Feature(
        "late_ratio",
        "log((1 + silence) / (1 + own mean gap))",
        "first and last day, number of gaps",
        "silence in units of the member's own gap",
        (0.0, 1.5),
    ),
    Feature(
        "trend_short",
        "log of the decayed rates 7 to 30",
        "purchase days decayed with half-lives 7 and 30",
        "faster or slower than this month",
        (0.0, 0.5),
    ),
    Feature(
        "trend_long",
        "log of the decayed rates 30 to 90",
        "purchase days decayed with half-lives 30 and 90",
        "faster or slower than this quarter",
        (0.0, 0.5),
    ),
    Feature(
        "late_longest",
        "log((1 + silence) / (1 + max(longest gap, own mean gap)))",
        "the longest gap",
        "longer away than ever before",
        (0.0, 1.5),
    ),
    Feature(
        "own",
        "logit((own churned days + 3 weeks of the base's) / (own days + 3 weeks)), known by now",
        "days beyond 30 in gaps",
        "how often this very member stayed away for a month before",
        (0.0, 1.5),
    ),
    Feature(
        "coupons",
        "log(1 + purchases with a coupon, half-life 30)",
        "decayed count of coupons",
        "bought because of an offer",
        (0.0, 0.5),
    ),
    Feature(
        "spent_90",
        "log(1 + spend in whole units of money, half-life 90)",
        "decayed spend",
        "what the visits of a quarter were worth",
        (4.0, 2.0),
    ),
    Feature(
        "late_squared",
        "late squared",
        "as late",
        "very late is not twice as bad as late",
        (3.0, 3.0),
    ),
    Feature(
        "often_known",
        "log(1 + d30) * log(1 + gaps)",
        "purchase days decayed with half-life 30, number of gaps",
        "how often lately, for who is known well",
        (1.0, 2.0),
    ),
    Feature(
        "often_late",
        "log(1 + d90) * late",
        "as often_90 and late",
        "being late says more of who bought often",
        (0.0, 2.0),
    ),
    Feature(
        "silence_tenure",
        "log(1 + silence) * log(1 + days since the first purchase)",
        "first and last day",
        "silence weighs differently for new and old members",
        (15.0, 8.0),
    ),
    Feature(
        "looked",
        "log(1 + days since the last view)",
        "day of the last view",
        "still comes to look",
        (_LONG_AGO, 2.0),
    ),
    Feature(
        "looks_3",
        "log(1 + views, half-life 3)",
        "decayed views",
        "looks right now",
        (0.0, 0.7),
    ),
    Feature(
        "looks_14",
        "log(1 + views, half-life 14)",
        "decayed views",
        "looks lately",
        (0.0, 1.0),
    ),
    Feature(
        "cart_open",
        "1 if something was put into the cart after the last purchase day",
        "day of the last cart",
        "has something in mind",
        (0.0, 0.4),
    ),
    Feature(
        "looks_trend",
        "log of the decayed rates of views 3 to 30",
        "decayed views",
        "looks more or less than this month",
        (0.0, 1.0),
    ),
    Feature(
        "looked_silence",
        "log(1 + silence); 0 for who never looked",
        "last purchase day, day of the last view",
        "silence of who is seen looking is another silence",
        (0.0, 1.5),
    ),
    Feature(
        "looked_after",
        "log(1 + days from the last purchase to the last view); 0 if there was none since",
        "last purchase day, day of the last view",
        "has come to look since, and how much later",
        (0.0, 1.5),
    ),
    Feature(
        "looked_much",
        "log(1 + days since the last view) * log(1 + views, half-life 14)",
        "day of the last view, decayed views",
        "a pause says more of who looked a lot",
        (0.0, 2.0),
    ),
    Feature(
        "looks_often",
        "log(1 + views, half-life 14) * log(1 + d90)",
        "as looks_14 and often_90",
        "looking says less of who buys often anyway",
        (0.0, 2.0),
    ),
)

SCHEMA = blake2b(msgspec.json.encode(FEATURES), digest_size=8).hexdigest()

_ROOT2 = sqrt(2.0)
# The first so many features change in a known way while a member does nothing; what a member will
# look at is not known.
ROLLING = 15
# Days that a decayed count can hold at most: one purchase a day, for ever.
_SPAN7, _SPAN30, _SPAN90 = 7.0 / log(2.0), 30.0 / log(2.0), 90.0 / log(2.0)
# A lapsed gap has lasted longer than this.
_BEFORE_LAPSE = LAPSE - 1
_NEVER_LOOKED = (_LONG_AGO, *(0.0,) * (len(FEATURES) - ROLLING - 1))


def _of_gaps(gaps: int) -> tuple[float, float, float]:
    """Return what the number of gaps comes to: with two and three of the base's, and its log."""
    return gaps + 2.0, gaps + 3.0, log1p(gaps)


def _of_silence(days: int) -> tuple[float, ...]:
    """Return what silence comes to: what is left of counts; its log, LAPSE later too.

    Half-lives are 7, 14, 30 and 90.
    """
    left = (kept(7, days), kept(14, days), kept(30, days), kept(90, days))
    return (*left, log1p(days), log1p(days + LAPSE))


def _of_tenure(days: int) -> tuple[float, ...]:
    """Return what tenure comes to: the most that counts of half-lives 7, 30, 90 can be; its log."""
    return (
        _SPAN7 * (1.0 - kept(7, days + 1)),
        _SPAN30 * (1.0 - kept(30, days + 1)),
        _SPAN90 * (1.0 - kept(90, days + 1)),
        log1p(days),
    )


def _of_view(days: int) -> tuple[float, ...]:
    """Return what is left of views, half-lives 3, 14 and 30, so long after the last; its log."""
    return kept(3, days), kept(14, days), kept(30, days), log1p(days)


# What follows from one small whole number is looked up: days of four years.
_TABLED = 1461
_GAPS = tuple(map(_of_gaps, range(_TABLED)))
_SILENCE = tuple(map(_of_silence, range(_TABLED)))
_TENURE = tuple(map(_of_tenure, range(_TABLED)))
_VIEW = tuple(map(_of_view, range(_TABLED)))


def log_gap(rhythm: Rhythm, population: Population) -> tuple[float, float]:
    """Return mean and deviation of log(1 + gap): the member's own, shrunk to the base."""
    gaps = rhythm.gaps
    own = rhythm.logs / LOG_UNIT
    mean = (own + 2.0 * population.log_mean) / (gaps + 2.0)
    variance = 0.0
    if gaps:
        variance = max(0.0, rhythm.squares / SQUARE_UNIT - own * own / gaps)
    return mean, sqrt((variance + 3.0 * population.log_variance) / (gaps + 3.0))


def features(rhythm: Rhythm, day: int, population: Population) -> tuple[float, ...]:
    """Return the vector of ``FEATURES`` at the end of ``day``, not before the last purchase day."""
    (rolling,) = rolled(rhythm, (day,), usual(population))
    return rolling + looks(rhythm, day, rolling)


def usual(population: Population) -> tuple[float, ...]:
    """Return what of a population ``rolled`` works with."""
    return (
        2.0 * population.log_mean,
        3.0 * population.log_variance,
        2.0 * population.mean_gap,
        0.5 * population.mean_gap,
        21.0 * population.base,
    )


def rolled(
    rhythm: Rhythm, days: tuple[int, ...], usual: tuple[float, ...]
) -> list[tuple[float, ...]]:
    """Return the first ``ROLLING`` features at the end of each of ``days``.

    ``usual``: that of the population. Several days cost less than each alone: a score looks ahead.
    """
    log_means, log_variances, gap_means, half_gap, base = usual
    first_day = rhythm.first_day
    span = rhythm.span
    gaps = rhythm.gaps
    # The member's own gap, shrunk to the base's (``log_gap``, written out: it is called often).
    own = rhythm.logs / LOG_UNIT
    variance = 0.0
    if gaps:
        variance = rhythm.squares / SQUARE_UNIT - own * own / gaps
        if variance < 0.0:
            variance = 0.0
    few, more, log_gaps = _GAPS[gaps] if gaps < _TABLED else _of_gaps(gaps)
    mean = (own + log_means) / few
    deviation = sqrt((variance + log_variances) / more)
    own_gap = (span + gap_means) / few
    log_own = log_longest = log1p(own_gap)
    if rhythm.longest > own_gap:
        log_longest = log1p(rhythm.longest)
    week = (rhythm.week + UNIT) / UNIT
    fortnight = (rhythm.fortnight + UNIT) / UNIT
    month = (rhythm.month + UNIT) / UNIT
    quarter = (rhythm.quarter + UNIT) / UNIT
    lapsed = rhythm.lapsed
    coupons = rhythm.coupons
    spent = rhythm.spent_lately
    vectors: list[tuple[float, ...]] = []
    for day in days:
        tenure = day - first_day
        silence = tenure - span
        at7, at14, at30, at90, log_silence, log_later = (
            _SILENCE[silence] if silence < _TABLED else _of_silence(silence)
        )
        most7, most30, most90, log_tenure = (
            _TENURE[tenure] if tenure < _TABLED else _of_tenure(tenure)
        )
        late = (log_silence - mean) / deviation
        # The tail beyond 30 days more, given that beyond now.
        beyond = erfc((log_later - mean) / deviation / _ROOT2)
        within = erfc(late / _ROOT2) - beyond
        if beyond <= 0.0:
            overdue = -8.0
        elif within <= 0.0:
            overdue = 8.0
        else:
            overdue = log(beyond / within)
            if overdue > 8.0:
                overdue = 8.0
            elif overdue < -8.0:
                overdue = -8.0
        if late > 6.0:
            late = 6.0
        elif late < -6.0:
            late = -6.0
        # Decayed counts of purchase days now, and what they can at most be since the first one.
        often30 = month * at30
        often90 = quarter * at90
        rate30 = (often30 + 0.5) / (most30 + half_gap)
        log_often = log1p(often90)
        away = lapsed + silence - _BEFORE_LAPSE if silence > _BEFORE_LAPSE else lapsed
        known = tenure - _BEFORE_LAPSE if tenure > _BEFORE_LAPSE else 0
        vectors.append(
            (
                log_often,
                log1p(fortnight * at14),
                overdue,
                late,
                log_silence - log_own,
                log((week * at7 + 0.5) / (most7 + half_gap) / rate30),
                log(rate30 / ((often90 + 0.5) / (most90 + half_gap))),
                log_silence - log_longest,
                log((away + base) / (known - away + 21.0 - base)),
                log1p(coupons / UNIT * at30) if coupons else 0.0,
                log1p(spent / 100.0 * at90) if spent > 0 else 0.0,
                late * late,
                log1p(often30) * log_gaps,
                log_often * late,
                log_silence * log_tenure,
            )
        )
    return vectors


def looks(rhythm: Rhythm, day: int, rolling: tuple[float, ...]) -> tuple[float, ...]:
    """Return the features after the first ``ROLLING``, which are those of the same day."""
    looks = rhythm.looks
    if looks is None:
        return _NEVER_LOOKED
    last_day = rhythm.first_day + rhythm.span
    open_cart = 1.0 if looks.cart_day > last_day else 0.0
    looked = looks.day
    if not looked:
        return (*_NEVER_LOOKED[:3], open_cart, *_NEVER_LOOKED[4:])
    since, silence = day - looked, day - last_day
    at3, at14, at30, log_since = _VIEW[since] if since < _TABLED else _of_view(since)
    short = looks.short / UNIT * at3
    often = log1p(looks.middle / UNIT * at14)
    return (
        log_since,
        log1p(short),
        often,
        open_cart,
        log((short / 3.0 + 0.02) / (looks.long / UNIT * at30 / 30.0 + 0.02)),
        log1p(silence),
        log1p(looked - last_day) if looked > last_day else 0.0,
        log_since * often,
        often * rolling[0],
    )
