"""`lifecycle why` of a running system says what it says of the files that were fed into it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from worker_kit import World, world

from app.event_files import write_events
from app.simulator import DEFAULT_END_MS, simulate
from app.stack import StackInfo

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

EVER = ("--since", "1970-01-01T00:00:00Z")


@pytest.fixture(scope="module")
def place(kafka_stack: StackInfo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A worker that has folded a made log, and now has nothing more to do."""
    folder = tmp_path_factory.mktemp("why")
    events = list(simulate(60, 60, seed=5, end_ms=DEFAULT_END_MS))
    write_events(folder / "events.jsonl", events)
    with world(kafka_stack, "why", folder, partitions=4) as made:
        assert made.lifecycle("replay", "events.jsonl", "--out", "oracle.jsonl").returncode == 0
        assert made.lifecycle("produce", "events.jsonl").returncode == 0
        made.start_worker("--clock", "stream")
        said = (folder / "oracle.jsonl").read_bytes().splitlines()
        assert len(made.messages("triggers", until=len(said))) == len(said)
        yield made


def told(place: World, *words: str) -> dict[str, Any]:
    done = place.lifecycle("why", *words, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def decided(answer: dict[str, Any]) -> set[tuple[str | None, ...]]:
    about = ("type", "rule", "verdict", "due_at", "why")
    return {tuple(one.get(name) for name in about) for one in answer["said"]}


def busy(folder: Path) -> list[tuple[str, ...]]:
    """The ids of the log with the most events: two members, two visitors."""
    counts: dict[tuple[str, ...], int] = {}
    for line in (folder / "events.jsonl").read_text().splitlines():
        one = json.loads(line)
        if "member_id" in one:
            key: tuple[str, ...] = (one["member_id"],)
        elif "anonymous_id" in one:
            key = (one["anonymous_id"], "--anonymous")
        else:
            continue
        counts[key] = counts.get(key, 0) + 1
    order = sorted(counts, key=lambda key: -counts[key])
    members = [key for key in order if len(key) == 1]
    visitors = [key for key in order if len(key) == 2]
    return [*members[:2], *visitors[:2]]


def test_a_running_system_says_what_its_files_say(place: World) -> None:
    asked = busy(place.folder)
    assert len(asked) == 4
    armed = 0
    for who in asked:
        live = told(place, *who, *EVER)
        filed = told(place, *who, "--events", "events.jsonl")
        assert live["same_rules"]
        assert live["seen"] == filed["seen"]
        assert decided(live) == decided(filed)
        for one, other in zip(live["rules"], filed["rules"], strict=True):
            assert one["armed"] == other["armed"], one["rule"]
            # A row forgets it when it no longer keeps the rule from raising.
            assert one["last_raised_at"] in (None, other["last_raised_at"])
            armed += len(one["armed"])
    assert armed > 0


def test_without_since_the_last_seven_days_are_told(place: World) -> None:
    (member,) = busy(place.folder)[0]
    ever, lately = told(place, member, *EVER), told(place, member)
    recent = [one for one in ever["seen"] if one["at"] >= lately["since"]]
    assert 0 < len(recent) < len(ever["seen"])
    assert lately["seen"] == recent
    assert lately["rules"] == ever["rules"]


def test_it_is_told_in_words_of_both_languages(place: World) -> None:
    (member,) = busy(place.folder)[0]
    said = place.lifecycle("why", member, "inactive_30d").stdout
    assert f"member {member}," in said
    assert "seen since" in said
    assert "next deadline of any rule or stage: " in said
    said = place.lifecycle("why", member, "inactive_30d", "--language", "zh").stdout
    assert "起看到的事件:" in said
    assert "下一个到期时间: " in said


def test_other_rules_than_the_workers_are_noticed(place: World) -> None:
    (member,) = busy(place.folder)[0]
    rules = place.folder / "other" / "rules"
    rules.mkdir(parents=True, exist_ok=True)
    (rules / "only.yaml").write_text(
        "{rule: only, version: 1, about: A rule., reentry: always, expires_after: 1d, priority: 1, "
        "when: {absence: {after: visit, of: visit, within: 9d}}}"
    )
    said = place.lifecycle("why", member, "--config", "other")
    assert said.returncode == 0, said.stderr
    assert "note: other rules than these have written this member" in said.stdout


def test_who_is_unknown_and_what_is_wrong_is_said_in_one_line(place: World) -> None:
    nobody = place.lifecycle("why", "nobody")
    assert (nobody.returncode, nobody.stderr) == (1, "there is no member 'nobody'\n")
    (member,) = busy(place.folder)[0]
    for name, value, words in (
        ("LIFECYCLE_PARTITIONS", "3", "has 4 partitions, not 3 (set LIFECYCLE_PARTITIONS"),
        ("LIFECYCLE_APP_ID", "another", "there is no topic "),
        ("LIFECYCLE_BROKER", "127.0.0.1:1", "no Kafka broker answers at 127.0.0.1:1"),
    ):
        before = place.env[name]
        place.env[name] = value
        try:
            wrong = place.lifecycle("why", member)
        finally:
            place.env[name] = before
        assert wrong.returncode == 2, name
        assert words in wrong.stderr
        assert wrong.stderr.count("\n") == 1
