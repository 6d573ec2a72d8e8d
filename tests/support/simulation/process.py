"""A simulated worker process: our own code, unchanged, on ports to the simulated world.

Lanes, reading, handing over, the fold with real rules, and the clock are the product's. What is
here is what Faust and aiokafka are in production: requests that take time and may get lost, a
membership in the group, a loop that polls and one that commits. Every request has a *point* before
it leaves and one before its answer is heard; at each the process may die or stand still, and what a
frozen process was about to do still happens when it thaws.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from random import Random
from typing import TYPE_CHECKING, TypeVar

from agents.clocks import WallClock
from agents.handover import Handover
from agents.lane import Lane
from agents.lanes import Lanes
from agents.members import BadShare, MemberEvent, MemberFold, MemberStats, OutputTopics
from agents.partitioner import murmur2_partition
from agents.ports import Place, SourceTopic
from agents.reading import Reading
from models.events import MEMBER_TOPICS
from models.member import Member
from models.rulebook import RuleBook
from simulation import loop
from simulation.broker import Appended, Lost, SimProducer
from simulation.faults import Fault
from simulation.membership import SimGroup
from simulation.process_ports import UPDATES, SimChangelog, SimLog, SimOutputs, SimSource

if TYPE_CHECKING:
    from simulation.world import World

T = TypeVar("T")

POLL_SECONDS = 20.0
"""An assignment interrupts a poll here, so that it may be long and cost nothing."""
COMMIT_SECONDS = 2.0
LAST_COMMIT_SECONDS = 2.0
RETRY_SECONDS = 0.1
SLOW_MS = 1_500
"""How long a request takes when it is delayed."""

SLOW_ANSWERS = 0.2
"""Of the questions for what the topics are, those whose answer is long on its way."""

SLOW_ANSWER_SECONDS = 3.0


class ProduceFailed(Exception):
    """A producer gave a batch up: whether it was appended is not known."""


class Process:
    """One worker process, from its start to its death."""

    def __init__(self, world: "World", slot: int, number: int, book: RuleBook) -> None:
        self.world = world
        self.slot = slot
        self.number = number
        self.book = book
        self.failure: BaseException | None = None
        self.ended = asyncio.Event()
        """Set when it has died, left, or fallen silent, and another may take its place."""
        self.died = False
        self.frozen: asyncio.Event | None = None
        """While it stands still: the event that thaws it."""
        self.left = False
        self.restart_ms = 1_000
        self.slow = False
        self.cut = False
        self.wrote = 0
        """Times that it set out to write rows or to send outputs."""
        self.fed = 0
        self.lanes_ever: list[Lane[Member, MemberEvent]] = []
        self.stats = MemberStats()
        self.table = _Table()
        self._strikes: list[list[object]] = []
        self.rng = Random(f"{world.seed}:{number}")
        self._tasks: list[asyncio.Task[None]] = []

        self.clock = WallClock(
            machine=lambda: loop.now() + world.clock_errors.get(slot, 0), uptime=_uptime
        )
        broker = world.broker
        self._rows = SimProducer(broker, lambda call: self._deliver("append", call))
        self._sends = SimProducer(broker, lambda call: self._deliver("send", call))
        self.group = SimGroup(self)
        self.reading = Reading(self.group)
        self.fold = MemberFold(
            book, OutputTopics(), murmur2_partition, world.lanes, "/simulated", BadShare(),
            self.stats, wall_clock=self.clock.now,
        )  # fmt: skip
        self.changelog = SimChangelog(self, self._rows)
        self._updates = SimLog(self, UPDATES)
        self._source = SimSource(self)
        self._outputs = SimOutputs(self, self._sends)
        self.lanes = Lanes(
            self.table, self.changelog, self._source_topics, self._open_lane, f"p{number}"
        )
        self.handover = Handover(
            self.lanes, self.reading, MEMBER_TOPICS, self.fail, LAST_COMMIT_SECONDS
        )

    # -- life and death

    def start(self) -> None:
        """Begin to work."""
        for work in (self._belong, self._feed, self._commit):
            self._tasks.append(asyncio.create_task(self._guarded(work)))

    async def _guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except Exception as error:
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """Exit 70: nothing is flushed, committed or closed."""
        if not self.died and self.failure is None:
            self.failure = error
            self.kill()

    def kill(self) -> None:
        """Take no further effect on the world, and never hear from it again."""
        self.died = True
        self.ended.set()

    def freeze(self) -> None:
        """Stand still; ``thaw`` lets it go on where it stood."""
        if not self.died and self.frozen is None:
            self.frozen = asyncio.Event()
            self.ended.set()

    def thaw(self) -> None:
        """Go on."""
        if self.frozen is not None:
            self.frozen.set()
            self.frozen = None

    async def leave(self) -> None:
        """Stop in good order: finish and commit, leave the group, end."""
        self.left = True
        if self._tasks:
            self._tasks[0].cancel()
            await asyncio.wait(self._tasks[:1])
        await self.handover.finish()
        await self.group.leave()
        self.kill()

    # -- where it may be struck

    def strike(self, fault: Fault) -> None:
        """Arm a fault that waits for a point."""
        self._strikes.append([fault, fault.skip])

    def forget_strikes(self) -> None:
        """Disarm whatever has not struck yet."""
        self._strikes.clear()

    def _struck(self, name: str) -> Fault | None:
        for strike in self._strikes:
            fault = strike[0]
            assert isinstance(fault, Fault)
            if fault.point in ("", name):
                if strike[1]:
                    strike[1] -= 1  # type: ignore[operator]
                    continue
                self._strikes.remove(strike)
                return fault
        return None

    async def point(self, name: str) -> Fault | None:
        """Pass a moment at which the process may be stopped, and let some time pass.

        Returns the fault that struck here and is not dealt with yet.
        """
        fault = self._struck(name) if self._strikes else None
        if fault is not None:
            self.world.count(fault.kind)
            match fault.kind:
                case "crash":
                    self.restart_ms = fault.lasts
                    self.kill()
                case "stray":
                    # The write is under way: it arrives after the death.
                    self.restart_ms = fault.lasts
                    self.kill()
                    return fault
                case "freeze":
                    self.freeze()
                    asyncio.get_running_loop().call_later(fault.lasts / 1000, self.thaw)
        await self._if_running()
        if self.slow:
            await asyncio.sleep(SLOW_MS / 1000)
        elif (chance := self.rng.random()) < 0.3:
            # At every third point others get their turn; the rest is too quick for that.
            await asyncio.sleep(chance * 0.013)
        while self.world.away or self.cut:
            await self.world.news()
        await self._if_running()
        return fault

    async def _if_running(self) -> None:
        while self.frozen is not None:
            await self.frozen.wait()
        if self.died:
            await self.world.never()

    async def request(self, name: str, call: Callable[[], T]) -> T:
        """Ask the broker; asked again for as long as request or answer get lost."""
        while True:
            fault = await self.point(name)
            if fault is None or fault.kind != "lose request":
                answer = call()
                fault = await self.point(f"{name} answered")
                if fault is None or fault.kind != "lose answer":
                    return answer
            await asyncio.sleep(RETRY_SECONDS)

    async def _deliver(self, name: str, call: Callable[[], Appended]) -> Appended:
        fault = await self.point(name)
        if fault is not None and fault.kind == "stray":
            self.world.later(fault.skip * 1000 + 500, call)
            await self.world.never()
        if fault is not None and fault.kind == "lose request":
            raise Lost
        if fault is not None and fault.kind == "fail":
            raise ProduceFailed("the request timed out")
        appended = call()
        again = await self.point(f"{name} answered")
        if again is not None and again.kind == "lose answer":
            raise Lost
        if again is not None and again.kind == "fail":
            raise ProduceFailed("the answer timed out")
        if again is not None and again.kind == "forget offset":
            return Appended(None, appended.timestamp)
        return appended

    # -- what Faust does: belonging to the group, polling, committing

    async def _belong(self) -> None:
        while True:
            lanes = await self.group.enter()
            places = [Place(topic, lane) for lane in sorted(lanes) for topic in MEMBER_TOPICS]
            self.group.begin(places)
            await self.handover.assigned(places, self._working)
            await self.group.beat_until_rebalance()
            self.reading.stop()
            self.handover.void()
            await self._restart_feeding()
            await self.handover.finish()

    async def _restart_feeding(self) -> None:
        # Faust's fetcher is stopped and started again at every rebalance, whatever it waits for.
        self._tasks[1].cancel()
        await asyncio.wait(self._tasks[1:2])
        self._tasks[1] = asyncio.create_task(self._guarded(self._feed))

    async def _working(self) -> None:
        await self._if_running()
        self.group.interrupt()

    async def _feed(self) -> None:
        while True:
            if not self.reading.started.is_set() or not self.group.places:
                await self.group.interrupted()
                continue
            era, records = await self.reading.poll(self.group.places, POLL_SECONDS)
            for place in sorted(records):
                await self.point("feed")
                chunk = records[place]
                if self.reading.is_current(era):
                    self.fed += len(chunk)
                self.handover.feed(era, place, chunk)

    async def _commit(self) -> None:
        while True:
            await asyncio.sleep(COMMIT_SECONDS)
            await self._if_running()
            await self.reading.commit()

    # -- ports

    async def _source_topics(
        self, numbers: Iterable[int]
    ) -> Mapping[int, Mapping[str, SourceTopic]]:
        broker, numbers = self.world.broker, list(numbers)
        found = await self.request(
            "topics",
            lambda: {
                lane: {
                    topic: SourceTopic(broker.topic_id(topic), broker.end_offset(topic, lane))
                    for topic in MEMBER_TOPICS
                }
                for lane in numbers
            },
        )
        if self.rng.random() < SLOW_ANSWERS:
            # What it says of the ends may be old by the time it is here.
            await asyncio.sleep(self.rng.random() * SLOW_ANSWER_SECONDS)
        return found

    def _open_lane(self, number: int) -> Lane[Member, MemberEvent]:
        lane = Lane(
            number,
            self.fold,
            self.table.rows(number),
            changelog=self.changelog,
            updates=self._updates,
            source=self._source,
            outputs=self._outputs,
            clock=self.clock,
            on_failure=self.fail,
            limits=self.world.limits,
        )
        self.lanes_ever.append(lane)
        return lane


class _Table:
    """The rows of every lane."""

    def __init__(self) -> None:
        self.lanes: dict[int, dict[bytes, bytes]] = {}

    def rows(self, lane: int) -> dict[bytes, bytes]:
        return self.lanes.setdefault(lane, {})

    def forget(self, lane: int) -> None:
        # The lane's own dictionary stays with it.
        self.lanes.pop(lane, None)


def _uptime() -> int:
    return int(asyncio.get_running_loop().time() * 1000 + 1e-6)
