"""The ends of days that a lane passes: which is next, and what is said of them."""

from collections.abc import Callable, Sequence

from agents.merge import NEVER
from agents.ports import Clock, Days, Output
from models.times import DAY


class DayEnds:
    """How far a lane has said that it is; without ``days`` nobody asks."""

    def __init__(self, lane: int, days: Days | None, clock: Clock) -> None:
        self._lane = lane
        self._days = days
        self._stream = clock.until is not None
        self._said = -1
        now = clock.now()
        self.next: int | None = None if days is None or now is None else now // DAY * DAY
        """On a live clock, the day's end (an instant) that is to be said next; None: none is."""

    async def ready(self) -> None:
        """Return once the lane may begin."""
        if self._days is not None:
            await self._days.ready()

    def gate(self) -> int:
        """Return the instant up to which deadlines may fire, and before which records are taken."""
        return self._days.open_to() if self._stream and self._days is not None else NEVER

    def passed(self, day: int) -> Sequence[Output]:
        """Return what is to be said when all up to the end of ``day`` has happened, if anything."""
        if self._days is None or day <= self._said:
            return ()
        self._said = day
        if self.next is not None:
            self.next = (day + 2) * DAY
        return self._days.reached(self._lane, day)

    def watch(self, opened: Callable[[], object]) -> None:
        """Call whenever the gate has moved."""
        if self._days is not None:
            self._days.watch(opened)

    def unwatch(self, opened: Callable[[], object]) -> None:
        """Do so no longer."""
        if self._days is not None:
            self._days.unwatch(opened)
