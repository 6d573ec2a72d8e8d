"""How many triggers a rule has for each event that it can follow from, and which has run away.

A sale day has ten times the orders, and a month later ten times the members who did not order
again: neither is an accident. A rule that somebody has changed, and that now finds everybody, is.
Days are those of UTC; everything is counted for each lane, as in ``models.rates``.
"""

import msgspec

from models.awaiting import Occasions
from models.policy import Breaker
from models.times import DAY

# Earlier days count less and less: about the last twenty matter.
FADE = 0.95
# Rules whose triggers follow later than this are not watched.
LONGEST_LEAD = 400 * DAY


class Volume(msgspec.Struct, array_like=True):
    """What has been learnt of a rule: triggers and the events they followed from, faded sums."""

    days: int = 0
    triggers: float = 0.0
    events: float = 0.0


class Volumes:
    """The rules of one worker's lanes."""

    def __init__(self, breaker: Breaker, occasions: dict[str, Occasions], began: int) -> None:
        self._breaker = breaker
        self._occasions = {
            rule: found
            for rule, found in occasions.items()
            if found and max(lead for _, lead in found) <= LONGEST_LEAD
        }
        # Event type -> for how many days it is remembered.
        self._kept: dict[str, int] = {}
        for found in self._occasions.values():
            for types, lead in found:
                for kind in types:
                    self._kept[kind] = max(self._kept.get(kind, 0), lead // DAY + 3)
        # Event type -> day since 1970 -> events.
        self.events: dict[str, dict[int, float]] = {}
        # Rule -> day -> triggers.
        self.triggers: dict[str, dict[int, float]] = {}
        self.learnt: dict[str, Volume] = {}
        # The first day that was seen from its beginning, and the first that is not learnt.
        self.since = self.learnt_to = began // DAY + 1

    def add(self, kind: str, day: int, events: float) -> None:
        """Count events (of each lane)."""
        if kind in self._kept:
            days = self.events.setdefault(kind, {})
            days[day] = days.get(day, 0.0) + events

    def raise_(self, rule: str, day: int, triggers: float) -> None:
        """Count triggers (of each lane)."""
        if rule in self._occasions:
            days = self.triggers.setdefault(rule, {})
            days[day] = days.get(day, 0.0) + triggers

    def go_on(
        self, since: int, events: dict[str, dict[int, float]], triggers: dict[str, dict[int, float]]
    ) -> None:
        """Take over what was counted from the day ``since`` until just now, by a like worker."""
        self.since = min(self.since, since)
        self.learnt_to = min(self.learnt_to, max(since, self.learnt_to - 1))
        for ours, theirs in ((self.events, events), (self.triggers, triggers)):
            for name, days in theirs.items():
                known = ours.setdefault(name, {})
                for day, number in days.items():
                    known[day] = max(known.get(day, 0.0), number)

    def _followed_from(self, rule: str, day: int) -> float | None:
        """Return the events that a day's triggers can follow from; None when not all were seen."""
        found = 0.0
        for types, lead in self._occasions[rule]:
            first, last = (day * DAY - lead) // DAY, ((day + 1) * DAY - 1 - lead) // DAY
            if first < self.since:
                return None
            for kind in types:
                days = self.events.get(kind, {})
                found += sum(days.get(one, 0.0) for one in range(first, last + 1))
        return found

    def learn(self, now: int) -> None:
        """Take the days into account that are over, and forget what no rule follows from."""
        today = now // DAY
        for day in range(max(self.learnt_to, today - 7), today):
            for rule in self._occasions:
                events = self._followed_from(rule, day)
                if events:
                    volume = self.learnt.setdefault(rule, Volume())
                    volume.days += 1
                    raised = self.triggers.get(rule, {}).get(day, 0.0)
                    volume.triggers = volume.triggers * FADE + raised
                    volume.events = volume.events * FADE + events
        if today > self.learnt_to:
            self.learnt_to = today
            for kind, days in self.events.items():
                oldest = today - self._kept[kind]
                self.events[kind] = {day: n for day, n in days.items() if day >= oldest}
            for rule, days in self.triggers.items():
                self.triggers[rule] = {day: n for day, n in days.items() if day >= today - 1}

    def limit(self, rule: str, now: int, lanes: int) -> float | None:
        """Return how many triggers of today are no accident yet; None when that is not known."""
        volume = self.learnt.get(rule)
        if volume is None or rule not in self._occasions:
            return None
        if volume.days * DAY < self._breaker.learn:
            return None
        events = self._followed_from(rule, now // DAY)
        if events is None:
            return None
        usual = volume.triggers / volume.events * events * lanes
        return max(float(self._breaker.at_least), self._breaker.times * usual)

    def today(self, rule: str, now: int, lanes: int) -> float:
        """Return how many triggers a rule has had today."""
        return self.triggers.get(rule, {}).get(now // DAY, 0.0) * lanes
