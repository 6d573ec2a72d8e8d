"""A made shop as the trainers are told of it: day by day, who bought and who was asked."""

import random
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from models.asking import Bought, Question
from models.rhythm import Rhythm, asked_on, bought, refunded

FIRST = 17_000
# Chance of an order on a day, by kind of member.
CHANCES = (0.004, 0.02, 0.07)


class Day(NamedTuple):
    """What was said of one day."""

    day: int
    bought: list[Bought]
    asked: list[Question]


def steady(member: int, _day: int) -> float:
    """Return a chance to buy that never changes."""
    return CHANCES[member % 3]


def told(
    members: int,
    days: int,
    seed: int,
    chance_of: Callable[[int, int], float] = steady,
    refunds: float = 0.0,
) -> list[Day]:
    """Return the days of a shop whose members enter over the first forty days.

    Orders come to 20 to 40, for every third member to 200 to 400. ``refunds``: the share of orders
    that are taken back in full the day after.
    """
    rng = random.Random(seed)
    enters = [FIRST + rng.randrange(40) for _ in range(members)]
    rhythms: dict[int, Rhythm] = {}
    back: list[tuple[int, int, int]] = []
    all_days = []
    for day in range(FIRST, FIRST + days):
        said: list[Bought] = []
        for due, member, cents in back:
            if due == day:
                refunded(rhythms[member], cents)
                said.append(Bought(member, day, -cents, -1, rng.getrandbits(60)))
        for member in range(members):
            if enters[member] > day:
                continue
            if enters[member] == day or rng.random() < chance_of(member, day):
                cents = rng.randrange(2000, 4000) * (10 if member % 7 == 0 else 1)
                rhythm = rhythms.get(member)
                gap = day - rhythm.last_day if rhythm else 0
                rhythms[member] = bought(rhythm, day, cents)
                said.append(Bought(member, day, cents, gap, rng.getrandbits(60)))
                if rng.random() < refunds:
                    back.append((day + 1, member, cents))
        asked = [
            Question(member, day, msgspec.structs.replace(rhythm), None, None, 0)
            for member, rhythm in rhythms.items()
            if asked_on(member, day)
        ]
        all_days.append(Day(day, said, asked))
    return all_days
