"""A Faust table whose rows live per lane and are written by lanes alone."""

from collections.abc import Iterable, Iterator
from typing import Any, NoReturn

from faust.stores.base import Store
from faust.tables.table import Table
from faust.types import TP

from agents.fastlane.settings import SERVICE_LOG
from agents.partitioner import PartitionOf

READ_ONLY = "rows of a lane are changed by the lane alone, behind its changelog"


class LaneStore(Store):  # type: ignore[misc]
    """The rows of every lane of this worker, each lane's in a dictionary of its own.

    A lane changes its dictionary freely: it is the only writer, and what is in it is written to
    the changelog by the lane itself. Everybody else reads.
    """

    logger = SERVICE_LOG

    def __post_init__(self) -> None:
        self.lanes: dict[int, dict[bytes, bytes]] = {}

    def __getitem__(self, key: bytes) -> bytes:
        lane = self.lanes.get(self.table.lane_of(key))
        if lane is None:
            raise KeyError(key)
        return lane[key]

    def __contains__(self, key: object) -> bool:
        return isinstance(key, bytes) and key in self.lanes.get(self.table.lane_of(key), ())

    def __iter__(self) -> Iterator[bytes]:
        for rows in self.lanes.values():
            yield from rows

    def __len__(self) -> int:
        return sum(map(len, self.lanes.values()))

    def __setitem__(self, key: bytes, value: bytes) -> NoReturn:
        raise TypeError(READ_ONLY)

    def __delitem__(self, key: bytes) -> NoReturn:
        raise TypeError(READ_ONLY)

    def persisted_offset(self, tp: TP) -> None:
        """Return None: nothing outlives the process but the changelog."""

    def reset_state(self) -> None:
        """Forget all rows."""
        self.lanes.clear()

    async def backup_partition(self, *_: Any, **__: Any) -> None:
        """Do nothing: the changelog is the backup."""

    def restore_backup(self, *_: Any, **__: Any) -> None:
        """Do nothing: a lane recovers from its changelog."""

    def apply_changelog_batch(self, batch: Iterable[Any], *_: Any, **__: Any) -> None:
        """Drop what Faust would apply: a record that comes after recovery is a zombie's."""


class LaneTable(Table):  # type: ignore[misc]
    """The ``Table`` of a fast lane app: bytes to bytes, read with the usual mapping methods.

    Reading a key needs no event in progress and finds it only when its lane is on this worker.
    """

    logger = SERVICE_LOG

    def __init__(
        self, app: Any, *, changelog: str, partition_of: PartitionOf, **kwargs: Any
    ) -> None:
        self._changelog_name = changelog
        self._partition_of = partition_of
        super().__init__(app, key_type=bytes, value_type=bytes, **kwargs)

    def rows(self, lane: int) -> dict[bytes, bytes]:
        """Return the rows of a lane, to be changed by that lane only."""
        rows: dict[bytes, bytes] = self.data.lanes.setdefault(lane, {})
        return rows

    def forget(self, lane: int) -> None:
        """Drop the rows of a lane that belongs to another worker now."""
        self.data.lanes.pop(lane, None)

    def lane_of(self, key: bytes) -> int:
        """Return the lane that a key belongs to."""
        return self._partition_of(key, self.partitions)

    def _new_store(self) -> LaneStore:
        return LaneStore(
            "memory://", self.app, self, table_name=self.name, loop=self.loop, options=self.options
        )

    def _changelog_topic_name(self) -> str:
        return self._changelog_name

    def on_key_set(self, *_: bytes) -> NoReturn:
        """Refuse: see ``LaneStore``."""
        raise TypeError(READ_ONLY)

    def on_key_del(self, *_: bytes) -> NoReturn:
        """Refuse: see ``LaneStore``."""
        raise TypeError(READ_ONLY)
