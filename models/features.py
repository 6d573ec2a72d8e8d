"""What the churn models look at: declared, hashed, and worked out from a rhythm in microseconds.

A feature is a function of the member's rhythm, a day and what is usual in the base, at the *end* of
that day. The day may lie ahead of the last event: the features of a member who stays away.
"""

from hashlib import blake2b
from math import erfc, log, log1p, sqrt
from typing import Any

import msgspec

from models.fusing import Fused, Table
from models.logistic import Unsaid
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
        "late_trend",
        "late * trend_short",
        "as late and trend_short",
        "being late says another thing of who has just bought much",
        (0.0, 1.0),
    ),
    Feature(
        "looked",
        "log(1 + days since the last view)",
        "day of the last view",
        "still comes to look",
        (_LONG_AGO, 2.0),
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
        "seen_late",
        "late, with the days since the last view or purchase for silence; 0 for who never looked",
        "as late, day of the last view",
        "how unusual it is for this member not to be seen at all",
        (0.0, 1.5),
    ),
    Feature(
        "seen_late_squared",
        "seen_late squared",
        "as seen_late",
        "very late is not twice as bad as late",
        (0.0, 3.0),
    ),
    Feature(
        "looks_often",
        "looks_14 * often_90",
        "as looks_14 and often_90",
        "looking says less of who buys often anyway",
        (0.0, 2.0),
    ),
    Feature(
        "looks_trending",
        "looks_14 * looks_trend",
        "decayed views",
        "a trend says more of who looks a lot",
        (0.0, 1.5),
    ),
    Feature(
        "looks_late",
        "looks_14 * seen_late",
        "as looks_14 and seen_late",
        "a pause that is unusual says more of who looks a lot",
        (0.0, 1.5),
    ),
    Feature(
        "looks_buying",
        "looks_14 * trend_short",
        "as looks_14 and trend_short",
        "looks more and buys less, or the other way round",
        (0.0, 0.7),
    ),
    Feature(
        "looked_after_often",
        "looked_after * often_90",
        "as looked_after and often_90",
        "coming to look again says less of who buys often anyway",
        (0.0, 1.5),
    ),
    Feature(
        "often_14",
        "log(1 + d14)",
        "purchase days decayed with half-life 14",
        "how often, lately",
        (0.5, 0.5),
    ),
    Feature(
        "late_ratio",
        "log((1 + silence) / (1 + own mean gap))",
        "first and last day, number of gaps",
        "silence in units of the member's own gap",
        (0.0, 1.5),
    ),
    Feature(
        "late_longest",
        "log((1 + silence) / (1 + max(longest gap, own mean gap)))",
        "the longest gap",
        "longer away than ever before",
        (0.0, 1.5),
    ),
)

SCHEMA = blake2b(msgspec.json.encode(FEATURES), digest_size=8).hexdigest()

# The first so many features change in a known way while a member does nothing; what a member will
# look at is not known.
ROLLING = 13
# So many are what churn is told from; the others are the value model's alone.
OF_CHURN = 27
# Days that a decayed count can hold at most: one purchase a day, for ever.
_SPAN7, _SPAN30, _SPAN90 = 7.0 / log(2.0), 30.0 / log(2.0), 90.0 / log(2.0)


def _of_gaps(gaps: int) -> tuple[float, ...]:
    """Return what the number of gaps comes to: with two and three of the base's, and its log."""
    return float(gaps), gaps + 2.0, gaps + 3.0, log1p(gaps)


def _of_silence(days: int) -> tuple[float, ...]:
    """Return what silence comes to: what is left of counts; its log, LAPSE later too.

    Half-lives are 7, 14, 30 and 90.
    """
    left = (kept(7, days), kept(14, days), kept(30, days), kept(90, days))
    return (*left, log1p(days), log1p(days + LAPSE), float(max(0, days - LAPSE + 1)))


def _of_tenure(days: int) -> tuple[float, ...]:
    """Return what tenure comes to: the most that counts of half-lives 7, 30, 90 can be; its log."""
    return (
        _SPAN7 * (1.0 - kept(7, days + 1)),
        _SPAN30 * (1.0 - kept(30, days + 1)),
        _SPAN90 * (1.0 - kept(90, days + 1)),
        log1p(days),
        float(days),
        max(0, days - LAPSE + 1) + 21.0,
    )


def _of_view(days: int) -> tuple[float, ...]:
    """Return what is left of a ``UNIT`` of views, half-lives 3, 14, 30, after ``days``; its log."""
    return kept(3, days) / UNIT, kept(14, days) / UNIT, kept(30, days) / UNIT, log1p(days)


def _of_count(count: int) -> float:
    """Return a decayed count of purchase days in days, with the last one itself."""
    return (count + UNIT) / UNIT


# What follows from one small whole number is looked up: days of four years, and what is counted of
# who buys each day for ever.
DAYS = 1461
TABLES: dict[str, Table] = {
    "GAPS": Table(_of_gaps, DAYS),
    "SILENCE": Table(_of_silence, DAYS),
    "TENURE": Table(_of_tenure, DAYS),
    "VIEW": Table(_of_view, DAYS),
    "LAPSED": Table(float, DAYS),
    "COUNT": Table(_of_count, int(_SPAN90 * UNIT) + UNIT),
}

KNOWN: dict[str, Any] = {
    **{"erfc": erfc, "log": log, "log1p": log1p, "sqrt": sqrt, "ROOT2": sqrt(2.0)},
    **{"UNIT": UNIT, "LOG_UNIT": LOG_UNIT, "SQUARE_UNIT": SQUARE_UNIT, "LONG_AGO": _LONG_AGO},
}
"""What the formulas name beside ``TABLES``, a ``rhythm``, a ``day`` and what is ``USUAL``."""

USUAL = ("log_means", "log_variances", "gap_means", "half_gap", "base_days")
"""Names of what of a population the steps work with; ``usual`` gives it."""

# What is so of a member on any day.
MEMBER = """
first_day = rhythm.first_day
span = rhythm.span
last_day = first_day + span
gaps = rhythm.gaps
many, few, more, log_gaps = GAPS[gaps]
# The member's own gap, shrunk to the base's.
own_logs = rhythm.logs / LOG_UNIT
spread = rhythm.squares / SQUARE_UNIT - own_logs * own_logs / many if gaps else 0.0
variance = spread if spread > 0.0 else 0.0
mean = (own_logs + log_means) / few
deviation = sqrt((variance + log_variances) / more)
own_gap = (span + gap_means) / few
log_own = log1p(own_gap)
log_longest = log1p(rhythm.longest) if rhythm.longest > own_gap else log_own
week = COUNT[rhythm.week]
fortnight = COUNT[rhythm.fortnight]
month = COUNT[rhythm.month]
quarter = COUNT[rhythm.quarter]
lapsed = LAPSED[rhythm.lapsed]
with_coupon = rhythm.coupons != 0
spent = rhythm.spent_lately / 100
"""

# The rolling features at the end of ``day``.
DAY = """
tenure = day - first_day
silence = day - last_day
at7, at14, at30, at90, log_silence, log_later, over = SILENCE[silence]
most7, most30, most90, log_tenure, age, known_days = TENURE[tenure]
# Decayed counts of purchase days now, beside what they can at most be since the first one.
often30 = month * at30
often90 = quarter * at90
rate30 = (often30 + 0.5) / (most30 + half_gap)
often_90 = log1p(often90)
often_14 = log1p(fortnight * at14)
unusual = (log_silence - mean) / deviation
late = 6.0 if unusual > 6.0 else -6.0 if unusual < -6.0 else unusual
# The tail beyond 30 days more, given that beyond now.
beyond = erfc((log_later - mean) / deviation / ROOT2)
within = erfc(unusual / ROOT2) - beyond
odds = -8.0 if beyond <= 0.0 else 8.0 if within <= 0.0 else log(beyond / within)
overdue = 8.0 if odds > 8.0 else -8.0 if odds < -8.0 else odds
late_ratio = log_silence - log_own
trend_short = log((week * at7 + 0.5) / (most7 + half_gap) / rate30)
trend_long = log(rate30 / ((often90 + 0.5) / (most90 + half_gap)))
late_longest = log_silence - log_longest
away = lapsed + over
own = log((away + base_days) / (known_days - away - base_days))
coupons = log1p(rhythm.coupons / UNIT * at30) if with_coupon else 0.0
spent_90 = log1p(spent * at90) if spent > 0.0 else 0.0
late_squared = late * late
often_known = log1p(often30) * log_gaps
often_late = often_90 * late
late_trend = late * trend_short
silence_tenure = log_silence * log_tenure
"""

# What is told of looks at the end of ``day``.
VIEWS = """
looks = rhythm.looks
cart_open = 1.0 if looks is not None and looks.cart_day > last_day else 0.0
seen = looks is not None and looks.day != 0
if seen:
    since = day - looks.day
    left3, left14, left30, looked = VIEW[since]
    looks_14 = log1p(left14 * looks.middle)
    looks_trend = log((left3 * looks.short / 3.0 + 0.02) / (left30 * looks.long / 30.0 + 0.02))
    looked_silence = log_silence
    looked_much = looked * looks_14
    if silence > since:
        looked_after = log1p(silence - since)
        unseen = (looked - mean) / deviation
        seen_late = 6.0 if unseen > 6.0 else -6.0 if unseen < -6.0 else unseen
    else:
        looked_after = 0.0
        seen_late = late
    seen_late_squared = seen_late * seen_late
    looks_often = looks_14 * often_90
    looks_trending = looks_14 * looks_trend
    looks_late = looks_14 * seen_late
    looks_buying = looks_14 * trend_short
    looked_after_often = looked_after * often_90
else:
    looked = LONG_AGO
    looks_14 = looks_trend = looked_silence = looked_after = looked_much = 0.0
    seen_late = seen_late_squared = 0.0
    looks_often = looks_trending = looks_late = looks_buying = looked_after_often = 0.0
"""

# What a model makes of a feature that says nothing is a number, and need not be worked out.
UNSAID: Unsaid = {
    "coupons": ("with_coupon", 0.0),
    "looked": ("seen", _LONG_AGO),
    "cart_open": ("cart_open", 0.0),
    **dict.fromkeys(
        (
            *("looks_14", "looks_trend", "looked_silence", "looked_after", "looked_much"),
            *("seen_late", "seen_late_squared", "looks_often", "looks_trending", "looks_late"),
            *("looks_buying", "looked_after_often"),
        ),
        ("seen", 0.0),
    ),
}


def _fused(*wanted: str) -> Any:
    arguments = ("rhythm", "day", *USUAL)
    return Fused(arguments, MEMBER + DAY + VIEWS, wanted, KNOWN, TABLES).given({})


_features = _fused(*(feature.name for feature in FEATURES))
_log_gap = _fused("mean", "deviation")


def log_gap(rhythm: Rhythm, population: Population) -> tuple[float, float]:
    """Return mean and deviation of log(1 + gap): the member's own, shrunk to the base."""
    found: tuple[float, float] = _log_gap(rhythm, 0, *usual(population))
    return found


def features(rhythm: Rhythm, day: int, population: Population) -> tuple[float, ...]:
    """Return the vector of ``FEATURES`` at the end of ``day``, not before the last purchase day."""
    found: tuple[float, ...] = _features(rhythm, day, *usual(population))
    return found


def usual(population: Population) -> tuple[float, ...]:
    """Return the numbers that ``USUAL`` names."""
    return (
        2.0 * population.log_mean,
        3.0 * population.log_variance,
        2.0 * population.mean_gap,
        0.5 * population.mean_gap,
        21.0 * population.base,
    )
