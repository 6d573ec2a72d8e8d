"""What lookups cost the engine, and the engine the lookups: over HTTP and straight from Redis.

The engine is first given a backlog, for its full speed; then events at half of that, without
lookups and with them. What is told of the engine is the share of those events that it had folded
when the last had been sent.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

from redis import Redis

from app.bench.lookups import Answered, Load, asking
from app.bench.place import BenchError, Place, place, say, without_policy, worker
from app.bench.report import percentiles
from app.bench.throughput import simulated_events
from app.demo.player import CommittedOffsets
from app.event_reading import Record
from app.producing import EventProducer, produce_all
from app.projection_keys import Generation, key_prefix
from app.worker_process import WorkerProcess
from config.settings import Settings

READY_SECONDS = 120.0
LIMIT_SECONDS = 600.0
LOOK_SECONDS = 0.1
BACKLOG_SHARE = 0.5
"""Of the events, what measures the engine's full speed."""


def serving(
    settings: Settings, events: int, seconds: int, http_rate: int, redis_rate: int
) -> dict[str, Any]:
    """Measure lookups with and without the engine working; times are milliseconds.

    Raises ``BenchError``.
    """
    log = simulated_events(events)
    backlog = log[: int(len(log) * BACKLOG_SHARE)]
    with place(settings, "serving", settings.partitions) as here:
        here.make_topics()
        config = without_policy(here.folder / "config")
        sender = EventProducer(here.settings)
        say(f"a backlog of {len(backlog):,} events")
        produce_all(sender, backlog, None)
        with (
            closing(CommittedOffsets(here.settings)) as folded,
            worker(here, "--config", str(config)) as process,
        ):
            process.wait_until_ready(READY_SECONDS)
            full = _full_speed(process, folded.count, len(backlog))
            ids = _projected(here, process)
            half = full / 2
            seconds = max(min(seconds, int((len(log) - len(backlog)) / half / 2)), 1)
            say(f"full speed {full:,.0f} events/s; {len(ids):,} members to look up")

            def lookups() -> Any:
                return asking(*_loads(here, process, ids, seconds, http_rate, redis_rate))

            say(f"lookups for {seconds} s, the engine idle")
            cpu = process.cpu_seconds
            with lookups() as asked:
                idle = [one.result() for one in asked]
            cpu = process.cpu_seconds - cpu
            rest = log[len(backlog) :]
            window = int(half * seconds)
            say(f"half speed for {seconds} s, without lookups")
            alone = _at_rate(process, sender, folded.count, rest[:window], half)
            say("the same with lookups")
            with lookups() as asked:
                beside = _at_rate(process, sender, folded.count, rest[window : 2 * window], half)
                busy = [one.result() for one in asked]
    return {
        "members": len(ids),
        "seconds": seconds,
        "worker_cpu_ms_per_http_lookup": round(cpu * 1000 / max(len(idle[0].milliseconds), 1), 3),
        "engine": {
            "full_speed": round(full),
            "half_speed": round(half),
            "alone": alone,
            "with_lookups": beside,
            "ratio": round(beside["events_per_second"] / alone["events_per_second"], 3),
        },
        "runs": [
            _row("http", http_rate, "idle", idle[0]),
            _row("http", http_rate, "half load", busy[0]),
            _row("redis", redis_rate, "idle", idle[1]),
            _row("redis", redis_rate, "half load", busy[1]),
        ],
    }


def _row(way: str, rate: int, engine: str, said: Answered) -> dict[str, Any]:
    return {
        "way": way,
        "asked_per_second": rate,
        "engine": engine,
        **percentiles(said.milliseconds),
        "missing": said.missing,
        "bad": said.bad,
    }


def _full_speed(process: WorkerProcess, folded: Callable[[], int], events: int) -> float:
    """Wait for the backlog; return events a second."""
    counts = [(time.monotonic(), folded())]
    while counts[-1][1] < events:
        process.check()
        if time.monotonic() - counts[0][0] > LIMIT_SECONDS:
            raise BenchError(f"the backlog is not folded after {LIMIT_SECONDS:.0f} s")
        time.sleep(LOOK_SECONDS)
        counts.append((time.monotonic(), folded()))
    # From the first commit seen on: before, lanes were taken over and code was warming up.
    first = next((one for one in counts if one[1]), counts[0])
    last = counts[-1]
    if last[1] == first[1]:
        raise BenchError("the backlog was too small to measure the engine by: ask for more events")
    return (last[1] - first[1]) / (last[0] - first[0])


def _projected(here: Place, process: WorkerProcess) -> list[str]:
    """Wait until Redis holds everybody; return the members' ids."""
    key = Generation(key_prefix(here.settings.app_id)).documents(anonymous=False)
    ends, before = time.monotonic() + LIMIT_SECONDS, -1
    with Redis.from_url(here.settings.redis) as redis:
        while time.monotonic() < ends:
            process.check()
            count = redis.hlen(key)
            if count and count == before:
                return [name.decode() for name in redis.hkeys(key)]
            before = count
            time.sleep(2.0)
    raise BenchError("Redis has no documents")


def _loads(
    here: Place,
    process: WorkerProcess,
    ids: Sequence[str],
    seconds: float,
    http_rate: int,
    redis_rate: int,
) -> list[tuple[Load, str | None]]:
    assert process.address is not None
    host, _, port = process.address.rpartition(":")
    there = urlsplit(here.settings.redis)
    key = Generation(key_prefix(here.settings.app_id)).documents(anonymous=False)
    return [
        (Load(host, int(port), ids, http_rate, seconds), None),
        (
            Load(there.hostname or "127.0.0.1", there.port or 6379, ids, redis_rate, seconds),
            key.decode() if isinstance(key, bytes) else key,
        ),
    ]


def _at_rate(
    process: WorkerProcess,
    sender: EventProducer,
    folded: Callable[[], int],
    records: Sequence[Record],
    rate: float,
) -> dict[str, Any]:
    """Send at a rate; return what was folded of it by the time that all was sent, a second."""
    before, began, cpu = folded(), time.monotonic(), process.cpu_seconds
    produce_all(sender, list(records), rate)
    took = time.monotonic() - began
    done = folded() - before
    figures = {
        "sent_per_second": round(len(records) / took),
        "events_per_second": round(done / took),
        "worker_cpu": round((process.cpu_seconds - cpu) / took, 2),
    }
    ends = time.monotonic() + LIMIT_SECONDS
    while folded() - before < len(records):
        process.check()
        if time.monotonic() > ends:
            raise BenchError("what was sent is not folded")
        time.sleep(LOOK_SECONDS)
    return figures
