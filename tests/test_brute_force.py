"""The replay against an independent oracle: every absence rule, every trigger and cancellation."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest
from brute_force import Expected, expected, one_id_per_occasion
from core_builders import (
    DAY,
    HOUR,
    MINUTE,
    NOON,
    ODD_RULES,
    POLICY,
    SECOND,
    absence,
    book_of,
    event,
    odd,
    plain_rules,
    random_log,
    replayed,
    same,
    write_rules,
)

from app.event_files import read_lines
from app.importers.report import Report
from app.importers.sources import read_data_set
from app.simulator import DEFAULT_END_MS, simulate
from config.paths import package_dir
from models.rulebook import RuleBook
from models.times import parse_instant
from models.triggers import Trigger

DATA = Path(__file__).parents[2] / "shared" / "data"


def engine_says(
    events: Iterable[Mapping[str, Any]], book: RuleBook, until: int | None = None
) -> Expected:
    """What the core says of its absence rules, in the oracle's words."""
    messages = replayed(events, book, until)
    triggers = [m for m in messages if isinstance(m, Trigger) and m.rule in book.track_of_rule]
    records = [
        {name: getattr(t, name) for name in ("trigger_id", "member_id", "rule", "rule_version")}
        | {"occasion": t.occasion}
        for t in triggers
    ]
    assert one_id_per_occasion(records)
    occasions = {t.trigger_id: t.occasion for t in triggers}
    assert len(occasions) == len(triggers), "a trigger was raised twice"
    return Expected(
        frozenset(
            (
                t.member_id,
                t.rule,
                t.rule_version,
                t.occasion,
                parse_instant(t.due_at),
                parse_instant(t.expires_at),
            )
            for t in triggers
        ),
        frozenset(
            (m.member_id, m.rule, occasions[m.trigger_id], parse_instant(m.cancelled_at))
            for m in messages
            if not isinstance(m, Trigger) and m.trigger_id in occasions
        ),
    )


# --- rule sets of our own ---------------------------------------------------------------------

POLICIES = {
    "no policy": "",
    "opt-out": "consent: opt_out\nchannels: [app_push, sms]\n",
    "opt-out without channels": "consent: opt_out\n",
}


def compare_many(
    book: RuleBook, rules: Path, policy: Path | None, step: int, logs: int
) -> tuple[set[str], set[str]]:
    """Compare many random logs; return the rules that raised and that were cancelled."""
    raised: set[str] = set()
    cancelled: set[str] = set()
    for seed in range(logs):
        random = Random(seed)
        log = random_log(random, step)
        until = max(e["occurred_at"] for e in log) + step * random.choice((0, 0, 3, 10))
        want = expected(log, rules, policy, until)
        assert engine_says(log, book, until) == want, f"seed {seed}: {log}"
        raised |= {rule for _, rule, *_ in want.triggers}
        cancelled |= {rule for _, rule, *_ in want.cancelled}
    return raised, cancelled


@pytest.mark.parametrize("policy", POLICIES)
def test_odd_rules_say_what_the_oracle_says(tmp_path: Path, policy: str) -> None:
    rules = write_rules(tmp_path / "rules", *ODD_RULES)
    words = tmp_path / "policy.yaml"
    words.write_text(POLICIES[policy])
    raised, cancelled = compare_many(book_of(rules, words), rules, words, 5 * SECOND, 60)
    # Or the comparison would be empty for a rule.
    assert raised == {rule["rule"] for rule in ODD_RULES}
    assert len(cancelled) >= len(ODD_RULES) - 2


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the shipped rules that the oracle knows."""
    return write_rules(tmp_path_factory.mktemp("plain") / "rules", *plain_rules())


@pytest.mark.parametrize("step", [30 * MINUTE, DAY, 10 * DAY], ids=["30m", "1d", "10d"])
def test_shipped_rules_say_what_the_oracle_says(plain: Path, step: int) -> None:
    raised, _ = compare_many(book_of(plain, POLICY), plain, POLICY, step, 40)
    reachable = {
        30 * MINUTE: {"browse_abandoned", "cart_abandoned", "checkout_abandoned"},
        DAY: {"first_purchase_reminder_1d", "first_purchase_reminder_3d"},
        10 * DAY: {"no_order_30d", "inactive_30d", "no_order_90d", "second_purchase_due"},
    }
    assert raised >= reachable[step]


# --- real logs --------------------------------------------------------------------------------


def compare(events: list[dict[str, Any]], rules: Path) -> Expected:
    want = expected(events, rules, POLICY)
    assert engine_says(events, book_of(rules, POLICY)) == want
    return want


def imported(name: str, path: str) -> list[dict[str, Any]]:
    file = DATA / path
    if not file.exists():
        pytest.skip(f"{path} is not on this machine (tests use it where it is)")
    return read_data_set(name, file, Report())


def test_the_shipped_sample_says_what_the_oracle_says(plain: Path) -> None:
    sample = package_dir() / "data" / "uci_sample.jsonl.gz"
    want = compare([json.loads(line) for _, line in read_lines(sample)], plain)
    assert len(want.triggers) > 1000
    assert len(want.cancelled) > 1000


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("uci", "uci_online_retail/online_retail.parquet"),
        ("retailrocket", "retailrocket_sample/events.csv"),
        ("otto", "otto_sample/train.jsonl"),
    ],
)
def test_real_logs_say_what_the_oracle_says(plain: Path, name: str, path: str) -> None:
    want = compare(imported(name, path), plain)
    assert want.triggers
    assert want.cancelled


@pytest.mark.parametrize("members", [100, pytest.param(2000, marks=pytest.mark.slow)])
def test_simulated_members_say_what_the_oracle_says(plain: Path, members: int) -> None:
    want = compare(list(simulate(members, 200, 11, DEFAULT_END_MS)), plain)
    raised = {rule for _, rule, *_ in want.triggers}
    # Nobody who is simulated goes to an event in a store.
    assert raised == {rule["rule"] for rule in plain_rules()} - {"event_followup"}


# --- the oracle itself, by hand ---------------------------------------------------------------


def said(tmp_path: Path, when: dict[str, Any], *events: dict[str, Any], **more: Any) -> Expected:
    rules = write_rules(tmp_path / "rules", odd("r", when, **more))
    return expected(events, rules, until=NOON + HOUR)


def test_the_oracle_raises_what_nothing_followed(tmp_path: Path) -> None:
    when = absence("view_item", "purchase", "1m")
    assert said(tmp_path, when, event("view_item", NOON)).triggers == {
        ("m1", "r", 1, f"{NOON}", NOON + MINUTE, NOON + MINUTE + DAY)
    }


def test_the_oracle_sees_a_purchase_one_millisecond_before_the_deadline(tmp_path: Path) -> None:
    when = absence("view_item", "purchase", "1m")
    bought = event("purchase", NOON + MINUTE - 1)
    assert said(tmp_path, when, event("view_item", NOON), bought) == Expected(
        frozenset(), frozenset()
    )


def test_the_oracle_cancels_by_a_purchase_at_the_deadline(tmp_path: Path) -> None:
    when = absence("view_item", "purchase", "1m")
    bought = event("purchase", NOON + MINUTE)
    assert said(tmp_path, when, event("view_item", NOON), bought).cancelled == {
        ("m1", "r", f"{NOON}", NOON + MINUTE)
    }


def test_the_oracle_keeps_items_apart(tmp_path: Path) -> None:
    when = absence("view_item", same("purchase", "item_id"), "1m")
    events = [event("view_item", NOON, item_id=item) for item in "ab"]
    bought = event("purchase", NOON + SECOND, items=[{"item_id": "b"}])
    found = said(tmp_path, when, *events, bought).triggers
    assert {occasion for _, _, _, occasion, *_ in found} == {f"item_id=a|{NOON}"}


def test_the_oracle_follows_the_cart(tmp_path: Path) -> None:
    when = absence("add_to_cart", "cart_emptied", "1m")
    added = event("add_to_cart", NOON, quantity=2)
    one_out = event("remove_from_cart", NOON + SECOND)
    assert len(said(tmp_path, when, added, one_out).triggers) == 1
    other_out = event("remove_from_cart", NOON + 2 * SECOND)
    assert not said(tmp_path, when, added, one_out, other_out).triggers


def test_the_oracle_forgets_the_erased(tmp_path: Path) -> None:
    when = absence("view_item", "purchase", "1m")
    erased = event("erase", NOON + SECOND)
    assert not said(tmp_path, when, event("view_item", NOON), erased).triggers


def test_the_oracle_counts_what_is_sent_twice_once(tmp_path: Path) -> None:
    when = absence("view_item", "purchase", "1m")
    twice = event("view_item", NOON, event_id="e")
    found = said(tmp_path, when, twice, twice | {"occurred_at": NOON + SECOND}).triggers
    assert {due for *_, due, _ in found} == {NOON + MINUTE}
