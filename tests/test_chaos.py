"""Chaos: the plan, the feed and the verdict by themselves; and real runs."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agents.dead_letters import dead_letter
from agents.partitioner import murmur2_partition
from app.chaos import canaries, equality
from app.chaos.canaries import Canaries
from app.chaos.faults import KINDS, Fault, in_the_way, plan
from app.chaos.feed import DUPLICATE, EVENT, LATE, POISON, Feed, Sending
from app.chaos.reading import Record
from app.chaos.run import CONFIG
from app.chaos.verdict import Evidence, judge, longest_wait
from config.paths import load_config
from models.decoding import InvalidEvent, receive
from models.projection import project
from models.rulebook import RuleBook
from models.rules import Limits
from models.times import SECOND

START = 1_800_000_000_000
LATENESS = 20 * SECOND
PARTITIONS = 4
SECONDS = 60


# --- the plan ---


def test_the_same_seed_plans_the_same_faults_and_another_others() -> None:
    kinds = tuple(KINDS)
    assert plan(7, 40, kinds, 3, 1) == plan(7, 40, kinds, 3, 1)
    assert plan(7, 40, kinds, 3, 1) != plan(8, 40, kinds, 3, 1)


@pytest.mark.parametrize("seed", range(20))
def test_every_kind_strikes_once_before_any_strikes_again(seed: int) -> None:
    faults = plan(seed, 2 * len(KINDS), tuple(KINDS), 3, 3)
    assert {fault.kind for fault in faults[: len(KINDS)]} == set(KINDS)
    assert Counter(fault.kind for fault in faults) == dict.fromkeys(KINDS, 2)
    assert all(fault.target < 3 for fault in faults)


def test_a_plan_keeps_to_the_kinds_and_the_count_that_were_asked_for() -> None:
    faults = plan(1, 5, ("worker_kill", "poison"), 2, 1)
    assert len(faults) == 5
    assert {fault.kind for fault in faults} == {"worker_kill", "poison"}


@pytest.mark.parametrize(
    ("one", "other", "way"),
    [
        (("worker_kill", 0), ("worker_freeze", 0), True),
        (("worker_kill", 0), ("worker_freeze", 1), False),
        (("worker_kill", 0), ("net_partition", 0), False),
        (("rebalance_storm", 0), ("worker_kill", 1), True),
        (("worker_freeze", 1), ("rebalance_storm", 0), True),
        (("broker_kill", 0), ("disk_full", 0), True),
        (("broker_kill", 0), ("redis_kill", 0), False),
        (("clock_shift", 2), ("clock_shift", 2), True),
    ],
)
def test_two_faults_at_a_time_never_touch_the_same_thing(
    one: tuple[str, int], other: tuple[str, int], way: bool
) -> None:
    a, b = (Fault(0, kind, target, 1.0, 0.5, 0.1, True) for kind, target in (one, other))
    assert in_the_way(a, [b]) is way


# --- the feed ---


def fed(seed: int = 1, step: int = SECOND, seconds: int = SECONDS) -> list[Sending]:
    feed = Feed(seed, START, PARTITIONS, LATENESS)
    for kind in ("poison", "duplicates", "disorder"):
        feed.burst(kind, START + 10 * SECOND, START + 14 * SECOND)
    asked = range(START, START + seconds * SECOND + 1, step)
    return [sending for now in asked for sending in feed.due(now)]


def test_the_same_seed_feeds_the_same_bytes_however_often_it_is_asked() -> None:
    assert fed() == fed(step=50) == fed(step=SECONDS * SECOND // 2)
    assert fed() != fed(seed=2)


def test_what_is_fed_comes_in_the_order_of_sending() -> None:
    times = [sending.at for sending in fed()]
    assert times == sorted(times)


def test_all_that_goes_wrong_upstream_is_in_the_feed_and_more_of_it_in_a_burst() -> None:
    sendings = fed()
    assert {one.made for one in sendings} == {EVENT, DUPLICATE, LATE, POISON}

    def share(since: int, until: int, made: str) -> float:
        there = [one for one in sendings if START + since <= one.at < START + until]
        return sum(one.made == made for one in there) / len(there)

    for made in (POISON, DUPLICATE):
        assert share(11_000, 14_000, made) > 4 * share(20_000, 50_000, made)


def test_every_event_is_one_to_a_worker_and_no_poison_is() -> None:
    for sending in fed():
        place = murmur2_partition(sending.key, PARTITIONS)
        lies = place if sending.partition is None else sending.partition
        try:
            receive(sending.topic, sending.value, sending.key, lies, 0, sending.at)
            good = lies == place
        except InvalidEvent:
            good = False
        assert good is (sending.made != POISON), sending


def test_a_canary_flies_in_every_lane_and_tells_of_the_longest_way() -> None:
    flock = Canaries(START, PARTITIONS)
    first = list(flock.due(START))
    assert [murmur2_partition(one.key, PARTITIONS) for one in first] == list(range(PARTITIONS))
    assert not list(flock.due(START + canaries.PERIOD_MS - 1))
    names = [json.loads(one.value or b"")["event_id"] for one in first]
    for name in names[1:]:
        flock.saw(name, START + 40)
    assert not flock.all_lanes_since(START)
    assert flock.longest(START, START) is None
    flock.saw(names[0], START + 70)
    flock.saw(names[0], START + 90)
    assert flock.all_lanes_since(START)
    assert flock.longest(START, START) == 70
    assert flock.all_back()
    assert flock.progress(START, START + 70) == 1
    assert flock.progress(START, START + 50) == (PARTITIONS - 1) / PARTITIONS


# --- the verdict ---


@cache
def book() -> RuleBook:
    loaded = load_config(CONFIG)
    limits = Limits(allowed_lateness=LATENESS)
    return RuleBook(loaded.rules, loaded.stages, loaded.policy, limits, loaded.audiences)


def told(sendings: Iterable[Sending]) -> list[Record]:
    """The sendings as records of their topics."""
    ends: Counter[tuple[str, int]] = Counter()
    records = []
    for number, one in enumerate(sendings):
        partition = one.partition
        if partition is None:
            partition = murmur2_partition(one.key, PARTITIONS)
        offset = ends[one.topic, partition]
        ends[one.topic, partition] += 1
        where = (one.topic, partition, offset, one.at, one.key, one.value)
        records.append(Record(*where, one.made, number))
    return records


@cache
def perfect() -> Evidence:
    """What a run without a flaw would leave behind."""
    flock = Canaries(START, PARTITIONS)
    canary = [one for now in range(START, START + SECONDS * SECOND, 500) for one in flock.due(now)]
    source = told(sorted([*fed(), *canary], key=lambda one: one.at))
    until = START + SECONDS * SECOND + longest_wait(book())
    sourced = (equality.Sourced(*record[:6], record.timestamp + 5) for record in source)
    expected = equality.expect(
        sourced, [equality.Era(book(), until)], lambda key: murmur2_partition(key, PARTITIONS)
    )
    encode = msgspec.json.encode
    updates = {
        key[1:]: encode(project(member, None, book())) for key, member in expected.members.items()
    }
    poison = [record for record in source if record.made == POISON]
    letters = [dead_letter("dead-letters", one, "$", "poison").value for one in poison]
    return Evidence(
        source=source,
        arrived={record.number: record.timestamp + 5 for record in source},
        triggers=_out("triggers", map(encode, expected.said)),
        decisions=_out("decisions", map(encode, expected.decided)),
        letters=_out("dead-letters", letters),
        updates=updates,
        documents=updates,
        until=until,
        partitions=PARTITIONS,
    )


def _out(topic: str, values: Iterable[bytes | None]) -> list[Record]:
    records = []
    for offset, value in enumerate(values):
        key = json.loads(value or b"").get("member_id", "").encode()
        place = murmur2_partition(key, PARTITIONS)
        records.append(Record(topic, place, offset, START, key, value))
    return records


def place_of(rule: str) -> int:
    """Where among the triggers the first of a rule lies whose member's records came in order."""
    said = [json.loads(record.value or b"") for record in perfect().triggers]
    return next(
        place
        for place, one in enumerate(said)
        if one["rule"] == rule and one["member_id"].startswith(canaries.PREFIX)
    )


def altered(record: Record, **changes: Any) -> Record:
    """The record with other values of some fields; without any, the same bytes anew."""
    return record._replace(value=msgspec.json.encode(json.loads(record.value or b"") | changes))


def test_a_run_without_a_flaw_is_clean() -> None:
    found = judge(perfect(), book())
    assert found.clean
    assert found.equality.triggers > 300
    assert len(found.equality.orderly) > 50
    assert found.equality.duplicates == 0
    assert found.poison > 10
    assert len(found.by_rule) >= 10


def test_a_trigger_that_is_not_there_is_missing() -> None:
    place = place_of(canaries.RULE)
    triggers = list(perfect().triggers)
    gone = json.loads(triggers.pop(place).value or b"")
    found = judge(replace(perfect(), triggers=triggers), book())
    assert [one.trigger_id for one in found.equality.missing] == [gone["trigger_id"]]
    assert found.unfinished
    assert not found.clean


def test_a_trigger_in_other_words_is_wrong() -> None:
    place = place_of(canaries.RULE)
    triggers = list(perfect().triggers)
    triggers[place] = altered(triggers[place], stage="lost")
    found = judge(replace(perfect(), triggers=triggers), book())
    assert len(found.equality.wrong) == 1
    assert "stage" in found.equality.wrong[0].note
    assert not found.clean


def test_a_trigger_too_many_is_spurious() -> None:
    triggers = list(perfect().triggers)
    more = altered(triggers[place_of(canaries.RULE)], trigger_id="f" * 32, occasion="nothing")
    found = judge(replace(perfect(), triggers=[*triggers, more]), book())
    assert [one.trigger_id for one in found.equality.spurious] == ["f" * 32]
    assert not found.clean


def test_a_repeat_to_the_byte_is_counted_and_one_in_other_bytes_is_wrong() -> None:
    triggers = list(perfect().triggers)
    one = triggers[place_of(canaries.RULE)]
    found = judge(replace(perfect(), triggers=[*triggers, altered(one)]), book())
    assert found.clean
    assert (found.equality.duplicates, found.equality.duplicates_identical) == (1, 1)
    other = altered(one, raised_at="2027-01-15T08:00:00.001Z")
    found = judge(replace(perfect(), triggers=[*triggers, other]), book())
    assert not found.clean
    assert (found.equality.duplicates, found.equality.duplicates_identical) == (1, 0)


def test_poison_without_a_letter_and_a_letter_without_poison_are_told() -> None:
    letters = list(perfect().letters)
    found = judge(replace(perfect(), letters=letters[1:]), book())
    assert len(found.letters) == 1
    assert "no dead letter" in found.letters[0].note
    assert not found.clean
    good = altered(letters[0], topic="run.browse", partition=0, offset=0)
    found = judge(replace(perfect(), letters=[*letters, good]), book())
    assert len(found.letters) == 1
    assert "no poison" in found.letters[0].note
    # A crash may send a letter again.
    assert judge(replace(perfect(), letters=[*letters, letters[0]]), book()).clean


def test_a_letter_of_other_bytes_is_told() -> None:
    letters = list(perfect().letters)
    letters[0] = altered(letters[0], sha256="0" * 64)
    assert "other contents" in judge(replace(perfect(), letters=letters), book()).letters[0].note


def test_a_document_that_counts_otherwise_is_told() -> None:
    documents = dict(perfect().documents)
    key = next(key for key in documents if key.startswith(b"m"))
    wrong = json.loads(documents[key]) | {"counts": {"visit": 99}}
    documents[key] = json.dumps(wrong).encode()
    found = judge(replace(perfect(), documents=documents, updates=documents), book())
    assert [one.member for one in found.documents] == [key.decode()]
    assert "visit" in found.documents[0].note
    found = judge(replace(perfect(), documents=documents), book())
    assert any("last member update" in one.note for one in found.documents)
    del documents[key]
    found = judge(replace(perfect(), documents=documents, updates=documents), book())
    assert "has no document" in found.documents[0].note


def test_of_a_member_whose_records_came_in_order_the_whole_document_is_compared() -> None:
    documents = dict(perfect().documents)
    members = judge(perfect(), book()).equality.orderly
    key = next(key for key in documents if key.decode(errors="ignore") in members)
    documents[key] = msgspec.json.encode(json.loads(documents[key]) | {"locale": "xx"})
    found = judge(replace(perfect(), documents=documents, updates=documents), book())
    assert [one.note for one in found.documents if "locale" in one.note]
    assert not found.clean


@pytest.mark.parametrize(
    ("note", "change"),
    [
        ("partition", lambda one: one._replace(partition=(one.partition + 1) % PARTITIONS)),
        ("key", lambda one: one._replace(key=b"another")),
        ("raised", lambda one: altered(one, raised_at="2020-01-01T00:00:00.000Z")),
    ],
)
def test_a_trigger_elsewhere_or_before_it_was_due_is_told(
    note: str, change: Callable[[Record], Record]
) -> None:
    triggers = list(perfect().triggers)
    place = place_of(canaries.RULE)
    triggers[place] = change(triggers[place])
    found = judge(replace(perfect(), triggers=triggers), book())
    assert [note in one.note for one in found.envelopes] == [True]
    assert not found.clean


# --- the command ---


def chaos(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "app", "chaos", *words]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize(
    "words",
    [
        ("--kills", "0"),
        ("--only", "worker_kill,earthquake"),
        ("--brokers", "2"),
        ("--keep", str(Path(__file__).parent)),
    ],
)
def test_bad_usage_is_said_in_one_line(words: tuple[str, str]) -> None:
    done = chaos(*words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert words[0] in done.stderr


def verdict_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, f"{done.stderr[-6000:]}\n{done.stdout[-6000:]}"
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert found["clean"] is True
    assert (found["missing"], found["spurious"], found["wrong"]) == (0, 0, 0)
    assert found["duplicates_identical"] is True
    assert found["triggers"] > 100
    assert found["members_in_order"] > 20
    assert found["recovery_seconds"]["max"] > 0
    return found


@pytest.mark.kafka
@pytest.mark.chaos
@pytest.mark.timeout(900)
def test_twenty_faults_of_every_kind_leave_no_trigger_missing_spurious_or_wrong() -> None:
    found = verdict_of(chaos("--kills", "20", "--seed", "4", "--workers", "3", "--json"))
    assert sum(found["faults"].values()) == 20
    assert found["faults"].keys() | found["unavailable"].keys() == set(KINDS)
    assert found["poison"] > 0
    assert found["storm_progress"] is not None


@pytest.mark.kafka
@pytest.mark.chaos
@pytest.mark.timeout(900)
def test_three_brokers_lose_one_and_nothing_else() -> None:
    only = "broker_kill,worker_kill,net_drop"
    words = ("--kills", "4", "--seed", "5", "--brokers", "3", "--only", only)
    found = verdict_of(chaos(*words, "--json"))
    assert found["faults"]["broker_kill"] >= 1
