"""Why a member's churn score is high or low, as a person says it.

Features that say the same thing in several ways (how late a member is, how often one buys) pull at
each other within a model; what they say together is one reason. A reason is only given when it is
true of the member in plain words, whatever the weights have made of it.
"""

from collections.abc import Callable, Iterable, Mapping
from math import fsum
from typing import NamedTuple, TypeAlias

from msgspec.structs import replace

from models.churn import Scorer
from models.features import FEATURES, OF_CHURN, Population, features
from models.next_order import usual
from models.rhythm import Rhythm

Values: TypeAlias = Mapping[str, float]
"""Feature -> its value, less the mean of the base."""


class Member(NamedTuple):
    """What a reason is checked against."""

    rhythm: Rhythm
    day: int
    population: Population
    above: Values


class Code(NamedTuple):
    """A reason: its features, its words for a risk raised and lowered, and when they hold."""

    features: tuple[str, ...]
    raises: tuple[str, str]
    lowers: tuple[str, str]
    is_raised: Callable[[Member], bool]
    is_lowered: Callable[[Member], bool]


def _is_late(member: Member) -> bool:
    silence = member.day - member.rhythm.last_day
    return silence > usual(member.rhythm, member.population).median


def _is_above(feature: str) -> Callable[[Member], bool]:
    return lambda member: member.above[feature] > 0


def _is_below(feature: str) -> Callable[[Member], bool]:
    return lambda member: member.above[feature] < 0


CODES: dict[str, Code] = {
    "silence": Code(
        (
            *("overdue", "late", "late_squared", "late_trend", "often_late"),
            *("silence_tenure", "looked_silence", "seen_late", "seen_late_squared"),
        ),
        ("silent for longer than usual for this member", "沉默时间超过该会员的平常间隔"),
        ("bought not long ago, for this member", "就该会员而言,不久前刚购买"),
        _is_late,
        lambda member: not _is_late(member),
    ),
    "frequency": Code(
        ("often_90", "often_known"),
        ("has bought less often than most lately", "近期购买少于多数会员"),
        ("has bought more often than most lately", "近期购买多于多数会员"),
        _is_below("often_90"),
        _is_above("often_90"),
    ),
    "trend": Code(
        ("trend_short", "trend_long"),
        ("buys less than before", "购买比以前少"),
        ("buys more than before", "购买比以前多"),
        _is_below("trend_long"),
        _is_above("trend_long"),
    ),
    "habit": Code(
        ("own",),
        ("has stayed away for so long before", "以往也曾久未购买"),
        ("has never stayed away for so long", "以往从未如此久未购买"),
        lambda member: member.rhythm.lapsed > 0,
        lambda member: member.rhythm.gaps > 1 and member.rhythm.lapsed == 0,
    ),
    "offers": Code(
        ("coupons",),
        ("bought because of offers", "因优惠而购买"),
        ("answers to offers", "对优惠有反应"),
        lambda member: member.rhythm.coupons > 0,
        lambda member: member.rhythm.coupons > 0,
    ),
    "money": Code(
        ("spent_90",),
        ("has spent less than most lately", "近期消费少于多数会员"),
        ("has spent more than most lately", "近期消费多于多数会员"),
        _is_below("spent_90"),
        _is_above("spent_90"),
    ),
    "interest": Code(
        (
            *("looked", "looks_14", "looks_trend", "looks_trending", "cart_open"),
            *("looked_after", "looked_after_often", "looked_much", "looks_often"),
            *("looks_late", "looks_buying"),
        ),
        ("comes to look less than most", "浏览少于多数会员"),
        ("comes to look more than most", "浏览多于多数会员"),
        _is_below("looks_14"),
        _is_above("looks_14"),
    ),
}


class Because(NamedTuple):
    """One reason: its code, the log odds that it adds to the usual, and its words."""

    code: str
    log_odds: float
    english: str
    chinese: str


def among(scorer: Scorer, rhythms: Iterable[Rhythm], day: int) -> Scorer:
    """Return a scorer whose reasons (and nothing else) are measured from the mean of members.

    Without it they are measured from everybody, also from who has been gone for years, beside whom
    each member who still buys looks safe. The same scorer while nothing is learned.
    """
    churn = scorer.churn
    if churn.direct is None:
        return scorer
    vectors = [features(rhythm, day, churn.population)[:OF_CHURN] for rhythm in rhythms]
    if not vectors:
        return scorer
    means = tuple(fsum(column) / len(vectors) for column in zip(*vectors, strict=True))
    return Scorer(replace(churn, direct=replace(churn.direct, means=means)))


def because(scorer: Scorer, rhythm: Rhythm, day: int, most: int = 3) -> tuple[Because, ...]:
    """Return what moved a member's score most at the end of ``day``, the strongest first.

    Measured from the mean of the base (see ``among``); empty while nothing is learned.
    """
    direct = scorer.churn.direct
    if direct is None:
        return ()
    population = scorer.churn.population
    x = features(rhythm, day, population)[:OF_CHURN]
    seen = zip(FEATURES[:OF_CHURN], x, direct.means, strict=True)
    above = {feature.name: value - mean for feature, value, mean in seen}
    member = Member(rhythm, day, population, above)
    moved = dict(scorer.reasons(rhythm, day, OF_CHURN))
    together = {code: sum(moved.get(name, 0.0) for name in CODES[code].features) for code in CODES}
    ranked = sorted(together.items(), key=lambda one: (-abs(one[1]), one[0]))
    told = [(code, log_odds) for code, log_odds in ranked if _holds(CODES[code], log_odds, member)]
    return tuple(Because(code, odds, *_words(CODES[code], odds)) for code, odds in told[:most])


def _holds(code: Code, log_odds: float, member: Member) -> bool:
    if log_odds == 0:
        return False
    return code.is_raised(member) if log_odds > 0 else code.is_lowered(member)


def _words(code: Code, log_odds: float) -> tuple[str, str]:
    return code.raises if log_odds > 0 else code.lowers
