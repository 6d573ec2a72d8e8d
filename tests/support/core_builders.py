"""Short ways to say events, rules and what came of them, for tests of the pure core."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

from brute_force import absence_of, read_yaml

from config.paths import load_config, package_dir
from config.policy_files import load_policy
from config.rule_files import load_rules
from config.stage_files import load_stages
from models.decoding import RANK_OF, Received, decode, instant
from models.engine import advance, handle, next_due, settle
from models.events import TOPIC_OF
from models.member import Member, encode
from models.member import decode as decode_row
from models.outcome import Context, Outcome
from models.policy import Policy
from models.replay import replay
from models.rulebook import RuleBook
from models.rules import Limits
from models.times import DAY, HOUR, MINUTE, SECOND
from models.triggers import Decision, Transition, Trigger, TriggerCancelled, TriggerMessage

EventDict = dict[str, Any]
NOON = 1_767_225_600_000 + 12 * HOUR  # of 2026-01-01 UTC
RULES = package_dir() / "rules"
# The policy that the brute-force oracle knows.
POLICY = Path(__file__).resolve().parents[1] / "data" / "opt_out.yaml"


def shipped_book(**limits: Any) -> RuleBook:
    """The rules and stages that are in the package; members may opt out, and that is all policy."""
    found = load_config()
    return RuleBook(
        found.rules, found.stages, load_policy(POLICY), Limits(**limits), found.audiences
    )


def whole_book(**limits: Any) -> RuleBook:
    """The rules, stages and policy that are in the package."""
    found = load_config()
    return RuleBook(found.rules, found.stages, found.policy, Limits(**limits), found.audiences)


def plain_rules() -> list[dict[str, Any]]:
    """The shipped absence rules that ask nothing of the member beside: what the oracle knows.

    All of them are live here.
    """
    absences = [rule for rule in read_yaml(RULES) if absence_of(rule) and "if" not in rule]
    return [{name: rule[name] for name in rule if name != "mode"} for rule in absences]


def plain_book(directory: Path) -> RuleBook:
    """A book of the plain rules, written to a directory."""
    return book_of(write_rules(directory, *plain_rules()), POLICY)


def book_of(directory: Path, policy: Path | None = None, **limits: Any) -> RuleBook:
    """The rules of a directory with the shipped stages, and no policy unless one is named."""
    return RuleBook(
        load_rules(directory),
        load_stages(package_dir() / "stages.yaml"),
        load_policy(policy) if policy else Policy(),
        Limits(**limits),
    )


def write_rules(directory: Path, *rules: Mapping[str, Any]) -> Path:
    """Write rules as files (JSON is YAML), and add what a rule must have besides."""
    directory.mkdir(parents=True, exist_ok=True)
    for rule in rules:
        whole = {"version": 1, "about": "A rule.", "reentry": "always", "expires_after": "1d"}
        (directory / f"{rule['rule']}.yaml").write_text(json.dumps(whole | dict(rule)))
    return directory


def absence(after: Any, of: Any, within: str) -> dict[str, Any]:
    return {"absence": {"after": after, "of": of, "within": within}}


def event(kind: str, at: int, member: str | None = "m1", **fields: Any) -> EventDict:
    """One event as an event file has it, with the fields that its type must have."""
    needed: dict[str, dict[str, Any]] = {
        "view_item": {"item_id": "a"},
        "add_to_cart": {"item_id": "a"},
        "remove_from_cart": {"item_id": "a"},
        "purchase": {"order_id": f"o{at}", "total": 10},
        "search": {"query": "tea"},
        "unsubscribed": {"channel": "sms"},
        "complained": {"channel": "sms"},
        "consent": {"channel": "all", "purpose": "marketing", "granted": True},
    }
    identity = {} if member is None else {"member_id": member}
    return {"type": kind, "occurred_at": at, **identity, **needed.get(kind, {}), **fields}


def lines(*items: str) -> list[EventDict]:
    return [{"item_id": item} for item in items]


def received(found: Mapping[str, Any], offset: int = 0) -> Received:
    """An event as the edge hands it on: typed, with its place."""
    topic = TOPIC_OF[found["type"]]
    raw = json.dumps(found).encode()
    typed = decode(topic, raw)
    return Received(typed, instant(typed.occurred_at, "$"), RANK_OF[topic], 0, offset, raw)


def arrived(events: Iterable[Mapping[str, Any]]) -> list[Received]:
    """Events as they lie in the topics when they were produced in this order."""
    ends = dict.fromkeys(RANK_OF, 0)
    found = []
    for one in events:
        if one["type"] == "item":
            continue
        topic = TOPIC_OF[one["type"]]
        found.append(received(one, ends[topic]))
        ends[topic] += 1
    return found


BROWSING = ["visit", "view_item", "search", "add_to_cart", "remove_from_cart", "begin_checkout"]
ACTIVITY = [*BROWSING, "purchase"]


def same(kinds: str | list[str], field: str, **more: Any) -> dict[str, Any]:
    return {"event": kinds, "same": field, **more}


def _unless_ordered(at_least: int, within: str) -> dict[str, Any]:
    return {"unless": {"orders": {"at_least": at_least, "within": within}}}


def odd(name: str, when: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"rule": name, "when": when, **more}


# Withins of 5 s and more on a grid of 5 s: nearly every deadline falls on some event's instant.
ODD_RULES = [
    odd(
        "item",
        absence("view_item", same("purchase", "item_id"), "10s"),
        reentry={"per": "item_id", "every": "30s"},
        expires_after="15s",
    ),
    odd(
        "item_once",
        absence("view_item", [same("purchase", "item_id"), "begin_checkout"], "5s"),
        reentry="once",
        expires_after="15s",
    ),
    odd(
        "item_per_member",
        absence(
            ["view_item", "add_to_cart"],
            [same(["purchase", "add_to_cart"], "item_id"), {"event": "cart_emptied"}],
            "15s",
        ),
        reentry={"per": "member", "every": "40s"},
        expires_after="20s",
        episode="items",
    ),
    odd(
        "item_or_any_view",
        absence("view_item", [same("purchase", "item_id"), "view_item"], "10s"),
        expires_after="20s",
        episode="items",
    ),
    odd(
        "category",
        absence(
            {"event": "view_item", "where": {"category": ["tea", "coffee"]}},
            [
                same("purchase", "category", where={"category": "tea"}),
                same("order_placed", "category"),
            ],
            "10s",
        ),
        expires_after="20s",
    ),
    odd(
        "order_unpaid",
        absence("order_placed", same(["purchase", "cancel"], "order_id"), "10s"),
        purpose="service",
        expires_after="20s",
    ),
    odd(
        "again",
        absence("purchase", "purchase", "20s"),
        expires_after="15s",
        episode="recall",
        overtaken_by={"event": ACTIVITY},
    ),
    odd(
        "again_later",
        absence("purchase", "purchase", "40s") | _unless_ordered(2, "100s"),
        expires_after="50s",
        episode="recall",
        overtaken_by="visit",
        channels=["sms"],
    ),
    odd(
        "same_item_again",
        absence("purchase", same("purchase", "item_id"), "15s"),
        expires_after="50s",
        reentry={"per": "item_id", "every": "20s"},
        episode="recall",
    ),
    odd("quiet", absence(ACTIVITY, ACTIVITY, "20s"), expires_after="15s", episode="recall"),
    odd(
        "cart",
        absence("add_to_cart", {"event": ["purchase", "begin_checkout", "cart_emptied"]}, "5s"),
        expires_after="10s",
        reentry={"per": "member", "every": "20s"},
        overtaken_by="cart_emptied",
    ),
    odd(
        "large_order",
        absence(
            {"event": "purchase", "where": {"total": {"at_least": 10}, "quantity": {"below": 2}}},
            [
                {"event": "add_to_cart", "where": {"quantity": {"at_least": 2}}},
                {"event": "view_item", "where": {"price": [5, 10]}},
            ],
            "5s",
        )
        | _unless_ordered(2, "20s"),
        expires_after="10s",
    ),
    odd(
        "checkout",
        absence("begin_checkout", same(["purchase", "begin_checkout"], "item_id"), "10s")
        | _unless_ordered(1, "20s"),
        expires_after="10s",
        channels=["email", "sms"],
    ),
    odd(
        "registered",
        absence("register", "purchase", "5s") | _unless_ordered(1, "3650d"),
        reentry="once",
        expires_after="30s",
        purpose="service",
    ),
]


class Life:
    """One member lived through event by event, with everything that was said kept."""

    def __init__(self, book: RuleBook, name: str = "m1", *, anonymous: bool = False) -> None:
        self.member = Member(name, anonymous)
        self.book = book
        self.outcomes: list[Outcome] = []
        self._offset = -1

    def sees(self, kind: str, at: int, now: int | None = None, **fields: Any) -> Outcome:
        """Fold one event; `now` is the wall clock, None for stream time."""
        identity = None if self.member.anonymous else self.member.id
        if self.member.anonymous:
            fields["anonymous_id"] = self.member.id
        return self.folds(event(kind, at, identity, **fields), now)

    def folds(self, found: Mapping[str, Any], now: int | None = None) -> Outcome:
        self._offset += 1
        context = Context(self.book, now)
        return self._keep(handle(self.member, received(found, self._offset), context))

    def reaches(self, at: int, now: int | None = None) -> Outcome:
        """Let time pass up to and including an instant."""
        return self._keep(advance(self.member, at, Context(self.book, now)))

    def is_saved_and_loaded(self) -> bytes:
        """Go through the row that a store would keep; return it."""
        row = row_of(self.member, self.book)
        self.member = decode_row(row, self.member.id, self.member.anonymous)
        return row

    def _keep(self, outcome: Outcome) -> Outcome:
        self.outcomes.append(outcome)
        return outcome

    @property
    def said(self) -> list[TriggerMessage]:
        return [message for outcome in self.outcomes for message in outcome.triggers]

    @property
    def raised(self) -> list[str]:
        """Names of the rules that raised, in order."""
        return [m.rule for m in self.said if isinstance(m, Trigger)]

    @property
    def cancelled(self) -> list[str]:
        return [m.rule for m in self.said if isinstance(m, TriggerCancelled)]

    @property
    def standing(self) -> list[str]:
        """Names of the rules whose triggers were not cancelled, sorted."""
        return sorted(rule for rule, _ in net(self.said))

    @property
    def verdicts(self) -> list[tuple[str, str]]:
        found = [d for outcome in self.outcomes for d in outcome.decisions]
        return [(d.rule, d.verdict) for d in found if isinstance(d, Decision)]

    @property
    def stages(self) -> list[str]:
        """The stages that the member moved through, in order."""
        found = [d for outcome in self.outcomes for d in outcome.decisions]
        return [d.after for d in found if isinstance(d, Transition) and d.kind == "stage"]


def net(messages: Iterable[TriggerMessage]) -> set[tuple[str, str]]:
    """(rule, trigger id) of the triggers that stand after all cancellations."""
    standing: dict[str, str] = {}
    for message in messages:
        if isinstance(message, Trigger):
            standing[message.trigger_id] = message.rule
        else:
            standing.pop(message.trigger_id, None)
    return {(rule, identity) for identity, rule in standing.items()}


def row_of(member: Member, book: RuleBook) -> bytes:
    """The row that a store would keep now."""
    settle(member, book)
    return encode(member, next_due(member, book), book.digest)


def replayed(
    events: Iterable[Mapping[str, Any]], book: RuleBook, until: int | None = None
) -> list[TriggerMessage]:
    """Everything that a replay of an event list says on the topic `triggers`."""
    outcomes = replay(arrived(events), book, until)
    return [message for outcome in outcomes for message in outcome.triggers]


def random_log(random: Random, step: int, events: int = 30) -> list[EventDict]:
    """A small log whose times lie on a coarse grid, so that ties and exact deadlines are common.

    Two members and a visitor, three items, three orders; every type that a core rule may concern.
    Some events are sent twice under one id, and some are out of order in the file.
    """
    log: list[EventDict] = []
    at = NOON
    for number in range(events):
        at += step * random.choice((0, 0, 1, 1, 1, 2, 3, 4, 8))
        found = event(random.choice(_TYPES), at, random.choice(("m1", "m1", "m2", None)))
        if "member_id" not in found:
            found["anonymous_id"] = "visitor"
        _vary(found, random)
        if random.random() < 0.6:
            found["event_id"] = f"e{number}"
        log.append(found)
        if random.random() < 0.1:
            log.append(found | {"occurred_at": at + step * random.choice((0, 1, 5))})
        if random.random() < 0.1:
            log.insert(random.randrange(len(log)), log.pop())
    return log


_TYPES: Sequence[str] = [
    *["view_item", "view_item", "add_to_cart", "add_to_cart", "remove_from_cart", "purchase"] * 3,
    *["visit", "search", "begin_checkout", "begin_checkout", "register", "order_placed"] * 2,
    *["unsubscribed", "consent", "consent", "complained", "ticket_opened", "erase", "points"],
    *["cancel", "refund", "profile"],
]


def _vary(found: EventDict, random: Random) -> None:
    kind = found["type"]
    if kind in ("view_item", "add_to_cart", "remove_from_cart"):
        found["item_id"] = random.choice("abc")
        if random.random() < 0.7:
            found["category"] = random.choice(("tea", "coffee", ""))
        if random.random() < 0.5:
            found["price"] = random.choice((5, 10, 20))
        if kind != "view_item" and random.random() < 0.4:
            found["quantity"] = random.choice((1, 2, 3))
    elif kind in ("purchase", "begin_checkout", "order_placed", "cancel", "refund"):
        if kind != "begin_checkout":
            found["order_id"] = random.choice(("o1", "o2", "o3"))
        if kind not in ("cancel", "refund") and random.random() < 0.8:
            found["items"] = [
                {"item_id": random.choice("abc"), "quantity": random.choice((1, 1, 2))}
                | ({"category": random.choice(("tea", "coffee"))} if random.random() < 0.5 else {})
                for _ in range(random.choice((1, 1, 2, 3)))
            ]
        if kind == "purchase":
            found["total"] = random.choice((5, 10, 20))
    elif kind in ("unsubscribed", "complained", "consent"):
        found["channel"] = random.choice(("sms", "email", "app_push", "all"))
        if kind == "consent":
            found["purpose"] = random.choice(("marketing", "marketing", "service"))
            found["granted"] = random.random() < 0.6
    elif kind == "points":
        found["balance"] = random.choice((0, 100))


__all__ = [
    "DAY",
    "HOUR",
    "MINUTE",
    "NOON",
    "ODD_RULES",
    "POLICY",
    "RULES",
    "SECOND",
    "EventDict",
    "Life",
    "absence",
    "arrived",
    "book_of",
    "event",
    "lines",
    "net",
    "odd",
    "plain_book",
    "plain_rules",
    "random_log",
    "received",
    "replayed",
    "row_of",
    "same",
    "shipped_book",
    "whole_book",
    "write_rules",
]
