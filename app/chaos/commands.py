"""``lifecycle chaos``: faults at random against the real thing, judged by the oracle."""

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException
from redis.exceptions import RedisError
from rich.console import Console

from app.chaos import report
from app.chaos.faults import KINDS
from app.chaos.reading import ReadingError
from app.chaos.run import KindUnavailable, Orders, run
from app.options import positive
from app.stack import StackError
from app.topology import TopologyError

if TYPE_CHECKING:
    from app.options import Subparsers

DONE, FAILED, BAD_USAGE = 0, 1, 2
KILLS = 20


def add_parsers(subparsers: "Subparsers") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "chaos",
        help="kill, freeze, cut off and starve real workers and brokers, and judge what they say",
        description="Start workers, Apache Kafka and Redis of its own, let events flow, let faults "
        "strike at random, and compare all triggers with those of the oracle. "
        f"Kinds of faults: {', '.join(KINDS)}.",
    )
    parser.add_argument("--kills", type=positive, default=KILLS, metavar="N", help="faults")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="of faults and events")
    parser.add_argument("--workers", type=positive, default=3, metavar="W")
    parser.add_argument("--brokers", type=int, choices=(1, 3), default=1)
    parser.add_argument(
        "--only", type=_kinds, default=(), metavar="KIND,KIND", help="no other faults than these"
    )
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="leave logs, events and triggers in this folder"
    )
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.set_defaults(run=run_chaos)


def run_chaos(arguments: argparse.Namespace) -> int:
    """Run it; return the exit code: 0 clean, 1 not clean or not possible, 2 bad usage."""
    orders = Orders(
        arguments.kills, arguments.seed, arguments.workers, arguments.brokers, arguments.only
    )
    try:
        with _folder(arguments.keep) as folder, _terminated_as_interrupted():
            result = run(orders, folder, _sayer())
    except KindUnavailable as error:
        print(f"chaos: --only: {error}", file=sys.stderr)
        return BAD_USAGE
    except _FolderTaken as error:
        print(f"chaos: --keep: {error}", file=sys.stderr)
        return BAD_USAGE
    except (StackError, TopologyError, ReadingError, KafkaException, RedisError) as error:
        print(f"chaos: {error}", file=sys.stderr)
        return FAILED
    report.show(result, Console())
    if arguments.json:
        print(report.as_json(result))
    return DONE if result.clean else FAILED


class _FolderTaken(Exception):
    """What ``--keep`` names cannot be written to, or would be mixed with something else."""


def _kinds(text: str) -> tuple[str, ...]:
    kinds = tuple(dict.fromkeys(text.split(",")))
    for kind in kinds:
        if kind not in KINDS:
            raise argparse.ArgumentTypeError(f"{kind!r} is none of {', '.join(KINDS)}")
    return kinds


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    """Yield the folder of the run; one that nobody wants to keep is gone afterwards."""
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="lifecycle-chaos-") as name:
            yield Path(name)
        return
    try:
        keep.mkdir(parents=True, exist_ok=True)
        taken = any(keep.iterdir())
    except OSError as error:
        raise _FolderTaken(f"{keep}: {error.strerror}") from None
    if taken:
        raise _FolderTaken(f"{keep} is not empty")
    yield keep.resolve()


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Let SIGTERM end the run as Ctrl-C does, which leaves nothing running."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _sayer() -> Callable[[str], None]:
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"[{time.monotonic() - began:6.1f} s] {line}", file=sys.stderr, flush=True)

    return say
