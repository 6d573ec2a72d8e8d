"""When nothing may be said: history, lateness, expiry, nobody there, no permission, no reason."""

from pathlib import Path

import pytest
from core_builders import (
    DAY,
    HOUR,
    MINUTE,
    NOON,
    SECOND,
    Life,
    absence,
    book_of,
    event,
    lines,
    plain_book,
    shipped_book,
    write_rules,
)

from models.engine import is_gone
from models.member import Member
from models.times import parse_instant
from models.triggers import Trigger, TriggerCancelled


def one_rule(tmp_path: Path, policy: str = "", **rule: object) -> Life:
    words = tmp_path / "policy.yaml"
    words.write_text(policy)
    directory = write_rules(tmp_path / "rules", {"rule": "r", **rule})
    return Life(book_of(directory, words))


# --- backfill ---------------------------------------------------------------------------------


def test_history_builds_state_and_messages_nobody_about_what_is_over() -> None:
    life = Life(shipped_book())
    now = NOON + 400 * DAY
    for at in (NOON, NOON + DAY, NOON + 95 * DAY):
        life.sees("register", at, now, origin="backfill")
        life.sees("add_to_cart", at, now, origin="backfill")
        life.sees("purchase", at, now, origin="backfill")
    life.reaches(now, now)
    assert life.raised == []
    assert ("no_order_30d", "backfill") in life.verdicts
    assert life.member.order_count == 3
    assert life.stages[-1] == "lost"


def test_deadlines_of_history_that_lie_ahead_do_fire(tmp_path: Path) -> None:
    life = Life(plain_book(tmp_path / "rules"))
    now = NOON + 20 * DAY
    life.sees("purchase", NOON, now, origin="backfill")
    life.reaches(now, now)
    assert life.raised == []
    life.reaches(NOON + 30 * DAY, NOON + 30 * DAY)
    assert life.raised == ["inactive_30d", "no_order_30d"]


def test_a_live_event_after_history_raises_as_ever() -> None:
    life = Life(shipped_book())
    now = NOON + 100 * DAY
    life.sees("purchase", NOON, now, origin="backfill")
    life.sees("begin_checkout", now, now)
    life.reaches(now + HOUR, now + HOUR)
    assert "checkout_abandoned" in life.raised


# --- late and expired -------------------------------------------------------------------------


def test_on_a_wall_clock_a_candidate_past_its_expiry_is_decided_expired(tmp_path: Path) -> None:
    when = absence("view_item", "purchase", "1m")
    life = one_rule(tmp_path, when=when, expires_after="1h")
    life.sees("view_item", NOON, NOON)
    life.reaches(NOON + MINUTE, NOON + MINUTE + HOUR)
    assert (life.raised, life.verdicts) == ([], [("r", "expired")])


def test_one_millisecond_before_its_expiry_it_is_raised(tmp_path: Path) -> None:
    when = absence("view_item", "purchase", "1m")
    life = one_rule(tmp_path, when=when, expires_after="1h")
    life.sees("view_item", NOON, NOON)
    life.reaches(NOON + MINUTE, NOON + MINUTE + HOUR - 1)
    [trigger] = life.said
    assert isinstance(trigger, Trigger)
    assert parse_instant(trigger.due_at) == NOON + MINUTE
    assert parse_instant(trigger.raised_at) == NOON + MINUTE + HOUR - 1


def test_in_stream_time_nothing_expires_before_it_is_raised(tmp_path: Path) -> None:
    when = absence("view_item", "purchase", "1m")
    life = one_rule(tmp_path, when=when, expires_after="1s")
    life.sees("view_item", NOON)
    life.reaches(NOON + 400 * DAY)
    assert life.raised == ["r"]


def test_an_expired_candidate_does_not_use_up_the_reentry(tmp_path: Path) -> None:
    when = absence("view_item", "purchase", "1m")
    life = one_rule(tmp_path, when=when, expires_after="1h", reentry="once")
    life.sees("view_item", NOON, NOON)
    life.reaches(NOON + MINUTE, NOON + 2 * HOUR)
    life.sees("view_item", NOON + 3 * HOUR, NOON + 3 * HOUR)
    life.reaches(NOON + 4 * HOUR, NOON + 3 * HOUR + MINUTE)
    assert life.verdicts == [("r", "expired"), ("r", "raised")]


# --- nobody to send to ------------------------------------------------------------------------


def test_an_anonymous_visitor_is_a_lead_with_decisions_and_no_triggers() -> None:
    life = Life(shipped_book(), "cookie-1", anonymous=True)
    life.sees("view_item", NOON)
    life.reaches(NOON + 31 * DAY)
    assert life.said == []
    assert ("browse_abandoned", "anonymous") in life.verdicts
    assert ("inactive_30d", "anonymous") in life.verdicts
    assert life.member.stage == 0
    assert life.member.recent[0].item_id == "a"
    assert life.member.raised == {}


def test_an_anonymous_visitor_uses_up_no_reentry(tmp_path: Path) -> None:
    when = absence("view_item", "purchase", "1m")
    directory = write_rules(tmp_path / "rules", {"rule": "r", "when": when, "reentry": "once"})
    life = Life(book_of(directory), "cookie-1", anonymous=True)
    for at in (NOON, NOON + HOUR):
        life.sees("view_item", at)
        life.reaches(at + MINUTE)
    assert life.verdicts == [("r", "anonymous")] * 2


# --- erase ------------------------------------------------------------------------------------


def test_erase_forgets_everything_but_the_applied_offsets() -> None:
    life = Life(shipped_book())
    life.sees("register", NOON)
    life.sees("purchase", NOON + MINUTE)
    applied = list(life.member.applied)
    life.sees("erase", NOON + HOUR)
    applied[0] = 2
    assert life.member.applied == applied
    assert (life.member.order_count, life.member.registered_at, life.member.tracks) == (0, 0, {})
    life.is_saved_and_loaded()
    assert life.member.applied == applied
    life.reaches(NOON + 400 * DAY)
    assert life.raised == ["welcome"]


def test_erase_cancels_what_is_open_also_of_service(tmp_path: Path) -> None:
    when = absence("view_item", "purchase", "1m")
    life = one_rule(tmp_path, when=when, purpose="service")
    life.sees("view_item", NOON)
    life.sees("erase", NOON + HOUR)
    assert life.cancelled == ["r"]


def test_new_events_after_an_erase_begin_again_without_the_past() -> None:
    life = Life(shipped_book())
    life.sees("register", NOON, event_id="e1")
    life.sees("unsubscribed", NOON, channel="all")
    life.sees("erase", NOON + HOUR)
    life.sees("register", NOON + DAY, event_id="e1")
    assert life.raised == ["welcome", "welcome"]
    assert life.member.first_seen == NOON + DAY


def test_on_a_wall_clock_the_stub_of_an_erased_member_goes_after_a_day() -> None:
    life = Life(shipped_book())
    life.sees("purchase", NOON, NOON)
    life.sees("erase", NOON + HOUR, NOON + HOUR)
    life.reaches(NOON + DAY, NOON + DAY)
    assert not is_gone(life.member)
    life.reaches(NOON + HOUR + DAY, NOON + HOUR + DAY)
    assert is_gone(life.member)


# --- sent twice -------------------------------------------------------------------------------


def test_an_event_sent_twice_within_the_last_16_ids_counts_once() -> None:
    life = Life(shipped_book())
    life.sees("purchase", NOON, event_id="again")
    for number in range(15):
        life.sees("visit", NOON + number, event_id=f"v{number}")
    assert life.sees("purchase", NOON + MINUTE, event_id="again").duplicate
    assert life.member.order_count == 1
    assert life.member.applied[4] == 16
    life.sees("visit", NOON + MINUTE, event_id="the 16th")
    assert not life.sees("purchase", NOON + MINUTE, event_id="again").duplicate
    assert life.member.order_count == 2


def test_ids_of_before_a_long_silence_are_forgotten_whether_or_not_a_row_was_saved_in_it() -> None:
    lives = [Life(shipped_book()) for _ in range(2)]
    for life, is_saved in zip(lives, (False, True), strict=True):
        life.sees("purchase", NOON, event_id="old")
        life.reaches(NOON + 91 * DAY)
        if is_saved:
            life.is_saved_and_loaded()
        # What has no id ends the silence as well.
        life.sees("visit", NOON + 92 * DAY)
        assert not life.sees("purchase", NOON + 92 * DAY, event_id="old").duplicate
        life.is_saved_and_loaded()
    assert lives[0].member == lives[1].member


def test_events_without_an_id_are_never_duplicates() -> None:
    life = Life(shipped_book())
    for _ in range(3):
        life.folds(event("purchase", NOON))
    assert life.member.order_count == 3


def test_a_duplicate_does_not_move_time() -> None:
    life = Life(shipped_book())
    life.sees("begin_checkout", NOON, event_id="e")
    life.sees("begin_checkout", NOON + HOUR, event_id="e")
    assert life.raised == []
    assert life.member.advanced_to == NOON


# --- permission -------------------------------------------------------------------------------


OPT_OUT = "consent: opt_out\nchannels: [app_push, sms]\n"
VIEWED = absence("view_item", "purchase", "1m")


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("unsubscribed", {"channel": "sms"}),
        ("unsubscribed", {"channel": "all"}),
        ("complained", {"channel": "email"}),
        ("consent", {"channel": "app_push", "granted": False}),
        ("consent", {"channel": "all", "granted": False}),
        ("ticket_opened", {}),
        ("erase", {}),
    ],
)
def test_open_marketing_is_cancelled_by(tmp_path: Path, kind: str, fields: dict[str, str]) -> None:
    life = one_rule(tmp_path, OPT_OUT, when=VIEWED)
    life.sees("view_item", NOON)
    life.sees(kind, NOON + HOUR, **fields)
    [raised, cancelled] = life.said
    assert isinstance(raised, Trigger)
    assert isinstance(cancelled, TriggerCancelled)
    assert cancelled.trigger_id == raised.trigger_id
    assert parse_instant(cancelled.cancelled_at) == NOON + HOUR


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("unsubscribed", {"channel": "email"}),  # no channel of the trigger
        ("consent", {"channel": "sms", "granted": True}),
        ("consent", {"channel": "sms", "purpose": "service", "granted": False}),
        ("ticket_closed", {}),
        ("visit", {}),
    ],
)
def test_open_marketing_is_not_cancelled_by(
    tmp_path: Path, kind: str, fields: dict[str, str]
) -> None:
    life = one_rule(tmp_path, OPT_OUT, when=VIEWED)
    life.sees("view_item", NOON)
    life.sees(kind, NOON + HOUR, **fields)
    assert (life.raised, life.cancelled) == (["r"], [])


@pytest.mark.parametrize("kind", ["unsubscribed", "complained", "ticket_opened"])
def test_open_service_is_not_cancelled_by_what_is_about_marketing(
    tmp_path: Path, kind: str
) -> None:
    life = one_rule(tmp_path, OPT_OUT, when=VIEWED, purpose="service")
    life.sees("view_item", NOON)
    life.sees(kind, NOON + HOUR)
    assert life.cancelled == []


def test_what_has_expired_is_not_cancelled_any_more(tmp_path: Path) -> None:
    life = one_rule(tmp_path, OPT_OUT, when=VIEWED, expires_after="1h")
    life.sees("view_item", NOON)
    life.sees("complained", NOON + MINUTE + HOUR)
    assert life.cancelled == []


def test_a_refused_channel_is_not_offered_and_the_last_one_silences(tmp_path: Path) -> None:
    life = one_rule(tmp_path, OPT_OUT, when=VIEWED)
    life.sees("unsubscribed", NOON, channel="sms")
    life.sees("view_item", NOON)
    life.reaches(NOON + MINUTE)
    [trigger] = life.said
    assert isinstance(trigger, Trigger)
    assert trigger.channels == ("app_push",)
    life.sees("unsubscribed", NOON + HOUR, channel="app_push")
    life.sees("view_item", NOON + HOUR)
    life.reaches(NOON + 2 * HOUR)
    assert life.verdicts[-1] == ("r", "consent")


def test_consent_given_again_opens_again(tmp_path: Path) -> None:
    life = one_rule(tmp_path, OPT_OUT, when=VIEWED)
    life.sees("complained", NOON)
    life.sees("view_item", NOON)
    life.sees("consent", NOON + HOUR, channel="sms", granted=True)
    life.sees("view_item", NOON + HOUR)
    life.reaches(NOON + 2 * HOUR)
    assert life.verdicts == [("r", "consent"), ("r", "raised")]
    [trigger] = life.said
    assert isinstance(trigger, Trigger)
    assert trigger.channels == ("sms",)


def test_an_older_word_that_arrives_later_does_not_overrule_a_newer() -> None:
    life = Life(shipped_book())
    life.sees("unsubscribed", NOON + MINUTE, channel="sms")
    life.sees("consent", NOON, channel="sms", granted=True)
    life.sees("begin_checkout", NOON + 2 * MINUTE)
    life.reaches(NOON + HOUR)
    [trigger] = life.said
    assert isinstance(trigger, Trigger)
    assert "sms" not in trigger.channels


def test_of_two_words_at_one_instant_the_later_topic_is_the_last_in_any_order_of_arrival() -> None:
    for first, second in (("consent", "unsubscribed"), ("unsubscribed", "consent")):
        life = Life(shipped_book())
        life.sees(first, NOON, channel="sms")
        life.sees(second, NOON, channel="sms")
        # member comes before engagement
        life.sees("begin_checkout", NOON + MINUTE)
        life.reaches(NOON + HOUR)
        [trigger] = life.said
        assert isinstance(trigger, Trigger)
        assert trigger.channels == ("app_push", "email", "wechat")


def test_without_a_policy_every_candidate_becomes_a_trigger(tmp_path: Path) -> None:
    life = one_rule(tmp_path, "", when=VIEWED)
    life.sees("complained", NOON)
    life.sees("view_item", NOON)
    life.reaches(NOON + HOUR)
    assert life.raised == ["r"]


# --- no reason --------------------------------------------------------------------------------


def test_no_first_purchase_reminder_for_who_bought_a_minute_before_registering() -> None:
    life = Life(shipped_book())
    life.sees("purchase", NOON - MINUTE)
    life.sees("register", NOON)
    life.reaches(NOON + 20 * DAY)
    assert not [rule for rule in life.raised if rule.startswith("first_purchase")]
    assert ("first_purchase_reminder_7d", "unless") in life.verdicts


def test_also_when_that_purchase_is_heard_of_after_the_registration() -> None:
    life = Life(shipped_book())
    life.sees("register", NOON)
    life.sees("purchase", NOON - MINUTE)
    life.reaches(NOON + 20 * DAY)
    assert not [rule for rule in life.raised if rule.startswith("first_purchase")]


def test_each_first_purchase_reminder_takes_the_place_of_the_one_before() -> None:
    life = Life(shipped_book())
    life.sees("register", NOON)
    life.reaches(NOON + 8 * DAY)
    reminders = [f"first_purchase_reminder_{n}d" for n in (1, 3, 7)]
    assert [rule for rule in life.raised if rule in reminders] == reminders
    assert life.cancelled == reminders[:2]
    life.sees("purchase", NOON + 8 * DAY)
    assert life.cancelled == reminders


def test_no_long_time_no_see_for_who_browsed_last_night_though_they_do_not_order(
    tmp_path: Path,
) -> None:
    life = Life(plain_book(tmp_path / "rules"))
    life.sees("purchase", NOON)
    for day in range(1, 31):
        life.sees("view_item", NOON + day * DAY - 12 * HOUR)
    life.reaches(NOON + 30 * DAY)
    assert "no_order_30d" in life.raised
    assert not [rule for rule in life.raised if rule.startswith("inactive")]


def test_one_recall_is_open_at_a_time_and_a_visit_ends_it(tmp_path: Path) -> None:
    life = Life(plain_book(tmp_path / "rules"))
    life.sees("purchase", NOON)
    life.reaches(NOON + 62 * DAY)
    assert life.raised == [
        *("inactive_30d", "no_order_30d"),
        *("inactive_60d", "no_order_60d", "second_purchase_due"),
    ]
    assert life.cancelled == ["inactive_30d", "inactive_60d"]
    life.sees("visit", NOON + 62 * DAY)
    assert life.cancelled == ["inactive_30d", "inactive_60d", "no_order_60d"]
    # The deadlines of orders move with orders only.
    life.reaches(NOON + 90 * DAY)
    assert life.raised[-1] == "no_order_90d"


def test_a_newer_recall_takes_the_place_of_one_that_is_still_open(tmp_path: Path) -> None:
    rules = [
        {"rule": f"gone_{n}d", "when": absence("visit", "visit", f"{n}d"), "episode": "recall"}
        | {"expires_after": "30d"}
        for n in (1, 2)
    ]
    life = Life(book_of(write_rules(tmp_path / "rules", *rules)))
    life.sees("visit", NOON)
    life.reaches(NOON + 2 * DAY)
    cancelled = [m for m in life.said if isinstance(m, TriggerCancelled)]
    assert [c.rule for c in cancelled] == ["gone_1d"]
    assert parse_instant(cancelled[0].cancelled_at) == NOON + 2 * DAY


def test_an_order_in_the_last_week_silences_the_browse_reminder_to_the_millisecond() -> None:
    for gap, raised in ((7 * DAY, []), (7 * DAY + 1, ["browse_abandoned"])):
        life = Life(shipped_book())
        life.sees("purchase", NOON)
        life.sees("view_item", NOON + gap - 2 * HOUR)
        life.reaches(NOON + gap)
        assert life.raised == raised


def test_an_emptied_cart_is_no_abandoned_cart() -> None:
    life = Life(shipped_book())
    life.sees("add_to_cart", NOON, item_id="a", quantity=2)
    life.sees("add_to_cart", NOON, item_id="b")
    life.sees("remove_from_cart", NOON + SECOND, item_id="a", quantity=2)
    life.sees("remove_from_cart", NOON + 2 * SECOND, item_id="b")
    life.reaches(NOON + 2 * HOUR)
    assert "cart_abandoned" not in life.raised


def test_a_cart_that_holds_one_more_is_abandoned() -> None:
    life = Life(shipped_book())
    life.sees("add_to_cart", NOON, item_id="a", quantity=2)
    life.sees("remove_from_cart", NOON + SECOND, item_id="a")
    life.reaches(NOON + 2 * HOUR)
    assert life.raised == ["cart_abandoned"]
    [trigger] = life.said
    assert isinstance(trigger, Trigger)
    assert [(item.item_id, item.quantity) for item in trigger.context.cart] == [("a", 1.0)]


def test_buying_in_the_store_leaves_the_cart_as_it_was() -> None:
    life = Life(shipped_book())
    life.sees("add_to_cart", NOON, item_id="a")
    life.sees("purchase", NOON + 2 * HOUR, items=lines("b", "c"))
    life.sees("add_to_cart", NOON + 30 * HOUR, item_id="d")
    life.reaches(NOON + 31 * HOUR)
    trigger = life.said[-1]
    assert isinstance(trigger, Trigger)
    assert {item.item_id for item in trigger.context.cart} == {"a", "d"}


def test_an_empty_category_ties_nothing_together(tmp_path: Path) -> None:
    when = absence("view_item", {"event": "purchase", "same": "category"}, "1m")
    life = one_rule(tmp_path, when=when)
    life.sees("view_item", NOON, category="tea")
    life.sees("purchase", NOON + SECOND, items=[{"item_id": "x", "category": ""}])
    life.sees("view_item", NOON + 2 * SECOND, category="")
    life.reaches(NOON + HOUR)
    occasions = [m.occasion for m in life.said if isinstance(m, Trigger)]
    assert occasions == [f"category=tea|{NOON}"]


def test_nothing_is_due_for_a_member_of_whom_nothing_is_known() -> None:
    life = Life(shipped_book())
    life.reaches(NOON + 1000 * DAY)
    assert life.said == []
    assert life.member.stage == Member("m1", False).stage
