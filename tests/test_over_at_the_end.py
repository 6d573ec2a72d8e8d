"""Nothing is said of what has ended: an offer, points, a tier; and what a fall of points is."""

from typing import Any

import pytest
from core_builders import HOUR, NOON, Life
from policy_kit import Judged, living

from models.times import rfc3339

SILENCE = {"silence_after_purchase": {"for": "24h", "then": "defer"}, "consent": "opt_out"}
ENDS = NOON + 12 * HOUR  # midnight
LAST_DAY = {
    "rule": "last_day",
    "when": {"calendar": {"before": "offer_expires", "days": 0, "at": "13:00"}},
    "expires_after": "2d",
}


def granted(policy: dict[str, Any]) -> Judged:
    life = living(policy, LAST_DAY)
    life.sees("offer_granted", NOON - 24 * HOUR, offer_id="a", expires_at=rfc3339(ENDS))
    return life


def test_a_trigger_about_an_end_expires_with_it() -> None:
    life = granted({})
    life.reaches(ENDS + HOUR)
    (trigger,) = life.triggers
    assert trigger.due_at == rfc3339(NOON + HOUR)
    assert (trigger.expires_at, trigger.not_after) == (rfc3339(ENDS), rfc3339(ENDS))


def test_what_would_have_to_wait_beyond_the_end_is_not_said() -> None:
    life = granted(SILENCE)
    life.sees("purchase", NOON)
    life.reaches(ENDS + 24 * HOUR)
    assert life.verdicts_of("last_day") == ["expired"]
    assert life.triggers == []


def test_what_expires_before_the_end_expires_before_it() -> None:
    life = living({}, LAST_DAY | {"expires_after": "3h"})
    life.sees("offer_granted", NOON - 24 * HOUR, offer_id="a", expires_at=rfc3339(ENDS))
    life.reaches(ENDS)
    assert life.triggers[0].expires_at == rfc3339(NOON + 4 * HOUR)


def told(*numbers: float, saved: bool) -> list[int]:
    """After which of the numbers points fell below 100, to come back at 200."""
    when = {"crosses": {"number": "points", "below": 100, "back_at_least": 200}}
    life: Life = living({}, {"rule": "fell", "when": when})
    found = []
    for index, number in enumerate(numbers):
        before = len(life.raised)
        life.sees("points", NOON + index * 5 * HOUR, balance=number)
        if len(life.raised) > before:
            found.append(index)
        if saved:
            life.is_saved_and_loaded()
    return found


@pytest.mark.parametrize("saved", [False, True])
def test_points_fall_below_a_level_when_they_were_above_it(saved: bool) -> None:
    assert told(150, 99, saved=saved) == [1]
    assert told(100, 99, saved=saved) == [1]
    assert told(50, 40, saved=saved) == []
    # Low from the first word on, they must come back as far as after a fall.
    assert told(50, 150, 99, saved=saved) == []
    assert told(50, 200, 99, saved=saved) == [2]
    assert told(150, 99, 150, 99, 200, 99, saved=saved) == [1, 5]


@pytest.mark.parametrize(
    ("kind", "first", "second"),
    [
        ("points", {"balance": 500, "expiring": 50, "expires_at": rfc3339(ENDS)}, {"balance": 40}),
        ("tier", {"tier": "gold", "review_at": rfc3339(ENDS), "missing": 5}, {"tier": "gold"}),
    ],
)
def test_points_and_tier_say_the_whole_each_time(
    kind: str, first: dict[str, Any], second: dict[str, Any]
) -> None:
    """What the latest leaves out is none: whichever arrives first, the same is known."""
    states = []
    for order in ((0, 1), (1, 0)):
        life = living({})
        for index in order:
            life.sees(kind, NOON + index, **(first, second)[index])
        states.append(life.member.loyalty)
    assert states[0] == states[1]
    known = states[0]
    assert known is not None
    assert (known.expiring, known.expires_at, known.review_at, known.missing) == (None, 0, 0, None)
