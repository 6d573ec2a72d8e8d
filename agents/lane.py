"""A lane: one partition of every member topic, and its deadlines, folded in order of time.

One loop does everything, a slice at a time: take records and fire deadlines in the merge's order,
close the group when the one before it is out, ask for ends when something waits for them, sleep
until something happens. Two kinds of work run beside it, one of each at a time: publishing a group
(changelog, then outputs, then ``done``) and asking for ends. What has just been fed does not wait
for the lane's turn to have them asked for: all lanes that a poll brought something ask together.

A member's deadlines are fired by its own records too (``Fold.apply`` advances first), so the
merge's order between members decides when something comes out, never what.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic

from agents.fold import EventT, Fold, StateT
from agents.folding import Folding
from agents.merge import Wait
from agents.ports import (
    ChangelogPort,
    Clock,
    Days,
    LogPort,
    OutputPort,
    SourcePort,
    SourceRecord,
    SourceTopic,
    Timer,
)
from agents.publish import Publisher
from agents.recovery import Recovered, check_topics
from agents.stats import LaneStats
from agents.turns import Turns
from agents.updates_log import UpdatesLog
from agents.wal import Wal

GROUP_MS = 50
"""How long a group collects while records wait to be taken, and at least from one group to the
next. A write costs 1-2 ms of CPU whatever its size: 50 ms make that a few per cent. What comes
after a silence is written at once, and so is the end of a day."""

SHARE_MS = 2
"""The same for each lane that shares the loop, where that is longer: groups of all lanes together
take some fifth of a core at the most. It is longer still while turns are waited for
(``Turns.patience``)."""

STUCK_MS = 10_000
"""Waiting this long for records that the broker holds is an alarm: a fetch takes milliseconds."""

IDLE_CHECK_MS = 60_000
"""How often a lane that writes nothing looks whether a zombie has: well below the changelog's
compaction lag, before which the zombie's record cannot displace ours."""

RECOVERY_SLICE = 10_000
"""Rows whose deadline is looked up before others get their turn: some 10 ms."""


@dataclass(frozen=True, slots=True)
class LaneLimits:
    """How much a lane may hold."""

    queue_records: int = 10_000
    """Per topic; beyond, its fetching pauses until half of it is taken."""
    queue_bytes: int = 16 * 1024 * 1024
    """The same by size of values."""
    group_bytes: int = 4 * 1024 * 1024
    """Size of a record batch in the changelog; the topic must allow more, for a single member may
    be larger than what is left."""
    drain_ms: int = 2_500
    """How long a stop waits for what is in flight."""


class Lane(Generic[StateT, EventT]):
    """Folds one lane from its start to its stop; a lane assigned again is a new object.

    ``rows`` is the lane's table, recovered before ``start`` and written by nobody else; ``updates``
    is where its projections go, None if it has none. A failure
    after the start, of whatever kind, is reported once through ``on_failure``; nothing is sent,
    written or declared done after it. ``on_lateness`` hears, for each deadline fired on a live
    clock, by how many milliseconds it was late. ``days`` hear when the lane has passed one. Lanes
    that share ``turns`` have them one after another, with all else that the loop does in between.
    """

    def __init__(
        self,
        number: int,
        fold: Fold[StateT, EventT],
        rows: MutableMapping[bytes, bytes],
        *,
        changelog: ChangelogPort,
        updates: LogPort | None,
        source: SourcePort,
        outputs: OutputPort,
        clock: Clock,
        on_failure: Callable[[BaseException], None],
        on_lateness: Callable[[int], None] | None = None,
        limits: LaneLimits | None = None,
        days: Days | None = None,
        turns: Turns | None = None,
    ) -> None:
        self.number = number
        self.stats = LaneStats()
        self._fold = fold
        self._rows = rows
        self._changelog = changelog
        self._updates = updates
        self._source = source
        self._outputs = outputs
        self._clock = clock
        self._on_failure = on_failure
        self._limits = limits or LaneLimits()
        self._folding = Folding(
            number,
            fold,
            rows,
            source,
            clock,
            self.stats,
            self._limits.group_bytes,
            on_lateness,
            days,
        )
        self._publisher: Publisher[StateT, EventT] | None = None
        self._closed_at = -GROUP_MS

        self._turns = turns or Turns()
        self._looks = False
        self._wake = asyncio.Event()
        self._timers: list[Timer] = []
        self._stopping = False
        self._drained = False
        self._failure: BaseException | None = None
        self._writing: asyncio.Task[None] | None = None
        self._asking: asyncio.Task[None] | None = None
        self._loop: asyncio.Task[None] | None = None

    # -- life

    async def start(
        self, epoch: int, recovered: Recovered, topics: Mapping[str, SourceTopic]
    ) -> None:
        """Finish the recovery and begin: nothing is taken before the last outbox is out again.

        ``epoch`` is the offset of the own fence, ``recovered`` what was read below it, ``topics``
        the member topics as they are now. Raises ``StopWorker`` when the lane cannot go on from
        here, and whatever the ports raise.
        """
        check_topics(recovered, topics)
        wal = Wal(
            self._changelog, self.number, epoch, recovered, self._rows, self._limits.group_bytes
        )
        for place, (key, body) in enumerate(self._rows.items()):
            due = self._fold.due(body)
            if due is not None:
                self._folding.index.arm(key, due)
            if place % RECOVERY_SLICE == RECOVERY_SLICE - 1:
                await asyncio.sleep(0)
        await wal.reopen({name: topic.id for name, topic in topics.items()})
        self.stats.recovered = recovered.rows
        publisher = Publisher(
            self.number,
            self._fold,
            self._rows,
            wal,
            UpdatesLog(self._updates, self.number, recovered.outbox.done),
            self._outputs,
            self._source,
            self._clock,
            self.stats,
        )
        # What is said again of members tells what is foreseen of them, too.
        await self._folding.day_ends.ready()
        await publisher.resume(recovered)
        self._publisher = publisher
        if not self._stopping:
            self._loop = asyncio.create_task(self._run(), name=f"lane-{self.number}")

    def feed(self, topic: str, records: Sequence[SourceRecord]) -> None:
        """Queue records of a topic, in order of offsets; what was fed before is left out.

        Raises ``StopWorker`` for records from before the first ones ever fed.
        """
        queue = self._folding.merge.by_name[topic]
        queue.feed(records)
        limits = self._limits
        if not queue.paused and (
            len(queue) > limits.queue_records or queue.queued_bytes > limits.queue_bytes
        ):
            queue.paused = True
            self._source.pause(self.number, topic)
        if not self._looks:
            # The rest of what was polled is fed first.
            self._looks = True
            asyncio.get_running_loop().call_soon(self._look)

    async def stop(self, drain: bool = True) -> bool:
        """Take nothing more; with ``drain``, write, send and declare done what has been folded.

        Draining takes no longer than its limit; what is cut off then is read again by the next
        owner. Without it everything in flight is dropped at once. Returns True when nothing was:
        the rows are what the changelog says, and all outputs are out.
        """
        self._stopping = True
        if self._loop is None:
            return False
        self._wake.set()
        if not drain:
            self._loop.cancel()
        limit = self._clock.call_later(self._limits.drain_ms, self._loop.cancel)
        try:
            await asyncio.wait([self._loop])
        finally:
            limit.cancel()
        return self._drained

    async def _run(self) -> None:
        self._folding.day_ends.watch(self._wake.set)
        self._turns.sharers += 1
        try:
            while True:
                await self._turns.mine()
                self._wake.clear()
                if self._failure is not None:
                    raise self._failure
                more = self._turn()
                if self._stopping and self._idle():
                    assert self._publisher is not None
                    await self._publisher.sign_off()
                    self._drained = True
                    return
                if not more:
                    self._set_timers()
                    await self._wake.wait()
                    self._cancel_timers()
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self._stopping = True
            await self._end_tasks()
            self._on_failure(error)
        finally:
            self._turns.sharers -= 1
            self._folding.day_ends.unwatch(self._wake.set)
            await self._end_tasks()

    def _turn(self) -> bool:
        """Do a slice of everything; return whether there is more to be done at once."""
        more = False
        if not self._stopping:
            pace = self._folding.pace
            pace.settle()
            # A full group has to be closed first, and then the one before it to be out.
            more = self._folding.fold_slice() and not (self._folding.full and self._writing)
            self._resume()
            self._ask()
        self._write_group(more)
        self._tell_stats()
        return more

    def _look(self) -> None:
        """Have what has been fed asked for; a turn that could do nothing else is left out."""
        self._looks = False
        if self._loop is not None and not self._stopping:
            try:
                ready = self._folding.look()
                self._ask()
            except Exception as error:
                self._failure = self._failure or error
            else:
                if self._asking is not None and not ready:
                    return  # the answer wakes it
        self._wake.set()

    def _ask(self) -> None:
        pace = self._folding.pace
        if self._asking is None and pace.wants_ends(self._folding.lead):
            self._asking = self._spawn(pace.ask())

    def _idle(self) -> bool:
        assert self._publisher is not None
        return (
            self._writing is None
            and not self._publisher.waiting
            and self._folding.pending_since is None
        )

    def _resume(self) -> None:
        limits = self._limits
        for queue in self._folding.merge.queues:
            if (
                queue.paused
                and len(queue) <= limits.queue_records // 2
                and queue.queued_bytes <= limits.queue_bytes // 2
            ):
                queue.paused = False
                self._source.resume(self.number, queue.name)

    def _write_group(self, more: bool) -> None:
        publisher = self._publisher
        assert publisher is not None
        if self._writing is not None:
            return
        elapsed = self._clock.elapsed()
        folding = self._folding
        if not publisher.waiting and folding.pending_since is not None:
            since = folding.pending_since if more else self._closed_at
            at_once = folding.full or folding.day_over or self._stopping
            if at_once or elapsed - since >= self._group_ms():
                self._closed_at = elapsed
                folding.close(publisher)
        if publisher.waiting:
            self._writing = self._spawn(publisher.publish())
        elif elapsed - publisher.written_at >= IDLE_CHECK_MS and not self._stopping:
            self._writing = self._spawn(publisher.check())

    def _group_ms(self) -> int:
        turns = self._turns
        return max(GROUP_MS, turns.sharers * SHARE_MS, int(turns.patience * 1000))

    # -- waiting

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task is self._writing:
            self._writing = None
        else:
            self._asking = None
        if not task.cancelled() and task.exception() is not None:
            self._failure = self._failure or task.exception()
        self._wake.set()

    def _set_timers(self) -> None:
        if self._stopping:
            return
        assert self._publisher is not None
        clock = self._clock
        wakes = []
        if self._writing is None:
            wakes.append(self._publisher.written_at + IDLE_CHECK_MS)
            if self._folding.pending_since is not None:
                wakes.append(self._closed_at + self._group_ms())
        # One reading for both questions: a deadline that the clock reached in between would be
        # neither overdue for the first nor to come for the second, and nobody would wake.
        now = clock.now()
        look_again = self._folding.pace.look_again_at(self._folding.lead, now)
        if look_again is not None and self._asking is None:
            wakes.append(look_again)
        if wakes:
            pause = max(min(wakes) - clock.elapsed(), 1)
            self._timers.append(clock.call_later(pause, self._wake.set))
        floor = self._folding.index.floor()
        for due in (floor, self._folding.day_ends.next):
            if now is not None and due is not None and due > now:
                self._timers.append(clock.call_at(due, self._wake.set))

    def _cancel_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    async def _end_tasks(self) -> None:
        self._cancel_timers()
        tasks = [task for task in (self._writing, self._asking) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _tell_stats(self) -> None:
        stats, elapsed = self.stats, self._clock.elapsed()
        folding, pace = self._folding, self._folding.pace
        stats.queued = {queue.name: len(queue) for queue in folding.merge.queues}
        stats.armed = len(folding.index)
        stats.next_due = folding.index.floor()
        stats.safe_time = pace.safe
        stats.held = pace.held
        stats.questions = pace.questions
        if folding.lead is None or folding.lead.wait is not Wait.RECORDS:
            stats.waiting_since = None
        elif stats.waiting_since is None:
            stats.waiting_since = elapsed
        stats.stuck = stats.waiting_since is not None and elapsed - stats.waiting_since >= STUCK_MS
