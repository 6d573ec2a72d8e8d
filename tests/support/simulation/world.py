"""One run: a broker, a shop that produces events, workers that are killed, and what they say."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import NoReturn

from agents.lane import LaneLimits
from agents.partitioner import murmur2_partition
from agents.ports import StopWorker
from app.chaos.equality import Era, Sourced
from models.events import MEMBER_TOPICS
from models.rulebook import RuleBook
from simulation import loop
from simulation.broker import NewRecord, SimBroker, TopicConfig
from simulation.faults import STRIKES, ZOMBIES, Fault
from simulation.membership import GROUP
from simulation.process import Process
from simulation.process_ports import CHANGELOG, UPDATES
from simulation.scenario import Event, Scenario
from simulation.serving import Serving

COMPACTION_LAG_MS = 150_000
"""Where there may be zombies: longer than the minute in which an idle owner finds what one wrote,
plus a death or two."""

QUIET_MS = 2_000
"""How far from the end of an era no deadline may be: clocks differ by milliseconds."""

IDLE_SECONDS = 130
"""Long enough for zombies to run into their fence, and for owners to notice what they wrote."""

CALM_MS = 200_000
"""How long after a fault its consequences are over: no time is skipped before that."""

AWAKE_MS = 3_000
"""How long before something happens all are awake again."""

PATIENCE_SECONDS = 2_000
OUTPUTS = ("triggers", "decisions", "dead-letters")


class Stuck(AssertionError):
    """What had to happen did not, for more than half an hour."""


class World:
    """The run of a scenario, under a rule book and, from a change on, another."""

    def __init__(self, scenario: Scenario, book: RuleBook, next_book: RuleBook) -> None:
        self.scenario = scenario
        self.seed = scenario.seed
        self.lanes = scenario.lanes
        self.limits = LaneLimits(
            queue_records=scenario.queue_records, group_bytes=scenario.group_bytes
        )
        self.happened: Counter[str] = Counter()
        """Faults that did strike, by kind."""
        self.away = False
        self.lagging: set[str] = set()
        self.clock_errors: dict[int, int] = {}
        self.processes: list[Process] = []
        self.source: list[Sourced] = []
        self.eras: list[Era] = []
        self.book = book
        self.until = 0
        self.broken: list[str] = []
        """What was seen to be wrong while it ran."""
        self._next_book = next_book
        self._news = asyncio.Event()
        self._wakers: dict[asyncio.Future[None], None] = {}
        self._current: dict[int, Process] = {}
        self._supervisors: dict[int, asyncio.Task[None]] = {}
        self._background: list[asyncio.Task[None]] = []
        self._open = asyncio.Event()
        self._hiring = asyncio.Event()
        self._closed_for = 0
        self._cut = 0
        self._appointments: dict[str, int] = {}
        """When the next event and the next fault are to happen."""
        self._last_trouble = 0
        self._values: dict[str, bytes] = {}
        self._never: asyncio.Future[NoReturn] = asyncio.get_running_loop().create_future()
        self.broker = SimBroker(Random(scenario.seed))
        for topic in MEMBER_TOPICS:
            self.broker.create_topic(topic, TopicConfig(self.lanes))
        for topic in OUTPUTS:
            self.broker.create_topic(topic, TopicConfig(1))
        self.broker.create_topic(UPDATES, TopicConfig(self.lanes))
        zombies = any(fault.kind in ZOMBIES for fault in scenario.faults)
        self.broker.create_topic(
            CHANGELOG,
            TopicConfig(
                self.lanes,
                compact=True,
                log_append_time=True,
                min_compaction_lag=COMPACTION_LAG_MS if zombies else 1,
            ),
        )
        self.serving = Serving(self) if scenario.projector else None

    # -- for processes

    def count(self, kind: str) -> None:
        """Note that a fault of a kind struck."""
        self.happened[kind] += 1
        self._last_trouble = loop.now()

    async def never(self) -> NoReturn:
        """Wait for ever: this is what the dead do."""
        await asyncio.shield(self._never)
        raise AssertionError

    async def news(self) -> None:
        """Wait until something about the world has changed."""
        await self._news.wait()

    def changed(self) -> None:
        """Wake whoever waits for something to change."""
        self._news.set()
        self._news = asyncio.Event()
        wakers, self._wakers = self._wakers, {}
        for waker in wakers:
            _wake(waker)

    async def woken(self, waker: asyncio.Future[None], seconds: float) -> None:
        """Wait for a future; for no longer than so many seconds, or until the world changes."""
        self._wakers[waker] = None
        timer = asyncio.get_running_loop().call_later(seconds, _wake, waker)
        try:
            await waker
        finally:
            timer.cancel()
            self._wakers.pop(waker, None)

    def later(self, delay_ms: int, call: Callable[[], object]) -> None:
        """Let a request arrive later, whoever sent it."""

        def arrive() -> None:
            if not self.away:
                call()

        asyncio.get_running_loop().call_later(delay_ms / 1000, arrive)

    def broker_partitions(self, topic: str) -> int:
        """Return how many partitions a topic has."""
        return self.broker.config(topic).partitions

    # -- the run

    async def run(self) -> None:
        """Let everything happen, heal the world, and wait until there is nothing left to do."""
        scenario = self.scenario
        past = [event for event in scenario.events if event.at < 0]
        for event in past:
            self._produce(event, loop.BEGINNING + event.at)
        self._open.set()
        self._hiring.set()
        for slot in range(scenario.workers):
            self._employ(slot)
        if self.serving is not None:
            self.serving.start()
        shop = asyncio.create_task(self._shop(scenario.events[len(past) :]))
        if scenario.kind == "shipped":
            self._background.append(asyncio.create_task(self._doze()))
        await self._go_wrong()
        await shop
        self._heal()
        await self._until(self._is_quiet)
        await asyncio.sleep(IDLE_SECONDS)
        await self._until(self._is_quiet)
        self.until = loop.now()
        self.eras.append(Era(self.book, self.until))
        if self.serving is not None:
            await self._until(self.serving.has_caught_up)
        # From now on everything may be compacted.
        self.broker.clock_offset += COMPACTION_LAG_MS

    # -- the shop

    async def _shop(self, events: tuple[Event, ...]) -> None:
        shift = 0
        for event in events:
            target = loop.BEGINNING + event.at + shift
            await self._reach("event", target)
            closed = self._closed_for if self._open.is_set() else -1
            await self._open.wait()
            while self.away:
                await self.news()
                # Nobody is ever in two places in one millisecond.
                await asyncio.sleep(0.001)
            if self.scenario.flushes and closed == self._closed_for:
                self._produce(event, min(target, loop.now()))
                await asyncio.sleep(0.001)
                continue
            shift += max(loop.now() - target, 0)
            self._produce(event, loop.now())

    def _produce(self, event: Event, at: int) -> None:
        occurred = max(at - event.delay, self._cut + 1)
        if event.raw:
            value = event.raw.encode()
        else:
            body = json.loads(event.body)
            name = body.get("event_id")
            if event.kind == "duplicate":
                if name not in self._values:
                    return
                value = self._values[name]
                if json.loads(value)["occurred_at"] <= self._cut:
                    return
            else:
                value = json.dumps(body | {"occurred_at": occurred}).encode()
                if name is not None:
                    self._values[name] = value
        key = event.key.encode()
        partition = murmur2_partition(key, self.lanes)
        if event.elsewhere:
            partition = (partition + 1) % self.lanes
        appended = self.broker.write(event.topic, partition, NewRecord(key, value, at))
        assert appended.offset is not None
        # What was there before the first worker came was there in time.
        arrived = max(loop.now(), at) if event.at >= 0 else at
        self.source.append(
            Sourced(event.topic, partition, appended.offset, at, key, value, arrived)
        )
        if event.kind:
            self.count(event.kind)

    # -- workers

    def _employ(self, slot: int, for_ms: int | None = None) -> None:
        self._supervisors[slot] = asyncio.create_task(self._supervise(slot, for_ms))

    async def _supervise(self, slot: int, for_ms: int | None) -> None:
        ends = None if for_ms is None else loop.now() + for_ms
        while True:
            await self._hiring.wait()
            process = Process(self, slot, len(self.processes), self.book)
            self.processes.append(process)
            self._current[slot] = process
            process.start()
            if ends is not None:
                await asyncio.sleep(max(ends - loop.now(), 0) / 1000)
                if not process.died and process.frozen is None:
                    await self._leaves(process)
                return
            await process.ended.wait()
            await asyncio.sleep(process.restart_ms / 1000)

    async def _leaves(self, process: Process) -> None:
        leaving = asyncio.create_task(process.leave())
        self._background.append(leaving)
        dying = asyncio.create_task(process.ended.wait())
        await asyncio.wait((leaving, dying), return_when=asyncio.FIRST_COMPLETED)
        dying.cancel()

    @property
    def _alive(self) -> list[Process]:
        return [process for process in self.processes if not process.died]

    # -- what goes wrong

    async def _go_wrong(self) -> None:
        for fault in self.scenario.faults:
            await self._reach("fault", loop.BEGINNING + fault.at)
            if fault.kind == "rules":
                await self._change_rules()
            elif fault.kind == "topic anew":
                await self._make_anew(MEMBER_TOPICS[fault.target])
            else:
                self._strike(fault)

    def _strike(self, fault: Fault) -> None:
        kind, process = fault.kind, self._current.get(fault.target)
        after = asyncio.get_running_loop().call_later
        seconds = fault.lasts / 1000
        if kind in STRIKES:
            if process is not None:
                process.strike(fault)
            return
        match kind:
            case "delay" if process is not None:
                process.slow = True
                after(seconds, setattr, process, "slow", False)
            case "cut off" if process is not None:
                process.cut = True
                after(seconds, self._rejoin_network, process)
            case "rewind" if process is not None:
                process.group.rewind = True
                return
            case "leave" if process is not None and not process.died and process.frozen is None:
                process.restart_ms = fault.lasts
                self._background.append(asyncio.create_task(self._leaves(process)))
            case "join":
                slot = fault.target
                while slot in self._supervisors:
                    slot += 1
                self._employ(slot, fault.lasts)
            case "lag":
                self.lagging.add(MEMBER_TOPICS[fault.target])
                after(seconds, self._catch_up, MEMBER_TOPICS[fault.target])
            case "compact" if self.broker.compact(CHANGELOG, fault.target):
                pass
            case "broker away":
                self.away = True
                after(seconds, self._come_back)
            case "clock":
                self.clock_errors[fault.target] = fault.lasts
            case "redis away" if self.serving is not None:
                self.serving.away = True
                self._background.append(asyncio.create_task(self.serving.hand_over()))
                after(seconds, setattr, self.serving, "away", False)
            case _:
                return
        self.count(kind)

    def _rejoin_network(self, process: Process) -> None:
        process.cut = False
        self.changed()

    def _catch_up(self, topic: str) -> None:
        self.lagging.discard(topic)
        self.changed()

    def _come_back(self) -> None:
        self.away = False
        self.changed()

    def _heal(self) -> None:
        self.away = False
        self.lagging.clear()
        if self.serving is not None:
            self.serving.away = False
        for process in self.processes:
            process.forget_strikes()
            process.slow = process.cut = False
            process.thaw()
        self.changed()

    async def _change_rules(self) -> None:
        """Stop everybody at a quiet instant, and start them again under the other rules."""
        await self._close_shop()
        await self._until(self._is_quiet)
        self._hiring.clear()
        leaving = [asyncio.create_task(self._leaves(process)) for process in self._alive]
        if leaving:
            await asyncio.wait(leaving)
        for process in self._alive:
            process.kill()
        await asyncio.sleep(0.01)
        self._cut = loop.now()
        await asyncio.sleep(0.01)
        self.eras.append(Era(self.book, self._cut))
        self.book = self._next_book
        self.count("rules")
        self._hiring.set()
        self._open_shop()

    async def _make_anew(self, topic: str) -> None:
        """Delete a member topic and make it again; put the old one back once all have stopped."""
        await self._close_shop()
        await self._until(self._is_quiet)
        before = self._alive
        first = len(self.processes)
        committed = self.broker.group(GROUP).committed
        reached = {place: offset for place, offset in committed.items() if place[0] == topic}
        old = self.broker._topics[topic]
        self.broker.delete_topic(topic)
        self.broker.create_topic(topic, TopicConfig(self.lanes))
        self.count("topic anew")
        await asyncio.sleep(20)
        if any(not process.died for process in before):
            # Who had read nothing of it cannot know before the lanes are dealt out anew.
            self._employ(100 + first, 20_000)
        await self._until(lambda: all(process.died for process in before))
        await asyncio.sleep(20)
        self._hiring.clear()
        await self._until(lambda: not self._alive)
        for process in (*before, *self.processes[first:]):
            if not process.left and not isinstance(process.failure, StopWorker):
                self.broken.append(f"p{process.number} ended by {process.failure!r}")
        if any(process.wrote for process in self.processes[first:]):
            self.broken.append("a worker wrote though a topic was made anew")
        self.broker.delete_topic(topic)
        self.broker._topics[topic] = old
        self.broker.group(GROUP).committed.update(reached)
        self._hiring.set()
        self._open_shop()

    async def _close_shop(self) -> None:
        """Let nothing more be produced, in a world that is whole."""
        self._open.clear()
        self._closed_for += 1
        self._heal()
        # Who had waited for the broker says what there was to say.
        await asyncio.sleep(0.01)

    def _open_shop(self) -> None:
        self._open.set()

    # -- when there is nothing to do for now

    async def _reach(self, what: str, at: int) -> None:
        """Wait until it is time for something."""
        self._appointments[what] = at
        await asyncio.sleep(max(at - loop.now(), 0) / 1000)
        del self._appointments[what]

    async def _doze(self) -> None:
        """Leap over the time in which nobody does anything and nothing is wrong.

        As long as something is to happen at all.
        """
        running = asyncio.get_running_loop()
        assert isinstance(running, loop.VirtualLoop)
        while True:
            await asyncio.sleep(1.0)
            until = min(self._appointments.values(), default=0) - AWAKE_MS
            now = loop.now()
            if until - now < CALM_MS or not self._is_calm(now) or not self._is_quiet():
                continue
            dues = self._dues(self.owners())
            until = min(until, min(dues, default=until) - AWAKE_MS)
            if until > now:
                running.leap((until - now) / 1000)

    def _is_calm(self, now: int) -> bool:
        if not self._open.is_set() or not self._hiring.is_set():
            return False
        return now - self._last_trouble > CALM_MS and not any(p.frozen for p in self._alive)

    @staticmethod
    def _dues(owners: dict[int, Process]) -> list[int]:
        return [
            due
            for number, process in owners.items()
            for body in process.table.rows(number).values()
            if (due := process.fold.due(body)) is not None
        ]

    # -- when there is nothing left to do

    async def _until(self, happened: Callable[[], bool]) -> None:
        patience = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while not happened():
            if asyncio.get_running_loop().time() > patience:
                raise Stuck(happened.__name__)
            await asyncio.sleep(1.0)

    def owners(self) -> dict[int, Process]:
        """Return who works on each lane; zombies that have not noticed yet are none."""
        found: dict[int, Process] = {}
        for process in self._alive:
            if process.reading.started.is_set():
                for number in process.lanes.running:
                    found[number] = process
        return found

    def _is_quiet(self) -> bool:
        """Tell whether all that was produced is dealt with, and no deadline is near."""
        owners = self.owners()
        claimed = sum(len(process.lanes.running) for process in self._alive)
        if len(owners) < self.lanes or claimed > self.lanes:
            return False
        now = loop.now()
        committed = self.broker.group(GROUP).committed
        for number, process in owners.items():
            done = process.reading.offsets.due()
            for topic in MEMBER_TOPICS:
                place = topic, number
                reached = max(done.get(place, 0), committed.get(place, 0))  # type: ignore[call-overload]
                if reached < self.broker.end_offset(*place):
                    return False
            if not process.lanes.running[number]._idle():  # type: ignore[attr-defined]
                return False
        if any(due <= now + QUIET_MS for due in self._dues(owners)):
            return False
        return self._last_due_is_past(owners, now)

    def _last_due_is_past(self, owners: dict[int, Process], now: int) -> bool:
        # What has fired may have fired just now: members' own time tells.
        return all(
            process.fold.load(key, body).advanced_to <= now - QUIET_MS
            for number, process in owners.items()
            for key, body in process.table.rows(number).items()
        )


def _wake(waker: asyncio.Future[None]) -> None:
    if not waker.done():
        waker.set_result(None)
