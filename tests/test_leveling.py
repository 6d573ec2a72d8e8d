"""How far the level is behind: seen by the weekly twin, believed as far as answers bear it out."""

import random

import msgspec
import pytest

from models.leveling import Claim, Level
from models.logistic import sigmoid

DAY = 20_000


def watched(days: int, weekly: float, level: Level | None = None, asked: int = 100) -> Level:
    """Questions of some days of which the blend says 0 and the weekly twin something else."""
    level = level or Level()
    for _ in range(days):
        level.fade()
        for _ in range(asked):
            level.compare(weekly, 0.0)
    return level


def claimed(level: Level, day: int = DAY) -> Claim:
    level.claim(day)
    return level.claims[day]


def test_a_gap_that_lasts_is_closed_by_half_before_anything_has_answered():
    found = claimed(watched(90, weekly=0.4, asked=1000))
    # One step from even odds: (sigmoid(0.4) - 0.5) / 0.25, less what is held back.
    assert found.gap == pytest.approx((sigmoid(0.4) - 0.5) / 0.25, rel=0.05)
    assert found.shift == pytest.approx(found.gap / 2)


def test_nothing_is_moved_where_the_twins_agree_or_nobody_was_asked():
    assert claimed(Level()) == Claim(0.0, 0.0)
    assert claimed(watched(60, weekly=0.0)) == Claim(0.0, 0.0)


def test_a_week_of_sales_moves_the_level_of_a_month_only_a_little():
    calm = watched(120, weekly=0.0)
    sale = claimed(watched(4, weekly=-1.0, level=msgspec.convert(msgspec.to_builtins(calm), Level)))
    lasting = claimed(watched(120, weekly=-1.0, level=calm))
    assert lasting.gap < 4 * sale.gap < 0.0


def test_what_was_true_for_long_and_is_so_no_more_moves_nothing():
    level = watched(120, weekly=0.5)
    assert claimed(watched(14, weekly=-0.5, level=level)).gap == 0.0


def test_few_questions_move_little_and_none_more_than_one():
    assert 0.0 < claimed(watched(30, weekly=0.4, asked=1)).gap < 0.15
    assert claimed(watched(90, weekly=30.0)).gap == 1.0
    assert claimed(watched(90, weekly=-30.0)).gap == -1.0


@pytest.mark.parametrize(("truth", "least", "most"), [(0.0, 0.0, 0.15), (0.4, 0.85, 1.0)])
def test_the_gap_is_believed_as_far_as_answers_bear_it_out(truth, least, most):
    rng = random.Random(3)
    level = watched(90, weekly=0.4)
    gap = claimed(level).gap
    for day in range(DAY, DAY + 40):
        shift = claimed(level, day).shift
        for _ in range(200):
            level.answer(day, said=shift, churned=rng.random() < sigmoid(truth))
    found = claimed(level)
    assert found.gap == gap
    assert least <= found.shift / gap <= most


def test_answers_of_days_that_are_forgotten_teach_nothing():
    level = watched(90, weekly=0.4)
    for day in (DAY, DAY + 1):
        level.claim(day)
    level.forget(DAY + 1)
    before = list(level.losses)
    level.answer(DAY, said=0.3, churned=True)
    assert level.losses == before
    assert level.shift_of(DAY) == 0.0
    level.answer(DAY + 1, said=0.3, churned=True)
    assert level.losses != before
    assert level.shift_of(DAY + 1) == level.claims[DAY + 1].shift != 0.0
