"""What an operator says for a time, from the list ``overrides`` of ``policy.yaml``."""

from typing import Literal

from config.reading import Field, Section, suggestion
from config.rule_names import RuleNames
from models.policy import Override
from models.rules import EVENT_TYPES
from models.times import DAY, MAX_INSTANT, format_duration, parse_instant

_THENS: tuple[Literal["hold", "release"], ...] = ("hold", "release")
_FIELDS = (*_THENS, "from", "until", "by", "reason")

# A word that outlives its reason is worse than one that has to be said again.
_LONGEST = 90 * DAY


def overrides(field: Field, named: RuleNames | None) -> tuple[Override, ...]:
    """Return the operators' words; ``named`` is what the rules name, where it is known."""
    if field.node is not None and not isinstance(field.node.value, list):
        field.must(
            "a list of overrides, such as - {hold: {rule: NAME}, from: ..., until: ..., by: ..., "
            "reason: ...}"
        )
        return ()
    return tuple(_override(one, named) for one in field.each())


def _override(field: Field, named: RuleNames | None) -> Override:
    section = field.section(_FIELDS)
    said = [then for then in _THENS if then in section]
    if len(said) != 1 and not section.broken:
        field.wrong("needs either hold or release")
    then = said[0] if said else "hold"
    rule, kind, source = _about(section.require(then), named) if said else (None, None, None)
    since = _instant(section.require("from", "is missing: a replay asks when it began"))
    until = _instant(section.require("until", "is missing: what nobody ends ends by itself"))
    if since and until and not since < until <= since + _LONGEST:
        section.require("until").wrong(
            f"must be later than from, by at most {format_duration(_LONGEST)}"
        )
    return Override(
        then=then,
        since=since,
        until=until,
        by=section.require("by", "is missing: whom to ask").line(),
        reason=section.require("reason", "is missing: it is said in every decision").line(),
        rule=rule,
        type=kind,
        source=source,
    )


def _about(field: Field, named: RuleNames | None) -> tuple[str | None, str | None, str | None]:
    """Return the rule, or the type and source of the feed; nothing for everything."""
    if field.node is not None and field.node.value == "everything":
        return None, None, None
    section = field.section(("rule", "feed"))
    if not section.broken and ("rule" in section) == ("feed" in section):
        field.wrong("needs a rule or a feed, or the word everything")
    if "rule" in section:
        name = section.require("rule").name()
        if named is not None and name and name not in named.rules:
            message = f"there is no rule {name!r}{suggestion(name, named.rules)}"
            section.require("rule").wrong(message)
        return name, None, None
    return None, *_feed(section)


def _feed(section: Section) -> tuple[str | None, str | None]:
    if "feed" not in section:
        return None, None
    field = section.require("feed")
    text = field.text("a feed such as purchase or purchase/pos")
    kind, slash, source = text.partition("/")
    if text and kind not in EVENT_TYPES:
        field.wrong(f"{kind!r} is no type of event{suggestion(kind, EVENT_TYPES)}")
    return kind, source if slash else None


def _instant(field: Field) -> int:
    value = field.node.value if field.node else None
    try:
        found = parse_instant(value) if isinstance(value, str) else -1
    except ValueError:
        found = -1
    if not 0 < found <= MAX_INSTANT:
        field.must("an instant with its offset, such as 2026-11-24T12:00:00+08:00")
        return 0
    return found
