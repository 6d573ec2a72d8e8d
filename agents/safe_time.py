"""Up to when absence is certain: the safe time of a lane on a live clock.

"Did not buy by two o'clock" may be said when every topic has been read up to an end offset that
was asked for after two o'clock. Each question for the ends is a *round*: the instant before it was
asked, and the ends that came back. When the lane has been fed up to a round's ends, its instant is
safe.

Two rounds are kept: the one being read up to, and the newest answered since. Replacing the first
by the second at once would keep a lane that lags behind a busy topic from ever getting there.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

OUTAGE_MS = 5_000
"""A question that takes this long was asked of a broker that was away: ListOffsets takes 6 ms at
the 99th percentile, a leader's election one or two seconds."""


class Round(NamedTuple):
    """One question for the ends, answered."""

    instant: int
    ends: Mapping[str, int]


class SafeTime:
    """Safe time never goes back, not even when the clock does.

    After an outage of the broker nothing becomes safe for as long as the outage lasted:
    producers are still flushing what they could not send.
    """

    def __init__(self) -> None:
        self.safe = -1
        self.held_until = 0
        """Process time before which no question counts."""
        self._reading: Round | None = None
        self._newest: Round | None = None

    def answered(self, instant: int, asked: int, answered: int, ends: Mapping[str, int]) -> None:
        """Take the answer to a question asked at ``instant``; the others are process time."""
        took = answered - asked
        if took >= OUTAGE_MS:
            self.held_until = max(self.held_until, answered + took)
        if asked < self.held_until:
            return
        self._newest = Round(instant, ends)
        if self._reading is None:
            self._reading = self._newest

    def settle(self, fed_to: Callable[[Mapping[str, int]], bool]) -> None:
        """Move safe time on to every round whose ends the lane has been fed up to."""
        if self._newest is not None and fed_to(self._newest.ends):
            self.safe = max(self.safe, self._newest.instant)
            self._reading = self._newest = None
        elif self._reading is not None and fed_to(self._reading.ends):
            self.safe = max(self.safe, self._reading.instant)
            self._reading = self._newest

    def asked_since(self, due: int) -> bool:
        """Return whether an answer that makes ``due`` safe has come and is being read up to."""
        return self._newest is not None and self._newest.instant >= due
