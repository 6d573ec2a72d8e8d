"""What the evaluation stands on: who bought when, who may know what in which week, baselines."""

import random
from pathlib import Path

import numpy as np
import pytest
from made_buyers import FIRST, made_orders, order

from app.evaluate.bgnbd import no_order
from app.evaluate.histories import Histories, Money
from app.evaluate.reading import expected_questions, read_log
from app.evaluate.recency import recency
from app.evaluate.strays import QUIET, main_days
from app.evaluate.weeks import weeks_of
from app.event_files import write_events
from app.event_reading import ReadingReport
from models.btyd import BgNbd
from models.rules import Limits

ORDERS = [(0, 3, 500), (0, 3, 100), (0, 10, 200), (1, 5, 900), (0, 40, 50), (2, 0, 1)]


@pytest.fixture
def histories() -> Histories:
    shuffled = ORDERS[:]
    random.Random(4).shuffle(shuffled)
    return Histories((member, day) for member, day, _ in shuffled)


def test_the_next_purchase_day_is_strictly_after_the_day(histories: Histories) -> None:
    member, day = np.array([0, 0, 0, 0, 1, 2]), np.array([0, 3, 10, 40, 4, 0])
    assert histories.days_until_next(member, day).tolist() == [3, 7, 30, -1, 1, -1]


def test_churned_means_no_purchase_day_up_to_the_last_day_of_the_horizon(
    histories: Histories,
) -> None:
    member, day = np.array([0, 0, 0]), np.array([10, 9, 40])
    assert histories.churned(member, day, 30).tolist() == [False, False, True]
    assert histories.churned(member, day, 29).tolist() == [True, False, True]


def test_money_adds_up_every_amount_of_its_days() -> None:
    money = Money([*ORDERS, (0, 11, -150)])
    member, day = np.array([0, 0, 0, 1, 2]), np.array([2, 3, 9, 5, 0])
    assert money.within(member, day, 30).tolist() == [650, 50, 50, 0, 0]
    assert money.within(member, day, 31).tolist() == [650, 50, 100, 0, 0]
    assert money.by(member, day).tolist() == [0, 600, 600, 900, 1]


def test_summaries_know_nothing_of_later_days(histories: Histories) -> None:
    x, t_x, age = histories.summaries(10)
    assert x.tolist() == [1, 0, 0]
    assert t_x.tolist() == [7, 0, 0]
    assert age.tolist() == [7, 5, 10]
    x, _, _ = histories.summaries(4)
    assert x.tolist() == [0, 0]
    member, days, first, last = histories.known(10)
    assert list(zip(member, days, first, last, strict=True)) == [
        (0, 2, 3, 10),
        (1, 1, 5, 5),
        (2, 1, 0, 0),
    ]


def test_nobody_has_no_history() -> None:
    nobody = Histories([])
    assert nobody.members == 0
    assert [len(part) for part in nobody.summaries(100)] == [0, 0, 0]


def test_a_week_knows_only_labels_that_are_due() -> None:
    day = np.sort(np.random.default_rng(5).integers(0, 90, 500))
    weeks = weeks_of(day, 0, 89, 30)
    for week in weeks:
        assert (day[week.known] + 30 <= week.begins).all()
        assert (day[week.known.stop :] + 30 > week.begins).all()
        asked = day[week.asked]
        assert ((asked >= week.begins) & (asked < week.begins + 7)).all()
    assert sum(week.asked.stop - week.asked.start for week in weeks) == 500


def test_recency_learns_a_rising_curve_and_only_from_the_past() -> None:
    chance = np.random.default_rng(6)
    day = np.sort(chance.integers(0, 200, 20_000))
    silence = chance.integers(0, 60, 20_000)
    truth = 0.1 + 0.8 * silence / 60
    churned = chance.random(20_000) < truth
    weeks = weeks_of(day, 0, 199, 30)
    said = recency(weeks, silence, churned)
    assert (said[day < 30] == 0.5).all()
    late = day >= 150
    assert np.abs(said[late] - truth[late]).mean() < 0.03
    # What comes true after the last week began changes nothing that was said.
    changed = churned.copy()
    changed[day > 196 - 30] ^= True
    assert (recency(weeks, silence, changed) == said).all()


def test_bg_nbd_of_many_is_that_of_each() -> None:
    model = BgNbd(r=0.24, alpha=4.4 * 7, a=0.79, b=2.43)
    chance = random.Random(7)
    states = [(0, 0.0, 10.0), (3, 20.0, 300.0), (400, 300.0, 2000.0)]
    for _ in range(50):
        t_x = chance.uniform(0, 200)
        states.append((chance.randrange(1, 30), t_x, t_x + chance.uniform(0, 200)))
    x, t_x, age = (np.array(column, np.float64) for column in zip(*states, strict=True))
    said = no_order(model, x, t_x, age, 30)
    assert said.tolist() == pytest.approx([model.p_no_order(*state, 30) for state in states])


SHOP = [day for day in range(1000, 1200) for _ in range(3)]


def test_strays_are_few_and_far_from_the_rest() -> None:
    assert main_days(SHOP) == range(1000, 1200)
    assert main_days([0, *SHOP, 40_000]) == range(1000, 1200)
    assert main_days([0, 500, *SHOP]) == range(1000, 1200)  # two strays, far from each other too
    # As near as a quiet quarter it is a beginning, and so are many of another time.
    assert main_days([1000 - QUIET, *SHOP]) == range(1000 - QUIET, 1200)
    assert main_days([999 - QUIET, *SHOP]) == range(1000, 1200)
    assert main_days([*range(2, 22), *SHOP]) == range(2, 1200)


def test_what_was_never_set_and_what_is_to_come_are_strays_however_many() -> None:
    assert main_days([0, 0, 1, 1, *range(1000, 1010)]) == range(1000, 1010)
    assert main_days([*SHOP, *[1566] * 9], 1200) == range(1000, 1567)
    assert main_days([*SHOP, *[1567] * 9], 1200) == range(1000, 1200)
    assert main_days([0] * 9) == range(0, 1)
    assert main_days([1000, *[2000] * 9], 1200) == range(1000, 2001)


def test_of_few_days_none_is_a_stray() -> None:
    assert main_days([]) == range(0)
    assert main_days([9, 5000]) == range(9, 5001)
    assert main_days([9, *range(5000, 5018)]) == range(9, 5018)
    assert main_days([9, *range(5000, 5019)]) == range(5000, 5019)


def test_orders_of_testers_neither_begin_nor_end_the_log(tmp_path: Path) -> None:
    path, tester = tmp_path / "events.jsonl", 99
    shop = made_orders(20, days=100, seed=2)
    tested = [order(tester, FIRST - 50, 100), order(tester, FIRST + 150, 100)]
    limits = Limits(test_members=frozenset({"m99"}))
    write_events(path, shop)
    alone = read_log([path], ReadingReport(), limits)
    write_events(path, sorted([*shop, *tested], key=lambda event: event["occurred_at"]))
    log = read_log([path], ReadingReport(), limits)
    assert (log.first, log.last, log.strays) == (alone.first, alone.last, 0)
    assert expected_questions(log) == expected_questions(alone)
    assert read_log([path], ReadingReport(), Limits()).length > log.length
