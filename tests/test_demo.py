"""The demo: its feed, its clock, its comparison, its view, and the whole of it on a real broker."""

import fcntl
import io
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from confluent_kafka.admin import AdminClient
from core_builders import NOON, Life
from policy_kit import book
from redis import Redis
from rich.cells import cell_len
from rich.console import Console
from rich.screen import Screen

from agents.clocks import FollowClock
from app.demo.feed import Feed, Played, data_feed, made_feed, waves
from app.demo.gateway import News, Seen
from app.demo.nightly import Comparison, Ends, Reminder, compare, ends_of, night
from app.demo.player import MOST_AHEAD, FollowedClock, Player
from app.demo.summary import Summary, percentiles
from app.demo.view import LiveView, Picture, Ticker, bar, plain_line, shortened
from app.event_reading import Record
from app.importers.report import InputError
from app.stack import StackInfo
from app.worker_process import Deadlines
from config.paths import load_config
from models.times import DAY, HOUR, MINUTE, parse_instant, rfc3339
from models.triggers import Reason, Transition, Trigger, TriggerCancelled, TriggerContext

SHANGHAI = ZoneInfo("Asia/Shanghai")
TODAY = parse_instant("2026-11-22T12:34:00Z")


def at(text: str) -> int:
    """An instant of November 2026 in Shanghai: ``"21 14:00"``."""
    return parse_instant(f"2026-11-{text.replace(' ', 'T')}:00+08:00")


# --- the nightly job --------------------------------------------------------------------------

ENDS = {
    "cart_abandoned": Ends(
        before=frozenset({"purchase", "begin_checkout"}),
        after=frozenset({"purchase", "begin_checkout"}),
    ),
    "no_order_30d": Ends(before=frozenset({"purchase"}), after=frozenset({"purchase", "visit"})),
}


def reminder(member: str, due: str, **but: object) -> Reminder:
    values = {
        "rule": "cart_abandoned",
        "member_id": member,
        "since": at(due) - HOUR,
        "due": at(due),
        "raised": at(due) + 5,
        "cancelled": False,
    }
    return Reminder(**(values | but))  # type: ignore[arg-type]


def judge(*reminders: Reminder, until: str = "30 00:00", **histories: list[tuple[str, str]]):
    instants = {
        member: [(at(when), kind) for when, kind in history]
        for member, history in histories.items()
    }
    return compare(reminders, instants, ENDS, SHANGHAI, at(until))


def test_the_nightly_job_looks_at_two_and_sends_at_ten_of_the_brands_day() -> None:
    assert night(at("21 14:00"), SHANGHAI) == (at("22 02:00"), at("22 10:00"))
    assert night(at("22 01:59"), SHANGHAI) == (at("22 02:00"), at("22 10:00"))
    assert night(at("22 02:00"), SHANGHAI) == (at("22 02:00"), at("22 10:00"))
    assert night(at("22 02:00") + 1, SHANGHAI) == (at("23 02:00"), at("23 10:00"))


def test_the_hours_are_the_clocks_also_when_summer_time_begins() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    due = parse_instant("2026-03-28T12:00:00+01:00")
    looks, sends = night(due, berlin)
    assert sends == parse_instant("2026-03-29T10:00:00+02:00")
    assert due < looks < sends


def test_who_bought_between_the_nightly_look_and_its_message_is_counted_against_it() -> None:
    due = reminder("m1", "21 14:00", cancelled=True)
    assert judge(due, m1=[("22 08:00", "purchase")]) == Comparison(nightly=1, engine=0)
    assert judge(due, m1=[("22 02:00", "purchase")]) == Comparison(nightly=1, engine=0)


def test_who_bought_before_the_nightly_look_is_not_counted_nor_is_who_came_after() -> None:
    due = reminder("m1", "21 14:00", cancelled=True)
    early, late = ("22 01:59", "purchase"), ("22 10:00", "purchase")
    assert judge(due, m1=[early]) == Comparison(0, 0)
    assert judge(due, m1=[late]) == Comparison(0, 0)
    # The job knew of the first order: it would not have written at all.
    assert judge(due, m1=[early, ("22 08:00", "purchase")]) == Comparison(0, 0)


def test_only_what_ends_the_rules_own_absence_counts() -> None:
    cart = reminder("m1", "21 14:00")
    recall = reminder("m1", "21 14:00", rule="no_order_30d", cancelled=True)
    assert judge(cart, m1=[("22 08:00", "visit")]) == Comparison(0, 0)
    assert judge(recall, m1=[("22 08:00", "visit")]) == Comparison(1, 0)
    assert judge(reminder("m1", "21 14:00", rule="welcome"), m1=[("22 08:00", "purchase")]) == (
        Comparison(0, 0)
    )


def test_members_are_counted_and_not_messages() -> None:
    histories = {"m1": [("22 08:00", "purchase")], "m2": [("22 09:00", "begin_checkout")]}
    reminders = [
        reminder(member, "21 14:00", rule=rule, cancelled=True)
        for member in histories
        for rule in ENDS
    ]
    assert judge(*reminders, **histories) == Comparison(nightly=2, engine=0)


def test_messages_after_the_end_of_the_play_are_not_counted() -> None:
    due = reminder("m1", "21 14:00", cancelled=True)
    assert judge(due, until="22 09:59", m1=[("22 08:00", "purchase")]).nightly == 0
    assert judge(due, until="22 10:00", m1=[("22 08:00", "purchase")]).nightly == 1


def test_the_engine_is_caught_when_it_writes_to_someone_who_had_bought() -> None:
    wrong = reminder("m1", "21 14:00")
    assert judge(wrong, m1=[("21 13:59", "purchase")]).engine == 1
    late = reminder("m1", "21 14:00", raised=at("21 16:00"))
    assert judge(late, m1=[("21 15:00", "purchase")]).engine == 1
    taken_back = late._replace(cancelled=True)
    assert judge(taken_back, m1=[("21 15:00", "purchase")]).engine == 0
    # What armed the deadline, and what came before it, are no reason.
    assert judge(wrong, m1=[("21 12:00", "purchase"), ("21 13:00", "purchase")]).engine == 0


def test_of_the_shipped_rules_those_about_an_absence_are_compared() -> None:
    ends = ends_of(load_config().rules)
    assert {"welcome", "became_loyal"}.isdisjoint(ends)
    ordered = frozenset({"order_placed", "purchase"})
    assert ends["checkout_abandoned"] == Ends(ordered, ordered)
    assert ends["no_order_30d"].before == {"purchase"}
    assert "visit" in ends["no_order_30d"].after
    assert ends["became_lost"].before == frozenset()


# --- the feed ---------------------------------------------------------------------------------


def test_made_members_end_today_and_speak_the_brands_language() -> None:
    feed = made_feed(20, 10, "Asia/Shanghai", TODAY)
    assert feed.end - feed.start == 10 * DAY
    events = list(feed.events)
    times = [event.record.at for event in events]
    assert times == sorted(times)
    assert feed.start <= times[0]
    assert TODAY - 3 * DAY < times[-1] < TODAY
    profiles = [json.loads(event.record.raw) for event in events if event.type == "profile"]
    assert profiles
    assert not any("locale" in profile for profile in profiles)


def test_the_shipped_customers_are_moved_by_whole_days_to_end_within_the_last_one() -> None:
    feed = data_feed("uci-sample", None, None, TODAY)
    events = list(feed.events)
    assert len({event.member_id for event in events}) == 1000
    first, last = events[0].record.at, events[-1].record.at
    assert first == feed.start
    assert TODAY - DAY < last <= TODAY
    # 2010-12-01 08:34, the first order of the sample.
    assert (first - 1291192440000) % DAY == 0
    assert json.loads(events[0].record.raw)["occurred_at"] == first


def test_some_members_of_a_data_set_come_with_all_their_events() -> None:
    whole: dict[str | None, int] = {}
    for event in data_feed("uci-sample", None, None, TODAY).events:
        whole[event.member_id] = whole.get(event.member_id, 0) + 1
    some: dict[str | None, int] = {}
    for event in data_feed("uci-sample", None, 50, TODAY).events:
        some[event.member_id] = some.get(event.member_id, 0) + 1
    assert len(some) == 50
    assert all(whole[member] == count for member, count in some.items())


def test_an_event_file_is_played_in_order_and_all_its_instants_move(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text(
        '{"type":"points","member_id":"m1","occurred_at":"2020-01-02T00:00:00Z","balance":1,'
        '"expires_at":"2020-01-05T00:00:00Z"}\n'
        '{"type":"register","member_id":"m1","occurred_at":1577836800000}\n'
        '{"type":"item","item_id":"i1","title":"Tea","available":true}\n'
    )
    feed = data_feed(str(path), None, None, TODAY)
    item, register, points = list(feed.events)
    assert (item.type, register.type, points.type) == ("item", "register", "points")
    assert points.record.at - register.record.at == DAY
    said = json.loads(points.record.raw)
    assert said["expires_at"] - said["occurred_at"] == 3 * DAY


@pytest.mark.parametrize(
    ("content", "said"),
    [("", "there are no events"), ('{"type":"visit"}\n', "events.jsonl:1: $.member_id")],
)
def test_a_file_that_cannot_be_played_is_named(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text(content)
    with pytest.raises(Exception, match=re.escape(said)):
        data_feed(str(path), None, None, TODAY)


def test_unknown_data_is_refused_with_what_there_is() -> None:
    with pytest.raises(InputError, match="none of uci-sample, retailrocket"):
        data_feed("nothing-like-that", None, None, TODAY)


# --- playing ----------------------------------------------------------------------------------


def played(when: int, topic: str, member: str = "m1") -> Played:
    return Played(Record(topic, member.encode(), when, b"{}"), "visit", member, None)


def test_an_event_waits_for_its_members_event_before_it_when_the_topics_differ() -> None:
    view, more, cart, order, again = (
        played(1, "browse"),
        played(2, "browse"),
        played(3, "cart"),
        played(4, "purchase"),
        played(5, "browse"),
    )
    groups = [[view, more], [cart], [order], [again]]
    assert waves([view, more, cart, order, again], lambda _: 0) == groups


def test_members_do_not_wait_for_each_other_but_partitions_stay_in_order_of_time() -> None:
    lanes = {b"m1": 0, b"m2": 0, b"m3": 1}
    view, cart, same, elsewhere = (
        played(1, "browse", "m1"),
        played(2, "cart", "m1"),
        played(3, "cart", "m2"),
        played(4, "cart", "m3"),
    )
    # m2's would overtake m1's in the partition of both: the later would be read first.
    assert waves([view, cart, same, elsewhere], lanes.__getitem__) == [
        [view, elsewhere],
        [cart, same],
    ]


class Log:
    """A broker and a worker in one: keeps what is sent, and folds as much as it is let."""

    def __init__(self) -> None:
        self.sent: list[int] = []
        self.flushed = 0
        self.folded = 0
        self.clock: FollowClock | None = None

    def send(self, record: Record) -> None:
        # Whatever is sent must be news to the worker: its clock has not got there.
        assert self.clock is None or self.clock.now() <= record.at
        self.sent.append(record.at)

    def flush(self) -> None:
        self.flushed = len(self.sent)

    def count(self) -> int:
        return self.folded


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def play(log: Log, tmp_path: Path) -> Iterator[Callable[..., Player]]:
    clocks: list[FollowedClock] = []

    def make(*times: int, end: int) -> Player:
        clocks.append(FollowedClock(tmp_path / "clock", 0))
        log.clock = FollowClock(tmp_path / "clock")
        events = iter([played(when, "browse") for when in times])
        return Player(Feed("a feed", 0, end, events), log, clocks[0], log, lambda _: 0)

    yield make
    for clock in clocks:
        with clock:
            pass


def test_the_clock_gets_to_an_instant_after_all_its_events_are_acknowledged(
    log: Log, play: Callable[..., Player]
) -> None:
    player = play(1000, 2000, 2500, 9000, end=10_000)
    player.play_to(2500, 0.0)
    assert log.sent == [1000, 2000]
    assert log.flushed == 2
    assert log.clock is not None
    assert log.clock.now() == player.position == 2500
    player.play_to(99_000, 1.0)
    assert log.sent == [1000, 2000, 2500, 9000]
    assert log.clock.now() == 10_000
    assert player.through
    assert [player.handed_at(instant) for instant in (1, 2500, 2501, 10_000)] == [0, 0, 1, 1]


def test_the_clock_waits_for_a_worker_that_lags(log: Log, play: Callable[..., Player]) -> None:
    player = play(HOUR, MOST_AHEAD + HOUR, end=10 * DAY)
    player.play_to(2 * HOUR, 0.0)
    player.look()
    player.play_to(5 * DAY, 0.0)
    assert player.position == MOST_AHEAD
    assert player.lag == 1
    player.play_to(5 * DAY, 0.0)
    assert player.position == MOST_AHEAD
    log.folded = 1
    player.look()
    assert player.lag == 0
    player.play_to(5 * DAY, 0.0)
    assert player.position == 2 * MOST_AHEAD
    assert log.sent == [HOUR, MOST_AHEAD + HOUR]


def test_visitors_are_those_who_are_not_linked_to_a_member(
    log: Log, play: Callable[..., Player]
) -> None:
    player = play(end=DAY)
    for event in (
        Played(Record("browse", b"a1", 1, b""), "visit", None, "a1"),
        Played(Record("browse", b"a2", 2, b""), "visit", None, "a2"),
        Played(Record("member", b"m1", 3, b""), "link", "m1", "a1"),
        Played(Record("items", b"i1", 3, b""), "item", None, None),
    ):
        player._produce([event])
    assert player.visitors == {"a2"}
    assert player.histories == {"m1": [(3, "link")]}
    assert player.produced == 3


# --- what is read and shown -------------------------------------------------------------------


def trigger(number: int, rule: str = "cart_abandoned", occasion: str = "1000") -> Trigger:
    return Trigger(
        trigger_id=f"{number:032x}",
        member_id=f"m{number}",
        rule=rule,
        rule_version=1,
        occasion=occasion,
        group=None,
        purpose="marketing",
        route="message",
        play=None,
        channels=(),
        locale="en",
        time_zone="UTC",
        stage="active",
        due_at=rfc3339(HOUR),
        raised_at=rfc3339(2 * HOUR),
        not_before=rfc3339(HOUR),
        not_after=rfc3339(DAY),
        expires_at=rfc3339(DAY),
        test=False,
        offer=None,
        reason=Reason(text="The member did not.", kind="absence"),
        context=TriggerContext(),
    )


def test_a_trigger_said_twice_counts_once_and_a_cancelled_one_is_known() -> None:
    seen = Seen()
    for message in (trigger(1), trigger(2), trigger(1)):
        seen.trigger(message, 1.0)
    back = TriggerCancelled(
        trigger_id=trigger(2).trigger_id,
        member_id="m2",
        rule="cart_abandoned",
        cancelled_at=rfc3339(3 * HOUR),
        reason="purchase o1",
    )
    seen.trigger(back, 1.0)
    seen.trigger(back, 1.0)
    assert seen.by_rule == {"cart_abandoned": 2}
    assert len(seen.cancelled) == 1
    assert seen.reminders() == [
        Reminder("cart_abandoned", "m1", 1000, HOUR, 2 * HOUR, False),
        Reminder("cart_abandoned", "m2", 1000, HOUR, 2 * HOUR, True),
    ]


def test_a_stage_is_the_last_that_was_entered() -> None:
    seen = Seen()
    for stage in ("new", "active"):
        seen.decision(
            Transition(kind="stage", before="x", after=stage, at="", why="", member_id="m1")
        )
    seen.decision(Transition(kind="band", before="x", after="high", at="", why="", member_id="m1"))
    seen.decision(
        Transition(kind="stage", before="lead", after="lost", at="", why="", anonymous_id="m1")
    )
    assert seen.stages == {"mm1": "active", "am1": "lost"}


def test_only_what_comes_too_late_by_the_clock_is_the_machines_fault() -> None:
    rule = {"rule": "hello", "when": {"event": "visit"}, "expires_after": "1h"}
    life = Life(book({"silence_after_purchase": {"for": "24h", "then": "defer"}}, rule))
    life.sees("purchase", NOON)
    life.sees("visit", NOON + MINUTE)
    life.sees("visit", NOON + 3 * DAY, now=NOON + 4 * DAY)
    assert life.verdicts == [("hello", "expired"), ("hello", "expired")]
    seen = Seen()
    for outcome in life.outcomes:
        for decision in outcome.decisions:
            seen.decision(decision)
    assert seen.expired == 1


def picture(**but: object) -> Picture:
    rules = [rule.name for rule in load_config().rules]
    values = {
        "feed": "1,000 made members",
        "start": TODAY - 180 * DAY,
        "end": TODAY,
        "now": TODAY - 90 * DAY,
        "zone": ZoneInfo("UTC"),
        "events": 1_234_567,
        "events_per_second": 1234.5,
        "lag": 99_999,
        "stages": {"new": 12, "active": 345, "lost": 1},
        "by_rule": {rule: 10_000 + n for n, rule in enumerate(rules)},
        "cancelled": 4321,
        "triggers_per_second": 77.7,
        "deadlines": Deadlines(1000, 200_000),
    }
    return Picture(**(values | but))  # type: ignore[arg-type]


def drawn(view: LiveView, width: int, height: int) -> list[str]:
    out = io.StringIO()
    console = Console(
        file=out,
        width=width,
        height=height,
        force_terminal=True,
        color_system=None,
        legacy_windows=False,
    )
    console.print(Screen(view), end="")
    return out.getvalue().split("\n")


@pytest.mark.parametrize(("width", "height"), [(60, 20), (80, 24), (120, 40), (200, 60)])
def test_the_live_view_fits_the_terminal(width: int, height: int) -> None:
    ticker = Ticker()
    for n in range(60):
        why = (
            "会员于 2026-11-21 10:00 UTC 注册,此后 7d 内没有下单。" if n % 2 else "A reason. " * 30
        )
        ticker.take([News(rfc3339(TODAY), "m" * 40, f"rule_{n}", why, n % 2 == 0)], n + 1.0)
    lines = drawn(LiveView(picture(), ticker), width, height)
    assert len(lines) == height
    assert {cell_len(line) for line in lines} == {width}
    text = "\n".join(lines)
    for said in ("24 Aug 2026", "1,234,567", "99,999", "active", "345", "10,000", "4,321 taken"):
        assert said in text
    if height >= 24:
        assert "armed" in text
        assert "● " in text
        assert "✗ " in text


def test_more_rules_than_fit_leave_room_for_the_news() -> None:
    ticker = Ticker()
    ticker.take([News(rfc3339(TODAY), "m1", "some_rule", "why", False)], 1.0)
    many = picture(by_rule={f"{chr(97 + n)}_rule": n for n in range(26)})
    text = "\n".join(drawn(LiveView(many, ticker), 80, 24))
    assert "325 triggers" in text
    assert "some_rule" in text


def test_the_view_begins_with_nothing() -> None:
    nothing = picture(now=TODAY - 180 * DAY, events=0, stages={}, by_rule={}, deadlines=None)
    assert "0 triggers" in "\n".join(drawn(LiveView(nothing, Ticker()), 80, 24))


def test_the_news_shows_rules_in_turn_and_not_faster_than_one_can_read() -> None:
    ticker = Ticker()
    frequent = News(rfc3339(0), "m1", "frequent", "why", False)
    rare = News(rfc3339(0), "m2", "rare", "why", False)
    assert ticker.take([frequent], 1.0)
    assert not ticker.take([frequent], 1.1)
    assert ticker.take([rare, frequent, frequent], 2.0)
    assert ticker.take([frequent, frequent], 3.0)
    assert [one.rule for one in ticker.shown] == ["frequent", "rare", "frequent"]


def test_a_bar_is_exact_to_an_eighth_of_a_cell() -> None:
    assert bar(0, 4) == ""
    assert bar(1 / 32, 4) == "▏"
    assert bar(0.5, 4) == "██"
    assert bar(1, 4) == "████"
    assert bar(7, 4) == "████"


def test_a_reason_is_cut_in_the_middle() -> None:
    assert shortened("short", 10) == "short"
    long = "The member viewed an item and has not bought within 2h."
    assert cell_len(shortened(long, 30)) <= 30
    assert shortened(long, 30).endswith("within 2h.")
    assert cell_len(shortened("会员" * 40, 21)) <= 21


def test_a_plain_line_says_it_all_and_leaves_out_what_is_not_known() -> None:
    assert plain_line(picture(by_rule={"a": 1, "b": 2})) == (
        "2026-08-24 12:34, 1,234,567 events (1,234/s), lag 99,999, 358 members, 3 triggers, "
        "4,321 taken back, deadlines 1,000 armed 200,000 fired"
    )
    assert "deadlines" not in plain_line(picture(deadlines=None))


def test_the_summary_ends_with_the_comparison_and_its_json_has_the_pinned_keys() -> None:
    summary = Summary(
        events=10,
        members=2,
        triggers={"welcome": 2},
        cancelled=1,
        expired=0,
        dead_letters=0,
        seconds=2.0,
        played=3 * DAY,
        left=2 * DAY,
        latencies=[0.1, 0.2],
        comparison=Comparison(nightly=5, engine=0),
        interrupted=False,
    )
    first, *_, last = summary.in_words().splitlines()
    assert first == "3 days of 2 members in 2 s, 2 days short of today"
    assert "nightly job at 02:00" in last
    assert "5 members who had already bought or come back; this engine 0" in last
    said = summary.as_json()
    assert {"events", "members", "triggers", "cancelled", "dead_letters", "seconds"} <= set(said)
    assert (said["nightly"], said["engine"]) == (5, 0)
    assert said["latency_ms"] == {"p50": 100.0, "p95": 200.0, "p99": 200.0}


def test_percentiles_are_values_that_occurred() -> None:
    assert percentiles([]) == {}
    assert percentiles([3.0]) == {50: 3.0, 95: 3.0, 99: 3.0}
    assert percentiles(list(range(1, 101))) == {50: 50, 95: 95, 99: 99}


# --- the whole of it --------------------------------------------------------------------------

RUN_COMMAND = """
import argparse, sys
from app.demo.commands import add_parsers
parser = argparse.ArgumentParser()
add_parsers(parser.add_subparsers(required=True))
args = parser.parse_args()
sys.exit(args.run(args))
"""


class Running:
    """A demo in a process of its own."""

    def __init__(self, process: subprocess.Popen[bytes], out: Path) -> None:
        self.process = process
        self._out = out

    def said(self) -> str:
        return self._out.read_text(errors="replace")

    def wait_for(self, pattern: str) -> None:
        self._until(lambda: re.search(pattern, self.said()) is not None)

    def worker(self) -> int:
        """Return the worker's process id, as soon as it is what it will be."""
        found: list[int] = []

        def look() -> bool:
            pid = self.process.pid
            found[:] = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
            return bool(found) and b"follow:" in Path(f"/proc/{found[0]}/cmdline").read_bytes()

        self._until(look)
        return found[0]

    def ends(self) -> int:
        return self.process.wait(120)

    def _until(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 90
        while not holds():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.05)


@pytest.fixture
def demo(kafka_stack: StackInfo, tmp_path: Path) -> Callable[..., contextmanager]:
    @contextmanager
    def start(*arguments: str, stdout: int | None = None) -> Iterator[Running]:
        out = tmp_path / "out"
        command = [sys.executable, "-c", RUN_COMMAND, "demo", *arguments]
        command += ["--broker", kafka_stack.broker, "--redis", kafka_stack.redis]
        with out.open("wb") as file:
            process = subprocess.Popen(
                command,
                stdout=file if stdout is None else stdout,
                stderr=subprocess.STDOUT,
                env={**os.environ, "TERM": "xterm-256color"},
            )
        try:
            yield Running(process, out)
        finally:
            process.kill()
            process.wait()

    return start


def variables(pid: int) -> dict[str, str]:
    pairs = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if pair)


def leftovers(stack: StackInfo, worker: dict[str, str], pid: int) -> list[str]:
    """What is still there of a demo: processes, topics, groups, keys and files."""
    name, directory = worker["LIFECYCLE_APP_ID"], worker["LIFECYCLE_DATA_DIR"]
    admin = AdminClient({"bootstrap.servers": stack.broker})
    # A broker tells of deleted topics a moment later.
    deadline = time.monotonic() + 10
    while True:
        topics = [one for one in admin.list_topics(timeout=10).topics if one.startswith(name)]
        if not topics or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    groups = admin.list_consumer_groups().result().valid
    with Redis.from_url(stack.redis) as store:
        keys = [key.decode() for key in store.scan_iter(f"{name}*")]
    return [
        *(["the worker"] if Path(f"/proc/{pid}").exists() else []),
        *topics,
        *(group.group_id for group in groups if group.group_id.startswith(name)),
        *keys,
        *([directory] if Path(directory).exists() else []),
    ]


@pytest.mark.kafka
@pytest.mark.slow
def test_a_short_demo_raises_triggers_of_several_rules_and_leaves_nothing(
    demo: Callable[..., contextmanager], kafka_stack: StackInfo
) -> None:
    with demo("--seconds", "8", "--members", "60", "--json") as running:
        pid = running.worker()
        worker = variables(pid)
        assert running.ends() == 0, running.said()
    lines = running.said().splitlines()
    said = json.loads(lines[-1])
    assert "A nightly job at 02:00" in lines[-2]
    assert said["events"] > 300
    assert 20 < said["members"] <= 60
    assert len(said["triggers"]) >= 5, said
    assert {"welcome", "browse_abandoned"} <= set(said["triggers"])
    assert said["triggers"]["welcome"] <= said["members"]
    assert 0 < said["cancelled"] < sum(said["triggers"].values())
    assert said["dead_letters"] == 0
    assert said["engine"] == 0
    assert said["nightly"] >= 0
    assert said["latency_ms"]["p50"] > 0
    assert re.search(r"events \([0-9,]+/s\), lag", running.said())
    assert leftovers(kafka_stack, worker, pid) == []


@pytest.mark.kafka
@pytest.mark.slow
def test_ctrl_c_in_front_of_the_live_view_ends_with_a_summary_and_leaves_nothing(
    demo: Callable[..., contextmanager], kafka_stack: StackInfo
) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    os.set_blocking(ours, False)
    said = bytearray()

    def read(until: bytes) -> None:
        deadline = time.monotonic() + 90
        while until not in said:
            assert time.monotonic() < deadline, said.decode(errors="replace")
            try:
                said.extend(os.read(ours, 65536))
            except BlockingIOError:
                time.sleep(0.02)
            except OSError:  # the terminal is closed
                break

    with demo("--members", "60", "--json", stdout=theirs) as running:
        os.close(theirs)
        pid = running.worker()
        worker = variables(pid)
        read(b"\x1b[?1049h")  # the second screen
        read(b"welcome")
        running.process.send_signal(signal.SIGINT)
        read(b'interrupted": true}')
        assert running.ends() == 0, said.decode(errors="replace")
    os.close(ours)
    summary = bytes(said).rpartition(b"\x1b[?1049l")[2].decode()
    assert "interrupted" in summary
    assert "A nightly job at 02:00" in summary
    assert leftovers(kafka_stack, worker, pid) == []


@pytest.mark.kafka
@pytest.mark.slow
def test_ctrl_c_during_the_set_up_is_no_failure_either(
    demo: Callable[..., contextmanager], kafka_stack: StackInfo
) -> None:
    with demo("--members", "60") as running:
        pid = running.worker()
        worker = variables(pid)
        running.process.send_signal(signal.SIGINT)
        assert running.ends() == 0, running.said()
    assert "interrupted" in running.said()
    assert "Traceback" not in running.said()
    assert leftovers(kafka_stack, worker, pid) == []


@pytest.mark.kafka
@pytest.mark.slow
def test_a_worker_that_dies_fails_the_demo_with_the_last_words_of_its_log(
    demo: Callable[..., contextmanager], kafka_stack: StackInfo
) -> None:
    with demo("--members", "60") as running:
        pid = running.worker()
        worker = variables(pid)
        running.wait_for(r"events \(")
        os.kill(pid, signal.SIGKILL)
        assert running.ends() == 1, running.said()
    assert "the worker has ended (killed by SIGKILL)" in running.said()
    assert "The last lines of its log:" in running.said()
    assert "Traceback" not in running.said()
    # The broker holds on to the group of a killed member for a session timeout.
    app = worker["LIFECYCLE_APP_ID"]
    groups = {app, f"{app}-projector", f"{app}-observer", f"{app}-trainer"}
    assert set(leftovers(kafka_stack, worker, pid)) <= groups


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--data", "nonsense"], "none of uci-sample"),
        (["--data", "uci"], "uci: PATH is missing"),
        (["--data", "uci", "/does/not/exist"], "/does/not/exist"),
        (["--data", "uci", "one", "two"], "one path"),
        (["--speed", "0"], "--speed"),
        (["--seconds", "0"], "--seconds"),
    ],
)
def test_what_cannot_be_played_is_bad_usage_before_anything_starts(
    arguments: list[str], said: str
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", RUN_COMMAND, "demo", *arguments], capture_output=True, text=True
    )
    assert ended.returncode == 2
    assert said in ended.stderr
    assert ended.stdout == ""
