"""The guard of one worker: counts what comes and what is raised, and says what is closed.

Counting is one addition for each event; what follows from the counts is worked out every few
seconds. What the guard says at an instant it says for good, so that folding anew what was folded at
that instant gives the same; what has changed counts from the next one.
"""

from collections.abc import Callable, Mapping

import msgspec

from models.closures import NOTHING, Closed, SilentFeed
from models.rates import CELL, Feed, Rates, Seen, Usual
from models.rulebook import RuleBook
from models.times import DAY, MINUTE, SECOND, rfc3339
from models.volumes import Volume, Volumes

PAUSE = 10 * SECOND
# A worker that is further behind than this has not read what it would miss.
BEHIND = 30 * MINUTE
# Groups are folded anew from seconds ago at most.
REMEMBERED = 8
# After a longer pause counts have a hole; what was learnt before it holds.
FRESH = 2 * DAY
FORMAT = 1


class Learnt(msgspec.Struct, array_like=True):
    """What is worth keeping when a worker ends: none of it is needed, all of it takes weeks."""

    format: int
    at: int
    usual: list[tuple[str, str, Usual]]
    silent: list[tuple[str, str, int, Seen]]
    since: int
    events: dict[str, dict[int, float]]
    triggers: dict[str, dict[int, float]]
    volumes: dict[str, Volume]


class Guard:
    """Watches the feeds and the rules of a book whose policy says so.

    ``lanes`` tells how many lanes the worker has. It begins when it is first asked: all instants
    are epoch milliseconds of the clock that the lanes go by.
    """

    def __init__(self, book: RuleBook, lanes: Callable[[], int]) -> None:
        self._book = book
        self._lanes = lanes
        self._rates: Rates | None = None
        self._volumes: Volumes | None = None
        self.began = False
        self._next = 0
        self._reached = 0
        # What has been counted and not been added yet: (type, source, cell) -> events.
        self._fresh: dict[tuple[str, str, int], int] = {}
        self._raised: dict[str, int] = {}
        # Rule -> how many triggers it may still have today.
        self._left: dict[str, float] = {}
        # Rule -> since when its breaker is open, and why.
        self.open: dict[str, tuple[int, str]] = {}
        # From when on which answer holds, oldest first.
        self._latest: tuple[int, Closed] = (0, NOTHING)
        self._said = [self._latest]

    # --- the hot path ---

    def count(self, kind: str, source: str | None, at: int) -> None:
        """Count an event that happened at ``at``."""
        key = kind, source or "", at // CELL
        self._fresh[key] = self._fresh.get(key, 0) + 1

    def raised(self, rule: str, now: int) -> None:
        """Count a trigger."""
        self._raised[rule] = self._raised.get(rule, 0) + 1
        left = self._left.get(rule)
        if left is not None:
            self._left[rule] = left - 1
            if left <= 1 and rule not in self.open:
                self._open(rule, now)
                self._say(now)

    def closed(self, at: int, now: int) -> Closed:
        """Return what is closed for something that is folded ``now`` and belongs at ``at``."""
        if at > self._reached:
            self._reached = at
        if now >= self._next:
            self._next = now + PAUSE
            self._look(now)
        since, said = self._latest
        return said if since <= now else self._said_before(now)

    def _said_before(self, now: int) -> Closed:
        for since, said in reversed(self._said):
            if since <= now:
                return said
        return NOTHING

    # --- every few seconds ---

    def _begin(self, now: int) -> None:
        policy = self._book.policy
        self.began = True
        if policy.feeds is not None:
            self._rates = Rates(policy.feeds, self._book.limits.time_zone, now)
        if policy.breaker is not None:
            self._volumes = Volumes(policy.breaker, self._book.occasions, now)

    def _look(self, now: int) -> None:
        if not self.began:
            self._begin(now)
        lanes = self._lanes()
        if lanes < 1:
            return
        self._add_up(now, lanes)
        if self._rates is not None:
            self._rates.learn(now)
            if now - self._reached <= BEHIND:
                self._rates.judge(now, lanes)
        if self._volumes is not None:
            self._volumes.learn(now)
            self._weigh(self._volumes, now, lanes)
        self._say(now)

    def _add_up(self, now: int, lanes: int) -> None:
        fresh, self._fresh = self._fresh, {}
        for (kind, source, cell), events in fresh.items():
            at = cell * CELL
            if self._rates is not None and self._rates.matters(at, now):
                self._rates.add((kind, source), cell, events / lanes)
            if self._volumes is not None:
                self._volumes.add(kind, at // DAY, events / lanes)
        raised, self._raised = self._raised, {}
        if self._volumes is not None:
            for rule, triggers in raised.items():
                self._volumes.raise_(rule, now // DAY, triggers / lanes)

    def _weigh(self, volumes: Volumes, now: int, lanes: int) -> None:
        self._left.clear()
        for rule in volumes.learnt:
            limit = volumes.limit(rule, now, lanes)
            left = None if limit is None else limit - volumes.today(rule, now, lanes)
            if left is None or left > 0:
                self.open.pop(rule, None)
            elif rule not in self.open:
                self._open(rule, now)
            if left is not None:
                self._left[rule] = left

    def _open(self, rule: str, now: int) -> None:
        self.open[rule] = (
            now,
            f"the breaker of {rule} is open since {rfc3339(now)}: many times as many triggers "
            "today as usual for the events that they follow from",
        )

    def _say(self, now: int) -> None:
        feeds: dict[str, tuple[SilentFeed, ...]] = {}
        for feed in self._rates.silences() if self._rates is not None else ():
            feeds[feed.type] = (*feeds.get(feed.type, ()), feed)
        rules = {rule: why for rule, (_, why) in self.open.items()}
        said = Closed(feeds, rules) if feeds or rules else NOTHING
        if said != self._latest[1]:
            self._latest = now + 1, said
            self._said.append(self._latest)
            del self._said[:-REMEMBERED]

    # --- what is told, and what is kept ---

    def feeds(self) -> Mapping[Feed, bool]:
        """Return of each feed that is watched whether it is silent."""
        if self._rates is None:
            return {}
        silent = self._rates.silent
        return {feed: feed in silent for feed in sorted({*self._rates.judged, *silent})}

    def rules(self) -> Mapping[str, bool]:
        """Return of each rule whose volume is watched whether its breaker is open."""
        return {rule: rule in self.open for rule in sorted({*self._left, *self.open})}

    def learnt(self, now: int) -> Learnt:
        """Return what another worker, or this one later, can go on from."""
        rates, volumes = self._rates, self._volumes
        return Learnt(
            FORMAT,
            now,
            [(*feed, usual) for feed, usual in rates.usual.items()] if rates else [],
            [(*feed, *found) for feed, found in rates.silent.items()] if rates else [],
            volumes.since if volumes else 0,
            volumes.events if volumes else {},
            volumes.triggers if volumes else {},
            volumes.learnt if volumes else {},
        )

    def adopt(self, learnt: Learnt, now: int) -> None:
        """Go on from what was learnt, in as far as it is more than what is known here.

        The guard must have begun. What is of another format is left alone, and learnt anew.
        """
        if learnt.format != FORMAT:
            return
        fresh = now - learnt.at < FRESH
        if self._rates is not None:
            for kind, source, usual in learnt.usual:
                known = self._rates.usual.get((kind, source))
                if known is None or sum(known.weeks) < sum(usual.weeks):
                    self._rates.usual[kind, source] = usual
            for kind, source, since, seen in learnt.silent if fresh else ():
                if (kind, source) in self._rates.usual:
                    self._rates.silent.setdefault((kind, source), (since, seen))
        if self._volumes is not None:
            for rule, volume in learnt.volumes.items():
                if self._volumes.learnt.get(rule, Volume()).days < volume.days:
                    self._volumes.learnt[rule] = volume
            if fresh and learnt.since:
                self._volumes.go_on(learnt.since, learnt.events, learnt.triggers)
