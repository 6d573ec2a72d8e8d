"""What may be disordered, delayed, saved and batched without a change in what is said.

The exact claim, for events that arrive while they are no more than the allowed lateness (an hour)
older than the member's newest one:

* what is known of the member is the same as if the events had come in order of time;
* for every absence whose ``within`` is at least the allowed lateness, no trigger stands (after all
  cancellations) that would not stand in order of time, and with ``reentry: always`` all of them do.

What the disorder may cost, because nothing that was held back is revived:

* a shorter absence may have fired meanwhile. A late event that would have ended it cancels it and
  gives its re-entry back; what the re-entry had held back in between stays unsaid;
* a trigger that had been cancelled before a late event shows that it should never have been has
  used up its re-entry;
* so has what a refusal held back that a late word of consent would have allowed, and a deadline
  that ``cart_emptied`` ended although a late addition kept the cart from being empty.

Orders and additions of one cart, refusals, views and visits may come in any order.
"""

from collections import defaultdict
from pathlib import Path
from random import Random
from typing import Any

import pytest
from core_builders import (
    DAY,
    HOUR,
    MINUTE,
    NOON,
    ODD_RULES,
    SECOND,
    Life,
    absence,
    arrived,
    book_of,
    lines,
    net,
    random_log,
    row_of,
    same,
    shipped_book,
    write_rules,
)
from disorder import everything, is_the_same_when_saved, orderly_log, shuffled

from models import absence as deadlines
from models.decoding import Received
from models.engine import advance, handle
from models.facts import cart_of
from models.marks import at_of
from models.member import Member
from models.outcome import Context
from models.rulebook import RuleBook
from models.triggers import TriggerMessage


def lived(
    events: list[Received], book: RuleBook, until: int
) -> tuple[Member, list[TriggerMessage]]:
    member, said = Member("m1", False), []
    for one in events:
        outcome = handle(member, one, Context(book))
        assert not outcome.late
        said += outcome.triggers
    said += advance(member, until, Context(book)).triggers
    return member, said


def known(member: Member, book: RuleBook) -> dict[str, Any]:
    """Everything that order must not change."""
    row_of(member, book)
    return {
        "cart": cart_of(member),
        "counts": member.counts,
        "orders": (member.orders, member.order_count, member.spend, member.ring),
        "first": (member.first_seen, member.registered_at),
        "last": (member.last_activity, member.newest, member.advanced_to),
        "recent": member.recent,
        "profile": member.profile,
        "consent": member.consent,
        "stage": member.stage,
        "armed": {
            (track, key): marks[-1]
            for track, keys in member.tracks.items()
            for key, marks in keys.items()
            if marks[-1] > 0 and at_of(marks[-1]) + book.tracks[track].withins[-1] > member.newest
        },
        "due": deadlines.next_due(member, book),
    }


LONG_RULES: list[dict[str, Any]] = [
    {"rule": "viewed", "when": absence("view_item", "purchase", "1h")},
    {
        "rule": "viewed_item",
        "when": absence("view_item", {"event": "purchase", "same": "item_id"}, "90m"),
        "reentry": {"per": "item_id", "every": "5h"},
    },
    {
        "rule": "viewed_or_any_order",
        "when": absence(
            ["view_item", "add_to_cart"],
            [{"event": "purchase", "same": "item_id"}, "begin_checkout"],
            "2h",
        )
        | {"unless": {"orders": {"at_least": 1, "within": "6h"}}},
        "reentry": {"per": "member", "every": "1d"},
    },
    {
        "rule": "large_order",
        "when": absence(
            {"event": "purchase", "where": {"total": {"at_least": 10}}}, "purchase", "1h"
        ),
    },
    {
        "rule": "view_or_buy",
        "when": absence("view_item", ["view_item", "purchase"], "3h"),
        "overtaken_by": "visit",
    },
    {"rule": "bought", "when": absence("purchase", "purchase", "4h"), "reentry": "once"},
]


@pytest.mark.parametrize("step", [7 * MINUTE, 20 * MINUTE, 40 * MINUTE])
def test_disorder_within_the_lateness_changes_neither_state_nor_standing_triggers(
    tmp_path: Path, step: int
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("consent: opt_out\nchannels: [sms]\n")
    book = book_of(write_rules(tmp_path / "rules", *LONG_RULES), policy)
    always = {rule["rule"] for rule in LONG_RULES if "reentry" not in rule}
    stood: set[str] = set()
    cancelled = 0
    for seed in range(150):
        random = Random(seed)
        events = arrived(shuffled(orderly_log(random, step), random))
        in_order = sorted(events, key=lambda e: (e.at, e.rank, e.offset))
        until = in_order[-1].at + 5 * HOUR
        straight, right = lived(in_order, book, until)
        crooked, said = lived(events, book, until)
        assert known(crooked, book) == known(straight, book), seed
        assert net(said) <= net(right), seed
        assert {rule for rule, _ in net(right) - net(said)}.isdisjoint(always), seed
        stood |= {rule for rule, _ in net(said)}
        cancelled += len(said) - len(right)
    assert stood == {rule["rule"] for rule in LONG_RULES}
    assert cancelled > 0, "nothing had ever to be taken back: the logs are too tame"


def test_disorder_under_the_shipped_rules_changes_neither_state_nor_standing_triggers() -> None:
    book = shipped_book()
    stood: set[str] = set()
    for seed in range(150):
        random = Random(seed)
        step = (20 * MINUTE, DAY, 8 * DAY)[seed % 3]
        log = [e for e in orderly_log(random, step) if e["type"] != "begin_checkout"]
        events = arrived(shuffled(log, random))
        in_order = sorted(events, key=lambda e: (e.at, e.rank, e.offset))
        until = in_order[-1].at + 40 * DAY
        straight, right = lived(in_order, book, until)
        crooked, said = lived(events, book, until)
        assert known(crooked, book) == known(straight, book), seed
        assert net(said) == net(right), seed
        stood |= {rule for rule, _ in net(right)}
    kinds = {"inactive_30d", "became_active", "activation_steps", "churn_warning", "regulars_day"}
    assert {"browse_abandoned", "cart_abandoned", "spring_festival"} | kinds <= stood


def test_a_short_deadline_that_a_late_event_would_have_ended_is_cancelled(tmp_path: Path) -> None:
    when = absence("view_item", "purchase", "5s")
    reentry = {"per": "member", "every": "1d"}
    rule = {"rule": "short", "when": when, "reentry": reentry, "expires_after": "1s"}
    life = Life(book_of(write_rules(tmp_path / "rules", rule)))
    life.sees("view_item", NOON)
    life.sees("visit", NOON + MINUTE)
    assert life.raised == ["short"]
    life.sees("purchase", NOON + 2 * SECOND)
    assert life.cancelled == ["short"]
    life.sees("view_item", NOON + 2 * MINUTE)
    life.reaches(NOON + HOUR)
    assert life.raised == ["short", "short"], "the re-entry was not given back"


def test_an_event_after_the_deadline_cancels_but_does_not_give_the_reentry_back(
    tmp_path: Path,
) -> None:
    when = absence("view_item", "purchase", "5s")
    rule = {"rule": "short", "when": when, "reentry": {"per": "member", "every": "1d"}}
    life = Life(book_of(write_rules(tmp_path / "rules", rule)))
    life.sees("view_item", NOON)
    life.sees("purchase", NOON + 5 * SECOND)
    assert (life.raised, life.cancelled) == (["short"], ["short"])
    life.sees("view_item", NOON + MINUTE)
    life.reaches(NOON + HOUR)
    assert life.raised == ["short"]
    assert ("short", "reentry") in life.verdicts


def test_a_late_order_that_the_rule_excepts_cancels_what_it_would_have_prevented(
    tmp_path: Path,
) -> None:
    when = absence("view_item", "add_to_cart", "5s")
    when |= {"unless": {"orders": {"at_least": 1, "within": "1d"}}}
    life = Life(book_of(write_rules(tmp_path / "rules", {"rule": "short", "when": when})))
    life.sees("view_item", NOON)
    life.sees("visit", NOON + MINUTE)
    life.sees("purchase", NOON - MINUTE)
    assert life.cancelled == ["short"]


def test_a_late_event_that_moves_a_deadline_moves_its_trigger(tmp_path: Path) -> None:
    when = absence("view_item", "purchase", "5s")
    life = Life(book_of(write_rules(tmp_path / "rules", {"rule": "short", "when": when})))
    life.sees("view_item", NOON)
    life.sees("visit", NOON + MINUTE)
    life.sees("view_item", NOON + 2 * SECOND)
    assert (life.raised, life.cancelled) == (["short", "short"], ["short"])
    [(_, standing)] = net(life.said)
    [trigger] = [m for m in life.said if getattr(m, "trigger_id", "") == standing]
    assert trigger.occasion == str(NOON + 2 * SECOND)  # type: ignore[union-attr]


def test_a_view_that_is_heard_of_after_the_purchase_that_followed_it_arms_nothing() -> None:
    # However long after: what followed must be remembered for as long as the deadline lies ahead.
    for heard_after in (MINUTE, 65 * MINUTE):
        life = Life(shipped_book())
        life.sees("begin_checkout", NOON - HOUR)
        life.sees("add_to_cart", NOON + 30 * MINUTE)
        life.reaches(NOON + 30 * MINUTE + heard_after)
        life.is_saved_and_loaded()
        before = list(life.raised)
        life.sees("view_item", NOON)
        life.reaches(NOON + 6 * HOUR)
        assert "browse_abandoned" not in life.raised[len(before) :]


def test_a_short_absence_is_not_raised_by_an_event_whose_sequel_is_forgotten(
    tmp_path: Path,
) -> None:
    rules = [
        {"rule": "short", "when": absence("view_item", "purchase", "5m")},
        {"rule": "tick", "when": absence("visit", "search", "3h")},
    ]
    life = Life(book_of(write_rules(tmp_path / "rules", *rules)))
    life.sees("visit", NOON)
    life.sees("purchase", NOON + 2 * MINUTE)
    life.reaches(NOON + 4 * HOUR)
    life.is_saved_and_loaded()
    life.sees("view_item", NOON + MINUTE)
    life.reaches(NOON + 5 * HOUR)
    assert life.raised == ["tick"]


@pytest.mark.parametrize("kind", ["view_item", "purchase"])
def test_a_late_view_that_was_followed_in_time_raises_nothing(tmp_path: Path, kind: str) -> None:
    when = absence("view_item", "purchase", "5s")
    life = Life(book_of(write_rules(tmp_path / "rules", {"rule": "short", "when": when})))
    life.sees(kind, NOON + 2 * SECOND)
    life.sees("visit", NOON + MINUTE)
    before = list(life.raised)
    life.sees("view_item", NOON)
    assert life.raised == before


def test_nobody_is_told_of_late_not_to_have_bought_what_they_have_bought(tmp_path: Path) -> None:
    when = absence("view_item", same("purchase", "item_id"), "5s")
    rule = {"rule": "short", "when": when, "expires_after": "1h"}
    life = Life(book_of(write_rules(tmp_path / "rules", rule)))
    life.sees("purchase", NOON + 30 * SECOND, items=lines("a"))
    life.sees("visit", NOON + MINUTE)
    life.sees("view_item", NOON)
    assert life.standing == []


def test_a_late_view_that_nothing_followed_raises_what_it_should_have(tmp_path: Path) -> None:
    when = absence("view_item", "purchase", "5s")
    life = Life(book_of(write_rules(tmp_path / "rules", {"rule": "short", "when": when})))
    life.sees("purchase", NOON + 2 * SECOND)
    life.sees("visit", NOON + MINUTE)
    life.sees("view_item", NOON + 3 * SECOND)
    assert life.raised == ["short"]


def test_what_ended_a_key_is_remembered_while_an_earlier_deadline_would_lie_ahead(
    tmp_path: Path,
) -> None:
    when = absence("view_item", {"event": "purchase", "same": "item_id"}, "3h")
    life = Life(book_of(write_rules(tmp_path / "rules", {"rule": "by_item", "when": when})))
    life.sees("purchase", NOON + 30 * MINUTE, items=[{"item_id": "a"}])
    life.reaches(NOON + 2 * HOUR)
    life.is_saved_and_loaded()
    life.sees("view_item", NOON)
    life.reaches(NOON + 4 * HOUR)
    assert life.raised == []


@pytest.mark.parametrize("saved", [False, True])
def test_long_after_its_expiry_a_trigger_is_not_cancelled_whether_saved_or_not(
    tmp_path: Path, saved: bool
) -> None:
    rule = {"rule": "short", "when": absence("view_item", "purchase", "5s"), "expires_after": "1s"}
    life = Life(book_of(write_rules(tmp_path / "rules", rule)))
    life.sees("view_item", NOON)
    life.sees("visit", NOON + 10 * MINUTE)
    life.reaches(NOON + 4 * HOUR)
    if saved:
        life.is_saved_and_loaded()
    life.sees("purchase", NOON + 2 * SECOND)
    assert (life.raised, life.cancelled) == (["short"], [])


def test_events_older_than_the_lateness_raise_nothing_but_count() -> None:
    life = Life(shipped_book())
    life.sees("visit", NOON)
    outcome = life.sees("register", NOON - HOUR - 1)
    assert outcome.late
    assert life.raised == []
    assert ("welcome", "late") in life.verdicts
    assert life.member.registered_at == NOON - HOUR - 1
    assert life.member.last_activity == NOON
    in_time = Life(shipped_book())
    in_time.sees("visit", NOON)
    assert not in_time.sees("register", NOON - HOUR).late
    assert in_time.raised == ["welcome"]


def test_what_was_heard_of_late_still_wakes_a_sleeping_member() -> None:
    life = Life(shipped_book())
    life.sees("purchase", NOON)
    life.reaches(NOON + 90 * DAY)
    assert life.stages[-1] == "dormant"
    life.sees("visit", NOON + 90 * DAY - MINUTE)
    assert life.stages[-1] == "active"
    assert "became_dormant" not in life.standing


# --- saving, batches and interleaving ---------------------------------------------------------


@pytest.mark.parametrize("step", [7 * MINUTE, 5 * HOUR, 9 * DAY])
def test_saving_and_loading_at_any_moment_changes_nothing(step: int) -> None:
    is_the_same_when_saved(shipped_book(), step)


@pytest.mark.parametrize("step", [5 * SECOND, MINUTE])
def test_saving_and_loading_changes_nothing_with_many_keys_and_short_deadlines(
    tmp_path: Path, step: int
) -> None:
    is_the_same_when_saved(book_of(write_rules(tmp_path / "rules", *ODD_RULES)), step)


def test_members_do_not_influence_each_other() -> None:
    book = shipped_book()
    random = Random(5)
    events = arrived(random_log(random, HOUR, 200))
    together: dict[str, Life] = {}
    alone: dict[str, Life] = {}
    by_member = defaultdict(list)
    for one in events:
        if one.event.member_id:
            by_member[one.event.member_id].append(one)
    for lives, order in (
        (together, [e for e in events if e.event.member_id]),
        (alone, [e for own in by_member.values() for e in own]),
    ):
        for one in order:
            name = one.event.member_id or ""
            life = lives.setdefault(name, Life(book, name))
            life.outcomes.append(handle(life.member, one, Context(book)))
    assert len(together) > 1
    for name, life in together.items():
        assert everything(life.outcomes) == everything(alone[name].outcomes)
        assert life.member == alone[name].member
