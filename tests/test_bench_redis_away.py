"""The outage of Redis is measured by what is right: due instants, places, and whole documents."""

import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import orjson
import pytest

from agents.members import ANONYMOUS_UPDATE
from agents.partitioner import partition_function
from app.bench import redis_away
from app.bench.live_feed import PREFIX, RULE, WITHIN_MS, LiveFeed, canary_rules, live
from app.bench.place import place
from app.bench.projected import Copy, Follow, behind, wrong
from app.bench.redis_away import Course, Moment, caught_up, of_triggers, of_workers
from app.bench.rule_load import THREE_RULES
from app.bench.throughput import simulated_events
from app.bench.watching import Seen
from app.options import book_of
from app.oracle import outcomes
from app.stack import StackInfo
from config.settings import load_settings
from models.decoding import receive
from models.events import MEMBER_TOPICS
from models.triggers import MemberUpdate

COURSE = Course(
    began=Moment(10_000, 1.0, 0),
    killed=Moment(20_000, 6.0, 120),
    back=Moment(80_000, 36.0, 130),
    ended=Moment(130_000, 86.0, 140),
)


def test_lateness_belongs_to_the_time_at_which_a_trigger_was_due() -> None:
    seen = [
        Seen(RULE, f"canary-{number}", due, due + late, due + late + 5, 0)
        for number, (due, late) in enumerate(
            [(9_999, 900), (10_000, 1), (19_999, 700), (20_000, 3), (79_999, 4), (80_000, 5)]
        )
    ]
    found = of_triggers(COURSE, seen, {f"canary-{number}" for number in range(8)})
    raised = found["raised_late_ms"]
    assert [raised[name]["count"] for name in redis_away.PHASES] == [2, 2, 1]
    assert [raised[name]["max"] for name in redis_away.PHASES] == [700, 4, 5]
    assert found["read_late_ms"]["away"]["max"] == 9
    # What was due before is not late, but it is not missing either.
    assert found["missing_triggers"] == 2


def test_workers_are_told_by_cores_and_by_what_they_had_not_committed() -> None:
    found = of_workers(COURSE)
    assert found["worker_cores"] == {"before": 0.5, "away": 0.5, "after": 1.0}
    assert found["unfolded"] == {"killed": 120, "back": 130, "ended": 140}


def test_redis_has_caught_up_when_it_has_what_the_topics_had_a_second_before() -> None:
    standings = [(81_000.0, 500), (82_000.0, 20), (83_500.0, 0), (84_500.0, 3)]
    assert caught_up(80_000, standings) == 3.5
    assert caught_up(80_000, standings[:2]) is None
    assert behind({("t", 0): 10, ("t", 1): 5}, {("t", 0): 4, ("t", 1): 9}) == 6
    assert behind({("t", 0): 10}, {}) == 10


def test_ends_are_asked_for_before_the_places_that_they_are_compared_with(
    monkeypatch: Any,
) -> None:
    ends = {("updates", 0): 0, ("browse", 0): 0}

    def sleep(_: float) -> None:
        ends.update({where: end + 100 for where, end in ends.items()})

    now = [0.0]

    def monotonic() -> float:
        now[0] += 1
        return now[0]

    monkeypatch.setattr("app.bench.projected.time.sleep", sleep)
    monkeypatch.setattr("app.bench.projected.time.monotonic", monotonic)
    redis = SimpleNamespace(places=lambda: ({("updates", 0): 100}, {("updates", 0): 100}))
    follow = Follow(redis, lambda: dict(ends), "updates")  # type: ignore[arg-type]
    follow.look(4)
    assert [one.documents for one in follow.standings] == [0, 0, 100]
    assert [one.observed for one in follow.standings] == [0, 100, 300]


def update(member: str, orders: int, erased: bool = False) -> bytes:
    at = "2026-11-21T10:00:00.000Z"
    said = MemberUpdate(
        stage="active", since=at, updated_at=at, member_id=member, orders=orders, erased=erased
    )
    return msgspec.json.encode(said)


def record(offset: int, key: bytes, value: bytes | None) -> Any:
    return SimpleNamespace(
        topic=lambda: "updates",
        partition=lambda: 0,
        offset=lambda: offset,
        key=lambda: key,
        value=lambda: value,
    )


def test_a_copy_is_right_when_each_document_is_the_last_update_below_its_places() -> None:
    visitor = ANONYMOUS_UPDATE + b"a1"
    topic = [
        record(0, b"m1", update("m1", 1)),
        record(1, b"m2", update("m2", 1)),
        record(2, visitor, update("a1", 0)),
        record(3, b"m3", update("m3", 1)),
        record(4, b"m3", update("m3", 1, erased=True)),
        record(5, b"m1", update("m1", 2)),
        record(6, b"m2", None),
    ]
    old = {b"m1": update("m1", 1), b"m2": update("m2", 1), visitor: update("a1", 0)}
    new = {b"m1": update("m1", 2), visitor: update("a1", 0)}
    five, seven = {("updates", 0): 5}, {("updates", 0): 7}
    assert wrong([Copy(five, old), Copy(seven, new)], topic) == [0, 0]
    # An older document, one too many, one too few, and somebody erased who is still there.
    assert wrong([Copy(seven, {**new, b"m1": update("m1", 1)})], topic) == [1]
    assert wrong([Copy(seven, old)], topic) == [2]
    assert wrong([Copy(five, {b"m1": update("m1", 1)})], topic) == [2]
    assert wrong([Copy(five, {**old, b"m3": update("m3", 1)})], topic) == [1]


# --- the events ---------------------------------------------------------------------------------


def test_an_event_happens_now_and_is_otherwise_what_it_was() -> None:
    for made in simulated_events(1_000)[::50]:
        now = live(made, 1_795_255_200_123)
        before, after = orjson.loads(made.raw), orjson.loads(now.raw)
        assert after == {**before, "occurred_at": 1_795_255_200_123}
        assert (now.topic, now.key, now.at) == (made.topic, made.key, 1_795_255_200_123)


def test_a_canary_is_told_of_five_seconds_later_and_the_shop_is_not(tmp_path: Path) -> None:
    at = 1_795_255_200_000
    for few in (False, True):
        folder = tmp_path / str(few)
        folder.mkdir()
        book = book_of(canary_rules(folder, few), load_settings({}))
        names = set(book.rules)
        assert names >= {RULE, *THREE_RULES}
        assert (len(names) == 4) == few
        views = [
            {"type": "view_item", "member_id": f"m{number}", "item_id": "i", "category": category}
            for number, category in enumerate([RULE, "tea"])
        ]
        log = [
            receive(
                "browse",
                orjson.dumps({**one, "occurred_at": at}),
                one["member_id"].encode(),
                0,
                n,
                at,
            )
            for n, one in enumerate(views)
        ]
        later = {**views[1], "occurred_at": at + WITHIN_MS + 1}
        log.append(receive("browse", orjson.dumps(later), b"m1", 0, 2, at + WITHIN_MS + 1))
        said = [one for outcome in outcomes(log, book) for one in outcome.triggers]
        assert [one.member_id for one in said if one.rule == RULE] == ["m0"]


@pytest.mark.kafka
def test_all_that_the_feed_has_sent_is_there_in_order_and_where_its_key_belongs(
    kafka_stack: StackInfo,
) -> None:
    servers = {"broker": kafka_stack.broker, "redis": kafka_stack.redis}
    with place(load_settings(os.environ, None, servers), "feed", 4) as here:
        here.make_topics()
        with LiveFeed(here, 400, 4) as feed:
            time.sleep(2)
        feed.check()
        partition_of, canaries = partition_function(here.settings.partitioner), []
        newest: dict[tuple[str, int], int] = {}
        found = 0
        for topic in map(here.settings.topic, MEMBER_TOPICS):
            for message in here.read(topic):
                key, lane = message.key(), message.partition()
                assert lane == partition_of(key, 4)
                if key.startswith(PREFIX.encode()):
                    canaries.append(key.decode())
                else:
                    at = message.timestamp()[1]
                    assert newest.get((topic, lane), 0) <= at
                    newest[topic, lane] = at
                found += 1
        assert found == feed.sent > 0
        assert sorted(canaries) == sorted(one.member for one in feed.canaries)
