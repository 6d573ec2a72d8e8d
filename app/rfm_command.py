"""``lifecycle rfm``: where the RFM scores begin, as an event file's members tell it."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from app.event_reading import BadLine, ReadingReport, read_events
from app.options import instant
from config.errors import ConfigErrors
from config.rfm_files import file_of, read_tables
from models.facts import fold
from models.member import Member
from models.quintiles import Base
from models.replay import in_order, key_of
from models.rfm import RfmTable
from models.times import rfc3339

if TYPE_CHECKING:
    from app.options import Subparsers

DONE, FAILED, BAD_INPUT = 0, 1, 2


def add_parsers(subparsers: "Subparsers") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "rfm",
        help="where RFM scores begin: the quintiles of a base of members, dated",
        description="Work out where the RFM scores 1 to 5 begin, from the orders in event files: "
        "the quintiles of those who bought within the 364 days before. The table holds from the "
        "next day on; scores change then, and when a member's own numbers do.",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="event files")
    parser.add_argument(
        "--until", type=instant, metavar="TIME", help="as of when (default: the last order)"
    )
    parser.add_argument("--base", metavar="TEXT", help="who they are (default: the files' names)")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="the rfm.yaml to add the table to (default: print it)",
    )
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.set_defaults(run=run_rfm)


def run_rfm(arguments: argparse.Namespace) -> int:
    """Work the table out; return the exit code: 0 done, 1 nobody bought, 2 bad input."""
    try:
        base = base_of(arguments.files, arguments.until)
        table = base.table(arguments.base or ", ".join(path.name for path in arguments.files))
        kept = _tables_of(arguments.out)
        if arguments.out is None:
            print(file_of((table,)), end="")
        else:
            kept = [one for one in kept if one.begins != table.begins]
            tables = sorted([*kept, table], key=lambda one: one.begins)
            arguments.out.write_text(file_of(tables))
    except (BadLine, OSError) as error:
        print(error, file=sys.stderr)
        return BAD_INPUT
    except ValueError as error:
        print(error, file=sys.stderr)
        return FAILED
    said = f"{table.members} members as of {rfc3339(base.until)}; the table begins {table.date}"
    print(said, file=sys.stderr)
    if arguments.json:
        print(json.dumps({"members": table.members, "date": table.date}))
    return DONE


def base_of(files: list[Path], until: int | None = None) -> Base:
    """Return who bought, as of an instant (None: the last order).

    Raises ``BadLine``, ``OSError``, and ``ValueError`` when there is no order.
    """
    orders = [
        event
        for event in in_order(read_events(files, ReadingReport()))
        if event.type == "purchase" and (until is None or event.at <= until)
    ]
    if not orders:
        raise ValueError("there is no order in the files")
    members: dict[str, Member] = {}
    for event in orders:
        anonymous, name = key_of(event)
        if not anonymous:
            fold(members.setdefault(name, Member(name, False)), event, 0)
    base = Base(orders[-1].at if until is None else until)
    for member in members.values():
        base.add(member)
    return base


def _tables_of(path: Path | None) -> list[RfmTable]:
    """Return the tables that a file has; raise ``ConfigErrors`` when it is wrong."""
    if path is None or not path.exists():
        return []
    tables, errors = read_tables(path)
    if errors:
        raise ConfigErrors(errors)
    return list(tables)
