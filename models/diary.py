"""The calendar rules of a book, compiled: which members they concern, and what lies ahead."""

from collections.abc import Iterable
from datetime import date
from typing import TypeAlias

import msgspec

from models.calendar import (
    Anniversary,
    Before,
    Birthday,
    Calendar,
    FestivalDay,
    Weekly,
    days_of,
    nominal_of,
)
from models.local_time import zone_data_version
from models.rules import (
    BirthdayKnown,
    EventsAre,
    IsIn,
    OrdersAre,
    PointsAre,
    Requirement,
    Rule,
    SpendIs,
)

_BUCKET = 26  # bits: eighteen hours of milliseconds
_KEPT_BUCKETS = 4096


class Dated(msgspec.Struct, frozen=True):
    """A rule with a calendar, and what of its ``if`` only an event can bring."""

    rule: Rule
    calendar: Calendar
    gate: tuple[Requirement, ...]


# An instant before anything is spread, the day that it is about, and whose it is.
Ahead: TypeAlias = tuple[int, date, Dated]


class Diary:
    """All rules with a calendar, by what decides their days. Empty for a book without any."""

    def __init__(self, rules: Iterable[Rule], brand_zone: str) -> None:
        self.brand_zone = brand_zone
        # By the zone alone, by the profile, by the registration, by an end that was announced.
        self.common: list[Dated] = []
        self.birthdays: list[Dated] = []
        self.anniversaries: list[Dated] = []
        self.ends: list[Dated] = []
        for rule in rules:
            if isinstance(rule.when, Calendar) and rule.mode != "off":
                self._add(Dated(rule, rule.when, _gate_of(rule)))
        self._all = (*self.common, *self.birthdays, *self.anniversaries, *self.ends)
        self.empty = not self._all
        # How long at most a trigger of the calendar may be sent.
        self.longest_life = max((dated.rule.expires_after for dated in self._all), default=0)
        self._ahead: dict[tuple[str, int], tuple[Ahead, ...]] = {}

    def _add(self, dated: Dated) -> None:
        match dated.calendar.day:
            case Birthday():
                self.birthdays.append(dated)
            case Anniversary():
                self.anniversaries.append(dated)
            case Before():
                self.ends.append(dated)
            case FestivalDay() | Weekly():
                self.common.append(dated)

    def ahead(self, zone: str, after: int) -> tuple[Ahead, ...]:
        """Return what the common calendars come to in a zone around ``after``, in order.

        At least all that may still be due for somebody, up to the first of each calendar that lies
        ahead of everybody.
        """
        bucket = after >> _BUCKET
        found = self._ahead.get((zone, bucket))
        if found is None:
            if len(self._ahead) >= _KEPT_BUCKETS:
                self._ahead.clear()
            start, end = bucket << _BUCKET, (bucket + 1) << _BUCKET
            listed: list[Ahead] = []
            for dated in self.common:
                calendar = dated.calendar
                for day in days_of(calendar, zone, start):
                    nominal = nominal_of(calendar, day, zone)
                    if nominal + calendar.spread >= start:
                        listed.append((nominal, day, dated))
                    if nominal >= end:
                        break
            found = tuple(sorted(listed, key=lambda ahead: (ahead[0], ahead[2].rule.name)))
            self._ahead[zone, bucket] = found
        return found

    def describe(self) -> object:
        """Return what must change a book's digest: it decides when something is due."""
        if self.empty:
            return None
        plans = [(dated.calendar, dated.gate) for dated in self._all]
        return plans, self.brand_zone, zone_data_version()


def _gate_of(rule: Rule) -> tuple[Requirement, ...]:
    """Return what of a rule's ``if`` can become true by an event only, and never by time."""
    tests = rule.condition.tests if rule.condition is not None else ()
    return tuple(test for test in tests if _is_steady(test))


def _is_steady(test: Requirement) -> bool:
    match test:
        case IsIn() | PointsAre() | EventsAre() | BirthdayKnown():
            return True
        case OrdersAre(below=below, within=within) | SpendIs(below=below, within=within):
            # What was bought leaves a window as time passes, and enters it by an event.
            return below is None or within is None
        case _:
            return False
