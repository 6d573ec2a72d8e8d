"""`lifecycle why`: what was seen, what was decided, what is armed, in both languages and JSON."""

import json
from pathlib import Path
from typing import Any

import pytest
from core_builders import DAY, HOUR, MINUTE, NOON, absence, event, odd, same, write_rules

from app.cli import main
from models.times import rfc3339

RULES = [
    odd("absent", absence("view_item", same("purchase", "item_id"), "2h")),
    odd("counted", {"count": {"of": "view_item", "at_least": 3, "within": "1d"}}),
    odd(
        "steps",
        {"series": {"after": "register", "steps": ["1h", "2d"], "until": "purchase"}},
        **{"if": {"tier": "gold"}},
    ),
]
LOG = [
    event("register", NOON - HOUR),
    event("view_item", NOON, item_id="tea"),
    event("view_item", NOON + 1, item_id="cup"),
    event("purchase", NOON + 2, "m2"),
    event("view_item", NOON + HOUR, item_id="tea", origin="backfill"),
]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    write_rules(tmp_path / "rules", *RULES)
    (tmp_path / "policy.yaml").write_text("")
    (tmp_path / "events.jsonl").write_text("".join(json.dumps(one) + "\n" for one in LOG))
    return tmp_path


def asked(shop: Path, *more: str) -> list[str]:
    return ["why", "m1", *more, "--config", str(shop), "--events", str(shop / "events.jsonl")]


def told(shop: Path, capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, Any]:
    assert main([*asked(shop, *more), "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_what_is_armed_is_told_with_its_deadline(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (state,) = told(shop, capsys, "absent")["rules"]
    armed = {one["key"]: (one["since"], one["due_at"]) for one in state["armed"]}
    assert armed == {
        "cup": (rfc3339(NOON + 1), rfc3339(NOON + 2 * HOUR + 1)),
        "tea": (rfc3339(NOON + HOUR), rfc3339(NOON + 3 * HOUR)),
    }


def test_steps_that_are_left_and_conditions_that_fail_are_told(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = told(shop, capsys, "steps")
    (state,) = found["rules"]
    assert [(one["step"], one["due_at"]) for one in state["armed"]] == [
        (2, rfc3339(NOON - HOUR + 2 * DAY))
    ]
    assert state["asks"] == [{"text": "the tier is gold", "holds": False}]
    assert [(one["verdict"], one["due_at"]) for one in found["said"]] == [
        ("condition", rfc3339(NOON))
    ]


def test_how_far_a_count_has_come_and_what_was_seen_are_told(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = told(shop, capsys, "counted", "--until", rfc3339(NOON + DAY))
    # The first view is a day old.
    assert found["rules"][0]["counted"] == {"": 2}
    assert [(one["type"], one["about"]) for one in found["seen"]] == [
        ("register", ""),
        ("view_item", "tea"),
        ("view_item", "cup"),
        ("view_item", "tea"),
    ]
    assert [one["verdict"] for one in found["said"]] == ["backfill"]


@pytest.mark.parametrize(
    ("language", "lines"),
    [
        (
            "en",
            [
                "steps: condition (this did not hold: the tier is gold)",
                "armed: waiting since 2026-01-01 11:00 UTC, step 2 due at 2026-01-03 11:00 UTC",
                "no: the tier is gold",
            ],
        ),
        (
            "zh",
            [
                "steps: 条件不满足 (不满足:等级为 gold)",
                "待触发: 自 2026-01-01 11:00 UTC 起第 2 步将于 2026-01-03 11:00 UTC 触发",
                "不满足: 等级为 gold",
            ],
        ),
    ],
)
def test_it_is_told_in_words(
    shop: Path, capsys: pytest.CaptureFixture[str], language: str, lines: list[str]
) -> None:
    assert main([*asked(shop, "steps"), "--language", language]) == 0
    printed = capsys.readouterr().out
    for line in lines:
        assert line in printed


def test_an_open_trigger_is_told(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (state,) = told(shop, capsys, "absent", "--until", rfc3339(NOON + 3 * HOUR))["rules"]
    assert len(state["open"]) == 2
    assert state["armed"] == []


def test_as_of_an_instant_nothing_later_is_known(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = told(shop, capsys, "absent", "--until", rfc3339(NOON))
    assert found["as_of"] == rfc3339(NOON)
    assert [(one["type"], one["at"]) for one in found["seen"]] == [
        ("register", rfc3339(NOON - HOUR)),
        ("view_item", rfc3339(NOON)),
    ]
    (state,) = found["rules"]
    assert [one["due_at"] for one in state["armed"]] == [rfc3339(NOON + 2 * HOUR)]
    assert main([*asked(shop), "--until", rfc3339(NOON - HOUR - 1)]) == 1
    assert f"no event until {rfc3339(NOON - HOUR - 1)} is about 'm1'" in capsys.readouterr().err


def test_unknown_rules_and_members_are_said_to_be(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(asked(shop, "absnt")) == 2
    assert "did you mean 'absent'?" in capsys.readouterr().err
    nobody = ["why", "m9", "--config", str(shop), "--events", str(shop / "events.jsonl")]
    assert main(nobody) == 1
    assert "no event is about 'm9'" in capsys.readouterr().err


def test_what_waits_for_the_morning_is_told_with_when_it_is_decided_again(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (shop / "policy.yaml").write_text('quiet_hours: {from: "13:00", to: "16:00", then: defer}\n')
    until = ("--until", rfc3339(NOON + 2 * HOUR + MINUTE))
    (state,) = told(shop, capsys, "absent", *until)["rules"]
    (held,) = state["held"]
    assert held == {"until": rfc3339(NOON + 4 * HOUR), "text": "for quiet hours to end"}
    assert main([*asked(shop, "absent", *until), "--language", "en"]) == 0
    printed = capsys.readouterr().out
    assert f"held: waits for quiet hours to end, until {rfc3339(NOON + 4 * HOUR)}" in printed
    assert f", asked again at {rfc3339(NOON + 4 * HOUR)}" in printed
    assert main([*asked(shop, "absent", *until), "--language", "zh"]) == 0
    printed = capsys.readouterr().out
    assert f"等待免打扰时段结束,至 {rfc3339(NOON + 4 * HOUR)}" in printed
    assert f",将于 {rfc3339(NOON + 4 * HOUR)} 再次决定" in printed
