"""A shop whose feeds speak by the hour, watched by a guard: plain numbers, and no broker."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from core_builders import absence
from policy_kit import book

from models.closures import Closed
from models.guard import Guard
from models.times import DAY, HOUR, MINUTE, parse_instant

MONDAY = parse_instant("2026-11-02T00:00:00Z")
TUESDAY_NOON = MONDAY + 3 * 7 * DAY + DAY + 12 * HOUR
STEP = 10 * MINUTE
LANES = 8

WATCHED = {"feeds": {"delays": {"pos": "24h"}}, "breaker": {}}
NO_ORDER: dict[str, Any] = {
    "rule": "no_order",
    "when": absence("visit", "purchase", "2h"),
    "expires_after": "3d",
}
HELLO: dict[str, Any] = {"rule": "hello", "when": {"event": "visit"}, "expires_after": "3d"}

Rate = Callable[[int], float]
"""How many events or triggers an hour has at an instant."""


def by_day(at: int) -> float:
    """Orders of a shop that is busy by day and nearly asleep at night."""
    hour = at // HOUR % 24
    return 600.0 if 8 <= hour < 22 else 3.0


def nothing(at: int) -> float:
    """Nobody says a word."""
    return 0.0


def until(end: int, rate: Rate, then: Rate = nothing) -> Rate:
    return lambda at: rate(at) if at < end else then(at)


class Shop:
    """A guard, and the life around it in steps of ten minutes."""

    def __init__(
        self,
        policy: Mapping[str, Any] = WATCHED,
        rules: Iterable[Mapping[str, Any]] = (NO_ORDER, HELLO),
        *,
        zone: str = "UTC",
    ) -> None:
        self.lanes = LANES
        self.book = book(policy, *rules, time_zone=zone)
        self.guard = Guard(self.book, lambda: self.lanes)
        self.at = 0
        self._owed: dict[object, float] = {}

    def lives(
        self,
        begin: int,
        end: int,
        feeds: Mapping[tuple[str, str], Rate] | None = None,
        triggers: Mapping[str, Rate] | None = None,
        *,
        behind: int = 0,
    ) -> Closed:
        """Let events come and triggers go; ``behind`` is how late the worker folds everything."""
        closed = self.guard.closed(begin, begin + behind)
        for at in range(begin, end, STEP):
            for feed, rate in (feeds or {}).items():
                for number in range(self._whole(feed, rate(at))):
                    self.guard.count(*feed, at + number % STEP)
            for rule, rate in (triggers or {}).items():
                for _ in range(self._whole(rule, rate(at))):
                    self.guard.raised(rule, at + behind)
            self.at = at + STEP
            closed = self.guard.closed(self.at, self.at + behind)
        return self.guard.closed(self.at, self.at + behind + 1) or closed

    def _whole(self, what: object, an_hour: float) -> int:
        owed = self._owed.get(what, 0.0) + an_hour * STEP / HOUR
        self._owed[what] = owed - int(owed)
        return int(owed)
