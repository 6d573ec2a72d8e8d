"""Several real workers of one group, and who of them owns which lane."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from app.bench.place import BenchError, Place
from app.bench.watching import Fence
from app.worker_process import WorkerProcess

LOOK_SECONDS = 0.25
SETTLED_SECONDS = 1.0
"""Lanes are settled when nobody has taken one over for so long."""


class Crew:
    """The workers that run, in the order in which they were started."""

    def __init__(self, here: Place, words: Sequence[str], fences: Sequence[Fence]) -> None:
        self.workers: list[WorkerProcess] = []
        self._here = here
        self._words = words
        self._fences = fences
        self._leaving: list[WorkerProcess] = []

    def start(self) -> None:
        """Add a worker; returns at once."""
        worker = WorkerProcess(self._words, self._here.variables, self._here.worker_log())
        self.workers.append(worker)

    def kill(self, worker: WorkerProcess) -> None:
        """End one as a crash would; it has ended when this returns."""
        self.workers.remove(worker)
        worker.kill()

    def dismiss(self, worker: WorkerProcess) -> None:
        """Ask one to end in an orderly way; returns at once."""
        self.workers.remove(worker)
        self._leaving.append(worker)
        worker.ask_to_stop()

    def fallen(self) -> list[WorkerProcess]:
        """Return the workers that have ended by themselves, which are in the crew no more."""
        fallen = [worker for worker in self.workers if worker.exit_code is not None]
        self.workers = [worker for worker in self.workers if worker not in fallen]
        return fallen

    def end(self) -> None:
        """End them all."""
        for worker in self.workers:
            worker.ask_to_stop()
        for worker in [*self.workers, *self._leaving]:
            worker.stop()

    def wait_until_settled(self, seconds: float) -> Mapping[int, int]:
        """Return the owner (its pid) of each lane, once each worker has had its own for a while.

        Raises ``BenchError`` when that does not happen in time, ``WorkerFailed`` when one ends.
        """
        lanes = self._here.settings.partitions
        self.wait_for(lambda: is_settled(self._fences, self._pids(), lanes, _now()), seconds)
        return owners(self._fences)

    def wait_for(self, happened: Callable[[], bool], seconds: float) -> None:
        """Return once that is so; raises as ``wait_until_settled`` does."""
        limit = time.monotonic() + seconds
        while not happened():
            for worker in self.workers:
                worker.check()
            if time.monotonic() > limit:
                words = "\n".join(worker.last_words() for worker in self.workers)
                raise BenchError(f"the workers did not get there within {seconds:.0f} s\n{words}")
            time.sleep(LOOK_SECONDS)

    def _pids(self) -> set[int]:
        return {worker.pid for worker in self.workers}


def owners(fences: Sequence[Fence]) -> dict[int, int]:
    """Return the process that took each lane over last."""
    return {fence.lane: fence.pid for fence in fences}


def is_settled(fences: Sequence[Fence], pids: set[int], lanes: int, now: float) -> bool:
    """Tell whether every lane is owned by these processes, all of them, for a while already."""
    if not fences or now - fences[-1].at < SETTLED_SECONDS * 1000:
        return False
    owned = owners(fences)
    return len(owned) == lanes and set(owned.values()) == pids


def _now() -> float:
    return time.time() * 1000


@contextmanager
def crew(here: Place, words: Sequence[str], fences: Sequence[Fence]) -> Iterator[Crew]:
    """Yield a crew without workers; all it got have ended afterwards, whatever happened."""
    made = Crew(here, words, fences)
    try:
        yield made
    finally:
        made.end()
