"""The member's own pace: activity that drops, an order that is late, to the millisecond."""

import math
from pathlib import Path
from typing import Any

import pytest
from core_builders import DAY, HOUR, NOON, Life, book_of, odd, write_rules

from models import watching
from models.engine import next_due
from models.rulebook import RuleBook
from models.triggers import Trigger

DROP = {"activity_drop": {"below": 0.3, "for": "14d"}}
LATE = {"late_for_member": {"percentile": 90, "typical": "30d", "fixed": "60d"}}


def book(folder: Path, when: dict[str, Any]) -> RuleBook:
    return book_of(write_rules(folder / "rules", odd("it", when)))


def life(folder: Path, when: dict[str, Any]) -> Life:
    return Life(book(folder, when))


def fired(life: Life) -> list[str]:
    """Occasions of the triggers, in the order in which they were raised."""
    return [m.occasion for m in life.said if isinstance(m, Trigger)]


# --- activity that drops --------------------------------------------------------------------------


def test_an_activity_that_drops_is_noticed_by_a_deadline(tmp_path: Path) -> None:
    one = life(tmp_path, DROP)
    for day in range(120):
        one.sees("visit", NOON + day * DAY)
    assert fired(one) == []
    last = NOON + 119 * DAY
    one.reaches(last + 24 * DAY)
    assert fired(one) == []
    one.reaches(last + 35 * DAY)
    assert len(fired(one)) == 1
    one.reaches(last + 300 * DAY)
    assert len(fired(one)) == 1


def test_a_drop_is_told_to_the_second_by_two_sums_that_decay(tmp_path: Path) -> None:
    one = life(tmp_path, DROP)
    visits = [NOON + day * DAY for day in range(0, 90, 3)]
    for at in visits:
        one.sees("visit", at)
    last = visits[-1]

    def ratio(at: float) -> float:
        short = sum(2 ** ((visit - at) / (7 * DAY)) for visit in visits)
        long = sum(2 ** ((visit - at) / (60 * DAY)) for visit in visits)
        return short / 7 / (long / 60)

    since = next_due(one.member, one.book) - 14 * DAY
    assert ratio(last) > 0.3
    assert ratio(since - HOUR) > 0.3 > ratio(since + HOUR)


def test_a_drop_that_is_due_first_is_seen_however_short_the_look(tmp_path: Path) -> None:
    one = life(tmp_path, {"activity_drop": {"below": 0.6, "for": "30d"}})
    ahead = []
    # After half a year of daily visits too few, none of which ends the drop that has begun before.
    for gap in (*[DAY] * 200, 16 * DAY, *[2 * HOUR] * 3):
        one.sees("visit", max(one.member.advanced_to, NOON) + gap)
        due = watching.next_due(one.member, one.book)
        ahead.append(due - one.member.advanced_to)
        assert watching.next_due(one.member, one.book, due) == due
    assert 0 < min(ahead) < 30 * DAY < ahead[199]


def test_an_activity_long_past_is_forgotten(tmp_path: Path) -> None:
    one = life(tmp_path, DROP)
    for day in range(10):
        one.sees("visit", NOON + day * DAY)
    one.reaches(NOON + 185 * DAY)
    one.is_saved_and_loaded()
    assert one.member.logs
    one.reaches(NOON + 250 * DAY)
    one.is_saved_and_loaded()
    assert not one.member.logs


def test_who_comes_seldom_has_no_drop_after_the_usual_silence(tmp_path: Path) -> None:
    one = life(tmp_path, DROP)
    for visit in range(20):
        one.sees("visit", NOON + visit * 14 * DAY)
    assert fired(one) == []


def test_too_little_activity_has_no_usual(tmp_path: Path) -> None:
    one = life(tmp_path, DROP)
    for visit in range(4):
        one.sees("visit", NOON + visit * DAY)
    one.reaches(NOON + 300 * DAY)
    assert fired(one) == []


def test_what_was_seen_before_the_first_activity_weighs_nothing(tmp_path: Path) -> None:
    one = life(tmp_path, DROP)
    for number in range(5):
        one.sees("visit", NOON, event_id=f"e{number}")
    # Both sums are five, and the long one decays by half in sixty days, the other in seven.
    halves = math.log2(60 / 7 / 0.3)
    assert next_due(one.member, one.book) == NOON + math.ceil(halves * 420 / 53 * DAY) + 14 * DAY


# --- an order that is late ------------------------------------------------------------------------


def test_below_three_orders_late_means_the_fixed_time(tmp_path: Path) -> None:
    one = life(tmp_path, LATE)
    one.sees("purchase", NOON)
    one.sees("purchase", NOON + 5 * DAY)
    one.reaches(NOON + 65 * DAY - 1)
    assert fired(one) == []
    one.reaches(NOON + 65 * DAY)
    assert fired(one) == [f"{NOON + 5 * DAY}"]


@pytest.mark.parametrize(("gap", "earliest", "latest"), [(7, 7, 25), (90, 90, 250)])
def test_late_is_told_by_the_members_own_gaps(
    tmp_path: Path, gap: int, earliest: int, latest: int
) -> None:
    one = life(tmp_path, LATE)
    for number in range(8):
        one.sees("purchase", NOON + number * gap * DAY)
    raised = len(fired(one))
    last = NOON + 7 * gap * DAY
    one.reaches(last + earliest * DAY)
    assert len(fired(one)) == raised
    one.reaches(last + latest * DAY)
    assert fired(one)[raised:] == [f"{last}"]
    one.sees("purchase", last + latest * DAY + 1)
    assert one.cancelled == [] or one.cancelled == ["it"] * len(one.cancelled)


def test_the_usual_gap_is_that_of_a_log_normal_with_a_prior_of_two_gaps(tmp_path: Path) -> None:
    one = life(tmp_path, LATE)
    # Of eight orders, the last of which was told in two parts; those before are forgotten.
    gaps = [5, 9, 4, 20, 7, 11]
    at = NOON
    one.sees("purchase", at - 100 * DAY)
    one.sees("purchase", at)
    for gap in gaps:
        at += gap * DAY
        one.sees("purchase", at)
    at += HOUR
    one.sees("purchase", at)
    logs = [math.log(gap * DAY) for gap in gaps]
    prior = math.log(30 * DAY)
    centre = (2 * prior + sum(logs)) / 8
    own = sum(logs) / 6
    squares = sum((x - own) ** 2 for x in logs) + 2 * 6 / 8 * (own - prior) ** 2
    spread = math.sqrt((2 * 0.6**2 + squares) / 8)
    wanted = math.exp(centre + 1.2815515655446 * spread)
    due = watching.next_due(one.member, one.book)
    assert due - at == pytest.approx(wanted, rel=1e-5)


def test_an_order_takes_back_that_it_was_late(tmp_path: Path) -> None:
    one = life(tmp_path, LATE)
    one.sees("purchase", NOON)
    one.reaches(NOON + 60 * DAY)
    one.sees("purchase", NOON + 60 * DAY + HOUR)
    assert one.standing == []


@pytest.mark.parametrize(("apart", "gaps"), [(12 * HOUR - 1, 1), (12 * HOUR, 2)])
def test_orders_less_than_half_a_day_apart_are_one(tmp_path: Path, apart: int, gaps: int) -> None:
    one = life(tmp_path, LATE)
    for at in (NOON, NOON + 30 * DAY, NOON + 30 * DAY + apart):
        one.sees("purchase", at)
    last = NOON + 30 * DAY + apart
    # Of one gap nothing is the member's own; the second is one.
    assert (next_due(one.member, one.book) == last + 60 * DAY) is (gaps == 1)


def test_another_percentile_keeps_the_members_gaps(tmp_path: Path) -> None:
    one = life(tmp_path, LATE)
    for number in range(6):
        one.sees("purchase", NOON + number * 10 * DAY)
    changed = {"late_for_member": {**LATE["late_for_member"], "percentile": 99}}
    one.book = book(tmp_path / "changed", changed)
    before, due = one.raised, next_due(one.member, one.book)
    one.book = book(tmp_path / "back", LATE)
    assert NOON + 60 * DAY < next_due(one.member, one.book) < due < NOON + 120 * DAY
    assert one.raised == before
