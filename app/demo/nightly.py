"""The comparison: a nightly job with the same rules, on the same events, against the engine.

Both are judged by the events that were produced and by the triggers that a plain consumer read.
Only rules that speak to somebody because of an absence are compared, and a member counts as
*already bought or come back* when an event came that ends the absence by the rule's own words:
its ``of``, or its ``overtaken_by``.

**The nightly job** looks once a night, at 02:00 in the brand's time zone, and its messages go out
at 10:00, when people may be written to. It is given every benefit: it has the engine's rules, its
data are complete up to 02:00 sharp (not yesterday's extract), and it takes no time. So it writes
to everyone whose deadline has passed since the night before and who has not bought or come back
by 02:00; wrongly to those who do between 02:00 and 10:00. How late its other messages are does
not count.

**The engine** writes when it raises the trigger. It writes wrongly when an event that ends the
absence had happened by then (between what armed the deadline and the deadline, or between the
deadline and ``raised_at``) and the trigger was not cancelled.

Members are counted, not messages. Rules whose awaited event is more than its type (``same``,
``where``) are left out.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from models.rules import Absence, Pattern, Rule
from models.times import SECOND, from_datetime

LOOKS_AT_HOUR = 2
SENDS_AT_HOUR = 10


class Ends(NamedTuple):
    """The event types that end a rule's absence: before its deadline, and after it."""

    before: frozenset[str]
    after: frozenset[str]


class Reminder(NamedTuple):
    """A trigger as a gateway knows it; instants are epoch milliseconds.

    ``since`` is what armed the deadline, or the deadline itself when nothing did.
    """

    rule: str
    member_id: str
    since: int
    due: int
    raised: int
    cancelled: bool


class Comparison(NamedTuple):
    """How many members were messaged who had already bought or come back."""

    nightly: int
    engine: int


Histories = Mapping[str, Sequence[tuple[int, str]]]
"""Per member the (instant, type) of each event, in order of time."""


def ends_of(rules: Iterable[Rule]) -> dict[str, Ends]:
    """Return, for each rule that is compared, what ends its absence."""
    found = {}
    for rule in rules:
        of = rule.when.of if isinstance(rule.when, Absence) else ()
        patterns = (*of, *rule.overtaken_by)
        if patterns and not any(pattern.where or pattern.same for pattern in patterns):
            found[rule.name] = Ends(_types(of), _types(patterns))
    return found


def _types(patterns: Iterable[Pattern]) -> frozenset[str]:
    return frozenset(pattern.type for pattern in patterns)


def compare(
    reminders: Iterable[Reminder],
    histories: Histories,
    ends: Mapping[str, Ends],
    zone: ZoneInfo,
    until: int,
) -> Comparison:
    """Judge both; messages that the nightly job would send after ``until`` are left out."""
    nightly, engine = set(), set()
    for reminder in reminders:
        if reminder.rule not in ends:
            continue
        history = histories.get(reminder.member_id, ())
        before, after = ends[reminder.rule]
        looks, sends = night(reminder.due, zone)
        if (
            sends <= until
            and not _any(history, after, reminder.due, looks)
            and _any(history, after, looks, sends)
        ):
            nightly.add(reminder.member_id)
        if not reminder.cancelled and (
            _any(history, before, reminder.since + 1, reminder.due)
            or _any(history, after, reminder.due, reminder.raised + 1)
        ):
            engine.add(reminder.member_id)
    return Comparison(len(nightly), len(engine))


def night(due: int, zone: ZoneInfo) -> tuple[int, int]:
    """Return when the job looks, first at or after ``due``, and when it then sends."""
    local = datetime.fromtimestamp(due / SECOND, zone)
    looks = local.replace(hour=LOOKS_AT_HOUR, minute=0, second=0, microsecond=0)
    if from_datetime(looks) < due:
        looks += timedelta(days=1)
    return from_datetime(looks), from_datetime(looks.replace(hour=SENDS_AT_HOUR))


def _any(
    history: Sequence[tuple[int, str]], types: frozenset[str], since: int, before: int
) -> bool:
    """Tell whether an event of one of the types came at ``since`` or later, before ``before``."""
    for index in range(bisect_left(history, (since, "")), len(history)):
        at, kind = history[index]
        if at >= before:
            return False
        if kind in types:
            return True
    return False
