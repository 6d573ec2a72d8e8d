"""What a lane needs from the world: small ports, so that the same lane runs on Kafka and in tests.

A *lane* is one partition number across every member topic. Everything a lane reads, writes,
waits for or is told goes through the protocols below; nothing else in ``agents/lane.py`` and
``agents/wal.py`` touches a broker, a store or a clock.
"""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple, Protocol


class StopWorker(Exception):
    """Going on could be wrong: end the process with exit code 70. The message says what to do."""


class Fenced(StopWorker):
    """Another worker has taken the lane over; nothing that is not yet sent may be sent."""


class Revoked(Exception):
    """The partitions are not this worker's any more; the next assignment starts over."""


class Place(NamedTuple):
    """One partition of a topic (Faust's ``TP`` is equal to it)."""

    topic: str
    partition: int


class SourceRecord(Protocol):
    """One record of a member topic, as the broker holds it (aiokafka's ConsumerRecord fits)."""

    @property
    def topic(self) -> str:
        """Return the topic's name."""

    @property
    def partition(self) -> int:
        """Return the partition: the lane's number."""

    @property
    def offset(self) -> int:
        """Return the place in the partition."""

    @property
    def timestamp(self) -> int:
        """Return epoch milliseconds, by the producer or the broker."""

    @property
    def key(self) -> bytes | None:
        """Return the bytes that placed it."""

    @property
    def value(self) -> bytes | None:
        """Return the bytes as they came."""


class SourceTopic(NamedTuple):
    """A member topic as the broker knows it when a lane starts."""

    id: str
    """The broker's id of the topic, which differs when a topic of the same name is made anew."""
    end: int
    """The end offset of the lane's partition."""


class Output(NamedTuple):
    """One record to be sent to a topic of ours; the producer's partitioner places it by key.

    ``value`` None is a tombstone, for compacted topics only.
    """

    topic: str
    key: bytes
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


class Row(NamedTuple):
    """One record of the changelog before it is written; ``value`` None is a tombstone."""

    key: bytes
    value: bytes | None


class LoggedRow(NamedTuple):
    """One record of the changelog as read back."""

    offset: int
    key: bytes
    value: bytes | None


class LogPort(Protocol):
    """A compacted topic of ours, to be read back; partition number = lane number."""

    @property
    def topic(self) -> str:
        """Return the topic's name."""

    async def end(self, lane: int) -> int:
        """Return the offset that the next record would get, asked from the broker now."""

    def read(self, lane: int, start: int, end: int) -> AsyncIterator[Sequence[LoggedRow]]:
        """Yield the rows from ``start`` up to but without ``end``, in order, in chunks.

        Offsets may have holes (compaction, batches of other producers' control records).
        """


class ChangelogPort(LogPort, Protocol):
    """The changelog."""

    async def append(self, lane: int, rows: Sequence[Row]) -> int | None:
        """Append ``rows`` as ONE record batch (whole or not at all) and wait for all replicas.

        Returns the offset of the first row, or None when the broker acknowledged without
        telling it (an idempotent producer's retry). Raises when the outcome is unknown or refused:
        the caller stops the process (exit 70).
        """


class Sent(NamedTuple):
    """One acknowledged batch of outputs."""

    topic: str
    partition: int
    offset: int | None
    """Of its first record; None when the broker acknowledged without telling it."""
    records: int


class OutputPort(Protocol):
    """Where triggers, decisions, member updates and dead letters go."""

    async def send(self, outputs: Sequence[Output]) -> Sequence[Sent]:
        """Send all, in order per key, and return once every one is acknowledged; raise if not.

        Returns the batches, those of one partition in the order in which they were sent.
        """


class Start(NamedTuple):
    """Where a partition can be read from and where the group is in it."""

    beginning: int
    end: int
    committed: int | None

    @property
    def offset(self) -> int:
        """Return the offset to read from."""
        return self.beginning if self.committed is None else self.committed


class Fetched(NamedTuple):
    """What one poll brought, with where each partition was left, taken in the same instant."""

    records: Mapping[Place, list[Any]]
    positions: Mapping[Place, int]


class GroupPort(Protocol):
    """This worker's membership of the group that shares the member topics out."""

    async def starts(self, places: Collection[Place]) -> Mapping[Place, Start]:
        """Return where each of the assigned partitions starts.

        Waits as long as no broker answers; raises ``Revoked``, and what no waiting cures.
        """

    async def seek(self, offsets: Mapping[Place, int]) -> None:
        """Continue at ``offsets``; raises ``Revoked`` for what is not assigned."""

    async def fetch(self, places: Collection[Place], seconds: float) -> Fetched | None:
        """Return what there is in these partitions, waiting so long for the first record.

        None: nothing was asked. Never cancelled: it may go on, and take records, all the same.
        Raises what no waiting cures.
        """

    async def commit(self, offsets: Mapping[Place, int]) -> bool:
        """Commit; False when it was refused (a rebalance is under way) or may be tried again."""


class SourcePort(Protocol):
    """The member topics of this worker's lanes."""

    async def ends(self, lane: int) -> Mapping[str, int]:
        """Return, per topic, where a lane is that has been fed all that the broker holds now.

        "Now" is some moment after the call began. It is the end offset of the lane's partition;
        but if the last offsets below it hold no records (transaction markers, compaction), or
        nothing is left to read since the lane began, the offset after the last record fed to the
        lane (0 if none): a lane is never made to wait for an offset that no record will bring.

        Waits as long as no broker answers, however long; raises only what no waiting cures.
        """

    def pause(self, lane: int, topic: str) -> None:
        """Stop fetching one topic of a lane (its queue is full); what is under way may arrive."""

    def resume(self, lane: int, topic: str) -> None:
        """Fetch it again."""

    def done(self, lane: int, topic: str, offset: int) -> None:
        """Every record of the topic's partition below ``offset`` has been dealt with for good.

        Called only after the group that holds their effects, and its outputs, are acknowledged;
        the offset may now be committed (lazily). Never goes back.
        """


class Days(Protocol):
    """Whole UTC days, as epoch day numbers, over all lanes of all workers.

    A lane says when everything up to a day's end has happened in it. In stream time it may only go
    as far as others have come.
    """

    async def ready(self) -> None:
        """Return once what lanes need to know of days past is known, or it takes too long."""

    def open_to(self) -> int:
        """Return up to which instant deadlines may fire, and before which records may be taken.

        Asked in stream time alone.
        """

    def reached(self, lane: int, day: int) -> Sequence[Output]:
        """Return what is said when all up to the end of ``day`` has been; said again does no harm.

        It is sent behind all that came of that day.
        """

    def watch(self, opened: Callable[[], object]) -> None:
        """Call whenever ``open_to`` has moved."""

    def unwatch(self, opened: Callable[[], object]) -> None:
        """Do so no longer."""


class Timer(Protocol):
    """A call that has been asked for and has not happened."""

    def cancel(self) -> None:
        """Forget it; without effect once the call has happened."""


class Clock(Protocol):
    """Members' time (``now``, epoch milliseconds) and the process's own (``elapsed``).

    They differ: a demo lives three days in a second, and its time-outs are still in real seconds.
    """

    @property
    def until(self) -> int | None:
        """Stream time: the instant up to which a lane read to its ends advances; None if live."""

    def now(self) -> int | None:
        """Return what time it is for members; None in stream time, where only records tell."""

    def elapsed(self) -> int:
        """Return milliseconds of real time since some fixed moment; never goes back."""

    def call_at(self, at: int, call: Callable[[], object]) -> Timer:
        """Call once, when ``now()`` has reached ``at`` or somewhat before; the callee looks again.

        Never called in stream time.
        """

    def call_later(self, delay: int, call: Callable[[], object]) -> Timer:
        """Call once, ``delay`` milliseconds of real time from now."""
