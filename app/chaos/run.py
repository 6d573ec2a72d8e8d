"""A run: a world, a running upstream, faults one upon the other, quiet, and the evidence."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from app.chaos.canaries import Canaries
from app.chaos.faults import KINDS, Fault, Steps, describe, in_the_way, plan
from app.chaos.feed import Feed
from app.chaos.reading import Listener, documents, last_by_key, read_topics
from app.chaos.upstream import Upstream, now_ms
from app.chaos.verdict import Evidence, Verdict, judge, keep, longest_wait
from app.chaos.world import ChaosWorld
from config.paths import load_config
from models.events import MEMBER_TOPICS
from models.rulebook import RuleBook

Say = Callable[[str], None]

CONFIG = Path(__file__).parent / "config"
# The session time-out that brokers allow by default: a busy machine does not exceed it by itself.
SETTINGS = {"allowed_lateness": "20s", "session_timeout_ms": "6000"}
PARTITIONS = 6
TICK_SECONDS = 0.05
RECOVERY_LIMIT = 90.0
"""Seconds after which the next fault strikes, whether the lanes have recovered or not."""
FLUSH_LIMIT = 60.0
SETTLE_LIMIT = 120.0
QUIET_MS = 2_000
# How a worker ends that could not go on safely.
SAFE_EXIT = 70
BYSTANDERS = ("redis", "feed", "clock")
"""Parts whose faults give no worker a reason to stop itself."""
LEAST_ORDERLY = 0.1
"""Of all members, the share whose records must have come in order, or a verdict says little."""
# A canary sent at the moment of healing may still go the old way.
AFTERMATH_MS = 500


class KindUnavailable(Exception):
    """Nothing that was asked for can be done on this machine; the message says why."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What was asked for."""

    kills: int
    seed: int
    workers: int
    brokers: int
    only: tuple[str, ...]
    """Kinds; all when empty."""


@dataclass(frozen=True, slots=True)
class Struck:
    """A fault that was done; epoch milliseconds."""

    fault: Fault
    since: int
    until: int
    recovery: float | None
    """Seconds: the longest that a canary sent from the strike until just after the end of the fault
    took to come out of its lane as a trigger. None: one never did."""


@dataclass(slots=True)
class Result:
    """All that a run found out."""

    orders: Orders
    unavailable: dict[str, str] = field(default_factory=dict)
    struck: list[Struck] = field(default_factory=list)
    sent: int = 0
    exits: list[int] = field(default_factory=list)
    """Of workers that ended by themselves."""
    stops: list[tuple[float, int | None]] = field(default_factory=list)
    """Seconds and exit code of each worker's stop at the end."""
    storm_progress: float | None = None
    """Of the canaries sent during the worst rebalance storm, the share that came out during it."""
    problems: list[str] = field(default_factory=list)
    """Whatever else must not be."""
    verdict: Verdict = field(default_factory=Verdict)
    seconds: float = 0.0

    @property
    def clean(self) -> bool:
        """Whether everything is as it must be."""
        return self.verdict.clean and not self.problems


def run(orders: Orders, folder: Path, say: Say) -> Result:
    """Do a run in ``folder``, which keeps logs, data and evidence; ``say`` is told as it goes.

    Raises ``StackError``, ``TopologyError`` or ``ReadingError`` when the surroundings fail, and
    ``KindUnavailable``.
    """
    began = time.monotonic()
    result = Result(orders)
    with ChaosWorld(
        folder,
        workers=orders.workers,
        brokers=orders.brokers,
        partitions=PARTITIONS,
        config=CONFIG,
        settings=SETTINGS,
        say=say,
    ) as world:
        kinds = _available(orders.only, world, result.unavailable)
        for kind, reason in result.unavailable.items():
            say(f"{kind} is left out: {reason}")
        faults = plan(orders.seed, orders.kills, kinds, orders.workers, orders.brokers)
        drill = _Drill(world, folder, result, say)
        try:
            drill.begin()
            drill.strike(faults)
            drill.end()
        finally:
            drill.close()
    result.seconds = time.monotonic() - began
    return result


def _available(only: Sequence[str], world: ChaosWorld, left_out: dict[str, str]) -> tuple[str, ...]:
    for kind in only or KINDS:
        reason = world.unavailable.get(KINDS[kind].needs)
        if reason is not None:
            left_out[kind] = reason
    kinds = tuple(kind for kind in only or KINDS if kind not in left_out)
    if not kinds:
        raise KindUnavailable("; ".join(f"{kind}: {why}" for kind, why in left_out.items()))
    return kinds


class _Drill:
    """The course of a run; everything is done from the one thread that the world wants."""

    def __init__(self, world: ChaosWorld, folder: Path, result: Result, say: Say) -> None:
        self._world = world
        self._result = result
        self._folder = folder
        self._say = say
        self._began = now_ms()
        self._settings = world.settings
        loaded = load_config(CONFIG)
        limits = self._settings.limits()
        self._book = RuleBook(loaded.rules, loaded.stages, loaded.policy, limits, loaded.audiences)
        feed = Feed(result.orders.seed, self._began, PARTITIONS, limits.allowed_lateness)
        self._canaries = Canaries(self._began, PARTITIONS)
        self._listener = Listener(self._settings, self._canaries)
        self._upstream = Upstream(self._settings, feed, self._canaries)
        self._under_way: list[_UnderWay] = []
        self._over: list[tuple[Fault, int, int]] = []
        self._healed = self._began

    # --- the course ---

    def begin(self) -> None:
        """Start the workers, and wait until every lane works."""
        for number in range(len(self._world.workers)):
            self._world.start_worker(number)
        self._recover("the start")
        self._healed = now_ms()

    def strike(self, faults: Sequence[Fault]) -> None:
        """Let one fault after the other strike, some before the one before is over."""
        for fault in faults:
            if not fault.overlaps:
                self._quiet()
            self._pass(fault.pause)
            if in_the_way(fault, (one.fault for one in self._under_way)):
                self._quiet()
            self._begin(fault, len(faults))
        self._quiet()

    def end(self) -> None:
        """Stop upstream, wait until everything that is due has come, stop the workers; judge."""
        result, world = self._result, self._world
        self._say("no more faults: upstream ends, and what is due is waited for")
        result.problems += self._upstream.end(FLUSH_LIMIT)
        result.sent = self._upstream.sent
        last = now_ms()
        until = last + longest_wait(self._book)
        self._until(lambda: now_ms() > until and self._canaries.all_back(), SETTLE_LIMIT)
        result.struck = list(map(self._recovery, self._over))
        storms = [one for one in result.struck if one.fault.kind == "rebalance_storm"]
        shares = [self._canaries.progress(one.since, one.until) for one in storms]
        result.storm_progress = min((one for one in shares if one is not None), default=None)
        limit = time.monotonic() + SETTLE_LIMIT
        while True:
            self._until(self._is_quiet, SETTLE_LIMIT)
            evidence = self._evidence(until)
            result.verdict = judge(evidence, self._book)
            if not result.verdict.unfinished or time.monotonic() > limit:
                break
            self._pass(1.0)
        for number, worker in enumerate(world.workers):
            result.exits += worker.exits
            result.stops.append((world.stop_worker(number), worker.last_exit))
        for code in result.exits:
            if code != SAFE_EXIT:
                self._problem(f"a worker ended by itself with {code}")
        if result.exits and all(KINDS[one.fault.kind].part in BYSTANDERS for one in result.struck):
            self._problem("workers ended by themselves, though nothing kept them from working")
        for number, (_, asked) in enumerate(result.stops):
            if asked != 0:
                self._problem(f"worker {number}, asked to stop, ended with {asked}")
        # Nothing may be said on the way out that is wrong either; documents are as they were: who
        # stops leaves its last updates to be written by whoever starts next.
        whole = self._evidence(until)
        evidence = replace(whole, updates=evidence.updates, documents=evidence.documents)
        keep(evidence, self._folder)
        result.verdict = judge(evidence, self._book)
        orderly, members = len(result.verdict.equality.orderly), result.verdict.members
        if orderly < LEAST_ORDERLY * members:
            self._problem(f"of {members} members only {orderly} could be judged to the last field")

    def close(self) -> None:
        """Stop the threads."""
        self._upstream.end(0)
        self._listener.close()

    # --- faults ---

    def _begin(self, fault: Fault, of: int) -> None:
        self._say(f"{fault.number + 1}/{of} {describe(fault)}")
        steps = KINDS[fault.kind].strike(self._world, self._upstream, fault)
        one = _UnderWay(fault, steps, now_ms(), 0.0)
        self._under_way.append(one)
        self._step(one)

    def _step(self, one: "_UnderWay") -> None:
        pause = next(one.steps, None)
        if pause is not None:
            one.next = time.monotonic() + pause
            return
        self._under_way.remove(one)
        self._healed = now_ms()
        self._over.append((one.fault, one.since, self._healed))

    def _recovery(self, over: tuple[Fault, int, int]) -> Struck:
        fault, since, until = over
        longest = self._canaries.longest(since, until + AFTERMATH_MS)
        return Struck(fault, since, until, None if longest is None else longest / 1000)

    def _quiet(self) -> None:
        """Wait until nothing is under way and every lane works."""
        self._until(lambda: not self._under_way, RECOVERY_LIMIT)
        if self._over:
            self._recover(self._over[-1][0].kind)

    def _recover(self, what: str) -> None:
        """Wait until every lane works again; go on all the same when that takes too long.

        That is no verdict: an event that never comes out is missing, and slowness is told.
        """
        healed = self._healed
        if not self._until(lambda: self._canaries.all_lanes_since(healed), RECOVERY_LIMIT):
            self._say(f"{RECOVERY_LIMIT:.0f} s after {what} some lane still stands still")

    def _problem(self, what: str) -> None:
        self._say(what)
        self._result.problems.append(what)

    # --- time ---

    def _tick(self) -> None:
        self._world.supervise()
        now = time.monotonic()
        for one in tuple(self._under_way):
            if one.next <= now:
                self._step(one)
        time.sleep(TICK_SECONDS)

    def _pass(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._tick()

    def _until(self, there: Callable[[], bool], seconds: float) -> bool:
        limit = time.monotonic() + seconds
        while not there():
            if time.monotonic() > limit:
                return False
            self._tick()
        return True

    # --- evidence ---

    def _is_quiet(self) -> bool:
        return now_ms() - self._listener.heard > QUIET_MS

    def _evidence(self, until: int) -> Evidence:
        names = ("triggers", "decisions", "dead-letters", "member-updates")
        found = read_topics(self._settings, (*MEMBER_TOPICS, *names))
        return Evidence(
            source=[record for name in MEMBER_TOPICS for record in found[name]],
            arrived=dict(self._upstream.arrived),
            triggers=found["triggers"],
            decisions=found["decisions"],
            letters=found["dead-letters"],
            updates=last_by_key(found["member-updates"]),
            documents=documents(self._settings),
            until=until,
            partitions=PARTITIONS,
        )


@dataclass(slots=True)
class _UnderWay:
    fault: Fault
    steps: Steps
    since: int
    next: float
