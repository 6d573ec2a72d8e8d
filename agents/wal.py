"""The changelog as a fenced write-ahead log: what is written is durable, ours, and in order.

One owner writes a lane's changelog: the one that appended the latest fence. It need not ask
anybody whether it still is, for the offsets tell: each of its batches continues right after its
last one. If one does not, somebody else wrote in between, and the gap is read. A higher fence
there means that we are the zombie. Records of a lower epoch mean that a zombie wrote after us; what
it wrote over is written again, lest compaction keep the zombie's version alone.
"""

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from types import MappingProxyType

from agents.group import ROW_OVERHEAD, Group
from agents.ports import ChangelogPort, Fenced, Row, StopWorker
from agents.recovery import (
    EPOCH_BYTES,
    FENCE,
    OUTBOX,
    ROW,
    TOPICS,
    Outbox,
    Recovered,
    encode,
    epoch_bytes,
)


class Wal:
    """A lane's changelog, from its fence on. ``rows`` is the lane's own table, read only here."""

    def __init__(
        self,
        changelog: ChangelogPort,
        lane: int,
        epoch: int,
        recovered: Recovered,
        rows: Mapping[bytes, bytes],
        limit: int,
    ) -> None:
        self.repaired = 0
        """Times that what a zombie had written over was written again."""
        self._changelog = changelog
        self._lane = lane
        self._epoch = epoch
        self._prefix = epoch_bytes(epoch)
        self._rows = rows
        self._limit = limit
        self._next = epoch + 1
        self._number = recovered.outbox.number
        self._done = dict(recovered.outbox.done)
        self._outbox = encode(recovered.outbox)
        self._group: Collection[bytes] = recovered.group
        self._topics = dict(recovered.topics)
        self._stale = recovered.stale
        self._unsent = bool(recovered.outbox.outputs or recovered.group)

    async def reopen(self, topics: Mapping[str, str]) -> None:
        """Write again what zombies wrote over before this owner's time, and new topic ids."""
        stale = set(self._stale)
        self.repaired += bool(stale)
        if not topics.items() <= self._topics.items():
            self._topics.update(topics)
            stale.add(TOPICS)
        if stale:
            await self._append(self._ours_again(stale), ())

    async def write(
        self,
        group: Group,
        unwritten: Collection[bytes] = (),
        updates: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        """Append a group; return when it is durable, and ours without a doubt.

        ``unwritten`` are keys whose rows are in the table, but belong to a group to come,
        ``updates`` is how far the lane's part of the topic of updates is known to be ours. Raises
        ``Fenced`` when the lane has another owner, ``StopWorker`` when the log is not what was
        written, and whatever the changelog raises.
        """
        self._number += 1
        self._done |= {**group.done, **updates}
        self._outbox = encode(Outbox(self._number, self._done, group.outputs))
        self._group = group.rows.keys()
        self._unsent = bool(group.rows)
        batch = [Row(OUTBOX, self._prefix + self._outbox)]
        batch += [self._row(key, body) for key, body in group.rows.items()]
        await self._append([batch], unwritten)

    async def sign_off(self, updates: Mapping[str, int] = MappingProxyType({})) -> None:
        """Write that nothing is left to be sent again: the last outputs are acknowledged.

        ``updates`` and what is raised are as in ``write``.
        """
        if self._unsent:
            await self.write(Group(), (), updates)

    async def check(self, unwritten: Collection[bytes] = ()) -> None:
        """Ask whether anybody else has written; for a lane that has not written for a while.

        ``unwritten`` and what is raised are as in ``write``.
        """
        stale, _ = await self._read_on()
        stale -= {ROW + key for key in unwritten}
        if stale:
            self.repaired += 1
            await self._append(self._ours_again(stale), unwritten)

    async def _append(self, batches: Iterable[list[Row]], unwritten: Collection[bytes]) -> None:
        waiting = deque(batches)
        while waiting:
            batch = waiting.popleft()
            first = await self._changelog.append(self._lane, batch)
            if first == self._next:
                self._next += len(batch)
                continue
            stale, ours = await self._read_on()
            if not all(row.key in ours or row.key in stale for row in batch):
                raise StopWorker(
                    f"the changelog of lane {self._lane} acknowledged a batch that it does not "
                    "hold. Start the worker again"
                )
            # A row of a group to come is about to be written anyway, with its outputs.
            stale -= {ROW + key for key in unwritten}
            if stale:
                self.repaired += 1
                waiting.extend(self._ours_again(stale))

    async def _read_on(self) -> tuple[set[bytes], set[bytes]]:
        """Read what there is from the expected offset on: keys others wrote, and keys we wrote."""
        end = await self._changelog.end(self._lane)
        if end < self._next:
            raise StopWorker(
                f"the changelog of lane {self._lane} ends at {end}, but was written up to "
                f"{self._next}: the broker has lost acknowledged records. Start the worker again"
            )
        stale: set[bytes] = set()
        ours: set[bytes] = set()
        writer = self._prefix
        if end == self._next:
            return stale, ours
        async for chunk in self._changelog.read(self._lane, self._next, end):
            for offset, key, value in chunk:
                if value is not None and key[:1] != FENCE:
                    writer = value[:EPOCH_BYTES]
                # A fence may have been compacted away by the next one; its owner's rows tell too.
                if key[:1] == FENCE or writer > self._prefix:
                    raise Fenced(
                        f"lane {self._lane} was taken over (seen at offset {offset}, own fence "
                        f"{self._epoch}): this worker must stop, the new owner goes on"
                    )
                (ours if writer == self._prefix else stale).add(key)
        self._next = end
        return stale, ours

    def _ours_again(self, stale: Collection[bytes]) -> Iterator[list[Row]]:
        """Yield batches with the last outbox, its group's rows, and our version of ``stale``.

        Each begins with the outbox, by whose number a recovery knows that it is still one group.
        """
        outbox = Row(OUTBOX, self._prefix + self._outbox)
        batch, size = [outbox], len(self._outbox)
        if TOPICS in stale:
            batch.append(Row(TOPICS, self._prefix + encode(self._topics)))
        again = dict.fromkeys(self._group)
        again |= dict.fromkeys(key[1:] for key in stale if key[:1] == ROW)
        for key in again:
            row = self._row(key, self._rows.get(key))
            row_size = ROW_OVERHEAD + len(row.key) + len(row.value or b"")
            if len(batch) > 1 and size + row_size > self._limit:
                yield batch
                batch, size = [outbox], len(self._outbox)
            batch.append(row)
            size += row_size
        yield batch

    def _row(self, key: bytes, body: bytes | None) -> Row:
        return Row(ROW + key, None if body is None else self._prefix + body)
