"""The lifecycle metrics on a real shop equal what plain loops over all that happened say.

The loops are written from ``docs/lifecycle-metrics.md`` alone: they keep everything, know no
counters, and share no code with the product.
"""

import json
from collections import defaultdict
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random
from typing import Any, NamedTuple
from uuid import uuid4

import pytest
from observing_kit import Log, Said, said_by

from app.event_files import read_lines
from app.observed_store import ObservedStore
from app.stack import StackInfo
from config.paths import load_config, package_dir
from models.decoding import Received, receive
from models.lifecycle_report import Report
from models.rulebook import RuleBook
from models.rules import Limits

pytestmark = pytest.mark.kafka

SAMPLE = package_dir() / "data" / "uci_sample.jsonl.gz"
HLL_ERROR = 0.02
"""Redis states a standard error of 0.81 %; this is two and a half of them."""


class Shop(NamedTuple):
    """All that happened and all that was said, as JSON objects."""

    events: list[dict[str, Any]]
    transitions: list[dict[str, Any]]
    decisions: list[dict[str, Any]]
    triggers: list[dict[str, Any]]
    said: list[Said]
    end: datetime


def when(value: str | int) -> datetime:
    if isinstance(value, int):
        return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=value)
    return datetime.fromisoformat(value)


@pytest.fixture(scope="module")
def shop() -> Shop:
    config = load_config()
    limits = Limits(assume_consent=True)
    book = RuleBook(config.rules, config.stages, config.policy, limits, config.audiences)
    events = [json.loads(line) for _, line in read_lines(SAMPLE)]
    events = [one for one in events if int(one["member_id"]) % 2]  # half of them are enough
    received, said = [], []
    for number, one in enumerate(events):
        raw, key, at = json.dumps(one).encode(), one["member_id"].encode(), one["occurred_at"]
        received.append(receive("purchase", raw, key, 0, number, at))
        said.append(Said("purchase", key, raw, at))
    last: Received = max(received, key=lambda one: one.at)
    ours = list(said_by(received, book, last.at))
    told: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for one in ours:
        message = json.loads(one.value)
        told[message["type"]].append(message)
    # Members arrive as a topic has them: each in order of time, mixed with the others.
    ours.sort(key=lambda one: one.topic)
    end = when(last.at)
    return Shop(events, told["transition"], told["decision"], told["trigger"], said + ours, end)


@pytest.fixture(scope="module")
def oracle(shop: Shop) -> "PlainLoops":
    return PlainLoops(shop)


@pytest.fixture
async def store(kafka_stack: StackInfo) -> AsyncIterator[ObservedStore]:
    store = ObservedStore.connect(kafka_stack.redis, f"uci-{uuid4().hex[:8]}:", 60_000)
    try:
        yield store
    finally:
        await store.close()


class PlainLoops:
    """The metrics, the slow way."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.today = shop.end.date()
        self.orders: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.refunds: dict[str, float] = defaultdict(float)
        ids = set()
        for event in shop.events:
            if event["type"] == "refund":
                self.refunds[event["member_id"]] += event["total"]
            elif event["order_id"] not in ids:
                ids.add(event["order_id"])
                self.orders[event["member_id"]].append(event)
        self.days = {
            member: {when(order["occurred_at"]).date() for order in orders}
            for member, orders in self.orders.items()
        }

    def active(self, length: int) -> int:
        first = self.today - timedelta(days=length - 1)
        return sum(any(first <= day <= self.today for day in days) for days in self.days.values())

    def repurchase(self) -> tuple[int, int]:
        return sum(len(orders) > 1 for orders in self.orders.values()), len(self.orders)

    def value(self, members: list[str]) -> float:
        paid = sum(order["total"] for member in members for order in self.orders[member])
        return float(paid - sum(self.refunds[member] for member in members))

    def cohorts(self, entries: dict[str, Any]) -> dict[str, tuple[int, list[float]]]:
        """Take the day on which each member entered; return, by Monday, members and retention."""
        told: dict[str, tuple[int, list[float]]] = {}
        mondays = {member: monday(day) for member, day in entries.items()}
        for start in set(mondays.values()):
            members = [member for member, day in mondays.items() if day == start]
            shares: list[float] = []
            week = start
            while week + timedelta(days=7) <= monday(self.today) and len(shares) < 53:
                sunday = week + timedelta(days=6)
                stayed = 0
                for member in members:
                    days = self.days.get(member, set())
                    stayed += any(week <= day <= sunday for day in days)
                shares.append(stayed / len(members))
                week += timedelta(days=7)
            told[start.isoformat()] = len(members), shares
        return told

    def lives(self) -> dict[str, list[tuple[datetime, str]]]:
        """Return each one's stages, with the instant at which each began."""
        firsts: dict[str, datetime] = {}
        for event in self.shop.events:
            at = when(event["occurred_at"])
            firsts[event["member_id"]] = min(at, firsts.get(event["member_id"], at))
        lives = {member: [(at, "lead")] for member, at in firsts.items()}
        for one in self.shop.transitions:
            if one["kind"] == "stage":
                assert lives[one["member_id"]][-1][1] == one["before"]
                lives[one["member_id"]].append((when(one["at"]), one["after"]))
        return lives

    def reactivated(self) -> dict[tuple[str, str], list[bool]]:
        """Return, by rule (``*``: all) and arm, of each window whether the member came back."""
        last = self.today - timedelta(days=15)
        first = last - timedelta(days=89)
        told: dict[tuple[str, str], list[bool]] = defaultdict(list)
        sent = [(one, "treated", one["due_at"]) for one in self.shop.triggers]
        for one in self.shop.decisions:
            if one["verdict"] == "holdout":
                sent.append((one, "control", one.get("decided_at") or one["due_at"]))
        opened: dict[tuple[str, str, str], Any] = {}
        for one, arm, at in sorted(sent, key=lambda row: when(row[2])):
            if one["stage"] not in ("dormant", "lost"):
                continue
            if arm == "treated":
                evidence = one["reason"].get("evidence", [])
                if any(act["occurred_at"] == one["due_at"] for act in evidence):
                    continue
            day = when(at).date()
            for rule in (one["rule"], "*"):
                window = one["member_id"], rule, arm
                if window in opened and day <= opened[window] + timedelta(days=14):
                    continue
                opened[window] = day
                if first <= day <= last:
                    days = self.days.get(one["member_id"], set())
                    woken = any(day <= other <= day + timedelta(days=14) for other in days)
                    told[rule, arm].append(woken)
        return told


def monday(day: Any) -> Any:
    return day - timedelta(days=day.weekday())


async def report_of(store: ObservedStore, shop: Shop, batches: list[dict[str, int]]) -> Report:
    assert await Log(shop.said).counted(store, batches) == 0
    return await store.lifecycle()


def at_random(seed: int) -> list[dict[str, int]]:
    """Batches as they may come: some of some topics, one far ahead of another."""
    random = Random(seed)
    topics = ("purchase", "decisions", "triggers")
    return [
        {topic: random.choice((0, 1, 40, 700)) for topic in topics if random.random() < 0.8}
        for _ in range(30)
    ]


@pytest.fixture(params=["topic after topic", "mixed"])
async def report(store: ObservedStore, shop: Shop, request: pytest.FixtureRequest) -> Report:
    if request.param == "mixed":
        return await report_of(store, shop, at_random(7))
    # As after a flush: the decisions are read before the first purchase.
    return await report_of(store, shop, [{"decisions": 1 << 30}, {"triggers": 1 << 30}])


def test_the_six_metrics_equal_plain_loops(report: Report, oracle: PlainLoops) -> None:
    shop, members = oracle.shop, len(oracle.orders)
    assert members > 400
    assert datetime.fromisoformat(report["as_of"]) == shop.end

    # 1: active rate; the number of distinct members is an estimate.
    for window, length in (("day", 1), ("week", 7), ("month", 30)):
        told, exact = report["active_rate"][window], oracle.active(length)
        assert exact > 0
        assert told["members"] == pytest.approx(exact, rel=HLL_ERROR, abs=1)
        assert told["rate"] == pytest.approx(told["members"] / members, abs=1e-6)

    # 2: retention, of those who joined and of those who entered a stage.
    joined = {member: min(days) for member, days in oracle.days.items()}
    check_cohorts(report["retention"]["member"], oracle.cohorts(joined))
    lives = oracle.lives()
    for stage in ("new", "active", "loyal", "dormant"):
        entered = {}
        for member, life in lives.items():
            days = [at.date() for at, name in life[1:] if name == stage]
            if days:
                entered[member] = days[0]
        assert entered
        check_cohorts(report["retention"][stage], oracle.cohorts(entered))

    # 3: repurchase rate.
    repeaters, buyers = oracle.repurchase()
    assert report["repurchase"]["repeaters"] == repeaters > 200
    assert report["repurchase"]["rate"] == pytest.approx(repeaters / buyers, abs=1e-6)

    # 4: LTV, historic (nobody is predicted here).
    everybody = list(oracle.orders)
    value = oracle.value(everybody)
    assert report["ltv"]["ltv"] == pytest.approx(value / members, abs=0.001)
    for stage in {life[-1][1] for life in lives.values()}:
        there = [one for one in everybody if lives[one][-1][1] == stage]
        if there:
            told = report["ltv"]["by_stage"][stage]
            assert told["members"] == len(there)
            assert told["historic"] == pytest.approx(oracle.value(there) / len(there), abs=0.001)

    # 5: reactivation, after operation and in the control group.
    check_reactivation(report["reactivation"], oracle)

    # 6: stage conversion, and time in stage.
    check_stages(report["stages"], oracle, lives)


def check_cohorts(told: list[Report], exact: dict[str, tuple[int, list[float]]]) -> None:
    assert told
    for one in told:
        members, shares = exact[one["week"]]
        assert one["members"] == members
        assert one["retained"] == pytest.approx(shares, abs=1e-6)
    newest = sorted(exact)[-len(told) :]
    assert [one["week"] for one in told] == newest


def check_reactivation(told: Report, oracle: PlainLoops) -> None:
    exact = oracle.reactivated()
    assert {rule for rule, _ in exact} - {"*"} == set(told["by_rule"])
    for arm in ("treated", "control"):
        woken = exact["*", arm]
        assert len(woken) > 10
        assert told[arm]["members"] == len(woken)
        assert told[arm]["returned"] == sum(woken)
        assert told[arm]["rate"] == pytest.approx(sum(woken) / len(woken), abs=1e-6)
        for rule, by_arm in told["by_rule"].items():
            assert by_arm[arm]["members"] == len(exact.get((rule, arm), []))
    both = told["treated"]["rate"] - told["control"]["rate"]
    assert told["difference"] == pytest.approx(both, abs=1e-6)


def check_stages(
    told: Report, oracle: PlainLoops, lives: dict[str, list[tuple[datetime, str]]]
) -> None:
    now = [life[-1][1] for life in lives.values()]
    assert told["members"] == {stage: now.count(stage) for stage in told["members"]}
    moves: dict[tuple[str, str], list[tuple[datetime, timedelta]]] = defaultdict(list)
    for life in lives.values():
        for (since, before), (at, after) in pairwise(life):
            moves[before, after].append((at, at - since))
    assert {(one["from"], one["to"]) for one in told["moves"]} == set(moves)
    month = datetime.combine(oracle.today - timedelta(days=30), datetime.min.time(), UTC)
    for one in told["moves"]:
        path = one["from"], one["to"]
        assert one["total"] == len(moves[path])
        assert one["today"] == sum(at.date() == oracle.today for at, _ in moves[path])
        spent = [stayed for at, stayed in moves[path] if at >= month]
        mean = sum(spent, timedelta()) / len(spent) / timedelta(days=1) if spent else None
        assert one["mean_days"] == (None if mean is None else pytest.approx(mean, abs=1e-3))
    ranks = {"lead": 0, "new": 1, "active": 2, "loyal": 3}
    midnight = datetime.combine(oracle.today, datetime.min.time(), UTC)
    for stage, figures in told["conversion"].items():
        for number, key in ((1, "this_week"), (4, "weeks_before")):
            risk = up = lost = 0
            ends = [midnight] if number == 1 else [
                midnight - timedelta(days=7 * week) for week in (1, 2, 3, 4)
            ]  # fmt: skip
            for end in ends:
                begin = end - timedelta(days=7)
                risk += sum(at_risk(life, stage, begin, end) for life in lives.values())
                for (before, after), those in moves.items():
                    gone = sum(begin <= at < end for at, _ in those) if before == stage else 0
                    up += gone * (ranks.get(after, -1) > ranks.get(before, -1))
                    lost += gone * (after in ("silent", "dormant", "lost"))
            assert figures[key]["at_risk"] == risk, (stage, key)
            assert (figures[key]["converted"], figures[key]["lost"]) == (up, lost), (stage, key)


def at_risk(life: list[tuple[datetime, str]], stage: str, begin: datetime, end: datetime) -> int:
    """Return how often a life was in the stage: at the beginning, or by coming into it."""
    there = 0
    before = [name for at, name in life if at < begin]
    if before and before[-1] == stage:
        there = 1
    return there + sum(begin <= at < end and name == stage for at, name in life)


async def test_what_is_sent_again_and_counted_in_other_batches_gives_the_same(
    store: ObservedStore, shop: Shop
) -> None:
    plain = await report_of(store, shop, [])
    doubled: list[Said] = []
    for one in shop.said:
        doubled.append(one)
        if one.topic == "purchase" and json.loads(one.value)["type"] == "purchase":
            doubled.append(one)
    again = ObservedStore(store._redis, f"uci-{uuid4().hex[:8]}:", 60_000)
    assert await Log(doubled).counted(again, at_random(3)) == 0
    assert await again.lifecycle() == plain


def test_the_plain_loops_know_a_shop(oracle: PlainLoops) -> None:
    stages = {life[-1][1] for life in oracle.lives().values()}
    assert {"new", "active", "loyal", "dormant", "lost"} <= stages
