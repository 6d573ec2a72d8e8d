"""How far a lane may go: up to when its deadlines may fire, and when it must ask for ends.

On a live clock absence is certain up to safe time (``agents/safe_time.py``). In stream time the
records themselves move time on, and a lane that has been read to the ends asked for at its start
advances to ``until`` before it takes anything that came later.
"""

from agents.day_ends import DayEnds
from agents.deadlines import DeadlineIndex
from agents.fold import EventT
from agents.merge import NEVER, Lead, Merge, Wait
from agents.ports import Clock, SourcePort
from agents.safe_time import SafeTime
from models.times import DAY

ASK_AGAIN_MS = 100
"""How old an answer for the ends is when it is asked for again because what it promised does not
arrive: the last offsets of a topic may have turned out to hold no records."""


class Pace:
    """Asks for ends, and knows what the answers allow."""

    def __init__(
        self,
        lane: int,
        clock: Clock,
        source: SourcePort,
        merge: Merge[EventT],
        index: DeadlineIndex,
        day_ends: DayEnds,
    ) -> None:
        self.stream = clock.until is not None
        self.questions = 0
        self._lane = lane
        self._clock = clock
        self._source = source
        self._merge = merge
        self._index = index
        self._day_ends = day_ends
        self._safe = SafeTime()
        self._until = -1 if clock.until is None else clock.until
        self._first_ends: dict[str, int] | None = None
        self._read_first = False
        self._answered_at = 0

    @property
    def safe(self) -> int:
        """Return the instant up to which absence is certain on a live clock; -1: none."""
        return self._safe.safe

    @property
    def held(self) -> bool:
        """Return whether deadlines wait because the broker was away."""
        return self._clock.elapsed() < self._safe.held_until

    def settle(self) -> None:
        """Take note of what has been fed."""
        if not self.stream:
            self._safe.settle(self._merge.fed_to)

    def fire_upto(self, lead: Lead[EventT] | None) -> int:
        """Return the instant up to which deadlines come before anything else."""
        if not self.stream:
            return self._safe.safe if lead is None else min(lead.queue.at, self._safe.safe)
        if not self._read_first and self._first_ends is not None:
            self._read_first = self._merge.taken_to(self._first_ends)
        passed = self._until if self._read_first else -1
        if lead is None or lead.wait is not Wait.NOTHING:
            return passed
        return max(passed, lead.queue.at)

    def watch(self) -> int:
        """Return the latest deadline that may fire between two records in their order of time."""
        return NEVER if self.stream else self._safe.safe

    def below(self, lead: Lead[EventT]) -> int:
        """Return the offset below which the lead's records may be taken in one go."""
        if self.stream and not self._read_first and self._first_ends is not None:
            first_end = self._first_ends[lead.queue.name]
            if lead.queue.taken < first_end:
                return min(lead.below, first_end)
        return lead.below

    def day_passed(self, lead: Lead[EventT] | None) -> int:
        """Return the last day of which nothing is to come, when all that may be done is done.

        -1: that cannot be told.
        """
        floor = self._index.floor()
        if not self.stream:
            end, upto = self._day_ends.next, self._safe.safe
            if end is None or upto < end:
                return -1
            if lead is not None:
                upto = min(upto, lead.queue.at)
        elif lead is not None and lead.wait is Wait.NOTHING:
            upto = lead.queue.at
        elif self._read_first:
            upto = self._until
        else:
            return -1
        # A deadline at a day's end belongs to that day.
        if floor is not None and floor <= upto:
            upto = floor - 1
        return upto // DAY - 1

    # -- asking

    def wants_ends(self, lead: Lead[EventT] | None) -> bool:
        """Return whether something waits for the ends to be asked for, now."""
        old = self._clock.elapsed() - self._answered_at >= ASK_AGAIN_MS
        if self._reads_first() and (self._first_ends is None or old):
            return True
        if lead is not None and lead.wait is not Wait.NOTHING:
            return old or lead.wait is Wait.ENDS
        now = self._clock.now()
        if now is None or self.held:
            return False
        self._index.refine(now)
        due = self._unsafe(now)
        if due is None:
            return False
        return old or not self._safe.asked_since(due)

    async def ask(self) -> None:
        """Ask for the ends and take the answer."""
        instant = self._clock.now()
        asked = self._clock.elapsed()
        fed = self._merge.fed()
        ends = await self._source.ends(self._lane)
        self.questions += 1
        self._answered_at = self._clock.elapsed()
        self._merge.told_ends(ends, fed)
        if instant is not None:
            self._safe.answered(instant, asked, self._answered_at, ends)
        elif self._first_ends is None:
            self._first_ends = dict(ends)
        else:
            first = self._first_ends
            self._first_ends = {name: min(end, ends[name]) for name, end in first.items()}

    def look_again_at(self, lead: Lead[EventT] | None, now: int | None) -> int | None:
        """Return the process time at which to look again though nothing happens; None: never.

        Deadlines after ``now`` are left to whoever asks.
        """
        if self.held:
            return self._safe.held_until
        due = None if now is None else self._unsafe(now)
        starved = lead is not None and lead.wait is Wait.RECORDS
        overdue = False
        if due is not None:
            overdue = True
            if not starved and not self._safe.asked_since(due):
                # The clock has reached it since ``wants_ends`` looked.
                return self._clock.elapsed()
        return (
            self._answered_at + ASK_AGAIN_MS if overdue or starved or self._reads_first() else None
        )

    def _unsafe(self, now: int) -> int | None:
        """Return the earliest deadline or day's end up to ``now`` that is not safe yet."""
        dues = (self._index.floor(), self._day_ends.next)
        return min(
            (due for due in dues if due is not None and self._safe.safe < due <= now), default=None
        )

    def _reads_first(self) -> bool:
        return self.stream and not self._read_first
