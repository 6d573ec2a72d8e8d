"""The next order: the distribution, the interval's honesty, and that nothing is learned early."""

import math
import random

import msgspec
import pytest
from told_days import FIRST, told

from models.asking import Bought, Question
from models.features import Population
from models.next_order import (
    WITHIN,
    Gap,
    NextOrderCheckpoint,
    NextOrderModel,
    usual,
    worth_telling,
)
from models.next_order_training import NextOrderTrainer
from models.rhythm import Rhythm, bought

POPULATION = Population(20.0, 2.8, 0.8, 0.5)


def say(trainer, day, shuffle=None):
    messages = [*day.bought, *day.asked]
    if shuffle is not None:
        shuffle.shuffle(messages)
    for message in messages:
        if isinstance(message, Question):
            trainer.asked(message, POPULATION)
        else:
            trainer.bought(message)


def course(days, trainer=None, shuffle=None):
    trainer = trainer or NextOrderTrainer()
    for day in days:
        say(trainer, day, shuffle)
        model = trainer.close(day.day)
    return trainer, model


def every(gap, times):
    """A member who bought every ``gap`` days, the last time on ``FIRST``."""
    rhythm = None
    for back in range(times, -1, -1):
        rhythm = bought(rhythm, FIRST - back * gap, 1000)
    return rhythm


@pytest.mark.parametrize("gap", [Gap(2.5, 0.8, 0), Gap(2.5, 0.8, 45), Gap(4.0, 0.3, 10)])
def test_quantiles_are_the_inverse_of_shares_within_sixty_days(gap):
    for level in (0.01, 0.1, 0.5, 0.9, 0.99):
        days = gap.quantile(level)
        assert 0 < days <= WITHIN
        below, above = gap.share(math.floor(days)), gap.share(math.ceil(days))
        assert below <= level + 1e-9
        assert above >= level - 1e-9
    assert gap.share(0) == pytest.approx(0)
    assert gap.share(WITHIN) == 1


def test_shares_are_those_of_gaps_drawn_from_the_log_normal():
    rng = random.Random(8)
    gap = Gap(2.9, 0.7, 12)
    rest = []
    while len(rest) < 40_000:
        days = math.expm1(rng.gauss(gap.mean, gap.deviation))
        if 12 < days <= 12 + WITHIN:
            rest.append(days - 12)
    rest.sort()
    assert gap.quantile(0.5) == pytest.approx(rest[20_000], rel=0.02)
    assert gap.quantile(0.9) == pytest.approx(rest[36_000], rel=0.02)
    assert gap.share(7) == pytest.approx(sum(days <= 7 for days in rest) / 40_000, abs=0.01)


def test_silence_brings_a_regular_member_nearer_and_an_irregular_one_further_away():
    model = NextOrderModel()
    weekly = every(7, 12)
    now = model.next_order(weekly, FIRST, POPULATION)
    assert 4 < now.median < 9
    assert now.low <= now.median <= now.high
    assert model.next_order(weekly, FIRST + 5, POPULATION).median < now.median
    once = Rhythm(FIRST)
    gone = model.next_order(once, FIRST + 120, POPULATION)
    assert gone.median > model.next_order(once, FIRST, POPULATION).median


@pytest.mark.parametrize("silence", [0, 60, 700, 40_000])
@pytest.mark.parametrize("rhythm", [every(1, 300), every(3, 200), Rhythm(FIRST)])
def test_whoever_is_asked_of_gets_days_from_tomorrow_to_sixty(rhythm, silence):
    told_of = NextOrderModel(0.0005, 0.9995).next_order(rhythm, FIRST + silence, POPULATION)
    assert 1 <= told_of.low <= told_of.high <= WITHIN
    assert 0 < told_of.median <= WITHIN


def test_own_gaps_count_the_more_the_more_there_are():
    few, many = usual(every(7, 2), POPULATION), usual(every(7, 50), POPULATION)
    base = usual(Rhythm(FIRST), POPULATION)
    assert base.median == pytest.approx(math.expm1(2.8))
    assert base.median > few.median > many.median > 6
    assert many.late < few.late < base.late
    assert many.median < many.late


def test_a_date_is_told_when_an_order_is_likelier_than_not():
    assert worth_telling(0.49)
    assert not worth_telling(0.5)


@pytest.fixture(scope="module")
def shop():
    return told(members=700, days=240, seed=3)


@pytest.fixture(scope="module")
def trained(shop):
    return course(shop)


def test_within_a_day_it_does_not_matter_who_spoke_first(shop, trained):
    shuffled, model = course(shop, shuffle=random.Random(2))
    assert model == trained[1] != NextOrderModel()
    assert shuffled.checkpoint() == trained[0].checkpoint()


@pytest.mark.parametrize("stop", [1, 59, 60, 61, 130])
def test_a_restart_goes_on_to_the_bit_and_learns_nothing_twice(shop, trained, stop):
    stopped, _ = course(shop[:stop])
    saved = msgspec.json.encode(stopped.checkpoint())
    again = NextOrderTrainer.restored(msgspec.json.decode(saved, type=NextOrderCheckpoint))
    assert again.oldest == shop[stop - 1].day - WITHIN + 1
    for day in shop[:stop]:
        if day.day >= again.oldest:
            say(again, day)
    trainer, model = course(shop[stop:], again)
    assert model == trained[1]
    assert trainer.checkpoint() == trained[0].checkpoint()


def learned(*orders):
    """The checkpoint after one question of ``FIRST`` is due, with orders so many days after it."""
    trainer = NextOrderTrainer()
    trainer.asked(Question(5, FIRST, every(7, 5), None, None, 0), POPULATION)
    for after, cents in orders:
        trainer.bought(Bought(5, FIRST + after, cents, 1, after))
    for day in range(FIRST, FIRST + WITHIN):
        trainer.close(day)
        assert sum(trainer.checkpoint().reached) == 0
    trainer.close(FIRST + WITHIN)
    return trainer.checkpoint()


def test_a_question_counts_sixty_days_later_if_there_was_an_order_and_not_before():
    assert sum(learned().reached) == 0
    assert sum(learned((WITHIN + 1, 500)).reached) == 0
    assert sum(learned((0, 500)).reached) == 0
    assert sum(learned((9, -500)).reached) == 0
    assert sum(learned((1, 500)).reached) == 1
    assert sum(learned((WITHIN, 500)).reached) == 1
    # The next one counts, not the last.
    assert learned((3, 500), (30, 500)) == learned((3, 500))
    assert learned((3, 500)) != learned((30, 500))


def test_the_interval_holds_eight_of_ten_orders_to_come():
    days = told(members=1500, days=260, seed=9)
    buys: dict[int, list[int]] = {}
    for day in days:
        for said in day.bought:
            buys.setdefault(said.member, []).append(said.day)
    trainer, model = NextOrderTrainer(), NextOrderModel()
    kept: list[bool] = []
    naive: list[bool] = []
    for day in days:
        if FIRST + 150 <= day.day < FIRST + 260 - WITHIN:
            for question in day.asked:
                later = [at - day.day for at in buys[question.member] if at > day.day]
                if later and later[0] <= WITHIN:
                    told_of = model.next_order(question.rhythm, day.day, POPULATION)
                    kept.append(told_of.low <= later[0] <= told_of.high)
                    raw = NextOrderModel().next_order(question.rhythm, day.day, POPULATION)
                    naive.append(raw.low <= later[0] <= raw.high)
        say(trainer, day)
        model = trainer.close(day.day)
    assert len(kept) > 3000
    # Members of this shop buy by pure chance, so their gaps are not log-normal at all.
    assert sum(kept) / len(kept) == pytest.approx(0.8, abs=0.02)
    assert abs(sum(naive) / len(naive) - 0.8) > abs(sum(kept) / len(kept) - 0.8)
