"""The rule book as a document: every rule in words, what it serves, and its defaults."""

from collections.abc import Iterable

from models.chinese import Called, Chinese
from models.rules import IsIn, Reentry, Rule, Rung, StageEntered, StageLeft
from models.times import format_duration
from models.wording import described

_HEAD = """\
# Rule book

Every rule of the configuration, in words. Made by `lifecycle rules list --markdown`: change the
files in `config/rules/` and make it again, not this page.
"""
_COLUMNS = ("rule", "when it raises", "规则", "会员触发条件", "stage", "serves", "defaults")


def markdown(rules: Iterable[Rule], chinese: Chinese) -> str:
    """Return the page: rules by group, then by name."""
    by_group: dict[str, list[Rule]] = {}
    for rule in sorted(rules, key=lambda rule: (rule.group or "", rule.name)):
        by_group.setdefault(rule.group or "other", []).append(rule)
    parts = [_HEAD]
    for group, members in by_group.items():
        rows = [_row(_COLUMNS), _row(["---"] * len(_COLUMNS))]
        rows += [_rule(rule, chinese.rules.get(rule.name)) for rule in members]
        parts.append(f"## {group}\n\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def _rule(rule: Rule, chinese: Called | None) -> str:
    name = f"`{rule.name}` v{rule.version}"
    if rule.mode != "live":
        name += f" ({rule.mode})"
    return _row(
        [
            f"{name}<br>{rule.about}",
            described(rule, chinese=False),
            "" if chinese is None else f"**{chinese.title}**<br>{chinese.about}",
            described(rule, chinese=True),
            stage_of(rule),
            rule.serves or "",
            _defaults(rule),
        ]
    )


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def stage_of(rule: Rule) -> str:
    """Return the stages that a rule is for; nothing when it is for all."""
    if isinstance(rule.when, StageEntered | StageLeft):
        return rule.when.stage
    wanted = rule.condition.tests if rule.condition is not None else ()
    stages = [one.words for one in wanted if isinstance(one, IsIn) and one.what == "stage"]
    return ", ".join(word for words in stages for word in words)


def _defaults(rule: Rule) -> str:
    parts = [
        again(rule.reentry),
        f"expires after {format_duration(rule.expires_after)}",
        f"priority {rule.priority}",
        rule.purpose,
    ]
    if rule.route != "message":
        parts.append("a person takes care")
    if rule.channels:
        parts.append(f"by {', '.join(rule.channels)}")
    if rule.ladder:
        parts.append(f"offers {' → '.join(_offer(rung) for rung in rule.ladder)}")
    return "; ".join(parts)


def _offer(rung: Rung) -> str:
    worth = f" (from an expected value of {rung.worth:g})" if rung.worth else ""
    return rung.offer + worth


def again(reentry: Reentry) -> str:
    """Return how soon a rule may raise again, in words."""
    if reentry.per == "occasion":
        return "each occasion once"
    if reentry.mode == "every":
        return f"every {format_duration(reentry.every)} per {reentry.per}"
    return reentry.mode
