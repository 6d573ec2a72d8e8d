"""Rules, stages and policy change between two runs: nobody begins anew, nothing breaks.

What was armed or open goes on as ``docs/upgrades.md`` says.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml
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
    random_log,
    row_of,
    same,
    write_rules,
)
from live_kit import Reader, Upstream, event, ready
from rolling import Deploy, standing, wait_until, write_config

from agents.members import BadShare, MemberFold, MemberStats, OutputTopics
from app.stack import StackInfo
from config.paths import package_dir
from config.policy_files import load_policy
from config.rule_files import load_rules
from config.stage_files import load_stages
from models.engine import handle, next_due
from models.events import CODE_OF
from models.member import Member, decode
from models.outcome import Context
from models.replay import Replay, in_order, key_of
from models.rulebook import RuleBook
from models.rules import Limits
from models.times import rfc3339
from models.triggers import Trigger

RECALL = {"rule": "recall", "when": absence("purchase", "purchase", "30d")}
LEFT = {
    "rule": "left",
    "when": absence("view_item", "purchase", "2h"),
    "expires_after": "3d",
}


class Shop:
    """A shop whose configuration changes; each change is another run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._number = 0

    def book(
        self,
        *rules: Mapping[str, Any],
        stages: Mapping[str, Any] | None = None,
        policy: Mapping[str, Any] | None = None,
        **limits: Any,
    ) -> RuleBook:
        self._number += 1
        folder = self._folder / str(self._number)
        write_rules(folder / "rules", *rules)
        for name, text in (("policy.yaml", policy), ("stages.yaml", stages)):
            (folder / name).write_text("" if text is None else json.dumps(text))
        table = package_dir() / "stages.yaml" if stages is None else folder / "stages.yaml"
        return RuleBook(
            load_rules(folder / "rules"),
            load_stages(table),
            load_policy(folder / "policy.yaml"),
            Limits(**limits),
        )


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def restarted(life: Life, book: RuleBook) -> Life:
    """The member as the next run finds it, which knows the row and nothing else."""
    row = row_of(life.member, life.book)
    went_on = Life(book, life.member.id)
    went_on.member = decode(row, life.member.id, False)
    assert went_on.member == life.member, "the member began anew"
    went_on._offset = life._offset
    return went_on


def fold_with(book: RuleBook) -> MemberFold:
    return MemberFold(
        book, OutputTopics(), lambda key, count: 0, 1, "/test", BadShare(), MemberStats()
    )


def ids(life: Life) -> list[str]:
    return [message.trigger_id for message in life.said if isinstance(message, Trigger)]


# --- whatever changes -----------------------------------------------------------------------------


def any_book(shop: Shop, random: Random) -> RuleBook:
    """Some of the odd rules, some of them changed, with stages and limits of chance."""
    rules: list[dict[str, Any]] = []
    for rule in random.sample(ODD_RULES, random.randrange(1, len(ODD_RULES) + 1)):
        text = json.dumps(rule)
        if random.random() < 0.4:
            within = random.choice(("5s", "20s", "1m", "2h"))
            text = text.replace('"within": "10s"', f'"within": "{within}"')
        if rule["rule"] in ("item", "item_once", "category") and random.random() < 0.4:
            text = text.replace('"view_item"', '"add_to_cart"')
        rules.append(json.loads(text) | {"version": random.choice((1, 2))})
    stages = yaml.safe_load((package_dir() / "stages.yaml").read_text())
    rows = stages["stages"]
    stages["stages"] = random.sample(rows, random.randrange(1, len(rows) + 1))
    if random.random() < 0.5:
        del stages["bands"]
    policy = random.choice((None, {"consent": "opt_out", "channels": ["sms", "email"]}))
    lateness = random.choice((0, 5 * SECOND, HOUR, 3 * HOUR))
    return shop.book(*rules, stages=stages, policy=policy, allowed_lateness=lateness)


FACTS = (
    "order_count",
    "spend",
    "orders",
    "refunded",
    "counts",
    "consent",
    "loyalty",
    "tickets",
    "registered_at",
    "first_seen",
    "applied",
    "erased_until",
)


@pytest.mark.parametrize("seed", range(24))
def test_any_change_at_any_moment_breaks_nothing_and_resets_nobody(shop: Shop, seed: int) -> None:
    random = Random(seed)
    books = [any_book(shop, random) for _ in range(4)]
    events = arrived(random_log(random, 5 * SECOND, 60))
    if seed % 2:
        events = in_order(events)
    unchanged = Replay(books[0])
    members: dict[Any, Member] = {}
    book = books[0]
    fold = fold_with(book)
    for one in events:
        unchanged.fold(one)
        key = key_of(one)
        if random.random() < 0.3:
            row = row_of(members[key], book) if key in members else None
            book = random.choice(books)
            fold = fold_with(book)
            if row is not None:
                member = members[key] = decode(row, key[1], key[0])
                due = fold.due(row)
                while due is not None and due <= member.advanced_to:
                    fold.advance(member, due, None)
                    before, due = due, fold.next_due(member)
                    assert due is None or due > before, "it would be fired for ever"
        member = members.setdefault(key, Member(key[1], key[0]))
        handle(member, one, Context(book))
        if random.random() < 0.3:
            fold.advance(member, member.advanced_to + random.randrange(0, 90) * SECOND, None)
            due = fold.next_due(member)
            assert due is None or due > member.advanced_to
    for key, member in members.items():
        for name in FACTS:
            assert getattr(member, name) == getattr(unchanged.members[key], name), name


# --- rules ----------------------------------------------------------------------------------------


def test_a_new_rule_that_asks_what_another_asks_finds_it_armed(shop: Shop) -> None:
    life = Life(shop.book(RECALL))
    life.sees("purchase", NOON)
    early = {"rule": "early", "when": absence("purchase", "purchase", "10d")}
    life = restarted(life, shop.book(RECALL, early))
    life.reaches(NOON + 40 * DAY)
    assert life.raised == ["early", "recall"]


def test_a_new_rule_that_asks_something_else_begins_with_the_next_event(shop: Shop) -> None:
    life = Life(shop.book(RECALL))
    life.sees("view_item", NOON)
    life = restarted(life, shop.book(RECALL, LEFT))
    life.reaches(NOON + DAY)
    assert life.raised == []
    life.sees("view_item", NOON + 2 * DAY)
    life.reaches(NOON + 3 * DAY)
    assert life.raised == ["left"]


def test_a_rule_that_is_gone_fires_no_more_and_its_mark_goes_when_the_row_is_written(
    shop: Shop,
) -> None:
    life = Life(shop.book(RECALL, LEFT))
    life.sees("view_item", NOON)
    asleep = restarted(restarted_untouched(life, shop.book(RECALL)), shop.book(RECALL, LEFT))
    asleep.reaches(NOON + DAY)
    assert asleep.raised == ["left"], "nobody had touched the member without the rule"
    touched = restarted(life, shop.book(RECALL))
    touched.sees("visit", NOON + MINUTE)
    touched = restarted(touched, shop.book(RECALL, LEFT))
    touched.reaches(NOON + DAY)
    assert touched.raised == []


def restarted_untouched(life: Life, book: RuleBook) -> Life:
    """A run in which nothing happens to the member: its row stays as it was."""
    assert fold_with(book).due(row_of(life.member, life.book)) is not None
    return life


def test_the_open_trigger_of_a_rule_that_is_gone_ends_by_refusals_and_time_alone(
    shop: Shop,
) -> None:
    life = Life(shop.book(RECALL, LEFT))
    life.sees("view_item", NOON)
    life.reaches(NOON + 2 * HOUR)
    ended_by = {"purchase": [], "unsubscribed": ["left"], "ticket_opened": ["left"]}
    for kind, ends in (ended_by | {"erase": ["left"]}).items():
        without = restarted(life, shop.book(RECALL))
        assert [trigger.rule for trigger in without.member.open] == ["left"]
        without.sees(kind, NOON + 3 * HOUR)
        assert without.cancelled == ends, kind
    without = restarted(life, shop.book(RECALL))
    without.reaches(NOON + 5 * DAY)
    assert without.member.open == []


@pytest.mark.parametrize("version", [1, 2])
def test_once_holds_for_a_rule_that_was_away_and_for_its_next_version(
    shop: Shop, version: int
) -> None:
    welcome = {"rule": "welcome", "when": {"event": "register"}, "reentry": "once"}
    life = Life(shop.book(welcome))
    life.sees("register", NOON)
    assert life.raised == ["welcome"]
    away = restarted(life, shop.book(RECALL))
    away.sees("visit", NOON + 300 * DAY)
    back = restarted(away, shop.book(welcome | {"version": version}))
    back.sees("register", NOON + 301 * DAY)
    assert back.raised == []
    assert back.verdicts == [("welcome", "reentry")]


@pytest.mark.parametrize(("away", "verdict"), [(-1, "reentry"), (0, "raised")])
def test_what_a_rule_that_is_gone_has_raised_is_remembered_for_400_days(
    shop: Shop, away: int, verdict: str
) -> None:
    welcome = {"rule": "welcome", "when": {"event": "register"}, "reentry": "once"}
    life = Life(shop.book(welcome))
    life.sees("register", NOON)
    gone = restarted(life, shop.book(RECALL))
    gone.sees("visit", NOON + 400 * DAY + HOUR + away)  # an hour is the allowed lateness
    back = restarted(gone, shop.book(welcome))
    back.sees("register", NOON + 401 * DAY)
    assert back.verdicts == [("welcome", verdict)]


def test_a_renamed_rule_finds_what_is_armed_and_nothing_else(shop: Shop) -> None:
    once = LEFT | {"reentry": "once"}
    life = Life(shop.book(once))
    life.sees("view_item", NOON)
    renamed = shop.book(once | {"rule": "other"})
    armed = restarted(life, renamed)
    armed.reaches(NOON + 2 * HOUR)
    assert armed.raised == ["other"]
    life.reaches(NOON + 2 * HOUR)
    life = restarted(life, renamed)
    life.sees("purchase", NOON + 3 * HOUR)
    assert life.cancelled == [], "nobody knows any more what the open one waits for"
    life.sees("view_item", NOON + 4 * HOUR)
    life.reaches(NOON + 6 * HOUR)
    assert life.raised == ["other"], "its once is its own"
    life.sees("unsubscribed", NOON + 7 * HOUR, channel="sms")
    assert life.cancelled == ["left", "other"]


def test_a_shorter_within_moves_what_is_armed(shop: Shop) -> None:
    life = Life(shop.book(RECALL))
    life.sees("purchase", NOON)
    shorter = shop.book(RECALL | {"when": absence("purchase", "purchase", "10d")})
    life = restarted(life, shorter)
    assert fold_with(shorter).due(row_of(life.member, shorter)) == NOON + 10 * DAY
    life.reaches(NOON + 10 * DAY)
    assert life.raised == ["recall"]


@pytest.mark.parametrize(
    ("days", "said"), [(20, []), (10.5, ["recall"])], ids=["long ago", "not yet expired"]
)
def test_a_shorter_within_that_is_over_fires_at_the_start_and_may_have_expired(
    shop: Shop, days: float, said: list[str]
) -> None:
    life = Life(shop.book(RECALL))
    life.sees("purchase", NOON)
    shorter = shop.book(RECALL | {"when": absence("purchase", "purchase", "10d")})
    life = restarted(life, shorter)
    life.reaches(NOON + 10 * DAY, now=NOON + int(days * DAY))
    assert life.raised == said
    assert life.verdicts == [("recall", "raised" if said else "expired")]


def test_what_lies_before_the_members_time_has_been_dealt_with_under_the_old_within(
    shop: Shop,
) -> None:
    life = Life(shop.book(RECALL))
    life.sees("purchase", NOON)
    life.sees("visit", NOON + 20 * DAY)
    life = restarted(life, shop.book(RECALL | {"when": absence("purchase", "purchase", "10d")}))
    life.reaches(NOON + 90 * DAY)
    assert life.raised == []
    life.sees("purchase", NOON + 91 * DAY)
    life.reaches(NOON + 101 * DAY)
    assert life.raised == ["recall"]


def test_a_longer_within_waits_longer_and_what_has_fired_fires_again(shop: Shop) -> None:
    longer = {"when": absence("purchase", "purchase", "60d")}
    waiting = Life(shop.book(RECALL))
    waiting.sees("purchase", NOON)
    fired = Life(shop.book(RECALL))
    fired.sees("purchase", NOON)
    fired.reaches(NOON + 30 * DAY)
    [first] = ids(fired)
    same_version, next_version = (
        shop.book(RECALL | longer | {"version": version}) for version in (1, 2)
    )
    for book in (same_version, next_version):
        went_on = restarted(waiting, book)
        went_on.reaches(NOON + 59 * DAY)
        assert went_on.raised == []
        went_on.reaches(NOON + 60 * DAY)
        assert went_on.raised == ["recall"]
    for book, is_new in ((same_version, False), (next_version, True)):
        went_on = restarted(fired, book)
        went_on.reaches(NOON + 60 * DAY)
        [again] = ids(went_on)
        assert (again != first) is is_new, "a gateway drops the second of an id"


def test_a_longer_within_does_not_fire_again_inside_its_pause(shop: Shop) -> None:
    recall = RECALL | {"reentry": {"per": "member", "every": "90d"}}
    life = Life(shop.book(recall))
    life.sees("purchase", NOON)
    life.reaches(NOON + 30 * DAY)
    longer = {"when": absence("purchase", "purchase", "60d"), "version": 2}
    life = restarted(life, shop.book(recall | longer))
    life.reaches(NOON + 60 * DAY)
    assert life.verdicts == [("recall", "reentry")]


def test_the_next_version_of_a_rule_takes_over_what_is_armed(shop: Shop) -> None:
    life = Life(shop.book(RECALL))
    life.sees("purchase", NOON)
    went_on = restarted(life, shop.book(RECALL | {"version": 2}))
    went_on.reaches(NOON + 40 * DAY)
    life.reaches(NOON + 40 * DAY)
    assert went_on.raised == life.raised == ["recall"]
    assert ids(went_on) != ids(life)
    assert [m.rule_version for m in went_on.said if isinstance(m, Trigger)] == [2]


@pytest.mark.parametrize(
    "when",
    [
        absence({"event": "view_item", "where": {"category": "tea"}}, "purchase", "2h"),
        absence("view_item", ["purchase", "add_to_cart"], "2h"),
        absence("view_item", same("purchase", "item_id"), "2h"),
    ],
    ids=["where", "of", "same"],
)
def test_another_question_forgets_what_was_armed_and_begins_with_the_next_event(
    shop: Shop, when: dict[str, Any]
) -> None:
    life = Life(shop.book(LEFT))
    life.sees("view_item", NOON, category="tea")
    life = restarted(life, shop.book(LEFT | {"when": when, "version": 2}))
    life.reaches(NOON + HOUR * 5)
    assert life.raised == []
    life.sees("view_item", NOON + 6 * HOUR, category="tea")
    life.reaches(NOON + 8 * HOUR)
    assert life.raised == ["left"]


def test_an_open_trigger_is_overtaken_by_what_its_rule_says_now(shop: Shop) -> None:
    life = Life(shop.book(LEFT))
    life.sees("view_item", NOON)
    life.reaches(NOON + 2 * HOUR)
    now = LEFT | {"when": absence("view_item", "add_to_cart", "2h"), "version": 2}
    life = restarted(life, shop.book(now))
    life.sees("purchase", NOON + 3 * HOUR)
    assert life.cancelled == []
    life.sees("add_to_cart", NOON + 4 * HOUR)
    assert life.cancelled == ["left"]


def test_a_longer_pause_counts_from_triggers_that_are_still_remembered(shop: Shop) -> None:
    left = LEFT | {"reentry": {"per": "member", "every": "2d"}}
    life = Life(shop.book(left))
    life.sees("view_item", NOON)
    life.reaches(NOON + 2 * HOUR)
    longer = shop.book(left | {"reentry": {"per": "member", "every": "20d"}})
    soon = restarted(life, longer)
    soon.sees("view_item", NOON + 3 * DAY)
    soon.reaches(NOON + 4 * DAY)
    assert soon.raised == []
    life.reaches(NOON + 3 * DAY)
    forgotten = restarted(life, longer)
    forgotten.sees("view_item", NOON + 4 * DAY)
    forgotten.reaches(NOON + 5 * DAY)
    assert forgotten.raised == ["left"]


def test_a_rule_that_was_always_remembers_no_trigger_to_count_a_pause_from(shop: Shop) -> None:
    life = Life(shop.book(LEFT))
    life.sees("view_item", NOON)
    life.reaches(NOON + 2 * HOUR)
    paused = LEFT | {"reentry": {"per": "member", "every": "20d"}}
    life = restarted(life, shop.book(paused))
    for days in (1, 2):
        life.sees("view_item", NOON + days * DAY)
        life.reaches(NOON + days * DAY + 2 * HOUR)
    assert life.verdicts == [("left", "raised"), ("left", "reentry")]


@pytest.mark.parametrize(
    "change",
    [
        {"when": absence("view_item", "purchase", "1h")},
        {"when": absence("view_item", "purchase", "3h")},
        {"when": absence("search", "purchase", "2h")},
        {"version": 2},
        {"channels": ["email"], "priority": 9, "expires_after": "1h"},
        {"if": {"orders": {"below": 1}}},
    ],
    ids=["shorter", "longer", "after", "version", "how it is sent", "if"],
)
def test_a_pause_goes_on_whatever_else_is_changed(shop: Shop, change: dict[str, Any]) -> None:
    left = LEFT | {"reentry": {"per": "member", "every": "2d"}}
    life = Life(shop.book(left))
    life.sees("view_item", NOON)
    life.reaches(NOON + 2 * HOUR)
    life = restarted(life, shop.book(left | change))
    for days, verdict in ((1, "reentry"), (3, "raised")):
        for kind in ("view_item", "search"):
            life.sees(kind, NOON + days * DAY)
        life.reaches(NOON + days * DAY + 5 * HOUR)
        assert life.verdicts[-1] == ("left", verdict)


ORDERED = {"unless": {"orders": {"at_least": 1, "within": "7d"}}}


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({"when": absence("view_item", "purchase", "2h") | ORDERED}, "unless"),
        ({"if": {"orders": {"below": 1}}}, "condition"),
        ({"if": {"orders": {"at_least": 1}}}, "raised"),
        ({"mode": "shadow"}, "shadow"),
        ({"mode": "off"}, None),
    ],
)
def test_what_is_armed_is_judged_by_what_its_rule_says_when_it_fires(
    shop: Shop, change: dict[str, Any], verdict: str | None
) -> None:
    life = Life(shop.book(LEFT))
    life.sees("purchase", NOON - DAY)
    life.sees("view_item", NOON)
    life = restarted(life, shop.book(LEFT | change))
    life.reaches(NOON + 2 * HOUR)
    assert life.verdicts == ([] if verdict is None else [("left", verdict)])


def test_a_rule_that_is_off_keeps_on_remembering_and_its_open_trigger_can_be_taken_back(
    shop: Shop,
) -> None:
    opened = Life(shop.book(LEFT))
    opened.sees("view_item", NOON)
    opened.reaches(NOON + 2 * HOUR)
    off = shop.book(LEFT | {"mode": "off"})
    opened = restarted(opened, off)
    opened.sees("purchase", NOON + 3 * HOUR)
    assert opened.cancelled == ["left"]
    armed = Life(off)
    armed.sees("view_item", NOON)
    armed = restarted(armed, shop.book(LEFT))
    armed.reaches(NOON + 2 * HOUR)
    assert armed.raised == ["left"]


def test_what_is_raised_expires_as_its_rule_says_now_and_what_is_open_as_it_said_then(
    shop: Shop,
) -> None:
    life = Life(shop.book(LEFT))
    life.sees("view_item", NOON)
    sooner = shop.book(LEFT | {"expires_after": "1h"})
    armed = restarted(life, sooner)
    [trigger] = armed.reaches(NOON + 2 * HOUR).triggers
    assert isinstance(trigger, Trigger)
    assert trigger.expires_at == rfc3339(NOON + 3 * HOUR)
    life.reaches(NOON + 2 * HOUR)
    opened = restarted(life, sooner)
    opened.sees("purchase", NOON + 2 * HOUR + 3 * DAY - 1)
    assert opened.cancelled == ["left"]


def test_what_is_armed_competes_with_the_priority_of_now(shop: Shop) -> None:
    policy = {"arbitration": "1m"}
    other = {"rule": "other", "when": absence("view_item", "share", "2h"), "priority": 5}
    life = Life(shop.book(LEFT | {"priority": 10}, other, policy=policy))
    life.sees("view_item", NOON)
    after = restarted(life, shop.book(LEFT | {"priority": 1}, other, policy=policy))
    for one, winner in ((life, "left"), (after, "other")):
        one.reaches(NOON + 3 * HOUR)
        assert one.raised == [winner]


def test_a_ladder_offers_what_it_says_when_the_step_is_due(shop: Shop) -> None:
    when = {"after": "register", "steps": ["1d", "3d"], "until": "purchase"}
    series = {"rule": "steps", "when": {"series": when}}
    life = Life(shop.book(series | {"ladder": ["five", "ten"]}))
    life.sees("register", NOON)
    life.reaches(NOON + DAY)
    after = restarted(life, shop.book(series | {"ladder": ["guide", "gift"]}))
    after.reaches(NOON + 3 * DAY)
    said = [*life.said, *after.said]
    offers = [m.offer.name for m in said if isinstance(m, Trigger) and m.offer is not None]
    assert offers == ["five", "gift"]


def crossing(**more: Any) -> dict[str, Any]:
    when = {"number": "points", "at_least": 100} | more
    return {"rule": "points", "when": {"crosses": when}}


def test_another_dwell_moves_what_is_armed_and_another_threshold_forgets_it(shop: Shop) -> None:
    life = Life(shop.book(crossing(dwell="1d")))
    life.sees("points", NOON, balance=100)
    longer = restarted(life, shop.book(crossing(dwell="2d")))
    longer.reaches(NOON + 2 * DAY - 1)
    assert longer.raised == []
    longer.reaches(NOON + 2 * DAY)
    assert longer.raised == ["points"]
    lower = restarted(life, shop.book(crossing(dwell="1d", at_least=90)))
    lower.reaches(NOON + 9 * DAY)
    assert lower.raised == []
    lower.sees("points", NOON + 10 * DAY, balance=95)
    lower.reaches(NOON + 11 * DAY)
    assert lower.raised == ["points"]


def test_another_length_of_a_drop_moves_it_and_another_depth_forgets_it(shop: Shop) -> None:
    def drop(below: float, lasting: str) -> dict[str, Any]:
        return {"rule": "drop", "when": {"activity_drop": {"below": below, "for": lasting}}}

    life = Life(shop.book(drop(0.3, "14d")))
    for day in range(60):
        life.sees("visit", NOON + day * DAY)
    due = next_due(life.member, life.book)
    longer = restarted(life, shop.book(drop(0.3, "20d")))
    assert next_due(longer.member, longer.book) == due + 6 * DAY
    deeper = restarted(life, shop.book(drop(0.2, "14d")))
    deeper.reaches(NOON + 300 * DAY)
    assert deeper.raised == []


# --- stages ---------------------------------------------------------------------------------------


def stages(*changes: tuple[str, str, str | None]) -> dict[str, Any]:
    """The shipped table with other durations of ``quiet`` from one stage to another; None: gone."""
    table = yaml.safe_load((package_dir() / "stages.yaml").read_text())
    for before, after, quiet in changes:
        for row in list(table["stages"]):
            if before in row["from"] and row["to"] == after and "quiet" in row["if"]:
                if quiet is None:
                    table["stages"].remove(row)
                else:
                    row["if"]["quiet"] = quiet
    assert isinstance(table, dict)
    return table


def customer(shop: Shop, table: dict[str, Any] | None = None) -> Life:
    life = Life(shop.book(RECALL, stages=table))
    life.sees("register", NOON)
    life.sees("purchase", NOON)
    return life


def test_a_stage_that_begins_sooner_is_entered_at_its_new_instant(shop: Shop) -> None:
    life = restarted(customer(shop), shop.book(RECALL, stages=stages(("new", "dormant", "20d"))))
    life.reaches(NOON + 20 * DAY)
    assert life.stages == ["dormant"]
    assert life.member.stage_since == NOON + 20 * DAY


def test_a_stage_that_should_have_begun_before_the_members_time_begins_at_once(
    shop: Shop,
) -> None:
    life = customer(shop)
    life.reaches(NOON + 30 * DAY)
    life = restarted(life, shop.book(RECALL, stages=stages(("new", "dormant", "20d"))))
    life.reaches(NOON + 31 * DAY)
    assert life.stages == ["dormant"]


def test_a_stage_that_begins_later_is_waited_for_and_nobody_is_moved_back(shop: Shop) -> None:
    later = shop.book(RECALL, stages=stages(("new", "dormant", "120d")))
    waiting, moved = customer(shop), customer(shop)
    moved.reaches(NOON + 90 * DAY)
    assert moved.stages[-1] == "dormant"
    waiting, moved = restarted(waiting, later), restarted(moved, later)
    waiting.reaches(NOON + 119 * DAY)
    moved.reaches(NOON + 119 * DAY)
    assert waiting.stages == moved.stages == []
    waiting.reaches(NOON + 120 * DAY)
    assert waiting.stages == ["dormant"]


def test_members_stay_in_a_stage_that_nothing_leads_out_of_until_something_does(
    shop: Shop,
) -> None:
    life = customer(shop)
    life.reaches(NOON + 90 * DAY)
    life = restarted(life, shop.book(RECALL, stages=stages(("dormant", "lost", None))))
    life.reaches(NOON + 400 * DAY)
    assert life.stages == []
    life = restarted(life, shop.book(RECALL))
    assert next_due(life.member, life.book) == NOON + 400 * DAY + 1
    life.reaches(NOON + 401 * DAY)
    assert life.stages == ["lost"]


# --- policy ---------------------------------------------------------------------------------------


def test_a_policy_that_begins_to_ask_for_consent_judges_by_what_was_said_before(
    shop: Shop,
) -> None:
    life = Life(shop.book(LEFT))
    life.sees("unsubscribed", NOON)
    life.sees("view_item", NOON + MINUTE)
    life.reaches(NOON + 3 * HOUR)
    assert life.raised == ["left"], "no policy: nobody asks"
    asks = shop.book(LEFT, policy={"consent": "opt_out", "channels": ["sms"]})
    life = restarted(life, asks)
    life.sees("view_item", NOON + DAY)
    life.reaches(NOON + 2 * DAY)
    assert life.said == [], "what is open is taken back by what is said from now on"
    assert life.verdicts == [("left", "consent")]
    life.sees("complained", NOON + 2 * DAY)
    assert life.cancelled == ["left"]


def test_what_is_raised_names_the_channels_of_now(shop: Shop) -> None:
    life = Life(shop.book(LEFT, policy={"channels": ["sms"]}))
    life.sees("view_item", NOON)
    life = restarted(life, shop.book(LEFT, policy={"channels": ["email"]}))
    [trigger] = life.reaches(NOON + 2 * HOUR).triggers
    assert isinstance(trigger, Trigger)
    assert trigger.channels == ("email",)


@pytest.mark.parametrize("now", ["email", None], ids=["another channel", "rule gone"])
def test_a_refusal_takes_back_what_names_the_refused_channel_whatever_the_rule_says_now(
    shop: Shop, now: str | None
) -> None:
    policy = {"consent": "opt_out", "channels": ["wechat"]}
    life = Life(shop.book(LEFT | {"channels": ["sms"]}, policy=policy))
    life.sees("view_item", NOON)
    life.reaches(NOON + 2 * HOUR)
    assert life.raised == ["left"]
    rules = [RECALL] if now is None else [RECALL, LEFT | {"channels": [now]}]
    life = restarted(life, shop.book(*rules, policy=policy))
    life.sees("unsubscribed", NOON + 3 * HOUR, channel="sms")
    assert life.cancelled == ["left"]


def test_an_open_trigger_of_the_policys_channels_is_taken_to_name_those_of_now(
    shop: Shop,
) -> None:
    life = Life(shop.book(LEFT, policy={"channels": ["sms"]}))
    life.sees("view_item", NOON)
    life.reaches(NOON + 2 * HOUR)
    for channels, refused, cancelled in (
        (["email"], "sms", []),
        (["email"], "email", ["left"]),
        (["email", "sms"], "sms", ["left"]),
    ):
        after = restarted(life, shop.book(LEFT, policy={"channels": channels}))
        after.sees("unsubscribed", NOON + 3 * HOUR, channel=refused)
        assert after.cancelled == cancelled, (channels, refused)


HELLO = {"rule": "hello", "when": {"event": "visit"}, "group": "g", "expires_after": "3d"}
A_DAY = {"at_most": 2, "per": "day"}


@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        ({"caps": [A_DAY]}, "raised"),
        ({"caps": [A_DAY | {"at_most": 1}]}, "cap"),
        ({"caps": [{"at_most": 1, "within": "2h"}]}, "raised"),
        ({"caps": [{"at_most": 1, "within": "7201s"}]}, "cap"),
        ({"cool_down": {"g": "2h"}}, "raised"),
        ({"cool_down": {"g": "3h"}}, "cool_down"),
    ],
)
def test_messages_that_are_remembered_count_for_another_cap_and_cool_down(
    shop: Shop, line: dict[str, Any], verdict: str
) -> None:
    life = Life(shop.book(HELLO, LEFT, policy={"channels": ["sms"], "caps": [A_DAY]}))
    life.sees("visit", NOON)
    assert life.raised == ["hello"]
    life = restarted(life, shop.book(HELLO, LEFT, policy={"channels": ["sms"]} | line))
    assert [trigger.rule for trigger in life.member.open] == ["hello"]
    life.sees("visit", NOON + 2 * HOUR)
    assert life.verdicts == [("hello", verdict)]


def test_what_is_armed_meets_the_caps_of_now(shop: Shop) -> None:
    life = Life(shop.book(LEFT, policy={"channels": ["sms"]}))
    life.sees("view_item", NOON)
    never = {"channels": ["sms"], "caps": [{"at_most": 0, "per": "day"}]}
    life = restarted(life, shop.book(LEFT, policy=never))
    life.reaches(NOON + 2 * HOUR)
    assert life.verdicts == [("left", "cap")]


def test_messages_that_no_line_counted_are_not_known_to_a_new_cap(shop: Shop) -> None:
    life = Life(shop.book(HELLO, policy={"channels": ["sms"]}))
    life.sees("visit", NOON)
    one = {"channels": ["sms"], "caps": [{"at_most": 1, "per": "day"}]}
    life = restarted(life, shop.book(HELLO, policy=one))
    life.sees("visit", NOON + 1)
    life.sees("visit", NOON + 2)
    assert life.verdicts == [("hello", "raised"), ("hello", "cap")]


@pytest.mark.parametrize("window", ["10m", 0, None])
def test_what_competes_is_asked_when_the_old_window_ends(shop: Shop, window: Any) -> None:
    life = Life(shop.book(HELLO, policy={"arbitration": "1m"}))
    life.sees("visit", NOON)
    after = restarted(
        life, shop.book(HELLO, policy={} if window is None else {"arbitration": window})
    )
    after.reaches(NOON + MINUTE - 1)
    assert after.said == []
    after.reaches(NOON + MINUTE)
    assert after.raised == ["hello"]


@pytest.mark.parametrize(
    ("rule", "policy", "verdict"),
    [
        ({"mode": "shadow"}, {}, "shadow"),
        ({}, {"holdout": {"salt": "s", "everything": "100%"}}, "holdout"),
    ],
)
def test_of_what_competes_only_the_first_has_its_turn_where_nothing_is_sent_any_more(
    shop: Shop, rule: dict[str, Any], policy: dict[str, Any], verdict: str
) -> None:
    once, window = HELLO | {"reentry": "once"}, {"arbitration": "1m"}
    life = Life(shop.book(once, policy=window))
    life.sees("visit", NOON)
    life.sees("visit", NOON + 1)
    after = restarted(life, shop.book(once | rule, policy=window | policy))
    after.reaches(NOON + MINUTE)
    assert after.verdicts == [("hello", verdict), ("hello", "reentry")]


def night(ends: str, then: str = "defer") -> dict[str, Any]:
    return {"quiet_hours": {"from": "21:00", "to": ends, "then": then}}


@pytest.mark.parametrize(
    ("policy", "verdicts"),
    [
        ({}, ["raised"]),
        (night("07:00"), ["raised"]),
        (night("09:00"), ["raised"]),
        (night("11:00"), ["held", "raised"]),
        (night("11:00", "drop"), ["quiet"]),
    ],
)
def test_what_waits_for_the_morning_is_asked_by_the_new_policy_when_the_old_night_ends(
    shop: Shop, policy: dict[str, Any], verdicts: list[str]
) -> None:
    life = Life(shop.book(HELLO, policy=night("09:00")))
    life.sees("visit", NOON + 10 * HOUR)
    life = restarted(life, shop.book(HELLO, policy=policy))
    life.reaches(NOON + 21 * HOUR - 1)
    assert life.verdicts == []
    life.reaches(NOON + 23 * HOUR)
    assert life.verdicts == [("hello", verdict) for verdict in verdicts]


def test_another_salt_draws_anew_and_changes_nothing_else(shop: Shop) -> None:
    def drawn(salt: str, name: str) -> str:
        life = Life(shop.book(HELLO, policy=half(salt)), name)
        life.sees("visit", NOON)
        [(_, verdict)] = life.verdicts
        return verdict

    def half(salt: str) -> dict[str, Any]:
        return {"holdout": {"salt": salt, "everything": "50%"}}

    names = [f"m{number}" for number in range(20)]
    moved = next(n for n in names if (drawn("a", n), drawn("b", n)) == ("raised", "holdout"))
    life = Life(shop.book(LEFT, HELLO | {"reentry": "once"}, policy=half("a")), moved)
    life.sees("visit", NOON)
    life.sees("view_item", NOON)
    life = restarted(life, shop.book(LEFT, HELLO | {"reentry": "once"}, policy=half("b")))
    assert [trigger.rule for trigger in life.member.open] == ["hello"]
    life.sees("visit", NOON + HOUR)
    life.reaches(NOON + 2 * HOUR)
    assert life.verdicts == [("hello", "reentry"), ("left", "holdout")]
    life.sees("unsubscribed", NOON + 3 * HOUR)
    assert life.cancelled == ["hello"]


# --- limits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("before", "after"), [(HOUR, 3 * HOUR), (3 * HOUR, HOUR), (HOUR, 0)])
def test_another_allowed_lateness_keeps_what_is_armed(shop: Shop, before: int, after: int) -> None:
    # ``left`` fires after 2 h: below one lateness and above the other, which keep other marks.
    life = Life(shop.book(LEFT, RECALL, allowed_lateness=before))
    life.sees("purchase", NOON)
    life.sees("view_item", NOON + MINUTE)
    life = restarted(life, shop.book(LEFT, RECALL, allowed_lateness=after))
    bought = restarted(life, life.book)
    bought.sees("purchase", NOON + 2 * MINUTE)
    life.reaches(NOON + 40 * DAY)
    bought.reaches(NOON + 40 * DAY)
    assert life.raised == ["left", "recall"]
    assert bought.raised == ["recall"]


def test_a_shorter_lateness_closes_open_triggers_sooner(shop: Shop) -> None:
    life = Life(shop.book(LEFT, allowed_lateness=30 * DAY))
    life.sees("view_item", NOON)
    life.reaches(NOON + 10 * DAY)
    assert len(life.member.open) == 1
    life = restarted(life, shop.book(LEFT, allowed_lateness=HOUR))
    assert life.member.open
    life.reaches(NOON + 10 * DAY)
    assert life.member.open == []


# --- a worker on the broker -----------------------------------------------------------------------


def asked(after: str, of: str, within: str, version: int = 1) -> dict[str, Any]:
    return {"when": absence(after, of, within), "version": version}


WELCOME = {"when": {"event": "register"}, "reentry": "once"}
BEFORE = {
    "welcome": WELCOME,
    "left": asked("view_item", "add_to_cart", "1h"),
    "shorter": asked("view_item", "purchase", "1h"),
}
AFTER = {
    "welcome": WELCOME | {"version": 2},
    "shorter": asked("view_item", "purchase", "5s", 2),
    "joined": asked("view_item", "purchase", "6s"),
    "new": asked("visit", "purchase", "1s"),
}
MEMBERS = [f"m{number}" for number in range(12)]


def heard(reader: Reader, rule: str) -> set[str]:
    return {trigger["member_id"] for trigger in reader.said("triggers", rule=rule)}


@pytest.mark.kafka
@pytest.mark.slow
def test_a_worker_with_another_configuration_goes_on_where_the_last_one_was(
    kafka_stack: StackInfo, tmp_path: Path
) -> None:
    place = Deploy(kafka_stack, "changed", tmp_path, partitions=2)
    write_config(place.config, BEFORE)
    try:
        assert place.lifecycle("topics").returncode == 0
        first = place.start(newer=False)
        ready(place, first)
        upstream = Upstream(place)
        for member in MEMBERS:
            upstream.tell(event("register", member))
            upstream.tell(event("view_item", member))
        upstream.flush()
        wait_until(lambda: sum(place.versions().values()) == 12, "a row of everybody", place)
        first.terminate()
        assert first.wait(20) == 0, place.logs()
        write_config(place.config, AFTER)
        (place.config / "stages.yaml").write_text(json.dumps(stages(("lead", "lost", None))))
        (place.config / "policy.yaml").write_text("channels: [post]")
        second = place.start(newer=False)
        ready(place, second)
        for member in MEMBERS:
            upstream.tell(event("visit", member))
        upstream.flush()
        reader = Reader(place, ("triggers",))
        wanted = {"welcome": 1, "shorter": 2, "joined": 1, "new": 1}
        reader.until(
            lambda: all(set(MEMBERS) <= heard(reader, rule) for rule in wanted),
            "a trigger of each rule for each member",
        )
        # The first run's last outbox was sent once more when the second began.
        told = standing([message.value() for message in reader.found]).values()
        for rule, version in wanted.items():
            of_rule = [trigger for trigger in told if trigger["rule"] == rule]
            assert sorted(t["member_id"] for t in of_rule) == sorted(MEMBERS), rule
            assert {t["rule_version"] for t in of_rule} == {version}, rule
        assert {tuple(t["channels"]) for t in reader.said("triggers", rule="new")} == {("post",)}
        reader.close()
        for row in place.rows().values():
            counts = decode(row, "", False).counts
            assert counts == {CODE_OF[kind]: 1 for kind in ("register", "view_item", "visit")}
        assert second.poll() is None, place.logs()
    finally:
        place.stop()
