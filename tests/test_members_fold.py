"""What a lane does with the records of the member topics: the edge, rows, and what is said."""

import json
from base64 import b64decode
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import pytest
from any_event import events
from core_builders import NOON, shipped_book
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from agents.fold import Decoded, Refused
from agents.group import Collecting
from agents.members import (
    ANONYMOUS_UPDATE,
    BadShare,
    MemberEvent,
    MemberFold,
    MemberStats,
    OutputTopics,
    WrongDeployment,
)
from agents.partitioner import murmur2_partition
from agents.ports import Output, StopWorker
from config.paths import load_config
from models.events import CLASS_OF, MEMBER_TOPICS, TOPIC_OF
from models.ids import trigger_id
from models.member import Member
from models.policy import Cap
from models.rulebook import RuleBook
from models.rules import Limits
from models.times import DAY, HOUR, MINUTE, rfc3339

PARTITIONS = 8
BOOK = shipped_book()
OUT = OutputTopics("t", "d", "u", "l")
HERE = murmur2_partition(b"m1", PARTITIONS)
ELSEWHERE = next(
    f"m{i}" for i in range(99) if murmur2_partition(f"m{i}".encode(), PARTITIONS) != HERE
)


@dataclass(frozen=True)
class Record:
    """A record as the broker hands it over."""

    topic: str
    value: bytes | None
    key: bytes | None = b"m1"
    partition: int = HERE
    offset: int = 0
    timestamp: int = NOON


def make_fold(bad_share: BadShare | None = None, **options: Any) -> MemberFold:
    return MemberFold(
        options.pop("book", BOOK),
        OUT,
        murmur2_partition,
        PARTITIONS,
        "/test",
        bad_share or BadShare(),
        options.pop("stats", None) or MemberStats(),
        **options,
    )


def record(kind: str, member: str = "m1", offset: int = 0, **fields: Any) -> Record:
    """A good record, unless its fields say otherwise."""
    needed = {"view_item": {"item_id": "a"}, "purchase": {"order_id": "o1", "total": 5}}
    made = {"type": kind, "member_id": member, "occurred_at": NOON} | needed.get(kind, {}) | fields
    key = member.encode()
    place = murmur2_partition(key, PARTITIONS)
    return Record(TOPIC_OF[kind], json.dumps(made).encode(), key, place, offset)


def letter_of(decoded: Decoded[MemberEvent] | Refused) -> dict[str, Any]:
    assert isinstance(decoded, Refused)
    assert [output.topic for output in decoded.outputs] == ["l"]
    return as_letter(decoded.outputs[0])


def as_letter(output: Output) -> dict[str, Any]:
    assert output.topic == "l"
    letter: dict[str, Any] = json.loads(output.value or b"")
    assert letter["type"] == "dead_letter"
    return letter


def applied(fold: MemberFold, *records: Record) -> tuple[Member, list[Output]]:
    """Fold good records of one member; return the member and all that is to be sent."""
    member, outputs = None, []
    for one in records:
        decoded = fold.decode(one)
        assert isinstance(decoded, Decoded)
        member = member or fold.load(decoded.key, None)
        outputs += fold.apply(member, decoded, one, one.timestamp)
    assert member is not None
    return member, outputs


# --- the edge ---


def test_a_good_record_belongs_to_its_member_at_its_time() -> None:
    decoded = make_fold().decode(record("visit", occurred_at=NOON - 5))
    assert isinstance(decoded, Decoded)
    assert (decoded.key, decoded.at) == (b"mm1", NOON - 5)


def test_an_anonymous_id_is_not_the_member_of_the_same_name() -> None:
    raw = json.dumps({"type": "visit", "anonymous_id": "m1", "occurred_at": NOON}).encode()
    decoded = make_fold().decode(Record("browse", raw))
    assert isinstance(decoded, Decoded)
    assert decoded.key == b"am1"


def test_topics_are_found_under_their_prefix() -> None:
    fold = make_fold(topic_prefix="shop.")
    assert list(fold.topics) == [f"shop.{name}" for name in MEMBER_TOPICS]
    good = record("visit")
    decoded = fold.decode(Record("shop.browse", good.value))
    assert isinstance(decoded, Decoded)
    refused = fold.decode(Record("shop.cart", good.value))
    assert letter_of(refused)["topic"] == "shop.cart"


def test_a_record_in_another_partition_than_its_key_s_is_a_dead_letter() -> None:
    good = record("visit")
    wrong = Record(good.topic, good.value, good.key, (HERE + 1) % PARTITIONS, 7)
    letter = letter_of(make_fold().decode(wrong))
    assert letter["path"] == "partition"
    assert f"partition {HERE}" in letter["reason"]
    assert (letter["partition"], letter["offset"]) == (wrong.partition, 7)


def test_a_record_from_the_future_is_a_dead_letter_on_a_wall_clock() -> None:
    now = NOON
    fold = make_fold(wall_clock=lambda: now)
    for ahead in (0, HOUR, DAY - 1):
        assert isinstance(fold.decode(stamped(NOON + ahead)), Decoded)
    for stamp in (NOON + DAY, NOON + 7000 * 365 * DAY, 2**62):
        letter = letter_of(fold.decode(stamped(stamp)))
        assert letter["path"] == "timestamp"
    now += DAY
    assert isinstance(fold.decode(stamped(NOON + DAY)), Decoded)
    # Where time is what the records say, or runs faster, none of them is ahead.
    assert isinstance(make_fold().decode(stamped(NOON + 9 * DAY)), Decoded)


def stamped(timestamp: int) -> Record:
    good = record("visit")
    return Record(good.topic, good.value, timestamp=timestamp)


def test_an_opt_out_from_the_future_counts_from_now() -> None:
    fold = make_fold(wall_clock=lambda: NOON)
    good = record("unsubscribed", channel="sms", occurred_at=NOON + 99 * DAY)
    decoded = fold.decode(Record(good.topic, good.value, timestamp=NOON + 99 * DAY))
    assert isinstance(decoded, Decoded)
    assert decoded.at == NOON
    for at in (NOON - HOUR, NOON + HOUR):
        decoded = fold.decode(Record("engagement", BAD_OPT_OUT % b"m1", timestamp=at))
        assert isinstance(decoded, Decoded)
        assert decoded.at == at


def test_a_dead_letter_holds_what_came_and_from_where() -> None:
    raw = b'{"type":"visit","member_id":"' + b"\xff" * 70_000
    bad = Record("browse", raw, b"k" * 2000, 5, 41, NOON)
    letter = letter_of(make_fold().decode(bad))
    assert (letter["topic"], letter["partition"], letter["offset"]) == ("browse", 5, 41)
    assert letter["timestamp"] == NOON
    assert b64decode(letter["raw"]) == raw[:65_536]
    assert (letter["length"], letter["sha256"]) == (len(raw), sha256(raw).hexdigest())
    assert b64decode(letter["key"]) == b"k" * 1024
    assert letter["path"] == "$"
    assert letter["reason"].startswith("was not JSON")


def test_a_tombstone_without_a_key_is_a_dead_letter_too() -> None:
    letter = letter_of(make_fold().decode(Record("browse", None, None)))
    assert (letter["key"], letter["raw"], letter["length"]) == (None, "", 0)
    assert "tombstone" in letter["reason"]


def test_bad_records_are_counted_by_what_is_wrong() -> None:
    stats = MemberStats()
    fold = make_fold(stats=stats)
    good = record("visit")
    fold.decode(Record("browse", b"{}"))
    fold.decode(Record("browse", good.value, b"m2"))
    fold.decode(Record("browse", good.value, b"m1", (HERE + 1) % PARTITIONS))
    fold.decode(good)
    assert stats.dead_letters == {"$": 1, "key": 1, "partition": 1}
    assert stats.events == {"visit": 1}


# --- too much that is bad ---


def decode_all(fold: MemberFold, good: int, bad: int) -> None:
    for _ in range(good):
        fold.decode(record("visit"))
    for _ in range(bad):
        fold.decode(Record("browse", b"{}"))


def test_a_thousand_bad_records_in_a_row_after_good_ones_stop_nothing() -> None:
    decode_all(make_fold(), good=0, bad=1_000)
    decode_all(make_fold(), good=9_500, bad=1_000)
    decode_all(make_fold(), good=40_000, bad=5_000)


def test_more_than_half_of_ten_thousand_stop_the_worker() -> None:
    fold = make_fold()
    decode_all(fold, good=5_000, bad=5_000)
    with pytest.raises(WrongDeployment, match="5001 of the last 10001 records"):
        decode_all(fold, good=0, bad=1)
    assert issubclass(WrongDeployment, StopWorker)


def test_fewer_than_ten_thousand_stop_nothing() -> None:
    fold = make_fold()
    decode_all(fold, good=0, bad=9_999)
    with pytest.raises(WrongDeployment):
        decode_all(fold, good=0, bad=1)


def test_a_long_good_past_does_not_hide_what_is_wrong_now() -> None:
    share = BadShare()
    for _ in range(1_000_000):
        share.good()
    fold = make_fold(share)
    with pytest.raises(WrongDeployment):
        decode_all(fold, good=0, bad=25_000)


# --- opt-outs fail closed ---

BAD_OPT_OUT = b'{"type":"unsubscribed","member_id":"%s","channel":5}'


def test_a_malformed_opt_out_is_folded_in_its_place_and_dead_lettered() -> None:
    stats = MemberStats()
    fold = make_fold(stats=stats)
    member, outputs = applied(fold, record("register"))
    assert [output.topic for output in outputs].count("t") == 1
    bad = Record("engagement", BAD_OPT_OUT % b"m1", offset=3, timestamp=NOON + HOUR)
    decoded = fold.decode(bad)
    assert isinstance(decoded, Decoded)
    assert (decoded.key, decoded.at) == (b"mm1", NOON + HOUR)
    letter, cancelled, *_ = fold.apply(member, decoded, bad, NOON + HOUR)
    assert as_letter(letter)["path"] == "$.channel"
    assert json.loads(cancelled.value or b"")["type"] == "trigger_cancelled"
    assert fold.applied(member, MEMBER_TOPICS.index("engagement")) == 3
    [update] = fold.project(b"mm1", fold.save(member, fold.next_due(member)))
    assert json.loads(update.value or b"")["opted_out"] == ["all"]
    assert (stats.opt_outs_salvaged, stats.dead_letters) == (1, {"$": 1})


def test_a_malformed_opt_out_on_a_wrong_topic_takes_its_place_there() -> None:
    fold = make_fold()
    bad = Record("purchase", BAD_OPT_OUT % b"m1", offset=9)
    decoded = fold.decode(bad)
    assert isinstance(decoded, Decoded)
    member = fold.load(decoded.key, None)
    fold.apply(member, decoded, bad, NOON)
    assert fold.applied(member, MEMBER_TOPICS.index("purchase")) == 9
    assert fold.applied(member, MEMBER_TOPICS.index("engagement")) == -1


@pytest.mark.parametrize(
    ("raw", "topic", "purpose"),
    [
        (BAD_OPT_OUT % ELSEWHERE.encode(), "shop.engagement", "marketing"),
        (
            b'{"type":"consent","purpose":"service","granted":false,"member_id":"%s"}'
            % ELSEWHERE.encode(),
            "shop.member",
            "service",
        ),
    ],
)
def test_an_opt_out_of_a_member_of_another_lane_is_sent_there(
    raw: bytes, topic: str, purpose: str
) -> None:
    fold = make_fold(topic_prefix="shop.")
    refused = fold.decode(Record("shop.browse", raw))
    assert isinstance(refused, Refused)
    letter, forward = refused.outputs
    as_letter(letter)
    assert (forward.topic, forward.key) == (topic, ELSEWHERE.encode())
    lane = murmur2_partition(ELSEWHERE.encode(), PARTITIONS)
    there = Record(topic, forward.value, forward.key, lane, 0, NOON + HOUR)
    decoded = fold.decode(there)
    assert isinstance(decoded, Decoded)
    assert decoded.at == NOON
    member = fold.load(decoded.key, None)
    fold.apply(member, decoded, there, NOON + HOUR)
    assert member.consent.keys() == {f"{purpose}:all"}


def test_a_good_opt_out_in_the_wrong_partition_is_not_lost() -> None:
    good = record("unsubscribed", ELSEWHERE, channel="sms")
    refused = make_fold().decode(Record(good.topic, good.value, good.key, HERE))
    assert isinstance(refused, Refused)
    letter, forward = refused.outputs
    assert as_letter(letter)["path"] == "partition"
    assert (forward.topic, forward.key) == ("engagement", ELSEWHERE.encode())


# --- what is said ---


def test_a_trigger_carries_cloud_events_headers() -> None:
    told: list[tuple[int, int, int | None]] = []
    fold = make_fold(on_raised=lambda *raised: told.append(raised))
    _, outputs = applied(fold, record("register", event_id="e1"))
    [trigger] = [output for output in outputs if output.topic == "t"]
    said = json.loads(trigger.value or b"")
    assert said["trigger_id"] == trigger_id("m1", "welcome", BOOK.rules["welcome"].version, "e1")
    headers = {name: value.decode() for name, value in trigger.headers}
    assert headers == {
        "ce_specversion": "1.0",
        "ce_id": said["trigger_id"],
        "ce_type": "member-lifecycle.trigger",
        "ce_source": "/test",
        "ce_time": rfc3339(NOON),
        "content-type": "application/json",
    }
    assert trigger.key == b"m1"
    assert told == [(NOON, NOON, NOON)]


def test_a_cancellation_is_another_cloud_event_about_the_same_trigger() -> None:
    stats = MemberStats()
    fold = make_fold(stats=stats)
    _, outputs = applied(
        fold, record("register"), record("unsubscribed", channel="sms", occurred_at=NOON)
    )
    trigger, cancelled = [output for output in outputs if output.topic == "t"]
    identity = json.loads(trigger.value or b"")["trigger_id"]
    headers = dict(cancelled.headers)
    assert headers["ce_id"] == f"{identity}/cancelled".encode()
    assert headers["ce_type"] == b"member-lifecycle.trigger_cancelled"
    assert stats.triggers == {"welcome": 1}
    assert stats.cancelled == {("welcome", "no"): 1}


@pytest.mark.parametrize(
    ("words", "sent"),
    [(["sent"], "yes"), (["delivered", "opened"], "yes"), (["failed"], "no"), ([], "no")],
)
def test_cancellations_are_counted_by_whether_the_message_was_sent(
    words: list[str], sent: str
) -> None:
    stats = MemberStats()
    # Without a cap no message is remembered.
    capped = replace(BOOK.policy, caps=(Cap(at_most=9, within=DAY),))
    stages = load_config().stages
    fold = make_fold(stats=stats, book=RuleBook(BOOK.rules.values(), stages, capped, Limits()))
    _, outputs = applied(fold, record("register"))
    [trigger] = [output for output in outputs if output.topic == "t"]
    identity = json.loads(trigger.value or b"")["trigger_id"]
    records = [record("register")]
    for number, word in enumerate(words, 1):
        at = NOON + number * MINUTE
        records.append(record(word, channel="sms", trigger_id=identity, occurred_at=at))
    applied(fold, *records, record("unsubscribed", channel="sms", occurred_at=NOON + HOUR))
    assert stats.cancelled == {("welcome", sent): 1}


def test_an_anonymous_id_gets_decisions_and_no_trigger() -> None:
    fold = make_fold()
    raw = {"type": "view_item", "item_id": "a", "anonymous_id": "m1", "occurred_at": NOON}
    member, _ = applied(fold, Record("browse", json.dumps(raw).encode()))
    outputs = fold.advance(member, NOON + DAY, NOON + DAY)
    assert {output.topic for output in outputs} == {"d"}
    verdicts = {json.loads(output.value or b"").get("verdict") for output in outputs}
    assert "anonymous" in verdicts


def test_updates_are_keyed_by_id_and_an_anonymous_id_is_marked() -> None:
    fold = make_fold()
    member, _ = applied(fold, record("visit"))
    [update] = fold.project(b"mm1", fold.save(member, fold.next_due(member)))
    assert (update.topic, update.key) == ("u", b"m1")
    assert json.loads(update.value or b"")["member_id"] == "m1"
    assert fold.project(b"am1", None) == (Output("u", ANONYMOUS_UPDATE + b"m1", None),)


def test_a_record_that_the_engine_fails_on_is_a_dead_letter() -> None:
    stats = MemberStats()
    fold = make_fold(stats=stats)
    bad = record("visit", offset=8)
    [output] = fold.crashed(bad, ZeroDivisionError("a secret"))
    letter = as_letter(output)
    assert (letter["offset"], letter["path"]) == (8, "$")
    assert letter["reason"] == "the engine failed on it: ZeroDivisionError"
    assert fold.crashed(b"mm1", ZeroDivisionError()) == ()
    assert stats.crashed == 2


# --- anything that the types allow ---


@settings(max_examples=400, derandomize=True, deadline=None)
@given(st.data())
def test_the_engine_folds_every_event_that_the_types_allow(data: st.DataObject) -> None:
    fold = make_fold()
    rows: dict[bytes, bytes] = {}
    collecting = Collecting(fold, rows, lambda key, due: None)
    names = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=128)
    identity = data.draw(names)
    key = identity.encode()
    at = NOON
    for offset in range(data.draw(st.integers(1, 4))):
        kind = data.draw(st.sampled_from(sorted(CLASS_OF)))
        at += data.draw(st.sampled_from([0, 1, -HOUR, 2 * HOUR, -2 * HOUR, 100 * DAY]))
        raw = data.draw(events(kind, max(at, 0), identity))
        lane = murmur2_partition(key, PARTITIONS)
        one = Record(TOPIC_OF[kind], raw, key, lane, offset, max(at, 0))
        decoded = fold.decode(one)
        if isinstance(decoded, Refused):
            continue  # a link without the other id, times that cannot be
        topic = MEMBER_TOPICS.index(TOPIC_OF[kind])
        assert collecting.apply(topic, decoded, one, one.timestamp) is True
        for group in collecting.close(1 << 20):
            for row_key, body in group.rows.items():
                [update] = fold.project(row_key, body)
                if body is not None:
                    assert fold.due(body) == fold.next_due(fold.load(row_key, body))
                assert update.value is None or json.loads(update.value)["type"] == "member_update"
                assert body is None or len(body) <= 16_384
