"""The trainer's log: mixed, repeated, late, and read again from a checkpoint; the models stay."""

import random
from collections.abc import Iterable, Iterator
from functools import cache

import msgspec
import pytest
from offline_course import Told, course

from agents.lessons import Lessons, Published
from app.event_reading import ReadingReport, read_events
from config.paths import load_config, package_dir
from models.asking import Bought, Message, Question, Reached
from models.decoding import Received
from models.policy import Policy
from models.predictions import Predictions
from models.rulebook import RuleBook
from models.rules import Limits
from models.times import DAY
from models.training import Trainer

SAMPLE = package_dir() / "data" / "uci_sample.jsonl.gz"
DAYS = 125
LANES = 3


@cache
def events() -> tuple[Received, ...]:
    """Some months of a real shop."""
    found = list(read_events([SAMPLE], ReadingReport(), lambda _: None))
    first = min(event.at for event in found)
    return tuple(event for event in found if event.at < (first // DAY + DAYS) * DAY)


@cache
def reference() -> Told:
    book = RuleBook((), load_config().stages, Policy(), Limits(), predictions=Predictions())
    return course(events(), book)


def lane_of(message: Question | Bought) -> int:
    return message.member % LANES


@cache
def log(seed: int = 0, ahead: int = 2, again: float = 0.1) -> list[Message]:
    """The log as lanes write it that are up to some days apart, with things said again."""
    rng = random.Random(seed)
    told = reference().told
    days = range(min(reference().models) - 1, max(reference().models))
    queues: list[list[Message]] = [[] for _ in range(LANES)]
    for day in days:
        for lane, queue in enumerate(queues):
            said: list[Message] = [one for one in told.get(day, ()) if lane_of(one) == lane]
            rng.shuffle(said)
            said += rng.sample(said, int(len(said) * again))
            queue += [*said, Reached(lane, day)]
    found: list[Message] = []
    at = [days[0] - 1] * LANES
    while any(queues):
        behind = min(at[lane] for lane in range(LANES) if queues[lane])
        lane = rng.choice([n for n in range(LANES) if queues[n] and at[n] <= behind + ahead])
        message = queues[lane].pop(0)
        found.append(message)
        if isinstance(message, Reached):
            at[lane] = message.day
    return found


def teach(lessons: Lessons, records: Iterable[tuple[int, Message]]) -> Iterator[Published]:
    for offset, message in records:
        lessons.hear(offset, message)
        while lessons.due():
            published, _ = lessons.close()
            # As it will be read.
            raw = msgspec.json.encode(published)
            yield msgspec.json.decode(raw, type=Published)


def all_of(messages: list[Message]) -> dict[int, Published]:
    lessons = Lessons(LANES, Trainer())
    return {one.model.valid_from: one for one in teach(lessons, enumerate(messages))}


@pytest.mark.parametrize("seed", range(3))
def test_the_models_are_those_of_the_days_whatever_the_order_in_the_log(seed: int) -> None:
    found = all_of(log(seed))
    assert {day: one.model for day, one in found.items()} == reference().models
    learned = max(reference().models)
    assert found[learned].model.figures.learned[0] > 500


def test_what_is_said_twice_is_heard_once() -> None:
    messages = log(again=0.5)
    lessons = Lessons(LANES, Trainer())
    for _ in teach(lessons, enumerate(messages)):
        pass
    told = sum(not isinstance(one, Reached) for one in messages)
    distinct = len({msgspec.json.encode(one) for one in messages if not isinstance(one, Reached)})
    assert told > 1.3 * distinct
    assert lessons.repeated == told - distinct


@pytest.mark.parametrize("share", [0.2, 0.6, 0.95])
def test_a_restart_from_any_checkpoint_says_the_same_again(share: float) -> None:
    messages = log(4)
    whole = all_of(messages)
    days = sorted(whole)
    since = whole[days[int(share * len(days))]]
    lessons = Lessons(LANES, Trainer.restored(since.checkpoint), since)
    rest = teach(lessons, list(enumerate(messages))[since.offset :])
    again = {one.model.valid_from: one for one in rest}
    assert again == {day: whole[day] for day in days if day > since.model.valid_from}
    # Not from the beginning, once there is something that does not matter any more.
    assert (since.offset > 100) == (since.model.valid_from - days[0] > 91)


def test_a_lane_that_jumps_ahead_closes_all_days_in_between_and_a_restart_does_so_too() -> None:
    first = min(reference().models) - 1
    day = min(day for day in reference().told if reference().told[day])
    messages: list[Message] = [Reached(lane, first) for lane in range(LANES)]
    messages += [one for days in range(day, day + 20) for one in reference().told.get(days, ())]
    messages += [Reached(lane, day + 19) for lane in range(LANES)]
    whole = all_of(messages)
    assert sorted(whole) == list(range(first + 1, day + 21))
    since = whole[day + 5]
    lessons = Lessons(LANES, Trainer.restored(since.checkpoint), since)
    again = {one.model.valid_from: one for one in teach(lessons, enumerate(messages))}
    assert again == {one: whole[one] for one in whole if one > day + 5}


def test_nothing_is_closed_before_every_lane_has_spoken() -> None:
    lessons = Lessons(2, Trainer())
    lessons.hear(0, Reached(0, 100))
    lessons.hear(1, Reached(7, 100))  # a lane that there is not
    assert not lessons.due()
    lessons.hear(2, Reached(1, 90))
    assert lessons.due()
    published, examples = lessons.close()
    assert (published.model.valid_from, list(examples)) == (91, [])
    assert not lessons.due()


def test_what_comes_after_its_day_was_closed_answers_open_questions_alone() -> None:
    messages = log(5, again=0.0)
    whole = all_of(messages)
    closes = {one.heard_to: day for day, one in whole.items()}
    middle = sorted(closes)[len(closes) // 2]
    asked = {one.member for one in messages[:middle] if isinstance(one, Question)}
    member = min(asked)
    late = Bought(member, closes[middle] - 2, 100, 5, 12345)
    changed = all_of([*messages[:middle], late, *messages[middle:]])
    usual = {day: one.model.churn.population for day, one in whole.items()}
    gaps = {day: one.checkpoint.sums.gaps for day, one in whole.items()}
    assert {day: one.checkpoint.sums.gaps for day, one in changed.items()} == gaps
    assert changed.keys() == usual.keys()
