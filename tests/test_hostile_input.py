"""Hostile input on a real broker: all of it becomes dead letters, and nothing else stops."""

import json
from base64 import b64decode
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import pytest
from any_event import texts
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from live_kit import Reader, Sent, Upstream, event, now_ms, ready
from worker_kit import World, permissive, world

from agents.partitioner import murmur2_partition
from app.stack import StackInfo
from models.events import CLASS_OF, MEMBER_TOPICS
from models.times import DAY, HOUR, MAX_INSTANT

pytestmark = pytest.mark.kafka

PARTITIONS = 4
LARGEST = 16 * 1024 * 1024 - 200
"""Bytes of a value: the broker's limit less a record batch's own bytes and a small key."""

DEEP = 100_000
STRANGE_IDS = ["🫖" * 128, "a\0b", "\0", "字" * 128, "m\n", "{}", "é/..", " ", "\u202egnp"]
MEMBERS = 1_000
TOLD_KEPT = 65_536


def made_by_hypothesis(strategy: st.SearchStrategy[bytes], count: int) -> list[bytes]:
    """The same examples every time."""
    found: list[bytes] = []

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(one: bytes) -> None:
        found.append(one)

    collect()
    return found


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=10,
)
fields = st.sampled_from(["type", "member_id", "item_id", "items", "total", "origin", "granted"])
# Objects that look like events and lack the one field that every event has.
objects = st.dictionaries(
    fields | texts, json_values | st.sampled_from([*CLASS_OF, "m1"]), max_size=6
).map(lambda made: json.dumps({k: v for k, v in made.items() if k != "occurred_at"}).encode())


class Hostile:
    """Sends good and bad records in any mixture, and knows which is which."""

    def __init__(self, upstream: Upstream) -> None:
        self.good: list[Sent] = []
        self.bad: list[Sent] = []
        self._upstream = upstream

    def tell(self, given: dict[str, Any]) -> None:
        self._upstream.tell(given, into=self.good)

    def harm(
        self, topic: str, value: bytes | None, key: bytes | None = b"m1", **where: int
    ) -> None:
        self._upstream.send(topic, value, key, into=self.bad, **where)

    def harm_with(self, given: dict[str, Any], key: bytes = b"m1", **where: int) -> None:
        self.harm("browse", json.dumps(given).encode(), key, **where)


def send_bytes_and_objects(hostile: Hostile) -> None:
    chance = Random(1)
    for raw in made_by_hypothesis(st.binary(max_size=200) | objects, 600):
        key = chance.choice([None, b"", b"m1", b"\xff\xfe", "🫖".encode(), b"k" * 5_000])
        hostile.harm(chance.choice(MEMBER_TOPICS), raw, key)


def send_a_thousand_in_a_row(hostile: Hostile) -> None:
    for number in range(1_000):
        hostile.harm("browse", b'{"type":"visit","member_id":"m1","n":%d' % number)


def send_misplaced(hostile: Hostile) -> None:
    visit = event("visit", "m1")
    raw = json.dumps(visit).encode()
    for topic in MEMBER_TOPICS:
        if topic != "browse":
            hostile.harm(topic, raw)
    home = murmur2_partition(b"m1", PARTITIONS)
    for partition in range(PARTITIONS):
        if partition != home:
            hostile.harm_with(visit, partition=partition)
        hostile.harm_with(visit, key=b"somebody else", partition=partition)
        hostile.harm("browse", raw, None, partition=partition)
        hostile.harm("browse", None, b"m1", partition=partition)  # a tombstone
        hostile.harm("browse", None, None, partition=partition)
    hostile.harm_with(event("item", "m1", item_id="a", title="Tea", available=True))


def send_absurd_times(hostile: Hostile) -> None:
    for at in (
        now_ms() + DAY + HOUR,
        -1,
        10**30,
        10**4000,
        1.5,
        "1969-12-31T23:59:59Z",
        "9999-12-31T23:59:59Z",
        "2026-11-21T10:00:00",
        "yesterday",
    ):
        hostile.harm_with(event("visit", "m1") | {"occurred_at": at})
    hostile.harm_with(event("visit", "m1", now_ms() + 300 * DAY), timestamp=-1)
    hostile.harm_with(event("visit", "m1"), timestamp=-(2**40))
    hostile.harm_with(event("visit", "m1"), timestamp=1)
    for at in (now_ms() + 2 * DAY, MAX_INSTANT):
        hostile.harm_with(event("visit", "m1", at), timestamp=at)


def send_deep_and_large(hostile: Hostile) -> None:
    visit = json.dumps(event("visit", "m1")).encode()[:-1] + b',"x":'
    for deep in (b"[" * DEEP, b'{"x":' * DEEP):
        hostile.harm("browse", deep)
        hostile.harm("browse", visit + deep)
        hostile.harm("browse", b'{"type":"viewed","x":' + deep)
    hostile.harm("browse", visit + b"[" * DEEP + b"]" * DEEP + b"}")
    hostile.harm("cart", b"x" * LARGEST)
    hostile.harm("purchase", b'"' + b"\xff" * (LARGEST - 2) + b'"')
    hostile.harm_with(event("visit", "m" * 129), key=b"m" * 129)
    hostile.harm_with(event("profile", "m1", attributes={"a": 10**40}))
    # As large as the broker takes, and good.
    large = event("visit", "large", padding="")
    hostile.tell(large | {"padding": "x" * (LARGEST - len(json.dumps(large)))})


@pytest.fixture(scope="module")
def place(kafka_stack: StackInfo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("hostile")
    with world(kafka_stack, "hostile", folder, PARTITIONS) as made:
        yield made


def letters_by_origin(reader: Reader) -> dict[tuple[str, int, int], dict[str, Any]]:
    return {
        (letter["topic"], letter["partition"], letter["offset"]): letter
        for letter in reader.said("dead-letters")
    }


def take_any_timestamp(place: World) -> None:
    """Brokers before 4.0 take timestamps of any future."""
    any_age = ConfigEntry(
        "message.timestamp.after.max.ms",
        str(2**63 - 1),
        incremental_operation=AlterConfigOpType.SET,
    )
    browse = ConfigResource(
        ResourceType.TOPIC, place.topic("browse"), incremental_configs=[any_age]
    )
    admin = AdminClient({"bootstrap.servers": place.broker})
    [altered] = admin.incremental_alter_configs([browse]).values()
    altered.result()


@pytest.mark.slow
def test_all_that_is_hostile_is_a_dead_letter_and_all_that_is_good_is_processed(
    place: World,
) -> None:
    assert place.lifecycle("topics").returncode == 0
    take_any_timestamp(place)
    worker = place.start_worker("--config", str(permissive(place.folder / "shop")))
    hostile = Hostile(upstream := Upstream(place))
    members = [f"m{number}" for number in range(MEMBERS)] + STRANGE_IDS
    attacks = [
        send_bytes_and_objects,
        send_a_thousand_in_a_row,
        send_misplaced,
        send_absurd_times,
        send_deep_and_large,
    ]
    for kind in ("register", "view_item", "purchase", "visit"):
        for member in members:
            hostile.tell(event(kind, member))
        attacks.pop()(hostile)
    for attack in attacks:
        attack(hostile)
    for member in members:
        hostile.tell(event("search", member))
    upstream.flush()
    reader = Reader(place, ("dead-letters", "triggers", "member-updates"))

    def updated() -> dict[str, dict[str, Any]]:
        return {one.get("member_id"): one for one in reader.said("member-updates")}

    def everybody_is_seen() -> bool:
        last = updated()
        kinds = {"register", "view_item", "purchase", "visit", "search"}
        told = (last.get(member, {}).get("counts", {}).keys() for member in members)
        return "large" in last and all(kinds <= counts for counts in told)

    bad = {sent.origin: sent for sent in hostile.bad}
    good = {sent.origin for sent in hostile.good}
    reader.until(lambda: letters_by_origin(reader).keys() >= bad.keys(), "every dead letter")
    reader.until(everybody_is_seen, "every good event's update")
    letters = letters_by_origin(reader)
    assert not letters.keys() & good
    assert letters.keys() == bad.keys()
    for origin, letter in letters.items():
        sent = bad[origin]
        raw = sent.value or b""
        assert b64decode(letter["raw"]) == raw[:TOLD_KEPT]
        assert (letter["length"], letter["sha256"]) == (len(raw), sha256(raw).hexdigest())
        assert letter["path"]
        assert letter["reason"]
        key = None if letter["key"] is None else b64decode(letter["key"])
        assert key == (None if sent.key is None else sent.key[:1024])
    last = updated()
    for member in members:
        counts = last[member]["counts"]
        # A salvaged opt-out is an event of the member that it names.
        counts.pop("unsubscribed", None)
        counts.pop("consent", None)
        kinds = ("register", "view_item", "purchase", "visit", "search")
        assert counts == dict.fromkeys(kinds, 1), member
    welcomed = [one["member_id"] for one in reader.said("triggers", rule="welcome", type="trigger")]
    assert sorted(welcomed) == sorted(members)
    reader.close()
    assert worker.poll() is None, place.logs()
    assert place.stop() == [0], place.logs()


def test_a_worker_fed_mostly_garbage_stops_itself_and_says_why(
    kafka_stack: StackInfo, tmp_path: Path
) -> None:
    with world(kafka_stack, "garbage", tmp_path, PARTITIONS) as place:
        assert place.lifecycle("topics").returncode == 0
        worker = place.start_worker()
        ready(place, worker)
        upstream = Upstream(place)
        for number in range(6_000):
            upstream.tell(event("visit", f"m{number}"))
            upstream.send("browse", b'<visit member="m%d"/>' % number, b"m%d" % number)
        for number in range(3_000):
            upstream.send("cart", b'<cart member="m%d"/>' % number, b"m%d" % number)
        upstream.flush()
        assert worker.wait(60) == 70, place.logs()
        stopping = [line for line in place.logs().splitlines() if "stopping: " in line]
        assert len(stopping) == 1
        assert "were not events of their topics" in stopping[0]
        assert "dead letters" in stopping[0]
        assert "Traceback" not in place.logs()
