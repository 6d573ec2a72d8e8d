"""Reading ``chinese.yaml``, and telling people all that is wrong with one."""

from pathlib import Path

import pytest

from config.chinese_files import read_chinese
from config.errors import ConfigErrors
from config.paths import load_config, package_dir
from models.chinese import Called

RULE = """\
rule: welcome
version: 1
about: Hello to everybody.
when: {event: register}
reentry: once
expires_after: 1d
"""
SEGMENT = "segments: {vip: {about: Bought once., if: {orders: {at_least: 1}}}}"


def shop(folder: Path, words: str | None = None) -> Path:
    """A folder with a rule and a segment of its own, named like shipped ones."""
    (folder / "rules").mkdir()
    (folder / "rules" / "welcome.yaml").write_text(RULE)
    (folder / "segments.yaml").write_text(SEGMENT)
    if words is not None:
        (folder / "chinese.yaml").write_text(words)
    return folder


def test_what_is_ones_own_is_never_called_what_the_package_calls_another(tmp_path: Path) -> None:
    words = load_config(shop(tmp_path)).chinese
    assert (words.rules, words.segments, words.tags) == ({}, {}, {})
    # A reason goes by its own words.
    assert words.reasons == load_config().chinese.reasons


def test_words_of_ones_own_are_read(tmp_path: Path) -> None:
    own = "rules: {welcome: {title: 问候, about: 向所有人问好。}}"
    assert load_config(shop(tmp_path, own)).chinese.rules == {
        "welcome": Called("问候", "向所有人问好。")
    }


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (
            "rules: {welcom: {title: 好, about: 好。}}",
            "there is no rule 'welcom'; did you mean 'welcome'?",
        ),
        (
            "segments: {vips: {title: 好, about: 好。}}",
            "there is no segment 'vips'; did you mean 'vip'?",
        ),
        ("tags: {gold: {title: 好, about: 好。}}", "there is no tag 'gold'"),
        ("rules: {welcome: {title: 好}}", "rules.welcome.about: is missing"),
        ("rules: [welcome]", "must be a mapping of names and their words"),
        ("reasons: {registered: 1}", "must be one line of text"),
        ("plays: {}", "allowed: rules, segments, tags, reasons"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, words: str, complaint: str) -> None:
    with pytest.raises(ConfigErrors) as told:
        load_config(shop(tmp_path, words))
    assert complaint in str(told.value)
    assert "chinese.yaml:1:" in str(told.value)


def test_an_empty_file_has_no_words(tmp_path: Path) -> None:
    path = tmp_path / "chinese.yaml"
    path.write_text("")
    words, errors = read_chinese(path)
    assert (words.rules, words.reasons, errors) == ({}, {}, [])
    assert read_chinese(package_dir() / "chinese.yaml")[0].rules
