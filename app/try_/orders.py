"""Reading a shop's order export: orders and refunds, and what could not be read.

The columns are found (``columns``), or given by the map of ``import csv``.
"""

import codecs
import csv
import io
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import orjson

from app.evaluate.strays import QUIET, main_days
from app.event_files import GZIP_ERRORS, Event, open_bytes
from app.importers import shop_csv
from app.importers.csv_map import load_map
from app.importers.report import InputError, Report
from app.try_ import amounts, dates
from app.try_.columns import Columns, find
from app.try_.statuses import was_bought
from models.decoding import LAST_EVENT, InvalidEvent, Received, receive
from models.events import TOPIC_OF, Purchased, Refunded
from models.times import DAY, SECOND, rfc3339

_DELIMITERS = ",;\t|"
_ENCODINGS = ("utf-8-sig", "gb18030", "cp1252")
_QUOTED = re.compile(r'"[^"]*"')
# Bytes that the encoding and the delimiter are told from, and lines that the columns are.
_HEAD_BYTES = 1 << 18
_HEAD_ROWS = 2_000
# Bad lines that are named one by one.
NAMED = 50
_CODE = len("EUR")
# As the fields of events have them.
LONGEST_ID, MOST = 128, 10**12
_SEVERAL = "amounts of several currencies cannot be added up; give a file for each"
# What exports write where there is no member; WooCommerce has its guests under 0.
_NOBODY = frozenset(("", "0", "-", "nan", "null", "none", "n/a", "guest"))


class Order(msgspec.Struct, frozen=True, array_like=True):
    """One order, or with negative ``cents`` what went back; ``at`` in epoch milliseconds."""

    member: str
    id: str
    at: int
    cents: int


class Bad(msgspec.Struct, frozen=True):
    """A line that could not be read: its number in the file, the column, and why."""

    line: int
    column: str
    reason: str


class Book(msgspec.Struct):
    """What an export gave: events and orders in order of time, and what was left out."""

    events: list[Received]
    orders: list[Order]
    rows: int
    bad: list[Bad]  # the first ones
    bad_count: int
    left_out: dict[str, int]
    columns: dict[str, str]
    currency: str | None
    # Orders that count as bought, by a status that is not known.
    unknown: dict[str, int]


class _Line(msgspec.Struct):
    number: int
    order: str
    member: str
    time: str
    total: str
    quantity: str
    price: str
    status: str
    currency: str


class _Placed(msgspec.Struct, frozen=True):
    """An order and the line that it begins in."""

    order: Order
    line: int


class _Complaints:
    """Lines that could not be read, and lines that are left out on purpose."""

    def __init__(self) -> None:
        self.bad: list[Bad] = []
        self.count = 0
        self.left_out: Counter[str] = Counter()
        self.unknown: Counter[str] = Counter()
        """Orders by a status of which it is not known whether it was bought."""

    def add(self, line: int, column: str, reason: str) -> None:
        """Note a bad line."""
        self.count += 1
        if len(self.bad) < NAMED:
            self.bad.append(Bad(line, column, reason))


def read(
    path: Path, zone: ZoneInfo, map_path: Path | None, progress: Callable[[int], None]
) -> Book:
    """Return the orders of a CSV (or CSV.gz) file.

    Raises ``InputError`` with one line when it is no export of orders, ``ConfigErrors`` for a wrong
    map, ``OSError`` when it cannot be read.
    """
    if map_path is not None:
        return _mapped(path, map_path, progress)
    complaints = _Complaints()
    columns, lines, rows = _lines(path, progress, complaints)
    try:
        instant = dates.reader_of([line.time for line in lines], zone)
    except dates.Ambiguous as error:
        raise InputError(
            f"{path}:2: {columns.name(columns.time)}: the dates may have the day or the {error} "
            f"first ({lines[0].time}); say which with --map"
        ) from None
    reader = _OrderReader(columns, lines, instant, complaints)
    placed = reader.orders()
    currency = _one_currency(path, reader.currencies)
    within = main_days(sorted(one.order.at // DAY for one in placed), _today())
    events: list[Received] = []
    for one in placed:
        if one.order.at // DAY in within:
            events += _event(one, currency, columns, complaints)
        else:
            complaints.add(one.line, columns.name(columns.time), _far(one.order.at))
    return _book(path, events, rows, complaints, columns.named(), currency)


def _mapped(path: Path, map_path: Path, progress: Callable[[int], None]) -> Book:
    complaints = _Complaints()
    report = Report(progress, complaints.add)
    found = shop_csv.read(path, load_map(map_path), report)
    within = main_days([event["occurred_at"] // DAY for event in found], _today())
    events = []
    for event in found:
        at = event["occurred_at"]
        if at // DAY in within and at <= LAST_EVENT:
            events.append(_received(event))
        else:
            complaints.left_out[_far(at)] += 1
    named = Counter(event["currency"] for event in found if event.get("currency"))
    if len(named) > 1:
        several = ", ".join(f"{code} ({count})" for code, count in named.most_common())
        raise InputError(f"{path}: {several}: {_SEVERAL}")
    for reason, skipped in report.skipped.items():
        if ": " not in reason:  # not bad, only not mapped
            complaints.left_out[reason] += skipped.count
    currency = next(iter(named), None)
    return _book(path, events, report.rows, complaints, {"map": map_path.name}, currency)


def _book(
    path: Path,
    events: list[Received],
    rows: int,
    complaints: _Complaints,
    columns: dict[str, str],
    currency: str | None,
) -> Book:
    events.sort(key=lambda event: (event.at, event.rank))
    orders = [order for event in events if (order := _order(event)) is not None]
    if not any(order.cents >= 0 for order in orders):
        first = complaints.bad[0] if complaints.bad else None
        why = f"{path}:{first.line}: {first.column}: {first.reason}" if first else f"{path}"
        raise InputError(f"{why}: none of the {rows} lines gives an order")
    return Book(
        events,
        orders,
        rows,
        sorted(complaints.bad, key=lambda bad: bad.line),
        complaints.count,
        dict(complaints.left_out),
        columns,
        currency,
        dict(complaints.unknown),
    )


def _lines(
    path: Path, progress: Callable[[int], None], complaints: _Complaints
) -> tuple[Columns, list[_Line], int]:
    delimiter, encoding = _dialect(path)
    lines: list[_Line] = []
    rows = _rows(path, delimiter, encoding)
    try:
        _, header = next(rows)
    except StopIteration:
        raise InputError(f"{path}: the file is empty") from None
    head = [row for _, row in zip(range(_HEAD_ROWS), rows, strict=False)]
    if not head:
        raise InputError(f"{path}:1: there is no line below the header")
    columns = find(path, [name.strip() for name in header], [row for _, row in head])
    roles = ("order", "member", "time", "total", "quantity", "price", "status", "currency")
    places = [getattr(columns, role) for role in roles]
    least = max(at for at in places if at is not None) + 1
    count = 0
    for chunk in (head, rows):
        for number, row in chunk:
            count += 1
            if count % 50_000 == 0:
                progress(count)
            if len(row) < least:
                complaints.add(
                    number, columns.name(min(least, len(header)) - 1), "the line is too short"
                )
                continue
            cells = ["" if at is None else row[at].strip() for at in places]
            line = _Line(number, *cells)
            if "@" in line.member:  # the same address, however it is written
                line.member = line.member.lower()
            lines.append(line)
    if not lines:
        raise InputError(f"{path}:2: no line has as many columns as the header")
    return columns, lines, count


def _dialect(path: Path) -> tuple[str, str]:
    """Return what parts the columns, and the encoding."""
    with open_bytes(path) as file:
        try:
            head = file.read(_HEAD_BYTES)
        except GZIP_ERRORS as error:
            raise InputError(f"{path}: the gzip data is damaged: {error}") from error
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    else:
        encoding = next((name for name in _ENCODINGS if _decodes(head, name)), "")
        if encoding == "gb18030" and _is_western(head.decode(encoding, "replace")):
            encoding = "cp1252"
    if not encoding or "\0" in head.decode(encoding, "replace"):
        raise InputError(f"{path}: not a text file")
    lines = head.decode(encoding, "replace").splitlines()
    first = _QUOTED.sub("", lines[0]) if lines else ""
    return max(_DELIMITERS, key=first.count), encoding


def _is_western(text: str) -> bool:
    """Tell whether what reads as Chinese is Latin text with accents.

    GB 18030 makes one rare sign of a letter with an accent and the letter behind it; the second
    byte of usual signs is no letter.
    """
    foreign = [sign for sign in text if not sign.isascii()]
    torn = sum(sign.encode("gb18030")[1:2].isalpha() for sign in foreign)
    return 2 * torn > len(foreign)


def _decodes(head: bytes, encoding: str) -> bool:
    try:
        codecs.getincrementaldecoder(encoding)().decode(head)
    except UnicodeDecodeError:
        return False
    return True


def _rows(path: Path, delimiter: str, encoding: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each line that is not blank, the header first, with the number it begins at."""
    with (
        open_bytes(path) as raw,
        io.TextIOWrapper(raw, encoding, errors="replace", newline="") as text,
    ):
        reader = csv.reader(text, delimiter=delimiter)
        number = 1
        try:
            for row in reader:
                if any(cell and not cell.isspace() for cell in row):
                    yield number, row
                number = reader.line_num + 1
        except GZIP_ERRORS as error:
            raise InputError(f"{path}: the gzip data is damaged: {error}") from error
        except csv.Error as error:
            raise InputError(f"{path}:{number}: not CSV: {error}") from error


class _OrderReader:
    """Joins lines to orders.

    A total that repeats on every line of an order, or stands on its first line only, is the
    order's; otherwise each line has its own, and they are added up.
    """

    def __init__(
        self,
        columns: Columns,
        lines: list[_Line],
        instant: dates.Reader,
        complaints: _Complaints,
    ) -> None:
        self._columns = columns
        self._complaints = complaints
        self._instant = instant
        self._by_order = _by_order(lines, columns.order is not None, instant)
        self._total = amounts.reader_of(line.total for line in lines)
        # Three decimals of pieces are pieces still: 1.000 is one.
        self._quantity = amounts.reader_of((line.quantity for line in lines), thousands=False)
        self._price = amounts.reader_of(line.price for line in lines)
        self._of_order = self._is_of_order()
        self.currencies: dict[str, list[int]] = {}
        """The lines of orders by the currency that they name."""

    def orders(self) -> list[_Placed]:
        """Return the orders, as they stand in the file."""
        return [order for lines in self._by_order for order in self._order(lines)]

    def _is_of_order(self) -> bool:
        if self._columns.total is None:
            return False
        several = [lines for lines in self._by_order if len(lines) > 1]
        same = sum(
            all(line.total in ("", lines[0].total) for line in lines[1:]) for lines in several
        )
        return 2 * same > len(several)

    def _order(self, lines: list[_Line]) -> Iterator[_Placed]:
        first = lines[0]
        bought = was_bought(first.status)
        if bought is None:
            self._complaints.unknown[first.status] += 1
        if bought is False:
            self._complaints.left_out[first.status] += len(lines)
            return
        member = next((line.member for line in lines if line.member.lower() not in _NOBODY), "")
        if not member:
            self._complaints.left_out[""] += len(lines)
            return
        read = [known for line in lines if (known := self._line(line, line is first)) is not None]
        if read:
            for line in lines:
                named = _currency(line)
                if named is not None:
                    self.currencies.setdefault(named, []).append(line.number)
        for sign in (1, -1):
            side = [(at, amount) for at, amount in read if (amount < 0) is (sign < 0)]
            if side:
                total = sum(amount for _, amount in side)
                order = Order(member, first.order, min(at for at, _ in side), _cents(total))
                yield _Placed(order, first.number)

    def _line(self, line: _Line, is_first: bool) -> tuple[int, int] | None:
        """Return instant and amount of a line; None when it is bad, or only more of an order."""
        columns = self._columns
        if not is_first and self._of_order:
            return None
        at = self._instant(line.time)
        if at is None or at > LAST_EVENT:
            self._bad(line, columns.time, line.time, "a time")
            return None
        if columns.total is not None:
            amount = self._total(line.total)
            if amount is None:
                self._bad(line, columns.total, line.total, "an amount")
                return None
            return at, amount * amounts.PARTS
        quantity, price = self._quantity(line.quantity), self._price(line.price)
        if quantity is None:
            self._bad(line, columns.quantity, line.quantity, "a number")
            return None
        if price is None:
            self._bad(line, columns.price, line.price, "an amount")
            return None
        return at, quantity * price

    def _bad(self, line: _Line, column: int | None, cell: str, wanted: str) -> None:
        reason = f"was not {wanted}: {cell[:40]}" if cell else "was empty"
        self._complaints.add(line.number, self._columns.name(column), reason)


def _currency(line: _Line) -> str | None:
    """Return the currency that a line names, else the one beside its amount."""
    if line.currency:
        return amounts.code_of(line.currency)
    return amounts.currency_of(line.total or line.price)


def _one_currency(path: Path, found: dict[str, list[int]]) -> str | None:
    """Return the currency of all orders, as far as it is a code; None when none is named."""
    if len(found) > 1:
        most = max(found, key=lambda code: len(found[code]))
        line, other = min((lines[0], code) for code, lines in found.items() if code != most)
        raise InputError(f"{path}:{line}: {other} beside {most} in other lines: {_SEVERAL}")
    only = next(iter(found), "")
    return only if len(only) == _CODE and only.isascii() else None


def _today() -> int:
    return int(time.time()) // (DAY // SECOND)


def _far(at: int) -> str:
    return f"{rfc3339(at)[:10]} lies more than {QUIET} days from nearly all others"


def _by_order(lines: list[_Line], named: bool, instant: dates.Reader) -> list[list[_Line]]:
    """Return the lines of each order.

    A number that two members share is two orders, and so is one that starts again on another day.
    """
    if not named:
        return [[_numbered(line)] for line in lines]
    found: list[list[_Line]] = []
    open_: dict[tuple[str, str], list[_Line]] = {}
    member_of: dict[str, str] = {}
    for line in lines:
        if not line.order:
            found.append([_numbered(line)])
            continue
        member = line.member or member_of.get(line.order, "")
        member_of[line.order] = member
        order = open_.get((line.order, member))
        if order is None or _starts_again(order, line, instant, found[-1] is order):
            order = open_[line.order, member] = []
            found.append(order)
        order.append(line)
    return found


def _starts_again(order: list[_Line], line: _Line, instant: dates.Reader, is_last: bool) -> bool:
    """Tell whether a line is of another day; the lines of one order may pass a midnight."""
    before, after = instant(order[-1].time), instant(line.time)
    if before is None or after is None:
        return False
    return abs(after // DAY - before // DAY) > is_last


def _numbered(line: _Line) -> _Line:
    return msgspec.structs.replace(line, order=f"line {line.number}")


def _cents(amount: int) -> int:
    """Return the cents of an amount in millionths of millionths, half a cent away from zero."""
    cents = (abs(amount) * 100 * 2 + amounts.PARTS**2) // (2 * amounts.PARTS**2)
    return cents if amount >= 0 else -cents


def _event(
    placed: _Placed, currency: str | None, columns: Columns, complaints: _Complaints
) -> Iterator[Received]:
    order = placed.order
    event: Event = {
        "type": "purchase" if order.cents >= 0 else "refund",
        "member_id": order.member,
        "occurred_at": order.at,
        "order_id": order.id,
        "total": abs(order.cents) / 100,
    }
    if order.cents >= 0 and currency is not None:
        event["currency"] = currency
    try:
        yield _received(event)
    except InvalidEvent as error:
        amount = columns.price if columns.total is None else columns.total
        column, wanted = {
            "$.member_id": (columns.member, f"a name of at most {LONGEST_ID} characters"),
            "$.order_id": (columns.order, f"a number of at most {LONGEST_ID} characters"),
            "$.total": (amount, f"an amount of at most {MOST:,.0f}"),
        }[error.path]
        complaints.add(placed.line, columns.name(column), f"was not {wanted}")


def _received(event: Event) -> Received:
    """Return what a worker would make of an event; raise ``InvalidEvent``."""
    member = event.get("member_id") or event["anonymous_id"]
    topic = TOPIC_OF[event["type"]]
    return receive(topic, orjson.dumps(event), member.encode(), 0, 0, event["occurred_at"])


def _order(received: Received) -> Order | None:
    event = received.event
    if event.member_id is None:
        return None
    if isinstance(event, Purchased):
        return Order(event.member_id, event.order_id, received.at, round(event.total * 100))
    if isinstance(event, Refunded) and event.total is not None:
        return Order(event.member_id, event.order_id, received.at, -round(event.total * 100))
    return None


def members_of(orders: Sequence[Order]) -> dict[str, list[Order]]:
    """Return each member's orders and refunds, oldest first."""
    found: dict[str, list[Order]] = {}
    for order in orders:
        found.setdefault(order.member, []).append(order)
    return found
