"""A cart whose events come in disorder: what it holds, and what it is reminded of."""

from itertools import permutations

import pytest
from core_builders import NOON, Life, event, lines, shipped_book

from models.facts import cart_of
from models.times import DAY, MINUTE, SECOND

BOOK = shipped_book()


def life_of(*events: dict[str, object]) -> Life:
    life = Life(BOOK)
    for one in events:
        life.folds(one)
    life.reaches(NOON + DAY)
    return life


def standing(life: Life) -> list[str]:
    return [rule for rule in life.standing if rule == "cart_abandoned"]


ADDED = event("add_to_cart", NOON, item_id="i1")
REMOVED = event("remove_from_cart", NOON + 5 * SECOND, item_id="i1")


def test_an_item_that_was_removed_is_not_reminded_of_when_its_adding_comes_after() -> None:
    assert standing(life_of(ADDED, REMOVED)) == []
    assert standing(life_of(REMOVED, ADDED)) == []
    assert cart_of(life_of(REMOVED, ADDED).member) == {}


def test_an_item_that_was_added_again_after_it_was_removed_is_reminded_of() -> None:
    again = event("add_to_cart", NOON + MINUTE, item_id="i1")
    for order in permutations([ADDED, REMOVED, again]):
        assert standing(life_of(*order)) == ["cart_abandoned"], order


STORY = [
    event("add_to_cart", NOON + 20 * SECOND, item_id="i1"),
    event("purchase", NOON + 30 * SECOND, items=lines("i1")),
    event("add_to_cart", NOON + 40 * SECOND, item_id="i2"),
    event("remove_from_cart", NOON + 50 * SECOND, item_id="i2"),
]


@pytest.mark.parametrize("order", [*permutations(range(4))])
def test_an_order_empties_the_cart_of_what_came_before_it_however_late_that_is_told(
    order: tuple[int, ...],
) -> None:
    life = life_of(*(STORY[place] for place in order))
    assert cart_of(life.member) == {}
    assert standing(life) == []
