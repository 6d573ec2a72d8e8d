"""What people expect of each shipped rule, said a second time, and made into cases for the engine.

The rule files say what the engine does; this table says what it must do. Each row is written from
the rule's purpose, and nothing here reads the rule files. From one case of the rule's own test file
in which it is raised, a row makes the cases at every edge: how long the trigger may be taken back
and by what, which events begin and end a wait, and when it may be raised again.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import msgspec
from core_builders import event, received
from msgspec.structs import replace

from app.rule_cases import Case, Expected, Result
from app.rule_tests import Failure, run_cases
from config.paths import LoadedConfig
from models.times import parse_duration

Kind: TypeAlias = str | dict[str, Any]
"""An event's type, or the event as a test file has it, without its time."""


class Facts(msgspec.Struct, frozen=True):
    """One row of the table.

    ``open_for``: how long after being raised the trigger may still be taken back. ``back``: what
    takes it back. ``stands``: what it outlasts. ``wait``: how long nothing of ``ends`` may have
    happened since the last of ``begins`` (a minute after what is ``given``); what ends a wait also
    takes the trigger back. ``again``:
    ``once``, ``always`` or the shortest time between two; None where it is no matter of time.
    """

    open_for: str
    back: tuple[Kind, ...] = ()
    stands: tuple[Kind, ...] = ()
    wait: str | None = None
    given: tuple[Kind, ...] = ()
    begins: tuple[Kind, ...] = ()
    ends: tuple[Kind, ...] = ()
    again: str | None = None


ORDERED = ("order_placed", "purchase")
SIGNS = ("visit", "view_item", "search", "add_to_cart", "begin_checkout", *ORDERED)
DOING = (*SIGNS, "remove_from_cart")
TICKET = {"type": "ticket_opened", "ticket_id": "t1"}
RETURN = {"type": "return_requested", "order_id": "o1"}
REFUND = {"type": "refund", "order_id": "o1", "amount": 20}


def review(rating: float) -> Kind:
    return {"type": "review", "item_id": "tea", "rating": rating}


def tier(name: str, **more: Any) -> Kind:
    return {"type": "tier", "tier": name, **more}


def silence(
    wait: str, open_for: str, again: str | None, *more: Kind, given: tuple[Kind, ...] = ()
) -> Facts:
    """Nothing was seen of the member for so long."""
    return Facts(open_for, more, wait=wait, given=given, begins=DOING, ends=DOING, again=again)


def no_order(wait: str, open_for: str, again: str, back: tuple[Kind, ...] = SIGNS) -> Facts:
    """There was no paid order for so long; one that is still to be paid takes the word back."""
    bought = ("purchase",)
    return Facts(open_for, back, wait=wait, begins=bought, ends=bought, again=again)


FACTS: dict[str, Facts] = {
    "activation_stalled": Facts("7d", SIGNS, stands=("remove_from_cart",)),
    "activation_steps": Facts(
        "18h",
        wait="5d",
        begins=("register",),
        ends=(*ORDERED, "add_to_cart", review(3), "share", "campaign_join"),
    ),
    "advocate_identified": Facts(
        "30d", (review(1), review(2)), stands=(review(3), review(5), "share"), again="365d"
    ),
    "after_sales_care": Facts("3d", wait="2d", ends=(TICKET, RETURN, "complained"), again="14d"),
    "became_active": Facts("7d"),
    "became_dormant": Facts("14d", SIGNS),
    "became_lost": Facts("30d", SIGNS, again="always"),
    "became_loyal": Facts("7d"),
    "beta_access": Facts(
        "30d",
        (tier("gold"), tier("silver"), tier("bronze")),
        stands=(tier("platinum"), tier("diamond")),
    ),
    "birthday": Facts("7d"),
    "browse_abandoned": Facts(
        "24h",
        wait="2h",
        begins=("view_item",),
        ends=(*ORDERED, "add_to_cart", "begin_checkout"),
        again="7d",
    ),
    "cart_abandoned": Facts(
        "24h",
        wait="1h",
        begins=("add_to_cart",),
        ends=(*ORDERED, "begin_checkout"),
        again="1d",
    ),
    "checklist_completed": Facts("3d", (review(1), review(2))),
    "checkout_abandoned": Facts(
        "24h", wait="30m", begins=("begin_checkout",), ends=ORDERED, again="1d"
    ),
    "churn_risk_fell": Facts("7d", (TICKET, RETURN), stands=("visit", "purchase"), again="60d"),
    "churn_risk_high": Facts("7d", SIGNS, again="60d"),
    "churn_warning": Facts("7d", SIGNS),
    "complete_profile": Facts("7d", wait="9d", begins=("register",), ends=("profile",)),
    "event_followup": Facts("2d", wait="1d", begins=("attended",), ends=ORDERED, again="7d"),
    "exit_survey": silence("195d", "30d", "once", "survey", given=("purchase",)),
    "first_purchase_reminder_1d": Facts("3d", wait="1d", begins=("register",), ends=ORDERED),
    "first_purchase_reminder_3d": Facts("5d", wait="3d", begins=("register",), ends=ORDERED),
    "first_purchase_reminder_7d": Facts("7d", wait="7d", begins=("register",), ends=ORDERED),
    "guide_first_cart": Facts(
        "20h", wait="4d", begins=("register",), ends=("add_to_cart", "begin_checkout", *ORDERED)
    ),
    "guide_first_look": Facts(
        "14h",
        wait="6h",
        begins=("register",),
        ends=("view_item", "search", "add_to_cart", "begin_checkout", *ORDERED),
    ),
    "inactive_30d": silence("30d", "7d", "always"),
    "inactive_60d": silence("60d", "14d", "always"),
    "inactive_90d": silence("90d", "14d", "always"),
    "late_for_member": Facts("14d", SIGNS, stands=("remove_from_cart",)),
    "member_day": Facts("12h", ORDERED, stands=("visit",)),
    "mid_autumn": Facts("2d"),
    "near_upgrade": Facts(
        "14d",
        (tier("gold", missing=100), tier("gold", missing=5000)),
        again="30d",
    ),
    "new_member_invitation": Facts("7d", wait="12d", begins=("register",)),
    "no_order_30d": no_order("30d", "7d", "always"),
    "no_order_60d": no_order("60d", "14d", "always"),
    "no_order_90d": no_order("90d", "14d", "always"),
    "offer_expiring": Facts("36h"),
    "peak_double_11": Facts("86h", ORDERED, stands=("visit",)),
    "peak_june_18": Facts("86h", ORDERED, stands=("visit",)),
    "points_acceleration": Facts("7d"),
    "points_expiring": Facts(
        "13d",
        ({"type": "points", "balance": 5, "expiring": 0},),
        stands=({"type": "points", "balance": 5, "expiring": 1},),
    ),
    "points_reward": Facts("3d"),
    "recently_viewed_on_return": Facts("24h", ORDERED),
    "referral_thanks": Facts("3d", again="1d"),
    "regulars_day": Facts("12h", ORDERED, stands=("visit",)),
    "repeated_view": Facts("14h", ORDERED, stands=("view_item",), again="14d"),
    "return_visit": no_order("75d", "14d", "always"),
    "returned_from_lost": Facts("3d", ORDERED),
    "review_request": Facts(
        "7d",
        wait="7d",
        begins=("order_delivered",),
        ends=(review(5), "rating", RETURN, TICKET, REFUND),
        again="30d",
    ),
    "save_valuable": silence("45d", "14d", "90d"),
    "second_purchase_due": Facts(
        "14d",
        ("order_placed",),
        wait="60d",
        begins=("purchase",),
        ends=("purchase",),
        stands=("visit",),
    ),
    "spring_festival": Facts("2d"),
    "sunset_candidate": silence("365d", "30d", None, "clicked", "opened", "consent", "register"),
    "tier_at_risk": Facts("21d", (*ORDERED, tier("gold"))),
    "unhappy_review": Facts(
        "2d", (TICKET, review(4), review(5)), stands=(review(3), review(3.99)), again="7d"
    ),
    "vip_lapsing": Facts("14d", ("order_placed",), wait="50d", ends=("purchase",), again="90d"),
    "vip_qualified": Facts("14d", (REFUND, {"type": "cancel", "order_id": "o1"})),
    "welcome": Facts("24h", again="once"),
    "win_back_ladder": Facts("14d", SIGNS, wait="165d", begins=("purchase",), ends=("purchase",)),
}

# What an event must have beside its type and time.
_NEEDED: dict[str, dict[str, Any]] = {
    "order_placed": {"order_id": "o2"},
    "order_delivered": {"order_id": "o1"},
    "campaign_join": {"campaign": "spring"},
    "rating": {"item_id": "tea"},
    "opened": {"channel": "email"},
    "clicked": {"channel": "email"},
    "survey": {"survey_id": "s1", "answers": {}},
}
_LATER = 400 * parse_duration("1d")
_MINUTE = parse_duration("1m")


def failures_of(
    rule: str, cases: Sequence[Case], config: LoadedConfig, *, first: bool = False
) -> list[Failure]:
    """Return the cases of the row that go otherwise; only the first of them when asked so.

    The rule stands alone, so that no other takes its place meanwhile; in shadow it is tried as if
    it were live.
    """
    (mine,) = [found for found in config.rules if found.name == rule]
    alone = replace(config, rules=(replace(mine, mode="live"),))
    failed: list[Failure] = []
    for case in cases_of(FACTS[rule], cases):
        failed += run_cases([(rule, case)], alone)
        if failed and first:
            break
    return failed


def cases_of(facts: Facts, cases: Iterable[Case]) -> Iterator[Case]:
    """Make the cases of a row from the cases of the rule's own test file."""
    base = _raised_case(cases)
    raised = base.expect[-1].at
    ends = raised + parse_duration(facts.open_for)
    mute = {"type": "mute", "until": ends + _LATER}
    yield _and(base, mute, ends - 1, "cancelled", "to the last millisecond")
    yield _and(base, mute, ends, None, "and no longer")
    for kind in facts.back:
        yield _and(base, kind, raised + _MINUTE, "cancelled", "takes it back")
    for kind in facts.stands:
        yield _and(base, kind, raised + _MINUTE, None, "leaves it alone")
    if facts.wait is not None:
        yield from _waits(facts, base, raised - parse_duration(facts.wait))
    if facts.again is not None:
        yield from _again(facts.again, base)


def _waits(facts: Facts, base: Case, began: int) -> Iterator[Case]:
    raised = base.expect[-1].at
    before = [one for one in base.events if one.at != began]
    before += [received(_event(kind, began - _MINUTE), 9) for kind in facts.given]
    for kind in facts.begins:
        events = (*before, received(_event(kind, began), len(before)))
        yield replace(
            base, name=f"{kind} begins it", events=events, until=raised, expect=base.expect
        )
    for kind in facts.ends:
        short = replace(base, expect=base.expect[:-1])
        yield _and(short, kind, raised - 1, None, "ends it", until=raised)
        yield _and(base, kind, raised, "cancelled", "comes too late")


def _again(again: str, base: Case) -> Iterator[Case]:
    if again in ("once", "always"):
        yield _twice(base, _LATER, "raised" if again == "always" else "reentry")
    else:
        every = parse_duration(again)
        yield _twice(base, every - 1, "reentry")
        yield _twice(base, every, "raised")


def _twice(base: Case, after: int, result: Result) -> Case:
    """The case, and all of it once more a time later; a shop gives no order number twice."""
    events = list(base.events)
    for one in base.events:
        found = msgspec.json.decode(one.raw) | {"occurred_at": one.at + after}
        if "order_id" in found:
            found["order_id"] += "-later"
        events.append(received(found, len(events)))
    again = replace(base.expect[-1], at=base.expect[-1].at + after, result=result)
    return replace(
        base,
        name=f"{base.name}, and again {after} ms later",
        events=tuple(events),
        scores=(*base.scores, *(replace(one, at=one.at + after) for one in base.scores)),
        until=again.at,
        expect=(*base.expect, again),
    )


def _and(
    base: Case, kind: Kind, at: int, result: Result | None, says: str, until: int | None = None
) -> Case:
    """The case with one more event, and what the rule does because of it."""
    more = () if result is None else (Expected(at, result),)
    return replace(
        base,
        name=f"{base.name}: {kind} {says}",
        events=(*base.events, received(_event(kind, at), len(base.events))),
        until=max(at, until or 0),
        expect=(*base.expect, *more),
    )


def _event(kind: Kind, at: int) -> dict[str, Any]:
    fields: dict[str, Any] = {"type": kind} if isinstance(kind, str) else dict(kind)
    name = fields.pop("type")
    return event(name, at, **_NEEDED.get(name, {}), **fields)


def _raised_case(cases: Iterable[Case]) -> Case:
    """The first case whose only news is that the rule is raised, when nothing comes after."""
    for case in cases:
        at_the_end = case.expect and case.expect[-1].at >= max(one.at for one in case.events)
        if at_the_end and all(one.result in ("raised", "shadow") for one in case.expect):
            live = tuple(replace(one, result="raised") for one in case.expect)
            return replace(case, expect=live)
    raise LookupError("no case ends with the rule being raised")
