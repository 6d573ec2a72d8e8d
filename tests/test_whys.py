"""What was decided is told in the language of who asks."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from core_builders import DAY, HOUR, MINUTE, NOON, event, write_rules
from policy_kit import book, living, on

from app.cli import main
from models.whys import in_language

HAN = re.compile(r"[\u4e00-\u9fff]")
NIGHT = {"from": "21:00", "to": "09:00", "then": "defer"}


def whys(policy: dict[str, Any], rule: dict[str, Any], *events: tuple[str, int, Any]) -> set[str]:
    """What is said of one rule in a life of these events."""
    life = living(policy, rule)
    for kind, at, fields in events:
        life.sees(kind, at, **fields)
    life.reaches(NOON + 5 * DAY)
    return {decision.why for decision in life.decisions}


@pytest.mark.parametrize(
    ("policy", "events"),
    [
        ({}, []),
        ({"consent": {"marketing": "denied", "service": "denied"}}, []),
        ({"consent": "opt_out"}, [("unsubscribed", NOON - HOUR, {"channel": "all"})]),
        ({"stop": True}, []),
        ({"holds": {"ticket": "30d"}}, [("ticket_opened", NOON - HOUR, {})]),
        ({"holds": {"complaint": "30d"}}, [("complained", NOON - HOUR, {})]),
        ({"holds": {"return": "30d"}}, [("return_requested", NOON - HOUR, {"order_id": "a"})]),
        ({"silence_after_purchase": {"for": "24h"}}, [("purchase", NOON - HOUR, {})]),
        ({"silence_after_purchase": {"for": "24h", "then": "drop"}}, [("purchase", NOON, {})]),
        ({"silence_after_purchase": {"for": "9d"}}, [("purchase", NOON, {})]),
        ({"quiet_hours": NIGHT}, [("visit", NOON + 10 * HOUR, {})]),
        ({"caps": [{"at_most": 1, "per": "day"}]}, [("visit", NOON - MINUTE, {})]),
        ({"cool_down": {"g": "24h"}}, [("visit", NOON - MINUTE, {})]),
        ({"holdout": {"salt": "x", "everything": "100%"}}, []),
        ({"holdout": {"salt": "x", "per_rule": "100%"}}, []),
        ({}, [("mute", NOON - HOUR, {"until": "2036-01-01T00:00:00Z"})]),
    ],
)
def test_what_policy_says_is_told_in_chinese(
    policy: dict[str, Any], events: list[tuple[str, int, Any]]
) -> None:
    rule = on("visit", "hello", group="g")
    said = whys(policy, rule, *events, ("visit", NOON + 1, {}))
    assert said
    compiled = book(policy, rule).rules["hello"]
    for why in said:
        assert not HAN.search(why)
        assert in_language(why, compiled, chinese=False) == why
        told = in_language(why, compiled, chinese=True)
        assert HAN.search(told), why
        assert not re.search(r"\b(the|is|was|for|until|at|of) ", told), told


def test_what_of_an_if_did_not_hold_is_told_in_both_whatever_the_brand_speaks() -> None:
    rule = on("visit", "hello") | {"if": {"tier": "gold", "any": [{"orders": {"at_least": 1}}]}}
    compiled = book({}, rule).rules["hello"]
    told = {}
    for locale in ("en", "zh-CN"):
        life = living({}, rule, locale=locale)
        life.sees("visit", NOON)
        why = life.last("hello").why
        told[locale] = [in_language(why, compiled, chinese) for chinese in (False, True)]
    assert told["en"] == told["zh-CN"]
    assert told["en"] == ["this did not hold: the tier is gold", "不满足:等级为 gold"]


def test_what_somebody_wrote_stays_as_it_is() -> None:
    assert in_language("purchase o1", None, chinese=True) == "purchase o1"
    held = "held until 2026-01-01T00:00:00.000Z by Ann: the link is wrong"
    told = in_language(held, None, chinese=True)
    assert "the link is wrong" in told
    assert "Ann" in told


def test_the_command_tells_decisions_in_the_language_that_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rules(tmp_path / "rules", on("visit", "hello"))
    (tmp_path / "policy.yaml").write_text("stop: true\n")
    log = tmp_path / "log.jsonl"
    log.write_text(json.dumps(event("visit", NOON)) + "\n")
    for language, words in (("en", "the policy has stopped"), ("zh", "策略已暂停")):
        command = ["why", "m1", "hello", "--config", str(tmp_path), "--events", str(log)]
        assert main([*command, "--language", language]) == 0
        assert words in capsys.readouterr().out


@pytest.mark.parametrize(
    ("cap", "told"),
    [
        ({"at_most": 1, "per": "day"}, "频次上限已用完:每天至多 1 条营销消息"),
        ({"at_most": 1, "within": "7d"}, "频次上限已用完:7 天内至多 1 条营销消息"),
        (
            {"at_most": 1, "within": "36h", "purpose": "any", "group": "g"},
            "频次上限已用完:36 小时内至多 1 条 g 消息",
        ),
    ],
)
def test_a_cap_is_told_with_its_time_and_what_it_counts(cap: dict[str, Any], told: str) -> None:
    rule = on("visit", "hello", group="g", reentry={"per": "member", "every": "1s"})
    said = whys({"caps": [cap]}, rule, ("visit", NOON - MINUTE, {}), ("visit", NOON, {}))
    assert told in {in_language(why, None, chinese=True) for why in said}
