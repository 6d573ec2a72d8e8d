"""OTTO's recommender log: ``train.jsonl``, a session a line with clicks, carts and orders.

A session is taken as a member. Orders of one session at one time are one order; there are no
prices, its total is zero.
"""

from decimal import Decimal
from pathlib import Path

import msgspec

from app.event_files import Event, read_lines
from app.importers.event_log import EventLog
from app.importers.report import Report

NO_PRICE = Decimal(0)
TYPES = {"clicks": "view_item", "carts": "add_to_cart", "orders": "purchase"}


class Action(msgspec.Struct):
    """One click, cart or order: article, epoch milliseconds, kind."""

    aid: int
    ts: int
    type: str


class Session(msgspec.Struct):
    """One line of the file."""

    session: int
    events: list[Action]


def read(path: Path, report: Report) -> list[Event]:
    """Return the events of ``train.jsonl`` in order of time; a row is one action.

    Raises ``OSError`` when the file cannot be read.
    """
    log = EventLog()
    decode = msgspec.json.Decoder(Session).decode
    for line, raw in read_lines(path):
        try:
            session = decode(raw)
        except msgspec.DecodeError as error:
            report.row()
            report.bad(line, "session", str(error))
            continue
        member = str(session.session)
        for action in session.events:
            report.row()
            if action.type not in TYPES:
                report.bad(line, "type", "none of clicks, carts, orders")
                continue
            common = {"type": TYPES[action.type], "member_id": member, "occurred_at": action.ts}
            item = str(action.aid)
            if action.type != "orders":
                log.add({**common, "item_id": item})
                continue
            order_id = f"{member}-{action.ts}"
            log.add_line(
                (order_id,),
                {**common, "order_id": order_id},
                {"item_id": item, "quantity": 1},
                NO_PRICE,
            )
    return log.finished()
