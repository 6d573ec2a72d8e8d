"""What is evaluated is what workers say: the same questions with the same answers, bit for bit."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from made_buyers import FIRST, made_orders, member_of
from offline_course import course

from app.evaluate.asked import ask, bare_book
from app.evaluate.reading import log_of
from app.event_files import write_events
from app.event_reading import ReadingReport, read_events
from config.paths import load_config
from models.asking import Bought, Question
from models.course import Course, rhythms
from models.model import Model
from models.predictions import Predictions
from models.replay import in_order
from models.rhythm import member_number
from models.rulebook import RuleBook
from models.rules import Limits
from models.times import DAY
from models.training import Trainer

Events = list[dict[str, Any]]
TESTERS = frozenset({member_of(1), member_of(2)})


def orders() -> Events:
    """Every order has an id, as importers give them."""
    made = made_orders(members=100, days=120, seed=8)
    return [dict(each, event_id=f"e{place}") for place, each in enumerate(made)]


def beside(made: Events, kind: str, days: float, **more: Any) -> Events:
    """Something that happens to every seventh order, days later."""
    last = max(each["occurred_at"] for each in made)
    follow = [
        {
            "type": kind,
            "member_id": each["member_id"],
            "occurred_at": int(each["occurred_at"] + days * DAY),
            "order_id": each["order_id"],
            "event_id": f"{kind} of {each['event_id']}",
            **more,
        }
        for each in made[::7]
    ]
    return [each for each in follow if each["occurred_at"] <= last]


def told_twice(made: Events) -> Events:
    return made + made[::5]


def erased(made: Events) -> Events:
    """Some members are forgotten in the middle; some of them come again."""
    return made + [
        {"type": "erase", "member_id": member_of(number), "occurred_at": (FIRST + 80) * DAY}
        for number in range(0, 100, 3)
    ]


def looked(made: Events) -> Events:
    """Views and carts before orders, from different topics at one instant."""
    hour = 3_600_000
    kinds = {"view_item": {"item_id": "x"}, "add_to_cart": {"item_id": "x"}, "visit": {}}
    return made + [
        {
            "type": kind,
            "member_id": each["member_id"],
            "occurred_at": each["occurred_at"] - hour * (place % 60),
            **more,
        }
        for kind, more in kinds.items()
        for place, each in enumerate(made[::3])
    ]


def shuffled(made: Events) -> Events:
    every = [*told_twice(made), *beside(made, "refund", 2), *beside(made, "cancel", 30)]
    random.Random(4).shuffle(every)
    return every


LOGS: dict[str, Callable[[Events], Events]] = {
    "orders": lambda made: made,
    "duplicates": told_twice,
    "refunds without a sum": lambda made: made + beside(made, "refund", 0.01),
    "refunds without a sum of long ago": lambda made: made + beside(made, "refund", 30),
    "refunds with a sum": lambda made: made + beside(made, "refund", 3, total=5000),
    "cancelled orders": lambda made: made + beside(made, "cancel", 1),
    "cancelled orders of long ago": lambda made: made + beside(made, "cancel", 30),
    "erased members": erased,
    "visits and carts": looked,
    "one instant a day": lambda made: [
        dict(each, occurred_at=each["occurred_at"] // DAY * DAY) for each in made
    ],
    "no order": shuffled,
}


@pytest.mark.parametrize("kind", LOGS)
def test_evaluation_asks_and_answers_as_workers_in_stream_time_do(
    kind: str, tmp_path: Path
) -> None:
    path = tmp_path / "events.jsonl"
    write_events(path, LOGS[kind](orders()))
    events = list(read_events([path], ReadingReport()))
    # The whole rule book, and members of the shop itself who try things out.
    loaded, limits = load_config(), Limits(test_members=TESTERS)
    book = RuleBook(
        loaded.rules, loaded.stages, loaded.policy, limits, loaded.audiences, Predictions()
    )
    live = course(events, book)
    learner = Noting()
    rows = ask(log_of(events, limits), learner, lambda *_: (0.0,), lambda *_: None)

    # Workers ask at the end of a day, and the last one has not ended.
    last = max(learner.models) - 1
    assert {key: encoded(one) for key, one in live.questions.items()} == {
        (one.member, one.day): encoded(one) for one in learner.questions if one.day < last
    }
    assert {day: encoded(model) for day, model in live.models.items()} == {
        day: encoded(model) for day, model in learner.models.items() if day <= last
    }
    amounts = sorted(
        (one.member, one.day, one.cents, one.gap)
        for told in live.told.values()
        for one in told
        if isinstance(one, Bought)
    )
    assert amounts == sorted((one.member, one.day, one.cents, one.gap) for one in learner.orders)
    assert len(live.questions) > 900
    said = [(one.member, one.day - FIRST, one.p) for one in learner.questions]
    assert list(zip(rows.number.tolist(), rows.day.tolist(), rows.said.tolist(), strict=True)) == [
        (member, day + FIRST - log_first(events), p) for member, day, p in said
    ]
    assert {member_number(tester) for tester in TESTERS}.isdisjoint(rows.number.tolist())


def test_what_is_told_twice_counts_once(tmp_path: Path) -> None:
    found = []
    for made in (orders(), told_twice(orders())):
        path = tmp_path / "events.jsonl"
        write_events(path, made)
        log = log_of(read_events([path], ReadingReport()), Limits())
        rows = ask(log, Trainer(), lambda *_: (), lambda *_: None)
        money = rows.net.by(rows.member, rows.day)
        found.append((rows.spent.tolist(), rows.said.tolist(), money.tolist()))
    assert found[0] == found[1]


@pytest.mark.parametrize("kind", ["erased members", "visits and carts", "no order"])
def test_rhythms_alone_are_those_of_the_whole_course(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    write_events(path, LOGS[kind](orders()))
    events = in_order(read_events([path], ReadingReport()))
    run = Course(bare_book(Limits()))
    for event in events:
        for _ in run.fold(event):
            pass
    for _ in run.finish(events[-1].at + DAY):
        pass
    whole = {member.id: member.rhythm for member in run.members.values() if member.rhythm}
    assert rhythms(events, bare_book(Limits())) == whole
    assert len(whole) > 60


class Noting(Trainer):
    def __init__(self) -> None:
        super().__init__()
        self.questions: list[Question] = []
        self.orders: list[Bought] = []
        self.models: dict[int, Model] = {}

    def asked(self, question: Question) -> None:
        self.questions.append(question)
        super().asked(question)

    def bought(self, bought: Bought) -> None:
        self.orders.append(bought)
        super().bought(bought)

    def close(self, day: int) -> Model:
        model = self.models[day + 1] = super().close(day)
        return model


def log_first(events: list[Any]) -> int:
    first: int = min(one.at for one in events if one.type == "purchase") // DAY
    return first


def encoded(message: Question | Model) -> bytes:
    return msgspec.json.encode(message)
