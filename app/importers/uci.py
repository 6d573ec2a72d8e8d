"""UCI's "Online Retail": a year of invoices of a British gift wholesaler, Parquet or CSV.

An invoice is one purchase at its first minute; one whose number starts with C is a refund. Times
have no zone and are taken as UTC.
"""

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

from app.event_files import Event
from app.importers.event_log import EventLog, exact
from app.importers.report import Report
from app.importers.tables import csv_rows, is_parquet, parquet_rows
from models.times import from_datetime

COLUMNS = ("InvoiceNo", "StockCode", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID")
# The published workbook saved as CSV writes either of these.
DATE_FORMATS = ("%m/%d/%Y %H:%M", "%Y-%m-%d %H:%M:%S")


def read(path: Path, report: Report) -> list[Event]:
    """Return the invoices in order of time.

    Raises ``InputError`` when pyarrow is missing or it is another file, ``OSError`` when it cannot
    be read.
    """
    log = EventLog()
    rows = parquet_rows(path, COLUMNS, report) if is_parquet(path) else _csv(path, report)
    for line, (invoice, item_id, quantity, at, price, customer) in rows:
        refund = invoice.startswith("C")
        if customer is None:
            report.skip(line, "no CustomerID")
        elif refund and quantity >= 0:
            report.skip(line, "quantity not negative in a cancellation")
        elif not refund and quantity <= 0:
            report.skip(line, "quantity not positive")
        elif price <= 0:
            report.skip(line, "price not positive")
        else:
            order = {
                "type": "refund" if refund else "purchase",
                "member_id": str(customer),
                "occurred_at": at,
                "order_id": invoice,
            }
            if not refund:
                order["currency"] = "GBP"
            count = abs(int(quantity))
            item = {"item_id": item_id, "quantity": count, "price": price}
            log.add_line((invoice, str(customer)), order, item, exact(price) * count)
    return log.finished()


def sample(events: list[Event], members: int, seed: int) -> list[Event]:
    """Return the whole history of ``members`` members, chosen by a hash of the seed and the id."""

    def draw(member_id: str) -> bytes:
        return blake2b(f"{seed}:{member_id}".encode(), digest_size=16).digest()

    chosen = set(sorted({event["member_id"] for event in events}, key=draw)[:members])
    return [event for event in events if event["member_id"] in chosen]


def _csv(path: Path, report: Report) -> Iterator[tuple[int, tuple[Any, ...]]]:
    for line, (invoice, item_id, quantity, date, price, customer) in csv_rows(
        path, COLUMNS, report
    ):
        try:
            column = "Quantity"
            count = _finite(quantity)
            column = "InvoiceDate"
            at = _instant(date)
            column = "UnitPrice"
            unit_price = _finite(price)
            column = "CustomerID"
            member = int(_finite(customer)) if customer else None
        except ValueError as error:
            report.bad(line, column, str(error))
            continue
        yield line, (invoice, item_id, count, at, unit_price, member)


def _finite(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError("not a number")
    return number


def _instant(text: str) -> int:
    for date_format in DATE_FORMATS:
        try:
            return from_datetime(datetime.strptime(text, date_format).replace(tzinfo=UTC))
        except ValueError:
            continue
    raise ValueError("not like 12/1/2010 8:26 or 2010-12-01 08:26:00")
