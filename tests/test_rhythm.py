"""The rhythm of a member: what is counted, what a row keeps, and where late purchases go."""

import random
from itertools import pairwise
from math import log1p

import msgspec
import pytest

from models.rhythm import (
    HALF_LIVES,
    LAPSE,
    LOG_UNIT,
    MASK_DAYS,
    SQUARE_UNIT,
    UNIT,
    Rhythm,
    asked_on,
    bought,
    carted,
    kept,
    looked,
    member_number,
    refunded,
)

FIRST = 17_000


def of_days(days, cents=1000):
    rhythm = None
    for day in days:
        rhythm = bought(rhythm, day, cents)
    return rhythm


def worked_out(days):
    """Return what in-order purchase days come to, from the list of them all."""
    gaps = [later - earlier for earlier, later in pairwise(days)]
    back = [days[-1] - day for day in days[:-1]]
    return {
        "first_day": days[0],
        "span": days[-1] - days[0],
        "gaps": len(gaps),
        "logs": sum(int(log1p(gap) * LOG_UNIT + 0.5) for gap in gaps),
        "squares": sum(int(log1p(gap) ** 2 * SQUARE_UNIT + 0.5) for gap in gaps),
        "lapsed": sum(max(0, gap - LAPSE) for gap in gaps),
        "mask": sum(1 << (ago - 1) for ago in back if ago <= MASK_DAYS),
        "older": min((ago for ago in back if ago > MASK_DAYS), default=0),
    }


def told_by(rhythm, names):
    return {name: getattr(rhythm, name) for name in names}


def some_days(rng, most=30):
    day, days = FIRST, []
    for _ in range(rng.randrange(1, most)):
        days.append(day)
        day += rng.choice((1, 2, 3, 7, 20, 33, 34, 60))
    return days


@pytest.mark.parametrize("seed", range(40))
def test_what_is_kept_is_what_the_list_of_all_days_says(seed):
    days = some_days(random.Random(seed))
    rhythm = of_days(days)
    expected = worked_out(days)
    assert told_by(rhythm, expected) == expected
    assert rhythm.longest == max((later - earlier for earlier, later in pairwise(days)), default=0)
    assert (rhythm.last_day, rhythm.purchases) == (days[-1], len(days))


@pytest.mark.parametrize("seed", range(20))
def test_decayed_counts_are_within_rounding(seed):
    days = some_days(random.Random(seed))
    rhythm = of_days(days)
    for life, name in zip(HALF_LIVES, ("week", "fortnight", "month", "quarter"), strict=True):
        exact = sum(2.0 ** (-(days[-1] - day) / life) for day in days) - 1
        assert getattr(rhythm, name) / UNIT == pytest.approx(exact, abs=0.06)


@pytest.mark.parametrize("seed", range(40))
def test_a_late_day_takes_its_place(seed):
    rng = random.Random(seed)
    days = some_days(rng)
    in_reach = [day for day in days[:-1] if days[-1] - day <= MASK_DAYS]
    late = rng.sample(in_reach, min(len(in_reach), 3))
    rhythm = of_days([day for day in days if day not in late])
    for day in late:
        bought(rhythm, day, 1000)
    expected = worked_out(days)
    assert told_by(rhythm, expected) == expected
    assert (rhythm.spent, rhythm.gaps) == (1000 * len(days), len(days) - 1)


def test_a_day_before_the_first_becomes_the_first():
    rhythm = of_days([FIRST + 40, FIRST + 50])
    bought(rhythm, FIRST, 500)
    expected = worked_out([FIRST, FIRST + 40, FIRST + 50])
    assert told_by(rhythm, expected) == expected


def test_a_late_day_among_forgotten_ones_counts_with_its_money_alone():
    days = [FIRST, FIRST + 50, FIRST + 100, FIRST + 150, FIRST + 200]
    rhythm = of_days(days)
    before = msgspec.structs.replace(rhythm)
    bought(rhythm, FIRST + 70, 700)
    assert rhythm.spent == before.spent + 700
    assert rhythm.gaps == before.gaps
    assert rhythm.logs == before.logs


def test_several_orders_of_a_day_are_one_purchase_day():
    rhythm = of_days([FIRST, FIRST + 5, FIRST + 5, FIRST + 5])
    once = of_days([FIRST, FIRST + 5])
    assert rhythm.purchases == 2
    assert (rhythm.basket, rhythm.spent) == (3000, 4000)
    same = ("week", "fortnight", "month", "quarter", "logs", "squares", "mask", "older")
    assert told_by(rhythm, same) == told_by(once, same)


def test_the_order_of_events_within_a_day_does_not_matter():
    def fold(order):
        rhythm = of_days([FIRST, FIRST + 9])
        day = FIRST + 20
        for what in order:
            if what == "buy":
                bought(rhythm, day, 300, coupon=True)
            elif what == "look":
                looked(rhythm, day)
            elif what == "cart":
                carted(rhythm, day)
            else:
                refunded(rhythm, 100)
        return rhythm

    rng = random.Random(1)
    said = ["buy", "look", "look", "cart", "refund", "buy", "look"]
    expected = fold(said)
    for _ in range(20):
        rng.shuffle(said)
        assert fold(said) == expected


def test_saving_and_loading_after_each_event_changes_nothing():
    rng = random.Random(3)
    rhythm = stored = None
    day = FIRST
    for _ in range(300):
        day += rng.choice((0, 0, 1, 2, 9))
        act = rng.randrange(4)
        if rhythm is None or act == 0:
            cents, coupon = rng.randrange(1, 9000), rng.random() < 0.3
            rhythm = bought(rhythm, day, cents, coupon)
            stored = bought(stored, day, cents, coupon)
        elif act == 1:
            looked(rhythm, day)
            looked(stored, day)
        elif act == 2:
            carted(rhythm, day)
            carted(stored, day)
        else:
            bought(rhythm, day - 1, 100)
            bought(stored, day - 1, 100)
        stored = msgspec.msgpack.decode(msgspec.msgpack.encode(stored), type=Rhythm)
        assert stored == rhythm


def test_a_rhythm_stays_small_however_long_a_member_buys():
    rhythm = None
    for day in range(FIRST, FIRST + 4000):
        rhythm = bought(rhythm, day, 99_999, coupon=True)
        looked(rhythm, day)
        carted(rhythm, day)
    assert len(msgspec.msgpack.encode(rhythm)) <= 85
    assert len(msgspec.msgpack.encode(of_days([FIRST]))) <= 30


def test_views_fade_and_late_ones_count_as_of_their_day():
    rhythm = of_days([FIRST])
    looked(rhythm, FIRST + 10)
    looked(rhythm, FIRST + 7)
    late = rhythm.looks
    other = of_days([FIRST])
    looked(other, FIRST + 7)
    looked(other, FIRST + 10)
    assert late.day == FIRST + 10
    assert late.short == pytest.approx(other.looks.short, abs=1)
    assert other.looks.short == UNIT + UNIT // 2


def test_a_share_of_everything_is_left_and_nothing_after_ages():
    assert kept(7, 0) == 1.0
    assert kept(7, 7) == 0.5
    assert kept(90, 100_000) == 0.0


def test_everybody_is_asked_once_a_week_and_alike_many_on_each_day():
    numbers = [member_number(f"m{index}") for index in range(2000)]
    by_day = [sum(asked_on(number, day) for number in numbers) for day in range(7)]
    assert sum(by_day) == len(numbers)
    assert min(by_day) > 220
    assert all(0 <= number < 1 << 63 for number in numbers)
