"""Taking records and firing deadlines, in the order that the merge and the pace allow."""

import logging
from collections.abc import Callable, MutableMapping
from typing import Generic

from agents.day_ends import DayEnds
from agents.deadlines import DeadlineIndex
from agents.fold import EventT, Fold, Refused, StateT
from agents.group import Collecting
from agents.merge import Lead, Merge, Wait
from agents.pace import Pace
from agents.ports import Clock, Days, SourcePort, SourceRecord
from agents.publish import Publisher
from agents.stats import LaneStats

log = logging.getLogger(__name__)

SLICE_RECORDS = 256
SLICE_MS = 2
"""Records taken, and how long that may take, before other lanes and the network get their turn:
whoever asks for a member over HTTP waits for one turn."""

STEP_RECORDS = 4
"""Records between two looks at the clock: some 1 ms."""

SLICE_DEADLINES = 500
"""Deadlines fired in a turn, which may take as long again, so that a million due at once stop
neither the events nor anybody else."""

RETRY_MS = 1_000
"""First pause before a deadline that the fold failed on is tried again; doubled each time."""

LONGEST_RETRY_MS = 3_600_000


class Folding(Generic[StateT, EventT]):
    """A lane's records and deadlines on their way into the group that collects them.

    What the fold fails on never stops the rest: a record becomes a dead letter, a deadline is
    tried again later and later.
    """

    def __init__(
        self,
        lane: int,
        fold: Fold[StateT, EventT],
        rows: MutableMapping[bytes, bytes],
        source: SourcePort,
        clock: Clock,
        stats: LaneStats,
        limit: int,
        on_lateness: Callable[[int], None] | None,
        days: Days | None,
    ) -> None:
        self.merge: Merge[EventT] = Merge(fold.topics, fold.decode, self._refuse)
        self.index = DeadlineIndex(self._due_of)
        self.collecting = Collecting(fold, rows, self.index.arm)
        self.day_ends = DayEnds(lane, days, clock)
        self.pace = Pace(lane, clock, source, self.merge, self.index, self.day_ends)
        self.lead: Lead[EventT] | None = None
        """What was next when the last slice ended."""
        self.pending_since: int | None = None
        """Process time since when something has been folded that is in no closed group."""
        self.day_over = False
        """Whether a day's end is in no closed group yet: in stream time all lanes wait for it."""
        self._clock = clock
        self._stats = stats
        self._limit = limit
        self._on_lateness = on_lateness
        self._failures: dict[bytes, int] = {}

    @property
    def full(self) -> bool:
        """Return whether the group must be closed before anything more is folded."""
        return self.collecting.size >= self._limit

    def close(self, publisher: Publisher[StateT, EventT]) -> None:
        """Hand what has been collected over to be published."""
        self.pending_since = None
        self.day_over = False
        publisher.close(self.collecting, self.merge.queues, self._limit)

    def look(self) -> bool:
        """Take note of what has been fed; return whether a slice could do something with it."""
        self.pace.settle()
        self.lead = lead = self.merge.lead()
        floor = self.index.floor()
        return (lead is not None and lead.wait is Wait.NOTHING) or (
            floor is not None and floor <= self.pace.fire_upto(lead)
        )

    def fold_slice(self) -> bool:
        """Take records and fire deadlines in their order; return whether more could be at once.

        Says, behind them, which day is over.
        """
        more = self._fold_on()
        if not more or self.day_ends.next is not None:
            said = self.day_ends.passed(self.pace.day_passed(self.merge.lead()))
            if said:
                self.collecting.loose.extend(said)
                self.day_over = True
                self._pending()
        return more

    def _fold_on(self) -> bool:
        now = self._clock.now()
        gate = self.day_ends.gate()
        records, deadlines = SLICE_RECORDS, SLICE_DEADLINES
        ends = self._clock.elapsed() + SLICE_MS
        while self.collecting.size < self._limit:
            self.lead = lead = self.merge.lead()
            taking = lead is not None and lead.wait is Wait.NOTHING and lead.queue.at < gate
            upto = min(self.pace.fire_upto(lead), gate)
            floor = self.index.floor()
            overdue = floor is not None and floor <= upto
            if overdue and deadlines > 0:
                deadlines = self._fire(upto, deadlines, now, ends)
                if deadlines == 0:
                    ends = self._clock.elapsed() + SLICE_MS
                continue
            # On a live clock records go by while more deadlines are due than a turn may fire; in
            # stream time nobody waits, and the exact order is worth more.
            full = records <= 0 or self._clock.elapsed() >= ends
            if not taking or full or (overdue and self.pace.stream):
                return taking or overdue
            assert lead is not None
            watch = -1 if overdue else self.pace.watch()
            records -= self._take(lead, watch, gate, now)
        return True

    def _take(self, lead: Lead[EventT], watch: int, gate: int, now: int | None) -> int:
        """Take a step's records of the leading topic while it leads; return how many.

        Stops early at a deadline that is due at or before ``watch`` and comes first, and before
        ``gate``.
        """
        queue, last_at = lead.queue, min(lead.last_at, gate - 1)
        below = self.pace.below(lead)
        index, collecting, order = self.index, self.collecting, queue.order
        limit = self._limit
        taken = 0
        while True:
            record, decoded = queue.record, queue.decoded
            assert record is not None
            assert decoded is not None
            folded = collecting.apply(order, decoded, record, now)
            if folded is not True:
                self._note_unfolded(record, folded)
            queue.taken = record.offset + 1
            taken += 1
            if not queue.load() or taken == STEP_RECORDS or collecting.size >= limit:
                break
            at = queue.at
            if at > last_at or queue.record.offset >= below:  # type: ignore[union-attr]
                break
            floor = index.floor()
            if floor is not None and floor <= at and floor <= watch:
                break
        self._pending()
        self._stats.records += taken
        return taken

    def _note_unfolded(self, record: SourceRecord, folded: Exception | bool) -> None:
        if not isinstance(folded, Exception):
            self._stats.skipped += 1
            return
        self._stats.crashed += 1
        log.error(
            "a record could not be folded and is a dead letter: %s[%d] offset %d",
            record.topic,
            record.partition,
            record.offset,
            exc_info=folded,
        )

    def _refuse(self, refused: Refused) -> None:
        self._stats.records += 1
        self._stats.refused += 1
        self.collecting.loose.extend(refused.outputs)
        self._pending()

    def _fire(self, upto: int, most: int, now: int | None, ends: int) -> int:
        """Fire deadlines in order up to an instant; return how many more there may be.

        None may be once the process's time is at ``ends``, but for the first.
        """
        while most > 0 and self.collecting.size < self._limit:
            popped = self.index.pop(upto)
            if popped is None:
                # A large page of the index is opened a piece at a time, at most one per turn.
                floor = self.index.floor()
                return 0 if floor is not None and floor <= upto else most
            due, key = popped
            most -= 1
            self._pending()
            error = self.collecting.advance(key, due, now)
            if error is not None:
                self._try_later(key, due if now is None else max(now, due), error)
            else:
                self._failures.pop(key, None)
                self._stats.fired += 1
                if now is not None and self._on_lateness is not None:
                    self._on_lateness(now - due)
            if self._clock.elapsed() >= ends:
                return 0
        return most

    def _try_later(self, key: bytes, at: int, error: Exception) -> None:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        pause = min(RETRY_MS << min(failures - 1, 30), LONGEST_RETRY_MS)
        self.index.arm(key, at + pause)
        self._stats.stumbled += 1
        log.error("a deadline could not be fired (attempt %d)", failures, exc_info=error)

    def _due_of(self, key: bytes) -> int | None:
        due = self.collecting.next_due(key)
        if due is None:
            self._failures.pop(key, None)
        return due

    def _pending(self) -> None:
        if self.pending_since is None:
            self.pending_since = self._clock.elapsed()
