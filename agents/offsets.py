"""Which source offsets may be committed, and which are."""

from collections.abc import Mapping

from agents.ports import Place


class OffsetBook:
    """What lanes have declared done per topic-partition, against what the group has committed.

    Nothing else decides what is committed: that a chunk was handed over says nothing about it.
    """

    def __init__(self) -> None:
        self._done: dict[Place, int] = {}
        self._committed: dict[Place, int] = {}

    def start(self, committed: Mapping[Place, int]) -> None:
        """Begin an assignment, at the offsets that the group has committed for it."""
        self._committed = dict(committed)
        self._done = {}

    def done(self, place: Place, offset: int) -> None:
        """Note that everything below ``offset`` is dealt with; a lower one changes nothing."""
        if offset > self._done.get(place, -1):
            self._done[place] = offset

    def reached(self, place: Place) -> int:
        """Return the offset below which everything is dealt with, committed or not yet."""
        return max(self._done.get(place, 0), self._committed.get(place, 0))

    def due(self) -> dict[Place, int]:
        """Return what can be committed and is not yet."""
        committed = self._committed
        return {
            place: offset
            for place, offset in self._done.items()
            if offset > committed.get(place, -1)
        }

    def committed(self, offsets: Mapping[Place, int]) -> None:
        """Note that the group has committed ``offsets``."""
        self._committed.update(offsets)
