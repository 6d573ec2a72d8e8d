"""What records say in one language is told in Chinese, too, as far as there are words for it."""

import re
from collections.abc import Iterable
from typing import Any

import pytest
from core_builders import DAY, HOUR, MINUTE, NOON
from policy_kit import living, on

from app.options import book_of
from config.paths import load_config
from config.settings import load_settings
from models.retelling import Retelling
from models.rulebook import RuleBook
from models.rules import Limits
from models.times import parse_instant
from models.triggers import Trigger

HAN = re.compile(r"[\u4e00-\u9fff]")
ENGLISH = re.compile(r"\b(the|is|was|has|for|until|at|of|and|no|not|by) ", re.IGNORECASE)
SHIPPED = book_of(None, load_settings({}))

VISIT = {"event": "visit"}
OFTEN: dict[str, Any] = {"per": "member", "every": "1s"}


def rule(name: str, when: dict[str, Any]) -> dict[str, Any]:
    return {"rule": name, "when": when, "reentry": OFTEN, "expires_after": "3d"}


RULES = (
    on("visit", "hello", reentry=OFTEN),
    rule(
        "waits",
        {
            "absence": {
                "after": {"event": "view_item"},
                "of": {"event": "purchase", "same": "item_id"},
                "within": "1h",
            }
        },
    ),
    rule("twice", {"count": {"of": VISIT, "at_least": 2, "within": "1d"}}),
    rule(
        "of_one",
        {"count": {"of": {"event": "view_item"}, "at_least": 2, "within": "1d", "same": "item_id"}},
    ),
    rule("spent", {"crosses": {"number": "spend", "at_least": 20, "within": "28d"}}),
    rule("joined", {"stage_entered": "new"}),
    rule("later", {"series": {"after": "visit", "steps": ["1h", "2h"], "until": "purchase"}}),
    rule("golden", {"tier_entered": "gold"}),
)


def life(locale: str) -> Any:
    one = living({}, *RULES, locale=locale)
    one.sees("register", NOON)
    for hours in (0, 1):
        one.sees("visit", NOON + hours * HOUR)
        one.sees("view_item", NOON + hours * HOUR + MINUTE, item_id="tea")
    one.sees("tier", NOON + HOUR + 2 * MINUTE, tier="gold")
    one.sees("purchase", NOON + 3 * HOUR, order_id="o1", total=25.0)
    one.reaches(NOON + 2 * DAY)
    return one


def retold(one: Any, triggers: Iterable[Trigger]) -> list[tuple[str, str, str | None]]:
    retelling = Retelling(one.book)
    return [
        (
            said.rule,
            *retelling.trigger(
                said.rule, said.rule_version, parse_instant(said.due_at), said.occasion, said.reason
            ),
        )
        for said in triggers
    ]


def test_a_trigger_is_told_in_both_languages_whichever_its_member_reads() -> None:
    english, chinese = life("en"), life("zh-CN")
    both = [
        (one.rule, one.reason.text, other.reason.text)
        for one, other in zip(english.triggers, chinese.triggers, strict=True)
    ]
    assert {name for name, *_ in both} == {one["rule"] for one in RULES}
    assert all(HAN.search(text) and not HAN.search(said) for _, said, text in both)
    assert retold(english, english.triggers) == both
    # Why a stage was entered is not kept, so the English of it says less.
    less = ": registered"
    assert retold(chinese, chinese.triggers) == [
        (name, said.replace(less, ""), text) for name, said, text in both
    ]


def test_what_another_version_of_the_rule_said_stands() -> None:
    one = life("en")
    said = one.triggers[0]
    retelling = Retelling(one.book)
    about = parse_instant(said.due_at), said.occasion, said.reason
    assert retelling.trigger(said.rule, said.rule_version, *about)[1]
    assert retelling.trigger(said.rule, said.rule_version + 1, *about) == (said.reason.text, None)
    assert retelling.trigger("gone", 1, *about) == (said.reason.text, None)


def test_why_a_stage_a_band_or_a_segment_changed_is_retold_as_the_shop_says_it() -> None:
    retelling = Retelling(SHIPPED)
    assert retelling.move("second order within 90 days") == "90 天内第二次下单"
    about = SHIPPED.chinese.segments["vip"].about
    english = next(one for one in SHIPPED.audiences.segments if one.name == "vip").about
    assert retelling.move(english) == about
    assert retelling.move(f"no longer: {english}") == f"不再符合:{about}"
    assert retelling.move("whatever somebody wrote") is None


def test_what_is_decided_names_rules_as_the_shop_calls_them() -> None:
    retelling = Retelling(SHIPPED)
    told = retelling.why("cart_abandoned won with priority 60; here 40", "browse_abandoned")
    assert told == "购物车未结算 以优先级 60 胜出,本规则为 40"
    assert retelling.why("purchase o1", "browse_abandoned") is None
    unmet = "this did not hold: orders in 90d ≥ 2"
    assert retelling.why(unmet, "became_active") == "不满足:90 天内订单数 ≥ 2"


@pytest.mark.parametrize("kind", ["stages", "bands"])
def test_every_reason_of_the_shipped_table_has_chinese_words(kind: str) -> None:
    rows = SHIPPED.bands if kind == "bands" else [r for rows in SHIPPED.stage_rows for r in rows]
    assert {row.why for row in rows} <= SHIPPED.chinese.reasons.keys()


def test_every_shipped_rule_segment_and_tag_has_chinese_words() -> None:
    words, audiences = SHIPPED.chinese, SHIPPED.audiences
    assert words.rules.keys() == SHIPPED.rules.keys()
    assert words.segments.keys() == {one.name for one in audiences.segments}
    assert words.tags.keys() == {one.name for one in audiences.tags}
    called = [*words.rules.values(), *words.segments.values(), *words.tags.values()]
    for text in (*(one.about for one in called), *words.reasons.values()):
        assert HAN.search(text)
        assert not ENGLISH.search(text), text
    titles = [one.title for one in words.rules.values()]
    assert len(set(titles)) == len(titles)


def test_words_change_nothing_that_is_decided() -> None:
    found = load_config()
    chosen = found.rules, found.stages, found.policy, Limits(), found.audiences, found.predictions
    assert RuleBook(*chosen, found.chinese).digest == RuleBook(*chosen).digest
