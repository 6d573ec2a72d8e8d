"""What is evaluated is what workers say: the same questions with the same answers, bit for bit."""

from pathlib import Path

from made_buyers import FIRST, made_orders
from offline_course import course

from app.evaluate.asked import ask
from app.evaluate.reading import log_of
from app.event_files import write_events
from app.event_reading import ReadingReport, read_events
from config.paths import load_config
from models.policy import Policy
from models.predictions import Predictions
from models.rulebook import RuleBook
from models.rules import Limits
from models.training import Trainer


def test_evaluation_asks_and_answers_as_workers_in_stream_time_do(tmp_path: Path) -> None:
    orders = made_orders(members=100, days=120, seed=8)
    refund = dict(orders[50], type="refund", occurred_at=orders[50]["occurred_at"] + 86_400_000)
    path = tmp_path / "events.jsonl"
    write_events(path, [*orders, refund])
    events = list(read_events([path], ReadingReport()))
    book = RuleBook((), load_config().stages, Policy(), Limits(), predictions=Predictions())
    live = course(events, book).questions

    rows = ask(
        log_of(events), Trainer(), lambda rhythm, day, model: (0.0,), lambda step, done, total: None
    )
    evaluated = {
        (int(number), int(day) + FIRST): float(said)
        for number, day, said in zip(rows.number, rows.day, rows.said, strict=True)
    }
    # Workers ask at the end of a day, and the last one has not ended.
    last = max(day for _, day in evaluated)
    assert {key: one.p for key, one in live.items()} == {
        key: said for key, said in evaluated.items() if key[1] < last
    }
    assert len(live) > 1000
