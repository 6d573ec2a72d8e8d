"""Every question that a log raises, with what was said: what workers in stream time would ask.

The workers' own core is driven by the log beside a learner (``models.course``); what it asks and
tells is noted on the way to the learner.
"""

from array import array
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from app.evaluate.histories import Histories, Money
from app.evaluate.metrics import Floats, Ints
from app.evaluate.reading import Log
from models.asking import Bought, Question
from models.course import Course, Learner
from models.model import Model
from models.policy import Policy
from models.predictions import Predictions
from models.rhythm import Rhythm
from models.rulebook import RuleBook
from models.rules import Limits
from models.stages import StageTable
from models.times import DAY

# What else is noted of who is asked: state, epoch day, and the model that answers.
See = Callable[[Rhythm, int, Model], tuple[float, ...]]
# What is being done, how much of it is done, and of how much (None: unknown).
Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True, slots=True)
class Rows:
    """One row for each question, in order of its day; days are counted from the log's first.

    ``member`` counts them by their first orders, ``number`` is ``models.rhythm.member_number``;
    ``orders``: purchase days; ``silence``, ``tenure``: days since the last and the first of them;
    ``spent``: cents net of refunds; ``said``: the probability of churn; ``seen``: rows x what
    ``See`` noted; ``net``, ``gross``: the members' money, with refunds and without.
    """

    member: Ints
    number: Ints
    day: Ints
    orders: Ints
    silence: Ints
    tenure: Ints
    spent: Ints
    said: Floats
    seen: Floats
    histories: Histories
    net: Money
    gross: Money


def ask(log: Log, learner: Learner, see: See, progress: Progress) -> Rows:
    """Go through a log that has orders; return the questions with what was said."""
    clerk = _Clerk(log, learner, see, progress)
    course = Course(bare_book(log.limits), clerk, carried=False)
    for event in log.events:
        for _ in course.fold(event):
            pass
    for _ in course.finish((log.last + 1) * DAY):
        pass
    return clerk.rows()


def bare_book(limits: Limits) -> RuleBook:
    """Return a book of nothing but predictions: neither rules nor stages change what they say."""
    return RuleBook((), StageTable(()), Policy(), limits, predictions=Predictions())


class _Clerk:
    """Notes what a learner is told, and passes it on."""

    def __init__(self, log: Log, learner: Learner, see: See, progress: Progress) -> None:
        self._log = log
        self._learner = learner
        self._see = see
        self._progress = progress
        self._model: Model | None = None
        self._members: dict[int, int] = {}
        # (member, day, cents) of every order, and of every refund below zero.
        self._paid: list[tuple[int, int, int]] = []
        self._returned: list[tuple[int, int, int]] = []
        # A row's whole numbers one after the other, and what was said and seen.
        self._facts, self._said, self._seen = array("q"), array("d"), array("d")

    def bought(self, bought: Bought) -> None:
        """Take note of a purchase or a refund."""
        member = self._members.setdefault(bought.member, len(self._members))
        side = self._paid if bought.cents >= 0 else self._returned
        side.append((member, bought.day - self._log.first, bought.cents))
        self._learner.bought(bought)

    def asked(self, question: Question) -> None:
        """Take note of a question."""
        rhythm, day, model = question.rhythm, question.day, self._model
        # The first day is closed before anybody is asked: there is a model, which says something.
        assert model is not None
        assert question.p is not None
        self._facts.extend(
            (
                self._members[question.member],
                question.member,
                day - self._log.first,
                rhythm.purchases,
                day - rhythm.last_day,
                day - rhythm.first_day,
                rhythm.spent,
            )
        )
        self._said.append(question.p)
        self._seen.extend(self._see(rhythm, day, model))
        self._learner.asked(question)

    def close(self, day: int) -> Model:
        """Learn what is due by the end of ``day``; return the model of the next."""
        done = max(0, day - self._log.first)
        self._progress("asking and learning", done, self._log.length)
        self._model = self._learner.close(day)
        return self._model

    def rows(self) -> Rows:
        """Return what was noted."""
        count = len(self._said)
        member, number, days, orders, silence, tenure, spent = (
            np.array(self._facts, np.int64).reshape(count, 7).T.copy()
        )
        return Rows(
            member=member,
            number=number,
            day=days,
            orders=orders,
            silence=silence,
            tenure=tenure,
            spent=spent,
            said=np.array(self._said, np.float64),
            seen=np.array(self._seen, np.float64).reshape(count, len(self._seen) // max(count, 1)),
            histories=Histories((who, day) for who, day, _ in self._paid),
            net=Money(self._paid + self._returned),
            gross=Money(self._paid),
        )
