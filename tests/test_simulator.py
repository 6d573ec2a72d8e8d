"""The simulator: the same seed makes the same members, and they behave like members."""

import json
from collections import Counter, defaultdict
from datetime import datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import orjson
import pytest
from importing import assert_on_the_wire, run, types

from app.event_files import read_lines
from app.simulator import DEFAULT_END_MS, catalogue, catalogue_events, simulate
from models.times import DAY, HOUR, parse_instant

DAYS = 200
TYPES = {
    *("visit", "view_item", "search"),
    *("add_to_cart", "remove_from_cart", "begin_checkout"),
    *("purchase", "order_delivered", "cancel", "refund", "review"),
    *("register", "link", "profile", "consent"),
    *("opened", "clicked", "unsubscribed"),
}


@pytest.fixture(scope="module")
def events():
    return list(simulate(800, DAYS, 7, DEFAULT_END_MS))


@pytest.fixture(scope="module")
def by_member(events):
    found = defaultdict(list)
    for event in events:
        if "member_id" in event:
            found[event["member_id"]].append(event)
    return found


def test_the_same_seed_makes_the_same_bytes_and_another_seed_others(tmp_path, capsys):
    outs = [tmp_path / f"{name}.jsonl.gz" for name in "abc"]
    for out, seed in zip(outs, ("5", "5", "6"), strict=True):
        words = ("--members", "40", "--days", "30", "--seed", seed, "--json")
        assert run("simulate", *words, "--out", out) == 0
    first, again, other = (out.read_bytes() for out in outs)
    assert first == again
    assert first != other
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    lines = [orjson.loads(line) for _, line in read_lines(outs[2])]
    items = [line for line in lines if line["type"] == "item"]
    assert (result["events"], result["items"]) == (len(lines) - len(items), len(items))
    assert lines[: len(items)] == list(catalogue_events(6))


def test_more_members_leave_the_others_as_they_were():
    few = list(simulate(5, 60, 3, DEFAULT_END_MS))
    many = simulate(50, 60, 3, DEFAULT_END_MS)
    of_the_few = {f"{event['event_id'].split('-')[0]}" for event in few}
    assert few == [event for event in many if event["event_id"].split("-")[0] in of_the_few]


def test_events_are_in_order_inside_the_window_and_on_the_wire(events):
    assert_on_the_wire(events)
    assert events[0]["occurred_at"] >= DEFAULT_END_MS - DAYS * DAY
    assert events[-1]["occurred_at"] < DEFAULT_END_MS
    assert events[-1]["occurred_at"] > DEFAULT_END_MS - 2 * HOUR


def test_until_moves_the_window(tmp_path):
    out = tmp_path / "events.jsonl"
    words = ("--members", "20", "--days", "10", "--seed", "1", "--until", "2024-03-01T00:00:00Z")
    assert run("simulate", *words, "--out", out) == 0
    times = [orjson.loads(line).get("occurred_at") for _, line in read_lines(out)]
    end = parse_instant("2024-03-01T00:00:00Z")
    assert all(end - 10 * DAY <= time < end for time in times if time is not None)


def test_days_that_begin_before_1970_are_exit_code_2(tmp_path, capsys):
    words = ("--members", "1", "--days", "10", "--seed", "1", "--until", "1000")
    assert run("simulate", *words, "--out", tmp_path / "out") == 2
    assert "--until" in capsys.readouterr().err


def test_every_event_has_an_id_of_its_own(events):
    assert len({event["event_id"] for event in events}) == len(events)


def test_every_kind_of_event_occurs_and_messages_are_rare(events):
    count = types(events)
    assert count.keys() == TYPES
    assert count["opened"] < len(events) / 50


def test_members_are_anonymous_until_they_register_and_linked_when_they_do(events, by_member):
    anonymous = {event["anonymous_id"] for event in events if "member_id" not in event}
    links = {event["anonymous_id"]: event for event in events if event["type"] == "link"}
    assert 0.2 < len(links) / len(by_member) < 0.4
    assert links.keys() <= anonymous
    registered = {}
    for member, own in by_member.items():
        assert own[0]["type"] == "register"
        assert types(own)["register"] == 1
        registered[member] = own[0]["occurred_at"]
    for event in events:
        link = links.get(event.get("anonymous_id", ""))
        if link is not None and event is not link:
            assert event["occurred_at"] <= registered[link["member_id"]]


def test_visits_have_a_daily_and_a_weekly_rhythm(events):
    zone = ZoneInfo("Asia/Shanghai")
    local = [datetime.fromtimestamp(event["occurred_at"] / 1000, zone) for event in events]
    weekend = sum(moment.weekday() >= 5 for moment in local) / len(local)
    assert 0.31 < weekend < 0.40  # 2/7 = 0.286 without a rhythm
    night = sum(2 <= moment.hour < 6 for moment in local) / len(local)
    evening = sum(19 <= moment.hour < 23 for moment in local) / len(local)
    assert night < 0.04
    assert evening > 0.25  # 4/24 = 0.167 without a rhythm


def test_another_brand_zone_moves_the_rhythm(events):
    def evening(made, zone):
        hours = [datetime.fromtimestamp(event["occurred_at"] / 1000, zone).hour for event in made]
        return sum(19 <= hour < 23 for hour in hours) / len(hours)

    berlin = list(simulate(100, 100, 7, DEFAULT_END_MS, "Europe/Berlin"))
    assert evening(berlin, ZoneInfo("Europe/Berlin")) > 0.25
    assert evening(events, ZoneInfo("Europe/Berlin")) < 0.25


def test_few_members_make_most_of_the_events(by_member):
    sizes = sorted((len(own) for own in by_member.values()), reverse=True)
    top = sum(sizes[: len(sizes) // 10])
    assert 0.25 < top / sum(sizes) < 0.6


def test_some_view_without_buying_and_some_leave_carts_and_checkouts(by_member):
    situations = Counter()
    for own in by_member.values():
        for at, event in enumerate(own):
            soon = [
                later
                for later in own[at + 1 : at + 60]
                if later["occurred_at"] <= event["occurred_at"] + DAY
            ]
            kinds = {later["type"] for later in soon}
            if event["type"] == "view_item" and "purchase" not in kinds:
                situations["viewed"] += 1
            if event["type"] == "add_to_cart" and not {"begin_checkout", "purchase"} & kinds:
                situations["cart"] += 1
            if event["type"] == "begin_checkout":
                situations["checkout" if "purchase" not in kinds else "paid"] += 1
    assert situations["viewed"] > 10_000
    assert situations["cart"] > 500
    assert situations["checkout"] > 300
    assert situations["paid"] > 500


def test_some_never_buy_some_come_back_after_30_60_and_90_days_and_some_are_regulars(by_member):
    never = sum("purchase" not in types(own) for own in by_member.values()) / len(by_member)
    assert 0.2 < never < 0.5
    returns = Counter()
    regulars = 0
    for own in by_member.values():
        visits = [event["occurred_at"] for event in own if event["type"] == "visit"]
        for earlier, later in pairwise(visits):
            returns.update(days for days in (30, 60, 90) if later - earlier > days * DAY)
        orders = [event["occurred_at"] for event in own if event["type"] == "purchase"]
        gaps = [later - earlier for earlier, later in pairwise(orders)]
        regulars += len(orders) >= 8 and max(gaps) < 45 * DAY
    assert returns[30] > returns[60] > returns[90] > 20
    assert regulars > 10


def test_money_adds_up(events):
    paid = {}
    for event in events:
        if event["type"] == "purchase":
            value = sum(line["quantity"] * line["price"] for line in event["items"])
            assert event["total"] + event.get("discount", 0) == pytest.approx(value)
            assert ("coupon" in event) == ("discount" in event)
            paid[event["order_id"]] = event
        elif event["type"] in ("cancel", "order_delivered", "refund"):
            order = paid[event["order_id"]]
            assert event["occurred_at"] > order["occurred_at"]
            assert event.get("total", 0) <= order["total"]


def test_the_catalogue_has_eight_categories_and_every_bought_item_is_in_it(events):
    products = {product.item_id: product for product in catalogue(7)}
    assert len(products) == 200
    assert len({product.category for product in products.values()}) == 8
    for event in events:
        if event["type"] == "view_item":
            product = products[event["item_id"]]
            assert (event["category"], event["price"]) == (product.category, product.price)
