"""Made orders whose truth is known: every member buys on a day with a chance of its own."""

import math
import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from app.evaluate.reading import Log, read_log
from app.event_files import write_events
from app.event_reading import ReadingReport
from models.rules import Limits
from models.times import DAY

FIRST = 17_000  # an epoch day
CHANCES = (0.01, 0.04, 0.12)


def member_of(number: int) -> str:
    return f"m{number}"


def chance_of(member: int) -> float:
    """The daily chance of a member; it never changes, so the past tells it and nothing else."""
    return CHANCES[member % len(CHANCES)]


def churns(member: int, horizon: int) -> float:
    """The true probability that no order comes within a horizon."""
    return (1 - chance_of(member)) ** horizon


def made_orders(members: int, days: int, seed: int, enter: int = 60) -> list[dict[str, Any]]:
    """Orders of members who come in over the first ``enter`` days."""
    chance = random.Random(seed)
    events = []
    for number in range(members):
        enters = chance.randrange(enter)
        for day in range(enters, days):
            if day == enters or chance.random() < chance_of(number):
                events.append(order(number, FIRST + day, chance.randrange(500, 5000)))
    return events


def growing_orders(members: int, days: int, seed: int, doubling: int) -> list[dict[str, Any]]:
    """Orders of a shop whose members double every so many days; one in five orders is the last."""
    chance = random.Random(seed)
    events = []
    for number in range(members):
        before_end = int(-math.log2(1 - chance.random() * (1 - 2 ** (-days / doubling))) * doubling)
        day = days - 1 - min(before_end, days - 1)
        events.append(order(number, FIRST + day, chance.randrange(500, 5000)))
        while chance.random() > 0.2:
            day += 1 + int(chance.expovariate(chance_of(number)))
            if day >= days:
                break
            events.append(order(number, FIRST + day, chance.randrange(500, 5000)))
    return events


def order(member: int, day: int, cents: int) -> dict[str, Any]:
    return {
        "type": "purchase",
        "member_id": member_of(member),
        "occurred_at": day * DAY + 12 * 3_600_000,
        "order_id": f"{member}-{day}",
        "total": cents / 100,
    }


def log_of(folder: Path, events: Iterable[Mapping[str, Any]]) -> Log:
    """The events by way of a file."""
    path = folder / "events.jsonl"
    write_events(path, [dict(event) for event in events])
    return read_log([path], ReadingReport(), Limits())
