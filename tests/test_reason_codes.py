"""Reasons are measured from those beside whom a member is looked at."""

from models.churn import Blend, Churn, Scorer
from models.features import FEATURES, OF_CHURN, Population
from models.logistic import Logistic
from models.reason_codes import among, because
from models.rhythm import Rhythm, bought

NAMES = [feature.name for feature in FEATURES[:OF_CHURN]]
TODAY = 20_100


def scorer_of(**weights: float) -> Scorer:
    means, ones = (0.0,) * len(NAMES), (1.0,) * len(NAMES)
    direct = Logistic(1000, means, ones, tuple(weights.get(name, 0.0) for name in NAMES), 0.0)
    return Scorer(Churn(30, Population(), direct, None, None, Blend(1.0, 0.0, 0.0)))


def every(gap: int) -> Rhythm:
    found = bought(None, TODAY - 90, 1000)
    for day in range(TODAY - 90 + gap, TODAY, gap):
        found = bought(found, day, 1000)
    return found


def test_who_buys_less_often_than_those_who_still_buy_is_told_so() -> None:
    scorer, seldom = scorer_of(often_90=-1.0), every(40)
    beside_all = because(scorer, seldom, TODAY)
    assert [one.english for one in beside_all] == ["has bought more often than most lately"]
    beside_active = because(among(scorer, [every(3), every(5)], TODAY), seldom, TODAY)
    assert [one.english for one in beside_active] == ["has bought less often than most lately"]
    assert beside_active[0].log_odds > 0 > beside_all[0].log_odds


def test_beside_themselves_nobody_has_a_reason() -> None:
    scorer = scorer_of(often_90=-1.0, late=1.0)
    assert because(among(scorer, [every(7)], TODAY), every(7), TODAY) == ()


def test_while_nothing_is_learned_there_is_nothing_to_measure() -> None:
    nothing = Scorer(Churn(30, Population(), None, None, None, Blend(1.0, 0.0, 0.0)))
    assert among(nothing, [every(7)], TODAY) is nothing
    scorer = scorer_of(often_90=-1.0)
    assert among(scorer, [], TODAY) is scorer
