"""Every alert is seen to fire and to clear: two real workers, real faults, a real Prometheus.

The rules are those of ``config/prometheus`` at a quicker pace, and who is told is told by a real
Alertmanager. The faults come in acts, each of which waits for its alerts, takes the faults away and
goes on, whatever it has not seen: that fails the test of that alert alone. What cannot be had in
seconds is brought about by its nearest cause:

- weeks of what is usual (feeds, breaker) are told to the workers by the note in Redis from which a
  restarted worker goes on; a silent feed clears as one that is given up after a week;
- a model that is old, and drift, are records in ``churn-model`` as a trainer writes them; that no
  newer one is made comes from a log of questions that has lost what the model was made of;
- a defect of the engine and a clock that is wrong are planted in the workers' processes;
- a broker that tells of records and does not give them is one with a quota of a byte a second;
- the disk is a small one that the test mounts and fills, if it is root.
"""

import os
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import NamedTuple, cast

import msgspec
import pytest
from alert_kit import Watch, program, wait, watch
from live_kit import Upstream, event, get, now_ms
from prometheus_client.parser import text_string_to_metric_families
from quota import starved
from redis import Redis
from worker_kit import World

from agents.lessons import Published
from app.alerting.alerts import ALERTS
from app.alerting.kinds import Alert
from app.chaos import clock
from app.chaos.disk import Disk
from app.chaos.world import ChaosWorld
from app.metric_list import RECORDS, STARTED
from app.redis_store import key_prefix
from models.guard import FORMAT, Learnt
from models.model import Decision
from models.rates import GONE, Seen, Usual
from models.times import DAY, HOUR, SECOND
from models.training import Trainer
from models.volumes import Volume

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.prometheus,
    pytest.mark.kafka,
    pytest.mark.slow,
    pytest.mark.timeout(1200),
]

PARTITIONS = 4
PATIENCE = 90.0
# Seconds that every byte takes, either way; with the longer one no worker becomes ready.
SLOW, TOO_SLOW = 0.3, 1.5
POLICY = """
consent: opt_out
channels: [app_push, sms, email, wechat]
feeds: {learn: 14d}
breaker: {times: 5, at_least: 50, learn: 14d}
"""
RULES = {
    "welcome": "when: {event: register}\nreentry: once\n",
    "searched": "when: {event: search}\nreentry: once\n",
    "looked": """
when:
  absence:
    after: {event: view_item}
    of: {event: purchase}
    within: 5s
reentry: always
""",
}
RULE = """rule: {name}
version: 1
about: Something happened.
{when}
expires_after: 1d
priority: 40
play: something
"""
# Of each topic a lane has more of it than is fetched at a time.
BACKLOG, PADDING = 30_000, "x" * 2_000
DISK_ALERTS = ("DiskFilling", "DiskFull")
DISK_BYTES = 64 << 20
# Planted in every Python process that the workers are: a defect, and a clock that goes wrong.
PLANTED = """
import os
import time
true_ns = time.time_ns
wrong = os.environ.get("LIFECYCLE_DATA_DIR", "") + ".ahead"
def time_ns():
    return true_ns() + 30 * 10**9 * os.path.exists(wrong)
time.time_ns = time_ns
time.time = lambda: time_ns() / 1e9

import models.engine as engine
real = engine.handle
def handle(member, *rest):
    if member.id == "poison":
        raise RuntimeError("planted")
    return real(member, *rest)
engine.handle = handle
"""


@dataclass
class Load:
    """An upstream app that sends all the time; rates are events a second."""

    upstream: Upstream
    registers: float = 2
    views: float = 40
    bad: float = 0
    _enough: Event = field(default_factory=Event)
    _members: int = 0

    def run(self) -> None:
        owed = dict.fromkeys(("registers", "views", "bad"), 0.0)
        last = time.monotonic()
        while not self._enough.wait(0.1):
            now = time.monotonic()
            for name in owed:
                owed[name] += getattr(self, name) * (now - last)
                while owed[name] >= 1:
                    owed[name] -= 1
                    self._send(name)
            last = now

    def _send(self, name: str) -> None:
        self._members += 1
        if name == "registers":
            self.upstream.tell(event("register", f"new{self._members}"))
        elif name == "views":
            self.upstream.tell(event("view_item", f"regular{self._members % 10}"))
        else:
            self.upstream.send("browse", b"not an event", b"somebody")

    def stop(self) -> None:
        self._enough.set()


@dataclass
class Stage:
    """Everything that the acts are played with, and what has not been seen."""

    world: ChaosWorld
    watch: Watch
    upstream: Upstream
    load: Load
    redis: "Redis[bytes]"
    data: Path
    """Where worker 0 keeps its files: on the small disk, if there is one."""
    no_disk: str | None
    began: float = field(default_factory=time.time)
    act_began: float = 0.0
    lines: list[str] = field(default_factory=list)
    unseen: dict[str, str] = field(default_factory=dict)
    """Alert -> what was waited for in vain, and how everything was then."""

    def lacks(self, alert: str) -> str | None:
        """Why this machine cannot bring an alert about."""
        return self.no_disk if alert in DISK_ALERTS else None

    def play(self, act: "Act") -> None:
        """Play an act: it cannot fail, but its alerts then have not been seen."""
        try:
            if act.by_a_fault:
                self._all(act.alerts, lambda name: name not in self.watch.states(), "is quiet")
                self.act_began = time.time()
            act.faults(self)
        except Exception:
            broken = traceback.format_exc()
            self.say(broken)
            for name in act.alerts:
                self.unseen.setdefault(name, broken)

    def fires(self, *names: str) -> None:
        """Wait for alerts of this act, all of them together."""
        heard = self.watch.receivers
        self._all(names, lambda name: heard.fired(name, self.act_began), "fires")

    def clears(self, *names: str) -> None:
        self._all(names, self.watch.receivers.cleared, "clears")

    def until(self, look: Callable[[], bool], what: str) -> None:
        """Wait for what an act needs in order to go on."""

        def seen() -> bool:
            # A worker that cannot go on safely ends; somebody starts it again.
            self.world.supervise()
            return look()

        wait(seen, PATIENCE, lambda: self._how_all_is(what))
        self.say(what)

    def say(self, line: str) -> None:
        self.lines.append(f"{time.time() - self.began:6.1f} {line}")

    def _all(self, names: Iterable[str], look: Callable[[str], bool], what: str) -> None:
        waiting = [name for name in names if self.lacks(name) is None and name not in self.unseen]

        def seen() -> bool:
            self.world.supervise()
            for name in list(waiting):
                if look(name):
                    waiting.remove(name)
                    self.say(f"{name} {what}")
            return not waiting

        with suppress(AssertionError):
            wait(seen, PATIENCE, str)
        for name in waiting:
            self.say(f"{name} {what}: NOT SEEN")
            self.unseen[name] = self._how_all_is(f"{name} {what}")

    def _how_all_is(self, what: str) -> str:
        told = [
            f"{one.at - self.began:6.1f} {one.status} {one.name} {one.labels}"
            for one in self.watch.receivers.told
        ]
        logs = [
            "\n".join(worker.log.read_text(errors="replace").splitlines()[-15:])
            for worker in self.world.workers
        ]
        return "\n".join(
            [f"not seen: {what}", str(self.watch.states()), *self.lines, "---", *told, *logs]
        )


class Act(NamedTuple):
    """Faults that do not disturb each other, and the alerts that they bring about."""

    alerts: tuple[str, ...]
    by_a_fault: bool
    """Whether they are quiet until then."""
    faults: Callable[[Stage], None]


ACTS: list[Act] = []


def act(
    *alerts: str, by_a_fault: bool = True
) -> Callable[[Callable[[Stage], None]], Callable[[Stage], None]]:
    """Have a function played, in the order of this file, to bring alerts about."""

    def played(faults: Callable[[Stage], None]) -> Callable[[Stage], None]:
        ACTS.append(Act(alerts, by_a_fault, faults))
        return faults

    return played


def configuration(folder: Path) -> Path:
    rules = folder / "rules"
    rules.mkdir(parents=True)
    (folder / "policy.yaml").write_text(POLICY)
    for name, when in RULES.items():
        (rules / f"{name}.yaml").write_text(RULE.format(name=name, when=when))
    return folder


def learnt() -> Learnt:
    """Weeks of a shop: nobody heard from the tills for a week, and few searches made a trigger."""
    now = now_ms()
    usual = Usual(now - 60 * DAY, [100.0] * 168, [4] * 168)
    gone_at = now + 90 * SECOND
    silent = gone_at - GONE
    return Learnt(
        FORMAT,
        now,
        [("purchase", "pos", usual)],
        [("purchase", "pos", silent, Seen(silent, now - HOUR, 0.0, 1000.0))],
        now // DAY - 30,
        {},
        {},
        {"searched": Volume(days=20, triggers=20.0, events=1000.0)},
    )


def model(valid_from: int, *decisions: Decision) -> bytes:
    """A record of ``churn-model``."""
    trainer = Trainer(30)
    made = msgspec.structs.replace(trainer.close(valid_from - 1), decisions=decisions)
    lanes = (valid_from - 1,) * PARTITIONS
    # Nothing is learned before the log has come to where it once had been.
    return msgspec.json.encode(Published(made, trainer.checkpoint(), 0, 1 << 40, lanes))


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """All acts have been played, and all that they brought about has been waited for to clear."""
    for name in ("prometheus", "prometheus-alertmanager"):
        program(name)
    with ExitStack() as left:
        on = left.enter_context(prepared(tmp_path_factory.mktemp("alerts")))
        for one in ACTS:
            on.play(one)
        on.clears(*(alert.name for alert in ALERTS))
        print("\n".join(on.lines))
    return on


@contextmanager
def prepared(folder: Path) -> Iterator[Stage]:
    """Two workers with some load, and Prometheus, which has seen both."""
    planted = folder / "planted"
    planted.mkdir()
    (planted / "sitecustomize.py").write_text(PLANTED)
    path = os.pathsep.join(filter(None, [str(planted), os.environ.get("PYTHONPATH")]))
    with ExitStack() as left, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", path)
        # libfaketime takes a lock for every look at the clock: where others want the processor,
        # workers under it stand for many seconds.
        patch.setattr(clock, "find_library", lambda: None)
        world = left.enter_context(
            ChaosWorld(
                folder / "world",
                workers=2,
                partitions=PARTITIONS,
                config=configuration(folder / "shop"),
                settings={"assume_consent": "true", "session_timeout_ms": "8000"},
                say=lambda _: None,
            )
        )
        data = folder / "world" / "worker-0"
        data.mkdir()
        disk = Disk(data, DISK_BYTES)
        no_disk = disk.mount()
        left.callback(disk.unmount)
        redis = Redis.from_url(world.settings.redis)
        left.callback(redis.close)
        upstream = Upstream(cast(World, _Address(world)))
        upstream.send("churn-model", model(now_ms() // DAY - 3), b"0")
        upstream.flush()
        note = f"{key_prefix(world.settings.app_id)}note:guard"
        redis.set(note, msgspec.msgpack.encode(learnt()))
        for number in (0, 1):
            world.start_worker(number)
        wait(lambda: all(w.ready() for w in world.workers), PATIENCE, lambda: "no worker is ready")
        load = Load(upstream)
        thread = Thread(target=load.run)
        thread.start()
        left.callback(thread.join)
        left.callback(load.stop)
        targets = [address(world, number) for number in (0, 1)]
        seen = left.enter_context(watch(folder / "watch", targets))
        wait(lambda: len(seen.query("up == 1")) == 2, PATIENCE, lambda: "Prometheus sees no worker")
        yield Stage(world, seen, upstream, load, redis, data, no_disk)


@dataclass(frozen=True)
class _Address:
    """What ``Upstream`` asks of a world."""

    world: ChaosWorld

    @property
    def broker(self) -> str:
        return self.world.broker

    def topic(self, name: str) -> str:
        return self.world.settings.topic(name)


def address(world: ChaosWorld, number: int) -> str:
    """Host and port where a worker answers, whichever process it is."""
    return world.workers[number].log.read_text().rpartition("serving on http://")[2].split()[0]


def started(on: Stage, number: int) -> float | None:
    """When a worker was started, as Prometheus has seen it; None when it does not see it."""
    instance = address(on.world, number)
    found = on.watch.query(f'{STARTED.name}{{instance="{instance}"}}')
    return float(found[0]["value"][1]) if found else None


def taken(world: ChaosWorld, number: int) -> float:
    """How many records a worker has folded since it was started."""
    _, text = get(f"http://{address(world, number)}/metrics")
    return sum(
        sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
        if sample.name == RECORDS.name
    )


def fill(folder: Path, share: float) -> None:
    """Have so much of the disk in use."""
    room = os.statvfs(folder)
    with (folder / "ballast").open("ab") as file:
        ballast = os.fstat(file.fileno()).st_size
        used = (room.f_blocks - room.f_bfree) * room.f_frsize - ballast
        wanted = int(share * room.f_blocks * room.f_frsize) - used
        if wanted > ballast:
            os.posix_fallocate(file.fileno(), 0, wanted)
        else:
            file.truncate(max(wanted, 0))


@contextmanager
def frozen_redis(on: Stage) -> Iterator[None]:
    on.world.freeze_redis()
    try:
        yield
    finally:
        on.world.thaw_redis()


@contextmanager
def wrong_clock(on: Stage, number: int) -> Iterator[None]:
    wrong = on.data.with_name(f"worker-{number}.ahead")
    wrong.touch()
    try:
        yield
    finally:
        wrong.unlink()


@contextmanager
def filling_disk(on: Stage) -> Iterator[None]:
    if on.no_disk is not None:
        yield
        return
    fill(on.data, 0.9)
    try:
        yield
    finally:
        fill(on.data, 0)


@contextmanager
def bad_records(on: Stage) -> Iterator[None]:
    on.load.bad = 20
    try:
        yield
    finally:
        on.load.bad = 0


@contextmanager
def slow_network(on: Stage) -> Iterator[None]:
    for proxy in on.world.proxies:
        proxy.delay(SLOW)
    try:
        yield
    finally:
        for proxy in on.world.proxies:
            proxy.delay(0)


@contextmanager
def load(on: Stage, *, registers: float, views: float) -> Iterator[None]:
    before = on.load.registers, on.load.views
    on.load.registers, on.load.views = registers, views
    try:
        yield
    finally:
        on.load.registers, on.load.views = before


# --- the acts ---


@act(
    *("EngineDefect", "DeadLetters", "DeadLettersMany", "ModelDrift", "ClockAhead"),
    *("DiskFilling", "DiskFull", "RedisAway", "RedisBehind", "ObserverBehind"),
)
def much_goes_wrong_that_does_not_stop_the_lanes(on: Stage) -> None:
    today = now_ms() // DAY
    drift = Decision(today - 1, "drift", "so")
    with bad_records(on), wrong_clock(on, 1), filling_disk(on), frozen_redis(on):
        on.upstream.send("churn-model", model(today - 3, drift), b"0")
        on.upstream.tell(event("view_item", "poison"))
        on.fires("EngineDefect", "DeadLetters", "DeadLettersMany", "ModelDrift", "ClockAhead")
        on.fires("DiskFilling")
        if on.no_disk is None:
            fill(on.data, 0.98)
        on.fires("RedisAway", "RedisBehind", "ObserverBehind", "DiskFull")
        if on.no_disk is None:
            # Of a disk that is full nobody is told that it fills, nor that it does no more.
            fill(on.data, 0.9)
            on.clears("DiskFull")
    on.upstream.send("churn-model", model(today - 3), b"0")


@act("FeedSilent", "ModelStale", by_a_fault=False)
def the_workers_have_found_a_silent_feed_and_an_old_model(on: Stage) -> None:
    on.fires("FeedSilent", "ModelStale")
    on.upstream.send("churn-model", model(now_ms() // DAY), b"1")


@act("BreakerOpen")
def a_rule_runs_away(on: Stage) -> None:
    for number in range(300):
        on.upstream.tell(event("search", f"searcher{number}"))
    on.fires("BreakerOpen")
    for number in range(6000):
        on.upstream.tell(event("search", f"searcher{number % 300}"))


@act("RedisLost")
def redis_is_emptied(on: Stage) -> None:
    on.redis.flushall()
    on.fires("RedisLost")


@act("LanesStuck", "Lagging", "DeadlinesOverdue", "TriggersLate")
def in_the_middle_of_a_backlog_the_brokers_give_no_more(on: Stage) -> None:
    world = on.world
    with slow_network(on):
        before = [taken(world, number) for number in (0, 1)]
        for number in range(BACKLOG):
            kind, member = ("view_item", "purchase")[number % 2], f"regular{number % 2000}"
            on.upstream.tell(event(kind, member, padding=PADDING))
        # Lanes then have something of one topic, and know that there is more of another.
        on.until(
            lambda: all(taken(world, number) > before[number] + 300 for number in (0, 1)),
            "a part of the backlog folded",
        )
        with starved(world.broker, f"{world.settings.app_id}-consumer"):
            on.fires("LanesStuck", "Lagging", "DeadlinesOverdue")
    # A broker that has put off an answer keeps to that, whatever the quota is by now.
    for proxy in world.proxies:
        proxy.drop()
    on.fires("TriggersLate")
    on.clears("LanesStuck", "Lagging", "DeadlinesOverdue")


@act("TriggersMany")
def far_more_than_usual_is_said(on: Stage) -> None:
    with load(on, registers=60, views=0):
        on.fires("TriggersMany")


@act("WorkerRestarting", "TriggersFew")
def nothing_is_said_and_a_worker_ends_again_and_again(on: Stage) -> None:
    with load(on, registers=0, views=0):
        for _ in range(3):
            before = started(on, 1)
            on.world.kill_worker(1)
            on.world.start_worker(1)
            on.until(lambda before=before: started(on, 1) not in (None, before), "a restart seen")
        on.fires("WorkerRestarting", "TriggersFew")
    # While no worker answers nobody would be told that it is over.
    with load(on, registers=20, views=40):
        on.clears("TriggersFew")


@act("WorkerDown", "WorkerGone", "NoWorker", "LanesMissing", "WorkerNotReady", "RecoveryLong")
def one_worker_is_lost_then_all_and_they_come_back_over_a_slow_network(on: Stage) -> None:
    world = on.world
    world.kill_worker(1)
    on.fires("WorkerDown")
    # So it is where workers are discovered: the name of one that has ended is gone.
    on.watch.discovers([address(world, 0)])
    on.fires("WorkerGone")
    world.kill_worker(0)
    on.fires("NoWorker")
    with slow_network(on):
        for number in (0, 1):
            world.start_worker(number)
        on.watch.discovers(address(world, number) for number in (0, 1))
        on.until(lambda: len(on.watch.query("up == 1")) == 2, "both workers answer")
        for proxy in world.proxies:
            proxy.delay(TOO_SLOW)
        on.fires("LanesMissing", "WorkerNotReady")
        for proxy in world.proxies:
            proxy.delay(SLOW)
        on.fires("RecoveryLong")
    on.until(lambda: all(worker.ready() for worker in world.workers), "all workers ready")


# --- what was seen ---


def test_the_acts_bring_about_every_alert_once() -> None:
    played = [name for one in ACTS for name in one.alerts]
    assert sorted(played) == sorted(alert.name for alert in ALERTS)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_every_alert_fires_and_clears(stage: Stage, alert: Alert) -> None:
    reason = stage.lacks(alert.name)
    if reason is not None:
        pytest.skip(reason)  # no package makes up for the right to mount
    assert alert.name not in stage.unseen, stage.unseen[alert.name]
    told = stage.watch.receivers.of(alert.name)
    assert list(dict.fromkeys(one.status for one in told)) == ["firing", "resolved"]
    for one in told:
        assert one.receiver == one.labels["severity"] == alert.severity.value
        assert one.annotations["runbook"] == alert.runbook
        for sentence in (one.annotations["summary"], one.annotations["description"]):
            assert not {"{{", "<no value>", "<error", "NaN"} & set(sentence.split())
            assert sentence.endswith(".")
