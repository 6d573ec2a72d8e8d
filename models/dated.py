"""Calendar deadlines of a member: worked out from the profile and the rule book, never stored.

What a festival or a weekly ritual comes to depends on the zone alone and is worked out once for all
members of the zone; birthdays, anniversaries and ends are the member's own. A rule that asks for
something that only an event can bring (a tier, a stage, points, three orders in 90 days) gives no
deadline to a member who lacks it, so that a ritual of the gold tier leaves the others asleep.

A deadline belongs to the past once the member's time has reached it. An event that comes late, but
in order, may show that the past was another one (the birthday had been said before the morning of
the greeting): what should have been due then becomes a candidate, what should not is withdrawn.
History that is being loaded has no deadlines: nobody wants a greeting for a past birthday.
"""

from collections.abc import Iterator
from datetime import date
from typing import TypeAlias

import msgspec

from models.calendar import (
    Before,
    Birthday,
    birthday_of,
    last_day_of,
    nominal_of,
    once_per,
    share_of,
    yearly,
)
from models.conditions import holds
from models.decoding import Received
from models.diary import Dated, Diary
from models.local_time import local_date, zone_of
from models.member import Member
from models.outcome import Candidate, Outcome
from models.overtaking import withdraw
from models.rulebook import RuleBook
from models.rules import IsIn
from models.stages import NEVER
from models.times import DAY, MAX_INSTANT


class Due(msgspec.Struct, frozen=True):
    """A calendar rule that is due: the instant, the day that it is about, and what ends then."""

    at: int
    dated: Dated
    day: date
    key: str = ""
    ends: int = NEVER

    @property
    def occasion(self) -> str:
        """What the trigger is about: the local date."""
        return f"offer_id={self.key}|{self.day}" if self.key else str(self.day)


Happened: TypeAlias = dict[tuple[str, str], Due]


def next_due(member: Member, book: RuleBook, to: int = NEVER) -> int:
    """Return the earliest calendar deadline that has not fired, or ``NEVER``.

    One after ``to`` may be left out.
    """
    if book.diary.empty:
        return NEVER
    return _next_after(member, book.diary, _settled_to(member), to)


def _settled_to(member: Member) -> int:
    return max(member.advanced_to, member.backfilled_to, member.calendar_to)


def settle_expired(member: Member, book: RuleBook, now: int) -> None:
    """Pass over what expired more than a day before the wall clock's ``now``.

    A weekly ritual that is new would otherwise be decided ``expired`` a hundred times for each
    member who has slept for two years.
    """
    if book.diary.empty:
        return
    long_over = now - book.diary.longest_life - DAY
    settled = _settled_to(member)
    if settled < long_over and _next_after(member, book.diary, settled, long_over) <= long_over:
        member.calendar_to = long_over


def _next_after(member: Member, diary: Diary, after: int, to: int = NEVER) -> int:
    if member.anonymous or not member.newest:
        return NEVER
    zone = _zone(member, diary)
    earliest = NEVER
    if diary.common:
        for nominal, day, dated in diary.ahead(zone, after):
            if nominal >= earliest or nominal > to:
                break
            due = nominal + share_of(member.id, day, dated.calendar.spread)
            if after < due < earliest and _concerns(dated, member, due):
                earliest = due
    for own in _own(member, diary, zone, after, to):
        if own.at < earliest and _concerns(own.dated, member, own.at):
            earliest = own.at
    return earliest


def due_at(member: Member, book: RuleBook, instant: int) -> Iterator[Due]:
    """Yield all that the calendar makes due at ``instant``, which is a deadline of the member."""
    diary = book.diary
    zone = _zone(member, diary)
    for nominal, day, dated in diary.ahead(zone, instant - 1):
        if nominal > instant:
            break
        due = nominal + share_of(member.id, day, dated.calendar.spread)
        if due == instant and _concerns(dated, member, due):
            yield Due(due, dated, day)
    for own in _own(member, diary, zone, instant - 1, instant):
        if own.at == instant and _concerns(own.dated, member, instant):
            yield own


def candidates_at(member: Member, book: RuleBook, instant: int) -> list[Candidate]:
    """Return the candidates of the calendar at ``instant``, which is a deadline of the member."""
    return [_candidate(due) for due in due_at(member, book, instant)]


def _candidate(due: Due) -> Candidate:
    rule, key = due.dated.rule, _once(due)
    return Candidate(rule, due.at, due.occasion, key=key, day=str(due.day), ends=due.ends)


def _once(due: Due) -> str:
    return once_per(due.dated.calendar, due.day, due.key)


def happened(member: Member, book: RuleBook, since: int) -> Happened:
    """Return what was due after ``since``, up to the member's time, as it is known now.

    What has been said only after it was due tells nothing about what was known then.
    """
    found: Happened = {}
    if book.diary.empty:
        return found
    after = max(since, member.backfilled_to, member.calendar_to)
    while (after := _next_after(member, book.diary, after)) <= member.advanced_to:
        for due in due_at(member, book, after):
            if _known_since(member, due.dated) < due.at:
                found[due.dated.rule.name, due.occasion] = due
    return found


def _known_since(member: Member, dated: Dated) -> int:
    """Return since when all has been known that a calendar rule rests on."""
    said = [member.profile.get("time_zone")]
    if isinstance(dated.calendar.day, Birthday):
        said.append(member.profile.get("birthday"))
    since = [one[1] for one in said if one is not None]
    whats = {test.what for test in dated.gate if isinstance(test, IsIn)}
    if whats & {"stage", "band"}:
        since += [member.stage_since, member.band_since]
    if member.loyalty is not None:
        if "tier" in whats or dated.calendar.day == Before("tier_review"):
            since.append(member.loyalty.tier_at)
        if dated.calendar.day == Before("points_expire"):
            since.append(member.loyalty.points_at)
    return max(since, default=0)


def correct(outcome: Outcome, event: Received, before: Happened, book: RuleBook) -> list[Candidate]:
    """Withdraw what an event that came late shows to be wrong; return what it shows to be missing.

    ``before`` is what had happened since the event's time as it was known without it.
    """
    after = happened(outcome.member, book, event.at)
    for name, due in before.items():
        if name not in after:
            withdraw(outcome, event, due.dated.rule, _once(due), due.at, book)
    return [_candidate(due) for name, due in after.items() if name not in before]


def _zone(member: Member, diary: Diary) -> str:
    said = member.profile.get("time_zone")
    return diary.brand_zone if said is None else zone_of(said[0], diary.brand_zone)


def _concerns(dated: Dated, member: Member, at: int) -> bool:
    for test in dated.gate:  # noqa: SIM110  (this runs for every event)
        if not holds(member, dated.rule, test, at):
            return False
    return True


def _own(member: Member, diary: Diary, zone: str, after: int, to: int) -> Iterator[Due]:
    """Yield what the member's own days make due after ``after``, in no order.

    Of each rule at least the first, unless it lies beyond ``to``.
    """
    if diary.birthdays and (said := member.profile.get("birthday")) is not None:
        birthday = birthday_of(said[0])
        if birthday is not None:
            year, month, day = birthday
            first_year = 0 if year is None else year + 1
            for dated in diary.birthdays:
                yield from _years(member, dated, month, day, first_year, zone, after, to)
    if diary.anniversaries and member.registered_at:
        joined = local_date(member.registered_at, zone)
        for dated in diary.anniversaries:
            month, day, first_year = joined.month, joined.day, joined.year + 1
            yield from _years(member, dated, month, day, first_year, zone, after, to)
    for dated in diary.ends:
        calendar = dated.calendar
        assert isinstance(calendar.day, Before)
        for key, end in _ends(member, calendar.day):
            if after < end < MAX_INSTANT:
                last = last_day_of(end, zone)
                due = nominal_of(calendar, last, zone)
                due += share_of(member.id, last, calendar.spread)
                if after < due < end:
                    yield Due(due, dated, last, key, end)


def _years(
    member: Member,
    dated: Dated,
    month: int,
    day: int,
    first_year: int,
    zone: str,
    after: int,
    to: int,
) -> Iterator[Due]:
    calendar = dated.calendar
    for nominal, celebrated in yearly(calendar, month, day, first_year, zone, after):
        if nominal > to:
            return
        if nominal + calendar.spread >= after:
            due = nominal + share_of(member.id, celebrated, calendar.spread)
            if due > after:
                yield Due(due, dated, celebrated)
                return


def _ends(member: Member, day: Before) -> Iterator[tuple[str, int]]:
    """Yield key and instant of what ends; an end that was never announced is none."""
    if day.end == "offer_expires":
        yield from member.offers.items()
    elif member.loyalty is not None:
        if day.end == "tier_review":
            yield "", member.loyalty.review_at
        elif member.loyalty.expiring != 0:
            yield "", member.loyalty.expires_at
