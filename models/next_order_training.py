"""Learns ``models.next_order``: between which levels of the log-normal eight of ten orders fall.

A question counts ``WITHIN`` days later, at once for everybody who was asked that day; if it counted
as soon as the member bought, short gaps would be learned first. Who did not buy within that time
does not count: the distribution is that of who does.
"""

import struct
from bisect import bisect_left
from itertools import accumulate

from models.asking import Bought, Question
from models.features import Population
from models.next_order import WITHIN, Gap, NextOrderCheckpoint, NextOrderModel, gap_of

# One open question: member, mean, deviation, silence.
_ROW = struct.Struct("<qddI")
_CELLS = 200
# Half is forgotten in two weeks with labels: early labels are of young members, whose gaps are
# short because long ones could not have ended yet.
_KEEPS = 0.5 ** (1 / 14)
_ENOUGH = 50.0


class NextOrderTrainer:
    """Follows questions and purchases, closes days one after the other."""

    def __init__(self) -> None:
        self._closed: int | None = None
        self._model = NextOrderModel()
        # Of orders that came after s days: how often their distribution's share was what, within s
        # days and within s - 1. As days are whole, the interval's ends need one each.
        self._reached = [0.0] * _CELLS
        self._passed = [0.0] * _CELLS
        self._open: dict[int, bytearray] = {}
        self._days: dict[int, set[int]] = {}

    @property
    def oldest(self) -> int | None:
        """The oldest day whose messages a restart needs; None before the first closed day."""
        return None if self._closed is None else self._closed - WITHIN + 1

    def asked(self, question: Question, population: Population) -> None:
        """Keep a question until its label is due; ``population``: as it was when asked."""
        if self._closed is not None and question.day <= self._closed - WITHIN:
            return
        gap = gap_of(question.rhythm, question.day, population)
        self._open.setdefault(question.day, bytearray()).extend(_ROW.pack(question.member, *gap))

    def bought(self, bought: Bought) -> None:
        """Take note of a purchase day; a refund is none."""
        if bought.cents >= 0:
            self._days.setdefault(bought.member, set()).add(bought.day)

    def close(self, day: int) -> NextOrderModel:
        """Learn what is due at the end of ``day``; return the levels for the days after."""
        self._closed = day
        asked = day - WITHIN
        waits = [
            (Gap(*gap), after)
            for member, *gap in _ROW.iter_unpack(self._open.pop(asked, b""))
            if (after := self._after(member, asked)) is not None
        ]
        if waits:
            self._learn(waits)
        return self._model

    def _after(self, member: int, asked: int) -> int | None:
        """Return after how many days the member bought, if within ``WITHIN``."""
        days = {day for day in self._days.pop(member, ()) if day > asked}
        if not days:
            return None
        self._days[member] = days
        after = min(days) - asked
        return after if after <= WITHIN else None

    def _learn(self, waits: list[tuple[Gap, int]]) -> None:
        self._reached = [count * _KEEPS for count in self._reached]
        self._passed = [count * _KEEPS for count in self._passed]
        for gap, after in waits:
            self._reached[_cell(gap.share(after))] += 1.0
            self._passed[_cell(gap.share(after - 1))] += 1.0
        if sum(self._reached) >= _ENOUGH:
            self._model = NextOrderModel(_level(self._reached, 0.1), _level(self._passed, 0.9))

    def checkpoint(self) -> NextOrderCheckpoint:
        """Return what a restart goes on from, to the bit, with the messages from ``oldest`` on."""
        return NextOrderCheckpoint(
            self._closed, self._model, tuple(self._reached), tuple(self._passed)
        )

    @classmethod
    def restored(cls, checkpoint: NextOrderCheckpoint) -> "NextOrderTrainer":
        """Return the trainer as it was, without its open questions."""
        trainer = cls()
        trainer._closed = checkpoint.closed
        trainer._model = checkpoint.model
        trainer._reached = list(checkpoint.reached)
        trainer._passed = list(checkpoint.passed)
        return trainer


def _cell(share: float) -> int:
    return min(max(int(share * _CELLS), 0), _CELLS - 1)


def _level(cells: list[float], part: float) -> float:
    """Return the share below which ``part`` of the counts are."""
    sums = list(accumulate(cells))
    wanted = part * sums[-1]
    cell = bisect_left(sums, wanted)
    before = sums[cell - 1] if cell else 0.0
    return (cell + (wanted - before) / cells[cell]) / _CELLS
