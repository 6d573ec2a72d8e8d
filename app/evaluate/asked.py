"""The live system's own course over a log: every member asked once a week, labels as they come due.

The order within a day is the workers' and the trainer's: the day's events, then the questions of
those whose day it is, answered by the model that was valid when the day began, then the day is
closed, which teaches what has come due by then and gives the model of the next day.
"""

from array import array
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from app.evaluate.histories import Histories, Money
from app.evaluate.metrics import Floats, Ints
from app.evaluate.reading import Act, Log
from models.asking import Bought, Question
from models.churn import Scorer
from models.events import Purchased
from models.facts import cents
from models.model import Model
from models.rhythm import Rhythm, asked_on, member_number
from models.scoring import ASKED_FOR, heard

WEEK = 7

# What else is noted of who is asked: state, epoch day, and the model that answers.
See = Callable[[Rhythm, int, Model], tuple[float, ...]]
# What is being done, how much of it is done, and of how much (None: unknown).
Progress = Callable[[str, int, int | None], None]


class Learner(Protocol):
    """The part of ``models.training.Trainer`` that a log drives."""

    def bought(self, bought: Bought) -> None:
        """Take note of a purchase or a refund."""

    def asked(self, question: Question) -> None:
        """Take note of a question."""

    def close(self, day: int) -> Model:
        """Learn what is due by the end of ``day``; return the model of the next."""


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
    last_model: Model


@dataclass(slots=True)
class _Person:
    index: int
    number: int
    rhythm: Rhythm


class Course:
    """Members and their states, moved through a log day by day beside a learner."""

    def __init__(self, learner: Learner) -> None:
        self.people: dict[str, _Person] = {}
        # (member, epoch day, cents) of every order, and of every refund below zero.
        self.paid: list[tuple[int, int, int]] = []
        self.returned: list[tuple[int, int, int]] = []
        self._learner = learner
        self._said = 0
        self._due: tuple[list[_Person], ...] = tuple([] for _ in range(WEEK))

    def fold(self, day: int, acts: list[Act]) -> None:
        """Take the acts of a day into account, and tell the learner of the orders."""
        for act in acts:
            person = self.people.get(act.member)
            before = None if person is None else person.rhythm.last_day
            rhythm = heard(None if person is None else person.rhythm, act.event, act.back)
            if rhythm is None:
                continue
            if person is None:
                person = self._enter(act.member, rhythm)
            person.rhythm = rhythm
            event = act.event.event
            if isinstance(event, Purchased):
                total = cents(event.total)
                self.paid.append((person.index, day, total))
                self._say(person, day, total, 0 if before is None else day - before or -1)
            elif act.back:
                self.returned.append((person.index, day, -act.back))
                self._say(person, day, -act.back, -1)

    def due(self, day: int) -> list[_Person]:
        """Return who is asked at the end of ``day``."""
        return [one for one in self._due[day % WEEK] if day - one.rhythm.last_day <= ASKED_FOR]

    def _enter(self, member_id: str, rhythm: Rhythm) -> _Person:
        person = _Person(len(self.people), member_number(member_id), rhythm)
        self.people[member_id] = person
        self._due[next(k for k in range(WEEK) if asked_on(person.number, k))].append(person)
        return person

    def _say(self, person: _Person, day: int, amount: int, gap: int) -> None:
        self._said += 1
        self._learner.bought(Bought(person.number, day, amount, gap, self._said))


def ask(log: Log, learner: Learner, see: See, progress: Progress) -> Rows:
    """Go through a log that has orders; return the questions with what was said."""
    course = Course(learner)
    # A row's whole numbers one after the other, and what was said and seen.
    facts, said, seen = array("q"), array("d"), array("d")
    # Nobody is known yet: the first day has a model that knows nothing.
    model = learner.close(log.first - 1)
    for day in range(log.first, log.last + 1):
        progress("asking and learning", day - log.first, log.length)
        course.fold(day, log.days.get(day, []))
        scored = Scorer(model.churn)
        for person in course.due(day):
            rhythm = person.rhythm
            score = scored(rhythm, day)
            facts.extend(
                (
                    person.index,
                    person.number,
                    day - log.first,
                    rhythm.purchases,
                    day - rhythm.last_day,
                    day - rhythm.first_day,
                    rhythm.spent,
                )
            )
            said.append(score.p)
            seen.extend(see(rhythm, day, model))
            learner.asked(
                Question(
                    person.number,
                    day,
                    copy(rhythm),
                    score.p,
                    score.p_week,
                    model.version,
                )
            )
        model = learner.close(day)
    count = len(said)
    member, number, days, orders, silence, tenure, spent = (
        np.array(facts, np.int64).reshape(count, 7).T.copy()
    )
    paid, returned = (
        [(who, day - log.first, amount) for who, day, amount in amounts]
        for amounts in (course.paid, course.returned)
    )
    return Rows(
        member=member,
        number=number,
        day=days,
        orders=orders,
        silence=silence,
        tenure=tenure,
        spent=spent,
        said=np.array(said, np.float64),
        seen=np.array(seen, np.float64).reshape(count, len(seen) // max(count, 1)),
        histories=Histories((who, day) for who, day, _ in paid),
        net=Money(paid + returned),
        gross=Money(paid),
        last_model=model,
    )
