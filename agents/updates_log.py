"""A lane's partition of ``member-updates``: what others put there is written over.

The last updates of a zombie, and requests that the network held back until their sender was dead,
come behind newer ones: a document would be old, an erased member's would be back. No broker refuses
them, but as in the changelog the offsets tell. Each batch of the lane's owner continues right after
its last one; if one does not, somebody else wrote in between, and whose updates those are is read.
"""

from collections.abc import Iterable, Mapping

from agents.ports import LogPort, Sent


class UpdatesLog:
    """How far a lane's updates are known to be its owner's; ``done`` is what an earlier one left.

    If it left no place, it begins at the topic's end. ``log`` is None where no updates are sent.
    """

    def __init__(self, log: LogPort | None, lane: int, done: Mapping[str, int]) -> None:
        self.disturbed = False
        """Whether somebody else has written, or may have: time to ``read_on``."""
        self._log = log
        self._lane = lane
        self._place = None if log is None else done.get(log.topic)

    def place(self) -> Mapping[str, int]:
        """Return the offset below which every update is the owner's or was written over."""
        if self._log is None or self._place is None:
            return {}
        return {self._log.topic: self._place}

    def acknowledged(self, batches: Iterable[Sent]) -> None:
        """Take note of what was sent, in the order in which it was."""
        if self._log is None:
            return
        for topic, partition, offset, records in batches:
            if topic == self._log.topic and partition == self._lane:
                if offset is not None and offset == self._place:
                    self._place = offset + records
                else:
                    self.disturbed = True

    async def read_on(self) -> set[bytes]:
        """Return the keys of all updates above the place, the owner's among them.

        Afterwards the place is behind them: each is to be said again.
        """
        self.disturbed = False
        if self._log is None:
            return set()
        end = await self._log.end(self._lane)
        keys: set[bytes] = set()
        # A topic that was made anew ends below; whoever read the old one begins again, too.
        if self._place is not None and self._place < end:
            async for chunk in self._log.read(self._lane, self._place, end):
                keys.update(row.key for row in chunk)
        self._place = end
        return keys
