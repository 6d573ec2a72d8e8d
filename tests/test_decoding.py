"""The edge: bytes become one typed event, or an error that names path and reason; never more."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from models.decoding import (
    LAST_EVENT,
    InvalidEvent,
    Received,
    instant,
    receive,
    salvage_opt_out,
)
from models.events import CLASS_OF, MEMBER_TOPICS, TOPIC_OF, ConsentChanged, Unsubscribed
from models.times import DAY, HOUR, MAX_INSTANT

NOW = 1_795_255_200_000  # 2026-11-21T10:00:00Z
LINES = [{"item_id": "sku-1", "category": "tea", "quantity": 2.0, "price": 25.5}]
ITEM = {"item_id": "sku-1", "category": "tea", "price": 25.5}
MESSAGE = {"channel": "sms", "trigger_id": "9f2c", "campaign": "spring"}
OFFER = {"offer_id": "f1", "value": 5.0, "expires_at": NOW + DAY}

# Every type with every field of its own.
OWN_FIELDS: dict[str, dict[str, Any]] = {
    "visit": {},
    "view_item": ITEM,
    "search": {"query": "oolong 乌龙"},
    "add_to_cart": ITEM | {"quantity": 2.0},
    "remove_from_cart": ITEM | {"quantity": 2.0},
    "begin_checkout": {"items": LINES, "value": 51.0, "url": "https://shop.example/c"},
    "purchase": {
        "order_id": "o1",
        "total": 51.0,
        "currency": "CNY",
        "items": LINES,
        "coupon": "NEW",
        "discount": 5.0,
        "store_id": "s1",
        "staff_id": "p1",
    },
    "order_placed": {"order_id": "o1", "total": 51.0, "items": LINES},
    "order_shipped": {"order_id": "o1"},
    "order_delivered": {"order_id": "o1"},
    "return_requested": {"order_id": "o1"},
    "cancel": {"order_id": "o1"},
    "refund": {"order_id": "o1", "total": 25.5, "items": LINES},
    "register": {"referred_by": "m0", "campaign": "spring"},
    "profile": {
        "birthday": "--02-29",
        "time_zone": "Asia/Shanghai",
        "locale": "zh-CN",
        "channels": ["sms", "app_push"],
        "attributes": {"vip": True, "size": 4.0, "note": None, "city": "上海"},
    },
    "consent": {"channel": "sms", "purpose": "marketing", "granted": False},
    "link": {"other_id": "pos-7", "kind": "pos"},
    "points": {"balance": -5.0, "expiring": 3.0, "expires_at": NOW + DAY},
    "tier": {"tier": "gold", "next_tier": "black", "missing": 9.0, "review_at": NOW + DAY},
    "offer_granted": OFFER,
    "offer_redeemed": OFFER,
    "offer_expired": OFFER,
    "erase": {},
    "mute": {"until": NOW + DAY},
    "tag": {"tag": "price_sensitive", "reason": "three coupons", "expires_at": NOW + DAY},
    "untag": {"tag": "price_sensitive"},
    **dict.fromkeys(("sent", "delivered", "failed", "opened", "clicked", "bounced"), MESSAGE),
    "complained": MESSAGE,
    "unsubscribed": MESSAGE,
    "review": {"item_id": "sku-1", "rating": 4.5},
    "rating": {"item_id": "sku-1", "rating": 4.5},
    "share": {"item_id": "sku-1"},
    "post": {},
    "invite": {},
    "invite_accepted": {},
    "rsvp": {"campaign": "gala"},
    "attended": {"campaign": "gala"},
    "campaign_join": {"campaign": "gala"},
    "ticket_opened": {"ticket_id": "t1"},
    "ticket_closed": {"ticket_id": "t1"},
    "survey": {"survey_id": "v1", "answers": {"taste": ["sweet", 3.0, None], "again": True}},
}


def event(kind: str = "view_item", **fields: Any) -> dict[str, Any]:
    common = {"type": kind, "member_id": "m1", "occurred_at": NOW}
    return common | OWN_FIELDS.get(kind, {}) | fields


def received(given: dict[str, Any], *, timestamp: int = NOW, key: bytes = b"m1") -> Received:
    topic = TOPIC_OF.get(given.get("type", ""), "browse")
    return receive(topic, json.dumps(given).encode(), key, 3, 41, timestamp)


def refused(topic: str, raw: bytes | None, key: bytes | None = b"m1") -> tuple[str, str]:
    """Path and reason of the error."""
    with pytest.raises(InvalidEvent) as error:
        receive(topic, raw, key, 0, 0, NOW)
    assert error.value.reason.strip()
    return error.value.path, error.value.reason


def refused_event(given: dict[str, Any]) -> tuple[str, str]:
    return refused(TOPIC_OF.get(given.get("type", ""), "browse"), json.dumps(given).encode())


# --- what is good ---------------------------------------------------------------------------------


def test_the_examples_cover_every_type() -> None:
    assert set(OWN_FIELDS) == set(CLASS_OF)


@pytest.mark.parametrize("kind", CLASS_OF)
def test_every_type_decodes_with_all_its_fields(kind: str) -> None:
    common = {"event_id": "e1", "source": "pos", "origin": "backfill", "test": True}
    found = received(event(kind, **common, unknown={"is": ["ignored"]})).event
    assert type(found) is CLASS_OF[kind]
    for name, value in (common | OWN_FIELDS[kind]).items():
        said = getattr(found, name)
        if name == "items":
            said = [{field: getattr(line, field) for field in LINES[0]} for line in said]
        elif name == "channels":
            said = list(said)
        assert said == value, name


@pytest.mark.parametrize("kind", [kind for kind in CLASS_OF if kind != "link"])
def test_an_anonymous_id_will_do(kind: str) -> None:
    given = event(kind, member_id=None, anonymous_id="a1")
    assert received(given, key=b"a1").event.anonymous_id == "a1"


@pytest.mark.parametrize(
    ("written", "at"),
    [
        (NOW, NOW),
        ("2026-11-21T10:00:00Z", NOW),
        ("2026-11-21t18:00:00+08:00", NOW),
        ("2026-11-21T10:00:00.123999Z", NOW + 123),
        (0, 0),
        ("1970-01-01T08:00:00+08:00", 0),
    ],
)
def test_times_are_epoch_milliseconds_or_rfc_3339_with_an_offset(
    written: int | str, at: int
) -> None:
    assert received(event(occurred_at=written), timestamp=NOW + DAY).at == at


@pytest.mark.parametrize("identity", ["m", "m" * 128, "字" * 128, "🫖" * 128, "a\0b", " ", "é\n"])
def test_an_id_is_any_text_of_1_to_128_characters(identity: str) -> None:
    found = received(event(member_id=identity), key=identity.encode())
    assert found.event.member_id == identity


def test_of_a_key_that_is_there_twice_the_last_one_counts() -> None:
    raw = b'{"type":"visit","member_id":"m0","occurred_at":5,"member_id":"m1"}'
    assert receive("browse", raw, b"m1", 0, 0, NOW).event.member_id == "m1"
    assert refused("browse", raw, b"m0")[0] == "key"


# --- effective time -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ahead", "at"), [(-HOUR, NOW - HOUR), (0, NOW), (1, NOW), (HOUR, NOW), (DAY - 1, NOW)]
)
def test_an_event_takes_place_no_later_than_its_record(ahead: int, at: int) -> None:
    found = received(event(occurred_at=NOW + ahead))
    assert (found.at, found.ahead) == (at, max(ahead, 0))


@pytest.mark.parametrize("at", [NOW + DAY, "2999-12-31T23:59:59Z"])
def test_a_time_a_day_or_more_ahead_is_an_error(at: int | str) -> None:
    path, reason = refused_event(event(occurred_at=at))
    assert path == "$.occurred_at"
    assert "a day or more" in reason


def test_no_event_happens_so_late_that_its_deadlines_could_not_be_written() -> None:
    for at in ("9999-12-31T23:59:59Z", LAST_EVENT + 1):
        with pytest.raises(InvalidEvent) as error:
            received(event(occurred_at=at), timestamp=MAX_INSTANT)
        assert error.value.path == "$.occurred_at"
    assert received(event(occurred_at=LAST_EVENT), timestamp=MAX_INSTANT).at == LAST_EVENT
    # An offer that never expires is another matter.
    forever = event("offer_granted", expires_at="9999-12-31T23:59:59Z")
    assert received(forever).event.member_id == "m1"


def test_a_record_without_a_timestamp_is_an_error() -> None:
    with pytest.raises(InvalidEvent) as error:
        received(event(), timestamp=-1)
    assert error.value.path == "timestamp"


# --- what is bad ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "path", "says"),
    [
        ({}, "$.type", "was missing"),
        ({"type": "visit"}, "$.occurred_at", "was missing"),
        ({"type": "visit", "occurred_at": NOW}, "$.member_id", "anonymous_id"),
        (event(member_id=None), "$.member_id", "anonymous_id"),
        (event("purchase", order_id=None), "$.order_id", "expected str"),
        (event("purchase", total="51"), "$.total", "expected float"),
        (event("purchase", total=-1), "$.total", ">= 0"),
        (event("purchase", total=1e13), "$.total", "<= 1"),
        (event("purchase", currency="YUAN"), "$.currency", "length"),
        (event("purchase", items={}), "$.items", "array"),
        (event("purchase", items=[{"price": 5}]), "$.items[0].item_id", "was missing"),
        (event("purchase", items=[*LINES, ITEM | {"price": "5"}]), "$.items[1].price", "float"),
        (event("purchase", items=[ITEM | {"price": -5}]), "$.items[0].price", ">= 0"),
        (event("purchase", items=[None]), "$.items[0]", "expected object"),
        (event("add_to_cart", quantity=0), "$.quantity", "> 0"),
        (event("profile", attributes=[]), "$.attributes", "got array"),
        (event("profile", attributes={"a": 2**63}), "$.attributes[...]", "64 bits"),
        (event("profile", attributes={"a": -(10**40)}), "$.attributes[...]", "64 bits"),
        (event("profile", attributes={"": 1}), "$.attributes", "length"),
        (event("profile", birthday="29 February"), "$.birthday", "matching"),
        (event("consent", granted="no"), "$.granted", "expected bool"),
        (event("consent", purpose="fun"), "$.purpose", "fun"),
        (event("points", expires_at="soon"), "$.expires_at", "datetime"),
        (event("points", expires_at="2026-11-21T10:00:00"), "$.expires_at", "offset"),
        (event("tier", review_at=-1), "$.review_at", "1970"),
        (event("survey", answers="yes"), "$.answers", "got str"),
        (event("link", other_id=None), "$", "link"),
        (event("link", member_id=None, anonymous_id="a1"), "$", "link"),
        (event(member_id=7), "$.member_id", "got int"),
        (event(member_id=""), "$.member_id", "length"),
        (event(member_id="m" * 129), "$.member_id", "length"),
        (event(event_id="e" * 65), "$.event_id", "length"),
        (event(origin="replay"), "$.origin", "replay"),
        (event(test=1), "$.test", "expected bool"),
        (event(occurred_at="2026-11-21T10:00:00"), "$.occurred_at", "offset"),
        (event(occurred_at="2026-11-21"), "$.occurred_at", "datetime"),
        (event(occurred_at="1795255200000"), "$.occurred_at", "datetime"),
        (event(occurred_at=1.5), "$.occurred_at", "got float"),
        (event(occurred_at=True), "$.occurred_at", "got bool"),
        (event(occurred_at=-1), "$.occurred_at", "1970"),
        (event(occurred_at="1969-12-31T23:59:59Z"), "$.occurred_at", "1970"),
        (event(occurred_at="0001-01-01T00:00:00+23:59"), "$.occurred_at", "1970"),
        (event(occurred_at="9999-12-31T23:59:59-23:59"), "$.occurred_at", "9999"),
        (event(occurred_at=10**30), "$.occurred_at", "9999"),
        (event(occurred_at=None), "$.occurred_at", "got null"),
        (event(type="views"), "$.type", "'views' is not a type of topic browse: visit, view_item"),
        (event(type=5), "$.type", "expected str"),
    ],
)
def test_an_error_names_the_path_and_says_what_is_wrong_there(
    given: dict[str, Any], path: str, says: str
) -> None:
    kind = given.get("type")
    topic = TOPIC_OF.get(kind, "browse") if isinstance(kind, str) else "browse"
    found, reason = refused(topic, json.dumps(given).encode())
    assert found == path
    assert says in reason
    assert "\n" not in reason


@pytest.mark.parametrize("kind", CLASS_OF)
def test_a_type_on_another_topic_is_told_where_it_belongs(kind: str) -> None:
    home = TOPIC_OF[kind]
    for topic in set(MEMBER_TOPICS) - {home}:
        path, reason = refused(topic, json.dumps(event(kind)).encode())
        assert (path, reason) == ("$.type", f"{kind} belongs on topic {home}, not {topic}")


def test_a_catalogue_item_does_not_belong_on_a_member_topic() -> None:
    raw = json.dumps(event(type="item", title="Tea", available=True)).encode()
    assert refused("browse", raw) == ("$.type", "item belongs on topic items, not browse")


DEEP = 100_000
VISIT = b'"type":"visit","member_id":"m1","occurred_at":1795255200000'


@pytest.mark.parametrize(
    ("raw", "path", "says"),
    [
        (None, "$", "tombstone"),
        (b"", "$", "truncated"),
        (b"null", "$", "expected object"),
        (b"[]", "$", "expected object"),
        (b'"visit"', "$", "expected object"),
        (b"not json", "$", "was not JSON"),
        (b"\x00\x01\x02", "$", "was not JSON"),
        (b"\xef\xbb\xbf{" + VISIT + b"}", "$", "was not JSON"),
        (b"{" + VISIT, "$", "truncated"),
        (b"{" + VISIT + b"}{}", "$", "trailing"),
        (b"{" + VISIT + b',"price":NaN}', "$", "was not JSON"),
        (b"{" + VISIT + b',"member_id":"\xff"}', "$", "can't decode byte 0xff"),
        (b"{" + VISIT + b',"unknown":"\xff"}', "$", "can't decode byte 0xff"),
        (b"{" + VISIT + b',"member_id":"\xed\xa0\x80"}', "$", "can't decode byte 0xed"),
        (b"{" + VISIT + b',"member_id":"\\ud800"}', "$", "was not JSON"),
        (b"{" + VISIT + b',"member_id":"\\udc00x"}', "$", "surrogate"),
        (b"{" + VISIT + b',"occurred_at":1e400}', "$.occurred_at", "out of range"),
        (b"{" + VISIT + b',"occurred_at":%s}' % (b"9" * 5000), "$.occurred_at", "out of range"),
        (b"{" + VISIT + b',"type":"search","query":"tea"}', "$.type", "twice"),
        (b"[" * DEEP, "$", "expected object"),
        (b"{" + VISIT + b',"x":' + b"[" * DEEP, "$", "nested too deep"),
        (b"{" + VISIT + b',"x":' + b"[" * DEEP + b"]" * DEEP + b"}", "$", "nested too deep"),
        (b"{" + VISIT + b',"x":' + b'{"x":' * DEEP + b"1" + b"}" * DEEP, "$", "nested too deep"),
        # What follows a type that is wrong already has not been looked at.
        (b'{"type":"views","x":[', "$.type", "not a type"),
        (b'{"type":"purchase","x":', "$.type", "purchase belongs on topic purchase"),
        (b'{"type":"views","x":' + b"[" * DEEP, "$.type", "not a type"),
        (b'{"type":"it\'s `a` - at `$.x`"', "$.type", "not a type"),
    ],
)
def test_bytes_that_are_no_event_are_refused(raw: bytes | None, path: str, says: str) -> None:
    found, reason = refused("browse", raw)
    assert found == path
    assert says in reason


@pytest.mark.parametrize("key", [None, b"", b"m2", b"M1", b"m1 ", b"\xff"])
def test_a_key_that_is_not_the_id_is_refused(key: bytes | None) -> None:
    assert refused("browse", json.dumps(event()).encode(), key)[0] == "key"


def test_with_both_ids_the_key_is_the_member_s() -> None:
    raw = json.dumps(event(anonymous_id="a1")).encode()
    assert receive("browse", raw, b"m1", 0, 0, NOW).event.member_id == "m1"
    assert refused("browse", raw, b"a1")[0] == "key"


def test_an_instant_without_an_offset_is_none() -> None:
    assert instant(datetime(1970, 1, 2, tzinfo=UTC), "$") == DAY
    with pytest.raises(InvalidEvent):
        instant(datetime(1970, 1, 2), "$")  # noqa: DTZ001


# --- anything at all ------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
field_names = st.sampled_from(
    sorted({"type", *(name for cls in CLASS_OF.values() for name in cls.__struct_fields__)})
)
field_values = json_values | st.sampled_from(
    [*CLASS_OF, "item", "m1", NOW, -1, 10**40, "2026-11-21T10:00:00Z", "9999-12-31T23:59:59-23:59"]
)


@st.composite
def mangled_events(draw: st.DrawFn) -> bytes:
    """An event of some type with some fields replaced, and perhaps a byte, or cut short."""
    whole = event(draw(st.sampled_from(sorted(CLASS_OF))))
    whole |= draw(st.dictionaries(field_names, field_values, max_size=3))
    raw = bytearray(json.dumps(whole).encode("utf-8", "surrogatepass"))
    for place in draw(st.lists(st.integers(0, len(raw) - 1), max_size=2)):
        raw[place] = draw(st.integers(0, 255))
    return bytes(raw[: draw(st.just(len(raw)) | st.integers(0, len(raw)))])


objects: SearchStrategy[bytes] = st.dictionaries(field_names | st.text(), field_values).map(
    lambda made: json.dumps(made).encode("utf-8", "surrogatepass")
)
keys = st.none() | st.binary(max_size=6) | st.just(b"m1")
timestamps = st.sampled_from([NOW, 0, -1, 2**62, -(2**62)])


def tried(topic: str, raw: bytes, key: bytes | None, timestamp: int) -> Received | InvalidEvent:
    try:
        return receive(topic, raw, key, 0, 0, timestamp)
    except InvalidEvent as error:
        return error


@settings(max_examples=1000, derandomize=True, deadline=None)
@given(st.sampled_from(MEMBER_TOPICS), st.binary() | objects | mangled_events(), keys, timestamps)
def test_whatever_comes_is_an_event_of_its_topic_or_an_invalid_event(
    topic: str, raw: bytes, key: bytes | None, timestamp: int
) -> None:
    found = tried(topic, raw, key, timestamp)
    if isinstance(found, InvalidEvent):
        assert found.path
        assert found.reason
    else:
        assert TOPIC_OF[found.type] == topic
        assert 0 <= found.at <= timestamp
    opt_out = salvage_opt_out(raw, key, timestamp)
    assert opt_out is None or (opt_out.member_id or "").encode()


# --- opt-outs fail closed -------------------------------------------------------------------------


def salvaged(raw: bytes, key: bytes | None = b"m1") -> tuple[str, str, str] | None:
    """Whom an opt-out concerns, its purpose and its channel."""
    found = salvage_opt_out(raw, key, NOW)
    match found:
        case None:
            return None
        case Unsubscribed():
            purpose = "marketing"
        case ConsentChanged(granted=False):
            purpose = found.purpose
        case _:
            pytest.fail(f"{found} is no opt-out")
    # What it becomes must itself be an event that can be sent on and read again.
    assert found.occurred_at == NOW
    assert found.event_id
    return found.member_id or "", purpose, found.channel


OPT_OUT = b'{"type":"unsubscribed","member_id":"m1","occurred_at":1795255200000,"channel":"sms"}'


@pytest.mark.parametrize(
    "raw",
    [
        b'{"type":"unsubscribed","member_id":"m1"}',
        b'{"type":"complained","member_id":"m1","occurred_at":"yesterday","channel":5}',
        b'{"type":"unsubscribed","member_id":"m1","channel":{"sms":true}}',
        b'{"type":"consent","member_id":"m1","granted":false}',
        b'{"type":"consent","member_id":"m1","channel":"sms","purpose":"marketing"}',
        b'{"type":"consent","member_id":"m1","channel":"sms","purpose":"marketing","granted":"no"}',
        b'{"type":"consent","member_id":"m1","channel":"sms","purpose":"adverts","granted":0}',
        b'{"type":"consent","member_id":"m1","purpose":"marketing","granted":tru',
        OPT_OUT[:-1],
        OPT_OUT[:-20],
        OPT_OUT + b"}",
        b"[" + OPT_OUT + b"]",
        b"\xef\xbb\xbf" + OPT_OUT,
        OPT_OUT.replace(b"sms", b"\xff\xfe"),
        OPT_OUT.replace(b'"sms"', b"NaN"),
        OPT_OUT.replace(b'"sms"', b"[" * DEEP),
        OPT_OUT.replace(b'"sms"', b'"\\ud800"'),
        # The record's key says who it is when the event does not.
        b'{"type":"unsubscribed","channel":"sms"}',
        b'{"type":"unsubscribed","member_id":1,"channel":"sms"}',
        b'{"type":"unsubscribed","member_id":"\xff","channel":"sms"}',
        b'{"type":"unsubscribed","member_id":"","channel":"sms"}',
        b'{"type":"unsubscribed","chan',
    ],
)
def test_a_malformed_opt_out_still_stops_marketing_to_the_member(raw: bytes) -> None:
    refused("engagement", raw)
    assert salvaged(raw) == ("m1", "marketing", "all")


def test_who_is_named_in_the_event_wins_over_the_key() -> None:
    assert salvaged(OPT_OUT, b"m2") == ("m1", "marketing", "all")
    assert salvaged(OPT_OUT[:-1], None) == ("m1", "marketing", "all")
    emoji = OPT_OUT.replace(b"m1", "🫖".encode() * 128)
    assert salvaged(emoji[:-1], b"m2") == ("🫖" * 128, "marketing", "all")


def test_a_refusal_of_service_messages_closes_those_only() -> None:
    raw = b'{"type":"consent","member_id":"m1","purpose":"service","granted":false}'
    assert salvaged(raw) == ("m1", "service", "all")


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        (None, b"m1"),
        (b"", b"m1"),
        (b"not json", b"m1"),
        (b'{"type":"visit","member_id":"m1"}', b"m1"),
        (b'{"type":["unsubscribed"],"member_id":"m1"}', b"m1"),
        (b'{"type":"search","query":"\\"type\\":\\"unsubscribed\\"","member_id":"m1"', b"m1"),
        # Consent that was given is no opt-out, however malformed.
        (b'{"type":"consent","member_id":"m1","channel":5,"granted":true}', b"m1"),
        (b'{"type":"consent","member_id":"m1","granted": true,"channel":', b"m1"),
        # Nobody is named.
        (b'{"type":"unsubscribed","channel":"sms"}', None),
        (b'{"type":"unsubscribed","channel":"sms"}', b""),
        (b'{"type":"unsubscribed","channel":"sms"}', b"\xff"),
        (b'{"type":"unsubscribed","channel":"sms"}', b"m" * 129),
        # An anonymous id is not a member.
        (b'{"type":"unsubscribed","anonymous_id":"a1"}', b"a1"),
        (b'{"type":"unsubscribed","anonymous_id":"a1"', b"a1"),
    ],
)
def test_what_is_no_opt_out_of_a_member_stays_out(raw: bytes | None, key: bytes | None) -> None:
    assert salvage_opt_out(raw, key, NOW) is None


def test_the_same_malformed_opt_out_is_the_same_event() -> None:
    first, second = (salvage_opt_out(OPT_OUT[:-1], b"m1", at) for at in (NOW, NOW + 1))
    assert first is not None
    assert second is not None
    assert first.event_id == second.event_id
