"""Retailrocket's log of a web shop: ``events.csv`` with views, carts and transactions.

It has neither prices nor members: the visitor id is taken as the member id, an order's total is
zero. The rows of one transaction id are one order, at the time of its first row. A row that is
there twice, byte for byte, counts once.
"""

from decimal import Decimal
from pathlib import Path

from app.event_files import Event
from app.importers.event_log import EventLog
from app.importers.report import Report
from app.importers.tables import csv_rows

COLUMNS = ("timestamp", "visitorid", "event", "itemid", "transactionid")
NO_PRICE = Decimal(0)
TYPES = {"view": "view_item", "addtocart": "add_to_cart", "transaction": "purchase"}


def read(path: Path, report: Report) -> list[Event]:
    """Return the events of ``events.csv`` in order of time.

    Raises ``InputError`` when it is another file, ``OSError`` when it cannot be read.
    """
    log = EventLog()
    seen: set[str] = set()
    for line, row in csv_rows(path, COLUMNS, report):
        timestamp, visitor, event, item, order_id = row
        if not timestamp.isdecimal():
            report.bad(line, "timestamp", "not epoch milliseconds")
            continue
        if event not in TYPES:
            report.bad(line, "event", "none of view, addtocart, transaction")
            continue
        whole = ",".join(row)
        if whole in seen:
            report.skip(line, "exact duplicate")
            continue
        seen.add(whole)
        common = {"type": TYPES[event], "member_id": visitor, "occurred_at": int(timestamp)}
        if event != "transaction":
            log.add({**common, "item_id": item})
        elif order_id:
            log.add_line(
                (visitor, order_id),
                {**common, "order_id": order_id},
                {"item_id": item, "quantity": 1},
                NO_PRICE,
            )
        else:
            report.bad(line, "transactionid", "empty")
    return log.finished()
