"""What has waited is explained in the language that its trigger names when it goes out."""

from typing import Any

import pytest
from core_builders import DAY, HOUR, NOON, absence
from policy_kit import Judged, living

from models.times import rfc3339
from models.triggers import Trigger

NIGHT = {"consent": "opt_out", "quiet_hours": {"from": "13:30", "to": "09:00", "then": "defer"}}
WAITS = [
    ({"event": "visit"}, [("visit", 2, {})]),
    (absence("visit", "share", "2h"), [("visit", 0, {})]),
    (absence("view_item", {"event": "purchase", "same": "item_id"}, "2h"), [("view_item", 0, {})]),
    ({"stage_entered": "new"}, [("purchase", 2, {})]),
    ({"stage_left": "lead"}, [("purchase", 2, {})]),
    ({"tier_entered": "gold"}, [("tier", 2, {"tier": "gold"})]),
    (
        {"count": {"of": "visit", "at_least": 2, "within": "3h"}},
        [("visit", 1, {}), ("visit", 2, {})],
    ),
    (
        {"sequence": {"steps": ["visit", "search"], "within": "3h"}},
        [("visit", 1, {}), ("search", 2, {})],
    ),
    ({"crosses": {"number": "points", "at_least": 5}}, [("points", 2, {"balance": 6})]),
    (
        {"series": {"after": "register", "steps": ["1h", "2h"], "until": "share"}},
        [("register", 0, {})],
    ),
    ({"calendar": {"birthday": {"at": "14:00"}}}, []),
    (
        {"calendar": {"before": "offer_expires", "days": 1, "at": "14:00"}},
        [("offer_granted", 0, {"offer_id": "tea", "expires_at": "2026-01-03T00:00:00Z"})],
    ),
]


def told(
    when: dict[str, Any], events: list[Any], before: str, after: str, policy: dict[str, Any]
) -> Trigger:
    life: Judged = living(policy, {"rule": "r", "when": when, "expires_after": "3d"})
    life.sees("profile", NOON - HOUR, locale=before, birthday=rfc3339(NOON)[5:10])
    for kind, hours, fields in events:
        life.sees(kind, NOON + hours * HOUR, **fields)
    life.reaches(NOON + 2 * HOUR)
    life.is_saved_and_loaded()
    life.sees("profile", NOON + 3 * HOUR, locale=after)
    life.reaches(NOON + 2 * DAY)
    return life.triggers[-1]


@pytest.mark.parametrize(("when", "events"), WAITS)
def test_a_reason_is_in_the_language_of_the_locale(when: dict[str, Any], events: list[Any]) -> None:
    open_policy = {"consent": "opt_out"}
    at_once = {one: told(when, events, one, one, open_policy) for one in ("en", "zh-CN")}
    for before in ("en", "zh-CN"):
        for after in ("en", "zh-CN"):
            trigger = told(when, events, before, after, NIGHT)
            assert trigger.locale == after
            assert trigger.not_before != trigger.due_at
            wanted = at_once[after].reason.text
            if (before, after) == ("zh-CN", "en"):
                # What brought a stage about is not kept.
                wanted = wanted.partition(": ")[0].rstrip(".") + "."
            assert trigger.reason.text == wanted
