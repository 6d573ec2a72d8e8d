"""Names that look misspelt are pointed out, and no others."""

from pathlib import Path

import pytest
from core_builders import odd, write_rules

from app.cli import main
from config.doubts import doubtful_names
from config.paths import load_config
from models.policy import Policy

When = dict[str, object]
LOOK: When = {"event": "visit"}


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        (odd("a", LOOK, **{"if": {"tier": "gld"}}), "'gld' is no usual tier; did you mean 'gold'?"),
        (
            odd("a", LOOK, **{"if": {"any": [{"source": ["app", "douyn"]}]}}),
            "'douyn' is no usual source; did you mean 'douyin'?",
        ),
        (
            odd("a", LOOK, **{"if": {"not": [{"reachable": ["emial"]}]}}),
            "'emial' is no usual channel; did you mean 'email'?",
        ),
        (odd("a", {"tier_entered": "sliver"}), "'sliver' is no usual tier; did you mean 'silver'?"),
        (
            odd("a", LOOK, overtaken_by={"event": "tier", "where": {"tier": "platinium"}}),
            "'platinium' is no usual tier; did you mean 'platinum'?",
        ),
        (
            odd("a", LOOK, channels=["smss"]),
            "'smss' is no usual channel; did you mean 'sms'?",
        ),
    ],
)
def test_a_name_in_a_rule_that_is_nearly_a_usual_one_is_told(
    tmp_path: Path, rule: dict[str, object], says: str
) -> None:
    write_rules(tmp_path / "rules", rule)
    assert doubtful_names(load_config(tmp_path).rules, (), Policy()) == [f"rule a: {says}"]


def test_what_is_usual_or_quite_another_name_is_not(tmp_path: Path) -> None:
    write_rules(
        tmp_path / "rules",
        odd("a", LOOK, channels=["whatsapp"], **{"if": {"tier": ["gold", "ruby"]}}),
    )
    assert doubtful_names(load_config(tmp_path).rules, (), Policy()) == []
    shipped = load_config()
    assert doubtful_names(shipped.rules, shipped.audiences.segments, shipped.policy) == []


def test_rules_check_warns_of_names_in_policy_and_segments_and_is_content(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rules(tmp_path / "rules", odd("a", LOOK))
    policy = "channels: [app_push, smss]\nfeeds: {delays: {ps: 24h}}\n"
    (tmp_path / "policy.yaml").write_text(policy)
    segment = "segments: {best: {about: Our best., if: {tier: diamnd}}}\n"
    (tmp_path / "segments.yaml").write_text(segment)
    assert main(["rules", "check", "--config", str(tmp_path)]) == 0
    assert capsys.readouterr().err.splitlines() == [
        "warning: segment best: 'diamnd' is no usual tier; did you mean 'diamond'?",
        "warning: channels: 'smss' is no usual channel; did you mean 'sms'?",
        "warning: feeds.delays: 'ps' is no usual source; did you mean 'pos'?",
    ]
