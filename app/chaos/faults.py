"""Every kind of fault: what it does to the world, how long, and what undoes it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol, TypeAlias

from app.chaos.world import CLOCK, DISK, ChaosWorld
from models.times import HOUR, SECOND

Steps: TypeAlias = Iterator[float]
"""A fault under way: it does something, yields for how many seconds to let that last, goes on.

Its last step undoes it.
"""


class Upset(Protocol):
    """The part of a fault that upstream plays."""

    def burst(self, kind: str, seconds: float) -> None:
        """Let much more of ``kind`` go wrong in what is sent, from now on, for so long."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One planned fault. What its figures mean is its kind's business."""

    number: int
    kind: str
    target: int
    """The worker or broker that it hits."""
    seconds: float
    strength: float
    """From 0 to 1."""
    pause: float
    """Seconds from the fault before, or from the recovery from it, to this one."""
    overlaps: bool
    """It does not wait for the fault before to be over."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a kind of fault needs to be drawn and to be done."""

    strike: Callable[["ChaosWorld", Upset, Fault], Steps]
    seconds: tuple[float, float]
    part: str
    """What it has for itself: ``worker``, ``way`` and ``clock`` (one each), ``group``, ``broker``,
    ``redis`` or ``feed``. Two faults at a time never touch the same thing."""
    needs: str = ""
    """The key in ``ChaosWorld.unavailable`` that rules it out."""


# Longer than the session time-out of six seconds, and shorter.
LONG = (8.0, 12.0)
SHORT = (1.0, 4.0)
STORM_ROUNDS = 5
DROPS = 4
LONGEST_SHIFT = 12 * HOUR / SECOND


def worker_kill(world: ChaosWorld, _: Upset, fault: Fault) -> Steps:
    """``kill -9`` a worker; start another in its place a little later."""
    world.kill_worker(fault.target)
    yield fault.seconds
    world.start_worker(fault.target)


def worker_freeze(world: ChaosWorld, _: Upset, fault: Fault) -> Steps:
    """Freeze a worker until others have its lanes; then it wakes up and believes it has them."""
    world.freeze_worker(fault.target)
    yield fault.seconds
    world.thaw_worker(fault.target)


def broker_kill(world: ChaosWorld, _: Upset, fault: Fault) -> Steps:
    """``kill -9`` a broker; start it again on its data."""
    world.kill_broker(fault.target)
    yield fault.seconds
    world.start_broker(fault.target)


def rebalance_storm(world: ChaosWorld, _: Upset, fault: Fault) -> Steps:
    """Stop, kill and start the workers one after the other, faster than they settle."""
    chance = Random(f"{fault.number}/{fault.strength}")
    count = len(world.workers)
    for turn in range(STORM_ROUNDS):
        worker = (fault.target + turn) % count
        if chance.random() < 0.5:
            world.stop_worker(worker)
        else:
            world.kill_worker(worker)
        yield fault.seconds / STORM_ROUNDS / 2
        world.start_worker(worker)
        yield fault.seconds / STORM_ROUNDS / 2


def net_delay(world: ChaosWorld, _: Upset, fault: Fault) -> Steps:
    """Delay everything between a worker and the brokers by up to half a second."""
    world.proxies[fault.target].delay(0.02 + fault.strength / 2)
    yield fault.seconds
    world.proxies[fault.target].heal()


def net_drop(world: ChaosWorld, _: Upset, fault: Fault) -> Steps:
    """Break a worker's connections, several times."""
    for _turn in range(1 + int(fault.strength * DROPS)):
        world.proxies[fault.target].drop()
        yield fault.seconds / DROPS


def net_partition(world: ChaosWorld, _: Upset, fault: Fault) -> Steps:
    """Let nothing through between a worker and the brokers, for less or more than the session."""
    world.proxies[fault.target].partition()
    yield fault.seconds if fault.strength < 0.5 else fault.seconds + LONG[0]
    world.proxies[fault.target].heal()


def redis_kill(world: ChaosWorld, _: Upset, fault: Fault) -> Steps:
    """``kill -9`` Redis; start it again on its data."""
    world.kill_redis()
    yield fault.seconds
    world.start_redis()


def redis_slow(world: ChaosWorld, _: Upset, fault: Fault) -> Steps:
    """Slow Redis down, or freeze it."""
    if fault.strength < 0.5:
        world.slow_redis(2 * fault.strength)
        yield fault.seconds
        world.slow_redis(0)
    else:
        world.freeze_redis()
        yield fault.seconds
        world.thaw_redis()


def upstream(_: ChaosWorld, feed: Upset, fault: Fault) -> Steps:
    """Let upstream send much more of what it should not: poison, duplicates, disorder."""
    feed.burst(fault.kind, fault.seconds)
    yield fault.seconds


def clock_shift(world: ChaosWorld, _: Upset, fault: Fault) -> Steps:
    """Set a worker's clock hours back or forward, and right again."""
    world.shift_clock(fault.target, round((2 * fault.strength - 1) * LONGEST_SHIFT))
    yield fault.seconds
    world.shift_clock(fault.target, 0)


def disk_full(world: ChaosWorld, _: Upset, fault: Fault) -> Steps:
    """Fill the disk of a broker, which stops itself; give it space and start it again."""
    world.fill_disk()
    yield fault.seconds
    world.free_disk()
    world.start_broker(0)


KINDS: dict[str, Kind] = {
    "worker_kill": Kind(worker_kill, (0.2, 4.0), "worker"),
    "worker_freeze": Kind(worker_freeze, LONG, "worker"),
    "broker_kill": Kind(broker_kill, (0.2, 7.0), "broker"),
    "rebalance_storm": Kind(rebalance_storm, (8.0, 12.0), "group"),
    "net_delay": Kind(net_delay, (3.0, 8.0), "way"),
    "net_drop": Kind(net_drop, SHORT, "way"),
    "net_partition": Kind(net_partition, SHORT, "way"),
    "redis_kill": Kind(redis_kill, SHORT, "redis"),
    "redis_slow": Kind(redis_slow, SHORT, "redis"),
    "poison": Kind(upstream, SHORT, "feed"),
    "duplicates": Kind(upstream, SHORT, "feed"),
    "disorder": Kind(upstream, SHORT, "feed"),
    "clock_shift": Kind(clock_shift, (3.0, 6.0), "clock", CLOCK),
    "disk_full": Kind(disk_full, (2.0, 4.0), "broker", DISK),
}
_ONE_EACH = ("worker", "way", "clock")
OVERLAP_SHARE = 0.35
PAUSE = (0.2, 1.5)


def plan(
    seed: int, count: int, kinds: Sequence[str], workers: int, brokers: int
) -> tuple[Fault, ...]:
    """Return ``count`` faults: each kind once before any comes again, all else by the seed."""
    chance = Random(f"{seed}/faults")
    drawn: list[str] = []
    while len(drawn) < count:
        drawn += chance.sample(kinds, len(kinds))
    faults = []
    for number, kind in enumerate(drawn[:count]):
        # The disk that can be filled is the first broker's.
        targets = 1 if kind == "disk_full" else brokers if kind == "broker_kill" else workers
        faults.append(
            Fault(
                number,
                kind,
                chance.randrange(targets),
                round(chance.uniform(*KINDS[kind].seconds), 2),
                round(chance.random(), 3),
                round(chance.uniform(*PAUSE), 2),
                chance.random() < OVERLAP_SHARE,
            )
        )
    return tuple(faults)


def in_the_way(fault: Fault, others: Iterable[Fault]) -> bool:
    """Return whether ``fault`` would touch what one of ``others`` has for itself."""
    mine = KINDS[fault.kind].part
    for other in others:
        theirs = KINDS[other.kind].part
        if mine == theirs and (mine not in _ONE_EACH or fault.target == other.target):
            return True
        # A storm stops and starts every worker.
        if {mine, theirs} == {"group", "worker"}:
            return True
    return False


def describe(fault: Fault) -> str:
    """Return a fault in a few words."""
    part = KINDS[fault.kind].part
    whom = f" of worker {fault.target}" if part in _ONE_EACH else ""
    if part == "broker":
        whom = f" of broker {fault.target}"
    return f"{fault.kind}{whom}, {fault.seconds:.1f} s" + (", at once" if fault.overlaps else "")
