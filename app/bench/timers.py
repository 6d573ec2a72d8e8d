"""Deadlines by the million: what arming one costs, and how late those that fire are."""

import gc
import time
from collections.abc import Callable
from random import Random
from typing import Any

from agents.deadlines import DeadlineIndex
from app.bench.latency import DEADLINES, deadline_lateness, quick_rules
from app.bench.made_rows import fill, filled, made_rows
from app.bench.place import place, say, worker
from app.bench.recovery import LIMIT_SECONDS
from app.bench.watching import watching
from app.options import book_of
from config.settings import Settings
from models.member import due_of

WINDOW_MS = 90 * 86_400_000
LATER_MS = 600_000
SEED = 1


def timers(settings: Settings, members: int) -> dict[str, Any]:
    """Measure the index alone, then a worker with one lane; return the figures.

    Raises ``BenchError`` when the worker does not work.
    """
    say("arming")
    figures: dict[str, Any] = {"members": members, **index_costs(members)}
    with place(settings, "timers", partitions=1) as here:
        here.make_topics()
        config = quick_rules(here.folder)
        book = book_of(config, here.settings)
        rows = made_rows(book, time.time_ns() // 1_000_000)
        armed = sum(due_of(row.body) is not None for row in rows) / len(rows)
        fill(here, filled(rows, members))
        with worker(here, "--config", str(config)) as process, watching(here) as watcher:
            process.wait_until_ready(LIMIT_SECONDS)
            say(f"{DEADLINES:,} deadlines among {members:,} members of one lane")
            lateness = deadline_lateness(here, process, watcher, DEADLINES)
    figures["armed_in_one_lane"] = round(armed * members)
    figures["deadline_lateness_ms"] = lateness
    return figures


def index_costs(entries: int) -> dict[str, float]:
    """Return microseconds per call of one index with deadlines spread over 90 days."""
    random = Random(SEED)
    dues = {b"mfilled-%08d" % n: random.randrange(WINDOW_MS) for n in range(entries)}
    index = DeadlineIndex(dues.get)
    keys = list(dues)
    # A worker's garbage collector looks at its members once in a long while; ours would each time.
    gc.disable()
    armed = _us_per_key(lambda key: index.arm(key, dues[key]), keys)
    for key in keys:
        dues[key] += LATER_MS
    again = _us_per_key(lambda key: index.arm(key, dues[key]), keys)
    began, fired = time.perf_counter(), 0
    while len(index):
        fired += index.pop(2 * WINDOW_MS) is not None
    popped = (time.perf_counter() - began) / fired * 1e6
    gc.enable()
    return {
        "arm_us": round(armed, 2),
        "rearm_later_us": round(again, 2),
        "fire_us": round(popped, 2),
    }


def _us_per_key(call: Callable[[bytes], None], keys: list[bytes]) -> float:
    began = time.perf_counter()
    for key in keys:
        call(key)
    return (time.perf_counter() - began) / len(keys) * 1e6
