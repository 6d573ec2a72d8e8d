"""Everybody's purchase days and money, and what can be asked of them afterwards."""

from collections.abc import Iterable

import numpy as np

from app.evaluate.metrics import Bools, Floats, Ints

_SPAN = 1 << 20  # more days than any clock has


class Histories:
    """The purchase days of each member, all over the log.

    Members are numbered from 0; days are counted from the first day of the log.
    """

    def __init__(self, purchases: Iterable[tuple[int, int]]) -> None:
        """Take (member, day) of every order, in any order."""
        table = np.array(list(purchases), np.int64).reshape(-1, 2)
        self._place: Ints = np.unique(table[:, 0] * _SPAN + table[:, 1])
        self._member = self._place // _SPAN
        self._day = self._place % _SPAN

    @property
    def members(self) -> int:
        """Return how many members bought at all."""
        return len(np.unique(self._member))

    def days_until_next(self, member: Ints, day: Ints) -> Ints:
        """Return the days from the end of ``day`` to the next purchase day; -1 for none."""
        after = np.searchsorted(self._place, member * _SPAN + day, side="right")
        bounded = np.minimum(after, len(self._place) - 1)
        there = (after < len(self._place)) & (self._member[bounded] == member)
        return np.where(there, self._day[bounded] - day, -1)

    def churned(self, member: Ints, day: Ints, horizon: int) -> Bools:
        """Return whether no purchase day follows in day + 1 .. day + horizon."""
        until = self.days_until_next(member, day)
        return (until < 0) | (until > horizon)

    def known(self, day: int) -> tuple[Ints, Ints, Ints, Ints]:
        """Return who bought by the end of ``day``, on how many days, the first and the last."""
        known = self._day <= day
        member, starts, counts = np.unique(
            self._member[known], return_index=True, return_counts=True
        )
        days = self._day[known]
        return member, counts, days[starts], days[starts + counts - 1]

    def summaries(self, day: int) -> tuple[Floats, Floats, Floats]:
        """Return x, t_x and age of everybody known by the end of ``day`` (as ``models.btyd``)."""
        _, counts, first, last = self.known(day)
        x, t_x, age = counts - 1, last - first, day - first
        return x.astype(np.float64), t_x.astype(np.float64), age.astype(np.float64)


class Money:
    """What each member spent (and got back, below zero) by day."""

    def __init__(self, amounts: Iterable[tuple[int, int, int]]) -> None:
        """Take (member, day, cents), in any order."""
        table = np.array(sorted(amounts), np.int64).reshape(-1, 3)
        self._place: Ints = table[:, 0] * _SPAN + table[:, 1]
        self._sum: Ints = np.concatenate((np.zeros(1, np.int64), np.cumsum(table[:, 2])))

    def by(self, member: Ints, day: Ints) -> Ints:
        """Return the cents spent up to the end of ``day``."""
        return self._between(member * _SPAN - 1, member * _SPAN + day)

    def within(self, member: Ints, day: Ints, horizon: int) -> Ints:
        """Return the cents spent in day + 1 .. day + horizon."""
        place = member * _SPAN + day
        return self._between(place, place + horizon)

    def _between(self, after: Ints, until: Ints) -> Ints:
        begin, end = (np.searchsorted(self._place, at, side="right") for at in (after, until))
        spent: Ints = self._sum[end] - self._sum[begin]
        return spent
