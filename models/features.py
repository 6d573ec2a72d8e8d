"""What the churn models look at: declared, hashed, and worked out from a rhythm in microseconds.

A feature is a function of the member's rhythm, a day and what is usual in the base, at the *end* of
that day. The day may lie ahead of the last event: the features of a member who stays away.
"""

from hashlib import blake2b
from math import erfc, log, log1p, sqrt

import msgspec

from models.rhythm import KEEP, LAPSE, LOG_UNIT, SQUARE_UNIT, UNIT, Looks, Rhythm, kept


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
)

SCHEMA = blake2b(msgspec.json.encode(FEATURES), digest_size=8).hexdigest()

_ROOT2 = sqrt(2.0)
_KEEP7, _KEEP14, _KEEP30, _KEEP90 = KEEP[7], KEEP[14], KEEP[30], KEEP[90]
# Days that a decayed count can hold at most: one purchase a day, for ever.
_SPAN7, _SPAN30, _SPAN90 = 7.0 / log(2.0), 30.0 / log(2.0), 90.0 / log(2.0)
_NEVER_LOOKED = (_LONG_AGO, 0.0, 0.0, 0.0, 0.0)
# The first so many features change in a known way while a member does nothing; what a member will
# look at is not known.
ROLLING = 15


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
    span = rhythm.span
    gaps = rhythm.gaps
    tenure = day - rhythm.first_day
    silence = tenure - span
    log_silence = log1p(silence)
    # The member's own gap, shrunk to the base's (``log_gap``, written out: it is called often).
    own = rhythm.logs / LOG_UNIT
    variance = 0.0
    if gaps:
        variance = rhythm.squares / SQUARE_UNIT - own * own / gaps
        if variance < 0.0:
            variance = 0.0
    mean = (own + 2.0 * population.log_mean) / (gaps + 2.0)
    deviation = sqrt((variance + 3.0 * population.log_variance) / (gaps + 3.0))
    late = (log_silence - mean) / deviation
    mean_gap = population.mean_gap
    usual = (span + 2.0 * mean_gap) / (gaps + 2.0)
    longest = rhythm.longest
    # Decayed counts of purchase days now, and what they can at most be since the first one.
    at7 = _KEEP7[silence if silence < 112 else 112]
    at30 = _KEEP30[silence if silence < 480 else 480]
    at90 = _KEEP90[silence if silence < 1440 else 1440]
    days = tenure + 1
    rate7 = ((rhythm.week + UNIT) / UNIT * at7 + 0.5) / (
        _SPAN7 * (1.0 - _KEEP7[days if days < 112 else 112]) + 0.5 * mean_gap
    )
    often30 = (rhythm.month + UNIT) / UNIT * at30
    rate30 = (often30 + 0.5) / (
        _SPAN30 * (1.0 - _KEEP30[days if days < 480 else 480]) + 0.5 * mean_gap
    )
    often90 = (rhythm.quarter + UNIT) / UNIT * at90
    rate90 = (often90 + 0.5) / (
        _SPAN90 * (1.0 - _KEEP90[days if days < 1440 else 1440]) + 0.5 * mean_gap
    )
    away = rhythm.lapsed + (silence - LAPSE + 1 if silence >= LAPSE else 0)
    known = tenure - LAPSE + 1 if tenure >= LAPSE else 0
    base = 21.0 * population.base
    log_often = log1p(often90)
    clipped = late if -6.0 < late < 6.0 else (6.0 if late > 0.0 else -6.0)
    spent = rhythm.spent_lately
    rolling = (
        log_often,
        log1p((rhythm.fortnight + UNIT) / UNIT * _KEEP14[silence if silence < 224 else 224]),
        _overdue(late, (log1p(silence + LAPSE) - mean) / deviation),
        clipped,
        log_silence - log1p(usual),
        log(rate7 / rate30),
        log(rate30 / rate90),
        log_silence - log1p(longest if longest > usual else usual),
        log((away + base) / (known - away + 21.0 - base)),
        log1p(rhythm.coupons / UNIT * at30) if rhythm.coupons else 0.0,
        log1p(spent / 100.0 * at90) if spent > 0 else 0.0,
        clipped * clipped,
        log1p(often30) * log1p(gaps),
        log_often * clipped,
        log_silence * log1p(tenure),
    )
    looks = rhythm.looks
    return rolling + (_NEVER_LOOKED if looks is None else _looking(looks, day, rhythm))


def _overdue(late: float, later: float) -> float:
    """Return the logit of the tail beyond ``later`` given that beyond ``late``, within 8."""
    beyond = erfc(later / _ROOT2)
    within = erfc(late / _ROOT2) - beyond
    if beyond <= 0.0:
        return -8.0
    if within <= 0.0:
        return 8.0
    logit = log(beyond / within)
    return logit if -8.0 < logit < 8.0 else (8.0 if logit > 0.0 else -8.0)


def _looking(looks: Looks, day: int, rhythm: Rhythm) -> tuple[float, ...]:
    open_cart = 1.0 if looks.cart_day > rhythm.first_day + rhythm.span else 0.0
    if not looks.day:
        return (*_NEVER_LOOKED[:3], open_cart, 0.0)
    since = day - looks.day
    short = looks.short / UNIT * kept(3, since)
    at_month = looks.long / UNIT * kept(30, since)
    return (
        log1p(since),
        log1p(short),
        log1p(looks.middle / UNIT * kept(14, since)),
        open_cart,
        log((short / 3.0 + 0.02) / (at_month / 30.0 + 0.02)),
    )
