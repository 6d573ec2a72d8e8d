"""What a member weighs: as a row, in a worker, and in the index of deadlines."""

import tracemalloc
from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random
from typing import Any

from agents.deadlines import DeadlineIndex
from app.bench.made_rows import rows_of
from app.bench.place import PARTITIONS, place, say, worker
from app.bench.recovery import LIMIT_SECONDS, recovered
from app.bench.report import at
from app.event_reading import ReadingReport, read_events
from app.options import book_of
from config.paths import package_dir
from config.settings import Settings
from models.replay import Replay, in_order
from models.rulebook import RuleBook

SAMPLE = Path("data", "uci_sample.jsonl.gz")
WINDOW_MS = 90 * 86_400_000
KILOBYTES_2 = 2048
SEED = 1


def memory(settings: Settings, members: int, files: Sequence[Path]) -> dict[str, Any]:
    """Measure rows of the shipped sample and of ``files``, and a worker with ``members`` members.

    Raises ``BadLine`` and ``OSError`` for files that cannot be read, ``BenchError``.
    """
    book = book_of(None, settings)
    rows = []
    for file in (package_dir() / SAMPLE, *files):
        say(f"folding {file.name}")
        rows.append(row_sizes(file, book))
    say("starting a worker without members")
    with place(settings, "memory", settings.partitions) as here:
        here.make_topics()
        with worker(here) as process:
            process.wait_until_ready(LIMIT_SECONDS)
            empty = process.memory_mb("VmRSS")
    with recovered(settings, members) as full:
        held = full.process.memory_mb("VmRSS")
    per_member = (held - empty) * 2**20 / members
    return {
        "rows": rows,
        "worker": {
            "members": members,
            "rss_mb": round(held),
            "rss_mb_without_members": round(empty),
            "bytes_per_member": round(per_member),
            "row_bytes": round(full.row_bytes, 1),
        },
        "deadline_index_bytes_per_entry": round(index_bytes(members), 1),
    }


def row_sizes(file: Path, book: RuleBook) -> dict[str, Any]:
    """Fold an event file and return how large its members' rows are at its end."""
    run = Replay(book)
    for received in in_order(read_events([file], ReadingReport())):
        run.fold(received)
    sizes = sorted(len(row.body) for row in rows_of(run, book))
    return {
        "log": file.name,
        "members": len(sizes),
        "mean": round(sum(sizes) / len(sizes), 1),
        "p50": at(sizes, 0.5),
        "p99": at(sizes, 0.99),
        "max": sizes[-1],
        "below_2_kB": round(sum(size < KILOBYTES_2 for size in sizes) / len(sizes), 4),
    }


def index_bytes(entries: int) -> float:
    """Return what an entry of the lanes' indexes takes, with deadlines over the next 90 days."""
    keys = [b"mfilled-%08d" % number for number in range(entries)]
    dues = _dues(entries)
    tracemalloc.start()
    try:
        indexes = [DeadlineIndex(lambda _: None) for _ in range(PARTITIONS)]
        for number, (key, due) in enumerate(zip(keys, dues, strict=True)):
            indexes[number % PARTITIONS].arm(key, due)
        return tracemalloc.get_traced_memory()[0] / entries
    finally:
        tracemalloc.stop()


def _dues(entries: int) -> Iterable[int]:
    random = Random(SEED)
    return (random.randrange(WINDOW_MS) for _ in range(entries))
