"""A sketch of how numbers are spread: a few hundred counts, whoever many numbers there were.

Numbers that differ by less than one part in a hundred are counted together, with the smallest of
them; so orders up to a hundred are counted exactly. Sketches of parts of the members add up to that
of all, in whatever order, and the same numbers always give the same sketch.
"""

from math import log

_LOG_OF_STEP = log(1.01)


class Sketch:
    """Counts of numbers above zero, by size."""

    def __init__(self) -> None:
        self.count = 0
        # Size -> (how many, the smallest of them).
        self._cells: dict[int, tuple[int, int]] = {}
        self._largest = 0

    def add(self, number: int) -> None:
        """Count a whole number above zero."""
        self._put(int(log(number) / _LOG_OF_STEP), 1, number)
        self._largest = max(self._largest, number)

    def merge(self, other: "Sketch") -> None:
        """Count all that another sketch has counted."""
        for size, (count, smallest) in other._cells.items():
            self._put(size, count, smallest)
        self._largest = max(self._largest, other._largest)

    def _put(self, size: int, count: int, smallest: int) -> None:
        had, least = self._cells.get(size, (0, smallest))
        self._cells[size] = had + count, min(least, smallest)
        self.count += count

    def above(self, part: int, of: int) -> int:
        """Return the smallest number that at least ``part`` of ``of`` of all numbers are below.

        It is one that was counted, or one more than the largest.
        """
        below = 0
        for size in sorted(self._cells):
            count, smallest = self._cells[size]
            if below * of >= part * self.count:
                return smallest
            below += count
        return self._largest + 1
