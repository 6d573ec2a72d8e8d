"""How long a worker takes to have its members back, and what they weigh then."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from app.bench.made_rows import fill, filled, made_rows
from app.bench.place import place, say, worker
from app.options import book_of
from app.worker_process import WorkerProcess
from config.settings import Settings

LIMIT_SECONDS = 600.0
SETTLE_SECONDS = 2.0


class Recovered(NamedTuple):
    """A worker that has recovered, and what that took."""

    process: WorkerProcess
    row_bytes: float
    figures: dict[str, Any]


def recovery(settings: Settings, members: int) -> dict[str, Any]:
    """Measure the recovery of that many members; return the figures. Raises ``BenchError``."""
    with recovered(settings, members) as worker_:
        return worker_.figures


@contextmanager
def recovered(settings: Settings, members: int) -> Iterator[Recovered]:
    """Yield a worker that has just recovered that many members from a fresh changelog."""
    book = book_of(None, settings)
    say("making rows")
    rows = made_rows(book, time.time_ns() // 1_000_000)
    row_bytes = sum(len(row.body) for row in rows) / len(rows)
    with place(settings, "recovery", settings.partitions) as here:
        here.make_topics()
        fill(here, filled(rows, members))
        say("starting a worker")
        with worker(here) as process:
            took = process.wait_until_ready(LIMIT_SECONDS)
            ready, cpu = time.monotonic() - process.began, process.cpu_seconds
            time.sleep(SETTLE_SECONDS)
            figures = {
                "members": members,
                "changelog_records": took.rows,
                "row_bytes": round(row_bytes, 1),
                "recovery_seconds": took.seconds,
                "records_per_second": round(took.rows / max(took.seconds, 0.05)),
                "seconds_from_start": round(ready, 2),
                "cpu_seconds_from_start": round(cpu, 2),
                "rss_mb": round(process.memory_mb("VmRSS")),
                "peak_rss_mb": round(process.memory_mb("VmHWM")),
            }
            yield Recovered(process, row_bytes, figures)
