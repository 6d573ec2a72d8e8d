"""What waits because a feed is silent, a breaker open or an operator said so, member by member."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from audience_kit import book_with
from core_builders import DAY, HOUR, MINUTE, NOON, SECOND, absence, received
from policy_kit import Judged, living, on

from models.closures import NOTHING, Closed, SilentFeed
from models.engine import advance, handle
from models.facts import ACTIVITY
from models.outcome import Context, Outcome
from models.pressure import LOOK_AGAIN
from models.standing import OPENING
from models.times import rfc3339

NO_ORDER = {"rule": "no_order", "when": absence("visit", "purchase", "2h"), "expires_after": "6h"}
HELLO = on("visit", "hello")
ORDERS_SILENT = Closed(
    {"purchase": (SilentFeed("purchase", "pos", "purchase from pos is silent"),)}
)
RUN_AWAY = Closed({}, {"hello": "the breaker of hello is open"})
LATE = {"late_for_member": {"percentile": 90, "typical": "30d", "fixed": "60d"}}
DUE = NOON + 2 * HOUR
LATEST_LOOK = 2 * LOOK_AGAIN


class Guarded(Judged):
    """A life for which things may be closed."""

    closed: Closed = NOTHING

    def folds(self, found: Any, now: int | None = None) -> Outcome:
        self._offset += 1
        context = Context(self.book, now, self.closed)
        return self._keep(handle(self.member, received(found, self._offset), context))

    def reaches(self, at: int, now: int | None = None) -> Outcome:
        return self._keep(advance(self.member, at, Context(self.book, now, self.closed)))


def guarded(
    policy: dict[str, Any], *rules: dict[str, Any], closed: Closed, name: str = "m1"
) -> Guarded:
    life = Guarded(living(policy, *rules).book, name)
    life.closed = closed
    return life


def said(then: str, about: Any, since: int = 0, until: int = DAY) -> dict[str, Any]:
    """An operator's word, from and until instants after noon."""
    return {
        then: about,
        "from": rfc3339(NOON + since),
        "until": rfc3339(NOON + until),
        "by": "ann",
        "reason": "the tills are down",
    }


# --- silent feeds ---------------------------------------------------------------------------------


def test_what_is_concluded_from_silence_on_a_silent_feed_waits_and_says_why() -> None:
    life = guarded({}, NO_ORDER, closed=ORDERS_SILENT)
    life.sees("visit", NOON)
    life.reaches(DUE)
    (decision,) = life.decisions
    assert (decision.verdict, decision.why) == ("suspended", "purchase from pos is silent")
    assert decision.until is not None
    assert rfc3339(DUE + LOOK_AGAIN) <= decision.until < rfc3339(DUE + LATEST_LOOK)
    assert life.raised == []


def test_what_is_concluded_from_something_else_does_not_wait() -> None:
    life = guarded({}, NO_ORDER, HELLO, closed=ORDERS_SILENT)
    life.sees("visit", NOON)
    assert life.raised == ["hello"]


def test_it_is_said_once_however_often_it_is_asked_again() -> None:
    life = guarded({}, NO_ORDER, closed=ORDERS_SILENT)
    life.sees("visit", NOON)
    for minute in range(0, 5 * 60, 5):
        life.reaches(DUE + minute * MINUTE)
        life.is_saved_and_loaded()
    assert life.verdicts_of("no_order") == ["suspended"]
    assert life.member.standing is not None
    (held,) = life.member.standing.held
    assert held.waits_for == OPENING


def test_it_goes_out_once_when_the_feed_is_back_as_what_it_was() -> None:
    life = guarded({}, NO_ORDER, closed=ORDERS_SILENT)
    life.sees("visit", NOON)
    life.reaches(DUE + HOUR)
    life.closed = NOTHING
    life.reaches(DUE + HOUR + LATEST_LOOK)
    life.reaches(DUE + 5 * HOUR)
    assert life.verdicts_of("no_order") == ["suspended", "raised"]
    (trigger,) = life.triggers
    assert trigger.due_at == rfc3339(DUE)
    assert rfc3339(DUE + HOUR) < trigger.not_before < rfc3339(DUE + HOUR + LATEST_LOOK)
    free = guarded({}, NO_ORDER, closed=NOTHING)
    free.sees("visit", NOON)
    free.reaches(DUE)
    assert trigger.trigger_id == free.triggers[0].trigger_id
    assert trigger.reason == free.triggers[0].reason


def test_they_do_not_all_leave_in_one_second() -> None:
    begins = set()
    for number in range(200):
        life = guarded({}, NO_ORDER, closed=ORDERS_SILENT, name=f"m{number}")
        life.sees("visit", NOON)
        life.reaches(DUE)
        life.closed = NOTHING
        life.reaches(DUE + LATEST_LOOK)
        begins.add(life.triggers[0].not_before[:16])
    assert len(begins) > 10


@pytest.mark.parametrize(("back_after", "last"), [(5 * HOUR, "raised"), (7 * HOUR, "expired")])
def test_on_release_what_has_expired_is_decided_expired(back_after: int, last: str) -> None:
    life = guarded({}, NO_ORDER, closed=ORDERS_SILENT)
    life.sees("visit", NOON)
    life.reaches(DUE + back_after)
    life.closed = NOTHING
    life.reaches(DUE + DAY)
    assert life.verdicts_of("no_order") == ["suspended", last]


def test_the_order_that_comes_late_after_all_takes_it_back() -> None:
    life = guarded({}, NO_ORDER, closed=ORDERS_SILENT)
    life.sees("visit", NOON)
    life.reaches(DUE + 2 * HOUR)
    life.sees("purchase", NOON + HOUR)
    life.closed = NOTHING
    life.reaches(DUE + DAY)
    assert life.verdicts_of("no_order") == ["suspended", "overtaken"]


def test_on_release_the_whole_policy_is_asked_again() -> None:
    night = {"quiet_hours": {"from": "15:00", "to": "16:30", "then": "defer"}}
    life = guarded(
        night | {"caps": [{"at_most": 1, "per": "day"}]}, NO_ORDER, HELLO, closed=ORDERS_SILENT
    )
    life.sees("visit", NOON)
    life.reaches(NOON + 3 * HOUR)
    life.closed = NOTHING
    life.reaches(NOON + 7 * HOUR)
    assert life.verdicts_of("no_order") == ["suspended", "cap"]
    life = guarded(night, NO_ORDER, closed=ORDERS_SILENT)
    life.sees("visit", NOON)
    life.reaches(NOON + 3 * HOUR)
    life.closed = NOTHING
    life.reaches(NOON + 7 * HOUR)
    assert life.verdicts_of("no_order") == ["suspended", "held", "raised"]


def test_what_is_forbidden_does_not_wait_to_be_forbidden() -> None:
    life = guarded(
        {"consent": {"marketing": "denied", "service": "allowed"}}, NO_ORDER, closed=ORDERS_SILENT
    )
    life.sees("visit", NOON)
    life.reaches(DUE)
    assert life.verdicts_of("no_order") == ["consent"]


def test_a_control_group_is_not_chosen_from_a_silence() -> None:
    policy = {"holdout": {"salt": "s", "everything": "100%"}}
    life = guarded(policy, NO_ORDER, closed=ORDERS_SILENT)
    life.sees("visit", NOON)
    life.reaches(DUE + DAY)
    assert life.verdicts_of("no_order") == ["suspended", "expired"]


def test_a_shadow_rule_waits_like_a_live_one() -> None:
    life = guarded({}, NO_ORDER | {"mode": "shadow"}, closed=ORDERS_SILENT)
    life.sees("visit", NOON)
    life.reaches(DUE)
    life.closed = NOTHING
    life.reaches(DUE + HOUR)
    assert life.verdicts_of("no_order") == ["suspended", "shadow"]


def test_what_is_late_already_is_expired_and_does_not_wait() -> None:
    short = on("visit", "hello", expires_after="1s")
    life = guarded({}, short, closed=Closed({}, {"hello": "open"}))
    life.sees("visit", NOON + MINUTE)
    life.sees("visit", NOON)
    assert life.verdicts_of("hello") == ["suspended", "expired"]
    life.reaches(NOON + MINUTE + SECOND)
    assert life.verdicts_of("hello") == ["suspended", "expired", "expired"]


# --- the breaker ----------------------------------------------------------------------------------


def test_a_rule_whose_breaker_is_open_waits_and_the_others_do_not() -> None:
    life = guarded({}, HELLO, on("visit", "bye"), closed=RUN_AWAY)
    life.sees("visit", NOON)
    assert (life.raised, life.verdicts_of("hello")) == (["bye"], ["suspended"])
    life.closed = NOTHING
    life.reaches(NOON + HOUR)
    assert life.raised == ["bye", "hello"]


# --- an operator's word ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "closed", "hello", "no_order"),
    [
        ([said("hold", {"rule": "hello"})], NOTHING, "suspended", "raised"),
        ([said("hold", {"feed": "purchase"})], NOTHING, "raised", "suspended"),
        ([said("hold", {"feed": "purchase/pos"})], NOTHING, "raised", "suspended"),
        ([said("hold", {"feed": "search"})], NOTHING, "raised", "raised"),
        ([said("hold", "everything")], NOTHING, "suspended", "suspended"),
        ([said("release", {"rule": "no_order"})], ORDERS_SILENT, "raised", "raised"),
        ([said("release", {"rule": "hello"})], ORDERS_SILENT, "raised", "suspended"),
        ([said("release", {"feed": "purchase"})], ORDERS_SILENT, "raised", "raised"),
        ([said("release", {"feed": "purchase/pos"})], ORDERS_SILENT, "raised", "raised"),
        ([said("release", {"feed": "purchase/web"})], ORDERS_SILENT, "raised", "suspended"),
        ([said("release", {"feed": "visit"})], RUN_AWAY, "suspended", "raised"),
        ([said("release", "everything")], RUN_AWAY, "raised", "raised"),
        (
            [said("hold", "everything"), said("release", {"rule": "hello"})],
            RUN_AWAY,
            "raised",
            "suspended",
        ),
        (
            [said("release", "everything"), said("hold", {"feed": "purchase"})],
            ORDERS_SILENT,
            "raised",
            "suspended",
        ),
        (
            [said("release", {"rule": "hello"}), said("hold", {"rule": "hello"})],
            NOTHING,
            "suspended",
            "raised",
        ),
        ([said("hold", {"rule": "hello"}, until=-HOUR, since=-DAY)], NOTHING, "raised", "raised"),
    ],
)
def test_an_operators_word_goes_before_what_the_guard_thinks(
    words: list[dict[str, Any]], closed: Closed, hello: str, no_order: str
) -> None:
    life = guarded({"overrides": words}, HELLO, NO_ORDER, closed=closed)
    life.sees("visit", NOON)
    life.reaches(DUE)
    assert (life.verdicts_of("hello")[0], life.verdicts_of("no_order")[0]) == (hello, no_order)


@pytest.mark.parametrize(
    ("at", "verdict"),
    [(-1, "raised"), (0, "suspended"), (HOUR - 1, "suspended"), (HOUR, "raised")],
)
def test_a_word_holds_from_its_beginning_until_just_before_its_end(at: int, verdict: str) -> None:
    life = guarded({"overrides": [said("hold", "everything", until=HOUR)]}, HELLO, closed=NOTHING)
    life.sees("visit", NOON + at)
    assert life.verdicts_of("hello") == [verdict]


def test_a_word_is_said_with_whose_it_is_and_ends_by_itself() -> None:
    life = guarded(
        {"overrides": [said("hold", {"rule": "hello"}, until=HOUR)]}, HELLO, closed=NOTHING
    )
    life.sees("visit", NOON)
    assert life.last("hello").why == f"held until {rfc3339(NOON + HOUR)} by ann: the tills are down"
    life.reaches(NOON + HOUR - 1)
    assert life.verdicts_of("hello") == ["suspended"]
    life.reaches(NOON + HOUR + LATEST_LOOK)
    assert life.verdicts_of("hello") == ["suspended", "raised"]


def test_a_release_that_ends_lets_the_guard_speak_again() -> None:
    policy = {"overrides": [said("release", {"feed": "purchase"}, until=DUE - NOON)]}
    life = guarded(policy, NO_ORDER, closed=ORDERS_SILENT)
    life.sees("visit", NOON - SECOND)
    life.sees("visit", NOON - SECOND - 2 * HOUR)
    life.reaches(DUE)
    assert life.verdicts_of("no_order") == ["raised"]
    life.sees("visit", DUE)
    life.reaches(DUE + 2 * HOUR)
    assert life.verdicts_of("no_order") == ["raised", "suspended"]


# --- which rules conclude from what ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "types"),
    [
        (HELLO, set()),
        (NO_ORDER, {"purchase"}),
        (
            HELLO
            | {"when": {"event": "visit", "unless": {"orders": {"at_least": 1, "within": "7d"}}}},
            {"purchase"},
        ),
        (HELLO | {"if": {"orders": {"below": 1}}}, {"purchase"}),
        (HELLO | {"if": {"orders": {"at_least": 1}}}, set()),
        (HELLO | {"if": {"not": [{"orders": {"at_least": 1}}]}}, {"purchase"}),
        (HELLO | {"if": {"not": [{"orders": {"below": 1}}]}}, set()),
        (HELLO | {"when": {"stage_entered": "loyal"}}, set()),
        (HELLO | {"when": {"stage_entered": "active"}}, set()),
        (HELLO | {"when": {"stage_left": "lost"}}, set()),
        (
            HELLO | {"when": {"series": {"after": "register", "steps": ["1d"], "until": "search"}}},
            {"search"},
        ),
        (HELLO | {"when": LATE}, {"purchase"}),
        (HELLO | {"when": {"activity_drop": {"below": 0.3, "for": "7d"}}}, set(ACTIVITY)),
        (HELLO | {"if": {"last_activity": {"older_than": "30d"}}}, set(ACTIVITY)),
        (HELLO | {"if": {"last_order": {"older_than": "30d"}}}, {"purchase"}),
        (HELLO | {"if": {"last_order": {"newer_than": "30d"}}}, set()),
        (HELLO | {"if": {"counts": {"review": {"below": 1}}}}, {"review"}),
        (HELLO | {"if": {"rfm": {"recency": {"below": 3}}}}, {"purchase"}),
        (HELLO | {"if": {"rfm": {"monetary": {"at_least": 3}}}}, set()),
    ],
)
def test_a_rule_concludes_from_the_absence_of(rule: dict[str, Any], types: set[str]) -> None:
    book = living({}, rule).book
    assert book.awaited[rule["rule"]] == types


def test_a_segment_is_entered_and_left_by_silence_or_by_what_happens(tmp_path: Path) -> None:
    segments = {
        "quiet": {"last_order": {"older_than": "60d"}},
        "recent": {"last_order": {"newer_than": "60d"}},
    }
    moves = [
        on("visit", f"{segment}_{move}") | {"when": {f"segment_{move}": segment}}
        for segment in segments
        for move in ("entered", "left")
    ]
    awaited = book_with(tmp_path, segments, *moves).awaited
    orders = {"purchase"}
    assert (awaited["quiet_entered"], awaited["quiet_left"]) == (orders, set())
    assert (awaited["recent_entered"], awaited["recent_left"]) == (set(), orders)


def test_what_time_alone_brings_about_concludes_from_every_sign_of_life() -> None:
    dormant = living({}, HELLO | {"when": {"stage_entered": "dormant"}}).book.awaited["hello"]
    assert dormant >= {"visit", "purchase", "view_item"}
    emptied = living({}, HELLO | {"when": absence("add_to_cart", "cart_emptied", "2h")}).book
    assert emptied.awaited["hello"] == {"purchase", "remove_from_cart"}


# --- unguarded ------------------------------------------------------------------------------------


def test_without_a_guard_everything_is_as_it_was() -> None:
    outcomes = []
    policies: list[dict[str, Any]] = [
        {},
        {"feeds": {}, "breaker": {}},
        {"overrides": [said("hold", "everything", -DAY, -HOUR)]},
    ]
    for policy in policies:
        life = living(policy, HELLO, NO_ORDER)
        life.sees("visit", NOON)
        life.reaches(NOON + DAY)
        said_of_it = [[outcome.triggers, outcome.decisions] for outcome in life.outcomes]
        outcomes.append((msgspec.json.encode(said_of_it), life.is_saved_and_loaded()))
    assert outcomes[0] == outcomes[1] == outcomes[2]
