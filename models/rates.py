"""How often each feed speaks, hour by hour of the week, and which has fallen silent.

A feed is the events of one type from one source. Everything is counted for each lane, so that what
was learnt holds for a worker that has more lanes or fewer, and for another worker. Time is the
events' own, in cells of ten minutes; hours of the week are those of the brand's zone, by which its
shops open.
"""

from collections.abc import Iterator
from typing import TypeAlias

import msgspec

from models.closures import SilentFeed
from models.local_time import local_date, local_minute
from models.policy import FeedWatch
from models.times import DAY, HOUR, MINUTE, format_duration, rfc3339

Feed: TypeAlias = tuple[str, str]

CELL = 10 * MINUTE
# Events are under way for a while, and one lane is behind another: so late is nobody missed.
SLACK = CELL
# What does not speak often enough for a verdict within this is not watched.
LONGEST = DAY
# What has come back speaks at this multiple of what counts as silent: it does not flap.
BACK = 2.5
# A feed that is silent for so long is taken to be gone: what there was to learn is forgotten.
GONE = 7 * DAY
# Hours of earlier weeks count less and less: about the last four matter.
WEEKS = 4
# A source is what others write into it: no more feeds than this are told apart.
MOST_FEEDS = 256


class Usual(msgspec.Struct, array_like=True):
    """What has been learnt of a feed: events of an hour in each lane, by hour of the week."""

    since: int
    means: list[float]
    # How many such hours each mean is of.
    weeks: list[int]

    @classmethod
    def from_now(cls, since: int) -> "Usual":
        """Return what is known of a feed that speaks for the first time."""
        return cls(since, [0.0] * 168, [0] * 168)

    def learn(self, place: int, events: float) -> None:
        """Take one whole hour of the week into account."""
        weeks = self.weeks[place] = self.weeks[place] + 1
        self.means[place] += (events - self.means[place]) / min(weeks, WEEKS)

    def of(self, place: int) -> float:
        """Return how many events an hour of the week has; 0 where it was not seen twice."""
        return self.means[place] if self.weeks[place] > 1 else 0.0


class Seen(msgspec.Struct, frozen=True, array_like=True):
    """What has come over the last cells, beside what was usual for them."""

    since: int
    until: int
    events: float
    usual: float


class Rates:
    """The feeds of one worker's lanes.

    ``began`` is when counting began; nothing is said about what was before. ``zone`` is the
    brand's.
    """

    def __init__(self, watch: FeedWatch, zone: str, began: int) -> None:
        self._watch = watch
        self._zone = zone
        # Hour since 1970 -> hour of the week, from Monday.
        self._places: dict[int, int] = {}
        self._began = began
        self.usual: dict[Feed, Usual] = {}
        # Feed -> since when it is silent, and what was seen when last looked.
        self.silent: dict[Feed, tuple[int, Seen]] = {}
        self.judged: set[Feed] = set()
        self._cells: dict[Feed, dict[int, float]] = {}
        self._learnt_to = -(-began // HOUR)
        # Hours of a silence are no usual ones.
        self._unusual: dict[Feed, set[int]] = {}
        self._kept = LONGEST + SLACK + max(watch.delays.values(), default=0) + HOUR

    def matters(self, at: int, now: int) -> bool:
        """Tell whether something that happened at ``at`` can still be counted."""
        return now - self._kept < at

    def add(self, feed: Feed, cell: int, events: float) -> None:
        """Count events (of each lane) of one cell of ten minutes."""
        cells = self._cells.get(feed)
        if cells is None:
            if len(self._cells) >= MOST_FEEDS:
                return
            cells = self._cells[feed] = {}
        cells[cell] = cells.get(cell, 0.0) + events

    def learn(self, now: int) -> None:
        """Take every hour into account that is so long ago that nothing more is to come of it."""
        done = (now - self._kept) // HOUR
        for hour in range(max(self._learnt_to, done - 168), done):
            for feed, cells in self._cells.items():
                usual = self.usual.get(feed)
                events = sum(cells.pop(cell, 0.0) for cell in _cells_of(hour))
                if usual is None:
                    if not events:
                        continue
                    usual = self.usual[feed] = Usual.from_now(hour * HOUR)
                if hour not in self._unusual.get(feed, ()):
                    usual.learn(self._place(hour), events)
        if done > self._learnt_to:
            self._learnt_to = done
            self._places.clear()
            first = done * HOUR // CELL
            for feed in list(self._cells):
                kept = {c: n for c, n in self._cells[feed].items() if c >= first}
                self._cells[feed] = kept
                if not kept and feed not in self.usual:
                    del self._cells[feed]
            for hours in self._unusual.values():
                hours.difference_update([hour for hour in hours if hour < done])

    def _place(self, hour: int) -> int:
        place = self._places.get(hour)
        if place is None:
            at = hour * HOUR
            day, minute = local_date(at, self._zone), local_minute(at, self._zone)
            place = self._places[hour] = day.weekday() * 24 + minute // 60
        return place

    def judge(self, now: int, lanes: int) -> None:
        """Say of each feed whether it is silent; what cannot be told stays as it was."""
        self.judged.clear()
        for feed, usual in list(self.usual.items()):
            self._cells.setdefault(feed, {})
            seen = self._look(feed, usual, now, lanes)
            if seen is not None:
                self.judged.add(feed)
                self._take(feed, seen)
            if feed in self.silent:
                since, last = self.silent[feed]
                self._unusual.setdefault(feed, set()).update(
                    range(last.since // HOUR, now // HOUR + 1)
                )
                if now - since >= GONE:
                    self._forget(feed)

    def _look(self, feed: Feed, usual: Usual, now: int, lanes: int) -> Seen | None:
        if now - usual.since < self._watch.learn:
            return None
        cells = self._cells[feed]
        end = (now - SLACK - self._watch.delays.get(feed[1], 0)) // CELL
        events = expected = 0.0
        for cell in range(end - 1, end - 1 - LONGEST // CELL, -1):
            if cell * CELL < self._began:
                return None
            events += cells.get(cell, 0.0) * lanes
            expected += usual.of(self._place(cell * CELL // HOUR)) * lanes * CELL / HOUR
            if expected >= self._watch.expected:
                return Seen(cell * CELL, end * CELL, events, expected)
        return None

    def _take(self, feed: Feed, seen: Seen) -> None:
        share = seen.events / seen.usual
        before = self.silent.get(feed)
        if share < self._watch.below:
            self.silent[feed] = (seen.since if before is None else before[0], seen)
        elif before is not None and share >= min(self._watch.below * BACK, 1.0):
            del self.silent[feed]

    def _forget(self, feed: Feed) -> None:
        for known in (self.usual, self.silent, self._cells, self._unusual):
            known.pop(feed, None)

    def silences(self) -> Iterator[SilentFeed]:
        """Yield the silent feeds, with why they count as that."""
        for (kind, source), (since, seen) in sorted(self.silent.items()):
            name = f"{kind} from {source}" if source else kind
            hours = (seen.until - seen.since) / HOUR
            why = (
                f"{name} is silent since {rfc3339(since)}: {seen.events / hours:.3g} an hour over "
                f"{format_duration(seen.until - seen.since)}, usually {seen.usual / hours:.3g}"
            )
            yield SilentFeed(kind, source, why)


def _cells_of(hour: int) -> range:
    first = hour * HOUR // CELL
    return range(first, first + HOUR // CELL)
