"""``lifecycle replay``: the oracle. The worker's core over event files, without a broker."""

import argparse
import json
import sys
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from app.event_reading import BadLine, ReadingReport, read_events
from app.options import book_of, config_options, instant, settings_of
from app.oracle import course_of
from models.outcome import Outcome
from models.replay import in_order
from models.triggers import Trigger

if TYPE_CHECKING:
    from app.options import Subparsers

DONE, BAD_INPUT = 0, 2
_encode = msgspec.json.Encoder().encode


def add_parsers(subparsers: "Subparsers") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "replay",
        parents=[config_options()],
        help="what the engine would say to event files: triggers, byte for byte",
        description="Fold event files in order of time with the worker's own core, without a "
        "broker, and write the triggers and cancellations, one JSON object a line.",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="event files")
    parser.add_argument("--out", type=Path, required=True, metavar="TRIGGERS")
    parser.add_argument(
        "--until", type=instant, metavar="TIME", help="fire deadlines up to here (default: the end)"
    )
    parser.add_argument("--decisions", type=Path, metavar="FILE", help="every verdict, also the no")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.set_defaults(run=run_replay)


def run_replay(arguments: argparse.Namespace) -> int:
    """Replay and return the exit code: 0 done, 2 bad input."""
    began = time.monotonic()
    settings = settings_of(arguments)
    book = book_of(arguments.config, settings)
    report = ReadingReport()
    try:
        events = in_order(read_events(arguments.files, report, _progress))
        run = course_of(book)
        tally: Counter[str] = Counter()
        with ExitStack() as files:
            out = files.enter_context(arguments.out.open("wb"))
            decisions = (
                files.enter_context(arguments.decisions.open("wb")) if arguments.decisions else None
            )
            for event in events:
                for outcome in run.fold(event):
                    _write(outcome, out, decisions, tally)
            until = arguments.until if arguments.until is not None else _last(events)
            for outcome in run.finish(until):
                _write(outcome, out, decisions, tally)
    except (BadLine, OSError) as error:
        print(error, file=sys.stderr)
        return BAD_INPUT
    for line in report.bad:
        print(f"dead letter: {line}", file=sys.stderr)
    cancelled = tally.pop("", 0)
    summary = {
        "events": len(events),
        "members": len(run.members),
        "triggers": dict(sorted(tally.items())),
        "cancelled": cancelled,
        "dead_letters": report.dead_letters,
        "seconds": round(time.monotonic() - began, 3),
    }
    print(
        f"{len(events)} events of {len(run.members)} members: {tally.total()} triggers, "
        f"{cancelled} cancelled, {report.dead_letters} dead letters"
    )
    if settings.assume_consent:
        print("it is assumed that members agreed to marketing who said nothing")
    if arguments.json:
        print(json.dumps(summary))
    return DONE


def _last(events: list) -> int:  # type: ignore[type-arg]
    return events[-1].at if events else 0


def _write(
    outcome: Outcome, out: BinaryIO, decisions: BinaryIO | None, tally: Counter[str]
) -> None:
    for message in outcome.triggers:
        out.write(_encode(message) + b"\n")
        # Cancellations are counted together, under no rule's name.
        tally[message.rule if isinstance(message, Trigger) else ""] += 1
    if decisions is not None:
        for decision in outcome.decisions:
            decisions.write(_encode(decision) + b"\n")


def _progress(lines: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{lines:,} lines read", end="", file=sys.stderr)
