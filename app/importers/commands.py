"""The commands ``import`` and ``simulate``: event files out of real data and out of nothing."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.event_files import Event, write_events
from app.importers.csv_map import load_map
from app.importers.report import InputError, Report
from app.importers.shop_csv import read as read_csv
from app.importers.sources import DATA_SETS, read_data_set
from app.options import instant, positive
from app.simulator import DEFAULT_END_MS, catalogue_events, simulate
from config.errors import ConfigErrors
from models.times import DAY, rfc3339

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

DONE = 0
BAD_INPUT = 2
NO_CONSENT = (
    "no event says who agreed to marketing: replay and worker let none through, unless "
    "LIFECYCLE_ASSUME_CONSENT=true (for logs and trials, not for your own members)"
)


def add_parsers(subparsers: "Subparsers") -> None:
    """Register both commands; each sets ``run``, a function of the arguments to the exit code."""
    sources = "\n".join(f"  {name:17} {data_set.about}" for name, data_set in DATA_SETS.items())
    importing = subparsers.add_parser(
        "import",
        help="turn a public data set or a shop's own CSV export into an event file",
        description="Turn a public data set, or a shop's own CSV export, into an event file.",
        epilog=f"names:\n{sources}\n  {'csv':17} a shop's own export; --map says what is what",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    importing.add_argument("name", metavar="NAME", choices=[*DATA_SETS, "csv"])
    importing.add_argument("path", metavar="PATH", type=Path, nargs="?")
    importing.add_argument("--map", metavar="FILE", type=Path, help="the map of a CSV export")
    importing.set_defaults(run=run_import)

    making = subparsers.add_parser(
        "simulate",
        help="make members and their events",
        description="Make members and their events: the same arguments give the same bytes.",
    )
    making.add_argument("--members", metavar="N", type=positive, required=True)
    making.add_argument("--days", metavar="D", type=positive, required=True)
    making.add_argument("--seed", metavar="S", type=int, required=True)
    making.add_argument(
        "--until",
        metavar="TIME",
        type=instant,
        default=DEFAULT_END_MS,
        help="where the last day ends: RFC 3339 or epoch milliseconds "
        f"(default: {rfc3339(DEFAULT_END_MS)})",
    )
    making.set_defaults(run=run_simulate)
    for parser in (importing, making):
        parser.add_argument(
            "--out", metavar="FILE", type=Path, required=True, help="JSON lines; NAME.gz for gzip"
        )
        parser.add_argument("--json", action="store_true", help="end with one JSON object")


def run_import(arguments: argparse.Namespace) -> int:
    """Import and return the exit code: 0 done, 2 bad usage or nothing that could be used."""
    return _judged(_import, arguments)


def run_simulate(arguments: argparse.Namespace) -> int:
    """Simulate and return the exit code: 0 done, 2 bad usage."""
    return _judged(_simulate, arguments)


def _judged(run: Callable[[argparse.Namespace], None], arguments: argparse.Namespace) -> int:
    try:
        run(arguments)
    except (InputError, ConfigErrors) as error:
        print(error, file=sys.stderr)
        return BAD_INPUT
    except OSError as error:
        named = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        print(named, file=sys.stderr)
        return BAD_INPUT
    return DONE


def _import(arguments: argparse.Namespace) -> None:
    started = time.monotonic()
    path: Path | None = arguments.path
    report = Report(
        _show_rows if sys.stderr.isatty() else None, _complainer(str(path or arguments.name))
    )
    if arguments.name == "csv":
        events = _import_csv(path, arguments.map, report)
    elif arguments.map is not None:
        raise InputError("--map belongs to: import csv PATH --map FILE")
    else:
        events = read_data_set(arguments.name, path, report)
    if report.rows and not events:
        reason, skipped = next(iter(report.skipped.items()))
        raise InputError(
            f"{path or arguments.name}:{skipped.lines[0]}: {reason}; "
            f"none of the {report.rows} rows could be used"
        )
    members = _Members()
    count = write_events(arguments.out, members.counted(events))
    for reason, skipped in report.skipped.items():
        lines = ", ".join(map(str, skipped.lines))
        print(f"skipped {skipped.count}: {reason} (first at {lines})", file=sys.stderr)
    print(f"{count} events of {len(members)} members from {report.rows} rows")
    if not members.said_consent:
        print(NO_CONSENT)
    if arguments.json:
        _print_json(
            events=count,
            members=len(members),
            rows=report.rows,
            skipped=report.skipped_total,
            skipped_by_reason={reason: each.count for reason, each in report.skipped.items()},
            seconds=round(time.monotonic() - started, 3),
        )


def _import_csv(path: Path | None, map_path: Path | None, report: Report) -> list[Event]:
    if path is None or map_path is None:
        raise InputError("a CSV export needs both: import csv PATH --map FILE")
    return read_csv(path, load_map(map_path), report)


def _simulate(arguments: argparse.Namespace) -> None:
    started = time.monotonic()
    if arguments.until < arguments.days * DAY:
        raise InputError("--until: the days before it begin before 1970")
    members = _Members()
    made = simulate(arguments.members, arguments.days, arguments.seed, arguments.until)
    items = list(catalogue_events(arguments.seed))
    lines = write_events(arguments.out, chain(items, members.counted(made)))
    print(f"{lines - len(items)} events of {len(members)} members, and {len(items)} items")
    if arguments.json:
        _print_json(
            events=lines - len(items),
            members=len(members),
            items=len(items),
            skipped=0,
            seconds=round(time.monotonic() - started, 3),
        )


class _Members:
    """What the events that pass by say of members: how many there are, and if any spoke of consent.

    Anonymous ids are none yet.
    """

    def __init__(self) -> None:
        self.said_consent = False
        self._seen: set[str] = set()

    def __len__(self) -> int:
        return len(self._seen)

    def counted(self, events: Iterable[Event]) -> Iterator[Event]:
        """Yield the events on."""
        for event in events:
            if "member_id" in event:
                self._seen.add(event["member_id"])
            self.said_consent |= event["type"] == "consent"
            yield event


def _show_rows(rows: int) -> None:
    print(f"\r{rows:,} rows", end="", file=sys.stderr, flush=True)


def _complainer(name: str) -> Callable[[int, str, str], None]:
    def complain(line: int, column: str, reason: str) -> None:
        print(f"{name}:{line}: {column}: {reason}", file=sys.stderr)

    return complain


def _print_json(**values: Any) -> None:
    print(json.dumps(values))
