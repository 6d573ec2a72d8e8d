"""What may be sent, from ``policy.yaml``; an empty file is no policy at all."""

import re
from collections.abc import Collection
from pathlib import Path
from typing import Literal

from config.errors import ConfigError, ConfigErrors
from config.override_files import overrides
from config.reading import Field, Report, Section, suggestion
from config.rule_names import RuleNames
from config.yaml_source import Node, parse_file
from models.hearing import LONGEST_HOLD
from models.policy import (
    PURPOSES,
    Arbitration,
    Breaker,
    Cap,
    Consent,
    FeedWatch,
    Holdout,
    Holds,
    Policy,
    Purpose,
    QuietHours,
    Silence,
    Then,
)
from models.times import DAY, HOUR, MINUTE, format_duration

_FIELDS = (
    "consent",
    "consent_follows",
    "channels",
    "stop",
    "reachability",
    "holds",
    "silence_after_purchase",
    "holdout",
    "cool_down",
    "caps",
    "arbitration",
    "quiet_hours",
    "pace",
    "sent_is_reported",
    "feeds",
    "breaker",
    "overrides",
)
_DEFAULTS: tuple[Literal["allowed", "denied"], ...] = ("allowed", "denied")
_THENS: tuple[Then, ...] = ("defer", "drop")
_PERS: tuple[Literal["day", "week", "month"], ...] = ("day", "week", "month")
_CAPPED: tuple[Literal["marketing", "service", "any"], ...] = ("marketing", "service", "any")
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_SHARE = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,2})?)%")
_TAKES_0 = re.compile(
    r"consent_follows|pace|arbitration(\.window)?|holds\.\w+|silence_after_purchase\.for"
    r"|holdout\.(everything|per_rule)|cool_down\..+|caps\[\d+\]\.at_most|feeds\.delays\..+"
)

# A member's row remembers 64 messages; the caps together must not need more.
_MOST = 20
_LONGEST_CAP = 90 * DAY
_LONGEST_WINDOW = HOUR
_LONGEST_PACE = 6 * HOUR
_LONGEST_DELAY = 7 * DAY
# Two weeks show each hour of the week twice.
_LEAST_LEARNING = 14 * DAY
_LONGEST_LEARNING = 90 * DAY


def load_policy(path: Path) -> Policy:
    """Return the policy of a file; raise ``ConfigErrors`` with all that is wrong."""
    policy, errors = read_policy(path)
    if errors:
        raise ConfigErrors(errors)
    return policy


def read_policy(path: Path, named: RuleNames | None = None) -> tuple[Policy, list[ConfigError]]:
    """Return the policy of a file and every mistake in it.

    With what the rules name also what it says about rules, groups and channels that are not there.
    """
    root, errors = parse_file(path)
    if root is None:
        return Policy(), errors
    report = Report(str(path))
    _refuse_null(root, "", report)
    nulls = tuple(report.errors)
    section = Field(root, "", report).section(_FIELDS)
    channels = section.optional("channels", Field.names, ())
    policy = Policy(
        consent=section.optional("consent", _consent, None),
        consent_follows=section.optional("consent_follows", _following, 0),
        channels=channels,
        stop=section.optional("stop", _stop, ()),
        reachability=section.optional("reachability", Field.flag, False),
        holds=section.optional("holds", _holds, Holds()),
        silence=section.optional("silence_after_purchase", _silence, None),
        holdout=section.optional("holdout", _holdout, None),
        cool_down=section.optional("cool_down", lambda field: _cool_down(field, named), {}),
        caps=section.optional("caps", lambda field: _caps(field, channels, named), ()),
        arbitration=section.optional("arbitration", _arbitration, None),
        quiet_hours=section.optional("quiet_hours", _quiet_hours, None),
        pace=section.optional("pace", lambda field: _span(field, _LONGEST_PACE), 0),
        sent_is_reported=section.optional("sent_is_reported", Field.flag, True),
        feeds=section.optional("feeds", _feeds, None),
        breaker=section.optional("breaker", _breaker, None),
        overrides=section.optional("overrides", lambda field: overrides(field, named), ()),
    )
    if not report.errors:
        _check_together(policy, section)
    return policy, errors + _without_echoes(nulls, report.errors)


def _without_echoes(nulls: Collection[ConfigError], found: list[ConfigError]) -> list[ConfigError]:
    """Return the mistakes without what readers say of the values that were refused as null."""
    places = {(one.field, one.line, one.column) for one in nulls}
    return [one for one in found if one in nulls or (one.field, one.line, one.column) not in places]


def _refuse_null(node: Node, path: str, report: Report) -> None:
    """Report each key without a value: it could mean never, always, or not yet decided."""
    inner: list[tuple[str, Node]] = []
    if node.value is None and path:
        meant = "leave the line out for no limit, or write 0 for none"
        if not _TAKES_0.fullmatch(path):
            meant = "docs/policy.md says what can be written, and what it means without the line"
        report.add(node.place, path, f"has no value; {meant}")
    if isinstance(node.value, dict):
        inner = [(f"{path}.{key}" if path else key, one) for key, one in node.value.items()]
    elif isinstance(node.value, list):
        inner = [(f"{path}[{index}]", one) for index, one in enumerate(node.value)]
    for where, one in inner:
        _refuse_null(one, where, report)


def _span(field: Field, longest: int) -> int:
    """Return a duration, or 0 where 0 is written."""
    value = field.node.value if field.node else None
    if value == 0 and not isinstance(value, bool):
        return 0
    found = field.duration()
    if found > longest:
        field.wrong(f"must be at most {format_duration(longest)}")
    return found


def _consent(field: Field) -> Consent:
    if field.node is not None and not isinstance(field.node.value, dict):
        if field.node.value != "opt_out":
            field.must("opt_out, or what holds without a word: {marketing: denied, service: ...}")
        return Consent()
    section = field.section(PURPOSES)
    return Consent(*(section.require(purpose).choice(_DEFAULTS) for purpose in PURPOSES))


def _purposes(field: Field) -> tuple[Purpose, ...]:
    return tuple(dict.fromkeys(one.choice(PURPOSES) for one in field.each()))


def _stop(field: Field) -> tuple[Purpose, ...]:
    if field.node is not None and isinstance(field.node.value, bool):
        return PURPOSES if field.node.value else ()
    return _purposes(field)


def _holds(field: Field) -> Holds:
    section = field.section(("ticket", "complaint", "return"))

    def span(one: Field) -> int:
        return _span(one, LONGEST_HOLD)

    return Holds(
        ticket=section.optional("ticket", span, 0),
        complaint=section.optional("complaint", span, 0),
        returned=section.optional("return", span, 0),
    )


def _silence(field: Field) -> Silence | None:
    section = field.section(("for", "then"))
    within = _span(section.require("for"), _LONGEST_CAP)
    then: Then = section.optional("then", lambda one: one.choice(_THENS), "defer")
    return Silence(within, then) if within else None


def _holdout(field: Field) -> Holdout:
    section = field.section(("salt", "everything", "per_rule"))
    return Holdout(
        salt=section.require("salt", "is missing: another salt draws other members").text(),
        everything=section.optional("everything", _share, 0.0),
        per_rule=section.optional("per_rule", _share, 0.0),
    )


def _share(field: Field) -> float:
    value = field.node.value if field.node else None
    match = _SHARE.fullmatch(value) if isinstance(value, str) else None
    if value == 0 and not isinstance(value, bool):
        return 0.0
    if match is None or float(match[1]) > 100:
        field.must("a share such as 5%, from 0% to 100%")
        return 0.0
    return float(match[1]) / 100


def _cool_down(field: Field, named: RuleNames | None) -> dict[str, int]:
    section = field.open_section("a mapping of rule groups to durations")
    groups = list(field.node.value) if field.node and isinstance(field.node.value, dict) else []
    if named is not None:
        section.only(sorted(named.groups), "is no group of any rule")
    return {group: _span(section.require(group), _LONGEST_CAP) for group in groups}


def _caps(field: Field, channels: tuple[str, ...], named: RuleNames | None) -> tuple[Cap, ...]:
    if field.node is not None and not isinstance(field.node.value, list):
        field.must("a list of caps, such as - {at_most: 1, per: day}")
        return ()
    return tuple(_cap(one, channels, named) for one in field.each())


def _cap(field: Field, channels: tuple[str, ...], named: RuleNames | None) -> Cap:
    section = field.section(("at_most", "within", "per", "purpose", "channel", "group"))
    at_most = section.require("at_most").integer(0, _MOST)
    if not section.broken and ("within" in section) == ("per" in section):
        field.wrong("needs either within (rolling) or per (day, week or month of the member)")
    within = None
    if "within" in section:
        within_field = section.require("within")
        within = within_field.duration()
        if within > _LONGEST_CAP:
            within_field.wrong(f"must be at most {format_duration(_LONGEST_CAP)}")
    return Cap(
        at_most=at_most,
        within=within,
        per=section.optional("per", lambda one: one.choice(_PERS), None),
        purpose=section.optional("purpose", lambda one: one.choice(_CAPPED), "marketing"),
        channel=section.optional("channel", lambda one: _channel(one, channels, named), None),
        group=section.optional("group", lambda one: _group(one, named), None),
    )


def _channel(field: Field, channels: tuple[str, ...], named: RuleNames | None) -> str:
    """Return a channel that something is sent on: of this file, or of a rule."""
    name = field.name()
    known = channels if named is None else dict.fromkeys((*channels, *sorted(named.channels)))
    # A file without channels is told so once, not for each of its caps.
    if name and channels and name not in known:
        allowed = ", ".join(known)
        field.wrong(f"{name!r} is no channel; allowed: {allowed}{suggestion(name, known)}")
    return name


def _group(field: Field, named: RuleNames | None) -> str:
    name = field.name()
    if name and named is not None and name not in named.groups:
        allowed = ", ".join(sorted(named.groups)) or "none"
        hint = suggestion(name, named.groups)
        field.wrong(f"{name!r} is no group of any rule; allowed: {allowed}{hint}")
    return name


def _following(field: Field) -> int:
    return _span(field, _LONGEST_WINDOW)


def _arbitration(field: Field) -> Arbitration | None:
    if field.node is not None and not isinstance(field.node.value, dict):
        window = _span(field, _LONGEST_WINDOW)
        return Arbitration(window) if window else None
    section = field.section(("window", "purposes"))
    window = _span(section.require("window"), _LONGEST_WINDOW)
    purposes = section.optional("purposes", _purposes, ("marketing",))
    return Arbitration(window, purposes) if window else None


def _quiet_hours(field: Field) -> QuietHours:
    section = field.section(("from", "to", "then", "purposes"))
    start, end = _minute(section.require("from")), _minute(section.require("to"))
    if start == end and not field.report.errors:
        section.require("to").wrong("is the same as from: write stop to send nothing at all")
    return QuietHours(
        start,
        end,
        section.require("then", "is missing: defer (to their end) or drop").choice(_THENS),
        section.optional("purposes", _purposes, ("marketing",)),
    )


def _feeds(field: Field) -> FeedWatch:
    section = field.section(("below", "expected", "learn", "delays"))
    default = FeedWatch()
    watch = FeedWatch(
        section.optional("below", _share, default.below),
        section.optional("expected", lambda one: one.integer(10, 1_000_000), default.expected),
        section.optional("learn", _learning, default.learn),
        section.optional("delays", _delays, {}),
    )
    if not 0 < watch.below < 1 and "below" in section:
        section.require("below").wrong("must be more than 0% and less than 100%")
    return watch


def _delays(field: Field) -> dict[str, int]:
    section = field.open_section("a mapping of sources to durations, such as {pos: 24h}")
    sources = list(field.node.value) if field.node and isinstance(field.node.value, dict) else []
    return {source: _span(section.require(source), _LONGEST_DELAY) for source in sources}


def _learning(field: Field) -> int:
    found = field.duration()
    if not _LEAST_LEARNING <= found <= _LONGEST_LEARNING:
        least, most = format_duration(_LEAST_LEARNING), format_duration(_LONGEST_LEARNING)
        field.wrong(f"must be from {least} to {most}")
    return found


def _breaker(field: Field) -> Breaker:
    section = field.section(("times", "at_least", "learn"))
    default = Breaker()
    return Breaker(
        section.optional("times", lambda one: one.number(1.5, 1000), default.times),
        section.optional("at_least", lambda one: one.integer(1, 10**9), default.at_least),
        section.optional("learn", _learning, default.learn),
    )


def _minute(field: Field) -> int:
    value = field.node.value if field.node else None
    match = _CLOCK.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        field.must('a time of day such as "21:00"')
        return 0
    return int(match[1]) * 60 + int(match[2])


def _check_together(policy: Policy, section: Section) -> None:
    """Report what is right line by line, and wrong together."""
    if any(cap.channel is not None for cap in policy.caps) and not policy.channels:
        section.require("caps").wrong("cap a channel, but channels names none to choose from")
    if sum(cap.at_most for cap in policy.caps) + len(policy.cool_down) > 60:
        section.require("caps").wrong("need more than the 60 messages that a member's row keeps")
    quiet = policy.quiet_hours
    if quiet is not None and policy.pace:
        day = (quiet.start - quiet.end) % 1440 * MINUTE
        if policy.pace >= day - HOUR:
            section.require("pace").wrong("is longer than the time between two quiet hours")
    if policy.consent_follows and policy.consent is None:
        section.require("consent_follows").wrong("waits for what consent asks for: write consent")
    waits = policy.feeds or policy.breaker or policy.overrides
    if policy.pace and quiet is None and not waits:
        section.require("pace").wrong("spreads what quiet hours kept, and there are none")
