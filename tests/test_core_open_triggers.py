"""Open triggers are watched until they expire, and no longer, whoever advances the member."""

from pathlib import Path

import pytest
from core_builders import NOON, Life, absence, book_of, same, write_rules

from models.member import KEPT_OPEN
from models.rulebook import RuleBook
from models.times import DAY, MINUTE, SECOND
from models.triggers import TriggerCancelled


@pytest.fixture
def book(tmp_path: Path) -> RuleBook:
    when = absence("view_item", same("purchase", "item_id"), "1m")
    rule = {"rule": "viewed", "when": when, "expires_after": "1m"}
    return book_of(write_rules(tmp_path, rule))


def test_expired_triggers_crowd_out_nothing_however_often_the_member_is_advanced(
    book: RuleBook,
) -> None:
    restless, quiet = Life(book), Life(book)
    for life in (restless, quiet):
        for number in range(KEPT_OPEN):
            life.sees("view_item", NOON + number * 10 * SECOND, item_id=f"i{number}")
        life.sees("view_item", NOON + 61 * MINUTE + 50 * SECOND, item_id="last")
    restless.reaches(NOON + 62 * MINUTE + 30 * SECOND)
    for life in (restless, quiet):
        life.reaches(NOON + 63 * MINUTE)
    assert restless.said == quiet.said
    assert len(restless.raised) == KEPT_OPEN + 1
    assert restless.cancelled == []


def test_more_than_can_be_watched_are_withdrawn_before_they_expire(book: RuleBook) -> None:
    life = Life(book)
    for number in range(KEPT_OPEN + 5):
        life.sees("view_item", NOON + number, item_id=f"i{number}")
    life.reaches(NOON + 2 * MINUTE)
    taken_back = [m for m in life.said if isinstance(m, TriggerCancelled)]
    assert len(taken_back) == 5
    assert {message.reason for message in taken_back} == {"too many open triggers"}


def test_items_that_may_come_again_stand_in_the_row_alike_whether_it_was_saved_or_not(
    tmp_path: Path,
) -> None:
    rule = {
        "rule": "viewed",
        "when": absence("view_item", same("purchase", "item_id"), "1m"),
        "reentry": {"per": "item_id", "every": "7d"},
        "expires_after": "1h",
    }
    often = book_of(write_rules(tmp_path, rule))
    saved, kept = Life(often), Life(often)
    for life in (saved, kept):
        for day, item in ((0, "a"), (2, "b"), (8, "a")):
            life.reaches(NOON + day * DAY + MINUTE)
            if life is saved:
                life.is_saved_and_loaded()
            life.sees("view_item", NOON + day * DAY + 2 * MINUTE, item_id=item)
        life.reaches(NOON + 8 * DAY + 4 * MINUTE)
    assert len(kept.raised) == 3
    assert saved.is_saved_and_loaded() == kept.is_saved_and_loaded()
