"""A third of the members lose half of their purchase days at once: when is it seen, and mended?

``python tests/support/drift.py FILE [DAY]`` does it to an event file and prints what it came to.
"""

import random
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from app.evaluate.asked import ask
from app.evaluate.reading import Log, read_log
from app.event_reading import ReadingReport
from models.decoding import Received
from models.model import Model
from models.rhythm import member_number
from models.rules import Limits
from models.times import DAY
from models.training import Trainer

HORIZON = 30
BIN = 14
SHARE = 3  # one in three


@dataclass(frozen=True)
class Drift:
    """When the alarm came (days after the change), and the level of the changed members' scores.

    ``levels``: mean probability minus share that churned, of the questions of each 14 days after
    the change. ``early``: alarms before the change, days after the log's first.
    """

    alarm: int | None
    early: tuple[int, ...]
    levels: tuple[float, ...]


def drifts(member_id: str) -> bool:
    return member_number(member_id) % SHARE == 0


def drifted(log: Log, day: int, seed: int) -> Log:
    """The log, with a coin thrown for every purchase day of the changed from ``day`` on."""
    chance = random.Random(seed)
    lost: dict[tuple[str, int], bool] = {}

    def stays(event: Received) -> bool:
        member, at = event.event.member_id or "", event.at // DAY
        if at < log.first + day or not drifts(member):
            return True
        return not lost.setdefault((member, at), chance.random() < 0.5)

    return replace(log, events=[event for event in log.events if stays(event)])


def measure(log: Log, day: int, seed: int = 1) -> Drift:
    """What the trainer makes of the change on ``day`` of the log (counted from its first)."""
    alarms: list[int] = []

    class Watched(Trainer):
        def close(self, day: int) -> Model:
            model = super().close(day)
            alarms.extend(each.day - log.first for each in model.decisions if each.kind == "drift")
            return model

    changed = drifted(log, day, seed)
    rows = ask(changed, Watched(HORIZON), lambda rhythm, day, model: (0.0,), _quiet)
    churned = rows.histories.churned(rows.member, rows.day, HORIZON)
    active = (rows.number % SHARE == 0) & (rows.silence < HORIZON)
    levels = []
    for begin in range(day, changed.length - HORIZON - BIN + 1, BIN):
        asked = active & (rows.day >= begin) & (rows.day < begin + BIN)
        levels.append(float(rows.said[asked].mean() - churned[asked].mean()))
    later = [alarm - day for alarm in alarms if alarm >= day]
    early = tuple(alarm for alarm in alarms if alarm < day)
    return Drift(min(later, default=None), early, tuple(levels))


def _quiet(step: str, done: int, total: int | None) -> None:
    """No progress."""


if __name__ == "__main__":
    real = read_log([Path(sys.argv[1])], ReadingReport(), Limits())
    print(measure(real, int(sys.argv[2]) if len(sys.argv) > 2 else 180))
