"""What users of such systems complain about, each shown not to happen here, by its lesson.

``docs/complaints.md`` lists all of them with the test that shows it, here or elsewhere.
"""

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from core_builders import (
    DAY,
    HOUR,
    MINUTE,
    NOON,
    SECOND,
    Life,
    absence,
    book_of,
    event,
    lines,
    received,
    row_of,
    same,
    shipped_book,
    write_rules,
)

from models.engine import handle, next_due
from models.events import CLASS_OF, CODE_OF
from models.member import Member
from models.outcome import Context
from models.times import parse_instant
from models.triggers import Decision, Trigger

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "complaints.md"
ROW = re.compile(r"^\| (\d+) \| (.+) \| (.+) \| (.+) \|$", re.MULTILINE)
TEST = re.compile(r"`(tests/\w+\.py)::(test_\w+)`")


def life_of(tmp_path: Path, *rules: dict[str, Any]) -> Life:
    return Life(book_of(write_rules(tmp_path / "rules", *rules)))


def triggers(life: Life) -> list[Trigger]:
    return [message for message in life.said if isinstance(message, Trigger)]


def test_between_an_event_and_the_next_deadline_nothing_has_to_be_looked_at() -> None:
    life = Life(shipped_book())
    life.sees("register", NOON)
    due = next_due(life.member, life.book)
    outcome = life.reaches(due - 1)
    assert (outcome.triggers, outcome.decisions) == ([], [])
    assert next_due(life.member, life.book) == due, "and nothing before it has to be looked at"


def test_a_then_not_b_of_the_same_key_is_told_by_key(tmp_path: Path) -> None:
    when = absence("add_to_cart", same("purchase", "item_id"), "1h")
    life = life_of(tmp_path, {"rule": "cart", "when": when})
    life.sees("add_to_cart", NOON, item_id="tea")
    life.sees("add_to_cart", NOON + MINUTE, item_id="pot")
    life.sees("purchase", NOON + 2 * MINUTE, items=lines("tea"))
    life.reaches(NOON + DAY)
    assert [trigger.occasion for trigger in triggers(life)] == [f"item_id=pot|{NOON + MINUTE}"]


@pytest.mark.parametrize(
    ("reentry", "times"),
    [("once", 1), ("always", 3), ({"per": "member", "every": "2d"}, 2)],
    ids=["once", "always", "every two days"],
)
def test_how_often_a_rule_runs_is_what_its_file_says(
    tmp_path: Path, reentry: object, times: int
) -> None:
    life = life_of(tmp_path, {"rule": "r", "when": {"event": "visit"}, "reentry": reentry})
    for day in range(3):
        life.sees("visit", NOON + day * DAY)
    assert life.raised == ["r"] * times
    assert len(life.verdicts) == 3, "a no is recorded too"


def test_hot_cold_and_hot_again_is_another_occasion() -> None:
    life = Life(shipped_book())
    life.sees("purchase", NOON)
    life.sees("visit", NOON + 100 * DAY)
    life.reaches(NOON + 200 * DAY)
    assert life.raised.count("became_dormant") == 2
    ids = {trigger.trigger_id for trigger in triggers(life) if trigger.rule == "became_dormant"}
    assert len(ids) == 2


def test_silence_is_noticed_by_a_deadline_and_not_by_a_sweep(tmp_path: Path) -> None:
    rule = {"rule": "gone", "when": absence("visit", "visit", "90s")}
    life = life_of(tmp_path, rule)
    life.sees("visit", NOON)
    assert next_due(life.member, life.book) <= NOON + 90_000
    assert life.reaches(NOON + 90_000 - 1).triggers == []
    life.reaches(NOON + 90_000)
    assert [parse_instant(trigger.due_at) for trigger in triggers(life)] == [NOON + 90_000]


def test_an_event_is_worked_out_from_its_own_member_alone() -> None:
    # Neither the number of members nor their history is anything that a fold could look at.
    book = shipped_book()
    crowd = [Member(f"m{n}", False) for n in range(50)]
    before = [row_of(member, book) for member in crowd]
    one = received(event("register", NOON, crowd[7].id), 0)
    outcome = handle(crowd[7], one, Context(book))
    assert outcome.member is crowd[7]
    after = [row_of(member, book) for member in crowd]
    assert [n for n, row in enumerate(after) if row != before[n]] == [7]


def test_a_rule_sees_the_stage_that_the_same_event_brought(tmp_path: Path) -> None:
    rule = {"rule": "second", "when": {"event": "purchase"}, "if": {"stage": "active"}}
    life = life_of(tmp_path, rule)
    life.sees("purchase", NOON)
    assert life.raised == []
    life.sees("purchase", NOON + DAY)
    assert life.raised == ["second"]


def test_the_same_message_is_raised_once_however_often_time_is_told_to_pass() -> None:
    life = Life(shipped_book())
    life.sees("begin_checkout", NOON)
    for minutes in (30, 30, 31, 60, 60):
        life.reaches(NOON + minutes * MINUTE)
    assert life.raised == ["checkout_abandoned"]
    again = Life(shipped_book())
    again.sees("begin_checkout", NOON)
    again.reaches(NOON + DAY)
    assert again.said[0] == life.said[0], "and whoever works it out gives it the same id"


def test_a_batch_that_is_sent_again_as_a_whole_counts_nobody_twice() -> None:
    life = Life(shipped_book())
    for _ in range(3):
        life.sees("register", NOON, event_id="e1")
        life.sees("visit", NOON + MINUTE, event_id="e2")
    assert life.raised == ["welcome"]
    assert life.member.counts == {CODE_OF["register"]: 1, CODE_OF["visit"]: 1}


def test_opened_and_not_opened_are_never_both_taken(tmp_path: Path) -> None:
    rules: tuple[dict[str, Any], ...] = (
        {"rule": "not_opened", "when": absence("sent", "opened", "1d")},
        {"rule": "opened", "when": {"event": "opened"}},
    )
    # The clock starts when the message was sent, and not before.
    sent = {"channel": "email", "campaign": "spring"}
    for opened_after in (None, 1, DAY - 1, DAY, 3 * HOUR + DAY):
        life = life_of(tmp_path, *rules)
        life.sees("register", NOON - 5 * DAY)
        life.sees("sent", NOON, **sent)
        if opened_after is not None:
            life.sees("opened", NOON + opened_after, **sent)
        life.reaches(NOON + 4 * DAY)
        assert life.standing == (["not_opened"] if opened_after is None else ["opened"])
    dues = {parse_instant(t.due_at) for t in triggers(life) if t.rule == "not_opened"}
    assert dues == {NOON + DAY}


def test_windows_have_minutes_and_reach_back_and_a_stage_is_an_event(tmp_path: Path) -> None:
    life = life_of(
        tmp_path,
        {"rule": "m90", "when": absence("visit", "purchase", "90m")},
        {
            "rule": "older",
            "when": {"event": "visit"},
            "if": {"last_order": {"older_than": "36h", "newer_than": "10d"}},
        },
        {"rule": "woke", "when": {"stage_entered": "dormant"}},
    )
    life.sees("purchase", NOON)
    life.sees("visit", NOON + 36 * HOUR)
    life.reaches(NOON + 36 * HOUR + 89 * MINUTE)
    assert life.raised == ["older"]
    life.reaches(NOON + 100 * DAY)
    assert life.raised == ["older", "m90", "woke"]


def test_history_fills_the_state_and_messages_nobody() -> None:
    told, live = Life(shipped_book()), Life(shipped_book())
    for day in (0, 20, 40):
        told.sees("purchase", NOON + day * DAY, origin="backfill")
        live.sees("purchase", NOON + day * DAY)
    assert told.raised == []
    assert told.member.orders == live.member.orders
    assert told.stages == live.stages
    # Once history is there, live events count on with it.
    told.sees("purchase", NOON + 41 * DAY)
    assert told.member.order_count == 4


def test_of_many_copies_in_one_batch_one_counts_and_no_other_event_is_lost() -> None:
    life = Life(shipped_book())
    for name in ("a", "a", "b", "a", "b", "c"):
        life.sees("purchase", NOON, event_id=name, order_id=name)
    assert life.member.order_count == 3


def test_what_a_loud_id_costs_per_event_does_not_grow_with_what_it_has_sent() -> None:
    life, calls = Life(shipped_book()), 0

    def count(_frame: object, what: str, _argument: object) -> None:
        nonlocal calls
        calls += what == "call"

    def work_of(events: range) -> int:
        nonlocal calls
        calls = 0
        sys.setprofile(count)
        try:
            for n in events:
                kind = ("view_item", "add_to_cart", "begin_checkout", "visit")[n % 4]
                item = {"item_id": f"i{n}"} if n % 4 < 2 else {}
                life.sees(kind, NOON + n * SECOND, event_id=f"e{n}", **item)
                row_of(life.member, life.book)
        finally:
            sys.setprofile(None)
        return calls

    work_of(range(800))
    assert work_of(range(1400, 1500)) <= work_of(range(900, 1000)) * 1.01


def test_a_link_of_two_ids_neither_loses_nor_doubles_any_history() -> None:
    def lived(*, linked: bool) -> tuple[Life, Life]:
        member, visitor = Life(shipped_book()), Life(shipped_book(), name="a1", anonymous=True)
        visitor.sees("view_item", NOON, item_id="tea")
        member.sees("purchase", NOON + HOUR)
        if linked:
            for n in range(2):  # apps say it at every login
                member.sees("link", NOON + (2 + n) * HOUR, anonymous_id="a1")
                member.sees("link", NOON + (2 + n) * HOUR, other_id="m2")
        visitor.sees("view_item", NOON + 5 * HOUR, item_id="pot")
        member.sees("purchase", NOON + 6 * HOUR)
        member.reaches(NOON + 100 * DAY)
        visitor.reaches(NOON + 100 * DAY)
        return member, visitor

    (member, visitor), (alone, apart) = lived(linked=True), lived(linked=False)
    assert member.member.links == ["a1", "m2"]
    assert (member.member.orders, member.member.spend) == (alone.member.orders, alone.member.spend)
    assert (member.raised, member.stages) == (alone.raised, alone.stages)
    assert visitor.said == [], "to an anonymous id nothing is sent"
    assert visitor.member.counts == apart.member.counts


def test_no_event_has_a_place_for_an_address_that_two_ids_could_share() -> None:
    # Who sends knows addresses, and keeps the budget of each.
    fields = {name for one in CLASS_OF.values() for name in one.__struct_fields__}
    assert "channel" in fields
    for name in ("email", "phone", "mobile", "address", "msisdn", "openid", "unionid", "token"):
        assert not {field for field in fields if name in field}


def test_a_counter_in_a_window_ends_to_the_millisecond(tmp_path: Path) -> None:
    when = {"count": {"of": "visit", "at_least": 3, "within": "1d"}}
    for last, raised in ((DAY - 1, ["r"]), (DAY, [])):
        life = life_of(tmp_path, {"rule": "r", "when": when})
        for at in (0, HOUR, last):
            life.sees("visit", NOON + at)
        assert life.raised == raised


def test_why_nothing_was_sent_is_recorded_for_each_rule() -> None:
    life = Life(shipped_book())
    life.sees("complained", NOON, channel="sms")
    life.sees("begin_checkout", NOON + MINUTE)
    life.reaches(NOON + HOUR)
    decisions = [d for o in life.outcomes for d in o.decisions if isinstance(d, Decision)]
    (decision,) = [d for d in decisions if d.rule == "checkout_abandoned"]
    assert decision.verdict == "consent"
    assert decision.why


# --- the page ---------------------------------------------------------------------------------


def test_each_of_the_28_complaints_has_its_line() -> None:
    rows = ROW.findall(PAGE.read_text())
    assert [int(number) for number, *_ in rows] == list(range(1, 29))


@pytest.mark.parametrize("row", ROW.findall(PAGE.read_text()), ids=lambda row: row[0])
def test_a_line_names_tests_that_are_there_or_says_what_is_missing(
    row: tuple[str, str, str, str],
) -> None:
    shown = row[3]
    named = TEST.findall(shown)
    assert named or shown.startswith("**Not yet**")
    for file, test in named:
        assert re.search(rf"^(async )?def {test}\(", (ROOT / file).read_text(), re.MULTILINE), test


def test_every_test_of_this_file_is_named_in_a_line() -> None:
    here = set(re.findall(r"^def (test_\w+)\(", Path(__file__).read_text(), re.MULTILINE))
    about_the_page = {name for name in here if "_line" in name}
    named = {test for file, test in TEST.findall(PAGE.read_text()) if "test_complaints" in file}
    assert named == here - about_the_page
