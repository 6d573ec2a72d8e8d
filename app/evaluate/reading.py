"""Event files as whole days of what predictions hear: orders, refunds, looks and carts."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from msgspec import structs

from app.event_reading import ReadingReport, read_events
from models.decoding import Received
from models.events import OrderCancelled, Purchased, Refunded
from models.facts import cents
from models.rhythm import member_number
from models.scoring import CARTS, LOOKS
from models.times import DAY

HEARD = LOOKS | CARTS


class Act(NamedTuple):
    """One thing that a member did, without bytes and order lines, and the cents it gave back."""

    event: Received
    member: str
    back: int = 0


@dataclass(slots=True)
class Log:
    """The acts of known members by UTC day (days since 1970), in order of time within a day.

    The clock begins with the first order and ends with the last day on which anything happened.
    """

    days: dict[int, list[Act]] = field(default_factory=dict)
    events: int = 0
    first: int = 0
    last: int = -1

    @property
    def length(self) -> int:
        """Return how many days the clock has, quiet ones too."""
        return self.last - self.first + 1

    def until(self, last: int) -> "Log":
        """Return the log as it stood at the end of an epoch day."""
        days = {day: acts for day, acts in self.days.items() if day <= last}
        return Log(days, sum(map(len, days.values())), self.first, last)


def expected_questions(log: Log) -> int:
    """Return how many questions there will be: one a week to who has ordered."""
    entered: dict[str, int] = {}
    for day in sorted(log.days):
        for act in log.days[day]:
            if act.event.type == "purchase":
                entered.setdefault(act.member, day)
    return sum(log.last - day for day in entered.values()) // 7


def sample(log: Log, share: float) -> Log:
    """Return the acts of about that share of the members, chosen by a hash of their ids."""
    limit = int(share * 2**63)
    days = {
        day: [act for act in acts if member_number(act.member) < limit]
        for day, acts in log.days.items()
    }
    return Log(days, sum(map(len, days.values())), log.first, log.last)


def read_log(
    files: Iterable[Path], report: ReadingReport, progress: Callable[[int], None] | None = None
) -> Log:
    """Return the acts in event files.

    Raises ``BadLine`` naming file, line and field, and ``OSError``.
    """
    return log_of(read_events(files, report, progress))


def log_of(events: Iterable[Received]) -> Log:
    """Return the acts among events in any order; anonymous and test events are left out."""
    totals: dict[tuple[str, str], int] = {}
    acts = [act for event in events if (act := _act(event, totals)) is not None]
    acts.sort(key=lambda act: (act.event.at, act.event.rank))
    orders = [act.event.at for act in acts if act.event.type == "purchase"]
    log = Log(events=len(acts))
    if orders:
        log.first, log.last = orders[0] // DAY, acts[-1].event.at // DAY
        for act in acts:
            log.days.setdefault(act.event.at // DAY, []).append(act)
    return log


def _act(received: Received, totals: dict[tuple[str, str], int]) -> Act | None:
    """Return what an event is to predictions; ``totals`` remembers what orders came to."""
    event = received.event
    member = event.member_id
    if member is None or event.test:
        return None
    light = structs.replace(received, raw=b"")
    match event:
        case Purchased():
            totals[member, event.order_id] = cents(event.total)
            return Act(structs.replace(light, event=structs.replace(event, items=())), member)
        case Refunded():
            whole = totals.get((member, event.order_id), 0)
            return Act(light, member, whole if event.total is None else cents(event.total))
        case OrderCancelled():
            return Act(light, member, totals.pop((member, event.order_id), 0))
    return Act(light, member) if received.type in HEARD else None
