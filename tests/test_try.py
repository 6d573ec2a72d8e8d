"""``lifecycle try``: exports of many kinds, what is computed of them, and the page."""

import gzip
import json
import random
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from app.cli import main
from app.importers.report import InputError
from app.try_ import would_be
from app.try_.cohort import cohort
from app.try_.foresight import Predictions, Quality, TooLittle
from app.try_.html import Money
from app.try_.late import late_of, measure_of, usual_gaps
from app.try_.orders import LONGEST_ID, MOST, Book, Order, members_of, read
from app.try_.predicting import predict, scores_of
from app.try_.stages import replayed, stage_at
from config.paths import load_config
from models.predictions import Predictions as Chosen
from models.replay import Replay
from models.rulebook import RuleBook
from models.rules import LateForMember, Limits
from models.stages import STAGES
from models.times import DAY, from_datetime

UTC_ZONE = ZoneInfo("UTC")


def book_of(path: Path, zone: ZoneInfo = UTC_ZONE, csv_map: Path | None = None) -> Book:
    return read(path, zone, csv_map, lambda _: None)


def at(text: str) -> int:
    return from_datetime(datetime.fromisoformat(text).replace(tzinfo=UTC))


SAME = [
    Order("ann", "7", at("2025-03-04T10:30"), 125050),
    Order("ben", "8", at("2025-03-04T18:05"), 990),
    Order("ann", "9", at("2025-03-17T09:00"), 100000),
]
DIALECTS = {
    "plain": "customer_id,order_id,order_date,total\n"
    "ann,7,2025-03-04 10:30:00,1250.50\nben,8,2025-03-04 18:05:00,9.9\n"
    "ann,9,2025-03-17T09:00,1000\n",
    "German": "\ufeffBestellung Order No;Customer No;Order Date;Total Amount (EUR)\r\n"
    '"7";"ann";"04.03.2025 10:30";"€ 1.250,50"\r\n"8";"ben";"04.03.2025 18:05";"9,90"\r\n'
    '"9";"ann";"17.03.2025 09:00";"1.000,00"\r\n',
    "American": "Order ID\tEmail\tDate\tAmount\n7\tann\t03/04/2025 10:30 AM\t$1,250.50\n"
    "8\tben\t3/4/2025 6:05 PM\t$9.90\n9\tann\t03/17/2025 9:00 AM\t$1,000.00\n",
    "Chinese": "订单编号,买家会员名,付款时间,实付金额\n7,ann,2025年3月4日 10:30,¥1250.50\n"
    "8,ben,2025/3/4 18:05:00,9.90\n9,ann,2025-03-17 09:00,1000\n",
    "epoch": "transaction id|user id|timestamp|revenue\n7|ann|1741084200|1250.5\n"
    "8|ben|1741111500000|9.90\n9|ann|1742202000|1000.00\n",
    "lines": "InvoiceNo,CustomerID,InvoiceDate,Quantity,UnitPrice\n"
    "7,ann,2025-03-04 10:30,2.0,500.25\n"
    "7,ann,2025-03-04 10:30,1,250\n8,ben,2025-03-04 18:05,3,3.30\n"
    "9,ann,2025-03-17 09:00,100,10\n",
    "Magento": '"ID","Purchase Date","Bill-to Name","Grand Total (Base)","Customer Email"\n'
    '"7","Mar 4, 2025 10:30:00 AM","A","1250.50","ann"\n'
    '"8","Mar 4, 2025 6:05:00 PM","B","9.90","ben"\n'
    '"9","Mar 17, 2025 9:00:00 AM","A","1000","ann"\n',
    "digits": "customer_id,order_id,order_date,total\n"
    "ann,7,20250304103000,1250.50\nben,8,20250304180500,9.9\nann,9,20250317090000,1000\n",
    "short": "customer_id,order_id,order_date,total\n"
    "ann,7,4-Mar-25 10:30,1250.50\nben,8,04-MAR-25 6:05 PM,9.9\nann,9,17-Mar-25 09:00,1000\n",
    "offsets": "email,order number,created_at,subtotal\nann,7,2025-03-04 18:30:00 +0800,1250.50\n"
    "ben,8,2025-03-05T02:05:00+08:00,9.90\nann,9,2025-03-17 09:00:00 UTC,1000.00\n",
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_same_orders_come_out_of_every_kind_of_export(tmp_path: Path, dialect: str) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(DIALECTS[dialect], newline="")
    book = book_of(path)
    assert book.orders == SAME
    assert (book.bad_count, book.left_out) == (0, {})


def test_names_of_windows_1252_are_not_taken_for_chinese(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    names = ("Müller", "Jörg Schäfer", "Günther", "Özil", "SØRENSEN", "Noël")
    text = export("customer_name,date,total", *(f"{name},{{d}},5" for name in names))
    path.write_bytes(text.encode("cp1252"))
    assert {order.member for order in book_of(path).orders} == set(names)


@pytest.mark.parametrize("goods", ["L码", "大L", "T恤", "A型B款", "2双", "衬衫"])
def test_chinese_beside_latin_letters_stays_chinese(tmp_path: Path, goods: str) -> None:
    path = tmp_path / "orders.csv"
    text = export("会员号,下单时间,实付金额,款式", f"ann{{n}},{{d}},5,{goods}")
    path.write_bytes(text.encode("gb18030"))
    assert book_of(path).columns["member"] == "会员号"


@pytest.mark.parametrize("encoding", ["gb18030", "utf-16", "utf-8"])
def test_encodings_are_told_apart_and_gzip_is_unpacked(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "orders.csv.gz"
    path.write_bytes(gzip.compress(DIALECTS["Chinese"].encode(encoding)))
    book = book_of(path)
    assert book.orders == SAME
    assert book.columns["member"] == "买家会员名"


def test_times_without_an_offset_are_of_the_zone(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text("user,date,amount\nann,2025-03-04 10:30,5\nann,2025-07-01,5\n")
    first, second = book_of(path, ZoneInfo("Europe/Berlin")).orders
    assert first.at == at("2025-03-04T09:30")
    assert second.at == at("2025-07-01T10:00")  # a day is taken at its noon


def test_a_shopify_order_is_one_order_however_many_lines_it_has(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(
        "Name,Email,Financial Status,Currency,Subtotal,Total,Created at,Lineitem quantity,"
        "Lineitem price\n"
        "#1,ann@x.org,paid,CAD,30,35,2025-03-04 10:30:00 +0000,1,10\n"
        "#1,,,,,,2025-03-04 10:30:00 +0000,2,10\n"
        "#2,ben@x.org,voided,CAD,8,9,2025-03-05 10:30:00 +0000,1,8\n"
        "#3,ben@x.org,paid,CAD,12,13,2025-03-06 10:30:00 +0000,1,12\n"
    )
    book = book_of(path)
    assert [(o.member, o.id, o.cents) for o in book.orders] == [
        ("ann@x.org", "#1", 3000),
        ("ben@x.org", "#3", 1200),
    ]
    assert book.left_out == {"voided": 1}
    assert book.currency == "CAD"


@pytest.mark.parametrize(
    ("amounts", "cents"),
    [(("30", "30"), 3000), (("10", "20"), 3000), (("30", ""), 3000)],
    ids=["a repeated total", "totals of lines", "a total on the first line"],
)
def test_the_total_of_an_order_is_told_from_that_of_a_line(
    tmp_path: Path, amounts: tuple[str, str], cents: int
) -> None:
    path = tmp_path / "orders.csv"
    lines = "".join(f"o1,ann,2025-03-04,{amount}\n" for amount in amounts)
    path.write_text(f"order_id,customer,date,amount\n{lines}o2,ann,2025-03-05,7\n")
    assert [order.cents for order in book_of(path).orders] == [cents, 700]


def test_what_went_back_is_a_refund_and_guests_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(
        "InvoiceNo,CustomerID,InvoiceDate,Quantity,UnitPrice\n1,ann,2025-03-04,2,5\n"
        "C2,ann,2025-03-06,-1,5\n3,,2025-03-07,1,5\n4,0,2025-03-07,1,5\n"
    )
    book = book_of(path)
    assert [(order.id, order.cents) for order in book.orders] == [("1", 1000), ("C2", -500)]
    assert [event.type for event in book.events] == ["purchase", "refund"]
    assert book.left_out == {"": 2}


AMOUNTS = {
    "millions with points": (("1.250.000", "900", "3.500"), (1_250_000, 900, 3_500)),
    "spaces and a comma": (("1 250,00", "9,5", "2\u202f000"), (1_250, 9.5, 2_000)),
    "apostrophes": (("1'250.50", "900", "12"), (1_250.5, 900, 12)),
    "groups of India": (("12,34,500.50", "900", "1,250"), (1_234_500.5, 900, 1_250)),
    "thousands alone": (("1.250", "3.500", "900"), (1_250, 3_500, 900)),
    "less than one": (("0.550", "12.500", "3.125"), (0.55, 12.5, 3.13)),
    "rupiah": (("Rp 1.250.000", "Rp900", "Rp 3.500"), (1_250_000, 900, 3_500)),
}


@pytest.mark.parametrize("kind", AMOUNTS)
def test_amounts_are_read_as_the_whole_column_writes_them(tmp_path: Path, kind: str) -> None:
    cells, wanted = AMOUNTS[kind]
    path = tmp_path / "orders.csv"
    lines = "".join(f"ann;2025-03-1{day};{cell}\n" for day, cell in enumerate(cells))
    path.write_text("customer;date;Grand Total\n" + lines)
    assert [order.cents for order in book_of(path).orders] == [round(100 * one) for one in wanted]


def test_an_amount_that_is_written_otherwise_than_the_column_is_a_bad_line(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    cells = ["1.250,50", "12,5", "9,90", "1.5", "1,250.00", "1.25.000", "7,00", "8,00", "900"] * 3
    lines = "".join(f"ann;2025-03-{day + 1:02};{cell}\n" for day, cell in enumerate(cells))
    path.write_text("customer;date;Grand Total\n" + lines)
    book = book_of(path)
    assert [bad.line for bad in book.bad] == [5, 6, 7, 14, 15, 16, 23, 24, 25]
    assert {bad.column for bad in book.bad} == {"Grand Total"}
    assert book.bad[0].reason == "was not an amount: 1.5"


def test_three_decimals_of_a_quantity_are_no_thousands(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text("customer,date,qty,price\nann,2025-03-04,2.000,5.00\n")
    assert [order.cents for order in book_of(path).orders] == [1000]


MIXED = {
    "a column": "customer,date,amount,currency\nann,2025-03-04,5,USD\nann,2025-03-05,5,usd\n"
    "ben,2025-03-06,5,JPY\nben,2025-03-07,5,\n",
    "symbols": "customer,date,amount\nann,2025-03-04,$5\nann,2025-03-05,$5\nben,2025-03-06,€5\n",
}


@pytest.mark.parametrize("kind", MIXED)
def test_amounts_of_two_currencies_are_not_added_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(MIXED[kind])
    assert main(["try", str(path), "--out", str(tmp_path / "page.html")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"{path}:4: " in said
    assert "beside USD" in said


@pytest.mark.parametrize(
    "pair",
    [
        ("10.50 USD", "11.50 GBP"),
        ("HK$10.50", "US$11.50"),
        ("A$10.50", "$11.50"),
        ("₽10.50", "₦11.50"),
        ("kr 10.50", "$11.50"),
        ("-10.50 EUR", "£3"),
    ],
)
def test_what_stands_beside_amounts_must_be_the_same(tmp_path: Path, pair: tuple[str, str]) -> None:
    path = tmp_path / "orders.csv"
    one, other = pair
    path.write_text(export("customer,date,total", f"ann,{{d}},{one}", f"ann,{{d}},{other}"))
    with pytest.raises(InputError, match=r":3: .* beside .* several currencies"):
        book_of(path)


@pytest.mark.parametrize(
    ("cells", "code"),
    [
        (("$5", "USD 5", "(5.00) USD", "5", "US$ 1,000.50"), "USD"),
        (("¥5", "5元", "RMB 5", "-￥5"), "CNY"),
        (("kr 5", "5 kr.", "5"), None),
    ],
)
def test_one_currency_may_be_written_in_several_ways(
    tmp_path: Path, cells: tuple[str, ...], code: str | None
) -> None:
    path = tmp_path / "orders.csv"
    path.write_text("customer;date;total\n" + "".join(f"ann;2025-03-04;{c}\n" for c in cells))
    book = book_of(path)
    assert (book.currency, len(book.orders)) == (code, len(cells))


def test_what_was_never_bought_counts_in_no_currency(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(
        "customer,date,amount,currency,status\nann,2025-03-04,5,USD,paid\n"
        "ben,2025-03-06,5,JPY,voided\nben,2025-03-07,5,,paid\n"
    )
    book = book_of(path)
    assert (book.currency, len(book.orders)) == ("USD", 2)


@pytest.mark.parametrize(
    "status",
    [
        "On hold",
        "wc-cancelled",
        "wc-on-hold",
        "Declined",
        "Payment failed",
        "Not paid",
        "not yet paid",
        "Cancelled by customer",
        "Suspected Fraud",
        "Payment Review",
        "Pending payment",
        "pending_payment",
        "checkout-draft",
        "CLOSED",
        "wc-failed",
        "unpaid",
        "Voided",
        "等待买家付款",
        "交易关闭",
        "退款成功",
    ],
)
def test_an_order_that_was_not_bought_is_left_out(tmp_path: Path, status: str) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(export("user,date,total,status", "ann,{d},5,paid", f"ann,{{d}},5,{status}"))
    book = book_of(path)
    assert (book.left_out, len(book.orders), book.unknown) == ({status: 20}, 20, {})


def test_a_status_that_is_not_known_counts_and_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "orders.csv"
    lines = ("partially_refunded", "wc-completed", "Blorp", "Processing", "")
    path.write_text(
        export("user,date,total,status", *(f"ann,{{d}},5,{status}" for status in lines))
    )
    assert main(["try", str(path), "--out", str(tmp_path / "page.html")]) == 0
    said = capsys.readouterr()
    assert "40 orders of 1 member" in said.out
    assert said.err == "note: counted as bought, status not known: Blorp (8)\n"


def test_two_currencies_are_not_added_up_by_a_map_either(tmp_path: Path) -> None:
    path, csv_map = tmp_path / "orders.csv", tmp_path / "map.yaml"
    path.write_text(MIXED["a column"])
    csv_map.write_text(
        "time: {column: date, time_zone: UTC}\nfields: {member_id: customer}\n"
        "events:\n  - {type: purchase, fields: {order_id: date, total: amount, "
        "currency: currency}}\n"
    )
    with pytest.raises(InputError, match="several currencies"):
        book_of(path, csv_map=csv_map)


def test_what_events_cannot_hold_is_a_bad_line_with_the_column_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(
        "Buyer ID,Order No,Order Date,Grand Total\n"
        f"{'x' * LONGEST_ID},1,2025-03-04,{MOST}\n{'x' * (LONGEST_ID + 1)},2,2025-03-04,5\n"
        f"ann,{'3' * (LONGEST_ID + 1)},2025-03-04,5\nann,4,2025-03-04,{MOST + 1}\n"
    )
    book = book_of(path)
    assert len(book.orders) == 1
    assert [(bad.line, bad.column) for bad in book.bad] == [
        (3, "Buyer ID"),
        (4, "Order No"),
        (5, "Grand Total"),
    ]


@pytest.mark.parametrize("stray", ["1970-01-01", "1970-01-02", "2099-12-31"])
@pytest.mark.parametrize("many", [2, 20])
def test_the_first_day_of_clocks_and_days_to_come_are_never_believed(
    tmp_path: Path, stray: str, many: int
) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(export("customer,date,total", "ann,{d},5") + f"ben,{stray},5\n" * many)
    book = book_of(path)
    assert (len(book.orders), book.bad_count) == (40, many)
    assert book.bad[0].reason.startswith(stray)


@pytest.mark.parametrize("stray", ["1970-01-01", "2099-12-31", "2205-03-01", "2024-10-01"])
@pytest.mark.parametrize("mapped", [False, True])
def test_a_date_far_from_all_others_is_set_aside(tmp_path: Path, stray: str, mapped: bool) -> None:
    path, csv_map = tmp_path / "orders.csv", tmp_path / "map.yaml"
    days = [f"2025-{month:02}-{day:02}" for month in (3, 4, 5) for day in range(1, 29, 3)]
    days.insert(7, stray)
    lines = "".join(f"{number},ann,{day},5\n" for number, day in enumerate(days))
    path.write_text("order_id,customer,day,amount\n" + lines)
    csv_map.write_text(
        "time: {column: day, time_zone: UTC}\nfields: {member_id: customer}\n"
        "events:\n  - {type: purchase, fields: {order_id: order_id, total: amount}}\n"
    )
    book = book_of(path, csv_map=csv_map if mapped else None)
    assert len(book.orders) == len(days) - 1
    assert book.orders[0].at // DAY == at("2025-03-01") // DAY
    assert book.orders[-1].at // DAY == at("2025-05-28") // DAY
    if mapped:
        assert book.left_out == {f"{stray} lies more than 90 days from nearly all others": 1}
    else:
        assert [(bad.line, bad.column, bad.reason[:10]) for bad in book.bad] == [(9, "day", stray)]


def export(header: str, *lines: str) -> str:
    """Return the text of an export; ``{d}`` in a line is a day of its own, ``{n}`` a number."""
    days = [f"2025-{1 + n // 28:02}-{1 + n % 28:02}" for n in range(40)]
    rows = [lines[n % len(lines)].format(d=day, n=n) for n, day in enumerate(days)]
    return "\n".join([header, *rows]) + "\n"


BESIDE = {
    "tax": ("quantity,unit_price,tax_amount", "2,10.50,1.99", 2100),
    "discount": ("quantity,unit_price,discount amount", "2,10.50,0.00", 2100),
    "Chinese discount": ("购买数量,商品单价,优惠金额", "2,10.50,1.00", 2100),
    "loose total beside a pair": ("quantity,price,amount_of_the_till", "2,10.50,3.00", 2100),
    "shipping": ("shipping_amount,order_sum", "4.90,10.50", 1050),
    "Chinese coupon": ("优惠金额,订单实付", "1.00,10.50", 1050),
    "total including tax": ("Tax Amount,Order Total (incl. tax)", "1.00,10.50", 1050),
}


@pytest.mark.parametrize("kind", BESIDE)
def test_what_is_paid_beside_the_goods_is_not_what_an_order_came_to(
    tmp_path: Path, kind: str
) -> None:
    header, line, cents = BESIDE[kind]
    path = tmp_path / "orders.csv"
    path.write_text(export(f"order_id,customer_id,date,{header}", f"o{{n}},ann,{{d}},{line}"))
    assert {order.cents for order in book_of(path).orders} == {cents}


def test_two_amounts_of_equal_right_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(export("customer_id,date,shop_amount,till_amount", "ann,{d},4.90,1{n}.50"))
    assert main(["try", str(path), "--out", str(tmp_path / "page.html")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "may be shop_amount or till_amount; say which with --map" in said


@pytest.mark.parametrize("heading", ["Name", "ID"])
def test_a_name_that_comes_back_on_other_days_is_no_order_number(
    tmp_path: Path, heading: str
) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(export(f"{heading},Email,Date,Total", "A,a@x,{d},5", "B,b@x,{d},5"))
    assert len(book_of(path).orders) == 40


def test_an_order_number_that_starts_again_is_another_order(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(
        "order_id,customer,date,total\n1,ann,2025-03-04 23:59,5\n1,ann,2025-03-05 00:01,6\n"
        "2,ann,2025-03-05,7\n1,ann,2025-03-06,8\n1,ann,2025-03-06,9\n1,ann,2025-05-06,1\n"
    )
    assert [order.cents for order in book_of(path).orders] == [1100, 700, 1700, 100]


def test_a_column_about_the_member_is_not_who_it_is(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    for about in ("customer_type", "Customer Group", "customerCity", "买家留言"):
        header = f"order_no,order_date,{about},customer_code,total"
        path.write_text(export(header, "{n},{d},retail,c{n},5", "{n},{d},b2b,c{n},5"))
        assert book_of(path).columns["member"] == "customer_code"


def test_a_handful_of_values_on_very_many_lines_are_no_members(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    lines = "".join(f"{n % 3},m{n % 90},2025-03-0{n % 9 + 1},5\n" for n in range(600))
    path.write_text("customer_id,phone,date,total\n" + lines)
    assert book_of(path).columns["member"] == "phone"


def test_an_offset_may_have_hours_only(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(
        "user,date,amount\nann,2025-01-01 10:00:00+00,5\nann,2025-01-02 10:00:00.5-05,5\n"
    )
    first, second = book_of(path).orders
    assert (first.at, second.at) == (at("2025-01-01T10:00"), at("2025-01-02T15:00:00.500"))


def test_an_address_is_the_same_in_capitals(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text("email,date,amount\nAnn@X.org,2025-01-01,5\nann@x.org,2025-01-02,5\n")
    assert {order.member for order in book_of(path).orders} == {"ann@x.org"}


@pytest.mark.parametrize("linked", [False, True])
def test_the_page_never_overwrites_the_export(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], linked: bool
) -> None:
    path, out = tmp_path / "orders.csv", tmp_path / "page.html"
    path.write_text(DIALECTS["plain"])
    out.symlink_to(path)
    out = out if linked else path
    assert main(["try", str(path), "--out", str(out)]) == 2
    assert capsys.readouterr().err.startswith(f"{out}: the page would overwrite {path}")
    assert path.read_text() == DIALECTS["plain"]


def test_bad_lines_are_named_and_stop_nothing(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(
        'note,customer,date,amount\n"two\nlines",ann,2025-03-04,5\nx,ann,2025-13-04,5\n'
        "x,ann\n\nx,ben,2025-03-05,five\nx,ben,2025-03-06,5\nx,cat,2025-03-07,6\nx,cat,,6\n"
        "x,cat,2025-03-08,6\nx,cat,2025-03-09,6\nx,cat,2025-03-10,6\nx,cat,2025-03-11,6\n"
        "x,cat,2025-03-12,6\nx,cat,2025-03-13,6\n"
    )
    book = book_of(path)
    assert [(bad.line, bad.column) for bad in book.bad] == [
        (4, "date"),
        (5, "amount"),
        (7, "amount"),
        (10, "date"),
    ]
    assert book.bad_count == 4
    assert len(book.orders) == 9


def test_days_and_months_are_told_apart_by_the_order_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    days = ["01/02/2025", "02/02/2025", "05/02/2025", "01/03/2025", "09/03/2025"]
    path.write_text("user,date,amount\n" + "".join(f"ann,{day},5\n" for day in days))
    assert book_of(path).orders[-1].at == at("2025-03-09T12:00")


WRONG = {
    "": "the file is empty",
    "customer,date,amount\n": "no line below the header",
    "date,amount\n2025-03-04,5\n": "whose order it is .* the header has: date, amount; .*--map",
    "customer,amount\nann,5\n": "when it was",
    "customer,date\nann,2025-03-04\n": "what it came to",
    "customer,date,amount\nann,03/04/2025,5\n": "date: the dates may have the day or the month",
    "customer,date,amount\nann,25-Nov-01,5\nann,25-Nov-02,5\n": "the day or the year first",
    "customer,when,amount\nann,20251301123000,5\n": "when it was",
    "customer,date,amount\nann,2025-13-04,5\n": "none of the 1 lines gives an order",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_cannot_be_told_ends_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(text)
    assert main(["try", str(path), "--out", str(tmp_path / "page.html")]) == 2
    said = capsys.readouterr().err
    assert re.search(WRONG[text], said)
    assert said.count("\n") == 1
    assert str(path) in said
    assert not (tmp_path / "page.html").exists()


def test_a_page_for_a_folder_that_is_missing_is_refused_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "none" / "page.html"
    assert main(["try", str(tmp_path / "not there.csv"), "--out", str(out)]) == 2
    assert capsys.readouterr().err == f"{out}: there is no folder {out.parent}\n"


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_bytes(bytes(range(256)))
    with pytest.raises(InputError, match="not a text file"):
        book_of(path)


def test_a_map_gives_what_is_found_without_one(tmp_path: Path) -> None:
    path, csv_map = tmp_path / "orders.csv", tmp_path / "map.yaml"
    path.write_text(DIALECTS["plain"])
    csv_map.write_text(
        "time: {column: order_date, time_zone: UTC}\nfields: {member_id: customer_id}\n"
        "events:\n  - {type: purchase, fields: {order_id: order_id, total: total}}\n"
    )
    assert book_of(path, csv_map=csv_map).orders == book_of(path).orders


# --- a made shop ------------------------------------------------------------------------------

FIRST = datetime(2024, 9, 2, 9, tzinfo=UTC)


def made_shop(path: Path, members: int, days: int, seed: int = 3) -> Path:
    """Write the orders of members of whom some keep their rhythm and some stop."""
    chance = random.Random(seed)
    rows = []
    for number in range(members):
        pause, day = chance.choice([6, 12, 25, 45]), chance.uniform(0, days * 0.6)
        stops = chance.uniform(day, days * 1.6)
        while day < min(stops, days):
            moment = FIRST + timedelta(days=day)
            rows.append((moment, f"m{number}", round(chance.lognormvariate(3, 0.5), 2)))
            day += chance.gammavariate(3, pause / 3) + 0.2
    rows.sort()
    lines = [
        f"{n},{who},{when:%Y-%m-%d %H:%M:%S},{much}" for n, (when, who, much) in enumerate(rows)
    ]
    path.write_text("order_id,customer_id,order_date,total\n" + "\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Book:
    return book_of(made_shop(tmp_path_factory.mktemp("shop") / "orders.csv", 160, 240))


def test_stages_are_those_of_the_whole_engine(shop: Book) -> None:
    loaded, end = load_config(), shop.events[-1].at
    history = replayed(shop.events, loaded.stages, Limits(), end, lambda _: None)
    run = Replay(RuleBook(loaded.rules, loaded.stages, loaded.policy, Limits(), loaded.audiences))
    middle = history.weeks[len(history.weeks) // 2]
    for event in shop.events:
        if event.at > middle:
            break
        run.fold(event)
    for _ in run.finish(middle):
        pass
    stages = {key[1]: STAGES[member.stage] for key, member in run.members.items()}
    assert {name: stage_at(history.courses[name], middle) for name in stages} == stages
    counted = dict(zip(history.weeks, history.counts, strict=True))[middle]
    assert counted == Counter(stages.values())
    assert len(counted) > 2
    assert sum(history.moves.values()) == sum(
        stage_at(course, history.since) is not None for course in history.courses.values()
    )


def test_rules_raise_what_replay_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made_shop(tmp_path / "orders.csv", 40, 240)
    csv_map, events = tmp_path / "map.yaml", tmp_path / "events.jsonl"
    csv_map.write_text(
        "time: {column: order_date, time_zone: UTC}\nfields: {member_id: customer_id}\n"
        "events:\n  - {type: purchase, fields: {order_id: order_id, total: total}}\n"
    )
    triggers = tmp_path / "triggers.jsonl"
    assert main(["import", "csv", str(path), "--map", str(csv_map), "--out", str(events)]) == 0
    monkeypatch.setenv("LIFECYCLE_ASSUME_CONSENT", "true")
    assert main(["replay", str(events), "--out", str(triggers)]) == 0
    said = [json.loads(line) for line in triggers.read_text().splitlines()]
    raised = Counter(one["rule"] for one in said if one["type"] == "trigger")
    cancelled = Counter(one["rule"] for one in said if one["type"] == "trigger_cancelled")

    book = book_of(path)
    end = book.events[-1].at
    members = cohort(book.events, end, 140_000)
    models = predictions_of(book).models
    setting = would_be.Setting(None, Limits(assume_consent=True), models, end)
    for alone_below in (10**9, 0):  # in this process, and shared out over others
        monkeypatch.setattr(would_be, "_ALONE_BELOW", alone_below)
        found = would_be.would_be(book.events, members, setting, lambda *_: None)
        mine = {name: found.of_rule(name)[would_be.RAISED] for name in found.rules}
        assert {name: count for name, count in mine.items() if count} == raised
        assert found.cancelled == cancelled
        assert found.members == found.of
    assert raised["churn_risk_high"] > 0


def test_a_part_stands_for_a_large_base_whole_members_at_a_time(
    shop: Book,
) -> None:
    end = shop.events[-1].at
    assert len(cohort(shop.events, end, 140_000)) == 160
    chosen = cohort(shop.events, end, 300)
    weeks = {
        name: (end - orders[0].at) // (7 * DAY) + 1
        for name, orders in members_of(shop.orders).items()
    }
    assert 200 < sum(weeks[name] for name in chosen) <= 300
    setting = would_be.Setting(None, Limits(assume_consent=True), {}, end)
    alone = [event for event in shop.events if event.event.member_id in chosen]
    found = []
    for events in (shop.events, alone):
        found.append(would_be.would_be(events, chosen, setting, lambda *_: None))
    assert found[0].verdicts == found[1].verdicts
    assert (found[0].members, found[0].of) == (len(chosen), 160)
    foreseen = predict(shop.events, chosen, Chosen(), Limits(), {}, lambda _: None)
    assert foreseen is not None
    assert (foreseen.members, foreseen.of, len(foreseen.today)) == (len(chosen), 160, 160)
    assert set(foreseen.scores) <= chosen


def test_late_is_who_is_silent_for_longer_than_the_own_gaps() -> None:
    when = measure_of(load_config().rules)
    assert isinstance(when, LateForMember)

    def orders(*days: int) -> list[Order]:
        return [Order("ann", str(day), day * DAY, 100) for day in days]

    weekly = orders(*range(0, 70, 7))
    assert late_of("ann", weekly, when, 70 * DAY) is None
    late = late_of("ann", weekly, when, 103 * DAY)
    assert late is not None
    assert late.silent == 40
    assert 6 < late.usual < 10
    assert usual_gaps({"ann": weekly, "ben": orders(0, 7)}, when) == {"ann": late.usual}
    assert 15 * DAY < late.late < 33 * DAY
    assert late_of("ann", orders(0, 90, 180, 270), when, 310 * DAY) is None
    assert late_of("ann", orders(0, 7), when, 900 * DAY) is None


# --- predictions ------------------------------------------------------------------------------


def predictions_of(book: Book) -> Predictions:
    by_member = members_of(book.orders)
    when = measure_of(load_config().rules)
    assert when is not None
    gaps = usual_gaps(by_member, when)
    found = predict(book.events, set(by_member), Chosen(), Limits(), gaps, lambda _: None)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def foreseen(shop: Book) -> Predictions:
    return predictions_of(shop)


def test_the_quality_is_what_came_of_what_was_said(shop: Book, foreseen: Predictions) -> None:
    judged = foreseen.judged
    assert isinstance(judged, Quality)
    last = shop.events[-1].at // DAY
    days = {
        name: sorted({o.at // DAY for o in orders})
        for name, orders in members_of(shop.orders).items()
    }
    pairs = []
    for name, scores in foreseen.scores.items():
        for day, chance in scores:
            before = [one for one in days[name] if one <= day]
            counted = judged.first_day <= day <= last - 30 and day - before[-1] < 30
            if counted:
                left = not any(day < one <= day + 30 for one in days[name])
                pairs.append((chance, left))
    gone = [chance for chance, left in pairs if left]
    there = [chance for chance, left in pairs if not left]
    wins = sum((a > b) + (a == b) / 2 for a in gone for b in there)
    assert judged.rows == len(pairs)
    assert judged.last_day <= last - 30
    assert judged.left == pytest.approx(len(gone) / len(pairs))
    assert judged.said == pytest.approx(sum(chance for chance, _ in pairs) / len(pairs))
    assert judged.auc == pytest.approx(wins / len(gone) / len(there))
    assert judged.log_loss < judged.guess
    assert sum(one.rows for one in judged.bins) == judged.rows


def test_scores_of_the_past_do_not_know_what_came_after(shop: Book, foreseen: Predictions) -> None:
    cut = shop.events[len(shop.events) // 2].at
    early = [event for event in shop.events if event.at <= cut]
    day = early[-1].at // DAY
    members = {event.event.member_id or "" for event in early}
    then = predict(early, members, Chosen(), Limits(), {}, lambda _: None)
    assert then is not None
    for name, scores in then.scores.items():
        assert scores == [one for one in foreseen.scores[name] if one[0] <= day]


def test_too_little_data_is_said_to_be_too_little(tmp_path: Path) -> None:
    book = book_of(made_shop(tmp_path / "orders.csv", 12, 100))
    judged = predictions_of(book).judged
    assert isinstance(judged, TooLittle)
    assert judged.days < judged.days_wanted


def test_everybody_who_ordered_is_predicted(shop: Book, foreseen: Predictions) -> None:
    found = foreseen
    assert set(found.today) == set(members_of(shop.orders))
    assert all(0 < one.churn < 1 for one in found.today.values())
    assert found.members == found.of == len(found.today)


def test_what_was_said_of_others_is_what_the_models_of_the_time_say(
    shop: Book, foreseen: Predictions
) -> None:
    # Of who was learned from, both are known: they are the same.
    some = sorted(foreseen.scores)[::10]
    found = scores_of(shop.events, some, foreseen, Limits())
    assert found == {member: foreseen.scores[member] for member in some}


def test_the_usual_gap_of_a_member_is_one_wherever_the_page_tells_it(
    shop: Book, foreseen: Predictions
) -> None:
    when = measure_of(load_config().rules)
    assert when is not None
    end = shop.events[-1].at
    by_member = members_of(shop.orders)
    each = [late_of(name, orders, when, end) for name, orders in by_member.items()]
    late = [one for one in each if one is not None]
    assert len(late) > 10
    today = foreseen.today
    assert [(today[one.member].usual, today[one.member].silent) for one in late] == [
        (one.usual, one.silent) for one in late
    ]


def test_each_member_at_risk_has_a_reason_in_words(foreseen: Predictions) -> None:
    slipping = [one for one in foreseen.today.values() if one.slipping]
    assert len(slipping) > 10
    assert all(one.reasons for one in slipping)
    assert any(len(one.reasons) > 1 for one in slipping)


def test_both_ends_of_an_interval_are_equally_exact() -> None:
    money = Money("GBP")
    assert money.between(6618, 40_700) == "66 &ndash; 407 GBP"
    assert money.between(0, 9_950) == "0 &ndash; 99.50 GBP"


def test_expected_value_is_told_in_what_is_earned(tmp_path: Path) -> None:
    path = made_shop(tmp_path / "orders.csv", 60, 150)
    config = tmp_path / "config"
    config.mkdir()
    totals = []
    for margin in (1.0, 0.25):
        (config / "predictions.yaml").write_text(f"horizon: 30d\nmargin: {margin}\n")
        out = tmp_path / "page.html"
        assert main(["try", str(path), "--out", str(out), "--config", str(config)]) == 0
        text = out.read_text()
        section = text[text.index('<section id="value"') :]
        totals.append(float(re.findall(r"<dd>([\d,.]+)</dd>", section)[0].replace(",", "")))
        assert ("in what you earn, 25%" in section) == (margin == 0.25)
    assert totals[1] == pytest.approx(totals[0] / 4, rel=0.02)


def test_members_who_were_not_learned_from_are_drawn_with_their_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, out = made_shop(tmp_path / "orders.csv", 60, 150), tmp_path / "page.html"
    monkeypatch.setattr("app.try_.commands.LEARNED_WEEKS", 300)
    assert main(["try", str(path), "--out", str(out)]) == 0
    drawn = out.read_text().split('<article class="life">')[1:]
    assert len(drawn) == 10
    # A member of less than a week may not have been asked.
    assert sum('class="l risk"' in one for one in drawn) >= 8


# --- the page ---------------------------------------------------------------------------------


class Page(HTMLParser):
    """Checks that elements close in order; collects what the tests ask for."""

    EMPTY = frozenset({"meta", "br", "link", "img", "input", "hr", "path", "rect", "polygon"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.by_language: Counter[str] = Counter()
        self.feed(text)
        self.close()

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        found = dict(attrs)
        if "id" in found:
            self.ids.append(str(found["id"]))
        if tag == "span" and "lang" in found:
            self.by_language[str(found["lang"])] += 1
        self.links += [str(found[name]) for name in ("href", "src") if name in found]
        assert not any(name.startswith("on") for name in found), tag
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, object]]:
    folder = tmp_path_factory.mktemp("page")
    path = made_shop(folder / "orders.csv", 160, 240)
    text = re.sub(r",(m\d+),", r",<script>alert('\1')</script>,", path.read_text())
    path.write_text(text + "9,<b>,<i>not a time,1\n")
    out = folder / "page.html"
    printed: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "builtins.print", lambda *words, **_: printed.append(" ".join(map(str, words)))
        )
        assert main(["try", str(path), "--out", str(out), "--json"]) == 0
    return out.read_text(), json.loads(printed[-1])


def test_the_page_is_whole_and_needs_nothing_else(made: tuple[str, dict[str, object]]) -> None:
    text, summary = made
    page = Page(text)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    assert not re.search(r"https?:|//cdn|@import|url\(", text)
    assert page.tags["section"] == len(page.links)
    assert page.by_language["en"] == page.by_language["zh"] > 100
    assert page.tags["article"] == 10
    assert summary["bytes"] == len(text.encode())


def test_whatever_the_export_says_is_text_on_the_page(made: tuple[str, dict[str, object]]) -> None:
    text, summary = made
    page = Page(text)
    assert summary["bad_lines"] == 1
    assert page.tags["script"] == 1
    assert "<script>alert(" not in text
    assert any("<script>alert('m" in words for words in page.words)
    assert any("<i>not a time" in words for words in page.words)


def test_the_page_says_what_was_computed(made: tuple[str, dict[str, object]]) -> None:
    text, summary = made
    stages = summary["stages"]
    assert isinstance(stages, dict)
    for stage, count in stages.items():
        assert re.search(rf"{stage}</span>.*?<dd>{count:,}</dd>", text)
    churn = summary["churn"]
    assert isinstance(churn, dict)
    assert churn["enough"]
    assert f"AUC {churn['auc_active']:.3f}" in text
    triggers = summary["triggers"]
    assert isinstance(triggers, dict)
    for rule, count in triggers.items():
        assert re.search(rf"<code>{rule}</code>.*?<strong>{count:,}</strong>", text, re.DOTALL)
    assert "every member agreed to marketing" in text


# Of one order it hangs on the weekday of the member whether anything was ever asked.
@pytest.mark.parametrize(("member", "orders"), [("ann", 1), ("m23", 1), ("ann", 2), ("ann", 5)])
def test_one_member_makes_a_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], member: str, orders: int
) -> None:
    path, out = tmp_path / "one.csv", tmp_path / "page.html"
    lines = "".join(f"{member},2025-0{month + 1}-03,5\n" for month in range(orders))
    path.write_text(f"customer,date,amount\n{lines}")
    assert main(["try", str(path), "--out", str(out)]) == 0
    text = out.read_text()
    assert Page(text).tags["article"] == 1
    assert "Too little data to judge" in text
    said = capsys.readouterr().out
    assert f"{orders} order{'s' * (orders > 1)} of 1 member, 0 bad lines;" in said
