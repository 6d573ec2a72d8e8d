"""A worker process in the simulated world: one lane from its fence to its end."""

import asyncio
from collections.abc import Callable

from sim_world import Process, VirtualClock, World
from toy_job import Event, State, ToyFold

from agents.lane import Lane, LaneLimits
from agents.ports import Days
from agents.recovery import fence, recover
from agents.turns import Turns


class Worker:
    """Owns the lane from ``start`` on; a failure of the lane kills the process, as exit 70 does."""

    def __init__(
        self,
        world: World,
        name: str = "worker",
        *,
        die_at: int | None = None,
        fold: ToyFold | None = None,
        until: int | None = None,
        limits: LaneLimits | None = None,
        days: Days | None = None,
        turns: Turns | None = None,
    ) -> None:
        self.world = world
        self.process = Process(world, name, die_at)
        self.rows: dict[bytes, bytes] = {}
        self.failure: BaseException | None = None
        self.started = False
        self.lateness: list[int] = []
        self.lane: Lane[State, Event] = Lane(
            0,
            fold or ToyFold(),
            self.rows,
            changelog=self.process,
            updates=self.process.updates,
            source=self.process,
            outputs=self.process,
            clock=VirtualClock(until),
            on_failure=self._failed,
            on_lateness=self.lateness.append,
            limits=limits,
            days=days,
            turns=turns,
        )
        self._tasks: list[asyncio.Task[None]] = []

    def _failed(self, error: BaseException) -> None:
        self.failure = error
        self.process.kill()

    async def start(self) -> None:
        """Be assigned the lane, fence, recover, start the lane and its fetching."""
        process = self.world.owner = self.process
        epoch = await fence(process, 0, process.name)
        recovered = await recover(process, 0, epoch, self.rows)
        for topic in self.world.logs:
            self._tasks.append(asyncio.create_task(process.fetch(topic, self.lane.feed)))
        await self.lane.start(epoch, recovered, self.world.source_topics())
        self.started = True

    def launch(self) -> None:
        """Start in the background; a failure to start is a failure of the process."""

        async def guarded() -> None:
            try:
                await self.start()
            except Exception as error:
                self._failed(error)

        self._tasks.append(asyncio.create_task(guarded()))

    async def end(self) -> None:
        """Clear away what is left of the process."""
        self.process.kill()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.lane.stop(drain=False)

    @property
    def alive(self) -> bool:
        return not self.process.died.is_set()

    def all_done(self) -> bool:
        """Return whether all records are dealt with, no deadline is open, and all is sent."""
        done, committed = self.process.done_offsets, self.world.committed
        return (
            self.started
            and not len(self.lane._folding.index)
            and self.lane._idle()
            and all(
                max(done.get(topic, 0), committed.get(topic, 0)) >= self.world.end(topic)
                for topic in self.world.logs
            )
        )

    async def until(self, happened: Callable[[], bool]) -> None:
        """Let the world go on until something has happened or the process died; at most an hour."""
        ends = asyncio.get_running_loop().time() + 3600
        step = 0.002
        while asyncio.get_running_loop().time() < ends:
            if happened() or not self.alive:
                return
            await asyncio.sleep(step)
            step = min(step * 1.1, 0.1)
        raise AssertionError("it did not happen")
