"""Counts, sums, sequences, series, thresholds, tiers: when they fire and what proves them wrong."""

from itertools import combinations
from pathlib import Path
from random import Random
from typing import Any

import pytest
from core_builders import (
    DAY,
    HOUR,
    MINUTE,
    NOON,
    EventDict,
    Life,
    book_of,
    event,
    net,
    odd,
    replayed,
    same,
    write_rules,
)

from models.events import TOPIC_OF
from models.facts import turn_of
from models.rulebook import RuleBook
from models.triggers import Trigger, TriggerMessage


def book(folder: Path, when: dict[str, Any], **more: Any) -> RuleBook:
    return book_of(write_rules(folder / "rules", odd("it", when, **more)))


def life(folder: Path, when: dict[str, Any], **more: Any) -> Life:
    return Life(book(folder, when, **more))


def fired(life: Life) -> list[str]:
    """Occasions of the triggers, in the order in which they were raised."""
    return [m.occasion for m in life.said if isinstance(m, Trigger)]


def count(number: int, within: str, **more: Any) -> dict[str, Any]:
    return {"count": {"of": "view_item", "at_least": number, "within": within, **more}}


# --- counts -----------------------------------------------------------------------------------


def test_a_count_fires_with_the_event_that_completes_it(tmp_path: Path) -> None:
    one = life(tmp_path, count(3, "1h"))
    for number in range(3):
        one.sees("view_item", NOON + number * MINUTE, event_id=f"e{number}")
    assert fired(one) == ["e2"]
    (trigger,) = (m for m in one.said if isinstance(m, Trigger))
    assert trigger.reason.kind == "count"
    assert trigger.reason.text == (
        "The member viewed an item at 2026-01-01 12:02 UTC, and 3 times within 1h."
    )


def test_a_count_needs_all_events_in_less_than_the_window(tmp_path: Path) -> None:
    one = life(tmp_path, count(2, "1h"))
    one.sees("view_item", NOON)
    one.sees("view_item", NOON + HOUR)
    assert fired(one) == []
    one.sees("view_item", NOON + 2 * HOUR - 1, event_id="close")
    assert fired(one) == ["close"]


def test_a_count_fires_again_only_after_it_has_been_false(tmp_path: Path) -> None:
    one = life(tmp_path, count(2, "1h"))
    for minutes in (0, 10, 20, 60, 79, 140, 150):
        one.sees("view_item", NOON + minutes * MINUTE, event_id=f"m{minutes}")
    assert fired(one) == ["m10", "m150"]


def test_a_count_with_same_counts_each_value_by_itself(tmp_path: Path) -> None:
    one = life(tmp_path, count(2, "1h", same="item_id"), reentry={"per": "item_id", "every": "1d"})
    for number, item in enumerate("abcba"):
        one.sees("view_item", NOON + number, item_id=item, event_id=f"{item}{number}")
    assert fired(one) == ["b3", "a4"]


def test_a_count_counts_only_what_matches(tmp_path: Path) -> None:
    pattern = {"event": "view_item", "where": {"category": "tea"}}
    one = life(tmp_path, count(2, "1h", of=pattern))
    for number, category in enumerate(("tea", "coffee", "tea")):
        one.sees("view_item", NOON + number, category=category, event_id=f"e{number}")
    assert fired(one) == ["e2"]


def test_a_late_event_completes_a_count_by_the_event_that_follows_it(tmp_path: Path) -> None:
    one = life(tmp_path, count(3, "1h"))
    one.sees("view_item", NOON, event_id="a")
    one.sees("view_item", NOON + 10 * MINUTE, event_id="c")
    one.sees("view_item", NOON + 5 * MINUTE, event_id="b")
    assert fired(one) == ["c"]


def test_a_late_event_takes_back_what_only_its_absence_had_completed(tmp_path: Path) -> None:
    one = life(tmp_path, count(2, "25m"))
    one.sees("view_item", NOON, event_id="a")
    one.sees("view_item", NOON + 20 * MINUTE, event_id="c")
    assert fired(one) == ["c"]
    # With b there were two at c already, and have been since b.
    one.sees("view_item", NOON + 10 * MINUTE, event_id="b")
    assert fired(one) == ["c", "b"]
    assert alive(one.said) == {("it", "b")}


def test_an_event_older_than_the_allowed_lateness_raises_nothing_but_counts(
    tmp_path: Path,
) -> None:
    one = life(tmp_path, count(4, "5h"))
    one.sees("view_item", NOON)
    one.sees("view_item", NOON + 2 * HOUR)
    one.sees("view_item", NOON + 30 * MINUTE)
    assert fired(one) == []
    one.sees("view_item", NOON + 2 * HOUR + 1, event_id="next")
    assert fired(one) == ["next"]


def test_history_completes_nothing(tmp_path: Path) -> None:
    one = life(tmp_path, count(2, "1h"))
    one.sees("view_item", NOON, origin="backfill")
    one.sees("view_item", NOON + 1, origin="backfill")
    assert one.verdicts == [("it", "backfill")]


def test_no_more_marks_are_kept_than_decide(tmp_path: Path) -> None:
    one = life(tmp_path, count(3, "90d", same="item_id"))
    for number in range(500):
        item = f"i{number}" if number % 2 else "often"
        one.sees("view_item", NOON + number * 2 * HOUR, item_id=item)
    row = one.is_saved_and_loaded()
    (by_key,) = one.member.logs.values()
    assert len(by_key) == 64
    assert max(len(log.times) for log in by_key.values()) == 4
    assert len(row) < 6000


def test_beyond_the_keys_that_are_kept_the_stillest_is_forgotten(tmp_path: Path) -> None:
    one = life(tmp_path, count(2, "1d", same="item_id"))
    for number in range(64):
        one.sees("view_item", NOON + number, item_id=f"i{number}")
    one.sees("view_item", NOON + 70, item_id="new")
    for item in ("i1", "new", "i0"):
        one.sees("view_item", NOON + 80, item_id=item, event_id=item)
    assert fired(one) == ["i1", "new"]


def test_the_row_of_a_member_who_does_everything_at_once_is_bounded(tmp_path: Path) -> None:
    kinds = [
        odd(f"{kind}{number}", when)
        for number in range(15)
        for kind, when in (
            ("count", count(40 + number % 10, f"{number + 1}d", same="item_id")),
            (
                "sum",
                {
                    "sum": {
                        "of": "view_item",
                        "field": "price",
                        "at_least": 1000 + number,
                        "within": "30d",
                        "same": "item_id",
                    }
                },
            ),
        )
    ]
    one = Life(book_of(write_rules(tmp_path / "rules", *kinds)))
    largest = 0
    for number in range(400):
        more = {"item_id": f"{number % 70:0>60}", "event_id": f"{number:0>64}", "price": 1}
        one.sees("view_item", NOON + number * 1000, **more)
        if number % 40 == 39:
            largest = max(largest, len(one.is_saved_and_loaded()))
    assert 4_000 < largest <= 16_384


def test_what_has_left_its_window_is_forgotten(tmp_path: Path) -> None:
    one = life(tmp_path, count(3, "1h"))
    one.sees("view_item", NOON)
    one.reaches(NOON + 2 * HOUR)
    one.is_saved_and_loaded()
    assert one.member.logs == {}


# --- sums -------------------------------------------------------------------------------------


def test_a_sum_fires_with_the_event_that_reaches_it(tmp_path: Path) -> None:
    when = {"sum": {"of": "purchase", "field": "total", "at_least": 500, "within": "30d"}}
    one = life(tmp_path, when)
    one.sees("purchase", NOON, total=200, order_id="a", event_id="a")
    one.sees("purchase", NOON + DAY, total=299.99, order_id="b", event_id="b")
    assert fired(one) == []
    one.sees("purchase", NOON + 2 * DAY, total=0.01, order_id="c", event_id="c")
    one.sees("purchase", NOON + 3 * DAY, total=900, order_id="d", event_id="d")
    assert fired(one) == ["c"]
    # By then only d is inside, which alone is enough: it has never been false.
    one.sees("purchase", NOON + 32 * DAY, total=1, order_id="e", event_id="e")
    one.sees("purchase", NOON + 63 * DAY, total=500, order_id="f", event_id="f")
    assert fired(one) == ["c", "f"]


# --- sequences --------------------------------------------------------------------------------


SEQUENCE = {
    "sequence": {
        "steps": ["view_item", "add_to_cart", "begin_checkout"],
        "within": "1h",
        "same": "item_id",
    }
}


def checkout(*items: str) -> dict[str, Any]:
    return {"items": [{"item_id": item} for item in items]}


def test_a_sequence_fires_with_its_last_step(tmp_path: Path) -> None:
    one = life(tmp_path, SEQUENCE)
    one.sees("view_item", NOON, item_id="a")
    one.sees("view_item", NOON + 1, item_id="b")
    one.sees("add_to_cart", NOON + 2, item_id="b")
    one.sees("begin_checkout", NOON + 3, event_id="e", **checkout("a", "b"))
    assert fired(one) == ["e"]
    (trigger,) = (m for m in one.said if isinstance(m, Trigger))
    assert trigger.reason.text == (
        "The member viewed an item, then added to the cart, then began a checkout (b) within 1h, "
        "the last at 2026-01-01 12:00 UTC."
    )


def test_the_steps_of_a_sequence_must_come_in_order_and_in_time(tmp_path: Path) -> None:
    one = life(tmp_path, SEQUENCE)
    one.sees("add_to_cart", NOON)
    one.sees("view_item", NOON + 1)
    one.sees("begin_checkout", NOON + 2, **checkout("a"))
    assert fired(one) == []
    one.sees("add_to_cart", NOON + 3)
    one.sees("begin_checkout", NOON + 1 + HOUR, **checkout("a"))
    assert fired(one) == []
    one.sees("begin_checkout", NOON + HOUR, event_id="late", **checkout("a"))
    assert fired(one) == ["late"]


def test_what_a_sequence_used_is_not_used_again(tmp_path: Path) -> None:
    one = life(tmp_path, {"sequence": {"steps": ["purchase", "purchase"], "within": "7d"}})
    for number in range(5):
        one.sees("purchase", NOON + number * DAY, event_id=f"e{number}")
    assert fired(one) == ["e1", "e3"]


def chains(steps: list[str], log: list[tuple[int, str]], within: int) -> list[int]:
    """Where the sequence is completed, by trying every chain; what was used is not used again."""
    found, begin = [], 0
    for place, (at, kind) in enumerate(log):
        if kind != steps[-1]:
            continue
        before = log[begin:place]
        if any(
            at - chain[0][0] < within and [kind for _, kind in chain] == steps[:-1]
            for chain in combinations(before, len(steps) - 1)
        ):
            found.append(place)
            begin = place + 1
    return found


def test_a_sequence_is_found_wherever_a_chain_of_its_steps_is(tmp_path: Path) -> None:
    steps = ["visit", "search", "visit", "search"]
    when = {"sequence": {"steps": steps, "within": "20m"}}
    rules = book(tmp_path, when)
    completed = 0
    for seed in range(60):
        random = Random(seed)
        log = [(NOON, "visit")]
        for _ in range(14):
            at = log[-1][0] + MINUTE * random.choice((1, 2, 3, 5))
            log.append((at, random.choice(("visit", "search", "search", "post"))))
        one = Life(rules)
        for number, (at, kind) in enumerate(log):
            one.sees(kind, at, event_id=f"e{number}")
        wanted = chains(steps, log, 20 * MINUTE)
        assert fired(one) == [f"e{number}" for number in wanted], f"seed {seed}"
        completed += len(wanted)
    assert completed > 20


# --- series -----------------------------------------------------------------------------------


SERIES = {"series": {"after": "register", "steps": ["1d", "2d", "5d"], "until": "purchase"}}


def test_a_series_goes_through_its_steps(tmp_path: Path) -> None:
    one = life(tmp_path, SERIES, ladder=["five", "ten"])
    one.sees("register", NOON)
    one.reaches(NOON + 9 * DAY)
    assert fired(one) == [f"{NOON}|1", f"{NOON}|2", f"{NOON}|3"]
    triggers = [m for m in one.said if isinstance(m, Trigger)]
    assert [t.reason.step for t in triggers] == [1, 2, 3]
    assert [t.offer.name for t in triggers if t.offer is not None] == ["five", "ten", "ten"]
    assert triggers[1].reason.text == (
        "The member registered at 2026-01-01 12:00 UTC; this is step 2 of 3, 2d later."
    )


def test_the_goal_ends_a_series_and_takes_the_open_step_back(tmp_path: Path) -> None:
    one = life(tmp_path, SERIES)
    one.sees("register", NOON)
    one.sees("purchase", NOON + DAY + HOUR)
    one.reaches(NOON + 9 * DAY)
    assert fired(one) == [f"{NOON}|1"]
    assert one.cancelled == ["it"]


def test_a_goal_at_the_steps_own_instant_comes_too_late_for_it(tmp_path: Path) -> None:
    one = life(tmp_path, SERIES)
    one.sees("register", NOON)
    one.sees("purchase", NOON + DAY)
    assert fired(one) == [f"{NOON}|1"]
    assert one.standing == []


def test_a_late_goal_takes_back_the_step_that_it_would_have_prevented(tmp_path: Path) -> None:
    one = life(tmp_path, SERIES)
    one.sees("register", NOON)
    one.sees("visit", NOON + DAY + 1)
    one.sees("purchase", NOON + DAY - MINUTE)
    one.reaches(NOON + 9 * DAY)
    assert fired(one) == [f"{NOON}|1"]
    assert one.standing == []


def test_history_arms_the_steps_that_are_still_to_come(tmp_path: Path) -> None:
    when = {"series": {"after": "register", "steps": ["10m", "1d"], "until": "purchase"}}
    one = life(tmp_path, when)
    loaded = NOON + 30 * MINUTE
    one.sees("register", NOON, now=loaded, origin="backfill")
    one.reaches(NOON + 2 * DAY, now=NOON + DAY)
    assert one.verdicts == [("it", "backfill"), ("it", "raised")]
    assert fired(one) == [f"{NOON}|2"]


def test_a_series_begins_again_with_a_later_arming_event(tmp_path: Path) -> None:
    when = {"series": {"after": "add_to_cart", "steps": ["1h", "1d"], "until": "purchase"}}
    one = life(tmp_path, when)
    one.sees("add_to_cart", NOON)
    one.sees("add_to_cart", NOON + 2 * HOUR)
    one.reaches(NOON + 3 * DAY)
    again = NOON + 2 * HOUR
    assert fired(one) == [f"{NOON}|1", f"{again}|1", f"{again}|2"]


def test_a_series_with_same_ends_for_its_own_value_only(tmp_path: Path) -> None:
    until = [same("purchase", "item_id"), "ticket_opened"]
    when = {"series": {"after": "view_item", "steps": ["1h"], "until": until}}
    one = life(tmp_path, when)
    for item in "abc":
        one.sees("view_item", NOON, item_id=item)
    one.sees("purchase", NOON + 1, items=[{"item_id": "b"}])
    one.reaches(NOON + HOUR)
    assert fired(one) == [f"item_id=a|{NOON}|1", f"item_id=c|{NOON}|1"]
    one.sees("view_item", NOON + DAY, item_id="a")
    one.sees("ticket_opened", NOON + DAY + 1)
    one.reaches(NOON + 3 * DAY)
    assert len(fired(one)) == 2


@pytest.mark.parametrize(
    ("reentry", "runs"),
    [("once", 1), ({"per": "member", "every": "8d"}, 1), ({"per": "member", "every": "5d"}, 2)],
)
def test_reentry_counts_the_runs_of_a_series_and_not_its_steps(
    tmp_path: Path, reentry: Any, runs: int
) -> None:
    one = life(tmp_path, SERIES, reentry=reentry)
    one.sees("register", NOON)
    one.sees("register", NOON + 10 * DAY)
    one.reaches(NOON + 20 * DAY)
    assert len(fired(one)) == 3 * runs


def test_a_series_knows_when_it_was_raised_last_although_the_row_was_saved_meanwhile(
    tmp_path: Path,
) -> None:
    steps = {**SERIES["series"], "after": "purchase", "steps": ["30d", "60d"]}
    for is_saved in (False, True):
        one = life(tmp_path, {"series": steps}, reentry={"per": "member", "every": "50d"})
        one.sees("purchase", NOON)
        one.reaches(NOON + 60 * DAY)
        # The next run begins 10 days after the last message; its last step is 70 days after it.
        one.sees("purchase", NOON + 70 * DAY)
        one.reaches(NOON + 99 * DAY)
        if is_saved:
            one.is_saved_and_loaded()
        one.reaches(NOON + 129 * DAY)
        if is_saved:
            one.is_saved_and_loaded()
        one.reaches(NOON + 131 * DAY)
        assert [verdict for _, verdict in one.verdicts] == [
            "raised",
            "raised",
            "reentry",
            "reentry",
        ]


def test_a_series_goes_on_under_changed_steps(tmp_path: Path) -> None:
    one = life(tmp_path, SERIES)
    one.sees("register", NOON)
    one.reaches(NOON + DAY)
    changed = {"series": {**SERIES["series"], "steps": ["1d", "3d"]}}
    one.book = book(tmp_path / "changed", changed)
    one.reaches(NOON + 9 * DAY)
    assert fired(one) == [f"{NOON}|1", f"{NOON}|2"]


def test_a_changed_count_begins_anew(tmp_path: Path) -> None:
    one = life(tmp_path, count(3, "1h"))
    one.sees("view_item", NOON)
    one.sees("view_item", NOON + 1)
    one.book = book(tmp_path / "changed", count(2, "1h"))
    one.sees("view_item", NOON + 2)
    assert fired(one) == []
    one.sees("view_item", NOON + 3, event_id="second")
    assert fired(one) == ["second"]
    one.is_saved_and_loaded()
    assert len(one.member.logs) == 1


# --- thresholds and tiers ---------------------------------------------------------------------


def crosses(number: str, **more: Any) -> dict[str, Any]:
    return {"crosses": {"number": number, **more}}


def test_points_that_reach_a_level_fire_once_until_they_were_back_below(tmp_path: Path) -> None:
    one = life(tmp_path, crosses("points", at_least=1000, back_below=800))
    for number, balance in enumerate((999.9, 1000, 1200, 900, 1000, 799, 1000)):
        one.sees("points", NOON + number, balance=balance)
    assert fired(one) == [f"points=1000|{NOON + 1}", f"points=1000|{NOON + 6}"]


def test_points_must_stay_for_the_dwell(tmp_path: Path) -> None:
    one = life(tmp_path, crosses("points", at_least=1000, back_below=800, dwell="1d"))
    one.sees("points", NOON, balance=1000)
    one.sees("points", NOON + DAY - 1, balance=700)
    one.sees("points", NOON + DAY, balance=1500)
    one.sees("points", NOON + DAY + HOUR, balance=900)
    one.reaches(NOON + 2 * DAY - 1)
    assert fired(one) == []
    one.reaches(NOON + 9 * DAY)
    assert fired(one) == [f"points=1000|{NOON + DAY}"]


def test_points_that_fall_below_a_level_must_have_been_above_it(tmp_path: Path) -> None:
    one = life(tmp_path, crosses("points", below=100, back_at_least=200))
    for number, balance in enumerate((50, 150, 99, 200, 100, 99.9, 20)):
        one.sees("points", NOON + number, balance=balance)
    assert fired(one) == [f"points=100|{NOON + 5}"]


def test_spend_in_a_window_has_hysteresis_and_dwell(tmp_path: Path) -> None:
    when = crosses("spend", at_least=100, back_below=50, within="28d", dwell="1d")
    one = life(tmp_path, when)
    one.sees("purchase", NOON, total=100)
    one.reaches(NOON + DAY)
    assert fired(one) == [f"spend=100|{NOON}"]
    one.sees("purchase", NOON + 20 * DAY, total=60)
    one.sees("purchase", NOON + 50 * DAY, total=100)
    one.reaches(NOON + 55 * DAY)
    assert len(fired(one)) == 1
    one.sees("purchase", NOON + 120 * DAY, total=100)
    one.reaches(NOON + 130 * DAY)
    assert fired(one)[1:] == [f"spend=100|{NOON + 120 * DAY}"]


def test_spend_is_told_by_the_ring_to_the_cell_of_28_days(tmp_path: Path) -> None:
    cell = 28 * DAY
    begin = NOON // cell * cell
    ends = 2 * cell + turn_of("m1")
    for late, raised in ((2 * cell, 1), (ends - 2 * HOUR, 1), (ends, 0)):
        one = life(tmp_path / str(late), crosses("spend", at_least=100, within="28d"))
        one.sees("purchase", begin + 5 * DAY, total=60)
        one.sees("purchase", begin + late, total=40)
        assert len(fired(one)) == raised
        # Nothing of it is in the row but since when it is enough.
        one.reaches(begin + late + HOUR + 1)
        one.is_saved_and_loaded()
        kept = [log for logs in one.member.logs.values() for log in logs.values()]
        assert [(log.times, log.values) for log in kept] == [([begin + late], [])] * raised


def test_spend_falls_below_a_level_when_its_cell_leaves_the_window(tmp_path: Path) -> None:
    cell = 28 * DAY
    begin = NOON // cell * cell
    one = life(tmp_path, crosses("spend", below=50, back_at_least=100, within="56d"))
    one.sees("purchase", begin + DAY, total=100)
    one.is_saved_and_loaded()
    ends = begin + 3 * cell + turn_of("m1")
    one.reaches(ends - 1)
    assert fired(one) == []
    one.is_saved_and_loaded()
    one.reaches(ends)
    assert fired(one) == [f"spend=50|{ends}"]


def test_orders_that_fall_below_a_level_do_so_by_time_alone(tmp_path: Path) -> None:
    one = life(tmp_path, crosses("orders", below=2, back_at_least=3, within="30d"))
    for number in range(3):
        one.sees("purchase", NOON + number * DAY)
    one.reaches(NOON + 31 * DAY - 1)
    assert fired(one) == []
    one.reaches(NOON + 90 * DAY)
    assert [m.due_at for m in one.said if isinstance(m, Trigger)] == ["2026-02-01T12:00:00.000Z"]


def test_a_tier_fires_when_it_is_new(tmp_path: Path) -> None:
    one = life(tmp_path, {"tier_entered": "gold"})
    for number, tier in enumerate(("silver", "gold", "gold", "silver", "gold")):
        one.sees("tier", NOON + number, tier=tier)
    assert fired(one) == [f"tier=gold|{NOON + 1}", f"tier=gold|{NOON + 4}"]


def test_a_late_word_of_another_tier_between_makes_it_new_again(tmp_path: Path) -> None:
    one = life(tmp_path, {"tier_entered": "gold"})
    one.sees("tier", NOON, tier="gold")
    one.sees("tier", NOON + MINUTE, tier="gold")
    one.sees("tier", NOON + 1, tier="silver")
    assert fired(one) == [f"tier=gold|{NOON}", f"tier=gold|{NOON + MINUTE}"]


# --- stages and bands -------------------------------------------------------------------------


def test_a_stage_that_is_left_fires(tmp_path: Path) -> None:
    one = life(tmp_path, {"stage_left": "new"})
    one.sees("register", NOON)
    one.sees("purchase", NOON + DAY)
    assert fired(one) == []
    one.sees("purchase", NOON + 2 * DAY)
    assert fired(one) == [f"stage_left=new|{NOON + 2 * DAY}"]


def test_a_band_that_is_entered_fires(tmp_path: Path) -> None:
    one = life(tmp_path, {"band_entered": "medium"})
    for number in range(3):
        one.sees("purchase", NOON + number * DAY)
    assert fired(one) == [f"band=medium|{NOON + 2 * DAY}"]


# --- all of them: any order within the allowed lateness gives the same ------------------------


EVERY_KIND = [
    odd("count", count(3, "30m", of=["view_item", "add_to_cart"])),
    odd("count_item", count(2, "20m", same="item_id")),
    odd("sum", {"sum": {"of": "purchase", "field": "total", "at_least": 25, "within": "40m"}}),
    odd(
        "sequence",
        {
            "sequence": {
                "steps": ["view_item", ["add_to_cart", "view_item"], "purchase"],
                "within": "30m",
            }
        },
    ),
    odd(
        "series",
        {
            "series": {
                "after": "view_item",
                "steps": ["5m", "10m", "30m"],
                "until": [same("add_to_cart", "item_id"), "remove_from_cart"],
            }
        },
        expires_after="1m",
    ),
    odd("points", crosses("points", at_least=100, back_below=50)),
    odd("points_dwell", crosses("points", at_least=100, dwell="10m")),
    odd("points_low", crosses("points", below=50, back_at_least=100)),
    odd("orders", crosses("orders", at_least=3, back_below=2, within="30m", dwell="5m")),
    odd("tier", {"tier_entered": "gold"}),
    odd("spend", crosses("spend", at_least=60, back_below=30, within="28d")),
    odd("spend_dwell", crosses("spend", at_least=100, within="28d", dwell="10m")),
    odd("late", {"late_for_member": {"percentile": 90, "typical": "10m", "fixed": "7m"}}),
    odd(
        "ladder",
        {"series": {"after": "purchase", "steps": ["6m", "12m"], "until": "purchase"}},
        expires_after="1m",
    ),
]


EXACT = ("purchase", "points", "tier")


def random_life(random: Random, step: int) -> list[EventDict]:
    """Events on a grid; several at one instant are of different topics, or alike."""
    log = []
    at = NOON
    for number in range(40):
        at += step * random.choice((0, 1, 1, 1, 2, 3))
        kind = random.choice(["view_item", "view_item", "add_to_cart", "remove_from_cart", *EXACT])
        fields: dict[str, Any] = {"event_id": f"e{number}"}
        if kind in ("view_item", "add_to_cart", "remove_from_cart"):
            fields["item_id"] = random.choice("ab")
        if kind == "purchase":
            fields |= {"order_id": f"o{number}", "total": random.choice((5, 10, 20))}
        if kind == "points":
            fields["balance"] = random.choice((10, 50, 80, 100, 120))
        if kind == "tier":
            fields["tier"] = random.choice(("gold", "silver"))
        log.append(event(kind, at, **fields))
    return log


def shuffled(log: list[EventDict], random: Random, lateness: int) -> list[EventDict]:
    """Another order of arrival; nothing comes later than the lateness, nor overtakes an equal."""
    delay: dict[int, int] = {}
    last: dict[tuple[str, int], int] = {}
    for one in log:
        place = TOPIC_OF[one["type"]], one["occurred_at"]
        arrives = one["occurred_at"] + random.randrange(lateness)
        last[place] = delay[id(one)] = max(arrives, last.get(place, 0))
    return sorted(log, key=lambda one: delay[id(one)])


@pytest.mark.parametrize("saving", [False, True])
def test_any_order_within_the_allowed_lateness_gives_what_the_right_order_gives(
    tmp_path: Path, saving: bool
) -> None:
    rules = book_of(write_rules(tmp_path / "rules", *EVERY_KIND), allowed_lateness=5 * MINUTE)
    heard: set[str] = set()
    for seed in range(150):
        random = Random(seed)
        log = random_life(random, MINUTE)
        until = log[-1]["occurred_at"] + HOUR
        want = replayed(log, rules, until)
        one = Life(rules)
        for found in shuffled(log, random, 5 * MINUTE):
            one.folds(found)
            if saving:
                one.is_saved_and_loaded()
        one.reaches(until)
        assert alive(one.said) == alive(want), f"seed {seed}"
        heard |= {m.rule for m in want}
    assert heard == {rule["rule"] for rule in EVERY_KIND}


def alive(messages: list[TriggerMessage]) -> set[tuple[str, str]]:
    occasions = {m.trigger_id: m.occasion for m in messages if isinstance(m, Trigger)}
    return {(rule, occasions[identity]) for rule, identity in net(messages)}


def test_saving_a_member_after_every_event_changes_nothing(tmp_path: Path) -> None:
    rules = book_of(write_rules(tmp_path / "rules", *EVERY_KIND))
    for seed in range(40):
        log = random_life(Random(seed), 10 * MINUTE)
        kept, saved = Life(rules), Life(rules)
        for found in log:
            kept.folds(found)
            saved.folds(found)
            saved.is_saved_and_loaded()
        for one in (kept, saved):
            one.reaches(log[-1]["occurred_at"] + DAY)
            one.is_saved_and_loaded()
        assert kept.member == saved.member
        assert kept.said == saved.said
        assert kept.verdicts == saved.verdicts
