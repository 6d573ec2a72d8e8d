"""The commands around a worker: their exit codes, what they say, and what they leave behind."""

import gzip
import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType
from live_kit import Upstream, event, now_ms
from own_redis import OwnRedis, own_redis
from redis import Redis
from redis.exceptions import RedisError
from worker_kit import World, world

from app import topology
from app.cli import main
from app.stack import StackInfo
from models.decoding import LAST_EVENT
from models.events import MEMBER_TOPICS
from models.times import DAY, HOUR, MINUTE, rfc3339

NOON = 1_767_268_800_000  # 2026-01-01T12:00:00Z
NOBODY = "127.0.0.1:1"

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in this process; return its exit code and what it printed."""
    monkeypatch.setattr(topology, "TIMEOUT_SECONDS", 2.0)  # nobody will answer later either

    def run(*words: object) -> tuple[int, str, str]:
        capfd.readouterr()
        try:
            code = main([str(word) for word in words])
        except SystemExit as ended:  # argparse
            code = int(ended.code or 0)
        said = capfd.readouterr()
        return code, said.out, said.err

    return run


def write(path: Path, *events: dict[str, Any] | str) -> Path:
    lines = [one if isinstance(one, str) else json.dumps(one) for one in events]
    path.write_text("".join(line + "\n" for line in lines))
    return path


def last_line(printed: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return found


def unasked(folder: Path) -> Path:
    """A configuration under which everything that the shipped rules find is sent at once."""
    config = folder / "config"
    config.mkdir(exist_ok=True)
    (config / "policy.yaml").write_text("")
    return config


SHOPPING = (
    event("register", "m1", NOON),
    event("view_item", "m1", NOON + HOUR),
    event("add_to_cart", "m2", NOON + HOUR, item_id="sku-1"),
    event("item", "", NOON) | {"item_id": "sku-1", "title": "Tea", "available": True},
)

# --- replay ---------------------------------------------------------------------------------------


def test_replay_writes_triggers_and_counts_them(run: Run, tmp_path: Path) -> None:
    events, out = write(tmp_path / "e.jsonl", *SHOPPING), tmp_path / "t.jsonl"
    words = ("--config", unasked(tmp_path), "--json")
    code, printed, complaints = run("replay", events, "--out", out, *words)
    assert (code, complaints) == (0, "")
    summary = last_line(printed)
    assert summary.pop("seconds") >= 0
    assert summary == {
        "events": 3,
        "members": 2,
        "triggers": {"welcome": 1},
        "cancelled": 0,
        "dead_letters": 0,
    }
    [trigger] = map(json.loads, out.read_text().splitlines())
    assert (trigger["rule"], trigger["raised_at"]) == ("welcome", rfc3339(NOON))


def test_deadlines_after_the_last_event_fire_up_to_until(run: Run, tmp_path: Path) -> None:
    events, out = write(tmp_path / "e.jsonl", *SHOPPING), tmp_path / "t.jsonl"
    until = rfc3339(NOON + 3 * HOUR)
    words = ("--config", unasked(tmp_path), "--json", "--until", until)
    _, printed, _ = run("replay", events, "--out", out, *words)
    fired = {"browse_abandoned": 1, "cart_abandoned": 1, "welcome": 1}
    assert last_line(printed)["triggers"] == fired


def test_replaying_again_gives_the_same_bytes_whatever_the_order_of_lines(
    run: Run, tmp_path: Path
) -> None:
    plain = write(tmp_path / "e.jsonl", *SHOPPING)
    packed = tmp_path / "packed.jsonl"
    packed.write_bytes(gzip.compress(b"".join(reversed(plain.read_bytes().splitlines(True)))))
    said = []
    for number, events in enumerate((plain, plain, packed)):
        out, decisions = tmp_path / f"t{number}", tmp_path / f"d{number}"
        words = ("--until", NOON + 90 * DAY, "--decisions", decisions)
        words = (*words, "--config", unasked(tmp_path))
        assert run("replay", events, "--out", out, *words)[0] == 0
        said.append((out.read_bytes(), decisions.read_bytes()))
    assert said[0] == said[1]
    assert len(said[0][0].splitlines()) == len(said[2][0].splitlines())
    assert {json.loads(line)["type"] for line in said[0][1].splitlines()} == {
        "decision",
        "transition",
    }


def test_replay_counts_what_a_worker_would_dead_letter(run: Run, tmp_path: Path) -> None:
    bad = event("view_item", "m1", NOON, price="cheap")
    opt_out = event("unsubscribed", "m3", NOON + 1, channel=5)
    events = write(
        tmp_path / "e.jsonl", bad, event("register", "m3", NOON), opt_out, event("visit", "m1", 5)
    )
    words = ("--config", unasked(tmp_path), "--json")
    code, printed, complaints = run("replay", events, "--out", tmp_path / "t", *words)
    assert code == 0
    assert last_line(printed)["dead_letters"] == 2
    assert last_line(printed)["cancelled"] == 1  # the opt-out is heard all the same
    first, second = complaints.splitlines()
    assert first.startswith(f"dead letter: {events}:1: $.price: expected float")
    assert second.startswith(f"dead letter: {events}:3: $.channel: expected str")


def test_replay_survives_the_end_of_time(run: Run, tmp_path: Path) -> None:
    far = event("register", "m1") | {"occurred_at": "9999-12-31T23:59:59Z"}
    events = write(tmp_path / "e.jsonl", far, event("register", "m2", LAST_EVENT))
    code, printed, _ = run(
        "replay", events, "--out", tmp_path / "t", "--json", "--config", unasked(tmp_path)
    )
    assert code == 0
    assert last_line(printed)["dead_letters"] == 1
    assert last_line(printed)["triggers"] == {"welcome": 1}


def test_the_shipped_policy_also_survives_the_end_of_time(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIFECYCLE_ASSUME_CONSENT", "true")
    last = [event(kind, f"m{n}", LAST_EVENT) for n in range(3) for kind in ("register", "visit")]
    events = write(tmp_path / "e.jsonl", *last)
    assert run("replay", events, "--out", tmp_path / "t")[0] == 0


def test_without_a_word_of_consent_the_shipped_policy_sends_no_marketing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events, decisions = write(tmp_path / "e.jsonl", *SHOPPING), tmp_path / "d.jsonl"
    words = ("--until", NOON + 30 * DAY, "--decisions", decisions, "--json")
    _, printed, _ = run("replay", events, "--out", tmp_path / "t", *words)
    assert last_line(printed)["triggers"] == {}
    found = [json.loads(line) for line in decisions.read_text().splitlines()]
    # A welcome waits a moment for the consent that a form says right after registering.
    verdicts = [(d["rule"], d["verdict"]) for d in found if d["type"] == "decision"]
    assert {verdict for rule, verdict in verdicts if rule != "welcome"} == {"consent"}
    assert [verdict for rule, verdict in verdicts if rule == "welcome"] == ["held", "consent"]
    monkeypatch.setenv("LIFECYCLE_ASSUME_CONSENT", "true")
    _, printed, _ = run("replay", events, "--out", tmp_path / "t", *words)
    assert last_line(printed)["triggers"] != {}


@pytest.mark.parametrize("command", ["replay", "produce"])
@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "2: $: "),
        ("\N{NO-BREAK SPACE}", "2: $: "),
        ("[]", "2: $: "),
        ("[" * 100_000, "2: $: "),
        ('{"type":"visited"}', "2: $.type: 'visited' is not an event type"),
        ('{"type":"visit"}', "2: $.member_id: was missing"),
        ('{"type":"visit","member_id":"m1"}', "2: $.occurred_at: was missing"),
        ('{"type":"visit","member_id":"m1","occurred_at":"now"}', "2: $"),
        (
            '{"type":"visit","member_id":"m1","occurred_at":"2026-01-01T00:00:00"}',
            "2: $.occurred_at: needs an offset",
        ),
    ],
)
def test_a_line_that_cannot_be_placed_is_bad_input_and_nothing_is_done(
    run: Run, tmp_path: Path, command: str, line: str, says: str
) -> None:
    events = write(tmp_path / "e.jsonl", SHOPPING[0], line)
    out = tmp_path / "t.jsonl"
    options = ("--out", out) if command == "replay" else ("--broker", NOBODY)
    code, printed, complaints = run(command, events, *options)
    assert (code, printed) == (2, "")
    [complaint] = complaints.splitlines()
    assert complaint.startswith(f"{events}:{says}")
    assert not out.exists()


@pytest.mark.parametrize("command", ["replay", "produce"])
def test_a_file_that_cannot_be_read_is_named(run: Run, tmp_path: Path, command: str) -> None:
    damaged = tmp_path / "damaged.gz"
    damaged.write_bytes(gzip.compress(b"x" * 10_000)[:40])
    options = ("--out", tmp_path / "t") if command == "replay" else ("--broker", NOBODY)
    for file in (tmp_path / "missing.jsonl", damaged, tmp_path):
        code, _, complaints = run(command, file, *options)
        assert code == 2
        assert str(file) in complaints
        assert len(complaints.splitlines()) == 1


def test_replay_says_where_it_cannot_write(run: Run, tmp_path: Path) -> None:
    events = write(tmp_path / "e.jsonl", *SHOPPING)
    code, _, complaints = run("replay", events, "--out", tmp_path)
    assert code == 2
    assert str(tmp_path) in complaints


@pytest.mark.parametrize(
    "words",
    [
        ("replay", "e.jsonl"),
        ("replay", "e.jsonl", "--out", "t", "--until", "tomorrow"),
        ("replay", "e.jsonl", "--out", "t", "--until", "999999999999999"),
        ("replay", "e.jsonl", "--out", "t", "--until", "1960-01-01T00:00:00Z"),
        ("produce",),
        ("produce", "e.jsonl", "--rate", "fast"),
        ("topics", "--partitions", "0"),
        ("worker", "--until", "yesterday"),
        ("nonsense",),
        (),
    ],
)
def test_bad_usage_is_exit_code_2(run: Run, words: tuple[str, ...]) -> None:
    code, printed, complaints = run(*words)
    assert (code, printed) == (2, "")
    assert complaints.splitlines()[-1].startswith("lifecycle")


@pytest.mark.parametrize("rate", ["0", "-1", "nan"])
def test_a_rate_that_sends_nothing_is_bad_input(run: Run, tmp_path: Path, rate: str) -> None:
    events = write(tmp_path / "e.jsonl", *SHOPPING)
    code, _, complaints = run("produce", events, "--broker", NOBODY, f"--rate={rate}")
    assert (code, complaints) == (2, "--rate: must be above zero\n")


def test_wrong_rules_are_bad_input_with_file_line_and_field(run: Run, tmp_path: Path) -> None:
    rules = tmp_path / "shop" / "rules"
    rules.mkdir(parents=True)
    (rules / "odd.yaml").write_text("rule: odd\nversion: 1\nabout: Odd.\nwhen: {event: viewed}\n")
    events = write(tmp_path / "e.jsonl", *SHOPPING)
    for words in (("replay", events, "--out", tmp_path / "t"), ("worker", "--broker", NOBODY)):
        code, _, complaints = run(*words, "--config", tmp_path / "shop")
        assert code == 2
        assert f"{rules / 'odd.yaml'}:4:" in complaints
        assert "viewed" in complaints


def test_wrong_settings_are_bad_input(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIFECYCLE_PARTITIONS", "many")
    monkeypatch.setenv("LIFECYCLE_BROKR", "127.0.0.1:9092")
    code, _, complaints = run("topics")
    assert code == 2
    assert [line.split(": ")[1] for line in complaints.splitlines()] == [
        "LIFECYCLE_BROKR",
        "LIFECYCLE_PARTITIONS",
    ]
    assert "LIFECYCLE_BROKER" in complaints


# --- without a broker -----------------------------------------------------------------------------


def test_without_a_broker_each_command_fails_and_says_what_to_do(run: Run, tmp_path: Path) -> None:
    events = write(tmp_path / "e.jsonl", *SHOPPING)
    for words in (("topics",), ("produce", events), ("worker",)):
        code, printed, complaints = run(*words, "--broker", NOBODY)
        assert (code, printed) == (1, "")
        [complaint] = complaints.splitlines()
        assert complaint.startswith(f"no Kafka broker answers at {NOBODY}")
        assert "lifecycle up" in complaint


def test_the_doctor_without_a_broker_and_redis_says_what_to_do(run: Run) -> None:
    words = ("--broker", NOBODY, "--redis", "redis://127.0.0.1:1/0", "--json")
    code, printed, _ = run("doctor", *words)
    assert code == 1
    found = last_line(printed)
    assert (found["broker"], found["redis"], found["rules"]) == (False, False, True)
    assert f"FAIL broker: no answer at {NOBODY}" in printed
    assert "run `lifecycle up`" in printed


def test_the_doctor_counts_mistakes_in_the_rules(run: Run, tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "odd.yaml").write_text("rule: odd\n")
    _, printed, _ = run("doctor", "--broker", NOBODY, "--config", tmp_path)
    assert "FAIL rules: " in printed
    assert "run `lifecycle rules check`" in printed


# --- on a broker ----------------------------------------------------------------------------------


@pytest.fixture
def place(
    kafka_stack: StackInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    """A world of its own, for commands run in this process."""
    with world(kafka_stack, "commands", tmp_path, partitions=2) as made:
        for name, value in made.env.items():
            if name.startswith("LIFECYCLE_"):
                monkeypatch.setenv(name, value)
        yield made


def topic_config(place: World, name: str) -> dict[str, str]:
    resource = ConfigResource(ResourceType.TOPIC, place.topic(name))
    admin = AdminClient({"bootstrap.servers": place.broker})
    [found] = admin.describe_configs([resource]).values()
    return {key: entry.value for key, entry in found.result().items()}


@pytest.mark.kafka
def test_topics_are_made_once_as_they_must_be(run: Run, place: World) -> None:
    code, printed, complaints = run("topics", "--json")
    assert (code, complaints) == (0, "")
    made = last_line(printed)["created"]
    wanted = {*MEMBER_TOPICS, "items", "triggers", "decisions", "member-updates", "dead-letters"}
    assert set(made) >= set(map(place.topic, wanted))
    for name in MEMBER_TOPICS:
        found = topic_config(place, name)
        # Kafka deletes by record timestamp: history would be gone at once.
        assert found["retention.ms"] == "-1"
        assert found["message.timestamp.type"] == "CreateTime"
    for name in ("items", "member-updates"):
        assert topic_config(place, name)["cleanup.policy"] == "compact"
    code, printed, _ = run("topics", "--json")
    assert (code, last_line(printed)["created"]) == (0, [])
    assert printed.count(" exists") == len(made)


def retention(place: World, name: str) -> str:
    return topic_config(place, name)["retention.ms"]


@pytest.mark.kafka
def test_only_who_says_how_long_changes_what_topics_keep_that_are_there(
    run: Run, place: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("topics")[0] == 0
    # Neither a worker's environment nor its start may delete what a shop's own topic keeps.
    monkeypatch.setenv("LIFECYCLE_OUTPUT_RETENTION_MS", str(7 * DAY))
    monkeypatch.setenv("LIFECYCLE_INPUT_RETENTION_MS", str(30 * DAY))
    code, printed, _ = run("topics")
    assert (code, retention(place, "triggers"), retention(place, "browse")) == (0, "-1", "-1")
    assert re.search(rf"{place.topic('triggers')} .* exists, keeps for ever, not 7d", printed)
    assert "`lifecycle topics --keep-outputs 7d`" in printed
    assert "`lifecycle topics --keep-inputs 30d`" in printed

    code, printed, _ = run("topics", "--keep-outputs", "7d", "--json")
    assert code == 0
    assert re.search(rf"{place.topic('triggers')} .* exists, keeps 7d, was: for ever", printed)
    outputs = {"triggers", "decisions", "dead-letters", "churn-examples"}
    assert last_line(printed)["kept_ms"] == dict.fromkeys(map(place.topic, outputs), 7 * DAY)
    assert {retention(place, name) for name in outputs} == {str(7 * DAY)}
    assert {retention(place, name) for name in MEMBER_TOPICS} == {"-1"}
    assert retention(place, "churn-questions") == str(topology.QUESTIONS_KEPT_MS)
    assert topic_config(place, "browse")["message.timestamp.type"] == "CreateTime"

    code, printed, _ = run("topics", "--keep-outputs", "7d", "--keep-inputs", "30d", "--json")
    assert (code, set(last_line(printed)["kept_ms"])) == (0, set(map(place.topic, MEMBER_TOPICS)))
    assert {retention(place, name) for name in MEMBER_TOPICS} == {str(30 * DAY)}
    _, printed, _ = run("topics", "--json")
    assert (" keeps " in printed, last_line(printed)["kept_ms"]) == (False, {})

    code, _, _ = run("topics", "--keep-inputs", "for-ever")
    assert (code, retention(place, "browse")) == (0, "-1")


@pytest.mark.parametrize("text", ["0d", "7", "59m", "-1", "soon", "999999999999999999d"])
def test_how_long_topics_keep_is_an_hour_or_more(run: Run, text: str) -> None:
    code, _, complaints = run("topics", "--broker", NOBODY, f"--keep-inputs={text}")
    assert code == 2
    assert "--keep-inputs" in complaints
    assert "for-ever" in complaints


@pytest.mark.kafka
def test_the_doctor_tells_of_topics_that_keep_other_than_the_settings_say(
    run: Run, place: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("topics")[0] == 0
    _, printed, _ = run("doctor")
    assert "ok   retention: as the settings say" in printed
    monkeypatch.setenv("LIFECYCLE_OUTPUT_RETENTION_MS", str(DAY))
    code, printed, _ = run("doctor")
    assert code == 0, printed  # a shop's topics may well be meant so
    [line] = [line for line in printed.splitlines() if " retention: " in line]
    outputs = ("triggers", "decisions", "dead-letters", "churn-examples")
    assert f"{', '.join(map(place.topic, outputs))}: kept for ever, not 1d" in line
    assert "LIFECYCLE_OUTPUT_RETENTION_MS" in line
    assert "`lifecycle topics --keep-outputs 1d`" in line
    assert "LIFECYCLE_INPUT_RETENTION_MS" not in line


@pytest.mark.kafka
def test_another_partition_count_is_refused_by_all_that_would_be_wrong_with_it(
    run: Run, place: World, tmp_path: Path
) -> None:
    assert run("topics")[0] == 0
    events = write(tmp_path / "e.jsonl", *SHOPPING)
    for words in (("topics",), ("produce", events), ("worker",)):
        code, printed, complaints = run(*words, "--partitions", "3")
        assert (code, printed) == (1, "")
        assert f"{place.topic('browse')} has 2 partitions, not 3" in complaints
        assert "LIFECYCLE_PARTITIONS" in complaints


@pytest.mark.kafka
def test_a_topic_that_is_not_compacted_as_it_must_be_is_refused(run: Run, place: World) -> None:
    admin = AdminClient({"bootstrap.servers": place.broker})
    updates = NewTopic(place.topic("member-updates"), 2, 1, config={"cleanup.policy": "delete"})
    [made] = admin.create_topics([updates]).values()
    made.result()
    code, _, complaints = run("topics")
    assert code == 1
    assert "cleanup.policy=delete, not compact" in complaints


@pytest.mark.kafka
def test_produced_events_carry_their_own_time_and_key(
    run: Run, place: World, tmp_path: Path
) -> None:
    anonymous = {"type": "visit", "anonymous_id": "a1", "occurred_at": rfc3339(NOON - DAY)}
    late = event("view_item", "m1", NOON - MINUTE, item_id="sku-9")
    events = write(tmp_path / "e.jsonl", *SHOPPING, anonymous, late)
    code, printed, complaints = run("produce", events, "--json")
    assert (code, complaints) == (0, "")
    assert last_line(printed)["events"] == 6

    def records(topic: str) -> list[tuple[bytes, tuple[int, int], Any]]:
        found = place.messages(topic, idle=0.5)
        return [(m.key(), m.timestamp(), json.loads(m.value())) for m in found]

    [registered] = records("member")
    assert registered == (b"m1", (TIMESTAMP_CREATE_TIME, NOON), SHOPPING[0])
    browsed = {raw["occurred_at"]: (key, time) for key, (_, time), raw in records("browse")}
    assert browsed == {
        rfc3339(NOON - DAY): (b"a1", NOON - DAY),
        NOON - MINUTE: (b"m1", NOON - MINUTE),
        NOON + HOUR: (b"m1", NOON + HOUR),
    }
    of_m1 = [raw["occurred_at"] for key, _, raw in records("browse") if key == b"m1"]
    assert of_m1 == [NOON - MINUTE, NOON + HOUR]  # in order of time, not of lines
    [item] = records("items")
    assert item[0] == b"sku-1"


@pytest.mark.kafka
def test_what_the_broker_refuses_is_a_failure_in_one_line(
    run: Run, place: World, tmp_path: Path
) -> None:
    events = write(tmp_path / "e.jsonl", event("visit", "m1", now_ms() + 10 * DAY))
    code, printed, complaints = run("produce", events)
    assert (code, printed) == (1, "")
    [complaint] = complaints.splitlines()
    assert "timestamp" in complaint.lower()
    assert "KafkaError{" not in complaint


@pytest.mark.kafka
def test_the_doctor_finds_nothing_wrong_where_nothing_is(run: Run, place: World) -> None:
    assert run("topics")[0] == 0
    code, printed, _ = run("doctor")
    assert code == 0, printed
    assert "no records yet" in printed
    upstream = Upstream(place)
    for number in range(20):
        upstream.tell(event("visit", f"m{number}"))
    upstream.flush()
    code, printed, _ = run("doctor", "--json")
    assert code == 0, printed
    assert "murmur2 places 100% of 20 records" in printed
    assert all(last_line(printed).values())
    assert last_line(printed).keys() >= {
        "broker",
        "topics",
        "partitioner",
        "redis",
        "rules",
        "clock",
        "versions",
    }


@pytest.mark.kafka
def test_the_doctor_misses_topics(run: Run, place: World) -> None:
    code, printed, _ = run("doctor")
    assert code == 1
    assert f"{place.topic('browse')} has no partitions, needs 2" in printed
    assert "run `lifecycle topics`" in printed


@pytest.mark.kafka
def test_the_doctor_names_the_partitioner_and_the_clock_that_do_not_fit(
    run: Run, place: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIFECYCLE_PARTITIONER", "crc32")
    assert run("topics")[0] == 0
    upstream = Upstream(place)  # murmur2
    for number in range(20):
        upstream.tell(event("visit", f"m{number}"), timestamp=now_ms() + 10 * MINUTE)
    upstream.flush()
    code, printed, _ = run("doctor", "--json")
    assert code == 1
    found = last_line(printed)
    assert (found["partitioner"], found["clock"]) == (False, False)
    assert "set LIFECYCLE_PARTITIONER=murmur2" in printed


# --- on a Redis that is there and not as it must be -----------------------------------------------


@pytest.fixture
def redis(
    place: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[OwnRedis]:
    with own_redis(tmp_path / "redis") as server, Redis.from_url(server.url) as client:
        monkeypatch.setenv("LIFECYCLE_REDIS", server.url)
        deadline = time.monotonic() + 30
        while True:
            try:
                client.ping()
                break
            except RedisError:
                assert time.monotonic() < deadline
                time.sleep(0.02)
        yield server


def doctor_on_redis(run: Run) -> str:
    _, printed, _ = run("doctor")
    [line] = [line for line in printed.splitlines() if line[5:].startswith("redis: ")]
    return line


@pytest.mark.kafka
def test_the_doctor_leaves_nothing_in_a_redis_that_is_well(run: Run, redis: OwnRedis) -> None:
    assert doctor_on_redis(run) == "ok   redis: answers and takes writes"
    with Redis.from_url(redis.url) as client:
        assert client.keys() == []


@pytest.mark.kafka
@pytest.mark.parametrize("given", ["", ":not-this-one@", "somebody:not-this-one@"])
def test_a_password_that_redis_does_not_take_is_told_as_such(
    run: Run, redis: OwnRedis, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    redis.set(requirepass="the-right-one")
    monkeypatch.setenv("LIFECYCLE_REDIS", redis.url.replace("//", f"//{given}"))
    said = doctor_on_redis(run)
    code, _, complaints = run("member", "m1")
    assert code == 1
    for text in (said, complaints):
        assert "no password in LIFECYCLE_REDIS, or not the right one" in text
        assert "HELLO" not in text
        assert "-one@" not in text
    assert said.startswith("FAIL")
    right = redis.url.replace("//", "//:the-right-one@")
    monkeypatch.setenv("LIFECYCLE_REDIS", right)
    assert doctor_on_redis(run).startswith("ok ")


@pytest.mark.kafka
def test_the_doctor_sees_a_redis_that_is_full(run: Run, redis: OwnRedis) -> None:
    redis.set(maxmemory="1")
    said = doctor_on_redis(run)
    assert said.startswith("FAIL redis: Redis is full")
    assert "maxmemory" in said
    with Redis.from_url(redis.url) as client:
        assert client.keys() == []


@pytest.mark.kafka
def test_the_doctor_sees_a_replica(run: Run, redis: OwnRedis) -> None:
    with Redis.from_url(redis.url) as client:
        client.replicaof("127.0.0.1", 1)
    assert doctor_on_redis(run).startswith("FAIL redis: Redis is a replica")


@pytest.mark.kafka
def test_the_doctor_sees_a_redis_that_throws_things_away(run: Run, redis: OwnRedis) -> None:
    redis.set(maxmemory="100mb", maxmemory_policy="allkeys-lru")
    said = doctor_on_redis(run)
    assert said.startswith("FAIL redis: ")
    assert "maxmemory-policy is allkeys-lru and must be noeviction" in said
    redis.set(maxmemory_policy="noeviction")
    assert doctor_on_redis(run).startswith("ok ")
    redis.set(maxmemory="0", maxmemory_policy="allkeys-lru")  # has nothing to do
    assert doctor_on_redis(run).startswith("ok ")


@pytest.mark.kafka
def test_the_doctor_has_the_rights_that_workers_have(
    run: Run, redis: OwnRedis, place: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = redis.url.replace("//", "//worker:word@")
    monkeypatch.setenv("LIFECYCLE_REDIS", url)
    app = place.settings.app_id

    def allow(*rights: str) -> None:
        with Redis.from_url(redis.url) as client:
            words = ("ACL", "SETUSER", "worker", "reset", "on", ">word", *rights)
            client.execute_command(*words)

    allow(f"~{app}:*", "+@all", "-info")
    assert doctor_on_redis(run) == (
        "ok   redis: answers and takes writes; it does not tell its maxmemory-policy, "
        "which must be noeviction"
    )
    allow("~other:*", "+@all")
    assert doctor_on_redis(run).startswith("FAIL redis: ")
    allow(f"~{app}:*", "+@all", "-hset")
    assert doctor_on_redis(run).startswith("FAIL redis: ")
