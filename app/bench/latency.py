"""How soon: deadlines on an otherwise silent system, and triggers of events at a steady rate."""

import shutil
import time
from pathlib import Path
from typing import Any

import orjson

from app.bench.place import Place, place, say, without_policy, worker
from app.bench.report import percentiles
from app.bench.watching import Watcher, watching
from app.event_reading import Record
from app.producing import EventProducer
from app.worker_process import WorkerProcess
from config.paths import RULES_FOLDER, package_dir
from config.settings import Settings

READY_SECONDS = 120.0
DEADLINES = 1_000
SPREAD_SECONDS = 4.0
WITHIN_MS = 5_000
WARM_UP_SECONDS = 2.0
PATIENCE_SECONDS = 30.0
QUICK_RULE = """\
rule: browse_abandoned
version: 1
about: Looked at items and did nothing for five seconds.
when:
  absence:
    after: {event: view_item}
    of: {event: [purchase, add_to_cart, begin_checkout]}
    within: 5s
reentry: always
expires_after: 24h
priority: 40
group: abandonment
play: item_reminder
"""


def latency(settings: Settings, rate: int, seconds: int) -> dict[str, Any]:
    """Measure lateness and latency with a real worker on the wall clock; return milliseconds.

    Raises ``BenchError`` when the worker does not work.
    """
    with place(settings, "latency", settings.partitions) as here:
        here.make_topics()
        config = quick_rules(here.folder)
        with worker(here, "--config", str(config)) as process, watching(here) as watcher:
            process.wait_until_ready(READY_SECONDS)
            say(f"{DEADLINES:,} deadlines, {WITHIN_MS // 1000} s after as many views")
            lateness = deadline_lateness(here, process, watcher, DEADLINES)
            say(f"{rate} events a second for {seconds} s")
            rated = _at_rate(here, process, watcher, rate, seconds)
    return {"deadline_lateness_ms": lateness, "event_to_trigger_ms": rated}


def quick_rules(folder: Path) -> Path:
    """Make a configuration: the shipped rules, ``browse_abandoned`` after 5 s, and no policy."""
    config = folder / "config"
    rules = config / RULES_FOLDER
    shutil.copytree(package_dir() / RULES_FOLDER, rules, ignore=lambda _, names: _no_rules(names))
    (rules / "browse_abandoned.yaml").write_text(QUICK_RULE)
    return without_policy(config)


def _no_rules(names: list[str]) -> list[str]:
    return [name for name in names if not name.endswith(".yaml") or name.endswith(".test.yaml")]


def deadline_lateness(
    here: Place, process: WorkerProcess, watcher: Watcher, count: int
) -> dict[str, Any]:
    """Let ``count`` members view an item, then be silent; return how late their triggers were.

    ``raised`` is the worker's ``raised_at``, ``read`` when a plain consumer had the trigger.
    Raises ``BenchError`` when the worker has ended.
    """
    producer = EventProducer(here.settings, linger_ms=0)
    began = time.monotonic()
    for number in range(count):
        _sleep_until(began + number * SPREAD_SECONDS / count)
        producer.send(_event("browse", "view_item", f"late-{number}", item_id=f"sku-{number}"))
    producer.flush()
    seen = watcher.wait(
        lambda one: one.rule == "browse_abandoned" and one.member.startswith("late-"),
        count,
        WITHIN_MS / 1000 + PATIENCE_SECONDS,
    )
    process.check()
    return {
        "asked": count,
        "raised": percentiles(one.raised - one.due for one in seen),
        "read": percentiles(one.read - one.due for one in seen),
    }


def _at_rate(
    here: Place, process: WorkerProcess, watcher: Watcher, rate: int, seconds: int
) -> dict[str, Any]:
    producer = EventProducer(here.settings, linger_ms=0)
    began = time.monotonic()
    warm_up = int(rate * WARM_UP_SECONDS)
    total = warm_up + rate * seconds
    cpu = 0.0
    for number in range(total):
        if number == warm_up:
            cpu = process.cpu_seconds
        _sleep_until(began + number / rate)
        name = f"warm-{number}" if number < warm_up else f"new-{number}"
        producer.send(_event("member", "register", name))
    took = time.monotonic() - began - WARM_UP_SECONDS
    used = process.cpu_seconds - cpu
    producer.flush()
    seen = watcher.wait(
        lambda one: one.rule == "welcome" and one.member.startswith("new-"),
        total - warm_up,
        PATIENCE_SECONDS,
    )
    process.check()
    return {
        "asked": total - warm_up,
        "produced_per_second": round((total - warm_up) / took),
        "worker_cores": round(used / took, 2),
        "raised": percentiles(one.raised - one.due for one in seen),
        "read": percentiles(one.read - one.due for one in seen),
    }


def _event(topic: str, kind: str, member: str, **fields: str) -> Record:
    now = time.time_ns() // 1_000_000
    event = {"type": kind, "member_id": member, "occurred_at": now, **fields}
    return Record(topic, member.encode(), now, orjson.dumps(event))


def _sleep_until(moment: float) -> None:
    ahead = moment - time.monotonic()
    if ahead > 0:
        time.sleep(ahead)
