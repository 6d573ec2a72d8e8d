"""Which source offsets may be committed, and which are."""

from collections.abc import Mapping

from faust.types import TP


class OffsetBook:
    """What lanes have declared done per topic-partition, against what the group has committed.

    Nothing else decides what is committed: Faust's own bookkeeping counts acknowledged events
    and guesses across gaps, and an acknowledgement there says only that a chunk was handed over.
    """

    def __init__(self) -> None:
        self._done: dict[TP, int] = {}
        self._committed: dict[TP, int] = {}

    def start(self, committed: Mapping[TP, int]) -> None:
        """Begin an assignment, at the offsets that the group has committed for it."""
        self._committed = dict(committed)
        self._done = {}

    def done(self, tp: TP, offset: int) -> None:
        """Note that everything below ``offset`` is dealt with; a lower one changes nothing."""
        if offset > self._done.get(tp, -1):
            self._done[tp] = offset

    def due(self) -> dict[TP, int]:
        """Return what can be committed and is not yet."""
        committed = self._committed
        return {tp: offset for tp, offset in self._done.items() if offset > committed.get(tp, -1)}

    def committed(self, offsets: Mapping[TP, int]) -> None:
        """Note that the group has committed ``offsets``."""
        self._committed.update(offsets)
