"""What has waited must be true when it goes on, and not only when it was due."""

from typing import Any

import pytest
from core_builders import HOUR, MINUTE, NOON, absence
from policy_kit import living, on

NIGHT = {"quiet_hours": {"from": "21:00", "to": "09:00", "then": "defer"}, "consent": "opt_out"}
EVENING, MORNING = NOON + 10 * HOUR, NOON + 21 * HOUR


def held_over_night(rule: dict[str, Any], kind: str, *orders: int) -> list[str]:
    life = living(NIGHT, rule)
    life.sees(kind, EVENING)
    for order in orders:
        life.sees("purchase", order)
    life.is_saved_and_loaded()
    life.reaches(MORNING)
    return life.verdicts_of(rule["rule"])


@pytest.mark.parametrize(
    "wanted",
    [
        {"orders": {"below": 1}},
        {"not": [{"last_order": {"newer_than": "24h"}}]},
        {"any": [{"orders": {"below": 1}}, {"tier": "gold"}]},
    ],
)
def test_who_orders_at_night_is_not_told_in_the_morning_that_there_is_no_order(
    wanted: dict[str, Any],
) -> None:
    rule = on("visit", "never_ordered") | {"if": wanted}
    assert held_over_night(rule, "visit", EVENING + HOUR) == ["held", "condition"]
    assert held_over_night(rule, "visit") == ["held", "raised"]


def test_what_else_happens_meanwhile_counts_as_well() -> None:
    rule = on("visit", "reader") | {"if": {"counts": {"review": {"below": 1}}}}
    life = living(NIGHT, rule)
    life.sees("visit", EVENING)
    life.sees("review", EVENING + HOUR, item_id="a", rating=5)
    life.reaches(MORNING)
    assert life.verdicts_of("reader") == ["held", "condition"]


def test_what_time_alone_ends_meanwhile_has_ended() -> None:
    rule = on("visit", "fresh") | {"if": {"last_activity": {"newer_than": "6h"}}}
    assert held_over_night(rule, "visit") == ["held", "condition"]


def test_an_order_after_it_was_due_counts_for_unless() -> None:
    when = absence("visit", "share", "30m")
    when["unless"] = {"orders": {"at_least": 1, "within": "7d"}}
    rule = {"rule": "asked", "when": when, "expires_after": "3d"}
    assert held_over_night(rule, "visit", EVENING + HOUR) == ["held", "unless"]
    assert held_over_night(rule, "visit") == ["held", "raised"]


def test_the_order_that_a_rule_is_about_is_not_one_that_came_meanwhile() -> None:
    when = {"event": "purchase", "unless": {"orders": {"at_least": 1, "within": "365d"}}}
    first = {"rule": "first", "when": when, "expires_after": "3d"}
    assert held_over_night(first, "purchase") == ["held", "raised"]
    assert "raised" not in held_over_night(first, "purchase", EVENING + HOUR)


def test_an_order_at_night_says_no_at_whatever_instant_it_is_asked() -> None:
    rule = on("visit", "never_ordered") | {"if": {"orders": {"below": 1}}}
    for order in range(EVENING + MINUTE, MORNING, 2 * HOUR):
        assert held_over_night(rule, "visit", order) == ["held", "condition"]
