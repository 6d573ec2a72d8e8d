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
from app.topology import (
    FOR_EVER,
    Retention,
    TopologyError,
    advice,
    ensure_topics,
    keep,
    retention_text,
    retentions,
    topics,
)
from models.times import HOUR, parse_duration

if TYPE_CHECKING:
    from app.options import Subparsers

DONE, FAILED, BAD_INPUT = 0, 1, 2
LONGEST_RETENTION_MS = 1 << 53
"""The longest that the settings take, too."""


def add_parsers(subparsers: "Subparsers") -> None:
    """Register the commands."""
    making = subparsers.add_parser(
        "topics",
        parents=[broker_options()],
        help="create and check every topic; change how long they keep what they have",
        description="Create the topics that are missing and check the others. How long a topic "
        "keeps its records is only changed where --keep-inputs or --keep-outputs says so: what is "
        "older is deleted for good.",
    )
    making.add_argument(
        "--partitions", type=positive, metavar="N", help="of topics keyed by member"
    )
    for group, which in (("inputs", "the events'"), ("outputs", "what workers send out")):
        making.add_argument(
            f"--keep-{group}",
            type=_retention,
            metavar="DURATION",
            help=f"how long the topics of {which} keep it: 7d, 36h, at least 1h, or for-ever",
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
        found = retentions(settings)
        asked = {"inputs": arguments.keep_inputs, "outputs": arguments.keep_outputs}
        changed = {
            one.topic: wanted
            for one in found
            if (wanted := asked[one.group]) is not None and wanted != one.ms
        }
        keep(settings, changed)
    except TopologyError as error:
        print(error, file=sys.stderr)
        return FAILED
    keeps = {one.topic: _keeps(one, changed.get(one.topic)) for one in found}
    for spec in topics(settings):
        state = "created" if spec.name in made else "exists"
        print(f"{spec.name:32} {spec.partitions:4} partitions  {state}{keeps.get(spec.name, '')}")
    for line in advice(o for o in found if o.ms != o.setting_ms and asked[o.group] is None):
        print(line)
    if arguments.json:
        names = [spec.name for spec in topics(settings)]
        print(json.dumps({"created": made, "topics": names, "kept_ms": changed}))
    return DONE


def _keeps(found: Retention, changed: int | None) -> str:
    """Return what a line about a topic ends with."""
    before = retention_text(found.ms)
    if changed is not None:
        return f", keeps {retention_text(changed)}, was: {before}"
    if found.ms != found.setting_ms:
        return f", keeps {before}, not {retention_text(found.setting_ms)}"
    return ""


def _retention(text: str) -> int:
    """Return milliseconds, -1 for ever; for argparse."""
    if text == "for-ever":
        return FOR_EVER
    try:
        found = parse_duration(text)
    except ValueError:
        found = 0
    if not HOUR <= found <= LONGEST_RETENTION_MS:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a duration such as 36h or 7d, at least 1h, nor for-ever"
        )
    return found


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
