"""A live worker on the wall clock, as an upstream app and a messaging gateway see it."""

import json
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from live_kit import Reader, Upstream, event, get, now_ms, ready, wait_for
from prometheus_client.parser import text_string_to_metric_families
from worker_kit import World, permissive, world

from agents.partitioner import murmur2_partition
from app.stack import StackInfo
from models.times import DAY, HOUR, MINUTE, SECOND, format_duration, parse_instant, rfc3339

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

PARTITIONS = 2
WITHIN = 5 * SECOND
BROWSE_ABANDONED = """
rule: browse_abandoned
version: 3
about: Looked at items and neither put one into the cart nor ordered.
when:
  absence:
    after: {event: view_item}
    of: {event: [purchase, add_to_cart, begin_checkout]}
    within: WITHIN
reentry: always
expires_after: EXPIRES
priority: 40
group: abandonment
play: item_reminder
"""
WELCOME = """
rule: welcome
version: 1
about: Became a member.
when: {event: register}
reentry: once
expires_after: 24h
priority: 80
play: welcome
"""
# Who looks at an item first; what they do afterwards is in their names and in ``live``.
OVERTAKEN = (
    "buys",
    "bought_before",
    "unsubscribes",
    "complains",
    "refuses",
    "garbled",
    "misplaced",
    "erased",
    "complaint",
)


@dataclass
class Live:
    """A running worker, its two ends, and when each member looked at an item."""

    place: World
    upstream: Upstream
    reader: Reader
    worker: subprocess.Popen[bytes]
    url: str
    viewed: dict[str, int] = field(default_factory=dict)

    def view(self, member: str, at: int | None = None, **fields: Any) -> None:
        self.viewed[member] = at = now_ms() if at is None else at
        self.upstream.tell(event("view_item", member, at, **fields))

    def tell(self, kind: str, member: str, at: int | None = None, **fields: Any) -> None:
        self.upstream.tell(event(kind, member, at, **fields))

    def triggers(self, member: str, rule: str = "browse_abandoned") -> list[dict[str, Any]]:
        return self.reader.said("triggers", type="trigger", member_id=member, rule=rule)

    def cancellations(self, member: str) -> list[dict[str, Any]]:
        return self.reader.said("triggers", type="trigger_cancelled", member_id=member)

    def verdicts(self, **who: str) -> list[str]:
        rule = "browse_abandoned"
        found = self.reader.said("decisions", type="decision", rule=rule, **who)
        return [decision["verdict"] for decision in found]


def write_rules(folder: Path, within: int, expires: str) -> Path:
    """A configuration folder: two rules of its own, everything else from the package."""
    rules = permissive(folder / "shop") / "rules"
    rules.mkdir()
    rule = BROWSE_ABANDONED.replace("WITHIN", format_duration(within)).replace("EXPIRES", expires)
    (rules / "browse_abandoned.yaml").write_text(rule)
    (rules / "welcome.yaml").write_text(WELCOME)
    return rules.parent


@pytest.fixture(scope="module")
def live(kafka_stack: StackInfo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """Everything has happened, and what follows from it has been heard."""
    folder = tmp_path_factory.mktemp("live")
    with world(kafka_stack, "live", folder, partitions=PARTITIONS) as place:
        assert place.lifecycle("topics").returncode == 0
        worker = place.start_worker("--config", str(write_rules(folder, WITHIN, "1m")))
        reader = Reader(place, ("triggers", "decisions", "dead-letters"))
        live = Live(place, Upstream(place), reader, worker, ready(place, worker))
        look_at_items(live)
        wait_for_triggers(live)
        do_what_overtakes(live)
        wait_for_cancellations(live)
        yield live
        reader.close()


def look_at_items(live: Live) -> None:
    for member in ("silent", "late_buyer", *OVERTAKEN):
        live.view(member)
    live.view("in_time", source="app", category="tea", price=25.5)
    live.tell("purchase", "in_time")
    live.view("twice", event_id="e1")
    live.tell("view_item", "twice", live.viewed["twice"] + SECOND, event_id="e1", item_id="sku-2")
    now = now_ms()
    for days in range(100, 0, -1):
        for member in ("history", "returning"):
            at = now - days * DAY
            raw = event("view_item", member, at, origin="backfill")
            live.upstream.tell(raw, timestamp=at)
    live.view("returning", now - SECOND, origin="backfill")
    live.upstream.tell(
        {"type": "view_item", "anonymous_id": "nobody", "occurred_at": now, "item_id": "sku-1"}
    )
    live.viewed["ahead"] = now_ms()
    live.tell("view_item", "ahead", now_ms() + HOUR)
    live.upstream.send("browse", b"not an event", b"in_time")
    live.upstream.flush()


def wait_for_triggers(live: Live) -> None:
    waited = ("silent", "late_buyer", *OVERTAKEN, "twice", "returning", "ahead")
    live.reader.until(lambda: all(map(live.triggers, waited)), "a trigger of each")
    live.reader.until(lambda: bool(live.verdicts(anonymous_id="nobody")), "the anonymous decision")


def do_what_overtakes(live: Live) -> None:
    live.tell("purchase", "buys", order_id="o-77")
    live.tell("purchase", "bought_before", live.viewed["bought_before"] + 2 * SECOND)
    live.tell("unsubscribed", "unsubscribes")
    live.tell("complained", "complains")
    live.tell("consent", "refuses", channel="all", purpose="marketing", granted=False)
    for member, wrong in (("garbled", 0), ("misplaced", 1)):
        partition = (murmur2_partition(member.encode(), PARTITIONS) + wrong) % PARTITIONS
        raw = b'{"type":"unsubscribed","member_id":"%s","chan' % member.encode()
        live.upstream.send("browse", raw, member.encode(), partition=partition)
    live.tell("erase", "erased")
    live.tell("ticket_opened", "complaint", ticket_id="t-5")
    live.upstream.flush()


def wait_for_cancellations(live: Live) -> None:
    live.reader.until(lambda: all(map(live.cancellations, OVERTAKEN)), "each cancellation")
    live.reader.read(1.0)


# --- what is raised -------------------------------------------------------------------------------


def test_a_viewed_item_that_is_not_bought_is_said_once_and_not_before_its_time(live: Live) -> None:
    [trigger] = map(dict, live.triggers("silent"))
    viewed = live.viewed["silent"]
    raised = parse_instant(trigger.pop("raised_at"))
    assert viewed + WITHIN <= raised <= now_ms()
    assert re.fullmatch("[0-9a-f]{32}", trigger.pop("trigger_id"))
    reason, context = trigger.pop("reason"), trigger.pop("context")
    assert trigger == {
        "type": "trigger",
        "schema_version": 1,
        "member_id": "silent",
        "rule": "browse_abandoned",
        "rule_version": 3,
        "occasion": str(viewed),
        "group": "abandonment",
        "purpose": "marketing",
        "route": "message",
        "play": "item_reminder",
        "channels": ["app_push", "sms", "email", "wechat"],
        "locale": "en",
        "time_zone": "UTC",
        "stage": "lead",
        "due_at": rfc3339(viewed + WITHIN),
        "not_before": rfc3339(viewed + WITHIN),
        "not_after": rfc3339(viewed + WITHIN + MINUTE),
        "expires_at": rfc3339(viewed + WITHIN + MINUTE),
        "test": False,
        "offer": None,
    }
    assert reason["kind"] == "absence"
    assert reason["evidence"] == [{"type": "view_item", "occurred_at": rfc3339(viewed)}]
    assert reason["not_seen"] == ["purchase", "add_to_cart", "begin_checkout"]
    assert reason["within"] == "5s"
    assert reason["text"].startswith("The member viewed an item at ")
    assert [item["item_id"] for item in context["items"]] == ["sku-1"]


def test_triggers_are_cloud_events_keyed_by_member(live: Live) -> None:
    messages = [m for m in live.reader.found if m.topic() == live.place.topic("triggers")]
    assert messages
    for message in messages:
        said = json.loads(message.value())
        headers = {name: value.decode() for name, value in message.headers()}
        assert message.key() == said["member_id"].encode()
        assert headers["ce_specversion"] == "1.0"
        assert headers["ce_type"] == f"member-lifecycle.{said['type']}"
        assert headers["ce_id"].startswith(said["trigger_id"])
        assert headers["ce_source"].startswith("/member-lifecycle/")
        assert headers["ce_time"] == said.get("due_at", said.get("cancelled_at"))
    assert len({dict(m.headers())["ce_id"] for m in messages}) == len(messages)


def test_nothing_is_raised_before_it_is_due(live: Live) -> None:
    said = live.reader.said("triggers", type="trigger")
    assert len(said) >= 10
    assert all(trigger["raised_at"] >= trigger["due_at"] for trigger in said)


def test_a_purchase_before_the_deadline_leaves_nothing_to_say(live: Live) -> None:
    assert live.triggers("in_time") == []
    assert live.verdicts(member_id="in_time") == []


def test_an_event_sent_twice_counts_once(live: Live) -> None:
    [trigger] = live.triggers("twice")
    assert trigger["due_at"] == rfc3339(live.viewed["twice"] + WITHIN)
    assert document(live, "twice")["counts"] == {"view_item": 1}


def test_history_messages_nobody_but_leaves_its_deadlines_behind(live: Live) -> None:
    assert live.triggers("history") == []
    assert set(live.verdicts(member_id="history")) == {"backfill"}
    [trigger] = live.triggers("returning")
    assert trigger["due_at"] == rfc3339(live.viewed["returning"] + WITHIN)
    assert document(live, "returning")["counts"] == {"view_item": 101}


def test_a_phone_that_runs_ahead_does_not_take_its_lane_along(live: Live) -> None:
    [trigger] = live.triggers("ahead")
    armed = parse_instant(trigger["due_at"]) - WITHIN
    # The record's own timestamp counts, which the producer gave it.
    assert live.viewed["ahead"] <= armed <= live.viewed["ahead"] + MINUTE


def test_an_anonymous_id_gets_a_decision_and_no_trigger(live: Live) -> None:
    assert live.verdicts(anonymous_id="nobody") == ["anonymous"]
    assert live.triggers("nobody") == []


# --- what is taken back ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        ("buys", "purchase o-77"),
        ("bought_before", "purchase o1"),
        ("unsubscribes", "unsubscribed sms"),
        ("complains", "complained sms"),
        ("refuses", "consent all"),
        ("garbled", "unsubscribed all"),
        ("misplaced", "unsubscribed all"),
        ("erased", "erase"),
        ("complaint", "ticket_opened t-5"),
    ],
)
def test_what_overtakes_a_trigger_cancels_it_by_its_id(
    live: Live, member: str, reason: str
) -> None:
    [trigger] = live.triggers(member)
    [cancelled] = map(dict, live.cancellations(member))
    at = parse_instant(cancelled.pop("cancelled_at"))
    assert cancelled == {
        "type": "trigger_cancelled",
        "schema_version": 1,
        "trigger_id": trigger["trigger_id"],
        "member_id": member,
        "rule": "browse_abandoned",
        "reason": reason,
    }
    if member == "bought_before":
        assert at == live.viewed[member] + 2 * SECOND
    else:
        assert at >= parse_instant(trigger["due_at"])


def test_nobody_else_s_trigger_is_cancelled(live: Live) -> None:
    cancelled = {one["member_id"] for one in live.reader.said("triggers", type="trigger_cancelled")}
    assert cancelled == set(OVERTAKEN)


# --- what is known --------------------------------------------------------------------------------


def document(live: Live, member: str) -> dict[str, Any]:
    status, body = get(f"{live.url}/members/{member}")
    assert status == 200
    found: dict[str, Any] = json.loads(body)
    return found


def test_a_member_is_known_over_http_and_in_redis(live: Live) -> None:
    [trigger] = live.triggers("silent")
    known = document(live, "silent")
    assert known["member_id"] == "silent"
    assert known["counts"] == {"view_item": 1}
    assert known["open_triggers"] == [trigger["trigger_id"]]

    def in_redis() -> bool:
        asked = live.place.lifecycle("member", "silent", "--json")
        return asked.returncode == 0 and json.loads(asked.stdout) == known

    wait_for(in_redis, "the member's document in Redis", live.place)
    printed = live.place.lifecycle("member", "silent")
    assert printed.returncode == 0
    assert printed.stdout.startswith("member silent\n")
    assert "view_item 1" in printed.stdout
    assert trigger["trigger_id"] in printed.stdout


def test_of_an_erased_member_as_little_is_known_as_of_a_stranger(live: Live) -> None:
    assert get(f"{live.url}/members/who")[0] == 404
    asked = live.place.lifecycle("member", "who")
    assert asked.returncode == 1
    assert asked.stderr == "Redis knows no member 'who'\n"
    assert get(f"{live.url}/members/erased")[0] == 404


def test_the_worker_is_ready_and_its_metrics_count_what_happened(live: Live) -> None:
    assert get(f"{live.url}/readyz")[0] == 200
    status, body = get(f"{live.url}/metrics")
    assert status == 200
    counted = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }
    assert counted["lifecycle_ready",] == 1
    assert counted["lifecycle_lanes",] == PARTITIONS
    assert counted["lifecycle_recovery_seconds_count",] >= 1
    assert counted["lifecycle_dead_letters_total", "content"] == 3
    assert counted["lifecycle_opt_outs_salvaged_total",] == 2
    triggers = live.reader.said("triggers", type="trigger", rule="browse_abandoned")
    assert counted["lifecycle_triggers_total", "browse_abandoned"] == len(triggers)
    taken_back = counted["lifecycle_triggers_cancelled_total", "browse_abandoned", "no"]
    assert taken_back == len(OVERTAKEN)
    assert counted["lifecycle_events_total", "purchase"] == 3
    assert counted["lifecycle_duplicates_total",] == 1
    assert counted["lifecycle_ahead_events_total",] == 1


def test_bad_records_are_dead_letters(live: Live) -> None:
    letters = live.reader.said("dead-letters")
    assert len(letters) == 3
    assert {letter["topic"] for letter in letters} == {live.place.topic("browse")}
    assert {letter["path"] for letter in letters} == {"$", "$.type"}


# --- coming late, stopping and starting -----------------------------------------------------------


def test_a_worker_that_starts_late_reads_the_purchases_that_wait(
    kafka_stack: StackInfo, tmp_path: Path
) -> None:
    within = 10 * SECOND  # time enough to stop in
    with world(kafka_stack, "late", tmp_path, partitions=1) as place:
        assert place.lifecycle("topics").returncode == 0
        config = str(write_rules(tmp_path, within, "1d"))
        worker = place.start_worker("--config", config)
        reader = Reader(place, ("triggers", "member-updates"))
        live = Live(place, Upstream(place), reader, worker, ready(place, worker))

        def tell(kind: str, member: str, at: int) -> None:
            live.upstream.tell(event(kind, member, at), timestamp=at)

        # These deadlines are armed when the worker stops ...
        just_now = now_ms()
        for member in ("rested", *(f"stopped{n}" for n in range(200))):
            tell("view_item", member, just_now)
        live.upstream.flush()
        live.reader.until(lambda: len(reader.said("member-updates")) == 201, "every update")
        worker.terminate()
        assert worker.wait(20) == 0, place.logs()
        assert reader.said("triggers") == []
        # ... of these views it has never heard ...
        ago = just_now - 2 * HOUR
        for member in ("idle", *(f"missed{n}" for n in range(200))):
            tell("view_item", member, ago)
        # ... and the purchases lie behind much else in their own topic.
        for number in range(20_000):
            tell("purchase", "other", ago - DAY + number)
        for number in range(200):
            tell("purchase", f"missed{number}", ago + within - 1)
        for number in range(200):
            tell("purchase", f"stopped{number}", just_now + within - 1)
        live.upstream.flush()
        time.sleep(max(just_now + within + SECOND - now_ms(), 0) / 1000)
        place.start_worker("--config", config)
        live.reader.until(
            lambda: bool(live.triggers("idle") and live.triggers("rested")), "the idlers' triggers"
        )
        live.reader.read(2.0)
        assert {one["member_id"] for one in reader.said("triggers")} == {"idle", "rested"}
        live.reader.close()
        assert place.stop() == [0, 0], place.logs()


def test_a_stop_in_the_middle_of_events_loses_nothing_and_says_nothing_otherwise(
    live: Live,
) -> None:
    registered: list[str] = []
    enough = Event()

    def keep_registering() -> None:
        while not enough.wait(0.002):
            member = f"new{len(registered)}"
            live.tell("register", member)
            live.view(member)
            registered.append(member)

    def heard(rule: str) -> set[str]:
        return {one["member_id"] for one in live.reader.said("triggers", type="trigger", rule=rule)}

    feeding = Thread(target=keep_registering)
    feeding.start()
    try:
        live.reader.until(lambda: len(heard("welcome")) > 200, "the first welcomes")
        live.worker.terminate()
        assert live.worker.wait(10) == 0, live.place.logs()
        again = live.place.start_worker("--config", str(live.place.folder / "shop"))
        ready(live.place, again)
        already = len(registered)
        live.reader.until(lambda: f"new{already}" in heard("welcome"), "welcomes after the restart")
    finally:
        enough.set()
        feeding.join()
    live.upstream.flush()
    everybody = set(registered)
    live.reader.until(
        lambda: heard("welcome") >= everybody and heard("browse_abandoned") >= everybody,
        "both triggers of everybody",
    )
    # The last group before the stop is said again: to the byte, or a gateway could not drop it.
    said: dict[bytes, set[bytes]] = {}
    for message in live.reader.found:
        if message.topic() == live.place.topic("triggers"):
            said.setdefault(dict(message.headers())["ce_id"], set()).add(message.value())
    assert {len(contents) for contents in said.values()} == {1}
