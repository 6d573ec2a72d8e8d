"""`lifecycle bench policy`: what is counted of a log without policy and with it, and a picture."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from core_builders import DAY, HOUR, NOON, event, odd, write_rules

from app.bench.policy_picture import Row, picture
from app.cli import main

SVG = "{http://www.w3.org/2000/svg}"

RULES = [
    odd("looked", {"event": "view_item"}, priority=10),
    odd("filled", {"event": "add_to_cart"}, priority=20),
    odd("bought", {"event": "purchase"}, priority=30),
    odd("served", {"event": "visit"}, priority=10, purpose="service"),
]
POLICY = """
consent: {marketing: denied, service: allowed}
silence_after_purchase: {for: 24h, then: drop}
caps: [{at_most: 1, per: day}]
"""
LOG = [
    event("view_item", NOON),
    event("add_to_cart", NOON + HOUR),
    event("visit", NOON + 2 * HOUR),
    event("visit", NOON + 3 * HOUR),
    event("purchase", NOON + DAY),
    event("view_item", NOON + 2 * DAY - 1),
    event("view_item", NOON + 2 * DAY),
    event("view_item", NOON, "m2"),
]


@pytest.fixture
def figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    write_rules(tmp_path / "rules", *RULES)
    (tmp_path / "policy.yaml").write_text(POLICY)
    log = tmp_path / "log.jsonl"
    log.write_text("".join(json.dumps(one) + "\n" for one in LOG))
    drawn = tmp_path / "drawn.svg"
    words = ["bench", "policy", str(log), "--config", str(tmp_path), "--picture", str(drawn)]
    assert main([*words, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return found | {"drawn": drawn.read_text()}


def test_what_is_too_much_without_policy_is_counted(figures: dict[str, Any]) -> None:
    assert (figures["events"], figures["members"]) == (8, 2)
    assert figures["without_policy"] == {
        "triggers": 8,
        "marketing": 6,
        "most_marketing_of_a_member_on_one_day": 2,
        "members_with_more_than_one_on_some_day": 1,
        # At the order, and a millisecond before a day has passed; not a day later.
        "marketing_within_24h_of_an_order": 2,
        "buyers_nagged_within_24h_of_an_order": 1,
    }


def test_with_policy_nobody_gets_too_much(figures: dict[str, Any]) -> None:
    assert figures["with_policy"] == {
        "triggers": 5,
        "marketing": 3,
        "most_marketing_of_a_member_on_one_day": 1,
        "members_with_more_than_one_on_some_day": 0,
        "marketing_within_24h_of_an_order": 0,
        "buyers_nagged_within_24h_of_an_order": 0,
    }
    assert figures["verdicts"] == {"raised": 5, "silence": 2, "cap": 1}
    assert {row["rule"]: (row["without"], row["with"]) for row in figures["rules"]} == {
        "looked": (4, 3),
        "served": (2, 2),
        "filled": (1, 0),
        "bought": (1, 0),
    }


def test_the_picture_has_a_strip_for_each_rule(figures: dict[str, Any]) -> None:
    said = [text.text for text in ElementTree.fromstring(figures["drawn"]).iter(f"{SVG}text")]
    for rule, totals in (("looked", "4 \u2192 3"), ("filled", "1 \u2192 0")):
        assert said[said.index(rule) + 1] == totals


def test_a_strip_steps_once_a_week_up_to_its_busiest() -> None:
    # Two weeks and a day: the last day belongs to the second week.
    row = Row("r", [0] * 7 + [2] * 8, [0] * 7 + [1] * 8)
    drawn = ElementTree.fromstring(picture("t", NOON, [row]))
    without, within = (
        path.get("d") for path in drawn.iter(f"{SVG}path") if path.get("class") in "ab"
    )
    assert without == "M190 88V88.0H488.7V66.0H830.0V88Z"
    assert within == "M190 88V88.0H488.7V77.0H830.0V88Z"
