"""What the documents for marketers say is true: the tutorial works, the rule book is current."""

import re
from pathlib import Path

import pytest

from app.cli import main
from app.rule_book import markdown
from config.condition_files import _READERS
from config.paths import load_config
from config.rule_files import _FIELDS
from config.when_files import KINDS

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = (DOCS / "writing-rules.md").read_text()


def written(folder: Path) -> Path:
    """The files of the tutorial, as a reader would write them."""
    blocks = re.findall(r"```yaml\n# file: (\S+)\n(.*?)```", PAGE, re.DOTALL)
    assert [name for name, _ in blocks] == ["rules/tea_lover.yaml", "rules/tea_lover.test.yaml"]
    for name, text in blocks:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_the_tutorial_leads_to_a_tested_rule(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = written(tmp_path)
    assert main(["rules", "check", "--config", str(shop)]) == 0
    assert main(["rules", "test", "--config", str(shop)]) == 0
    assert "5 of 5 cases of 1 rules passed" in capsys.readouterr().out


def test_the_mistake_of_the_tutorial_is_told_as_the_page_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = written(tmp_path)
    rule = shop / "rules" / "tea_lover.yaml"
    rule.write_text(rule.read_text().replace("view_item", "view_itm"))
    assert main(["rules", "check", "--config", str(shop)]) == 2
    complaint = capsys.readouterr().err
    (shown,) = re.findall(r"^shop/(rules/tea_lover\.yaml:.*); allowed", PAGE, re.M)
    assert shown in complaint
    assert "did you mean 'view_item'?" in complaint


def test_every_condition_and_field_is_explained() -> None:
    explained = set(re.findall(r"\b([a-z_]+)\b", " ".join(re.findall(r"`([^`]*)`", PAGE))))
    assert set(KINDS) <= explained
    assert set(_READERS) <= explained
    assert set(_FIELDS) <= explained


def test_the_rule_book_is_what_the_rules_say() -> None:
    page = (DOCS / "rule-book.md").read_text()
    config = load_config()
    made = markdown(config.rules, config.chinese)
    assert page == made, "lifecycle rules list --markdown > the page"


def test_every_rule_is_in_the_rule_book_in_both_languages() -> None:
    page = (DOCS / "rule-book.md").read_text()
    for rule in load_config().rules:
        (row,) = re.findall(rf"^\| `{rule.name}` .*$", page, re.M)
        assert re.search(r"[\u4e00-\u9fff]", row)
