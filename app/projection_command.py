"""``lifecycle projection rebuild``: the whole projection in Redis made again from its topic."""

import argparse
import dataclasses
import json
import sys
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException

from app.options import broker_options, settings_of
from app.projection_rebuild import Rebuild, RebuildError

if TYPE_CHECKING:
    from app.options import Subparsers

_DONE, _FAILED = 0, 1


def add_parsers(subparsers: "Subparsers") -> None:
    """Register ``projection``; the parsed namespace holds its function as ``run``."""
    projection = subparsers.add_parser(
        "projection", help="the members' documents in Redis: rebuild them"
    )
    kinds = projection.add_subparsers(dest="kind", metavar="WHAT", required=True)
    about = (
        "Make all documents and indexes again from the topic member-updates, beside those that are "
        "there, while workers go on; then switch at one instant. Takes as much room again in "
        "Redis meanwhile. May be stopped at any time, and begun again."
    )
    parser = kinds.add_parser(
        "rebuild",
        parents=[broker_options()],
        help="make them all again, and switch when they are there",
        description=about,
    )
    parser.add_argument("--redis", metavar="URL", help="default: LIFECYCLE_REDIS")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.set_defaults(run=run_rebuild)


def run_rebuild(arguments: argparse.Namespace) -> int:
    """Rebuild the projection; return the exit code."""
    settings = settings_of(arguments)
    try:
        done = Rebuild(settings, _progress).run()
    except RebuildError as error:
        return _fail(arguments, str(error))
    except KafkaException as error:
        return _fail(arguments, f"Kafka at {settings.broker}: {error.args[0].str()}")
    finally:
        if sys.stderr.isatty():
            print(file=sys.stderr)
    rate = done.records / done.seconds
    print(
        f"{done.members:,} members and {done.anonymous:,} anonymous ids from {done.records:,} "
        f"updates in {done.seconds:.1f} s ({rate:,.0f} a second)"
        + (f"; {done.refused:,} were no member updates" if done.refused else "")
    )
    if arguments.json:
        print(json.dumps({**dataclasses.asdict(done), "seconds": round(done.seconds, 3)}))
    return _DONE


def _fail(arguments: argparse.Namespace, reason: str) -> int:
    print(reason, file=sys.stderr)
    if arguments.json:
        print(json.dumps({"error": "not_rebuilt", "reason": reason}, ensure_ascii=False))
    return _FAILED


def _progress(read: int, of: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{read:,} of {of:,} updates", end="", file=sys.stderr)
