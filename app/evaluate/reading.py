"""Event files as what predictions are evaluated on: the events of known members, by the clock."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from msgspec import structs

from app.evaluate.strays import main_days
from app.event_reading import ReadingReport, read_events
from models.decoding import Received
from models.events import Purchased
from models.replay import in_order
from models.rhythm import member_number
from models.rules import Limits
from models.times import DAY


@dataclass(frozen=True, slots=True)
class Log:
    """The events of known members, no testers, in order of time, without bytes and order lines.

    The clock begins with the first order and ends with the last day on which anything happened
    (days since 1970). ``limits`` are those of the worker that would hear the events; ``strays``
    counts the events that lie so far from all others that their times are not believed.
    """

    events: Sequence[Received] = ()
    first: int = 0
    last: int = -1
    limits: Limits = field(default_factory=Limits)
    strays: int = 0

    @property
    def length(self) -> int:
        """Return how many days the clock has, quiet ones too."""
        return self.last - self.first + 1

    def until(self, last: int) -> "Log":
        """Return the log as it stood at the end of an epoch day."""
        return replace(
            self, events=[one for one in self.events if one.at // DAY <= last], last=last
        )


def expected_questions(log: Log) -> int:
    """Return how many questions there will be: one a week to who has ordered."""
    entered: dict[str | None, int] = {}
    for one in log.events:
        if one.type == "purchase":
            entered.setdefault(one.event.member_id, one.at // DAY)
    return sum(log.last - day for day in entered.values()) // 7


def sample(log: Log, share: float) -> Log:
    """Return the events of about that share of the members, chosen by a hash of their ids."""
    limit = int(share * 2**63)
    members = {one.event.member_id for one in log.events}
    chosen = {name for name in members if name is not None and member_number(name) < limit}
    return replace(log, events=[one for one in log.events if one.event.member_id in chosen])


def read_log(
    files: Iterable[Path],
    report: ReadingReport,
    limits: Limits,
    progress: Callable[[int], None] | None = None,
) -> Log:
    """Return the log of event files.

    Raises ``BadLine`` naming file, line and field, and ``OSError``.
    """
    return log_of(read_events(files, report, progress), limits)


def log_of(events: Iterable[Received], limits: Limits) -> Log:
    """Return the log of events in any order; those of test members and nobody are left out."""
    nobody = limits.test_members | {None}
    known = in_order(_light(one) for one in events if one.event.member_id not in nobody)
    days = main_days([one.at // DAY for one in known])
    orders = main_days([one.at // DAY for one in known if one.type == "purchase"])
    if not orders:
        return Log(limits=limits)
    # Orders of before all others would begin the clock; visits of before them say nothing.
    begin = max(days.start, orders.start if _strays(known, orders.start) else days.start)
    within = [one for one in known if begin <= one.at // DAY < days.stop]
    first = next((one.at // DAY for one in within if one.type == "purchase"), days.stop)
    return Log(within, first, days.stop - 1, limits, len(known) - len(within))


def _strays(events: Sequence[Received], first: int) -> bool:
    return any(one.type == "purchase" and one.at // DAY < first for one in events)


def _light(received: Received) -> Received:
    event = received.event
    if isinstance(event, Purchased):
        event = structs.replace(event, items=())
    return structs.replace(received, event=event, raw=b"")
