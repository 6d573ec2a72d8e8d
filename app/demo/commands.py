"""``lifecycle demo``."""

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException
from rich.console import Console

from app.demo.feed import SAMPLE, Feed, data_feed, made_feed, now_ms
from app.demo.story import Demo, NoProgress, Pace, run
from app.event_reading import BadLine
from app.importers.report import InputError
from app.importers.sources import DATA_SETS
from app.options import book_of, config_options, positive, settings_of
from app.stack import StackError
from app.topology import TopologyError
from app.worker_process import WorkerFailed
from config.settings import Settings
from models.times import MINUTE

if TYPE_CHECKING:
    from app.options import Subparsers

DONE, FAILED, BAD_INPUT = 0, 1, 2

MEMBERS = 700
DAYS_PER_SECOND = 2.0
SECONDS = 90
# A machine that held its breath may take this much longer to get to today.
GRACE = 1.1


def add_parsers(subparsers: "Subparsers") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "demo",
        parents=[config_options()],
        help="see it work: members' lives, days per second, ending today",
        description="Start Apache Kafka and Redis on this machine (unless --broker says where "
        "they are), a worker, and a shop's events, days per second; show what happens; end by "
        "itself and leave nothing running.",
        epilog=f"data sets: {', '.join(DATA_SETS)}",
    )
    parser.add_argument(
        "--broker", metavar="HOST:PORT", help="a Kafka of yours (default: one is started here)"
    )
    parser.add_argument(
        "--redis", metavar="URL", help="with --broker: a Redis of yours (default: LIFECYCLE_REDIS)"
    )
    parser.add_argument(
        "--settings", type=Path, metavar="FILE", help="settings in TOML (see .env.example)"
    )
    parser.add_argument(
        "--seconds",
        type=positive,
        metavar="N",
        help=f"how long it plays (default: {SECONDS}; with --data, until it is through)",
    )
    parser.add_argument(
        "--members",
        type=positive,
        metavar="N",
        help=f"how many members are made (default: {MEMBERS}), or taken of the data (all)",
    )
    parser.add_argument(
        "--speed",
        type=_speed,
        default=DAYS_PER_SECOND,
        metavar="DAYS_PER_SECOND",
        help=f"default: {DAYS_PER_SECOND:g}; less when this machine cannot keep that pace",
    )
    parser.add_argument(
        "--data",
        nargs="+",
        metavar=("NAME", "PATH"),
        help=f"play real members, moved in time so that it ends today: {SAMPLE} (1,000 customers, "
        "packaged), a data set and where it lies, or an event file",
    )
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.set_defaults(run=run_command)


def run_command(arguments: argparse.Namespace) -> int:
    """Run the demo; return the exit code: 0 done or interrupted, 1 failed, 2 bad input."""
    # Nobody in a made shop or a public log was ever asked.
    settings = replace(settings_of(arguments), assume_consent=True)
    book = book_of(arguments.config, settings)
    pace = _pace(arguments)
    try:
        feed = _feed(arguments, settings)
    except (InputError, BadLine, OSError) as error:
        print(error, file=sys.stderr)
        return BAD_INPUT
    demo = Demo(
        settings, book, feed, pace, arguments.broker is None, tuple(_worker_arguments(arguments))
    )
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:5.1f} s  {line}", flush=True)

    try:
        summary = run(demo, Console(), say)
    except KeyboardInterrupt:
        print("interrupted before it began")
        return DONE
    except (StackError, TopologyError, WorkerFailed, NoProgress) as error:
        return _failed(str(error))
    except KafkaException as error:
        return _failed(f"Kafka: {error.args[0].str()}")
    print(summary.in_words())
    if arguments.json:
        print(json.dumps(summary.as_json()))
    return DONE


def _failed(why: str) -> int:
    print(f"lifecycle demo: {why}", file=sys.stderr)
    return FAILED


def _speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0.0 < speed < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days above zero")
    return speed


def _pace(arguments: argparse.Namespace) -> Pace:
    seconds = arguments.seconds
    if arguments.data is None:
        return Pace(arguments.speed, (seconds or SECONDS) * GRACE)
    return Pace(arguments.speed, seconds)


def _feed(arguments: argparse.Namespace, settings: Settings) -> Feed:
    today = now_ms() // MINUTE * MINUTE
    if arguments.data is None:
        days = max(round((arguments.seconds or SECONDS) * arguments.speed), 1)
        return made_feed(arguments.members or MEMBERS, days, settings.time_zone, today)
    name, *rest = arguments.data
    if len(rest) > 1:
        raise InputError(f"--data: takes a name and one path, not {len(rest)} paths")
    return data_feed(name, Path(rest[0]) if rest else None, arguments.members, today)


def _worker_arguments(arguments: argparse.Namespace) -> list[str]:
    said = (("--config", arguments.config), ("--settings", arguments.settings))
    return [word for name, value in said if value is not None for word in (name, str(value))]
