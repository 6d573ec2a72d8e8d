"""``lifecycle topics``, ``produce`` and ``doctor``: what is done to and asked of a broker."""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException

from app.doctor import examine
from app.event_reading import BadLine, in_order, read_records
from app.options import broker_options, config_options, positive, settings_of
from app.producing import EventProducer, produce_all
from app.topology import TopologyError, ensure_topics, topics

if TYPE_CHECKING:
    from app.options import Subparsers

DONE, FAILED, BAD_INPUT = 0, 1, 2


def add_parsers(subparsers: "Subparsers") -> None:
    """Register the commands."""
    making = subparsers.add_parser(
        "topics", parents=[broker_options()], help="create and check every topic"
    )
    making.add_argument(
        "--partitions", type=positive, metavar="N", help="of topics keyed by member"
    )
    making.set_defaults(run=run_topics)

    producing = subparsers.add_parser(
        "produce",
        parents=[broker_options()],
        help="send an event file to the topics",
        description="Send an event file to the topics, in order of time; record timestamps are "
        "the events' own.",
    )
    producing.add_argument("files", nargs="+", type=Path, metavar="FILE")
    producing.add_argument("--rate", type=float, metavar="N", help="at most N events a second")
    producing.add_argument("--partitions", type=positive, metavar="N", help=argparse.SUPPRESS)
    producing.set_defaults(run=run_produce)

    asking = subparsers.add_parser(
        "doctor",
        parents=[broker_options(), config_options()],
        help="check broker, topics, partitioner, Redis, rules and clock; say what to do",
    )
    asking.add_argument("--redis", metavar="URL")
    asking.set_defaults(run=run_doctor)
    for parser in (making, producing, asking):
        parser.add_argument("--json", action="store_true", help="end with one JSON object")


def run_topics(arguments: argparse.Namespace) -> int:
    """Create what is missing, check the rest; return the exit code."""
    settings = settings_of(arguments)
    try:
        made = ensure_topics(settings)
    except TopologyError as error:
        print(error, file=sys.stderr)
        return FAILED
    for spec in topics(settings):
        state = "created" if spec.name in made else "exists"
        print(f"{spec.name:32} {spec.partitions:4} partitions  {state}")
    if arguments.json:
        print(json.dumps({"created": made, "topics": [spec.name for spec in topics(settings)]}))
    return DONE


def run_produce(arguments: argparse.Namespace) -> int:
    """Send event files; return the exit code: 2 for bad input, before anything is sent."""
    settings = settings_of(arguments)
    began = time.monotonic()
    try:
        records = in_order(read_records(arguments.files))
    except (BadLine, OSError) as error:
        print(error, file=sys.stderr)
        return BAD_INPUT
    if arguments.rate is not None and not arguments.rate > 0:  # also "nan"
        print("--rate: must be above zero", file=sys.stderr)
        return BAD_INPUT
    try:
        ensure_topics(settings)
        sent = produce_all(EventProducer(settings), records, arguments.rate, _progress)
    except TopologyError as error:
        print(error, file=sys.stderr)
        return FAILED
    except KafkaException as error:
        print(f"not every event was taken: {error.args[0].str()}", file=sys.stderr)
        return FAILED
    seconds = time.monotonic() - began
    print(f"{sent} events sent in {seconds:.1f} s")
    if arguments.json:
        print(json.dumps({"events": sent, "seconds": round(seconds, 3)}))
    return DONE


def run_doctor(arguments: argparse.Namespace) -> int:
    """Examine everything; return 1 when something needs doing."""
    settings = settings_of(arguments)
    findings = examine(settings, arguments.config)
    for finding in findings:
        print(f"{'ok  ' if finding.ok else 'FAIL'} {finding.what}: {finding.says}")
    if arguments.json:
        print(json.dumps({finding.what: finding.ok for finding in findings}))
    return DONE if all(finding.ok for finding in findings) else FAILED


def _progress(count: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{count:,} events sent", end="", file=sys.stderr)
