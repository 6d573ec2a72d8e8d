"""What rules cost: the same events through the core under few rules and under many.

Once with made rules, each about a category; once with the shipped ones: three of them and nothing
else, or the whole rule book with stages, segments and policy.
"""

import time
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

import msgspec

from app.bench.place import say
from app.simulator import DEFAULT_END_MS, simulate
from config.paths import load_config
from models.decoding import Received, receive
from models.engine import handle, next_due, settle
from models.events import MEMBER_TOPICS, TOPIC_OF
from models.member import Member, decode, due_of, encode
from models.outcome import Context
from models.policy import Policy
from models.replay import MemberKey, in_order, key_of
from models.rulebook import RuleBook
from models.rules import (
    Absence,
    Condition,
    Count,
    Crosses,
    EventHappens,
    If,
    Limits,
    Pattern,
    Reentry,
    Rule,
    Series,
    StageEntered,
    Sum,
    When,
)
from models.rules import (
    Sequence as Steps,
)
from models.stages import NEVER, STAGES
from models.times import DAY, HOUR, MINUTE

FEW, MANY = 20, 500
FEW_MADE, MANY_MADE = f"{FEW} made", f"{MANY} made"
THREE, SHIPPED = "3 shipped", "all shipped, policy"
THREE_RULES = ("browse_abandoned", "cart_abandoned", "inactive_30d")
# Days of the simulated shop, and its events per member in them, roughly.
DAYS, EVENTS_EACH = 60, 40
MEMBERS = 500
SEED = 1
CATEGORIES = 1000
START = 1_767_225_600_000
_KINDS = (
    ("view_item", 60),
    ("visit", 10),
    ("search", 8),
    ("add_to_cart", 12),
    ("begin_checkout", 4),
    ("purchase", 4),
    ("points", 2),
)


def rule_load(events: int, rounds: int) -> dict[str, Any]:
    """Return events per CPU-second under few and many rules, in turns, and the ratios."""
    made, shop = made_log(events), shop_log(events)
    books = _books()
    runs: list[dict[str, Any]] = []
    for turn in range(rounds):
        for name, book in books.items():
            say(f"{name}, turn {turn + 1}")
            log = made if name in (FEW_MADE, MANY_MADE) else shop
            runs.append({"rules": name, "turn": turn + 1, **_measure(log, book)})
    best = {
        name: max(run["events_per_cpu_second"] for run in runs if run["rules"] == name)
        for name in books
    }
    return {
        "runs": runs,
        "ratio": round(best[MANY_MADE] / best[FEW_MADE], 3),
        "shipped_ratio": round(best[SHIPPED] / best[THREE], 3),
    }


def _books() -> dict[str, RuleBook]:
    """Return the rule books that are compared, by what they are called in the figures."""
    loaded = load_config()
    three = [rule for rule in loaded.rules if rule.name in THREE_RULES]
    agreed = Limits(assume_consent=True)

    def made(number: int) -> RuleBook:
        return RuleBook(made_rules(number), loaded.stages, Policy(), Limits())

    return {
        FEW_MADE: made(FEW),
        MANY_MADE: made(MANY),
        THREE: RuleBook(three, loaded.stages, Policy(), agreed),
        SHIPPED: RuleBook(loaded.rules, loaded.stages, loaded.policy, agreed, loaded.audiences),
    }


def made_rules(number: int) -> Iterator[Rule]:
    """Yield rules of every kind: a few for the whole shop, the others each about one category."""
    for index in range(number):
        yield Rule(
            name=f"rule_{index}",
            version=1,
            about="A made rule.",
            when=_when(index),
            condition=If() if index % 3 else None,
            reentry=Reentry("every", "member", DAY),
            expires_after=DAY,
            priority=50,
        )


def _when(index: int) -> When:
    kind, number = index % 10, index // 10
    about = (Condition("category", "in", (f"c{number}",)),)
    where = () if index < FEW else about
    viewed, carted = Pattern("view_item", where), Pattern("add_to_cart", where)
    bought = Pattern("purchase", where)
    days = (number % 60 + 1) * DAY
    match kind:
        case 0:
            return Absence((viewed,), (Pattern("purchase", (), "item_id"),), 2 * HOUR, "item_id")
        case 1:
            return Count((viewed,), 3, DAY, "item_id")
        case 2:
            return EventHappens(carted)
        case 3:
            return Absence((bought,), (Pattern("purchase"),), days)
        case 4:
            return Sum((bought,), "total", 100.0, 30 * DAY)
        case 5:
            return Steps(((viewed,), (carted,)), DAY)
        case 6:
            return Series((carted,), (Pattern("purchase"),), (HOUR, DAY), None)
        case 7:
            return Crosses("points", 100.0 * (number + 1), 50.0 * (number + 1), dwell=DAY)
        case 8:
            return StageEntered(STAGES[number % len(STAGES)])
        case _:
            return EventHappens(bought)


def made_log(events: int) -> list[Received]:
    """Return the events of some members over some weeks, in order of time."""
    random = Random(SEED)
    kinds = [kind for kind, weight in _KINDS for _ in range(weight)]
    log = []
    at = START
    for number in range(events):
        at += random.randrange(2 * MINUTE)
        log.append(_event(random, random.choice(kinds), number, at))
    return log


def _event(random: Random, kind: str, number: int, at: int) -> Received:
    member = f"m{random.randrange(MEMBERS)}"
    category = f"c{random.randrange(CATEGORIES)}"
    item = f"{category}-{random.randrange(20)}"
    more = {
        "view_item": f',"item_id":"{item}","category":"{category}"',
        "add_to_cart": f',"item_id":"{item}","category":"{category}"',
        "search": ',"query":"tea"',
        "purchase": f',"order_id":"o{number}","total":25,'
        f'"items":[{{"item_id":"{item}","category":"{category}"}}]',
        "points": f',"balance":{random.randrange(5000)}',
    }.get(kind, "")
    raw = f'{{"type":"{kind}","member_id":"{member}","occurred_at":{at}{more}}}'.encode()
    return receive(TOPIC_OF[kind], raw, member.encode(), 0, number, at)


def shop_log(events: int) -> list[Received]:
    """Return about so many events of the simulated shop, in order of time."""
    log = []
    for number, one in enumerate(simulate(events // EVENTS_EACH, DAYS, SEED, DEFAULT_END_MS)):
        topic = TOPIC_OF[one["type"]]
        if topic in MEMBER_TOPICS:
            key = str(one.get("member_id") or one["anonymous_id"]).encode()
            raw = msgspec.json.encode(one)
            log.append(receive(topic, raw, key, 0, number, DEFAULT_END_MS))
    return in_order(log)


def _measure(log: Sequence[Received], book: RuleBook) -> dict[str, Any]:
    """Fold the log as a lane does: decode the row, handle, settle, encode."""
    context = Context(book)
    rows: dict[MemberKey, bytes] = {}
    triggers = decisions = 0
    began = time.process_time()
    for received in log:
        key = key_of(received)
        anonymous, name = key
        row = rows.get(key)
        if row is None:
            outcome = handle(Member(name, anonymous), received, context)
        else:
            quiet_until = due_of(row) or NEVER
            outcome = handle(decode(row, name, anonymous), received, context, quiet_until)
        member = outcome.member
        triggers += len(outcome.triggers)
        decisions += len(outcome.decisions)
        settle(member, book)
        rows[key] = encode(member, next_due(member, book), book.digest)
    seconds = time.process_time() - began
    return {
        "events_per_cpu_second": round(len(log) / seconds),
        "triggers": triggers,
        "decisions": decisions,
        "mean_row_bytes": round(sum(map(len, rows.values())) / len(rows)),
    }
