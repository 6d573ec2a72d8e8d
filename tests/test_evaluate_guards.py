"""What ruins an evaluation is seen in it: a leak, a label learned early, labels of other members.

Two made shops: one whose members double every 40 days, where it matters when labels are learned,
and one whose members have a daily chance of their own to buy, so that the truth is known.
"""

from collections import Counter
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
from made_buyers import FIRST, churns, growing_orders, log_of, made_orders, member_of
from plain_learner import Early, Plain, Shuffled

from app.evaluate.asked import Rows, See, ask
from app.evaluate.metrics import Bools, auc, calibration_error, in_the_large
from app.evaluate.reading import Log
from app.evaluate.truncation import truncation
from models.asking import Example
from models.course import Learner
from models.features import features
from models.model import Model
from models.rhythm import Rhythm, member_number
from models.times import DAY
from models.training import Trainer

HORIZON = 30
MEMBERS = 150


@dataclass(frozen=True)
class Seen:
    auc: float
    ece: float
    citl: float


@pytest.fixture(scope="module")
def growing(tmp_path_factory: pytest.TempPathFactory) -> Log:
    orders = growing_orders(7500, days=240, seed=3, doubling=40)
    return log_of(tmp_path_factory.mktemp("growing"), orders)


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Log:
    return log_of(tmp_path_factory.mktemp("steady"), made_orders(MEMBERS, days=200, seed=3))


@pytest.fixture(scope="module")
def right(growing: Log) -> Seen:
    return seen(growing, Plain(HORIZON))


def test_labels_learned_when_due_are_calibrated(right: Seen) -> None:
    assert right.auc > 0.57
    assert right.ece < 0.02
    assert abs(right.citl) < 0.02


def test_labels_learned_early_double_the_error_and_tell_too_little_churn(
    growing: Log, right: Seen
) -> None:
    early = seen(growing, Early(HORIZON))
    assert early.ece > 2 * right.ece
    assert early.citl < -0.04


def test_labels_of_other_members_tell_nothing(growing: Log, right: Seen) -> None:
    shuffled = seen(growing, Shuffled(HORIZON))
    assert abs(shuffled.auc - 0.5) < 0.03
    assert shuffled.auc < right.auc - 0.04


def test_our_trainer_learns_every_label_on_the_day_it_is_due_and_once(steady: Log) -> None:
    learned: list[tuple[int, Example]] = []

    class Noting(Trainer):
        def close(self, day: int) -> Model:
            model = super().close(day)
            learned.extend((day, example) for example in self.examples)
            return model

    rows = ask(steady, Noting(HORIZON), vector, quiet)
    assert {example.days for _, example in learned} == {7, HORIZON}
    assert all(day == example.day + example.days for day, example in learned)
    of_horizon = [example for _, example in learned if example.days == HORIZON]
    asked = {(int(who), int(day)) for who, day in zip(rows.number, rows.day, strict=True)}
    due = {(who, day) for who, day in asked if day + HORIZON < steady.length}
    assert {(one.member, one.day - FIRST) for one in of_horizon} == due
    assert len(of_horizon) == len(due)
    # And they are what came true.
    number, day = (np.array(column) for column in zip(*sorted(due), strict=True))
    index = {int(who): int(member) for who, member in zip(rows.number, rows.member, strict=True)}
    member = np.array([index[int(who)] for who in number])
    truth = rows.histories.churned(member, day, HORIZON)
    told = {(one.member, one.day - FIRST): one.churned for one in of_horizon}
    assert [told[key] for key in sorted(due)] == truth.tolist()


@pytest.mark.parametrize("day", [120, 151])
def test_a_log_cut_after_any_day_asks_the_same_up_to_it(steady: Log, day: int) -> None:
    again = partial(run, see=vector)
    found = truncation(steady, again(steady), day, again)
    assert found.rows > 1500
    assert found.different == 0


def test_a_feature_that_sees_one_day_ahead_is_caught(steady: Log) -> None:
    def again(log: Log) -> Rows:
        tomorrow = Counter(event.at // DAY for event in log.events)

        def leaks(rhythm: Rhythm, day: int, model: Model) -> tuple[float, ...]:
            return *vector(rhythm, day, model), float(tomorrow[day + 1])

        return run(log, leaks)

    found = truncation(steady, again(steady), 150, again)
    assert found.different > 0


def test_probabilities_come_near_the_truth_where_it_is_known(steady: Log) -> None:
    rows = ask(steady, Trainer(HORIZON), vector, quiet)
    numbers = {member_number(member_of(member)): member for member in range(MEMBERS)}
    late = (rows.day >= 130) & (rows.day < steady.length - HORIZON)
    member = np.array([numbers[int(number)] for number in rows.number[late]])
    truth = np.array([churns(int(one), HORIZON) for one in member])
    said = rows.said[late]
    assert abs(said.mean() - truth.mean()) < 0.03
    # What is rare is told from a short past: a little of it is believed to be chance.
    for kind in range(3):
        of_kind = member % 3 == kind
        assert abs(said[of_kind].mean() - truth[of_kind].mean()) < 0.1
    assert np.abs(said - truth).mean() < 0.12
    # Nobody ranks members better than who knows their chances, and we come near.
    churned = rows.histories.churned(rows.member, rows.day, HORIZON)[late]
    best, ours = auc(churned, truth), auc(churned, said)
    assert best is not None
    assert ours is not None
    assert best - 0.06 < ours <= best + 0.01


def seen(log: Log, learner: Learner) -> Seen:
    """The figures of active members from day 90 on."""
    rows = ask(log, learner, vector, quiet)
    counted: Bools = (rows.day >= 90) & (rows.day < log.length - HORIZON) & (rows.silence < HORIZON)
    churned = rows.histories.churned(rows.member, rows.day, HORIZON)[counted]
    figures = [of(churned, rows.said[counted]) for of in (auc, calibration_error, in_the_large)]
    return Seen(*(figure for figure in figures if figure is not None))


def run(log: Log, see: See) -> Rows:
    return ask(log, Trainer(HORIZON), see, quiet)


def vector(rhythm: Rhythm, day: int, model: Model) -> tuple[float, ...]:
    return features(rhythm, day, model.churn.population)


def quiet(step: str, done: int, total: int | None) -> None:
    """No progress."""
