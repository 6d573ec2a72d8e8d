"""Rules, requirements and reasons in words, as marketers read them."""

import re

import pytest

from config.vocabulary import FACTS
from models.rules import (
    Absence,
    ActivityDrop,
    BandEntered,
    BirthdayKnown,
    Condition,
    Count,
    Crosses,
    EventHappens,
    EventsAre,
    If,
    IsIn,
    LastWas,
    LateForMember,
    Marked,
    OrdersAre,
    OrdersAtLeast,
    Pattern,
    PointsAre,
    Reachable,
    Reentry,
    Requirement,
    Rule,
    Sequence,
    Series,
    SpendIs,
    StageEntered,
    StageLeft,
    Sum,
    TierEntered,
    When,
)
from models.times import DAY, HOUR
from models.wording import described, required, sentence

NOON = 1_767_268_800_000
VIEW, CART, BUY = Pattern("view_item"), Pattern("add_to_cart"), Pattern("purchase")
TEA = Pattern("view_item", (Condition("category", "in", ("tea", "coffee")),))
LARGE = Pattern("purchase", (Condition("total", "at_least", (100.0,)),))
ABSENCE = Absence((VIEW,), (Pattern("purchase", same="item_id"), CART), 2 * HOUR, "item_id")


def test_every_event_has_words() -> None:
    for name in FACTS:
        it = rule(EventHappens(Pattern(name)))
        assert re.search(r"[\u4e00-\u9fff]", described(it, chinese=True)), name
        assert "_" not in described(it, chinese=False), name


def rule(when: When, unless: OrdersAtLeast | None = None, condition: If | None = None) -> Rule:
    return Rule(
        name="it",
        version=1,
        about="A rule.",
        when=when,
        reentry=Reentry("always"),
        expires_after=DAY,
        priority=50,
        unless=unless,
        condition=condition,
    )


@pytest.mark.parametrize(
    ("when", "english", "chinese"),
    [
        (EventHappens(LARGE), "bought (total ≥ 100)", "下单(金额 ≥ 100)"),
        (
            ABSENCE,
            "viewed an item, then in 2h has not bought or added to the cart (same item_id)",
            "浏览商品后 2 小时内没有下单或加入购物车(同一商品)",
        ),
        (StageEntered("silent"), "became silent", "进入沉默阶段"),
        (StageLeft("active"), "is no longer active", "离开活跃阶段"),
        (BandEntered("high"), "entered the high band", "进入高频段"),
        (TierEntered("gold"), "reached the tier gold", "成为 gold 等级"),
        (
            Count((TEA,), 3, DAY, "item_id"),
            "viewed an item (category = tea / coffee) 3 times in 1d (same item_id)",
            "1 天内浏览商品(品类 = tea / coffee)达 3 次(同一商品)",
        ),
        (
            Sum((BUY,), "total", 500, 30 * DAY),
            "bought and reached a total of 500 in 30d",
            "30 天内下单的金额累计达 500",
        ),
        (
            Sequence(((VIEW,), (CART, BUY)), 7 * DAY),
            "viewed an item, then added to the cart or bought in 7d",
            "7 天内依次浏览商品、加入购物车或下单",
        ),
        (
            Crosses("points", 1000, 800, dwell=DAY),
            "the points reached 1000 for 1d",
            "积分达到 1000 并保持 1 天",
        ),
        (
            Crosses("orders", 3, 5, upward=False, within=365 * DAY),
            "the orders in 365d fell below 3",
            "365 天内的订单数低于 3",
        ),
        (
            Series((Pattern("register"),), (BUY,), (DAY, 3 * DAY)),
            "registered: 1d, 3d later, until bought",
            "注册后 1 天、3 天各一步,直到下单",
        ),
        (
            ActivityDrop(0.3, 14 * DAY),
            "activity below 30% of the usual for 14d",
            "活跃度低于平时的 30% 达 14 天",
        ),
        (
            LateForMember((BUY,), 90, 30 * DAY, 60 * DAY),
            "no purchase for the 90th percentile of the member's own gaps (60d below three)",
            "距上次下单超过其自身间隔的 90 分位(少于三单:60 天)",
        ),
    ],
)
def test_a_condition_is_described(when: When, english: str, chinese: str) -> None:
    assert described(rule(when), chinese=False) == english
    assert described(rule(when), chinese=True) == chinese


def test_exceptions_and_state_conditions_are_described_too() -> None:
    wanted = If(
        (IsIn("stage", ("new",)), BirthdayKnown(True)),
        ((IsIn("tier", ("gold",)), PointsAre(5, None)), (Reachable(("sms",)),)),
        ((EventsAre("share", 1, None),),),
    )
    it = rule(StageEntered("active"), OrdersAtLeast(1, 7 * DAY), wanted)
    assert described(it, chinese=False) == (
        "became active, unless there was 1 order in the 7d before, if the stage is new,"
        " the birthday is known, the tier is gold and points ≥ 5 or reachable by sms,"
        " not: times shared something ≥ 1"
    )
    assert described(it, chinese=True) == (
        "进入活跃阶段,除非 7 天内有 1 单,且阶段为 新客,已知生日,"
        "等级为 gold 且积分 ≥ 5 或可通过短信触达,并非分享次数 ≥ 1"
    )
    ever = rule(StageEntered("active"), OrdersAtLeast(2, 3650 * DAY))
    assert described(ever, chinese=False) == "became active, unless there were 2 orders"


@pytest.mark.parametrize(
    ("wanted", "english", "chinese"),
    [
        (OrdersAre(1, 3, 30 * DAY), "orders in 30d ≥ 1 and < 3", "30 天内订单数 ≥ 1 且 < 3"),
        (SpendIs(500, None), "spend ≥ 500", "消费金额 ≥ 500"),
        (EventsAre("review", 1, None), "times wrote a review ≥ 1", "发表评价次数 ≥ 1"),
        (PointsAre(None, 5), "points < 5", "积分 < 5"),
        (IsIn("source", ("web",)), "the source of the registration is web", "注册来源为 web"),
        (
            LastWas("last_order", 30 * DAY, 90 * DAY),
            "the last order was at least 30d ago and less than 90d ago",
            "最近一次下单在至少 30 天前且不到 90 天前",
        ),
        (Reachable(("sms", "email")), "reachable by sms or email", "可通过短信或邮件触达"),
        (BirthdayKnown(False), "the birthday is not known", "生日未知"),
        (Marked("segment", ("vip",)), "in segment vip", "分群 vip"),
        (Marked("tag", ("a", "b")), "tagged a or b", "标签 a 或 b"),
    ],
)
def test_a_requirement_is_put_into_words(wanted: Requirement, english: str, chinese: str) -> None:
    assert (required(wanted, False), required(wanted, True)) == (english, chinese)


@pytest.mark.parametrize(
    ("when", "key", "english", "chinese"),
    [
        (
            ABSENCE,
            "tea",
            "The member viewed an item (tea) at 2026-01-01 12:00 UTC and has neither bought, nor"
            " added to the cart within 2h.",
            "会员于 2026-01-01 12:00 UTC 浏览商品 (tea),此后 2h 内没有下单、加入购物车。",
        ),
        (
            Sum((VIEW,), "price", 500, 30 * DAY),
            "",
            "The member viewed an item at 2026-01-01 12:00 UTC, and so reached a price of 500"
            " within 30d.",
            "会员于 2026-01-01 12:00 UTC 浏览商品,30d 内 price 累计达 500。",
        ),
        (
            Series((VIEW,), (BUY,), (DAY, 3 * DAY)),
            "",
            "The member viewed an item at 2026-01-01 12:00 UTC; this is step 2 of 2, 3d later.",
            "会员于 2026-01-01 12:00 UTC 浏览商品,现为第 2 步(共 2 步)。",
        ),
        (
            Crosses("spend", 500, 400, within=30 * DAY, dwell=DAY),
            "",
            "The member's spend of 30d reached 500 at 2026-01-01 12:00 UTC and stayed for 1d.",
            "会员 30d 内的消费金额于 2026-01-01 12:00 UTC 达到 500,并保持 1d。",
        ),
        (
            ActivityDrop(0.3, 14 * DAY),
            "",
            "The member's activity has been below 30% of the usual since 2026-01-01 12:00 UTC,"
            " for 14d.",
            "会员的活跃度自 2026-01-01 12:00 UTC 起低于平时的 30%,已持续 14d。",
        ),
        (
            LateForMember((VIEW,), 90, DAY, DAY),
            "",
            "The member viewed an item last at 2026-01-01 12:00 UTC, and the next time was to be"
            " expected by now.",
            "会员上次于 2026-01-01 12:00 UTC 浏览商品,下一次早该到来。",
        ),
        (
            StageLeft("active"),
            "",
            "The member was no longer active at 2026-01-01 12:00 UTC: quiet.",
            "会员于 2026-01-01 12:00 UTC 离开活跃阶段。",
        ),
    ],
)
def test_a_reason_is_one_sentence(when: When, key: str, english: str, chinese: str) -> None:
    for locale, wanted in (("en", english), ("fr-FR", english), ("zh-CN", chinese)):
        assert sentence(rule(when), locale, NOON, "view_item", key, "quiet", 2) == wanted
