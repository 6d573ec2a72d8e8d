"""How far the level is off: counted while questions are open, believed as far as borne out."""

import random

import pytest

from models.leveling import Claim, Level, steps_to
from models.logistic import sigmoid

DAY = 20_000
STEPS = steps_to(30)
# Of who has stayed away until then, how many come in each step: half of all within the horizon.
COMING = (0.25, 0.15, 0.1, 0.1, 0.031)


def watched(
    days: int,
    said: float,
    asked: int = 100,
    sale: int = 0,
) -> Level:
    """The end of days of questions that are answered by ``said``.

    In the last days, as many as ``sale``, of who was asked a week ago three in ten more have come.
    """
    level, first = Level(), DAY - days
    chance = random.Random(3)
    away: dict[int, int] = {}
    for day in range(first, DAY):
        more = 1.3 if day >= DAY - sale else 1.0
        level.fade()
        for _ in range(asked):
            level.compare(said)
        for step, since in enumerate(STEPS):
            if day - since >= first:
                before = away.get(day - since, asked)
                comes = COMING[step] if step else COMING[0] * more
                still = sum(chance.random() >= comes for _ in range(before))
                level.look(step, day - since, still, asked)
                away[day - since] = still
    return level


def claimed(level: Level, day: int = DAY) -> Claim:
    level.claim(day, len(STEPS))
    return level.claims[day]


def test_steps_are_weeks_and_what_is_left():
    assert steps_to(30) == (7, 14, 21, 28, 30)
    assert steps_to(28) == (7, 14, 21, 28)
    assert steps_to(7) == (7,)


@pytest.mark.parametrize("said", [-0.2, 0.2])
def test_a_gap_is_closed_for_the_most_part_before_anything_has_answered(said):
    found = claimed(watched(90, said, asked=1000))
    # One step back to even odds, less what chance can make.
    assert found.gap == pytest.approx((0.5 - sigmoid(said)) / 0.25, rel=0.15)
    assert 0.8 < found.shift / found.gap < 0.95


def test_the_older_a_log_is_the_less_a_gap_moves():
    young, old = watched(60, said=-0.2), watched(600, said=-0.2)
    assert 0.0 < claimed(old).gap < 0.6 * claimed(young).gap


def test_a_table_is_there_when_its_last_step_is_and_not_before():
    assert claimed(watched(30, said=-0.5, asked=1000)).gap == 0.0
    assert claimed(watched(31, said=-0.5, asked=1000)).gap > 0.2


def test_nothing_is_moved_where_what_was_said_comes_true_or_nobody_was_asked():
    assert claimed(Level()) == Claim(0.0, 0.0)
    assert claimed(watched(90, said=0.0)).gap == pytest.approx(0.0, abs=0.05)


def test_of_a_gap_that_chance_can_make_little_is_left():
    few, many = (
        Level(
            at_risk=[members] * len(STEPS),
            came=[members * comes for comes in COMING],
            asked=1000.0,
            said=450.0,
            unsure=240.0,
            days=90,
        )
        for members in (40.0, 40_000.0)
    )
    assert 0.0 < claimed(few).gap < 0.5 * claimed(many).gap


def test_a_week_of_sales_moves_the_level_of_a_month_only_a_little():
    lasting = claimed(watched(150, said=0.0, asked=1000, sale=110))
    sale = claimed(watched(150, said=0.0, asked=1000, sale=4))
    assert lasting.gap < 4 * sale.gap < 0.0


def test_few_questions_move_little_and_none_more_than_a_holiday_may():
    assert 0.0 < claimed(watched(90, said=-0.4, asked=10)).gap < 0.1
    assert claimed(watched(90, said=-30.0)).gap == 0.3
    assert claimed(watched(90, said=30.0)).gap == -0.3


def test_who_was_asked_before_counting_began_is_not_counted():
    level = Level()
    level.look(2, DAY, 60, 100)
    assert level.at_risk == level.came == [0.0, 0.0, 0.0]
    level.look(0, DAY, 80, 100)
    level.look(1, DAY, 60, 100)
    assert level.at_risk == [100.0, 80.0, 0.0]
    assert level.came == [20.0, 20.0, 0.0]


@pytest.mark.parametrize(("truth", "least", "most"), [(0.0, 0.0, 0.15), (0.4, 0.85, 1.0)])
def test_the_gap_is_believed_as_far_as_answers_bear_it_out(truth, least, most):
    rng = random.Random(3)
    level = watched(90, said=-0.4)
    gap = claimed(level).gap
    for day in range(DAY, DAY + 40):
        shift = claimed(level, day).shift
        for _ in range(400):
            level.answer(day, said=shift, churned=rng.random() < sigmoid(truth))
    found = claimed(level)
    assert found.gap == gap
    assert least <= found.shift / gap <= most


def test_answers_of_days_that_are_forgotten_teach_nothing():
    level = watched(90, said=-0.4)
    for day in (DAY, DAY + 1):
        level.claim(day, len(STEPS))
    level.forget(DAY + 1)
    before = list(level.losses)
    level.answer(DAY, said=0.3, churned=True)
    assert level.losses == before
    assert level.shift_of(DAY) == 0.0
    level.answer(DAY + 1, said=0.3, churned=True)
    assert level.losses != before
    assert level.shift_of(DAY + 1) == level.claims[DAY + 1].shift != 0.0
    level.forget(DAY + 200)
    assert not level.away
    assert not level.claims
