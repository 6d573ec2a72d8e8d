"""The example gateway does what the contract asks of one, whatever happens to it."""

import json
import os
import re
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from core_builders import write_rules
from gateway_kit import (
    PATIENCE,
    MailServer,
    Process,
    Topics,
    mail_server,
    read_letter,
    text_of,
    until,
)
from live_kit import Upstream, event, get, now_ms, ready, wait_for
from policy_kit import living, on
from worker_kit import World, world

from app.stack import StackInfo
from models.times import DAY, HOUR, SECOND, rfc3339

# After gateway_kit, which says where these lie.
from gateway import READ_AT_ONCE, Gateway, Options  # isort: skip
from letters import Links, Recipient, letter  # isort: skip
from memory import WEEK_MS, Memory  # isort: skip

ADDRESSES = """member_id,email,name
m1,ann@example.com,Ann
m2,ming@example.com,小明
refused,refused@example.com,
nobody,nobody@example.com,
relayed,relayed@example.com,
blocked,blocked@example.com,
full,full@example.com,
unwanted,unwanted@example.com,
later,later@example.com,
broken,no address at all,
"""
LINKS = Links(*(f"http://x/{kind}/1/{'long' * 40}" for kind in "ocu"))


def trigger(number: int = 1, member: str = "m1", **more: Any) -> dict[str, Any]:
    """A trigger of now as the engine says it."""
    life = living({}, on("visit", "hello", play="welcome"), name=member)
    life.sees("visit", 1_767_268_800_000 + number)
    [raised] = life.triggers
    now = now_ms()
    times = {
        "not_before": rfc3339(now - SECOND),
        "not_after": rfc3339(now + HOUR),
        "expires_at": rfc3339(now + DAY),
    }
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(raised))
    return found | times | more


def cancellation(of: dict[str, Any]) -> dict[str, Any]:
    names = ("trigger_id", "member_id", "rule")
    return {
        "type": "trigger_cancelled",
        **{name: of[name] for name in names},
        "cancelled_at": rfc3339(now_ms()),
        "reason": "purchase o1",
    }


# --- letters --------------------------------------------------------------------------------------


def test_a_letter_is_in_the_members_language_and_about_what_the_trigger_is_about() -> None:
    said = trigger(locale="zh-CN", play="item_reminder")
    said["reason"] = {"text": "", "kind": "absence"}
    said["context"] = {"items": [{"item_id": "tea<1>", "price": 3.5}], "points": 120.0}
    found = letter(said, Recipient("ming@example.com", "小明"), "shop@example.com", LINKS)
    again = read_letter(found.as_bytes())
    assert again["Subject"] == "还在考虑吗?"
    assert again["To"] == "ming@example.com"
    assert "\r\nList-Unsubscribe: <http://x/u/1/" in found.as_string()
    assert found.as_bytes().isascii()
    assert max(map(len, found.as_bytes().splitlines())) <= 998
    written = datetime.fromisoformat(said["not_before"]).replace(microsecond=0)
    assert again["Date"].datetime == written
    assert again["Message-ID"] == f"<{said['trigger_id']}@example.com>"
    text = text_of(again)
    for words in ("小明,您好", "tea<1> (3.50)", "您的积分:120", LINKS.click, LINKS.stop):
        assert words in text
    page = again.get_body(("html",)).get_content()  # type: ignore[union-attr]
    assert "tea&lt;1&gt;" in page
    assert "<1>" not in page
    said["locale"] = "en"
    english = letter(said, Recipient("ann@example.com", "Ann"), "shop@example.com", LINKS)
    assert english["Subject"] == "Still thinking about it?"
    assert "Hello Ann," in text_of(english)


@pytest.mark.parametrize("bad", ["", "nobody", "a@b.c\r\nBcc: x@y.z", "é@example.com", "a@b@c"])
def test_what_is_no_address_is_refused_before_a_server_sees_it(bad: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        letter(trigger(), Recipient(bad), "shop@example.com", LINKS)


# --- what is remembered ---------------------------------------------------------------------------


def as_taken(said: dict[str, Any], now: int, expires: int, ours: bool = True) -> dict[str, Any]:
    return {
        "type": "trigger",
        "trigger_id": said["trigger_id"],
        "member_id": said["member_id"],
        "ours": ours,
        "not_before_ms": now,
        "not_after_ms": expires,
        "expires_at_ms": expires,
        "link": "",
        "trigger": said,
    }


def test_an_id_is_remembered_until_a_week_past_its_expiry_and_no_longer(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "memory", "email")
    said = trigger()
    taken = as_taken(said, 1000, 5000)
    assert memory.take_in([taken], {}, 1000)["new"] == 1
    memory.settle(said["trigger_id"], "sent", 1000, "sent")
    assert memory.forget(5000 + WEEK_MS - 1) == 0
    assert memory.take_in([taken], {}, 5000 + WEEK_MS - 1)["seen before"] == 1
    assert memory.forget(5000 + WEEK_MS) == 1
    # What is so old that it has been forgotten is not taken for new.
    assert memory.take_in([taken], {}, 5000 + WEEK_MS)["seen before"] == 1
    assert memory.due(5000 + WEEK_MS, 10) == []
    memory.close()


def test_a_cancellation_is_remembered_also_before_its_trigger(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "memory", "email")
    said = trigger()
    assert memory.take_in([cancellation(said)], {}, 1000)["cancelled"] == 1
    assert memory.take_in([as_taken(said, 1000, 5000)], {}, 1000)["seen before"] == 1
    assert memory.due(4000, 10) == []
    assert memory.counts() == {"cancelled": 1}
    memory.close()


def test_what_was_read_is_there_with_how_far_it_was_read(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "memory", "email")
    bad = as_taken(trigger(), 1000, 5000)
    del bad["link"]
    with pytest.raises(KeyError):
        memory.take_in([as_taken(trigger(2), 1000, 5000), bad], {3: 7}, 1000)
    assert memory.places() == {}
    assert memory.counts() == {}
    memory.close()


# --- with the topics, and the engine played by the test -------------------------------------------


class Shop:
    """Topics, a mail server, and gateways that share a memory, one after the other."""

    def __init__(self, stack: StackInfo, folder: Path, mail: MailServer) -> None:
        self.topics = Topics(stack.broker)
        self.folder = folder
        self.mail = mail
        self.now = now_ms()
        self.addresses = folder / "addresses.csv"
        self.addresses.write_text(ADDRESSES)
        self.processes: list[Process] = []

    def gateway(self, port: int = 0) -> Gateway:
        """One whose clock is ``now``."""
        options = Options(
            broker=self.topics.broker,
            memory=self.folder / "memory",
            addresses=self.addresses,
            smtp=("127.0.0.1", port or self.mail.port),
            sender="shop@example.com",
            shop="https://shop.example.com",
            topic_prefix=self.topics.prefix,
        )
        return Gateway(options, lambda: self.now)

    def start(self, port: int = 0) -> Process:
        """One as somebody starts it."""
        words = ["--broker", self.topics.broker, "--topic-prefix", self.topics.prefix]
        words += ["--memory", "memory", "--addresses", "addresses.csv"]
        words += ["--smtp", f"127.0.0.1:{port or self.mail.port}", "--tracking", "127.0.0.1:0"]
        process = Process(self.folder, "gateway.py", *words)
        self.processes.append(process)
        return process


@pytest.fixture
def shop(kafka_stack: StackInfo, tmp_path: Path) -> Iterator[Shop]:
    with mail_server() as mail:
        made = Shop(kafka_stack, tmp_path, mail)
        yield made
        for process in made.processes:
            process.end()
            # Whatever happened: ids, and no addresses.
            assert "example.com" not in process.log


def rounds(gateway: Gateway, there: Callable[[], bool]) -> None:
    """Let the gateway work until something is so, and a little longer."""
    ends = time.monotonic() + PATIENCE
    while not there():
        assert time.monotonic() < ends, gateway.memory.counts()
        gateway.round(0.05)
    for _ in range(4):
        gateway.round(0.05)


def in_state(gateway: Gateway, **states: int) -> Callable[[], bool]:
    return lambda: gateway.memory.counts() == states


@pytest.mark.kafka
def test_the_same_trigger_however_often_is_one_letter_and_one_report(shop: Shop) -> None:
    said = trigger()
    shop.topics.say(said, said)
    gateway = shop.gateway()
    rounds(gateway, in_state(gateway, sent=1))
    shop.topics.say(said)
    rounds(gateway, lambda: sum(gateway.memory.places().values()) == 3)
    gateway.close()
    again = shop.gateway()
    shop.topics.say(said)
    rounds(again, lambda: sum(again.memory.places().values()) == 4)
    again.close()
    [sent] = shop.mail.letters
    assert sent["To"] == "ann@example.com"
    kinds = [(r["type"], r["channel"]) for r in shop.topics.reports()]
    assert kinds == [("sent", "email"), ("delivered", "email")]


@pytest.mark.kafka
def test_what_is_cancelled_before_its_time_is_never_sent(shop: Shop) -> None:
    waits = trigger(1, not_before=rfc3339(shop.now + HOUR), not_after=rfc3339(shop.now + 2 * HOUR))
    at_once = trigger(2)
    shop.topics.say(waits, at_once, cancellation(at_once), b"no trigger", {"type": "new kind"})
    gateway = shop.gateway()
    rounds(gateway, in_state(gateway, waiting=1, cancelled=1))
    shop.topics.say(cancellation(waits))
    shop.now += HOUR + 1
    # What is due and what is withdrawn are both there: reading goes first.
    rounds(gateway, in_state(gateway, cancelled=2))
    shop.topics.say(waits, at_once)
    rounds(gateway, lambda: sum(gateway.memory.places().values()) == 8)
    gateway.close()
    assert shop.mail.letters == []
    assert shop.topics.reports() == []


@pytest.mark.kafka
def test_a_cancellation_far_behind_its_trigger_is_read_before_anything_is_sent(shop: Shop) -> None:
    said = trigger()
    others = [
        said | {"trigger_id": f"{number:032x}", "channels": ["sms"]}
        for number in range(2 * READ_AT_ONCE)
    ]
    shop.topics.say(said, *others, cancellation(said))
    gateway = shop.gateway()
    rounds(gateway, in_state(gateway, cancelled=1, not_ours=len(others)))
    gateway.close()
    assert shop.mail.letters == []


@pytest.mark.kafka
def test_a_letter_waits_for_its_hours_and_is_not_sent_after_them(shop: Shop) -> None:
    evening, morning = shop.now + HOUR, shop.now + 12 * HOUR
    hours = {"not_before": rfc3339(morning), "not_after": rfc3339(morning + HOUR)}
    deferred, too_late = trigger(1, **hours), trigger(2, not_after=rfc3339(evening))
    shop.topics.say(deferred)
    gateway = shop.gateway()
    rounds(gateway, in_state(gateway, waiting=1))
    shop.now = morning - 1
    rounds(gateway, in_state(gateway, waiting=1))
    assert shop.mail.letters == []
    shop.topics.say(too_late)
    rounds(gateway, in_state(gateway, waiting=1, missed=1))
    shop.now = morning
    rounds(gateway, in_state(gateway, sent=1, missed=1))
    gateway.close()
    assert len(shop.mail.letters) == 1
    assert shop.topics.kinds(deferred["trigger_id"]) == ["delivered", "sent"]
    assert shop.topics.kinds(too_late["trigger_id"]) == ["failed"]


@pytest.mark.kafka
def test_what_is_for_others_is_left_to_them(shop: Shop) -> None:
    shop.topics.say(
        trigger(1, channels=["sms"]),
        trigger(2, route="agent_task"),
        trigger(3, channels=["sms", "email"]),
        trigger(4, member="unknown"),
        trigger(5, member="broken"),
    )
    gateway = shop.gateway()
    rounds(gateway, in_state(gateway, not_ours=2, sent=1, failed=2))
    gateway.close()
    assert len(shop.mail.letters) == 1
    assert sorted(r["type"] for r in shop.topics.reports()) == [
        "delivered",
        "failed",
        "failed",
        "sent",
    ]


@pytest.mark.kafka
def test_a_server_that_refuses_is_believed_and_one_that_wants_to_wait_is_asked_again(
    shop: Shop,
) -> None:
    wanted: list[str] = []

    def answer(step: str, to: str, content: bytes) -> str:
        match step, to.partition("@")[0]:
            case "RCPT", "refused":
                return f"550 there is no {to}"
            case "RCPT", "nobody":
                return "550 5.1.1 nobody of that name"
            case "RCPT", "relayed":
                return "554 5.7.1 Relay access denied"
            case "RCPT", "blocked":
                return "550 5.7.1 blocked for policy"
            case "RCPT", "full":
                return "552 no room"
            case "DATA", "unwanted":
                return "554 not wanted"
            case "RCPT", "later" if not wanted:
                wanted.append(to)
                return "451 later"
        return "250 yes"

    shop.mail.answer = answer
    not_their_fault = ("blocked", "full", "relayed", "unwanted")
    members = ("refused", "nobody", *not_their_fault, "later", "m1")
    shop.topics.say(*(trigger(n, name) for n, name in enumerate(members)))
    gateway = shop.gateway()
    rounds(gateway, in_state(gateway, bounced=2, failed=4, waiting=1, sent=1))
    shop.now += 10 * SECOND
    rounds(gateway, in_state(gateway, bounced=2, failed=4, sent=2))
    gateway.close()
    kinds = sorted((r["member_id"], r["type"]) for r in shop.topics.reports())
    arrived = [(name, kind) for name in ("later", "m1") for kind in ("delivered", "sent")]
    bounced = [(name, "bounced") for name in ("refused", "nobody")]
    failed = [(name, "failed") for name in not_their_fault]
    assert kinds == sorted([*arrived, *bounced, *failed])


@pytest.mark.kafka
def test_nothing_is_lost_while_the_mail_server_is_away(shop: Shop) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shop.topics.say(*(trigger(n) for n in range(30)))
    running = shop.start(port)
    running.says("next try in")
    with mail_server(port) as back:
        until(lambda: len(back.letters) == 30, "every letter")
        assert running.stop() == 0
    assert len({one["Message-ID"] for one in back.letters}) == 30
    assert len(shop.topics.reports()) == 60


@pytest.mark.kafka
@pytest.mark.parametrize(("purpose", "letters"), [("marketing", 1), ("service", 2)])
def test_killed_between_sending_and_remembering(purpose: str, letters: int, shop: Shop) -> None:
    running: list[Process] = []

    def kill_once(step: str, to: str, content: bytes) -> str:
        # The letter is kept, and the answer never heard.
        if step == "DATA" and not shop.mail.letters:
            os.kill(running[0].process.pid, signal.SIGKILL)
            running[0].process.wait()
        return "250 yes"

    shop.mail.answer = kill_once
    said = trigger(purpose=purpose)
    shop.topics.say(said)
    running.append(shop.start())
    until(lambda: running[0].process.poll() is not None, "the kill")
    again = shop.start()
    again.says("letters in doubt")
    until(lambda: "sent" in shop.topics.kinds(said["trigger_id"]), "the report")
    assert again.stop() == 0
    assert len(shop.mail.letters) == letters
    assert {one["Message-ID"] for one in shop.mail.letters} == {
        f"<{said['trigger_id']}@example.com>"
    }


@pytest.mark.kafka
def test_a_server_that_hangs_up_instead_of_answering_is_in_doubt_as_well(shop: Shop) -> None:
    shop.mail.answer = lambda step, to, content: "" if step == "DATA" else "250 yes"
    said = trigger()
    shop.topics.say(said)
    gateway = shop.gateway()
    rounds(gateway, in_state(gateway, sent=1))
    shop.now += HOUR
    rounds(gateway, in_state(gateway, sent=1))
    gateway.close()
    assert len(shop.mail.letters) == 1
    assert shop.topics.kinds(said["trigger_id"]) == ["sent"]


@pytest.mark.kafka
def test_killed_between_remembering_and_reporting_it_reports_afterwards(shop: Shop) -> None:
    said = trigger()
    memory = Memory(shop.folder / "memory", "email")
    memory.take_in([as_taken(said, shop.now, shop.now + DAY)], {}, shop.now)
    memory.settle(said["trigger_id"], "sent", shop.now, "sent", "delivered")
    memory.close()
    for _ in range(2):
        gateway = shop.gateway()
        rounds(gateway, in_state(gateway, sent=1))
        gateway.close()
    assert [r["type"] for r in shop.topics.reports()] == ["sent", "delivered"]


@pytest.mark.kafka
def test_two_gateways_do_not_share_a_memory(shop: Shop) -> None:
    first = shop.start()
    first.says("working")
    second = shop.start()
    assert second.process.wait(PATIENCE) == 1
    assert "locked" in second.log
    assert first.stop() == 0


@pytest.mark.kafka
def test_a_link_that_was_made_up_tells_nothing(shop: Shop) -> None:
    said = trigger()
    shop.topics.say(said)
    gateway = shop.gateway()
    rounds(gateway, in_state(gateway, sent=1))
    good = gateway.tracker.links(said["trigger_id"])
    forged = good.click.replace("/c/", "/u/")
    for url in (forged, good.open[:-1], good.click + "0", good.open.partition(".gif")[0] + "x"):
        assert fetch(url)[0] == 404
        assert fetch(url, b"")[0] == 404
    # A page that asks, since programs follow links too.
    assert fetch(good.stop)[0] == 200
    rounds(gateway, lambda: True)
    assert len(shop.topics.reports()) == 2
    code, location = fetch(good.click + "?to=https://elsewhere.example")
    assert (code, location) == (302, "https://shop.example.com")
    assert fetch(good.open)[0] == fetch(good.open)[0] == 200
    assert fetch(good.stop, b"List-Unsubscribe=One-Click")[0] == 200
    rounds(gateway, lambda: True)
    gateway.close()
    kinds = ["clicked", "delivered", "opened", "sent", "unsubscribed"]
    assert shop.topics.kinds(said["trigger_id"]) == kinds
    assert len(shop.topics.reports()) == 5


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any) -> None:
        return None


def fetch(url: str, body: bytes | None = None) -> tuple[int, str]:
    """Status, and where it leads."""
    try:
        with urllib.request.build_opener(_Stay).open(url, body, timeout=10) as answer:
            return answer.status, ""
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers.get("Location", "")


# --- with a worker --------------------------------------------------------------------------------


def configured(folder: Path) -> Path:
    """Two rules for one message a day, on whatever channel."""
    config = folder / "config"
    write_rules(
        config / "rules",
        on("register", "welcome", play="welcome"),
        on("search", "searched"),
    )
    policy = {"channels": ["email"], "caps": [{"at_most": 1, "within": "20h"}]}
    (config / "policy.yaml").write_text(json.dumps(policy | {"sent_is_reported": True}))
    return config


@pytest.mark.kafka
@pytest.mark.slow
def test_from_an_event_to_a_letter_and_back_into_the_members_document(
    kafka_stack: StackInfo, tmp_path: Path
) -> None:
    (tmp_path / "addresses.csv").write_text(ADDRESSES)
    with world(kafka_stack, "gateway", tmp_path) as place:
        worker = place.start_worker("--config", str(configured(tmp_path)))
        url = ready(place, worker)
        sink = Process(tmp_path, "smtp_sink.py", "--port", "0", "--folder", "letters")
        sink.says("listening on ")
        port = re.search(r"listening on \S+:(\d+)", sink.log)
        assert port is not None
        gateway = Process(
            tmp_path, "gateway.py",
            "--broker", place.broker, "--topic-prefix", place.settings.topic_prefix,
            "--addresses", "addresses.csv", "--smtp", f"127.0.0.1:{port[1]}",
            "--tracking", "127.0.0.1:0",
        )  # fmt: skip
        try:
            _goes_round(place, url, tmp_path / "letters")
            assert gateway.stop() == 0
            assert sink.stop() == 0
            assert "example.com" not in gateway.log
        finally:
            gateway.end()
            sink.end()


def _goes_round(place: World, url: str, letters: Path) -> None:
    upstream = Upstream(place)
    upstream.tell(event("profile", "m2", locale="zh-CN"))
    for member in ("m1", "m2", "refused"):
        upstream.tell(event("register", member))
    upstream.flush()
    found = wait_for(lambda: len(list(letters.glob("*.eml"))) == 2, "two letters", place)
    assert found
    sent = {one["To"]: one for one in map(read_letter, _contents(letters))}
    assert sent["ann@example.com"]["Subject"] == "Welcome"
    assert sent["ming@example.com"]["Subject"] == "欢迎加入"

    counts = {"m1": {"sent": 1, "delivered": 1}, "m2": {"sent": 1, "delivered": 1}}
    for member, wanted in (counts | {"refused": {"bounced": 1}}).items():
        wait_for(lambda m=member, w=wanted: counted(url, m, w), f"{wanted} of {member}", place)
    # The letter that came back gives its slot back; those that arrived use up the day's.
    for member in ("m1", "refused"):
        upstream.tell(event("search", member))
    upstream.flush()
    decided = wait_for(lambda: verdicts(place, "searched", 2), "both decisions", place)
    assert decided == {"m1": "cap", "refused": "raised"}

    text = text_of(sent["ann@example.com"])
    click, stop = re.findall(r"http://\S+", text)
    assert fetch(click) == (302, "https://shop.example.com")
    assert fetch(click.replace("/c/", "/o/"))[0] == 404
    wait_for(lambda: counted(url, "m1", {"clicked": 1}), "the click", place)
    assert fetch(stop, b"")[0] == 200
    wait_for(lambda: document(url, "m1").get("opted_out") == ["email"], "the opt-out", place)
    assert place.messages("dead-letters", idle=0.5) == []


def _contents(letters: Path) -> list[bytes]:
    return [path.read_bytes() for path in letters.glob("*.eml")]


def document(url: str, member: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(get(f"{url}/members/{member}")[1])
    return found


def counted(url: str, member: str, wanted: dict[str, int]) -> bool:
    counts = document(url, member).get("counts", {})
    return {name: counts.get(name) for name in wanted} == wanted


def verdicts(place: World, rule: str, number: int) -> dict[str, str] | None:
    said = [json.loads(m.value()) for m in place.messages("decisions", idle=0.5)]
    found = {d["member_id"]: d["verdict"] for d in said if d.get("rule") == rule}
    return found if len(found) == number else None
