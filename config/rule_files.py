"""Rules from a folder of YAML files: one rule a file, named like it."""

from pathlib import Path
from typing import Literal

from config.calendar_rules import calendar_reentry
from config.condition_files import NOTHING_KNOWN, Known, read_if
from config.errors import ConfigError, ConfigErrors
from config.patterns import read_patterns
from config.reading import Field, Report, Section
from config.when_files import has_item, no_item, read_when
from config.yaml_source import Place, parse_file
from models.calendar import Calendar
from models.rules import Reentry, Rule, Rung, Series, When

POLICY_FILE = "policy.yaml"
TEST_SUFFIX = ".test.yaml"

_FIELDS = (
    "rule",
    "version",
    "about",
    "when",
    "if",
    "mode",
    "reentry",
    "expires_after",
    "priority",
    "purpose",
    "route",
    "group",
    "play",
    "channels",
    "episode",
    "overtaken_by",
    "ladder",
    "serves",
)
_MODES: tuple[Literal["live", "shadow", "off"], ...] = ("live", "shadow", "off")
_PERS: tuple[Literal["member", "item_id"], ...] = ("member", "item_id")


def load_rules(directory: Path, known: Known = NOTHING_KNOWN) -> tuple[Rule, ...]:
    """Return the rules of a folder by name; raise ``ConfigErrors`` with all that is wrong."""
    rules, errors = read_rules(directory, known)
    if errors:
        raise ConfigErrors(errors)
    return tuple(rules)


def rule_paths(directory: Path) -> list[Path]:
    """Return the rule files of a folder; its policy and the tests are none."""
    return sorted(
        path
        for path in directory.glob("*.yaml")
        if path.name != POLICY_FILE and not path.name.endswith(TEST_SUFFIX)
    )


def read_rules(
    directory: Path, known: Known = NOTHING_KNOWN
) -> tuple[list[Rule], list[ConfigError]]:
    """Return the rules that are right and every mistake in the others."""
    rules: list[Rule] = []
    errors = [
        ConfigError(str(path), 1, 1, "", "", "is not read: name it .yaml")
        for path in directory.glob("*.yml")
    ]
    named: dict[str, Path] = {}
    for path in rule_paths(directory):
        rule, name, found = _read_rule(path, known)
        errors += found
        if rule is not None:
            rules.append(rule)
        if name and name in named:
            message = f"two files say that they are this rule: {named[name].name} and {path.name}"
            errors.append(ConfigError(str(path), 1, 1, name, "rule", message))
        named.setdefault(name, path)
    return sorted(rules, key=lambda rule: rule.name), errors


def _read_rule(path: Path, known: Known) -> tuple[Rule | None, str, list[ConfigError]]:
    stem = path.name.removesuffix(".yaml")
    root, errors = parse_file(path)
    report = Report(str(path), stem)
    if root is None:
        if not errors:
            report.add(Place(1, 1), "", f"is empty; a rule has {', '.join(_FIELDS)}")
        return None, "", errors + report.errors
    section = Field(root, "", report).section(_FIELDS)
    name = section.require("rule").name()
    if name:
        report.rule = name
        if name != stem:
            section.require("rule").wrong(f"is {name!r}, and the file is named {stem!r}")
    rule = _rule(section, name, known)
    found = errors + report.errors
    return None if found else rule, name, found


def _rule(section: Section, name: str, known: Known) -> Rule:
    when, unless = read_when(section.require("when"), known)
    return Rule(
        name=name,
        version=section.require("version").integer(1, 1_000_000),
        about=section.require("about").line(),
        when=when,
        unless=unless,
        condition=section.optional("if", lambda field: read_if(field, known), None),
        mode=section.optional("mode", lambda field: field.choice(_MODES), "live"),
        reentry=_reentry(
            section.require("reentry", "is missing: once, always, or {per: member, every: 7d}"),
            when,
        ),
        expires_after=section.require("expires_after").duration(),
        priority=section.optional("priority", lambda field: field.integer(0, 100), 50),
        purpose=section.optional(
            "purpose", lambda field: field.choice(("marketing", "service")), "marketing"
        ),
        route=section.optional(
            "route", lambda field: field.choice(("message", "agent_task")), "message"
        ),
        group=section.optional("group", Field.name, None),
        play=section.optional("play", Field.name, None),
        channels=section.optional("channels", Field.names, ()),
        episode=section.optional("episode", Field.name, None),
        overtaken_by=section.optional(
            "overtaken_by", lambda field: read_patterns(field, derived=True), ()
        ),
        ladder=section.optional("ladder", lambda field: _ladder(field, when), ()),
        serves=section.optional("serves", Field.line, None),
    )


def _ladder(field: Field, when: When) -> tuple[Rung, ...]:
    rungs = tuple(map(_rung, field.each()))
    if not isinstance(when, Series):
        field.wrong("only goes with a series: each step has its offer")
    elif len(rungs) > len(when.steps):
        field.wrong(f"has {len(rungs)} offers for {len(when.steps)} steps")
    worths = [rung.worth for rung in rungs]
    if worths != sorted(worths):
        field.wrong("a better offer must not be for less expected value than the one before")
    return rungs


def _rung(field: Field) -> Rung:
    if field.node is None or not isinstance(field.node.value, dict):
        return Rung(field.name())
    section = field.section(("offer", "expected_value"))
    return Rung(
        section.require("offer").name(),
        section.require("expected_value", "is missing: from which expected value on").number(
            0.01, 1e9
        ),
    )


def _reentry(field: Field, when: When) -> Reentry:
    said = _said_reentry(field, when)
    return calendar_reentry(field, said, when) if isinstance(when, Calendar) else said


def _said_reentry(field: Field, when: When) -> Reentry:
    if field.node is None:
        return Reentry("once")
    if not isinstance(field.node.value, dict):
        value = field.node.value
        if value not in ("once", "always"):
            field.must("once, always, or a mapping with per and every")
        return Reentry("always" if value == "always" else "once")
    section = field.section(("per", "every"))
    per_field = section.require("per")
    per = per_field.choice(_PERS)
    every = section.require("every", "is missing: the shortest time between two").duration()
    when_is_right = not any(error.field.startswith("when") for error in field.report.errors)
    if per == "item_id" and when_is_right and not has_item(when):
        per_field.wrong(no_item(when))
    return Reentry("every", per, every)
