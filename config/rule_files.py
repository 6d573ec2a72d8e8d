"""Rules from a folder of YAML files: one rule a file, named like it."""

from pathlib import Path
from typing import Literal

from config.errors import ConfigError, ConfigErrors
from config.patterns import read_patterns, require_field, section_patterns
from config.reading import MAX_DURATION, Field, Report, Section
from config.vocabulary import fields_of
from config.yaml_source import Place, parse_file
from models.member import KEPT_ORDERS
from models.rules import (
    Absence,
    EventHappens,
    OrdersAtLeast,
    Pattern,
    Reentry,
    Rule,
    StageEntered,
    When,
)
from models.stages import STAGES
from models.times import format_duration

POLICY_FILE = "policy.yaml"
TEST_SUFFIX = ".test.yaml"

_FIELDS = (
    "rule",
    "version",
    "about",
    "when",
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
)
_PERS: tuple[Literal["member", "item_id"], ...] = ("member", "item_id")
_WHENS = ("event", "absence", "stage_entered")


def load_rules(directory: Path) -> tuple[Rule, ...]:
    """Return the rules of a folder by name; raise ``ConfigErrors`` with all that is wrong."""
    rules, errors = read_rules(directory)
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


def read_rules(directory: Path) -> tuple[list[Rule], list[ConfigError]]:
    """Return the rules that are right and every mistake in the others."""
    rules: list[Rule] = []
    errors = [
        ConfigError(str(path), 1, 1, "", "", "is not read: name it .yaml")
        for path in directory.glob("*.yml")
    ]
    named: dict[str, Path] = {}
    for path in rule_paths(directory):
        rule, name, found = _read_rule(path)
        errors += found
        if rule is not None:
            rules.append(rule)
        if name and name in named:
            message = f"two files say that they are this rule: {named[name].name} and {path.name}"
            errors.append(ConfigError(str(path), 1, 1, name, "rule", message))
        named.setdefault(name, path)
    return sorted(rules, key=lambda rule: rule.name), errors


def _read_rule(path: Path) -> tuple[Rule | None, str, list[ConfigError]]:
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
    rule = _rule(section, name)
    found = errors + report.errors
    return None if found else rule, name, found


def _rule(section: Section, name: str) -> Rule:
    when, unless = _when(section.require("when"))
    return Rule(
        name=name,
        version=section.require("version").integer(1, 1_000_000),
        about=section.require("about").line(),
        when=when,
        unless=unless,
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
    )


def _when(field: Field) -> tuple[When, OrdersAtLeast | None]:
    section = field.section((*_WHENS, "where", "unless"))
    unless = section.optional("unless", _unless, None)
    given = [form for form in _WHENS if form in section]
    if len(given) != 1 and not section.broken:
        field.wrong(
            f"needs exactly one of {', '.join(_WHENS)}; has {' and '.join(given) or 'none'}"
        )
    when: When = StageEntered(STAGES[0])
    if "event" in section:
        when = _event(section)
    elif "absence" in section:
        when = _absence(section.require("absence"))
    elif "stage_entered" in section:
        when = StageEntered(section.require("stage_entered").choice(STAGES))
    if "where" in section and "event" not in section:
        section.require("where").wrong("only goes with event; in an absence it stands in after, of")
    return when, unless


def _event(section: Section) -> EventHappens:
    patterns = section_patterns(section)
    if len(patterns) > 1:
        section.require("event").must("one event type (a rule for each of several)")
    return EventHappens(patterns[0] if patterns else Pattern(""))


def _absence(field: Field) -> Absence:
    section = field.section(("after", "of", "within"))
    after = read_patterns(section.require("after"))
    of = read_patterns(section.require("of"), derived=True, same=True)
    keys = sorted({pattern.same for pattern in of if pattern.same is not None})
    if len(keys) > 1:
        section.require("of").wrong(f"one absence has one same; was {' and '.join(keys)}")
    if keys:
        require_field(section.require("after"), keys[0], [pattern.type for pattern in after])
    return Absence(after, of, section.require("within").duration(), keys[0] if keys else None)


def _unless(field: Field) -> OrdersAtLeast:
    orders = field.section(("orders",)).require("orders").section(("at_least", "within"))
    return OrdersAtLeast(
        orders.require("at_least").integer(1, KEPT_ORDERS),
        orders.require("within", f"is missing (ever: {format_duration(MAX_DURATION)})").duration(),
    )


def _reentry(field: Field, when: When) -> Reentry:
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
    if per == "item_id" and when_is_right and not _has_item(when):
        per_field.wrong(_NO_ITEM[type(when)])
    return Reentry("every", per, every)


_NO_ITEM: dict[type, str] = {
    Absence: "item_id needs `same: item_id` in the absence's `of`",
    EventHappens: "item_id needs an event that is about one item",
    StageEntered: "item_id makes no sense for a stage",
}


def _has_item(when: When) -> bool:
    match when:
        case Absence():
            return when.same == "item_id"
        case EventHappens():
            item = fields_of(when.pattern.type).get("item_id")
            return item is not None and not item.on_lines
        case StageEntered():
            return False
