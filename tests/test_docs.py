"""What the documents name exists: files, commands, functions, settings, topics, a real trigger."""

import re
from argparse import ArgumentParser, _SubParsersAction
from collections.abc import Iterator
from functools import reduce
from importlib import import_module
from pathlib import Path

import msgspec
import pytest

from app.cli import parser
from config.settings import env_example
from models.ids import trigger_id
from models.triggers import Trigger, TriggerCancelled, TriggerMessage

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted(
    [
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("docs/adr/*.md"),
    ]
)
NAMES = [str(path.relative_to(ROOT)) for path in DOCUMENTS]
PACKAGES = "app|agents|models|config"

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
IMAGE = re.compile(r'(?:src|srcset)="([^"]+)"')
CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)
COMMAND = re.compile(r"\blifecycle ((?:[a-z]+)(?: [a-z]+(?:-[a-z]+)*)?)((?:[^\n`]*\\\n)*[^\n`]*)")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
WHERE = re.compile(rf"`((?:{PACKAGES})/[\w/]+\.py): ([\w., ]+)`")
FILE = re.compile(
    rf"(?<![\w/.-])((?:{PACKAGES}|tests|docs)/[\w./-]*[\w-]\.(?:py|ya?ml|md|svg|sh|gz|json|sha256))\b"
)
MAKE = re.compile(r"\bmake ([a-z-]+)")
SETTING = re.compile(r"\bLIFECYCLE_[A-Z_]+")


@pytest.fixture(params=DOCUMENTS, ids=NAMES)
def text(request: pytest.FixtureRequest) -> str:
    return str(request.param.read_text())


@pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)
def test_links_lead_to_files_and_headings(document: Path) -> None:
    text = document.read_text()
    prose = CODE.sub("", text)
    for target in [*LINK.findall(prose), *IMAGE.findall(prose)]:
        if target.startswith("https://"):
            continue
        path, _, heading = target.partition("#")
        there = document.parent / path if path else document
        assert there.exists(), target
        if heading:
            assert heading in set(anchors(there.read_text())), target


def test_files_that_are_named_exist(text: str) -> None:
    missing = [name for name in FILE.findall(text) if not (ROOT / name).exists()]
    assert missing == []


def test_commands_that_are_named_exist_with_their_options(text: str) -> None:
    for code in CODE.findall(text):
        for words, rest in COMMAND.findall(code):
            command = find_command(words.split())
            known = set(command._option_string_actions)
            assert set(OPTION.findall(rest)) <= known, f"lifecycle {words}{rest}"


def test_every_command_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    missing = [name for name in commands_of(parser()) if f"`{name}" not in readme]
    assert missing == []


def test_make_targets_that_are_named_exist(text: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for code in CODE.findall(text) for name in MAKE.findall(code)}
    assert named <= targets


def test_settings_that_are_named_exist(text: str) -> None:
    known = set(SETTING.findall(env_example()))
    named = {name for name in SETTING.findall(text) if not name.startswith("LIFECYCLE_TEST_")}
    assert named <= known


def test_functions_that_are_named_exist(text: str) -> None:
    for file, names in WHERE.findall(text):
        module = import_module(file.removesuffix(".py").replace("/", "."))
        for name in names.split(", "):
            reduce(getattr, name.split("."), module)


def test_the_life_of_an_event_says_where_in_every_hop() -> None:
    hops = re.findall(
        r"^\| (?:[a-g]|\d+) \| .*$", (ROOT / "docs/life-of-an-event.md").read_text(), re.M
    )
    assert len(hops) == 7 + 14 + 9
    silent = [hop for hop in hops if not WHERE.search(hop) and "take hops 9 to 14" not in hop]
    assert silent == []


def test_the_readmes_trigger_is_one() -> None:
    raised, cancelled = messages((ROOT / "README.md").read_text())
    assert isinstance(raised, Trigger)
    assert isinstance(cancelled, TriggerCancelled)
    identity = trigger_id(raised.member_id, raised.rule, raised.rule_version, raised.occasion)
    assert raised.trigger_id == cancelled.trigger_id == identity


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 220


def messages(text: str) -> Iterator[TriggerMessage]:
    """The trigger messages among a document's JSON blocks."""
    for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL):
        yield from (
            msgspec.json.decode(one, type=TriggerMessage, strict=True)
            for one in re.split(r"\n(?=\{)", block.strip())
        )


def anchors(text: str) -> Iterator[str]:
    """The anchors of a document's headings, as forges make them."""
    for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE):
        yield re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def commands_of(of: ArgumentParser) -> dict[str, ArgumentParser]:
    """A parser's sub-commands by name."""
    for action in of._actions:
        if isinstance(action, _SubParsersAction):
            return dict(action.choices)
    return {}


def find_command(words: list[str]) -> ArgumentParser:
    """The parser of ``lifecycle WORDS``, where trailing words may be arguments."""
    found = parser()
    for depth, word in enumerate(words):
        below = commands_of(found)
        if word not in below:
            assert depth > 0, f"lifecycle {word} is no command"
            assert not below, f"lifecycle {' '.join(words)} is no command"
            break
        found = below[word]
    return found
