"""Known bugs, put back into our own code, to show that the simulation finds each."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from agents import lanes as lanes_module
from agents.lane import Lane
from agents.members import MemberFold
from agents.merge import Merge
from agents.pace import Pace
from agents.ports import ChangelogPort, SourceTopic
from agents.publish import Publisher
from agents.reading import Reading
from agents.recovery import EPOCH_BYTES, FENCE, Recovered, recover
from agents.standing import Standing
from agents.updates_log import UpdatesLog
from agents.wal import Wal

Patch = Any


def outputs_before_the_group() -> Patch:
    """Send what a group says before the group is acknowledged."""

    async def publish(self: Publisher[Any, Any]) -> None:
        group = self._closed.popleft()
        outputs = list(group.outputs)
        for key, body in group.rows.items():
            outputs += self._fold.project(key, body)
        outputs += group.loose
        if outputs:
            await self._outputs.send(outputs)
        if group.rows:
            unwritten = frozenset(key for later in self._closed for key in later.rows)
            await self._wal.write(group, unwritten)
            self.written_at = self._clock.elapsed()
        for topic, offset in group.done.items():
            self._source.done(self._lane, topic, offset)

    return patch.object(Publisher, "publish", publish)


def no_applied_offset() -> Patch:
    """Fold every record that comes, whether or not it was folded before."""
    return patch.object(MemberFold, "applied", lambda *_: -1)


def fence_ignored() -> Patch:
    """Go on although another owner has written its fence."""

    async def read_on(self: Wal) -> tuple[set[bytes], set[bytes]]:
        end = await self._changelog.end(self._lane)
        stale: set[bytes] = set()
        ours: set[bytes] = set()
        writer = self._prefix
        if end > self._next:
            async for chunk in self._changelog.read(self._lane, self._next, end):
                for _, key, value in chunk:
                    if value is not None and key[:1] != FENCE:
                        writer = value[:EPOCH_BYTES]
                    (ours if writer == self._prefix else stale).add(key)
        self._next = end
        return {key for key in stale if key[:1] != FENCE}, ours

    return patch.object(Wal, "_read_on", read_on)


def contiguity_unchecked() -> Patch:
    """Take every acknowledgement for a sign that nobody else has written."""

    async def append(self: Wal, batches: Any, _: Any) -> None:
        for batch in list(batches):
            first = await self._changelog.append(self._lane, batch)
            self._next = (self._next if first is None else first) + len(batch)

    return patch.object(Wal, "_append", append)


def outbox_not_resent() -> Patch:
    """Recover without sending the last outbox again."""

    async def without_outbox(
        changelog: ChangelogPort, lane: int, epoch: int, rows: MutableMapping[bytes, bytes]
    ) -> Recovered:
        found = await recover(changelog, lane, epoch, rows)
        return found._replace(outbox=found.outbox._replace(outputs=[]), group=())

    return patch.object(lanes_module, "recover", without_outbox)


def deadlines_not_rebuilt() -> Patch:
    """Recover the rows and not the index of their deadlines."""
    start: Callable[..., Awaitable[None]] = Lane.start

    async def forgetful(
        self: Lane[Any, Any], epoch: int, recovered: Recovered, topics: Mapping[str, SourceTopic]
    ) -> None:
        with patch.object(self._folding.index, "arm", lambda *_: None):
            await start(self, epoch, recovered, topics)

    return patch.object(Lane, "start", forgetful)


def safe_time_ignored() -> Patch:
    """Fire a deadline as soon as the clock says so, whatever is still to be read."""

    def fire_upto(self: Pace, lead: Any) -> int:
        now = self._clock.now()
        assert now is not None
        return now if lead is None else min(lead.queue.at, now)

    return patch.object(Pace, "fire_upto", fire_upto)


def fetches_abandoned() -> Patch:
    """Give up a fetch with the poll that waits for it, and seek while it goes on."""

    async def poll(self: Reading, places: Any, seconds: float) -> Any:
        return await self._poll(places, seconds)

    return patch.object(Reading, "poll", poll)


def ends_taken_for_one_moment() -> Patch:
    """Take a record below its topic's end for older than the ends of the same answer."""

    told_ends = Merge.told_ends

    def at_once(self: Merge[Any], ends: Any, fed: Any) -> None:
        told_ends(self, ends, ends)

    return patch.object(Merge, "told_ends", at_once)


def losses_unnoticed() -> Patch:
    """Take what the serving store has acknowledged for what it has."""
    return patch.object(Standing, "differing", lambda *_: [])


def updates_unwatched() -> Patch:
    """Take every update behind the owner's last one for the owner's."""

    async def read_on(_: UpdatesLog) -> set[bytes]:
        return set()

    return patch.object(UpdatesLog, "read_on", read_on)


BUGS: Mapping[str, Callable[[], Patch]] = {
    "outputs-before-the-group": outputs_before_the_group,
    "no-applied-offset": no_applied_offset,
    "fence-ignored": fence_ignored,
    "contiguity-unchecked": contiguity_unchecked,
    "outbox-not-resent": outbox_not_resent,
    "deadlines-not-rebuilt": deadlines_not_rebuilt,
    "safe-time-ignored": safe_time_ignored,
    "fetches-abandoned": fetches_abandoned,
    "ends-taken-for-one-moment": ends_taken_for_one_moment,
    "losses-unnoticed": losses_unnoticed,
    "updates-unwatched": updates_unwatched,
}


@contextmanager
def put_in(bug: str | None) -> Iterator[None]:
    """Have a bug in our code for a while; none for None."""
    if bug is None:
        yield
        return
    with BUGS[bug]():
        yield
