"""A life is the same in whatever order its facts are heard of, and counts each of them once."""

from collections.abc import Iterable
from typing import Any

import pytest
from aiokafka import TopicPartition
from core_builders import whole_book
from hypothesis import given, settings
from hypothesis import strategies as st
from observing_kit import Log, Said, event, of_ours, transition

from agents.observer import FOLLOWED, Observing
from models.lifecycle import (
    EVERY,
    KEPT_TREATED,
    NOW,
    Counts,
    Life,
    active_days,
    contributions,
    day_key,
    day_of,
    is_active,
    note_active,
    pack,
    trim,
    unpack,
    week_of,
)
from models.lifecycle_facts import Fact
from models.lifecycle_fold import Change, Order, fold
from models.retelling import Retelling
from models.times import DAY, HOUR, rfc3339

BEGINNING = 1_700_000_000_000 // DAY * DAY
TODAY = day_key(day_of(BEGINNING))
RETELLING = Retelling(whole_book())
_observing = Observing({name: name for name in FOLLOWED}, lambda _key, _count: 0, 1)


def after(days: float = 0, hours: float = 0) -> int:
    return round(BEGINNING + days * DAY + hours * HOUR)


def facts(said: Iterable[Said]) -> list[Fact]:
    told: list[Fact] = []
    for one in said:
        [records] = [records for records in Log([one]).topics.values() if records]
        taken = _observing.take({TopicPartition(one.topic, 0): records})
        assert not taken.refused, one
        told += taken.content
    return told


class Counted:
    """One member, folded batch by batch as the store does it."""

    def __init__(self) -> None:
        self.raw = pack(Life())
        self.orders: dict[str, Order] = {}
        self.counts: Counts = {}
        self.changes: list[Change] = []

    def fold(self, *said: Said, counted: bool = True) -> Change:
        labels = lambda _kind, name: name  # noqa: E731
        told = facts(said)
        change = fold(self.raw, told, self.orders, labels, counted, RETELLING)
        self.raw = pack(change.life)
        for counter, moved in change.counts.items():
            self.counts[counter] = self.counts.get(counter, 0) + moved
        self.changes.append(change)
        return change

    @property
    def life(self) -> Life:
        return unpack(self.raw)

    def of(self, name: str, key: str = NOW) -> int:
        return self.counts.get((key, name), 0)

    @property
    def left(self) -> Counts:
        return {counter: number for counter, number in self.counts.items() if number}


def bought(order: str, at: int, total: float = 10.0, member: str = "m1", **fields: Any) -> Said:
    return event("purchase", member, at, order_id=order, total=total, **fields)


def lost(at: int) -> Said:
    said = {"type": "transition", "kind": "stage", "before": "lead", "after": "lost", "why": ""}
    return of_ours("decisions", {**said, "at": rfc3339(at), "anonymous_id": "a1"})


def trigger(
    at: int, stage: str = "dormant", name: str = "t1", evidence: str = "", rule: str = "recall"
) -> Said:
    reason: dict[str, Any] = {"text": "quiet", "kind": "absence", "evidence": []}
    if evidence:
        reason["evidence"] = [{"type": "visit", "occurred_at": evidence}]
    return of_ours(
        "triggers",
        {
            "type": "trigger",
            "trigger_id": name,
            "member_id": "m1",
            "rule": rule,
            "rule_version": 1,
            "occasion": str(at),
            "stage": stage,
            "due_at": rfc3339(at),
            "raised_at": rfc3339(at),
            "reason": reason,
        },
    )


def held_back(at: int, verdict: str = "holdout", stage: str = "dormant") -> Said:
    return of_ours(
        "decisions",
        {
            "type": "decision",
            "rule": "recall",
            "verdict": verdict,
            "occasion": f"{at}",
            "due_at": rfc3339(at),
            "why": "in the control group of recall",
            "stage": stage,
            "member_id": "m1",
        },
    )


# --- active days ---


def test_days_are_remembered_in_any_order_and_packed_small() -> None:
    life = Life()
    for day in (20_100, 20_000, 20_399, 20_001, 20_000):
        note_active(life, day)
    assert list(active_days(life)) == [20_000, 20_001, 20_100, 20_399]
    assert [is_active(life, day) for day in (19_999, 20_000, 20_002, 20_399, 20_400)] == [
        False, True, False, True, False,
    ]  # fmt: skip
    trim(life)
    assert list(active_days(life)) == [20_000, 20_001, 20_100, 20_399]
    note_active(life, 20_450)
    trim(life)
    assert list(active_days(life)) == [20_100, 20_399, 20_450]
    assert len(pack(life)) < 120


def test_weeks_begin_on_monday() -> None:
    monday = day_of(1_763_942_400_000)  # 24 November 2025
    assert [week_of(monday + n) - week_of(monday) for n in (-1, 0, 6, 7)] == [-1, 0, 0, 1]


# --- orders ---


def test_an_order_that_is_said_twice_counts_once() -> None:
    one = Counted()
    one.fold(bought("o1", after(), 10), bought("o1", after(hours=1), 10))
    one.fold(bought("o1", after(days=3), 10))
    assert (one.of("orders", TODAY), one.of("sales", TODAY)) == (1, 1000)
    assert (one.of("buyers|unknown"), one.of("repeaters|unknown")) == (1, 0)
    one.fold(bought("o2", after(days=3), 7.5))
    assert (one.of("spend|unknown"), one.of("repeaters|unknown")) == (1750, 1)


def test_an_order_number_that_two_members_have_is_two_orders() -> None:
    one = Counted()
    one.fold(bought("o1", after()))
    change = one.fold(bought("o1", after(hours=1), member="m2"))
    assert one.of("orders", TODAY) == 2
    assert change.orders["o1"].identity == "m2"


def test_a_refund_takes_back_at_most_what_was_paid() -> None:
    one = Counted()
    one.fold(bought("o1", after(), 10))
    one.fold(event("refund", "m1", after(1), order_id="o1", total=4))
    assert one.of("spend|unknown") == 600
    one.fold(event("refund", "m1", after(2), order_id="o1", total=9))
    one.fold(event("refund", "m1", after(3), order_id="o1"))
    assert one.of("spend|unknown") == 0
    assert one.of("refunds", day_key(day_of(after(1)))) == 400
    assert one.of("refunds", day_key(day_of(after(2)))) == 600


def test_a_refund_of_an_unknown_order_counts_and_its_repetition_does_not() -> None:
    one = Counted()
    one.fold(bought("o1", after(), 10))
    for _ in range(3):
        one.fold(event("refund", "m1", after(1), event_id="e1", order_id="c1", total=4))
    assert one.of("spend|unknown") == 600


def test_a_cancelled_order_is_none_whatever_had_been_refunded_of_it() -> None:
    one = Counted()
    one.fold(bought("o1", after(), 10), bought("o2", after(1), 5))
    one.fold(event("refund", "m1", after(2), order_id="o1", total=4))
    one.fold(event("cancel", "m1", after(3), order_id="o1"))
    one.fold(event("cancel", "m1", after(4), order_id="o1"))
    assert one.of("spend|unknown") == 500
    assert (one.of("orders", TODAY), one.of("sales", TODAY)) == (0, 0)
    one.fold(event("refund", "m1", after(5), order_id="o1"))
    assert one.of("spend|unknown") == 500


# --- joining, activation, where from ---


def test_who_registers_after_a_look_was_a_lead_who_became_a_member() -> None:
    one = Counted()
    one.fold(event("view_item", "m1", after(), item_id="i"))
    assert (one.of("leads", TODAY), one.of("leads_joined", TODAY)) == (1, 0)
    one.fold(event("register", "m1", after(1), source="app", campaign="spring", referred_by="m0"))
    assert (one.of("leads", TODAY), one.of("leads_joined", TODAY)) == (1, 1)
    joined_on = day_key(day_of(after(1)))
    assert one.of("joined|spring", joined_on) == one.of("referred", joined_on) == 1
    assert one.of("activated|spring", joined_on) == 0
    one.fold(event("add_to_cart", "m1", after(7, hours=23), item_id="i"))
    assert one.of("activated|spring", joined_on) == 1


def test_an_earlier_registration_that_is_heard_of_later_moves_the_member() -> None:
    one = Counted()
    one.fold(bought("o1", after(10), source="web"))
    assert one.of("members|web") == 1
    one.fold(event("register", "m1", after(2), source="store"))
    assert (one.of("members|web"), one.of("members|store")) == (0, 1)
    assert one.of("joined|web", day_key(day_of(after(10)))) == 0
    assert one.of("joined|store", day_key(day_of(after(2)))) == 1
    cohort = f"cohort:member:{week_of(day_of(after(2)))}"
    assert one.of("n", cohort) == 1
    again = week_of(day_of(after(10))) - week_of(day_of(after(2)))
    assert one.of(str(again), cohort) == 1


def test_a_member_who_joins_is_active_on_the_days_before_too() -> None:
    one = Counted()
    assert one.fold(event("visit", "m1", after())).active == []
    assert one.fold(event("visit", "m1", after(hours=2))).active == []
    change = one.fold(event("register", "m1", after(3), source="app"))
    assert change.active == [(day_of(after()), "app")]
    assert one.fold(event("visit", "m1", after(3, 1))).active == [(day_of(after(3)), "app")]
    assert one.fold(event("visit", "m1", after(3, 2))).active == []


def test_an_anonymous_id_is_a_lead_until_it_is_lost() -> None:
    one = Counted()
    one.fold(event("view_item", None, after(), anonymous_id="a1", item_id="i"))
    day = {(TODAY, "leads"): 1, (TODAY, "heard"): 1}
    assert one.left == {(NOW, "stage|lead"): 1, (NOW, "events"): 1, **day}
    change = one.fold(lost(after(180)), lost(after(180)))
    assert one.of("stage|lead") == one.of("stage|lost") == 0
    assert one.of("moves|lead>lost") == 1
    assert change.life == Life(gone=after(180))
    assert change.entries == []
    one.fold(event("view_item", None, after(179), anonymous_id="a1", item_id="i"))
    assert one.of("stage|lead") == 0
    one.fold(event("view_item", None, after(181), anonymous_id="a1", item_id="i"))
    assert one.of("stage|lead") == one.of("leads", day_key(day_of(after(181)))) == 1


# --- stages ---


def test_a_transition_that_is_sent_again_counts_once() -> None:
    one = Counted()
    first = transition("m1", rfc3339(after(1)), "lead", "new", "registered")
    second = transition("m1", rfc3339(after(5)), "new", "active", "second order within 90 days")
    one.fold(event("register", "m1", after(1)), first, second)
    one.fold(first, second)
    one.fold(second)
    assert (one.of("moves|lead>new"), one.of("moves|new>active")) == (1, 1)
    assert (one.of("stage|new"), one.of("stage|active"), one.of("band|light")) == (0, 1, 1)
    day = day_key(day_of(after(5)))
    assert (one.of("dwell|new>active", day), one.of("dwelt|new>active", day)) == (4 * DAY, 1)
    entry = f"cohort:active:{week_of(day_of(after(5)))}"
    assert one.of("n", entry) == 1


def test_steps_at_one_instant_are_all_counted_once() -> None:
    one = Counted()
    at = rfc3339(after(200))
    steps = [transition("m1", at, "lost", "lead"), transition("m1", at, "lead", "new")]
    one.fold(event("register", "m1", after()), transition("m1", rfc3339(after()), "lead", "new"))
    one.fold(transition("m1", rfc3339(after(180)), "new", "lost"), *steps)
    one.fold(*steps)
    assert one.of("moves|lead>new") == 2
    assert one.of("moves|lost>lead") == 1


def test_time_as_a_lead_begins_with_the_first_sign_of_life_even_if_that_is_read_later() -> None:
    one = Counted()
    one.fold(transition("m1", rfc3339(after(9)), "lead", "new"))
    assert one.of("stage|new") == one.of("heard", day_key(day_of(after(9)))) == 1
    one.fold(event("visit", "m1", after(2)))
    assert one.of("heard", day_key(day_of(after(9)))) == 0
    day = day_key(day_of(after(9)))
    assert (one.of("dwell|lead>new", day), one.of("dwelt|lead>new", day)) == (7 * DAY, 1)


def test_bands_and_segments_are_told_and_bands_counted() -> None:
    one = Counted()
    one.fold(event("register", "m1", after()))
    one.fold(transition("m1", rfc3339(after(1)), "new", "active"))
    band = transition("m1", rfc3339(after(2)), "light", "medium", kind="band")
    one.fold(band, band, transition("m1", rfc3339(after(2)), "", "tea", kind="segment"))
    assert (one.of("band|light"), one.of("band|medium")) == (0, 1)
    assert one.of("band|light>medium", day_key(day_of(after(2)))) == 1


# --- reactivation ---


@pytest.mark.parametrize("order", ["trigger first", "activity first"])
@pytest.mark.parametrize(("days", "woken"), [(0.5, 1), (14.9, 1), (15.1, 0)])
def test_coming_back_within_two_weeks_counts_for_the_trigger(
    order: str, days: float, woken: int
) -> None:
    one = Counted()
    told = [trigger(after(100, 1)), event("visit", "m1", after(100 + days, 1))]
    for said in told if order == "trigger first" else reversed(told):
        one.fold(said)
    day = day_key(day_of(after(100)))
    assert one.of("asleep|recall|treated", day) == 1
    assert one.of("woken|recall|treated", day) == woken


def test_who_is_held_out_is_the_control_and_others_are_neither() -> None:
    one = Counted()
    for at in (100, 100, 101):
        one.fold(held_back(after(at)))
    one.fold(held_back(after(102), "cap"), held_back(after(103), stage="active"))
    one.fold(trigger(after(104), "active", "t2"))
    one.fold(trigger(after(105), evidence=rfc3339(after(105)), name="t3"))
    one.fold(event("visit", "m1", after(110)))
    told = {name: n for (_, name), n in one.left.items() if "recall|control" in name}
    assert told == {"asleep|recall|control": 1, "woken|recall|control": 1}
    days = {key for key, name in one.left if name == "woken|recall|control"}
    assert days == {day_key(day_of(after(100)))}
    assert not [name for _, name in one.left if "treated" in name]


def test_more_treatments_than_a_life_remembers_keep_what_they_added() -> None:
    one = Counted()
    for number in range(3 * KEPT_TREATED):
        one.fold(trigger(after(100 + 15 * number), name=f"t{number}"))
    assert len(one.life.treated) == KEPT_TREATED
    sent = sum(n for (_, name), n in one.left.items() if name == "asleep|recall|treated")
    assert sent == 3 * KEPT_TREATED


def test_a_member_counts_once_in_a_window_for_each_rule_and_once_for_all() -> None:
    one = Counted()
    for number, (rule, at) in enumerate(
        [("recall", 100), ("gift", 103), ("recall", 110), ("gift", 114), ("recall", 115)]
    ):
        one.fold(trigger(after(at), name=f"t{number}", rule=rule))
    one.fold(event("visit", "m1", after(116)))
    days = {"recall": [100, 115], "gift": [103], EVERY: [100, 115]}
    for rule, opened in days.items():
        sent = {key for key, name in one.left if name == f"asleep|{rule}|treated"}
        assert sent == {day_key(day_of(after(at))) for at in opened}
    back = {key for key, name in one.left if name == f"woken|{EVERY}|treated"}
    assert back == {day_key(day_of(after(115)))}
    assert {n for (_, name), n in one.left.items() if name.startswith(("asleep", "woken"))} == {1}


# --- what we said ---


def overtaken(name: str) -> Fact:
    said = {"type": "trigger_cancelled", "trigger_id": name, "member_id": "m1", "rule": "recall"}
    when = {"cancelled_at": rfc3339(after(hours=3)), "reason": "purchase o1"}
    return of_ours("triggers", {**said, **when})


def test_triggers_cancellations_and_what_is_held_back_are_counted_by_rule_and_day_once() -> None:
    one = Counted()
    waits, history = held_back(after(), "held"), held_back(after(), "backfill")
    for _ in range(2):
        one.fold(
            trigger(after(), "active"), overtaken("t1"), held_back(after(), "cap"), waits, history
        )
    counted = {name: n for (key, name), n in one.left.items() if key == TODAY}
    assert counted == {
        "rule|recall|triggers": 1, "rule|recall|cancelled": 1, "rule|recall|held_back": 1,
    }  # fmt: skip
    assert (one.of("triggers"), one.of("cancelled")) == (1, 1)
    kinds = [entry.what["kind"] for entry in one.changes[0].entries]
    assert kinds == ["trigger", "cancelled", "decision", "decision", "decision"]
    assert one.changes[0].entries[2].what["why_zh"] == "属于 recall 的对照组"
    assert [news.what["kind"] for news in one.changes[0].feed] == ["trigger", "cancelled"]
    assert "sent" not in one.changes[0].entries[1].what
    assert one.changes[1].feed == []


@pytest.mark.parametrize("word", ["sent", "delivered", "opened", "clicked"])
def test_what_is_overtaken_when_it_was_sent_was_not_taken_back(word: str) -> None:
    one = Counted()
    one.fold(trigger(after(), "active"), trigger(after(), "active", "t2"))
    one.fold(event(word, "m1", after(hours=1), channel="sms", trigger_id="t1"))
    one.fold(overtaken("t1"), overtaken("t2"))
    assert (one.of("cancelled"), one.of("settled")) == (1, 1)
    assert (one.of("rule|recall|cancelled", TODAY), one.of("rule|recall|settled", TODAY)) == (1, 1)
    for told in (one.changes[-1].entries, one.changes[-1].feed):
        assert [line.what.get("sent") for line in told] == [True, None]


def test_a_campaign_of_somebody_else_says_nothing_about_our_messages() -> None:
    one = Counted()
    before = one.life.seen_ids
    one.fold(event("sent", "m1", after(), channel="sms", campaign="spring"))
    assert one.life.seen_ids == before


@pytest.mark.parametrize("lost", ["failed", "bounced"])
@pytest.mark.parametrize("before", [[], ["sent"]])
def test_a_message_that_could_not_be_sent_was_not_sent(before: list[str], lost: str) -> None:
    one = Counted()
    one.fold(trigger(after(), "active"))
    for word in before:
        one.fold(event(word, "m1", after(), channel="sms", trigger_id="t1"))
    one.fold(event(lost, "m1", after(hours=1), channel="sms", trigger_id="t1"))
    one.fold(overtaken("t1"))
    assert (one.of("cancelled"), one.of("settled")) == (1, 0)


def test_a_prediction_is_worth_something_until_a_newer_one() -> None:
    one = Counted()
    one.fold(event("register", "m1", after()))
    foreseen = {"churn_smoothed": 0.25, "expected_value": 12.5, "churn": 0.2, "model": "x"}
    for day, value in (("2023-11-20", 12.5), ("2023-11-27", 8.0), ("2023-11-20", 12.5)):
        told = {**foreseen, "as_of": day, "expected_value": value}
        update = {"member_id": "m1", "foreseen": told, "updated_at": f"{day}T10:00:00.000Z"}
        one.fold(of_ours("member-updates", update))
    assert one.of("expected|unknown") == 800
    [score] = one.changes[1].entries
    assert score.what == {"kind": "score", "churn": 0.25, "expected_value": 12.5}


def test_a_prediction_is_dated_by_its_day_but_never_later_than_it_was_told() -> None:
    one = Counted()
    foreseen = {"churn_smoothed": 0.25, "expected_value": 12.5, "as_of": "2023-11-20"}
    dated = []
    for updated_at in ("2023-11-20T09:00:00.000Z", "2023-11-20T10:00:00.000Z"):
        update = {"member_id": "m1", "foreseen": foreseen, "updated_at": updated_at}
        dated += one.fold(of_ours("member-updates", update)).entries
    later = {"foreseen": {**foreseen, "churn_smoothed": 0.5}, "member_id": "m1"}
    update = {**later, "updated_at": "2023-11-25T10:00:00.000Z"}
    dated += one.fold(of_ours("member-updates", update)).entries
    told = [rfc3339(entry.at) for entry in dated]
    assert told == ["2023-11-20T09:00:00.000Z", "2023-11-21T00:00:00.000Z"]


# --- finding, telling, forgetting ---


def test_hashed_contacts_find_the_member_and_nothing_else_does() -> None:
    digest = "ab" * 32
    one = Counted()
    link = event("link", "m1", after(), other_id=digest.upper(), kind="phone_sha256")
    assert one.fold(link).contacts == {digest: after()}
    attributes = {"email_sha256": "cd" * 32, "phone_sha256": "13800138000", "shoe": "42"}
    profile = event("profile", "m1", after(), attributes=attributes)
    assert one.fold(profile).contacts == {"cd" * 32: after()}
    assert one.fold(event("link", "m1", after(), other_id="x" * 64, kind="openid")).contacts == {}


def test_a_timeline_tells_what_is_needed_and_no_profile() -> None:
    one = Counted()
    attributes = {"email_sha256": "cd" * 32, "city": "Hangzhou"}
    change = one.fold(
        event("profile", "m1", after(), attributes=attributes, birthday="1990-01-01"),
        bought("o1", after(), 25.5, items=[{"item_id": "sku-1"}], currency="CNY"),
        event("search", "m1", after(), query="tea", source="app"),
        event("visit", "m1", after(), origin="backfill"),
        event("mute", "m1", after(), until=after(9), reason="asked", by="ann"),
    )
    assert [entry.what for entry in change.entries] == [
        {"kind": "event", "type": "profile"},
        {"kind": "event", "type": "purchase", "order": "o1", "amount": 25.5, "currency": "CNY",
         "items": ["sku-1"], "lines": 1},
        {"kind": "event", "type": "search", "query": "tea", "source": "app"},
        {"kind": "event", "type": "visit", "origin": "backfill"},
        {"kind": "event", "type": "mute", "until": after(9), "why": "asked", "by": "ann"},
    ]  # fmt: skip


def test_an_erased_member_leaves_nothing_and_does_not_come_back_by_what_is_read_later() -> None:
    one = Counted()
    one.fold(event("register", "m1", after(), source="app"), bought("o1", after(1)))
    one.fold(transition("m1", rfc3339(after(1)), "lead", "new"), trigger(after(2)))
    change = one.fold(event("erase", "m1", after(3)), event("visit", "m1", after(2.9)))
    assert change.erase
    assert change.life == Life(erased=after(3))
    assert [*change.entries, *change.orders, *change.feed] == []
    flows = ("events", "triggers", "moves|", "move|", "orders", "sales", "rule|", "dwe")
    assert [name for _, name in one.left if not name.startswith(flows)] == []
    one.fold(transition("m1", rfc3339(after(3)), "new", "lost"))
    assert one.life == Life(erased=after(3))
    one.fold(event("register", "m1", after(5), source="web"))
    assert one.of("members|web") == 1


def test_an_erased_member_leaves_the_orders_of_others_alone() -> None:
    orders: dict[str, Order] = {}
    for said in (
        [bought("o2", after(), member="m2")],
        [bought("o1", after()), event("erase", "m1", after(1))],
    ):
        fold(None, facts(said), orders, lambda _kind, name: name)
    assert set(orders) == {"o2"}


def test_test_members_have_a_timeline_and_count_nowhere() -> None:
    one = Counted()
    change = one.fold(event("register", "m1", after()), trigger(after()), counted=False)
    assert [entry.what["kind"] for entry in change.entries] == ["event", "trigger"]
    assert [*one.left, *change.feed, *change.active] == []


def test_the_reason_that_was_stated_last_goes_with_the_member_from_stage_to_stage() -> None:
    one = Counted()
    one.fold(event("register", "m1", after()))
    for at, reason in ((2, "price"), (1, "delivery")):
        answers = {"reason": reason, "other": 3}
        one.fold(event("survey", "m1", after(at), survey_id="exit", answers=answers))
    assert {name for _, name in one.left if name.startswith("reason")} == {"reason|lead|price"}
    one.fold(transition("m1", rfc3339(after(95)), "lead", "dormant"))
    assert one.of("reason|dormant|price") == 1


# --- in any order ---

_TYPES = ("visit", "add_to_cart", "review", "clicked")


@st.composite
def _stories(draw: st.DrawFn) -> list[list[Said]]:
    """What is said of one member, topic by topic; within a topic in order of time."""
    at = st.integers(0, 120 * 24).map(lambda hours: after(hours=hours))
    member = [event("register", "m1", one, source=f"s{n}") for n, one in
              enumerate(sorted(draw(st.lists(at, max_size=2))))]  # fmt: skip
    purchases = sorted(draw(st.lists(st.tuples(at, st.integers(0, 4)), max_size=6)))
    purchase = [bought(f"o{n}", one, 10 + n) for one, n in purchases]
    fields: dict[str, dict[str, Any]] = {
        "add_to_cart": {"item_id": "i"},
        "clicked": {"channel": "sms"},
    }
    acts: dict[str, list[Said]] = {"browse": [], "cart": [], "engagement": []}
    for one in sorted(draw(st.lists(at, max_size=8))):
        kind = draw(st.sampled_from(_TYPES))
        said = event(kind, "m1", one, **fields.get(kind, {}))
        acts[said.topic].append(said)
    stages = ["lead", "new", "active", "dormant", "active", "dormant"]
    instants = sorted(draw(st.lists(at, max_size=5, unique=True)))
    decisions = [transition("m1", rfc3339(one), stages[n], stages[n + 1])
                 for n, one in enumerate(instants)]  # fmt: skip
    decisions += [held_back(one) for one in draw(st.lists(at, max_size=2, unique=True))]
    sent = sorted(draw(st.lists(at, max_size=3, unique=True)))
    triggers = [trigger(one, name=f"t{n}") for n, one in enumerate(sent)]
    return [member, purchase, *acts.values(), decisions, triggers]


@settings(max_examples=60, deadline=None)
@given(_stories(), st.data())
def test_whatever_the_order_of_the_topics_and_the_batches_the_counters_are_the_same(
    story: list[list[Said]], data: st.DataObject
) -> None:
    plain = Counted()
    for topic in story:
        plain.fold(*topic)
    mixed = Counted()
    queues = [list(topic) for topic in story if topic]
    while queues:
        queue = data.draw(st.sampled_from(queues))
        size = data.draw(st.integers(1, len(queue)))
        batch = queue[:size]
        del queue[:size]
        mixed.fold(*batch)
        if data.draw(st.booleans()):
            # As after a restart: what was sent last is sent again.
            mixed.fold(*(one for one in batch if one.topic in ("decisions", "triggers")))
        queues = [queue for queue in queues if queue]
    # Only what may be said again, and events, is counted as it comes.
    assert mixed.left == plain.left
    assert {key: n for key, n in plain.left.items() if key in contributions(plain.life)} == {
        key: n for key, n in contributions(plain.life).items() if n
    }


@st.composite
def _leads(draw: st.DrawFn) -> list[list[Said]]:
    at = st.integers(0, 4 * 24).map(lambda hours: after(hours=hours))
    looks = [event("view_item", None, one, anonymous_id="a1", item_id="i")
             for one in sorted(draw(st.lists(at, max_size=6)))]  # fmt: skip
    carts = [event("add_to_cart", None, one, anonymous_id="a1", item_id="i")
             for one in sorted(draw(st.lists(at, max_size=3)))]  # fmt: skip
    losses = [lost(one) for one in sorted(draw(st.lists(at, max_size=3, unique=True)))]
    return [looks, carts, losses]


@settings(max_examples=200, deadline=None)
@given(_leads(), st.data())
def test_who_is_a_lead_again_after_a_loss_does_not_depend_on_the_order_either(
    story: list[list[Said]], data: st.DataObject
) -> None:
    looks, carts, losses = story
    mixed = Counted()
    queues = [list(topic) for topic in story if topic]
    while queues:
        queue = data.draw(st.sampled_from(queues))
        size = data.draw(st.integers(1, len(queue)))
        batch = queue[:size]
        del queue[:size]
        mixed.fold(*batch)
        if data.draw(st.booleans()):
            mixed.fold(*(one for one in batch if one.topic == "decisions"))
        queues = [queue for queue in queues if queue]
    gone = max((day_of(fact.at) for fact in facts(losses)), default=0)
    signs = [day for fact in facts(looks + carts) if (day := day_of(fact.at)) >= gone]
    expected = {(NOW, "events"): len(looks + carts), (NOW, "moves|lead>lost"): len(losses)}
    for fact in facts(losses):
        key = day_key(day_of(fact.at)), "move|lead>lost"
        expected[key] = expected.get(key, 0) + 1
    if signs:
        first = day_key(min(signs))
        expected |= {(NOW, "stage|lead"): 1, (first, "leads"): 1, (first, "heard"): 1}
    assert mixed.left == {counter: number for counter, number in expected.items() if number}
