"""Test files of rules: named cases of dated events, and everything that must follow from them.

The format is described in ``docs/writing-rules.md``.
"""

import json
import re
from datetime import date
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import msgspec

from config.errors import ConfigError
from config.reading import Field, Report, suggestion
from config.rule_files import TEST_SUFFIX
from config.yaml_source import Place, parse_file, plain
from models.decoding import InvalidEvent, Received, receive
from models.events import CLASS_OF, TOPIC_OF
from models.local_time import instant_of, local_text, zone_names
from models.times import MAX_INSTANT, MINUTE, format_duration, parse_duration, parse_instant
from models.triggers import Verdict

# A Monday morning, so that offsets in days are easy to place in a calendar.
DEFAULT_START = "2026-03-02T10:00:00Z"
DEFAULT_MEMBER = "m1"

Result: TypeAlias = Verdict | Literal["cancelled"]
RESULTS: tuple[Result, ...] = (*get_args(Verdict), "cancelled")

_TERM = re.compile(r"(-?)([1-9][0-9]*[a-z]+)")
_LOCAL = re.compile(r"(\d{4}-\d\d-\d\d) ([01]\d|2[0-3]):([0-5]\d)(?: (.+))?", re.ASCII)


class Expected(msgspec.Struct, frozen=True):
    """One thing that must happen: ``key`` is the value of ``same``, ``by`` what cancelled it."""

    at: int
    result: Result
    key: str | None = None
    by: str | None = None


class Said(msgspec.Struct, frozen=True):
    """What the model says of the member from ``at`` on: a probability, and money."""

    at: int
    churn: float
    expected_value: float


class Clock(msgspec.Struct, frozen=True):
    """What the times of a test file count from, and the zone of those that are local."""

    start: int
    time_zone: str | None

    @property
    def zone(self) -> str:
        """The brand's zone while the file is tested."""
        return self.time_zone or "UTC"


class Case(msgspec.Struct, frozen=True):
    """One scenario; instants are epoch milliseconds."""

    name: str
    file: str
    line: int
    clock: "Clock"
    events: tuple[Received, ...]
    scores: tuple[Said, ...]
    until: int
    expect: tuple[Expected, ...]

    @property
    def start(self) -> int:
        """What offsets count from."""
        return self.clock.start


def read_cases(path: Path, rule_names: frozenset[str]) -> tuple[list[Case], list[ConfigError]]:
    """Return the cases of a test file and every mistake in it."""
    rule = path.name.removesuffix(TEST_SUFFIX)
    root, errors = parse_file(path)
    report = Report(str(path), rule)
    if rule not in rule_names:
        report.add(Place(1, 1), "", f"tests no rule{suggestion(rule, rule_names)}")
    if root is None:
        if not errors:
            report.add(Place(1, 1), "", "is empty; a test file has cases")
        return [], errors + report.errors
    section = Field(root, "", report).section(("start", "time_zone", "cases"))
    clock = Clock(
        section.optional("start", _instant, parse_instant(DEFAULT_START)),
        section.optional("time_zone", _zone, None),
    )
    field = section.require("cases")
    if field.node is not None and not isinstance(field.node.value, list):
        field.must("a list of cases")
        return [], errors + report.errors
    cases = [_case(one, clock) for one in field.each()]
    seen: set[str] = set()
    for case in cases:
        if case.name in seen:
            report.add(Place(case.line, 1), "cases", f"two cases are named {case.name!r}")
        seen.add(case.name)
    return cases, errors + report.errors


def _case(field: Field, clock: Clock) -> Case:
    section = field.section(("name", "events", "scores", "until", "expect"))
    events = tuple(
        received
        for one in section.require("events").each()
        if (received := _event(one, clock)) is not None
    )
    scores = section.optional("scores", lambda one: _scores(one, clock), ())
    until_field = section.require("until")
    until = _at(until_field, clock)
    if events and until < max(received.at for received in events):
        until_field.wrong("lies before the last event")
    if scores and until < max(said.at for said in scores):
        until_field.wrong("lies before the last score")
    place = field.node.place if field.node is not None else Place(1, 1)
    return Case(
        name=section.require("name").line(),
        file=field.report.file,
        line=place.line,
        clock=clock,
        events=events,
        scores=scores,
        until=until,
        expect=_expectations(section.require("expect", "is missing ([] for nothing)"), clock),
    )


def _scores(field: Field, clock: Clock) -> tuple[Said, ...]:
    found: list[Said] = []
    for one in field.each():
        section = one.section(("at", "churn", "expected_value"))
        said = Said(
            at=_at(section.require("at"), clock),
            churn=section.require("churn").number(0.0, 1.0),
            expected_value=section.optional(
                "expected_value", lambda value: value.number(0.0, 1e9), 0.0
            ),
        )
        if found and said.at <= found[-1].at:
            section.require("at").wrong("must be later than the score before")
        found.append(said)
    return tuple(found)


def _expectations(field: Field, clock: Clock) -> tuple[Expected, ...]:
    if field.node is None or field.node.value == []:
        return ()
    found = []
    for one in field.each():
        section = one.section(("at", "is", "key", "by"))
        expected = Expected(
            at=_at(section.require("at"), clock),
            result=section.require("is").choice(RESULTS),
            key=section.optional("key", Field.text, None),
            by=section.optional("by", Field.text, None),
        )
        if expected.by is not None and expected.result != "cancelled":
            section.require("by").wrong("only a cancellation has one")
        found.append(expected)
    return tuple(found)


def _event(field: Field, clock: Clock) -> Received | None:
    section = field.open_section("a mapping with at, type and the event's fields")
    if section.broken:
        return None
    at = _at(section.require("at"), clock)
    kind_field = section.require("type")
    kind = kind_field.choice(tuple(CLASS_OF))
    if kind_field.node is None or kind_field.node.value != kind:
        return None
    own = CLASS_OF[kind].__struct_fields__
    section.only(("at", "type", *(name for name in own if name != "occurred_at")))
    assert field.node is not None
    assert isinstance(field.node.value, dict)
    event = {key: plain(value) for key, value in field.node.value.items() if key != "at"}
    if "member_id" not in event and "anonymous_id" not in event:
        event["member_id"] = DEFAULT_MEMBER
    event["occurred_at"] = at
    identity = event.get("member_id") or event.get("anonymous_id")
    try:
        raw = json.dumps(event).encode()
        return receive(TOPIC_OF[kind], raw, str(identity).encode(), 0, 0, at)
    except InvalidEvent as error:
        if not field.report.errors:
            field.wrong(f"is no event: {error}")
        return None


def _instant(field: Field) -> int:
    try:
        return parse_instant(field.text("an instant such as " + DEFAULT_START))
    except ValueError as error:
        field.wrong(str(error))
        return 0


def _zone(field: Field) -> str | None:
    name = field.text("a time zone such as Asia/Shanghai")
    if name in zone_names():
        return name
    field.wrong(f"{name!r} is no time zone{suggestion(name, zone_names())}")
    return None


def _at(field: Field, clock: Clock) -> int:
    """Read an offset from the start, or a local time with one: ``2026-05-01 10:00 -1ms``."""
    value = field.node.value if field.node else None
    match = _LOCAL.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return clock.start + _offset(field, value)
    try:
        day = date.fromisoformat(match[1])
    except ValueError:
        field.must("an offset from the start, or a local time such as 2026-05-01 10:00")
        return clock.start
    local = instant_of(day, int(match[2]) * 60 + int(match[3]), clock.zone)
    return local + (_offset(field, match[4]) if match[4] else 0)


def _offset(field: Field, value: object) -> int:
    """Read ``0``, or durations added up: ``1d 2h``, ``30d -1ms``."""
    if value == 0 and not isinstance(value, bool):
        return 0
    terms = value.split() if isinstance(value, str) else []
    total = 0
    for term in terms:
        match = _TERM.fullmatch(term)
        try:
            length = parse_duration(match[2]) if match else None
        except ValueError:
            length = None
        if match is None or length is None:
            field.must("an offset such as 0, 30m, 1d 2h or 30d -1ms")
            return 0
        total += -length if match[1] else length
    if not terms or abs(total) > MAX_INSTANT // 4:
        field.must("an offset such as 0, 30m, 1d 2h or 30d -1ms")
        return 0
    return total


def written_time(at: int, clock: Clock) -> str:
    """Return an instant as a test file would write it: local where it names a zone."""
    if clock.time_zone is None:
        return written_offset(at - clock.start)
    rest = at % MINUTE
    return local_text(at, clock.zone) + (f" {written_offset(rest)}" if rest else "")


def written_offset(milliseconds: int) -> str:
    """Return an offset as test files write it.

    >>> written_offset(26 * 3_600_000 - 1), written_offset(0)
    ('1d 1h 59m 59s 999ms', '0')
    """
    sign, rest = ("-", -milliseconds) if milliseconds < 0 else ("", milliseconds)
    parts = []
    for unit in (86_400_000, 3_600_000, 60_000, 1000, 1):
        count, rest = divmod(rest, unit)
        if count:
            parts.append(sign + format_duration(count * unit))
    return " ".join(parts) or "0"
