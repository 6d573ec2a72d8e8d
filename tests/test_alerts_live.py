"""Alerts are seen to fire and to clear: two real workers, real faults, a real Prometheus.

The rules are those of ``config/prometheus`` at a quicker pace. What cannot be had in seconds is
brought about by its nearest cause:

- weeks of what is usual (feeds, breaker) are told to the workers by the note in Redis from which a
  restarted worker goes on; a silent feed clears as one that is given up after a week;
- a model that is old, and drift, are records in ``churn-model`` as a trainer writes them; that no
  newer one is made comes from a log of questions that has lost what the model was made of;
- a defect of the engine is planted in the workers' processes;
- the disk is a small one that the test mounts and fills, if it is root.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any, cast

import msgspec
import pytest
from alert_kit import Told, Watch, program, wait, watch
from demanding import demanded
from live_kit import Upstream, event, get, now_ms
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis
from worker_kit import World

from agents.lessons import Published
from app.alerting.alerts import ALERTS
from app.alerting.kinds import Alert
from app.chaos.disk import Disk
from app.chaos.world import CLOCK, ChaosWorld
from app.metric_list import RECORDS
from app.redis_store import key_prefix
from models.guard import FORMAT, Learnt
from models.model import Decision
from models.rates import GONE, Seen, Usual
from models.times import DAY, HOUR, SECOND
from models.training import Trainer
from models.volumes import Volume

pytestmark = [pytest.mark.chaos, pytest.mark.prometheus, pytest.mark.kafka, pytest.mark.slow]

PARTITIONS = 4
PATIENCE = 90.0
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
# Planted in every Python process that the workers are.
DEFECT = """
import models.engine as engine
real = engine.handle
def handle(member, *rest):
    if member.id == "poison":
        raise RuntimeError("planted")
    return real(member, *rest)
engine.handle = handle
"""
# A lane's share of the backlog is more than it fetches or holds at a time.
PADDING = "x" * 2_000
# Seen on series that are made only (tests/data/alerts).
UNPLAYED = {
    "LanesStuck": "a broker that tells of records and does not give them is not had in seconds: "
    "one that is away tells nothing either",
}
DISK_ALERTS = ("DiskFilling", "DiskFull")


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
            self.upstream.tell(event("view_item", f"regular{self._members % 20}"))
        else:
            self.upstream.send("browse", b"not an event", b"somebody")

    def stop(self) -> None:
        self._enough.set()


@dataclass
class Stage:
    """Everything that the drama is played with."""

    world: ChaosWorld
    watch: Watch
    upstream: Upstream
    load: Load
    data: Path
    """Where worker 0 keeps its files: on the small disk, if there is one."""
    no_disk: str | None
    began: float = field(default_factory=time.monotonic)
    lines: list[str] = field(default_factory=list)

    def say(self, line: str) -> None:
        self.lines.append(f"{time.monotonic() - self.began:6.1f} {line}")

    def until(self, look: Callable[[], bool], what: str) -> None:
        def seen() -> bool:
            # A worker that cannot go on safely ends; somebody starts it again.
            self.world.supervise()
            return look()

        wait(seen, PATIENCE, lambda: self._why_not(what))
        self.say(what)

    def fires(self, *names: str, since: float = 0.0) -> None:
        for name in names:
            self.until(lambda name=name: self.heard.fired(name, since), f"{name} fires")

    def clears(self, *names: str) -> None:
        for name in names:
            self.until(lambda name=name: self.heard.cleared(name), f"{name} clears")

    @property
    def heard(self) -> Any:
        return self.watch.receivers

    def ready(self, *workers: int) -> None:
        self.until(
            lambda: all(self.world.workers[i].ready() for i in workers), f"workers {workers} ready"
        )

    def _why_not(self, what: str) -> str:
        told = [f"{t.at - self.began:6.1f} {t.status} {t.name} {t.labels}" for t in self.heard.told]
        logs = [
            "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            for log in sorted(self.data.parent.glob("worker-*.log"))
        ]
        return "\n".join(
            [f"not seen: {what}", str(self.watch.states()), *self.lines, "---", *told, *logs]
        )


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
    gone_at = now + 35 * SECOND
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
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The drama has been played."""
    for name in ("prometheus", "prometheus-alertmanager"):
        program(name)
    folder = tmp_path_factory.mktemp("alerts")
    planted = folder / "planted"
    planted.mkdir()
    (planted / "sitecustomize.py").write_text(DEFECT)
    path = os.pathsep.join(filter(None, [str(planted), os.environ.get("PYTHONPATH")]))
    with ExitStack() as left, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", path)
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
        disk = Disk(data)
        no_disk = disk.mount()
        left.callback(disk.unmount)
        redis = Redis.from_url(world.settings.redis)
        note = f"{key_prefix(world.settings.app_id)}note:guard"
        redis.set(note, msgspec.msgpack.encode(learnt()))
        left.callback(redis.close)
        upstream = Upstream(cast(World, _Address(world)))
        load = Load(upstream)
        upstream.send("churn-model", model(now_ms() // DAY - 3), b"0")
        upstream.flush()
        for number in (0, 1):
            world.start_worker(number)
        wait(lambda: all(w.ready() for w in world.workers), PATIENCE, lambda: "no worker is ready")
        thread = Thread(target=load.run)
        thread.start()
        left.callback(thread.join)
        left.callback(load.stop)
        targets = [f"127.0.0.1:{port(world, number)}" for number in (0, 1)]
        seen = left.enter_context(watch(folder / "watch", targets))
        on = Stage(world, seen, upstream, load, data, no_disk)
        try:
            play(on, redis)
        finally:
            print("\n".join(on.lines))
        yield on


@dataclass(frozen=True)
class _Address:
    """What ``Upstream`` asks of a world."""

    world: ChaosWorld

    @property
    def broker(self) -> str:
        return self.world.broker

    def topic(self, name: str) -> str:
        return self.world.settings.topic(name)


def port(world: ChaosWorld, number: int) -> int:
    log = world.workers[number].log.read_text()
    return int(log.rpartition("serving on http://127.0.0.1:")[2].split()[0])


def taken(world: ChaosWorld, number: int) -> float:
    """How many records a worker has folded since it was started."""
    try:
        _, text = get(f"http://127.0.0.1:{port(world, number)}/metrics")
    except OSError:
        return 0
    return sum(
        sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
        if sample.name == RECORDS.name
    )


def play(on: Stage, redis: "Redis[bytes]") -> None:
    """All faults, those that do not disturb each other at the same time."""
    world = on.world
    time.sleep(12)  # the guard reads what it had learnt after ten seconds
    told = {"FeedSilent", "ModelStale"}
    on.until(lambda: on.watch.states().keys() <= told, "all is quiet")

    # Much goes wrong that does not stop the lanes.
    today = now_ms() // DAY
    on.upstream.send("churn-model", model(today - 3, Decision(today - 1, "drift", "so")), b"0")
    on.upstream.tell(event("view_item", "poison"))
    if CLOCK not in world.unavailable:
        world.shift_clock(1, 30)
    if on.no_disk is None:
        fill(on.data, 0.9)
    world.freeze_redis()
    on.load.bad = 20
    for number in range(300):
        on.upstream.tell(event("search", f"searcher{number}"))
    on.fires("EngineDefect", "DeadLetters", "FeedSilent", "ModelDrift")
    if on.no_disk is None:
        on.fires("DiskFilling")
        fill(on.data, 0.98)
    on.fires("DeadLettersMany", "RedisAway", "RedisBehind", "ObserverBehind")
    world.thaw_redis()
    on.load.bad = 0
    if CLOCK not in world.unavailable:
        on.fires("ClockAhead")
        world.shift_clock(1, 0)
    on.fires("BreakerOpen")
    for number in range(6000):
        on.upstream.tell(event("search", f"searcher{number % 300}"))
    on.fires("ModelStale")
    on.upstream.send("churn-model", model(today - 3), b"0")
    on.upstream.send("churn-model", model(today), b"1")
    if on.no_disk is None:
        on.fires("DiskFull")
        fill(on.data, 0)
    redis.delete(f"{key_prefix(world.settings.app_id)}projected")
    on.fires("RedisLost")

    # Far more than usual is said, then nothing.
    on.load.registers, on.load.views = 60, 0
    on.fires("TriggersMany", since=time.monotonic())
    on.load.registers = 0

    # A worker is lost again and again.
    world.kill_worker(1)
    on.fires("LanesMissing", "WorkerDown")
    for _ in range(2):
        world.start_worker(1)
        on.ready(1)
        world.kill_worker(1)
    world.start_worker(1)
    on.ready(1)
    on.fires("WorkerRestarting", "TriggersFew")

    # All are lost, and much waits when they come back over a network that is slow, and then gone.
    on.load.registers, on.load.views = 2, 40
    for number in (0, 1):
        world.kill_worker(number)
    for number in range(60_000):
        kind, member = ("view_item", "purchase")[number % 2], f"regular{number % 2000}"
        on.upstream.tell(event(kind, member, padding=PADDING))
    on.fires("NoWorker")
    for number in (0, 1):
        world.proxies[number].delay(0.3)
        world.start_worker(number)
    on.fires("WorkerNotReady")
    on.ready(0, 1)
    # In the middle of a backlog, so that lanes know of records that they cannot get.
    on.until(lambda: min(taken(world, 0), taken(world, 1)) > 300, "a part of the backlog folded")
    for proxy in world.proxies:
        proxy.partition()
    on.fires("RecoveryLong", "DeadlinesOverdue", "Lagging")
    for proxy in world.proxies:
        proxy.delay(0)
        proxy.heal()
    on.fires("TriggersLate")

    skipped = set(UNPLAYED) | (set(DISK_ALERTS) if on.no_disk else set())
    skipped |= {"ClockAhead"} if CLOCK in world.unavailable else set()
    on.clears(*(alert.name for alert in ALERTS if alert.name not in skipped))


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


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_every_alert_fires_and_clears(stage: Stage, alert: Alert) -> None:
    if alert.name in UNPLAYED:
        pytest.skip(UNPLAYED[alert.name])
    for reason in (
        stage.no_disk if alert.name in DISK_ALERTS else None,
        stage.world.unavailable.get(CLOCK) if alert.name == "ClockAhead" else None,
    ):
        if reason and demanded():
            pytest.fail(reason)
        if reason:
            pytest.skip(reason)
    told: list[Told] = [one for one in stage.heard.told if one.name == alert.name]
    assert told[0].status == "firing"
    assert told[-1].status == "resolved"
    for one in told:
        assert one.receiver == one.labels["severity"] == alert.severity.value
        assert one.annotations["runbook"] == alert.runbook
        for sentence in (one.annotations["summary"], one.annotations["description"]):
            assert not {"{{", "<no value>", "<error", "NaN"} & set(sentence.split())
            assert sentence.endswith(".")
