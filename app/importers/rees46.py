"""REES46's "eCommerce behavior data from multi category store" (Kaggle): a CSV file a month.

Purchases of one user in one session and second are one order. The currency is not stated. An
item's category is its code where there is one, else the category id.
"""

import math
from datetime import datetime
from pathlib import Path

from app.event_files import Event
from app.importers.event_log import EventLog, exact
from app.importers.report import Report
from app.importers.tables import csv_rows
from models.times import from_datetime

COLUMNS = (
    "event_time",
    "event_type",
    "product_id",
    "category_id",
    "category_code",
    "price",
    "user_id",
    "user_session",
)
TYPES = {
    "view": "view_item",
    "cart": "add_to_cart",
    "remove_from_cart": "remove_from_cart",
    "purchase": "purchase",
}


def read(path: Path, report: Report) -> list[Event]:
    """Return the events of one monthly file (CSV or CSV.gz) in order of time.

    Raises ``InputError`` when it is another file, ``OSError`` when it cannot be read.
    """
    log = EventLog()
    for line, row in csv_rows(path, COLUMNS, report):
        time, kind, item_id, category_id, category_code, price_text, user, session = row
        if kind not in TYPES:
            report.bad(line, "event_type", f"none of {', '.join(TYPES)}")
            continue
        at = _instant(time)
        if at is None:
            report.bad(line, "event_time", "not like 2019-10-01 00:00:00 UTC")
            continue
        price = _price(price_text)
        if price is None:
            report.bad(line, "price", "not a price")
            continue
        if not user:
            report.bad(line, "user_id", "empty")
            continue
        common = {"type": TYPES[kind], "member_id": user, "occurred_at": at}
        item = {"item_id": item_id, "category": category_code or category_id, "price": price}
        if kind != "purchase":
            log.add({**common, **item})
            continue
        order_id = f"{session or user}-{at // 1000}"
        log.add_line(
            (user, order_id),
            {**common, "order_id": order_id},
            {**item, "quantity": 1},
            exact(price),
        )
    return log.finished()


def _instant(text: str) -> int | None:
    if not text.endswith(" UTC"):
        return None
    try:
        return from_datetime(datetime.fromisoformat(text.removesuffix(" UTC") + "+00:00"))
    except ValueError:
        return None


def _price(text: str) -> float | None:
    try:
        price = float(text)
    except ValueError:
        return None
    return price if math.isfinite(price) and price >= 0 else None
