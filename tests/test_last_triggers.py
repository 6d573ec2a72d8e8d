"""The document tells the last triggers of a member, and what became of them, if it is known."""

from typing import Any

from core_builders import DAY, HOUR, MINUTE, NOON
from policy_kit import Judged, living, on

from models.projection import TOLD_TRIGGERS, project
from models.times import rfc3339
from models.triggers import LastTrigger

OFTEN: dict[str, Any] = {"per": "member", "every": "1s"}
HELLO = on("visit", "hello", reentry=OFTEN)
OF_ITEM = on("add_to_cart", "of_item", reentry={"per": "item_id", "every": "1s"})
BACK: dict[str, Any] = {
    "rule": "back",
    "when": {"absence": {"after": {"event": "visit"}, "of": {"event": "purchase"}, "within": "1h"}},
    "reentry": {"per": "member", "every": "30d"},
    "expires_after": "3d",
}
TOLD_OF_SENDING = {"sent_is_reported": True, "caps": [{"at_most": 20, "per": "day"}]}


def told(life: Judged) -> list[tuple[str, str, str]]:
    """Return rule, due instant and outcome, as they are told after the row was read again."""
    life.is_saved_and_loaded()
    return [(one.rule, one.due_at, one.outcome) for one in document(life)]


def document(life: Judged) -> tuple[LastTrigger, ...]:
    return project(life.member, None, life.book).last_triggers


def test_who_never_got_a_trigger_has_none() -> None:
    life = living({}, HELLO)
    life.sees("search", NOON)
    assert told(life) == []


def test_the_newest_come_first_with_the_ids_by_which_they_are_open() -> None:
    life = living({}, HELLO, BACK)
    life.sees("visit", NOON)
    life.reaches(NOON + HOUR)
    assert told(life) == [
        ("back", rfc3339(NOON + HOUR), "open"),
        ("hello", rfc3339(NOON), "open"),
    ]
    assert [one.trigger_id for one in document(life)] == [
        trigger.trigger_id for trigger in reversed(life.triggers)
    ]


def test_what_is_open_no_more_is_over_and_what_was_withdrawn_is_not_told() -> None:
    life = living({}, HELLO, BACK)
    life.sees("visit", NOON)
    life.reaches(NOON + 10 * DAY)
    life.sees("visit", NOON + 10 * DAY)
    assert told(life) == [
        ("hello", rfc3339(NOON + 10 * DAY), "open"),
        ("back", rfc3339(NOON + HOUR), "over"),
    ]
    assert [one.trigger_id is None for one in document(life)] == [False, True]


def test_what_is_told_of_a_key_is_told_of_its_rule() -> None:
    life = living({}, {**OF_ITEM, "reentry": {"per": "item_id", "every": "30d"}})
    life.sees("add_to_cart", NOON, item_id="tea")
    life.sees("add_to_cart", NOON + MINUTE, item_id="cups")
    life.reaches(NOON + 10 * DAY)
    assert told(life) == [
        ("of_item", rfc3339(NOON + MINUTE), "over"),
        ("of_item", rfc3339(NOON), "over"),
    ]


def test_what_the_gateway_said_is_told_while_the_trigger_is_open() -> None:
    life = living(TOLD_OF_SENDING, HELLO)
    life.sees("visit", NOON)
    life.sees("visit", NOON + MINUTE)
    sent, failed = (trigger.trigger_id for trigger in life.triggers)
    life.sees("sent", NOON + 2 * MINUTE, trigger_id=sent, channel="sms")
    life.sees("failed", NOON + 2 * MINUTE, trigger_id=failed, channel="sms")
    assert told(life) == [
        ("hello", rfc3339(NOON + MINUTE), "not_sent"),
        ("hello", rfc3339(NOON), "sent"),
    ]


def test_only_the_newest_few_are_told() -> None:
    life = living({}, HELLO)
    for number in range(TOLD_TRIGGERS + 2):
        life.sees("visit", NOON + number * MINUTE)
    newest = [NOON + number * MINUTE for number in range(TOLD_TRIGGERS + 1, 1, -1)]
    assert told(life) == [("hello", rfc3339(at), "open") for at in newest]


def test_of_a_rule_that_is_gone_nothing_is_told_but_what_is_open() -> None:
    life = living({}, HELLO, BACK)
    life.sees("visit", NOON)
    life.reaches(NOON + 10 * DAY)
    life.sees("visit", NOON + 10 * DAY)
    told_without = project(life.member, None, living({}, HELLO).book).last_triggers
    assert [one.rule for one in told_without] == ["hello"]
    assert [one.rule for one in project(life.member, None).last_triggers] == ["hello"]
