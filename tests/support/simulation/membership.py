"""A simulated process's membership of the group: joining, heartbeats, positions, fetches."""

import asyncio
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from agents.ports import Fetched, Place, Revoked, Start, StopWorker
from simulation.errors import BrokerError, RebalanceUnderWay
from simulation.groups import assign

if TYPE_CHECKING:
    from simulation.process import Process

GROUP = "members"
SESSION_MS = 10_000
REBALANCE_MS = 15_000
HEARTBEAT_SECONDS = 4.0
SLOW_FETCHES = 0.03
"""Of the partitions with records, those of which a fetch brings nothing, and the next ones neither:
they come from several brokers, in several answers, and no answer has room for all."""

SLOW_FETCH_SECONDS = 3.0

FETCH_SECONDS = 0.06
"""What a fetch that an assignment has interrupted still waits for records, at most."""


class SimGroup:
    """The ``GroupPort`` of a process: its membership, its positions, its fetches."""

    def __init__(self, process: "Process") -> None:
        self._process = process
        self._group = process.world.broker.group(GROUP)
        self._member = ""
        self._generation = -1
        self._lanes: frozenset[int] = frozenset()
        self._positions: dict[Place, int] = {}
        self._slow_until: dict[Place, float] = {}
        self._last: dict[Place, list[object]] = {}
        self._interrupt = asyncio.Event()
        self._assigned = asyncio.Event()
        self._waiting: asyncio.Future[None] | None = None
        self.places: list[Place] = []
        self.rewind = False

    # -- membership

    async def enter(self) -> frozenset[int]:
        """Join until a generation has us; return the lanes that we get in it."""
        process, group = self._process, self._group
        self._assigned.clear()
        self.interrupt()
        while True:
            try:
                if not self._member:
                    await process.point("join")
                    self._member = group.enter(f"p{process.number}", SESSION_MS)
                await process.point("join")
                held = self._lanes
                joined = await group.join(self._member, held, SESSION_MS, REBALANCE_MS)
                await process.point("sync")
                given = None
                if joined.members:
                    given = assign(process.world.lanes, joined.members)  # type: ignore[arg-type]
                lanes = await group.sync(self._member, joined.generation, given)
                await process.point("sync answered")
            except RebalanceUnderWay:
                continue
            except BrokerError:
                self._member = ""
                continue
            self._generation = joined.generation
            self._lanes = lanes if isinstance(lanes, frozenset) else frozenset()
            return self._lanes

    async def beat_until_rebalance(self) -> None:
        """Tell that we are alive until told that the group goes on without or with us."""
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            await self._process.point("heartbeat")
            try:
                self._group.heartbeat(self._member, self._generation)
            except RebalanceUnderWay:
                return
            except BrokerError:
                self._member = ""
                return

    async def leave(self) -> None:
        """Leave the group."""
        await self._process.point("leave")
        with suppress(BrokerError):
            if self._member:
                self._group.leave(self._member)

    def begin(self, places: list[Place]) -> None:
        """Take note of a new assignment: nothing is sought yet."""
        self._assigned.set()
        self.places = places
        self._positions = {}
        self._last = {}

    def interrupt(self) -> None:
        """Let a poll under way return."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
        self._interrupt.set()
        self._interrupt = asyncio.Event()

    async def interrupted(self) -> None:
        """Wait until something may have changed."""
        await self._interrupt.wait()

    # -- the port

    async def starts(self, places: Collection[Place]) -> Mapping[Place, Start]:
        broker = self._process.world.broker
        assigned = self.places
        found = await self._process.request(
            "starts",
            lambda: {
                place: Start(
                    broker.beginning_offset(*place),
                    broker.end_offset(*place),
                    self._group.committed.get(place),
                )
                for place in sorted(places)
            },
        )
        if assigned is not self.places:
            raise Revoked
        return found

    async def seek(self, offsets: Mapping[Place, int]) -> None:
        if not offsets.keys() <= set(self.places):
            raise Revoked
        self._positions.update(offsets)

    async def fetch(self, places: Collection[Place], seconds: float) -> Fetched | None:
        # As in the thread of aiokafka's consumer: what was asked for goes on, and takes records,
        # whoever stops waiting for it, and in whichever assignment it gets to it.
        return await asyncio.shield(asyncio.create_task(self._fetch(places, seconds)))

    async def _fetch(self, places: Collection[Place], seconds: float) -> Fetched | None:
        process, world = self._process, self._process.world
        positions = self._positions
        readable = self._readable(places)
        arrival = world.broker.arrivals((*at, positions[at]) for at in readable)
        if not arrival.done():
            self._waiting = arrival
            await world.woken(arrival, seconds)
            if not self._assigned.is_set():
                # It waits for the assignment to come, and goes on with that.
                await self._assigned.wait()
                await asyncio.sleep(process.rng.uniform(0, FETCH_SECONDS))
        await process.point("fetch")
        positions = self._positions
        readable = self._readable(places)
        records: dict[Place, list[object]] = {}
        rng = process.rng
        for place in readable:
            if positions[place] > world.broker.end_offset(*place):
                raise StopWorker("a source partition no longer holds the offset to go on at")
            if self._gets_slow(place):
                continue
            found = world.broker.fetch(*place, positions[place], rng.choice((1, 2, 5, 50)))
            if found.records:
                records[place] = list(found.records)
        fault = await process.point("fetch answered")
        if positions is not self._positions or (fault and fault.kind == "lose answer"):
            return None
        if self.rewind and self._last:
            # The same chunk once more: what the consumer had forgotten that it handed over.
            self.rewind = False
            world.count("rewind")
            return Fetched(dict(self._last), dict(positions))
        for place, chunk in records.items():
            positions[place] = chunk[-1].offset + 1  # type: ignore[attr-defined]
        self._last = records
        return Fetched(records, dict(positions))

    def _readable(self, places: Collection[Place]) -> list[Place]:
        now, lagging = asyncio.get_running_loop().time(), self._process.world.lagging
        return [
            place
            for place in sorted(places)
            if place in self._positions
            and place.topic not in lagging
            and now >= self._slow_until.get(place, 0)
        ]

    def _gets_slow(self, place: Place) -> bool:
        rng = self._process.rng
        if rng.random() >= SLOW_FETCHES:
            return False
        seconds = rng.random() * SLOW_FETCH_SECONDS
        self._slow_until[place] = asyncio.get_running_loop().time() + seconds
        return True

    async def commit(self, offsets: Mapping[Place, int]) -> bool:
        member, generation = self._member, self._generation
        if not offsets.keys() <= set(self.places):
            # aiokafka's IllegalStateError.
            return False

        def commit() -> bool:
            before = dict(self._group.committed)
            try:
                self._group.commit(member, generation, {(*at,): n for at, n in offsets.items()})
            except BrokerError:
                return False
            for place, offset in offsets.items():
                if offset < before.get(place, 0):
                    self._process.world.broken.append(
                        f"p{self._process.number} committed {place} back from {before[place]} "
                        f"to {offset}"
                    )
            return True

        return await self._process.request("commit", commit)
