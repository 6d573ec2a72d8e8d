"""``lifecycle worker``: one worker process."""

import argparse
import logging
import sys
from typing import TYPE_CHECKING

from agents.fastlane.worker import run_worker
from app.options import book_of, broker_options, config_options, instant, positive, settings_of
from app.topology import TopologyError, ensure_topics
from app.worker import Worker, choose_clock

if TYPE_CHECKING:
    from app.options import Subparsers

FAILED, BAD_USAGE = 1, 2


def add_parsers(subparsers: "Subparsers") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "worker",
        parents=[broker_options(), config_options()],
        help="run one worker process until a signal",
        description="Run one worker until SIGTERM or SIGINT, which finish what is in flight. "
        "Exit code 70: it stopped itself because it could not go on safely; start it again.",
    )
    parser.add_argument("--redis", metavar="URL", help="the serving store")
    parser.add_argument(
        "--clock",
        default="wall",
        metavar="CLOCK",
        help="wall (default); stream, for history already in the topics; scaled:F, F times as "
        "fast; follow:FILE, set from outside",
    )
    parser.add_argument(
        "--until",
        type=instant,
        metavar="TIME",
        help="with --clock stream: where time ends (default: the newest record's timestamp)",
    )
    parser.add_argument("--partitions", type=positive, metavar="N", help=argparse.SUPPRESS)
    parser.set_defaults(run=run_command)


def run_command(arguments: argparse.Namespace) -> int:
    """Run the worker; return its exit code."""
    settings = settings_of(arguments)
    book = book_of(arguments.config, settings)
    logging.basicConfig(
        level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    try:
        ensure_topics(settings)
        clock = choose_clock(arguments.clock, arguments.until, settings)
    except TopologyError as error:
        print(error, file=sys.stderr)
        return FAILED
    except (ValueError, OSError) as error:
        print(f"--clock: {error}", file=sys.stderr)
        return BAD_USAGE
    return run_worker(Worker(settings, book, clock).app)
