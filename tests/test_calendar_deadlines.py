"""Calendar deadlines of members, against a walk over every day of their lives."""

import datetime as dt
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest
from core_builders import HOUR, EventDict, Life, arrived, event, net, write_rules
from hypothesis import given, settings
from hypothesis import strategies as st

from config.calendar_files import load_festivals
from config.condition_files import Known
from config.errors import ConfigErrors
from config.paths import package_dir
from config.rule_files import load_rules
from config.stage_files import load_stages
from models import local_time
from models.calendar import Calendar, share_of
from models.dated import next_due
from models.engine import handle
from models.local_time import instant_of, local_date
from models.member import Member
from models.outcome import Context
from models.policy import Policy
from models.replay import replay
from models.rulebook import RuleBook
from models.rules import Limits
from models.stages import NEVER
from models.times import DAY, MINUTE, parse_instant, rfc3339
from models.triggers import Decision, Trigger

FESTIVALS = load_festivals(package_dir() / "calendar.yaml")
BRAND = "Asia/Shanghai"
SEEDS = st.integers(0, 1 << 32)


def calendar(name: str, when: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"rule": name, "when": {"calendar": when}, **more}


def book_with(directory: Path, *rules: dict[str, Any], **limits: Any) -> RuleBook:
    return RuleBook(
        load_rules(write_rules(directory, *rules), Known(festivals=FESTIVALS)),
        load_stages(package_dir() / "stages.yaml"),
        Policy(),
        Limits(time_zone=BRAND, **limits),
    )


def at(text: str, zone: str = BRAND) -> int:
    day, _, clock = text.partition(" ")
    hour, minute = clock.split(":") if clock else ("0", "0")
    return instant_of(dt.date.fromisoformat(day), int(hour) * 60 + int(minute), zone)


def due_instants(life: Life, rule: str = "r") -> list[int]:
    return [
        parse_instant(one.due_at)
        for one in life.said
        if isinstance(one, Trigger) and one.rule == rule
    ]


# --- against a walk over every day ------------------------------------------------------------

RULES = [
    calendar("birthday", {"birthday": {"days_before": 7, "at": "10:00"}}),
    calendar("birthday_itself", {"birthday": {"at": "02:30", "spread": "20h"}}, reentry="once"),
    calendar("joined", {"anniversary": "registered", "at": "23:59"}),
    calendar("new_year", {"festival": "spring_festival", "days_before": 3, "spread": "3h"}),
    calendar("xmas", {"festival": "christmas", "at": "00:00", "spread": "24h"}),
    calendar("friday", {"weekly": "friday", "at": "09:30"}) | {"if": {"tier": ["gold"]}},
    calendar("points", {"before": "points_expire", "days": 14, "at": "10:00"}),
    calendar("offer", {"before": "offer_expires", "days": 1, "at": "18:00", "spread": "1h"}),
    calendar("review", {"before": "tier_review", "days": 30}),
]
START, DAYS = at("2026-01-05 00:00"), 420
ZONES = ["Asia/Shanghai", "America/New_York", "Pacific/Kiritimati", "Australia/Lord_Howe", "Mars"]
BIRTHDAYS = ["02-29", "1990-05-12", "--12-31", "01-03", "1970-01-01", "1991-02-29", "2026-06-01"]


def random_life(random: Random, events: int) -> list[EventDict]:
    found = [event("register", START + random.randrange(DAY))]
    for _ in range(events):
        when = START + random.randrange(DAYS * DAY)
        later = rfc3339(when + random.randrange(90 * DAY))
        match random.randrange(6):
            case 0:
                found.append(event("profile", when, birthday=random.choice(BIRTHDAYS)))
            case 1:
                found.append(event("profile", when, time_zone=random.choice(ZONES)))
            case 2:
                tier = random.choice(["gold", "silver"])
                found.append(event("tier", when, tier=tier, review_at=later))
            case 3:
                expiring = random.choice([0, 0, 50, 50, 50])
                found.append(
                    event("points", when, balance=100, expiring=expiring, expires_at=later)
                )
            case 4:
                offer = random.choice(["a", "b"])
                found.append(event("offer_granted", when, offer_id=offer, expires_at=later))
            case _:
                found.append(event("visit", when))
    return sorted(found, key=lambda one: one["occurred_at"])


class Heard(dict[str, Any]):
    """What the events so far have said, kept as plainly as can be."""

    def __init__(self) -> None:
        super().__init__(offers={}, zone=BRAND)

    def hear(self, one: EventDict) -> None:
        match one["type"]:
            case "register":
                self["joined"] = one["occurred_at"]
            case "profile" if "birthday" in one:
                self["birthday"] = one["birthday"]
            case "profile":
                name = one["time_zone"]
                self["zone"] = name if name in local_time.zone_names() else BRAND
            case "tier":
                self["tier"], self["review"] = one["tier"], parse_instant(one["review_at"])
            case "points":
                self["points"] = parse_instant(one["expires_at"]) if one["expiring"] else None
            case "offer_granted":
                self["offers"][one["offer_id"]] = parse_instant(one["expires_at"])


def has_birthday(said: str | None, day: dt.date) -> bool:
    if said is None or said in ("1970-01-01", "1991-02-29"):
        return False
    born = int(said[:4]) if len(said) == 10 else 0
    is_leap = day.year % 4 == 0  # of the years that are walked over
    wanted = "02-28" if said[-5:] == "02-29" and not is_leap else said[-5:]
    return day.year > born and f"{day:%m-%d}" == wanted


def dues(known: Heard, member: str, day: dt.date) -> Iterator[tuple[str, int, str, str]]:
    """(rule, due, once per, occasion) of what is about this day by what is known."""
    zone = known["zone"]

    def due(before: int, clock: int, spread: int = 0) -> int:
        sent = day - dt.timedelta(days=before)
        return instant_of(sent, clock, zone) + share_of(member, day, spread)

    if has_birthday(known.get("birthday"), day):
        yield "birthday", due(7, 600), f"{day.year}", f"{day}"
        yield "birthday_itself", due(0, 150, 20 * HOUR), "ever", f"{day}"
    if "joined" in known:
        joined = local_date(known["joined"], zone)
        if day.year > joined.year and (day.month, day.day) == (joined.month, joined.day):
            yield "joined", due(0, 1439), f"{day.year}", f"{day}"
    if f"{day}" in ("2026-02-17", "2027-02-06"):
        yield "new_year", due(3, 600, 3 * HOUR), f"{day}", f"{day}"
    if f"{day:%m-%d}" == "12-25":
        yield "xmas", due(0, 0, DAY), f"{day}", f"{day}"
    if day.weekday() == 4 and known.get("tier") == "gold":
        yield "friday", due(0, 570, HOUR), f"{day}", f"{day}"
    ends = [("points", known.get("points"), 14, 600, 0, "")]
    ends += [("review", known.get("review"), 30, 600, 0, "")]
    ends += [("offer", end, 1, 1080, HOUR, key) for key, end in known["offers"].items()]
    for rule, end, before, clock, spread, key in ends:
        if end is not None and local_date(end - 1, zone) == day:
            instant = due(before, clock, spread)
            if instant < end:
                prefix = f"offer_id={key}|" if key else ""
                yield rule, instant, f"{key}{day}", f"{prefix}{day}"


def walked(events: list[EventDict], member: str, until: int) -> set[tuple[str, int, str]]:
    """What is raised: for each stretch between two events, every day that it can be about."""
    return {(rule, due, day) for rule, due, day, raised in decided(events, member, until) if raised}


def decided(events: list[EventDict], member: str, until: int) -> list[tuple[str, int, str, bool]]:
    """(rule, due, occasion, is it raised) in order: an occasion that was had is no new one."""
    found: list[tuple[str, int, str, bool]] = []
    once: set[tuple[str, str]] = set()
    known = Heard()
    for index, one in enumerate(events):
        known.hear(one)
        after = one["occurred_at"]
        end = events[index + 1]["occurred_at"] if index + 1 < len(events) else until
        stretch: list[tuple[int, str, str, str]] = []
        day = local_date(after, "UTC") - dt.timedelta(days=2)
        while day <= local_date(end, "UTC") + dt.timedelta(days=32):
            for rule, due, per, occasion in dues(known, member, day):
                if after < due <= end:
                    stretch.append((due, rule, per, occasion))
            day += dt.timedelta(days=1)
        for due, rule, per, occasion in sorted(stretch):
            found.append((rule, due, occasion, (rule, per) not in once))
            once.add((rule, per))
    return found


def raised_by(messages: list[Any]) -> set[tuple[str, int, str]]:
    return {
        (one.rule, parse_instant(one.due_at), one.occasion)
        for one in messages
        if isinstance(one, Trigger)
    }


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> RuleBook:
    return book_with(tmp_path_factory.mktemp("calendar") / "rules", *RULES)


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.integers(0, 12))
def test_every_day_comes_once_and_at_its_time(book: RuleBook, seed: int, count: int) -> None:
    random = Random(seed)
    events, until = random_life(random, count), START + DAYS * DAY
    outcomes = list(replay(arrived(events), book, until))
    messages = [message for outcome in outcomes for message in outcome.triggers]
    assert raised_by(messages) == walked(events, "m1", until)
    # No two triggers are about the same occasion.
    assert len({m.trigger_id for m in messages}) == len(messages)
    verdicts = [
        (one.rule, parse_instant(one.due_at), one.occasion, one.verdict == "raised")
        for outcome in outcomes
        for one in outcome.decisions
        if isinstance(one, Decision)
    ]
    assert verdicts == decided(events, "m1", until)


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.integers(0, 12))
def test_saving_and_stopping_at_any_time_changes_nothing(
    book: RuleBook, seed: int, count: int
) -> None:
    random = Random(seed)
    events, until = random_life(random, count), START + DAYS * DAY
    life = Life(book)
    for one in events:
        while random.random() < 0.5 and life.member.advanced_to < one["occurred_at"]:
            low = max(life.member.advanced_to, one["occurred_at"] - 30 * DAY)
            life.reaches(random.randrange(low, one["occurred_at"]))
            life.is_saved_and_loaded()
        life.folds(one)
        life.is_saved_and_loaded()
    life.reaches(until)
    assert raised_by(list(life.said)) == walked(events, "m1", until)


@settings(max_examples=150, deadline=None)
@given(SEEDS, st.integers(1, 10))
def test_a_change_that_is_heard_late_gives_the_triggers_of_the_right_order(
    book: RuleBook, seed: int, count: int
) -> None:
    random = Random(seed)
    # Close to deadlines, so that the order matters; all but the last change are old news.
    hot = random.choice([at("2026-05-05 10:00"), at("2026-02-14 12:00"), at("2026-05-08 09:30")])
    events = random_life(random, count)
    for number, one in enumerate(events):
        if "expires_at" in one:
            one["expires_at"] = rfc3339(hot + 14 * DAY + random.randrange(-4, 4) * DAY)
        one["occurred_at"] = min(one["occurred_at"], hot - DAY + number)
    events[-1]["occurred_at"] = hot + random.randrange(-40, 20) * MINUTE
    for _ in range(6):
        events.append(event("visit", hot + random.randrange(-45, 25) * MINUTE))
    events.sort(key=lambda one: one["occurred_at"])
    until = hot + 2 * DAY
    expected = [m for o in replay(arrived(events), book, until) for m in o.triggers]

    def heard(one: EventDict) -> int:
        now = one["occurred_at"] > hot - DAY + len(events)
        return one["occurred_at"] + (random.randrange(HOUR) if now else 0)

    life = Life(book)
    for one in sorted(events, key=heard):
        life.folds(one)
    life.reaches(until)
    assert net(life.said) == net(expected)


# --- what costs nothing -----------------------------------------------------------------------


def test_a_member_whom_no_calendar_concerns_has_no_deadline(tmp_path: Path) -> None:
    book = book_with(
        tmp_path / "rules",
        calendar("friday", {"weekly": "friday"}) | {"if": {"tier": ["gold"]}},
        calendar("birthday", {"birthday": {"days_before": 7}}),
        calendar("points", {"before": "points_expire", "days": 14}),
    )
    life = Life(book)
    life.sees("visit", at("2026-03-02"))
    assert next_due(life.member, book) == NEVER
    life.sees("tier", at("2026-03-03"), tier="gold")
    assert next_due(life.member, book) == at("2026-03-06 10:00") + share_of(
        "m1", dt.date(2026, 3, 6), HOUR
    )
    life.sees("tier", at("2026-03-04"), tier="silver")
    assert next_due(life.member, book) == NEVER


def test_who_comes_to_be_concerned_while_a_festival_is_being_spread_has_a_part_in_it(
    tmp_path: Path,
) -> None:
    rule = calendar("r", {"festival": "christmas", "spread": "3h"})
    book = book_with(tmp_path / "rules", rule | {"if": {"orders": {"at_least": 1}}})
    start = at("2026-12-25 10:00")
    for number in range(20):
        life = Life(book, f"m{number}")
        life.sees("visit", start - HOUR)
        life.sees("purchase", start + HOUR)
        life.reaches(start + DAY)
        due = start + share_of(f"m{number}", dt.date(2026, 12, 25), 3 * HOUR)
        assert due_instants(life) == ([due] if due > start + HOUR else [])


def test_orders_in_a_window_wake_who_has_them_and_nobody_else(tmp_path: Path) -> None:
    rule = calendar("r", {"weekly": "friday", "spread": "1s"})
    wanted = {"orders": {"at_least": 2, "within": "10d"}}
    life = Life(book_with(tmp_path / "rules", rule | {"if": wanted}))
    life.sees("purchase", at("2026-03-02"))
    assert next_due(life.member, life.book) == NEVER
    life.sees("purchase", at("2026-03-04"))
    life.reaches(at("2026-03-31"))
    # On the 13th, the first of the two is eleven days old.
    assert [due // DAY for due in due_instants(life)] == [at("2026-03-06 10:00") // DAY]
    assert life.verdicts == [("r", "raised")], "and nothing was asked on the Fridays that followed"


def test_what_leaves_a_window_while_a_ritual_is_being_spread_was_in_it_at_its_own_instant(
    tmp_path: Path,
) -> None:
    rule = calendar("r", {"weekly": "friday", "spread": "3h"})
    wanted = {"orders": {"at_least": 1, "within": "2d"}}
    book = book_with(tmp_path / "rules", rule | {"if": wanted})
    start = at("2026-03-06 10:00")
    for number in range(20):
        life = Life(book, f"m{number}")
        life.sees("purchase", start - 2 * DAY + HOUR)
        life.reaches(start + DAY)
        due = start + share_of(f"m{number}", dt.date(2026, 3, 6), 3 * HOUR)
        assert due_instants(life) == ([due] if due < start + HOUR else [])


def test_orders_of_which_there_may_be_too_many_are_counted_when_it_is_due(tmp_path: Path) -> None:
    rule = calendar("r", {"weekly": "friday", "spread": "1s"})
    wanted = {"orders": {"below": 1, "within": "4d"}}
    life = Life(book_with(tmp_path / "rules", rule | {"if": wanted}))
    life.sees("purchase", at("2026-03-05"))
    life.reaches(at("2026-03-14"))
    # Time takes the order out of the window.
    assert life.verdicts == [("r", "condition"), ("r", "raised")]


def test_nobody_known_yet_and_visitors_without_a_name_have_none(tmp_path: Path) -> None:
    book = book_with(tmp_path / "rules", calendar("r", {"weekly": "friday"}))
    assert next_due(Member("m1", False), book) == NEVER
    life = Life(book, anonymous=True)
    life.sees("visit", at("2026-03-02"))
    assert next_due(life.member, book) == NEVER
    assert life.verdicts == []


def test_a_rule_that_is_off_wakes_nobody(tmp_path: Path) -> None:
    book = book_with(tmp_path / "rules", calendar("r", {"weekly": "friday"}, mode="off"))
    life = Life(book)
    life.sees("visit", at("2026-03-02"))
    assert next_due(life.member, book) == NEVER


def test_calendar_deadlines_take_no_room_in_a_row(tmp_path: Path) -> None:
    rules = [calendar(f"r{n}", {"festival": name}) for n, name in enumerate(FESTIVALS)]
    sizes = []
    for number, book in enumerate([book_with(tmp_path / "a", *rules), book_with(tmp_path / "b")]):
        life = Life(book, f"m{number}")
        life.sees("visit", at("2026-03-02"))
        sizes.append(len(life.is_saved_and_loaded()))
    assert sizes[0] == sizes[1]


# --- spread, history, lateness ----------------------------------------------------------------


def test_a_festival_reaches_its_members_one_after_the_other(tmp_path: Path) -> None:
    book = book_with(
        tmp_path / "rules",
        calendar("r", {"festival": "spring_festival", "days_before": 3, "spread": "2h"}),
    )
    start = at("2026-02-14 10:00")
    found = []
    for number in range(300):
        life = Life(book, f"m{number}")
        life.sees("visit", at("2026-02-01"))
        life.reaches(start + DAY)
        found += due_instants(life)
    assert len(set(found)) > 290
    assert all(start <= due < start + 2 * HOUR for due in found)
    by_quarter = [sum(start + n * HOUR // 2 <= d < start + (n + 1) * HOUR // 2 for d in found)
                  for n in range(4)]  # fmt: skip
    assert min(by_quarter) > 40


def test_history_brings_neither_messages_nor_decisions_for_days_that_are_over(
    tmp_path: Path,
) -> None:
    book = book_with(
        tmp_path / "rules",
        calendar("r", {"birthday": {"days_before": 7}}),
        calendar("friday", {"weekly": "friday"}),
    )
    now = at("2026-03-02")
    life = Life(book)
    life.sees("profile", at("2020-01-01"), now, birthday="05-12", origin="backfill")
    life.sees("visit", at("2024-01-01"), now, origin="backfill")
    life.reaches(now, now)
    assert life.verdicts == []
    life.reaches(at("2026-05-05 10:00"), at("2026-05-05 10:00"))
    assert due_instants(life) == [at("2026-05-05 10:00")]


def test_what_was_decided_too_late_has_expired(tmp_path: Path) -> None:
    book = book_with(
        tmp_path / "rules", calendar("r", {"weekly": "friday", "spread": "1s"}, expires_after="2h")
    )
    life = Life(book)
    life.sees("visit", at("2026-03-02"))
    saturday = at("2026-03-07")
    life.reaches(saturday, saturday)
    assert life.verdicts == [("r", "expired")]


def test_a_new_ritual_does_not_catch_up_on_the_years_of_those_who_slept(tmp_path: Path) -> None:
    life = Life(book_with(tmp_path / "none"))
    life.sees("visit", at("2024-03-04"))
    life.is_saved_and_loaded()
    life.book = book_with(
        tmp_path / "rules", calendar("r", {"weekly": "friday", "spread": "1s"}, expires_after="12h")
    )
    wakes, now = 0, at("2026-03-06 10:30")
    while (due := next_due(life.member, life.book)) <= now:
        life.reaches(due, now)
        life.is_saved_and_loaded()
        wakes += 1
    assert wakes <= 3
    assert life.verdicts == [("r", "raised")]
    assert due_instants(life) == [due_at_ten("m1", "2026-03-06")]


def test_who_has_missed_nothing_has_nothing_to_pass_over(tmp_path: Path) -> None:
    life = Life(book_with(tmp_path / "rules", calendar("r", {"birthday": {"days_before": 7}})))
    life.sees("profile", at("2026-03-01"), birthday="05-12")
    life.sees("visit", at("2026-05-04"), at("2026-05-04"))
    assert life.member.calendar_to == 0
    life.sees("visit", at("2026-06-30"), at("2026-06-30"))
    assert life.member.calendar_to == at("2026-06-28")
    assert life.raised == []


def due_at_ten(member: str, day: str) -> int:
    return at(f"{day} 10:00") + share_of(member, dt.date.fromisoformat(day), 1000)


def test_a_birthday_that_was_said_in_time_but_heard_late_is_not_missed(tmp_path: Path) -> None:
    book = book_with(tmp_path / "rules", calendar("r", {"birthday": {"days_before": 7}}))
    life = Life(book)
    life.sees("visit", at("2026-05-05 10:20"))
    life.sees("profile", at("2026-05-05 09:50"), birthday="05-12")
    assert due_instants(life) == [at("2026-05-05 10:00")]
    # Said after it was due, it is for the next year.
    other = Life(book, "m2")
    other.sees("visit", at("2026-05-05 10:20"))
    other.sees("profile", at("2026-05-05 10:00"), birthday="05-12")
    assert other.raised == []


def test_a_change_heard_late_takes_back_what_it_shows_to_be_wrong(tmp_path: Path) -> None:
    book = book_with(tmp_path / "rules", calendar("r", {"birthday": {"days_before": 7}}))
    life = Life(book)
    life.sees("profile", at("2026-03-01"), birthday="05-12")
    life.sees("visit", at("2026-05-05 10:20"))
    life.sees("profile", at("2026-05-05 09:50"), birthday="05-13")
    assert life.cancelled == ["r"]
    life.reaches(at("2026-05-31"))
    assert due_instants(life) == [at("2026-05-05 10:00"), at("2026-05-06 10:00")]


def test_what_was_said_after_a_deadline_is_not_taken_for_what_was_known_at_it(
    tmp_path: Path,
) -> None:
    book = book_with(
        tmp_path / "rules",
        calendar("r", {"weekly": "friday", "spread": "1s"}) | {"if": {"tier": ["gold"]}},
    )
    life = Life(book)
    life.sees("profile", at("2026-03-02"), time_zone="Asia/Tokyo")
    life.sees("tier", at("2026-03-06 10:20"), tier="gold")
    life.sees("profile", at("2026-03-06 09:50"), time_zone="Asia/Shanghai")
    assert life.raised == []


def test_an_event_older_than_the_lateness_changes_what_comes_and_not_what_was(
    tmp_path: Path,
) -> None:
    book = book_with(tmp_path / "rules", calendar("r", {"birthday": {"days_before": 7}}))
    life = Life(book)
    life.sees("visit", at("2026-05-05 12:00"))
    life.sees("profile", at("2026-05-05 09:50"), birthday="05-12")
    assert life.raised == []
    life.reaches(at("2027-05-31"))
    assert due_instants(life) == [at("2027-05-05 10:00")]


# --- what is said -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("when", "locale", "text"),
    [
        ({"birthday": {"days_before": 7}}, "en", "The birthday is 2026-05-12, 7 days ahead."),
        ({"birthday": {"days_before": 7}}, "zh-CN", "会员生日是 2026-05-12,还有 7 天。"),
        ({"anniversary": "registered"}, "en", "The anniversary of joining is 2026-05-12."),
        ({"anniversary": "registered"}, "zh-CN", "会员入会周年是 2026-05-12。"),
        ({"weekly": "tuesday"}, "en", "2026-05-12 is a Tuesday."),
        ({"weekly": "tuesday"}, "zh-CN", "2026-05-12 是星期二。"),
        (
            {"festival": "dragon_boat", "days_before": 1},
            "en",
            "Dragon Boat Festival is 2026-06-19, 1 day ahead.",
        ),
        ({"festival": "dragon_boat", "days_before": 1}, "zh-CN", "端午节是 2026-06-19,还有 1 天。"),
        (
            {"before": "points_expire", "days": 2},
            "en",
            "The last day of some points is 2026-05-12, 2 days ahead.",
        ),
        (
            {"before": "points_expire", "days": 2},
            "zh-CN",
            "部分积分的最后有效日是 2026-05-12,还有 2 天。",
        ),
        (
            {"before": "offer_expires", "days": 2},
            "en",
            "The last day of the offer tea is 2026-05-12, 2 days ahead.",
        ),
        (
            {"before": "offer_expires", "days": 2},
            "zh-CN",
            "优惠 tea 的最后有效日是 2026-05-12,还有 2 天。",
        ),
        (
            {"before": "tier_review", "days": 0},
            "en",
            "The last day before the tier is reviewed is 2026-05-12.",
        ),
        ({"before": "tier_review", "days": 0}, "zh-CN", "等级复核前的最后一天是 2026-05-12。"),
    ],
)
def test_a_trigger_says_which_day_it_is_about(
    tmp_path: Path, when: dict[str, Any], locale: str, text: str
) -> None:
    life = Life(book_with(tmp_path / "rules", calendar("r", when)))
    end = rfc3339(at("2026-05-13"))
    life.sees("register", at("2025-05-12 12:00"))
    life.sees("profile", at("2026-05-07"), birthday="05-12", locale=locale)
    life.sees("points", at("2026-05-07"), balance=10, expiring=5, expires_at=end)
    life.sees("tier", at("2026-05-07"), tier="gold", review_at=end)
    life.sees("offer_granted", at("2026-05-07"), offer_id="tea", expires_at=end)
    life.outcomes.clear()
    if "birthday" in when:
        life.member.advanced_to = at("2026-05-04")
    life.reaches(at("2026-06-30"))
    first = next(one for one in life.said if isinstance(one, Trigger))
    assert first.reason.text == text
    assert first.reason.kind == "calendar"
    assert first.reason.day == first.occasion.rpartition("|")[2]
    assert first.reason.offer_id == ("tea" if "offer" in text or "优惠" in text else None)


def test_the_occasion_of_an_offer_names_it(tmp_path: Path) -> None:
    life = Life(
        book_with(tmp_path / "rules", calendar("r", {"before": "offer_expires", "days": 1}))
    )
    for offer in ("tea", "coffee"):
        life.sees(
            "offer_granted", at("2026-05-01"), offer_id=offer, expires_at=rfc3339(at("2026-05-13"))
        )
    life.reaches(at("2026-05-31"))
    occasions = {one.occasion for one in life.said if isinstance(one, Trigger)}
    assert occasions == {"offer_id=tea|2026-05-12", "offer_id=coffee|2026-05-12"}


# --- the book ---------------------------------------------------------------------------------


def test_another_version_of_the_zone_data_makes_every_row_be_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = [calendar("r", {"weekly": "friday"})]
    before = book_with(tmp_path / "a", *rules).digest
    assert book_with(tmp_path / "b", *rules).digest == before
    without = book_with(tmp_path / "c").digest
    monkeypatch.setattr(local_time.tzdata, "IANA_VERSION", "2099a")
    assert book_with(tmp_path / "d", *rules).digest != before
    assert book_with(tmp_path / "e").digest == without


def test_a_deadline_does_not_depend_on_who_was_looked_at_before(tmp_path: Path) -> None:
    rules = [calendar("r", {"weekly": "friday", "spread": "3h"})]
    used, fresh = book_with(tmp_path / "a", *rules), book_with(tmp_path / "b", *rules)
    for week in range(50):
        member = Member("m1", False)
        handle(member, arrived([event("visit", START + week * 7 * DAY - week)])[0], Context(used))
        assert next_due(member, used) == next_due(member, fresh)
        fresh = book_with(tmp_path / "b", *rules)


@pytest.mark.parametrize(
    ("when", "reentry", "message"),
    [
        ({"birthday": {"days_befor": 7}}, "always", "allowed: days_before, at, spread; did you"),
        ({"birthday": {"at": "25:00"}}, "always", "must be a local time such as 10:00"),
        ({"birthday": {"at": 10}}, "always", "must be a local time such as 10:00"),
        ({"birthday": {"days_before": 181}}, "always", "a whole number from 0 to 180"),
        ({"birthday": {}, "weekly": "friday"}, "always", "has birthday and weekly"),
        ({"birthdy": {}}, "always", "did you mean 'birthday'?"),
        ({}, "always", "has none"),
        ("birthday", "always", "a mapping with one of birthday"),
        ({"anniversary": "first_order"}, "always", "allowed: registered"),
        ({"festival": "spring_festval"}, "always", "did you mean 'spring_festival'?"),
        ({"festival": "holi"}, "always", "'holi' is not in calendar.yaml; it has: new_year,"),
        ({"weekly": "friady"}, "always", "did you mean 'friday'?"),
        ({"weekly": "friday", "days_before": 1}, "always", "is not known here"),
        ({"before": "points_expire"}, "always", "is missing: how many days before"),
        ({"before": "points", "days": 1}, "always", "did you mean 'points_expire'?"),
        ({"weekly": "friday", "at": "22:00", "spread": "3h"}, "always", "at most 2h from that"),
        ({"birthday": {}}, {"per": "member", "every": "90d"}, "once a calendar year by itself"),
        ({"weekly": "friday"}, {"per": "member", "every": "1d"}, "must be at least 4d"),
        ({"weekly": "friday"}, {"per": "item_id", "every": "9d"}, "makes no sense"),
    ],
)
def test_what_is_wrong_with_a_calendar_is_said(
    tmp_path: Path, when: Any, reentry: Any, message: str
) -> None:
    with pytest.raises(ConfigErrors) as caught:
        book_with(tmp_path / "rules", calendar("r", when, reentry=reentry))
    (error,) = caught.value.errors
    assert message in error.message
    assert error.line == 1


def test_a_ritual_may_have_a_pause_and_a_festival_may_be_had_once_ever(tmp_path: Path) -> None:
    book = book_with(
        tmp_path / "rules",
        calendar("r", {"weekly": "friday"}, reentry={"per": "member", "every": "10d"}),
        calendar("once", {"festival": "christmas"}, reentry="once"),
        calendar("shortest", {"weekly": "monday"}, reentry={"per": "member", "every": "4d"}),
    )
    life = Life(book)
    life.sees("visit", at("2026-12-01"))
    life.reaches(at("2027-12-31"))
    assert life.raised.count("once") == 1
    gaps = [b - a for a, b in pairwise(due_instants(life))]
    # Every second Friday; an hour's spread moves them to and fro.
    assert {round(gap / DAY) for gap in gaps} == {14}


def test_a_spread_that_is_not_given_is_an_hour_for_what_everybody_has(tmp_path: Path) -> None:
    book = book_with(
        tmp_path / "rules",
        calendar("a", {"weekly": "friday"}),
        calendar("b", {"festival": "christmas", "at": "23:30"}),
        calendar("c", {"birthday": {}}),
    )
    spreads = {n: r.when.spread for n, r in book.rules.items() if isinstance(r.when, Calendar)}
    assert spreads == {"a": HOUR, "b": 30 * MINUTE, "c": 0}
