"""The operators' words in policy.yaml: read as they are meant, and every mistake named."""

from pathlib import Path

import pytest

from config.errors import ConfigErrors
from config.paths import load_config
from config.policy_files import load_policy
from models.policy import Override
from models.times import parse_instant

FROM, UNTIL = "2026-11-24T12:00:00+08:00", "2026-11-25T12:00:00+08:00"
REST = f"from: {FROM}, until: {UNTIL}, by: ann, reason: the tills are down"


def read(folder: Path, text: str) -> tuple[Override, ...]:
    path = folder / "policy.yaml"
    path.write_text(f"overrides:\n  - {{{text}}}\n")
    return load_policy(path).overrides


@pytest.mark.parametrize(
    ("text", "then", "about"),
    [
        ("hold: everything", "hold", {}),
        ("release: everything", "release", {}),
        ("hold: {rule: welcome}", "hold", {"rule": "welcome"}),
        ("release: {feed: purchase}", "release", {"type": "purchase"}),
        ("hold: {feed: purchase/pos}", "hold", {"type": "purchase", "source": "pos"}),
        ("hold: {feed: purchase/}", "hold", {"type": "purchase", "source": ""}),
    ],
)
def test_a_word_is_about_a_rule_a_feed_or_everything(
    tmp_path: Path, text: str, then: str, about: dict[str, str]
) -> None:
    (word,) = read(tmp_path, f"{text}, {REST}")
    assert word == Override(
        then=then,  # type: ignore[arg-type]
        since=parse_instant(FROM),
        until=parse_instant(UNTIL),
        by="ann",
        reason="the tills are down",
        **about,
    )
    assert word.everything is (not about)


@pytest.mark.parametrize(
    ("text", "field", "message"),
    [
        (REST, "overrides[0]", "needs either hold or release"),
        (f"hold: everything, release: everything, {REST}", "overrides[0]", "needs either hold"),
        (f"hold: all, {REST}", "overrides[0].hold", "must be a mapping with rule, feed"),
        (f"hold: {{}}, {REST}", "overrides[0].hold", "needs a rule or a feed, or the word"),
        (f"hold: {{rule: a, feed: visit}}, {REST}", "overrides[0].hold", "needs a rule or a feed"),
        (f"hold: {{feed: purchases}}, {REST}", "overrides[0].hold.feed", "mean 'purchase'?"),
        (f"hold: {{feed: /pos}}, {REST}", "overrides[0].hold.feed", "'' is no type of event"),
        (f"hold: everything, from: {FROM}, by: a, reason: b", "overrides[0].until", "is missing"),
        (f"hold: everything, until: {FROM}, by: a, reason: b", "overrides[0].from", "is missing"),
        (
            f"hold: everything, from: {UNTIL}, until: {FROM}, by: a, reason: b",
            "overrides[0].until",
            "must be later than from, by at most 90d",
        ),
        (
            f"hold: everything, from: {FROM}, until: 2027-11-25T12:00:00Z, by: a, reason: b",
            "overrides[0].until",
            "must be later than from, by at most 90d",
        ),
        (
            f"hold: everything, from: yesterday, until: {UNTIL}, by: a, reason: b",
            "overrides[0].from",
            "must be an instant with its offset",
        ),
        (
            f"hold: everything, from: 2026-11-24T12:00:00, until: {UNTIL}, by: a, reason: b",
            "overrides[0].from",
            "must be an instant with its offset",
        ),
        (
            f"hold: everything, from: {FROM}, until: {UNTIL}, reason: b",
            "overrides[0].by",
            "is missing: whom to ask",
        ),
        (
            f"hold: everything, from: {FROM}, until: {UNTIL}, by: a",
            "overrides[0].reason",
            "is missing: it is said in every decision",
        ),
    ],
)
def test_a_mistake_is_named_with_its_place(
    tmp_path: Path, text: str, field: str, message: str
) -> None:
    with pytest.raises(ConfigErrors) as caught:
        read(tmp_path, text)
    [error] = caught.value.errors
    assert (error.field, error.line) == (field, 2)
    assert message in error.message


def test_a_word_about_a_rule_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    text = f"overrides:\n  - {{hold: {{rule: welcom}}, {REST}}}\n"
    (tmp_path / "policy.yaml").write_text(text)
    with pytest.raises(ConfigErrors) as caught:
        load_config(tmp_path)
    [error] = caught.value.errors
    assert error.message == "there is no rule 'welcom'; did you mean 'welcome'?"
    (tmp_path / "stages.yaml").write_text("stages: 5\n")
    with pytest.raises(ConfigErrors, match="did you mean 'welcome'"):
        load_config(tmp_path)
    (tmp_path / "stages.yaml").unlink()
    (tmp_path / "policy.yaml").write_text(text.replace("welcom}", "welcome}"))
    assert load_config(tmp_path).policy.overrides[0].rule == "welcome"
