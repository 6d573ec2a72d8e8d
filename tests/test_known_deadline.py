"""Who knows a member's next deadline need not have it looked for: nothing else changes.

Nor does it when one part of the member is looked through only as far as the others' deadlines.
"""

from random import Random

import pytest
from core_builders import DAY, HOUR, MINUTE, NOON, Life, arrived, event, random_log, whole_book
from simulation.books import first_book

from models import absence, belonging, dated, watching
from models.decoding import Received
from models.engine import advance, handle, next_due, settle
from models.holding import next_release
from models.member import Member, decode, encode
from models.outcome import Context
from models.overtaking import next_close
from models.rulebook import RuleBook
from models.times import SECOND
from models.transitions import next_stage_due


@pytest.mark.parametrize("step", [7 * MINUTE, 5 * HOUR, 9 * DAY])
def test_an_event_says_the_same_whether_the_next_deadline_is_known_or_not(step: int) -> None:
    book = whole_book(assume_consent=True)
    skipped = 0
    for seed in range(25):
        asking, knowing = Member("m1", False), Member("m1", False)
        for one in events_of_one(seed, step):
            due = next_due(knowing, book)
            skipped += one.at < due
            now = one.at + SECOND
            asked = handle(asking, one, Context(book, now))
            known = handle(knowing, one, Context(book, now), due)
            assert known.triggers == asked.triggers
            assert known.decisions == asked.decisions
        assert encode(knowing, 0, 0) == encode(asking, 0, 0)
    assert skipped > 0


def test_what_is_due_at_the_events_own_instant_is_not_passed_over() -> None:
    book = whole_book(assume_consent=True)
    life = Life(book)
    life.sees("register", NOON)
    due = next_due(life.member, book)
    (one,) = arrived([event("visit", due)])
    handle(life.member, one, Context(book), due)
    assert next_due(life.member, book) > due


@pytest.mark.parametrize(
    "book", [whole_book(assume_consent=True), first_book()], ids=["whole", "small"]
)
@pytest.mark.parametrize("step", [7 * MINUTE, 5 * HOUR, 9 * DAY])
def test_no_deadline_hangs_on_what_a_member_forgets_when_it_is_saved(
    step: int, book: RuleBook
) -> None:
    forgot = 0
    for seed in range(25):
        member = Member("m1", False)
        for one in events_of_one(seed, step):
            handle(member, one, Context(book))
            forgot += is_saved_with_its_deadline(member, book)
        for _ in range(20):
            advance(member, min(next_due(member, book), member.advanced_to + DAY), Context(book))
            forgot += is_saved_with_its_deadline(member, book)
    assert forgot > 0


def test_what_comes_late_and_raises_what_is_over_leaves_no_deadline_of_the_past() -> None:
    life = Life(first_book())
    life.sees("begin_checkout", NOON, items=[{"item_id": "c", "quantity": 1}])
    life.sees("ticket_opened", NOON + 260 * DAY)
    late = life.sees("purchase", NOON + 150 * DAY, order_id="o1", total=20.0)
    assert late.triggers
    assert next_due(life.member, life.book) > life.member.advanced_to


def events_of_one(seed: int, step: int) -> list[Received]:
    return [one for one in arrived(random_log(Random(seed), step)) if one.event.member_id == "m1"]


def is_saved_with_its_deadline(member: Member, book: RuleBook) -> bool:
    """Whether the member forgot anything."""
    due = next_due(member, book)
    before = encode(member, due, 0)
    settle(member, book)
    row = encode(member, due, 0)
    assert next_due(member, book) == due
    assert next_due(decode(row, "m1", False), book) == due
    return row != before


@pytest.mark.parametrize("step", [7 * MINUTE, 5 * HOUR, 9 * DAY])
def test_the_next_deadline_is_the_first_that_any_part_tells_by_itself(step: int) -> None:
    book = whole_book(assume_consent=True)
    far = (watching.next_due, dated.next_due, belonging.next_due)
    near = (absence.next_due, next_stage_due, next_close)
    firsts = set()
    for seed in range(25):
        member = Member("m1", False)
        for one in events_of_one(seed, step):
            handle(member, one, Context(book))
            told = [part(member, book) for part in (*far, *near)]
            due = min(*told, next_release(member))
            assert next_due(member, book) == due
            firsts.update(part for part, own in zip(far, told, strict=False) if own == due)
            for part, own in zip(far, told, strict=False):
                assert part(member, book, own) == own
                assert part(member, book, own - 1) >= own
    assert firsts, "a part that takes longer must come first now and then"
