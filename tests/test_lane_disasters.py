"""Crashes at every await, and seeded disasters: what comes out is always what should."""

import asyncio
import contextlib
import random
from collections.abc import Iterable

import pytest
from sim_worker import Worker
from sim_world import BEGINNING, World, now, run
from toy_job import TOPICS, ToyFold, said_by, truth, value

from agents.lane import LaneLimits
from agents.merge import NEVER
from agents.ports import Fenced
from agents.recovery import Recovery

COMPACTION_LAG_MS = 150_000
"""Longer than the minute in which an idle owner finds a zombie's write, plus a death or two."""


def produce(world: World, topic: str, member: bytes, at: int) -> None:
    world.produce(topic, member, value(at), at)


def judge(world: World, rows: dict[bytes, bytes]) -> None:
    """Assert that everything was said, nothing else, each always in the same bytes."""
    records = [record for log in world.logs.values() for record in log]
    expected = truth(records, NEVER)
    said, versions = said_by(world.sent)
    assert said == expected.said
    different = {name: bytes_ for name, bytes_ in versions.items() if len(bytes_) > 1}
    assert not different
    counts = {key: ToyFold().load(key, body).counts for key, body in rows.items()}
    assert counts == expected.counts
    last_update = {o.key: o.value for o in world.sent if o.topic == "member-updates"}
    assert last_update == rows


def fill(world: World, records: int) -> None:
    rng = random.Random(4)
    for n in range(records):
        member = b"m%d" % rng.randrange(4)
        produce(world, rng.choice(TOPICS), member, BEGINNING - 900_000 + n * 20_000)


async def one_death(records: int, limits: LaneLimits, die_at: int | None) -> tuple[World, int]:
    world = World(TOPICS, seed=1, commit_chance=1.0)
    fill(world, records)
    worker = Worker(world, "first", die_at=die_at, limits=limits)
    worker.launch()
    await worker.until(worker.all_done)
    died = not worker.alive
    points = worker.process.points
    await worker.end()
    if died:
        worker = Worker(world, "second", limits=limits)
        await worker.start()
        await worker.until(worker.all_done)
        assert worker.failure is None
        await worker.end()
    judge(world, worker.rows)
    return world, points


@pytest.mark.parametrize("group_bytes", [200, 4_000_000], ids=["many groups", "large groups"])
def test_a_crash_at_any_await_changes_nothing_that_comes_out(group_bytes: int) -> None:
    limits = LaneLimits(group_bytes=group_bytes)
    _, points = run(one_death(40, limits, None))
    assert points > 30
    repeated = 0
    for die_at in range(1, points + 1):
        world, _ = run(one_death(40, limits, die_at))
        said = [output for output in world.sent if output.topic != "member-updates"]
        repeated += len(said) > len(set(said))
    # Otherwise no crash fell between outputs and commit, and the test shows nothing.
    assert repeated > 3


class Disaster:
    """One seed's world: live records, lags, outages, deaths, zombies, compaction."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = random.Random(seed)
        self.world = World(
            TOPICS,
            seed=seed,
            commit_chance=rng.choice((0.0, 0.3, 1.0)),
            rewind_chance=rng.choice((0.0, 0.2)),
            forget_offset_chance=rng.choice((0.0, 0.0, 0.05)),
        )
        self.limits = LaneLimits(
            group_bytes=rng.choice((300, 2000, 4_000_000)),
            queue_records=rng.choice((3, 10_000)),
        )
        self.workers: list[Worker] = []
        self.background: list[asyncio.Task[None]] = []
        self.fenced = 0

    async def shop(self) -> None:
        for _ in range(60):
            await asyncio.sleep(self.rng.choice((0.002, 0.05, 1, 6)))
            while self.world.away:
                await self.world.news.wait()
                # Nobody is ever in two places in one millisecond.
                await asyncio.sleep(0.001)
            member = b"m%d" % self.rng.randrange(5)
            produce(self.world, self.rng.choice(TOPICS), member, now())

    async def weather(self) -> None:
        while True:
            await asyncio.sleep(self.rng.uniform(1, 40))
            kind = self.rng.randrange(3)
            if kind == 0:
                topic = self.rng.choice(TOPICS)
                self.world.lagging.add(topic)
                await asyncio.sleep(self.rng.uniform(0.1, 15))
                self.world.lagging.discard(topic)
            elif kind == 1:
                self.world.away = True
                await asyncio.sleep(self.rng.uniform(0.1, 12))
                self.world.away = False
            else:
                self.world.compact_older(COMPACTION_LAG_MS)
            self.world.changed()

    def employ(self, die_at: int | None = None) -> Worker:
        name = f"w{len(self.workers)}"
        worker = Worker(self.world, name, limits=self.limits, die_at=die_at)
        self.workers.append(worker)
        worker.launch()
        return worker

    async def awake(self, worker: Worker) -> None:
        await asyncio.sleep(self.rng.uniform(0, 30))
        worker.process.thaw()

    async def run(self) -> None:
        rng, world = self.rng, self.world
        for n in range(40):
            member = b"m%d" % rng.randrange(5)
            produce(world, rng.choice(TOPICS), member, BEGINNING - HISTORY_MS + n * 15_000)
        shop = asyncio.create_task(self.shop())
        weather = asyncio.create_task(self.weather())
        for _ in range(rng.randrange(1, 6)):
            worker = self.employ(die_at=rng.randrange(1, 150))
            if rng.random() < 0.5:
                worker.process.freeze_at(rng.randrange(1, 150))
            while worker.alive and not worker.process.frozen.is_set():
                await asyncio.sleep(0.2)
                if rng.random() < 0.004:
                    break
            if worker.process.frozen.is_set():
                self.background.append(asyncio.create_task(self.awake(worker)))
            else:
                worker.process.kill()
            await asyncio.sleep(rng.uniform(0, 10))
        await shop
        weather.cancel()
        world.away = False
        world.lagging.clear()
        world.changed()
        last = self.employ()
        await asyncio.gather(*self.background)
        await last.until(last.all_done)
        # Long enough for zombies to run into their fence, and for the owner to notice them.
        await asyncio.sleep(130)
        assert last.failure is None
        assert all(isinstance(w.failure, Fenced | None) for w in self.workers)
        self.fenced = sum(isinstance(w.failure, Fenced) for w in self.workers)
        for worker in self.workers:
            await worker.end()
        with contextlib.suppress(asyncio.CancelledError):
            await weather
        judge_disaster(self)


HISTORY_MS = 1_200_000


def judge_disaster(disaster: Disaster) -> None:
    world, rows = disaster.world, disaster.workers[-1].rows
    judge_without_updates(world, rows)
    # What is in the log says the same as what is in memory, compacted or not.
    for _ in range(2):
        assert run_recovery(world) == rows
        world.compact()


def judge_without_updates(world: World, rows: dict[bytes, bytes]) -> None:
    # A zombie may still send an older projection of a member, which triggers never are.
    expected = truth([record for log in world.logs.values() for record in log], NEVER)
    said, versions = said_by(world.sent)
    assert said == expected.said
    assert not {name: bytes_ for name, bytes_ in versions.items() if len(bytes_) > 1}
    assert {key: ToyFold().load(key, body).counts for key, body in rows.items()} == expected.counts


def run_recovery(world: World) -> dict[bytes, bytes]:
    rows: dict[bytes, bytes] = {}
    Recovery(rows).take(world.changelog)
    return rows


def disasters(seeds: Iterable[int]) -> list[Disaster]:
    done = []
    for seed in seeds:

        async def main(seed: int = seed) -> Disaster:
            disaster = Disaster(seed)
            await disaster.run()
            return disaster

        try:
            done.append(run(main()))
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
    return done


def test_hundreds_of_seeded_disasters_change_nothing_that_comes_out() -> None:
    done = disasters(range(300))
    # The disasters did happen.
    assert sum(disaster.fenced for disaster in done) > 30
    assert sum(w.lane.stats.repaired for d in done for w in d.workers) > 10
    assert sum(w.lane.stats.resent for d in done for w in d.workers) > 300
    assert sum(w.lane.stats.skipped for d in done for w in d.workers) > 300


def test_members_that_vanish_stay_gone_through_crashes() -> None:
    async def main(die_at: int) -> None:
        world = World(TOPICS, seed=die_at, commit_chance=1.0)
        for n in range(6):
            produce(world, "cart", b"m%d" % (n % 2), BEGINNING - 5000 + n)
        world.produce("member", b"m0", value(BEGINNING - 1000, "forget"), BEGINNING - 1000)
        worker = Worker(world, "first", die_at=die_at)
        worker.launch()
        await worker.until(worker.all_done)
        await worker.end()
        worker = Worker(world, "second")
        await worker.start()
        await worker.until(worker.all_done)
        assert set(worker.rows) == {b"m1"}
        await worker.end()
        world.compact()
        assert set(run_recovery(world)) == {b"m1"}

    for die_at in range(1, 40):
        run(main(die_at))
