"""Segments: entered and left to the second, told with since when, and what rules make of it."""

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from audience_kit import book_with, moves, segments_of, transitions
from core_builders import (
    DAY,
    HOUR,
    MINUTE,
    NOON,
    SECOND,
    Life,
    arrived,
    odd,
    random_log,
    row_of,
    shipped_book,
)
from disorder import is_the_same_when_saved, orderly_log, shuffled

from agents.members import BadShare, MemberFold, MemberStats, OutputTopics
from models.conditions import first_unmet
from models.engine import advance, handle, next_due
from models.member import Member, decode
from models.outcome import Context
from models.projection import project
from models.rulebook import RuleBook
from models.stages import NEVER
from models.times import rfc3339
from models.triggers import Decision, Transition

Json = dict[str, Any]
OLD = {"last_order": {"older_than": "30d"}}
FRESH = {"last_order": {"newer_than": "30d"}}


# --- entering and leaving -------------------------------------------------------------------------


def test_an_event_and_time_alone_move_a_member_to_the_millisecond(tmp_path: Path) -> None:
    life = Life(book_with(tmp_path, {"fresh": FRESH, "old": OLD}))
    life.sees("visit", NOON - DAY)
    life.sees("purchase", NOON)
    assert segments_of(life.member, life.book) == {"fresh"}
    assert next_due(life.member, life.book) == NOON + 30 * DAY
    life.reaches(NOON + 30 * DAY - 1)
    assert segments_of(life.member, life.book) == {"fresh"}
    life.reaches(NOON + 30 * DAY)
    assert segments_of(life.member, life.book) == {"old"}
    turned = rfc3339(NOON + 30 * DAY)
    assert moves(life) == [("+fresh", rfc3339(NOON)), ("-fresh", turned), ("+old", turned)]
    left = transitions(life)[1]
    assert (left.since, left.why, left.member_id) == (rfc3339(NOON), "no longer: fresh.", "m1")


def test_who_waits_for_nothing_is_in_from_the_first_event_on(tmp_path: Path) -> None:
    life = Life(book_with(tmp_path, {"never_ordered": {"orders": {"below": 1}}}))
    life.sees("search", NOON)
    life.sees("search", NOON + DAY)
    life.sees("purchase", NOON + 2 * DAY)
    assert moves(life) == [
        ("+never_ordered", rfc3339(NOON)),
        ("-never_ordered", rfc3339(NOON + 2 * DAY)),
    ]


def test_a_segment_may_ask_for_those_above_it_in_one_pass(tmp_path: Path) -> None:
    wanted = {
        "buyers": {"orders": {"at_least": 1}},
        "big": {"segments": "buyers", "spend": {"at_least": 100}},
        "small": {"segments": "buyers", "not": [{"segments": "big"}]},
    }
    life = Life(book_with(tmp_path, wanted))
    life.sees("purchase", NOON, total=60)
    assert segments_of(life.member, life.book) == {"buyers", "small"}
    life.sees("purchase", NOON + DAY, total=60)
    assert segments_of(life.member, life.book) == {"buyers", "big"}


def test_a_stage_that_time_alone_moves_takes_its_segments_along(tmp_path: Path) -> None:
    life = Life(book_with(tmp_path, {"asleep": {"stage": ["dormant", "lost"]}}))
    life.sees("purchase", NOON)
    life.reaches(NOON + 90 * DAY)
    assert moves(life) == [("+asleep", rfc3339(NOON + 90 * DAY))]
    life.sees("visit", NOON + 95 * DAY)
    assert moves(life)[1:] == [("-asleep", rfc3339(NOON + 95 * DAY))]


def test_spend_in_a_year_ends_with_the_cell_that_the_window_leaves(tmp_path: Path) -> None:
    life = Life(book_with(tmp_path, {"vip": {"spend": {"at_least": 100, "within": "364d"}}}))
    life.sees("purchase", NOON, total=100)
    due = next_due(life.member, life.book)
    life.reaches(NOON + 500 * DAY)
    [_, (name, left)] = moves(life)
    assert name == "-vip"
    assert (
        next(
            at for at in range(NOON + 364 * DAY, NOON + 392 * DAY + 1, HOUR) if rfc3339(at) >= left
        )
        >= NOON + 364 * DAY
    )
    assert due <= NOON + 392 * DAY


def test_an_erased_member_leaves_everything(tmp_path: Path) -> None:
    life = Life(book_with(tmp_path, {"fresh": FRESH}))
    life.sees("purchase", NOON)
    life.sees("erase", NOON + DAY)
    assert moves(life)[1:] == [("-fresh", rfc3339(NOON + DAY))]
    assert transitions(life)[1].why == "erase"
    assert life.member.labels is None
    life.sees("purchase", NOON + 2 * DAY)
    assert moves(life)[2:] == [("+fresh", rfc3339(NOON + 2 * DAY))]


def test_who_is_in_no_segment_costs_a_byte_and_nothing_is_remembered_for_long(
    tmp_path: Path,
) -> None:
    life = Life(book_with(tmp_path, {"fresh": {"last_order": {"newer_than": "5d"}}}))
    life.sees("purchase", NOON)
    life.reaches(NOON + 5 * DAY)
    life.is_saved_and_loaded()
    assert life.member.labels is not None, "an event may still come late"
    life.reaches(NOON + 6 * DAY)
    row = life.is_saved_and_loaded()
    assert life.member.labels is None
    assert row.endswith(b"\xc0")


def test_a_worker_counts_who_enters_and_leaves_and_shows_segments_by_name(tmp_path: Path) -> None:
    book, stats = book_with(tmp_path, {"fresh": FRESH, "old": OLD}), MemberStats()
    fold = MemberFold(book, OutputTopics(), lambda key, count: 0, 1, "/x", BadShare(), stats)
    life = Life(book)
    life.sees("purchase", NOON)
    outputs = fold.advance(life.member, NOON + 30 * DAY, None)
    assert stats.segment_changes == {("fresh", "left"): 1, ("old", "entered"): 1}
    assert stats.transitions == {}
    assert {output.topic for output in outputs} == {"decisions"}
    [update] = fold.project(b"mm1", fold.save(life.member, None))
    shown = json.loads(update.value or b"")["segments"]
    assert shown == [{"segment": "old", "since": rfc3339(NOON + 30 * DAY)}]


# --- rules ----------------------------------------------------------------------------------------


def test_rules_wait_for_a_segment_to_be_entered_and_left(tmp_path: Path) -> None:
    rules = (
        odd("in", {"segment_entered": "old"}, overtaken_by="purchase"),
        odd("out", {"segment_left": "old"}),
    )
    life = Life(book_with(tmp_path, {"old": OLD}, *rules))
    life.sees("purchase", NOON)
    life.reaches(NOON + 30 * DAY)
    [said] = life.said
    assert (said.rule, said.occasion) == ("in", f"segment=old|{NOON + 30 * DAY}")  # type: ignore[union-attr]
    assert said.reason.kind == "segment"  # type: ignore[union-attr]
    assert said.reason.segment == "old"  # type: ignore[union-attr]
    assert "came into the segment old at 2026-01-31 12:00 UTC: old." in said.reason.text  # type: ignore[union-attr]
    life.sees("purchase", NOON + 30 * DAY + HOUR)
    assert life.cancelled == ["in"]
    assert life.raised == ["in", "out"]
    assert life.said[-1].occasion == f"segment_left=old|{NOON + 30 * DAY + HOUR}"  # type: ignore[union-attr]


def test_a_rule_may_ask_for_a_segment_at_the_instant_that_it_is_entered(tmp_path: Path) -> None:
    rule = odd("it", {"event": "purchase"}, **{"if": {"segments": ["big", "old"]}})
    life = Life(book_with(tmp_path, {"big": {"spend": {"at_least": 20}}, "old": OLD}, rule))
    life.sees("purchase", NOON, total=10)
    life.sees("purchase", NOON + 1, total=10)
    assert life.verdicts == [("it", "condition"), ("it", "raised")]
    why = next(d.why for d in life.outcomes[0].decisions if isinstance(d, Decision))
    assert why == "this did not hold: in segment big or old"


def test_history_makes_segments_and_messages_nobody(tmp_path: Path) -> None:
    life = Life(book_with(tmp_path, {"fresh": FRESH}, odd("in", {"segment_entered": "fresh"})))
    life.sees("purchase", NOON, origin="backfill")
    assert segments_of(life.member, life.book) == {"fresh"}
    assert life.verdicts == [("in", "backfill")]


def test_reachable_asks_for_consent_to_marketing(tmp_path: Path) -> None:
    life = Life(book_with(tmp_path, {"sms": {"reachable": ["sms"]}}))
    life.sees("visit", NOON)
    life.sees("consent", NOON + 1, channel="sms", granted=False)
    life.sees("consent", NOON + 2, channel="sms", granted=False, purpose="service")
    life.sees("consent", NOON + 3, channel="sms", granted=True)
    assert [name for name, _ in moves(life)] == ["+sms", "-sms", "+sms"]


# --- what comes late ------------------------------------------------------------------------------


def test_a_late_order_shows_that_a_segment_was_never_entered(tmp_path: Path) -> None:
    rules = (odd("in", {"segment_entered": "old"}), odd("out", {"segment_left": "old"}))
    life = Life(book_with(tmp_path, {"old": OLD}, *rules))
    life.sees("purchase", NOON)
    life.reaches(NOON + 30 * DAY)
    life.is_saved_and_loaded()
    life.sees("purchase", NOON + 30 * DAY - MINUTE)
    assert (life.raised, life.cancelled) == (["in"], ["in"])
    entered = rfc3339(NOON + 30 * DAY)
    assert moves(life) == [("+old", entered), ("-old", entered)]
    assert next_due(life.member, life.book) == NOON + 60 * DAY - MINUTE


def test_a_late_order_shows_that_a_segment_was_never_left(tmp_path: Path) -> None:
    rules = (odd("in", {"segment_entered": "fresh"}), odd("out", {"segment_left": "fresh"}))
    life = Life(book_with(tmp_path, {"fresh": FRESH}, *rules))
    life.sees("purchase", NOON)
    life.reaches(NOON + 30 * DAY + MINUTE)
    assert life.raised == ["in", "out"]
    life.is_saved_and_loaded()
    life.sees("purchase", NOON + 30 * DAY - MINUTE)
    assert (life.raised, life.cancelled) == (["in", "out"], ["out"])
    assert segments_of(life.member, life.book) == {"fresh"}
    back = transitions(life)[-1]
    assert (back.after, back.since) == ("fresh", rfc3339(NOON))
    [shown] = project(life.member, None, life.book).segments
    assert shown.since == rfc3339(NOON)


def test_a_late_order_dates_a_segment_from_when_it_was_true(tmp_path: Path) -> None:
    life = Life(book_with(tmp_path, {"short": {"last_order": {"newer_than": "10m"}}}))
    life.sees("visit", NOON)
    life.sees("purchase", NOON - 5 * MINUTE)
    life.sees("visit", NOON + 20 * MINUTE)
    assert moves(life) == [
        ("+short", rfc3339(NOON - 5 * MINUTE)),
        ("-short", rfc3339(NOON + 5 * MINUTE)),
    ]


def test_what_was_entered_too_early_is_entered_when_it_was_true(tmp_path: Path) -> None:
    wanted = {"paused": {"last_order": {"older_than": "10m"}}}
    life = Life(book_with(tmp_path, wanted, odd("in", {"segment_entered": "paused"})))
    life.sees("purchase", NOON)
    life.sees("visit", NOON + 30 * MINUTE)
    life.sees("purchase", NOON + 5 * MINUTE)
    assert [name for name, _ in moves(life)] == ["+paused", "-paused", "+paused"]
    assert moves(life)[-1][1] == rfc3339(NOON + 15 * MINUTE)
    assert (life.raised, life.cancelled) == (["in", "in"], ["in"])


# --- the configuration changes --------------------------------------------------------------------


def test_a_new_segment_is_entered_by_time_alone_and_a_removed_one_is_forgotten(
    tmp_path: Path,
) -> None:
    old = book_with(tmp_path / "1", {"fresh": FRESH, "gone": {"orders": {"at_least": 1}}})
    new = book_with(tmp_path / "2", {"fresh": FRESH, "buyers": {"orders": {"at_least": 1}}})
    assert old.digest != new.digest
    life = Life(old)
    life.sees("purchase", NOON)
    row = life.is_saved_and_loaded()
    member = decode(row, "m1", False)
    assert next_due(member, new) == NOON + 1
    outcome = advance(member, NOON + DAY, Context(new))
    assert [d.after for d in outcome.decisions if isinstance(d, Transition)] == ["buyers"]
    assert segments_of(member, new) == {"fresh", "buyers"}
    assert next_due(decode(row_of(member, new), "m1", False), new) == NOON + 30 * DAY
    assert member.labels is not None
    assert member.labels.segments.keys() == new.segment_names.keys()


# --- for all logs ---------------------------------------------------------------------------------

ODD_SEGMENTS = {
    "fresh": {"last_order": {"newer_than": "20s"}},
    "paused": {"last_order": {"older_than": "15s", "newer_than": "60s"}},
    "twice": {"orders": {"at_least": 2, "within": "40s"}},
    "quiet": {"last_activity": {"older_than": "10s"}, "not": [{"segments": "fresh"}]},
    "spender": {"spend": {"at_least": 30, "within": "364d"}},
    "viewer": {"counts": {"view_item": {"at_least": 3}}, "segments": ["quiet", "fresh"]},
    "either": {"any": [{"segments": "twice"}, {"stage": "new"}]},
    "nobody_yet": {"orders": {"below": 1}, "reachable": ["sms"]},
}
ODD_RULES = [
    odd(f"{kind}_{name}", {f"segment_{kind}": name}, expires_after="30s")
    for name in ODD_SEGMENTS
    for kind in ("entered", "left")
]


@pytest.mark.parametrize("step", [4 * SECOND, MINUTE, 9 * DAY])
def test_what_is_said_is_what_is_true_at_every_instant(tmp_path: Path, step: int) -> None:
    book = book_with(tmp_path, ODD_SEGMENTS, *ODD_RULES)
    entered: set[str] = set()
    for seed in range(30):
        random = Random(seed)
        log = random_log(random, step, 40)
        life = Life(book)
        for one in sorted(log, key=lambda e: e["occurred_at"]):
            if one.get("member_id") != "m1":
                continue
            while (due := next_due(life.member, book)) < one["occurred_at"]:
                before = len(life.outcomes)
                life.reaches(due)
                assert len(life.outcomes) == before + 1
                is_true(life, book)
            life.folds(one)
            if not life.member.erased_until:
                is_true(life, book)
        entered |= {name for name, _ in moves(life)}
    assert entered == {f"{sign}{name}" for name in ODD_SEGMENTS for sign in "+-"}


def is_true(life: Life, book: RuleBook) -> None:
    """What the row says is what the condition says; and time alone changes nothing until due."""
    member = life.member
    said = segments_of(member, book)

    def right(at: int) -> set[str]:
        segments = book.audiences.segments
        return {one.name for one in segments if first_unmet(member, one, at) is None}

    assert said == right(member.advanced_to)
    due = min(next_due(member, book), member.advanced_to + 400 * DAY)
    assert said == right(due - 1)
    assert due < NEVER


@pytest.mark.parametrize("step", [4 * SECOND, MINUTE, 5 * HOUR])
def test_saving_at_any_moment_changes_nothing_that_is_said_of_segments(
    tmp_path: Path, step: int
) -> None:
    is_the_same_when_saved(book_with(tmp_path, ODD_SEGMENTS, *ODD_RULES), step)


def test_in_whatever_order_events_arrive_the_member_ends_in_the_same_segments(
    tmp_path: Path,
) -> None:
    books = (book_with(tmp_path, ODD_SEGMENTS), shipped_book())
    for seed in range(120):
        random = Random(seed)
        book = books[seed % 2]
        log = orderly_log(random, (7 * MINUTE, 3 * HOUR, 9 * DAY)[seed % 3])
        events = arrived(shuffled(log, random))
        ends = []
        for order in (events, sorted(events, key=lambda e: (e.at, e.rank, e.offset))):
            member = Member("m1", False)
            for one in order:
                handle(member, one, Context(book))
            ends.append(segments_of(member, book))
            advance(member, member.advanced_to + 40 * DAY, Context(book))
            ends.append(segments_of(member, book))
        assert ends[:2] == ends[2:], seed
