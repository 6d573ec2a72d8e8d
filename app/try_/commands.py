"""``lifecycle try ORDERS.csv``: one page about a shop's own members, without a broker."""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from app.importers.report import InputError
from app.options import config_options, settings_of
from app.try_ import foresight
from app.try_.cohort import LEARNED_WEEKS, REPLAYED_WEEKS, cohort
from app.try_.late import Late, late_of, measure_of, usual_gaps
from app.try_.orders import Book, Order, members_of, read
from app.try_.page import Findings, page_of
from app.try_.picking import pick
from app.try_.stages import replayed
from app.try_.would_be import RAISED, Setting, would_be
from config.paths import load_config
from config.settings import Settings
from models.predictions import Predictions
from models.rules import LateForMember, Limits
from models.times import DAY

if TYPE_CHECKING:
    from app.options import Subparsers

DONE, BAD_INPUT = 0, 2
# Statuses that are named on the terminal.
_NAMED = 5


def add_parsers(subparsers: "Subparsers") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "try",
        parents=[config_options()],
        help="one page about your own members, from an order export; no broker",
        description="Read a shop's order export (CSV, also gzip: a line an order, or a line an "
        "item) and write one HTML page about its members: stages and how they moved, who is late, "
        "expected value, churn risk and how far to trust it, and what the rules would have raised.",
    )
    parser.add_argument("orders", metavar="ORDERS.csv", type=Path)
    parser.add_argument(
        "--map",
        metavar="FILE",
        type=Path,
        help="which column is what, as for 'import csv' (default: found by name and content)",
    )
    parser.add_argument(
        "--out", metavar="PAGE.html", type=Path, help="the page (default: ORDERS.html, here)"
    )
    parser.add_argument(
        "--time-zone",
        metavar="NAME",
        type=_zone,
        help="of times that are written without an offset, such as Asia/Shanghai (default: "
        "LIFECYCLE_TIME_ZONE, else UTC)",
    )
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.set_defaults(run=run_try)


def run_try(arguments: argparse.Namespace) -> int:
    """Make the page; return the exit code: 0 done, 2 bad input."""
    began = time.monotonic()
    progress = _Progress()
    out = arguments.out or Path(f"{arguments.orders.name.split('.')[0]}.html")
    try:
        if not out.parent.is_dir():
            raise InputError(f"{out}: there is no folder {out.parent}")
        _spare(out, arguments.orders, arguments.map)
        found = _find(arguments, settings_of(arguments), progress)
        progress.say("drawing")
        page = page_of(found)
        out.write_text(page, "utf-8")
    except (InputError, OSError) as error:
        progress.end()
        print(_one_line(error), file=sys.stderr)
        return BAD_INPUT
    progress.end()
    _note_statuses(found.book)
    summary = _summary(found) | {
        "page": str(out),
        "bytes": len(page.encode()),
        "seconds": round(time.monotonic() - began, 3),
    }
    print(
        f"{out}: {_counted(summary['orders'], 'order')} of "
        f"{_counted(summary['members'], 'member')}, "
        f"{_counted(summary['bad_lines'], 'bad line')}; {summary['seconds']:.0f} s"
    )
    if arguments.json:
        print(json.dumps(summary))
    return DONE


def _find(arguments: argparse.Namespace, settings: Settings, progress: "_Progress") -> Findings:
    loaded = load_config(arguments.config)
    zone = arguments.time_zone or ZoneInfo(settings.time_zone)
    progress.say("reading")
    book = read(
        arguments.orders,
        zone,
        arguments.map,
        lambda lines: progress.say(f"reading {lines:,} lines"),
    )
    end = book.events[-1].at
    limits = replace(settings, assume_consent=True, time_zone=zone.key).limits()
    whole = len(book.events)
    history = replayed(
        book.events,
        loaded.stages,
        limits,
        end,
        lambda count: progress.say(f"stages {count / whole:.0%}"),
    )
    by_member = members_of(book.orders)
    when = measure_of(loaded.rules)
    predictions = _predicted(
        book,
        cohort(book.events, end, LEARNED_WEEKS),
        loaded.predictions or Predictions(),
        limits,
        {} if when is None else usual_gaps(by_member, when),
        lambda share: progress.say(f"predictions {share:.0%}"),
    )
    models = {} if predictions is None else predictions.models
    raised = would_be(
        book.events,
        cohort(book.events, end, REPLAYED_WEEKS),
        Setting(arguments.config, limits, models, end),
        lambda done, of: progress.say(f"rules {done / of:.0%}"),
    )
    late = None if when is None else _late(by_member, when, end)
    picked = pick(by_member, history, late or [], predictions)
    if predictions is not None:
        _score(book, {one.member for one in picked}, predictions, limits)
    return Findings(
        name=arguments.orders.name,
        book=book,
        history=history,
        late=late,
        rules={rule.name: rule for rule in loaded.rules},
        would_be=raised,
        predictions=predictions,
        picked=picked,
    )


def _predicted(
    book: Book,
    members: set[str],
    chosen: Predictions,
    limits: Limits,
    gaps: dict[str, float],
    progress: Callable[[float], None],
) -> foresight.Predictions | None:
    """Import what learns only now: no other command needs to wait for it."""
    from app.try_.predicting import predict

    return predict(book.events, members, chosen, limits, gaps, progress)


def _score(
    book: Book, members: set[str], predictions: foresight.Predictions, limits: Limits
) -> None:
    """Add the scores of members who are drawn and were not learned from."""
    from app.try_.predicting import scores_of

    others = members - set(predictions.scores)
    predictions.scores |= scores_of(book.events, others, predictions, limits)


def _late(by_member: dict[str, list[Order]], when: LateForMember, end: int) -> list[Late]:
    each = (late_of(member, orders, when, end) for member, orders in by_member.items())
    return [late for late in each if late is not None]


def _summary(found: Findings) -> dict[str, Any]:
    book = found.book
    verdicts = {name: found.would_be.of_rule(name) for name in found.would_be.rules}
    summary: dict[str, Any] = {
        "orders": sum(order.cents >= 0 for order in book.orders),
        "refunds": sum(order.cents < 0 for order in book.orders),
        "members": len(found.history.courses),
        "days": book.orders[-1].at // DAY - book.orders[0].at // DAY + 1,
        "lines": book.rows,
        "bad_lines": book.bad_count,
        "left_out": sum(book.left_out.values()),
        "columns": book.columns,
        "stages": dict(sorted(found.history.counts[-1].items())),
        "late": None if found.late is None else len(found.late),
        "rules_replayed_members": found.would_be.members,
        "candidates": {name: each.total() for name, each in verdicts.items() if each},
        "triggers": {name: each[RAISED] for name, each in verdicts.items() if each[RAISED]},
    }
    if found.predictions is not None:
        judged = found.predictions.judged
        summary["churn"] = {"enough": isinstance(judged, foresight.Quality), "rows": judged.rows}
        if isinstance(judged, foresight.Quality):
            summary["churn"] |= {
                "auc_active": judged.auc,
                "logloss_active": judged.log_loss,
                "ece_active": judged.off,
                "citl_active": judged.said - judged.left,
            }
    return summary


class _Progress:
    """One line on the terminal that says what is being done."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()

    def say(self, what: str) -> None:
        """Show what is being done instead of what was before."""
        if self._shown:
            print(f"\r\x1b[K{what} ...", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Clear the line."""
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise argparse.ArgumentTypeError(f"{name!r} is not a time zone") from None


def _spare(out: Path, *read: Path | None) -> None:
    """Refuse to write the page over what it is made from."""
    for path in read:
        if path is not None and path.exists() and out.exists() and out.samefile(path):
            raise InputError(f"{out}: the page would overwrite {path}; name another with --out")


def _note_statuses(book: Book) -> None:
    """Say which orders count as bought though their status is not known."""
    if book.unknown:
        most = sorted(book.unknown, key=lambda status: (-book.unknown[status], status))[:_NAMED]
        named = ", ".join(f"{' '.join(one.split())[:40]} ({book.unknown[one]:,})" for one in most)
        more = " and others" if len(book.unknown) > _NAMED else ""
        print(f"note: counted as bought, status not known: {named}{more}", file=sys.stderr)


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())
