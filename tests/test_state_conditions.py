"""What a rule's `if` asks of the member when a candidate is due, and how a no is told."""

from pathlib import Path
from typing import Any

import pytest
from core_builders import DAY, HOUR, MINUTE, NOON, Life, absence, book_of, odd, write_rules

from models.triggers import Decision


def life(folder: Path, wanted: dict[str, Any], when: Any = None, **limits: Any) -> Life:
    """A member under one rule, which every `post` raises when `wanted` holds."""
    rule = odd("it", when or {"event": "post"}, **{"if": wanted})
    return Life(book_of(write_rules(folder / "rules", rule), **limits))


def is_met(one: Life, at: int) -> bool:
    """Post once, and tell whether it raised."""
    before = len(one.raised)
    one.sees("post", at)
    (verdict,) = (d.verdict for d in one.outcomes[-1].decisions if isinstance(d, Decision))
    assert verdict in ("raised", "condition")
    assert (verdict == "raised") == (len(one.raised) == before + 1)
    return verdict == "raised"


def why(one: Life) -> str:
    return [d for d in one.outcomes[-1].decisions if isinstance(d, Decision)][-1].why


def test_the_stage_and_the_band(tmp_path: Path) -> None:
    new = life(tmp_path / "1", {"stage": ["new", "lead"]})
    medium = life(tmp_path / "2", {"band": "medium"})
    for number in range(4):
        at = NOON + number * DAY
        assert is_met(new, at) is (number < 2)
        assert is_met(medium, at) is (number == 3)
        for one in (new, medium):
            one.sees("purchase", at + 1)


def test_the_tier_and_the_points(tmp_path: Path) -> None:
    one = life(tmp_path, {"tier": "gold", "points": {"at_least": 100, "below": 200}})
    assert not is_met(one, NOON)
    one.sees("tier", NOON, tier="gold")
    assert not is_met(one, NOON)
    for balance, wanted in ((99.9, False), (100, True), (199.9, True), (200, False)):
        one.sees("points", NOON + 1, balance=balance)
        assert is_met(one, NOON + 1) is wanted
    one.sees("tier", NOON + 2, tier="silver")
    one.sees("points", NOON + 2, balance=150)
    assert not is_met(one, NOON + 2)


def test_points_that_nobody_has_said_are_not_below_anything(tmp_path: Path) -> None:
    assert not is_met(life(tmp_path, {"points": {"below": 100}}), NOON)


def test_how_often_an_event_was_ever_seen(tmp_path: Path) -> None:
    wanted = {"counts": {"review": {"at_least": 1}, "share": {"below": 2}}}
    one = life(tmp_path, wanted)
    assert not is_met(one, NOON)
    one.sees("review", NOON)
    assert is_met(one, NOON)
    one.sees("share", NOON)
    assert is_met(one, NOON + 400 * DAY)
    one.sees("share", NOON + 400 * DAY)
    assert not is_met(one, NOON + 400 * DAY)


def test_orders_in_a_window_and_ever(tmp_path: Path) -> None:
    recent = life(tmp_path / "1", {"orders": {"at_least": 2, "within": "10d"}})
    never = life(tmp_path / "2", {"orders": {"below": 1}})
    assert is_met(never, NOON)
    for one in (recent, never):
        one.sees("purchase", NOON)
        one.sees("purchase", NOON + DAY)
    assert is_met(recent, NOON + 10 * DAY - 1)
    assert not is_met(recent, NOON + 10 * DAY)
    assert not is_met(never, NOON + 500 * DAY)


def test_spend_in_a_year_is_told_to_the_cell_of_28_days(tmp_path: Path) -> None:
    ever = life(tmp_path / "1", {"spend": {"at_least": 150}})
    year = life(tmp_path / "2", {"spend": {"at_least": 150, "within": "364d"}})
    for one in (ever, year):
        one.sees("purchase", NOON, total=100)
        one.sees("purchase", NOON + 100 * DAY, total=50)
        assert is_met(one, NOON + 100 * DAY)
        assert is_met(one, NOON + 363 * DAY)
    assert is_met(ever, NOON + 400 * DAY)
    # The window has left the cell of the first order.
    assert not is_met(year, NOON + 364 * DAY + 28 * DAY)


def test_how_long_ago_something_was(tmp_path: Path) -> None:
    one = life(tmp_path, {"last_order": {"older_than": "30d", "newer_than": "90d"}})
    assert not is_met(one, NOON)
    one.sees("purchase", NOON)
    assert not is_met(one, NOON + 30 * DAY - 1)
    assert is_met(one, NOON + 30 * DAY)
    assert is_met(one, NOON + 90 * DAY - 1)
    assert not is_met(one, NOON + 90 * DAY)


def test_activity_and_registration_are_told_like_orders(tmp_path: Path) -> None:
    wanted = {"last_activity": {"newer_than": "1d"}, "registered": {"older_than": "7d"}}
    one = life(tmp_path, wanted)
    one.sees("visit", NOON)
    assert not is_met(one, NOON)
    one.sees("register", NOON)
    assert not is_met(one, NOON + 7 * DAY)
    one.sees("visit", NOON + 7 * DAY)
    assert is_met(one, NOON + 7 * DAY)


def test_where_the_member_came_from(tmp_path: Path) -> None:
    one = life(tmp_path, {"source": ["douyin", "store"], "campaign": "spring"})
    assert not is_met(one, NOON)
    one.sees("register", NOON, source="douyin", campaign="spring")
    assert is_met(one, NOON)
    # The first registration is the one.
    one.sees("register", NOON + DAY, source="web", campaign="summer")
    one.is_saved_and_loaded()
    assert is_met(one, NOON + DAY)
    one.sees("register", NOON - DAY, source="web", campaign="winter")
    assert not is_met(one, NOON + DAY)


def test_a_channel_is_reachable_when_the_member_has_it_and_does_not_refuse_it(
    tmp_path: Path,
) -> None:
    one = life(tmp_path, {"reachable": ["sms", "email"]})
    assert is_met(one, NOON)
    one.sees("profile", NOON + 1, channels=["email", "app_push"])
    assert is_met(one, NOON + 1)
    one.sees("consent", NOON + 2, channel="email", purpose="marketing", granted=False)
    assert not is_met(one, NOON + 2)


def test_a_birthday_is_known_or_not(tmp_path: Path) -> None:
    known = life(tmp_path / "1", {"birthday": "known"})
    unknown = life(tmp_path / "2", {"birthday": "unknown"})
    assert not is_met(known, NOON)
    assert is_met(unknown, NOON)
    for one in (known, unknown):
        one.sees("profile", NOON, birthday="1900-01-01")
    assert is_met(unknown, NOON)
    for one in (known, unknown):
        one.sees("profile", NOON, birthday="02-29")
    assert is_met(known, NOON)
    assert not is_met(unknown, NOON)


def test_one_of_any_must_hold_and_none_of_not(tmp_path: Path) -> None:
    wanted = {
        "points": {"at_least": 1},
        "any": [{"tier": "gold"}, {"orders": {"at_least": 2}, "stage": "new"}],
        "not": [{"birthday": "known"}, {"counts": {"share": {"at_least": 1}}}],
    }
    one = life(tmp_path, wanted)
    one.sees("points", NOON, balance=1)
    assert not is_met(one, NOON)
    assert why(one) == "nothing that `any` lists holds"
    one.sees("tier", NOON, tier="gold")
    assert is_met(one, NOON)
    one.sees("share", NOON)
    assert not is_met(one, NOON)
    assert why(one) == "something that `not` lists holds"


@pytest.mark.parametrize(
    ("locale", "words"),
    [
        ("en", "this did not hold: orders in 30d ≥ 1 and < 3"),
        ("zh-CN", "不满足:30 天内订单数 ≥ 1 且 < 3"),
    ],
)
def test_a_no_is_told_in_the_operators_language(tmp_path: Path, locale: str, words: str) -> None:
    wanted = {"orders": {"at_least": 1, "below": 3, "within": "30d"}}
    one = life(tmp_path, wanted, locale=locale)
    assert not is_met(one, NOON)
    assert why(one) == words


def test_the_state_that_counts_is_that_of_the_due_instant(tmp_path: Path) -> None:
    one = life(tmp_path, {"tier": "gold"}, absence("view_item", "purchase", "2h"))
    one.sees("tier", NOON, tier="gold")
    one.sees("view_item", NOON)
    one.sees("tier", NOON + HOUR, tier="silver")
    one.reaches(NOON + 2 * HOUR)
    assert one.verdicts == [("it", "condition")]


def test_a_candidate_whose_condition_fails_uses_up_no_reentry(tmp_path: Path) -> None:
    rule = odd("it", {"event": "post"}, reentry="once", **{"if": {"tier": "gold"}})
    one = Life(book_of(write_rules(tmp_path / "rules", rule)))
    assert not is_met(one, NOON)
    one.sees("tier", NOON, tier="gold")
    assert is_met(one, NOON + 1)


def test_a_late_order_that_disproves_the_condition_takes_the_trigger_back(tmp_path: Path) -> None:
    one = life(tmp_path, {"orders": {"below": 1}}, absence("view_item", "visit", "2h"))
    one.sees("view_item", NOON)
    one.reaches(NOON + 2 * HOUR)
    assert one.raised == ["it"]
    one.sees("view_item", NOON + 2 * HOUR + MINUTE)
    assert one.standing == ["it"]
    one.sees("purchase", NOON + 2 * HOUR - MINUTE)
    assert one.standing == []


def test_an_order_after_the_due_instant_disproves_nothing(tmp_path: Path) -> None:
    one = life(tmp_path, {"orders": {"below": 1}}, absence("view_item", "visit", "2h"))
    one.sees("view_item", NOON)
    one.sees("purchase", NOON + 2 * HOUR + MINUTE)
    assert one.standing == ["it"]


def test_a_late_order_finds_the_orders_that_there_were_at_the_due_instant(tmp_path: Path) -> None:
    one = life(tmp_path, {"orders": {"below": 2}}, absence("view_item", "visit", "2h"))
    one.sees("view_item", NOON)
    one.sees("purchase", NOON + 2 * HOUR + 1)
    one.sees("purchase", NOON + 2 * HOUR - MINUTE)
    assert one.standing == ["it"]
    one.sees("purchase", NOON + 2 * HOUR - MINUTE + 1)
    assert one.standing == []
