"""Open triggers are watched until they expire, and no longer, whoever advances the member."""

from pathlib import Path

import pytest
from core_builders import NOON, Life, absence, book_of, same, write_rules

from models.member import KEPT_OPEN
from models.rulebook import RuleBook
from models.times import MINUTE, SECOND
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
