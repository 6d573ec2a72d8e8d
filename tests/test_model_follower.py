"""Models as workers know them: which scores a day, which are left out, and what they open."""

import asyncio
import logging

import msgspec
import pytest

from agents.lessons import Published
from agents.model_follower import LearningConfig, ModelFollower
from models.asking import Reached
from models.known_models import KEPT, KnownModels
from models.model import Model
from models.predictions import Predictions
from models.rhythm import Rhythm
from models.times import DAY
from models.training import Trainer

FIRST = 15_000
CONFIG = LearningConfig("127.0.0.1:1", "g", "churn-questions", "churn-examples", "churn-model", 2)


def published(valid_from: int, horizon: int = 30) -> Published:
    """The first model of a shop that has heard nothing."""
    trainer = Trainer(horizon)
    model = trainer.close(valid_from - 1)
    return Published(model, trainer.checkpoint(), 7, 8, (valid_from - 1,) * 2)


def model(valid_from: int, horizon: int = 30) -> Model:
    return published(valid_from, horizon).model


def follower(*, live: bool = False) -> ModelFollower:
    return ModelFollower(CONFIG, KnownModels(Predictions(), live=live))


def raw(said: Published) -> bytes:
    return msgspec.json.encode(said)


def versions(known: KnownModels, *days: int) -> list[int | None]:
    found = [known.at(day) for day in days]
    return [None if one is None else one.version for one in found]


def test_in_stream_time_a_day_is_scored_by_the_model_that_was_valid_then() -> None:
    known = KnownModels(Predictions(), live=False)
    for day in (FIRST, FIRST + 3, FIRST + 1):
        known.learn(model(day))
    days = [FIRST + n for n in (-1, 0, 1, 2, 3, 9)]
    assert versions(known, *days) == [None, FIRST, FIRST + 1, FIRST + 1, FIRST + 3, FIRST + 3]


def test_on_a_live_clock_the_newest_model_scores_every_day() -> None:
    known = KnownModels(Predictions(), live=True)
    assert versions(known, FIRST) == [None]
    for day in (FIRST + 3, FIRST + 1):
        known.learn(model(day))
    assert versions(known, FIRST - 1, FIRST + 1, FIRST + 9) == [FIRST + 3] * 3
    older = known.of(FIRST + 1)
    assert older is not None
    assert older.version == FIRST + 1
    assert known.of(FIRST) is None


def test_only_some_weeks_of_models_are_kept() -> None:
    known = KnownModels(Predictions(), live=False)
    for day in range(FIRST, FIRST + KEPT + 5):
        known.learn(model(day))
    assert versions(known, FIRST + 4, FIRST + 5) == [None, FIRST + 5]


def test_what_is_told_of_value_is_what_is_earned() -> None:
    trained = model(FIRST)
    rhythm = Rhythm(FIRST - 10, spent=1000, spent_lately=1000, basket=1000)
    for share in (1.0, 0.25):
        known = KnownModels(Predictions(margin=share), live=False)
        known.learn(trained)
        ready = known.at(FIRST)
        assert ready is not None
        expected = trained.value.expected(rhythm, FIRST, trained.churn.population)
        mean = 0 if expected is None else round(expected.mean * share)
        assert ready.value(rhythm, FIRST) == mean


def test_the_newest_model_opens_its_day_and_says_so() -> None:
    followed, calls = follower(), []
    opened = lambda: calls.append(followed.open_to())  # noqa: E731
    followed.watch(opened)
    assert followed.open_to() == -1
    followed.take(0, raw(published(FIRST)))
    followed.take(1, raw(published(FIRST + 1)))
    # A zombie says again what was said before.
    followed.take(2, raw(published(FIRST)))
    assert followed.open_to() == (FIRST + 2) * DAY
    assert calls == [(FIRST + 1) * DAY, (FIRST + 2) * DAY]
    followed.unwatch(opened)
    followed.take(3, raw(published(FIRST + 2)))
    assert len(calls) == 2
    assert followed.newest == published(FIRST + 2)


def test_a_model_that_does_not_fit_is_told_and_left_out(caplog: pytest.LogCaptureFixture) -> None:
    followed = follower()
    right = published(FIRST)
    other = msgspec.structs.replace(right.model, schema="of other features")
    with caplog.at_level(logging.WARNING):
        followed.take(4, raw(msgspec.structs.replace(right, model=other)))
        followed.take(5, raw(published(FIRST, horizon=60)))
        followed.take(6, b"{}")
        followed.take(7, None)
    said = [record.getMessage() for record in caplog.records]
    assert [line.partition(":")[0] for line in said] == [
        "the model of record 4 is not used",
        "the model of record 5 is not used",
        "record 6 of the models cannot be read",
    ]
    assert "other features" in said[0]
    assert "60 days" in said[1]
    assert followed.newest is None


def test_a_lane_says_how_far_it_is() -> None:
    (output,) = follower().reached(1, FIRST)
    assert output.topic == "churn-questions"
    assert msgspec.json.decode(output.value or b"", type=Reached) == Reached(1, FIRST)


async def test_lanes_that_ask_before_the_worker_serves_make_it_follow() -> None:
    class Reading(ModelFollower):
        async def _run(self) -> None:
            self._read_all.set()

    one = Reading(CONFIG, KnownModels(Predictions(), live=True))
    await asyncio.wait_for(one.ready(), timeout=5)
    assert one._read_all.is_set()
    await one.stop()
