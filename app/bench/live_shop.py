"""A shop that is open now: members with a past, and what they do next, at any pace.

A sample of members is simulated past this moment. What lies before it becomes rows and documents,
as a worker would have them by now; what lies behind it is played as fast as is asked for, each
event dated with the instant at which it is taken. Many copies of the sample make many members, who
each do the same in their own time.
"""

import time
from collections.abc import Iterator
from random import Random

import msgspec

from app.bench.made_rows import NamedRow, rows_of
from app.event_files import Event
from app.event_reading import Record
from app.simulator import simulate
from models.decoding import receive
from models.events import TOPIC_OF
from models.member import due_of
from models.projection import project
from models.replay import Replay
from models.rulebook import RuleBook
from models.times import DAY

SEED = 1
SAMPLE_MEMBERS = 500
DAYS_BEHIND = 120
DAYS_AHEAD = 40
BLOCK = 20
"""Events of the sample within which the copies are mixed: some purchase while others look."""

_OWN = ("member_id", "anonymous_id", "event_id", "order_id")
"""What a copy has for itself."""

_json = msgspec.json.Encoder().encode


class LiveShop:
    """``members`` members (and who is still anonymous) as they are when it is made."""

    def __init__(self, members: int, book: RuleBook) -> None:
        now = time.time_ns() // 1_000_000
        self._copies = max(members // SAMPLE_MEMBERS, 1)
        self._ahead: list[Event] = []
        run = Replay(book)
        days = DAYS_BEHIND + DAYS_AHEAD
        for event in simulate(SAMPLE_MEMBERS, days, SEED, now + DAYS_AHEAD * DAY):
            if event["occurred_at"] >= now:
                self._ahead.append(event)
                continue
            record = _record(event, event["occurred_at"])
            # From before the topics there are now: offsets begin anew.
            run.fold(receive(record.topic, record.raw, record.key, 0, -1, record.at))
        for _ in run.finish(now):
            pass
        rows = rows_of(run, book)
        self._rows = list(zip((identity for _, identity in run.members), rows, strict=True))
        self._documents = {
            identity: project(member, due_of(row.body), book)
            for ((anonymous, identity), member), row in zip(run.members.items(), rows, strict=True)
            if not anonymous
        }

    def rows(self) -> Iterator[NamedRow]:
        """Yield the rows of all."""
        for copy in range(self._copies):
            for identity, row in self._rows:
                yield NamedRow(row.kind + _own(identity, copy).encode(), row.body)

    def documents(self) -> Iterator[tuple[str, bytes]]:
        """Yield the ids and documents of all members."""
        for copy in range(self._copies):
            for identity, update in self._documents.items():
                own = _own(identity, copy)
                yield own, _json(msgspec.structs.replace(update, member_id=own))

    def events(self) -> Iterator[Record]:
        """Yield what happens next, dated with the instant at which it is asked for."""
        random = Random(SEED)
        for first in range(0, len(self._ahead), BLOCK):
            block = self._ahead[first : first + BLOCK]
            turns = list(range(self._copies)) * len(block)
            random.shuffle(turns)
            rest = [iter(block) for _ in range(self._copies)]
            for copy in turns:
                event = next(rest[copy])
                own = {name: _own(event[name], copy) for name in _OWN if name in event}
                yield _record(event | own, time.time_ns() // 1_000_000)


def _own(name: str, copy: int) -> str:
    return f"{name}-{copy}"


def _record(event: Event, at: int) -> Record:
    key = (event.get("member_id") or event["anonymous_id"]).encode()
    return Record(TOPIC_OF[event["type"]], key, at, _json(event | {"occurred_at": at}))
