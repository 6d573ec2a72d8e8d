"""A replay that learns: members are asked, days are closed, and each day has its own model.

The same core and the same trainer as the workers', in the order that stream time has: the events of
a day, then the questions at its end, then the day is closed, which gives the model of the next.
"""

from collections.abc import Iterable, Iterator
from typing import Protocol

from models.asking import Bought, Question
from models.decoding import Received
from models.engine import advance, handle
from models.known_models import KnownModels, Ready
from models.member import Member
from models.model import Model
from models.outcome import Context, Outcome
from models.predictions import Predictions
from models.replay import MemberKey, Replay, key_of
from models.rhythm import Rhythm
from models.rulebook import RuleBook
from models.scoring import number_of
from models.times import DAY

WEEK = 7


class Learner(Protocol):
    """The part of ``models.training.Trainer`` that is needed here."""

    def asked(self, question: Question) -> None:
        """Take note of a question."""

    def bought(self, bought: Bought) -> None:
        """Take note of a purchase."""

    def close(self, day: int) -> Model:
        """Learn what the end of a day has answered; return the model of the next day."""


class Course:
    """Folds events, in order of time, into members kept in memory, and learns from them.

    Without a learner it is a replay, and nobody is scored.
    """

    def __init__(
        self, book: RuleBook, learner: Learner | None = None, *, carried: bool = True
    ) -> None:
        """Scores are not ``carried`` where nobody reads a member's: questions have theirs."""
        self._learner = learner
        self.known = KnownModels(book.predictions or Predictions(), live=False)
        self._context = Context(book, models=self.known if carried else _Chances(self.known))
        self._run = Replay(book, self.known if learner is not None and carried else None)
        # Who has bought, by the remainder of their numbers: that decides when they are asked.
        self._asked: tuple[dict[MemberKey, Member], ...] = tuple({} for _ in range(WEEK))
        self._day: int | None = None
        self.models: dict[int, Model] = {}
        """Every model so far, by the day that it is valid from."""

    @property
    def members(self) -> dict[MemberKey, Member]:
        """Return the members as they are now."""
        return self._run.members

    def fold(self, received: Received) -> Iterator[Outcome]:
        """Close the days before the event, then fold it; yield what follows from each."""
        yield from self._reach(received.at // DAY)
        outcome = self._run.fold(received)
        member = outcome.member
        if self._learner is not None and member.rhythm is not None:
            remainder = number_of(member.id) % WEEK
            self._asked[remainder].setdefault(key_of(received), member)
        self._tell(outcome)
        yield outcome

    def finish(self, until: int) -> Iterator[Outcome]:
        """Close the whole days before ``until`` and advance every member to it."""
        yield from self._reach(until // DAY)
        for outcome in self._run.finish(until):
            self._tell(outcome)
            yield outcome

    def _reach(self, day: int) -> Iterator[Outcome]:
        learner = self._learner
        if learner is None:
            return
        if self._day is None:
            # Nobody is known yet: the day before the first is closed without questions.
            self._learn(learner.close(day - 1))
            self._day = day
        while self._day < day:
            # Asked on days of which number and day together are a multiple of seven.
            for member in self._asked[-self._day % WEEK].values():
                outcome = advance(member, (self._day + 1) * DAY, self._context)
                self._tell(outcome)
                yield outcome
            self._learn(learner.close(self._day))
            self._day += 1

    def _tell(self, outcome: Outcome) -> None:
        learner = self._learner
        for message in outcome.asked if learner is not None else ():
            if isinstance(message, Question):
                learner.asked(message)  # type: ignore[union-attr]
            else:
                learner.bought(message)  # type: ignore[union-attr]

    def _learn(self, model: Model) -> None:
        self.models[model.valid_from] = model
        self.known.learn(model)


class _Chances:
    """Models of which nothing but the chances of churn is asked: worth takes longer."""

    def __init__(self, known: KnownModels) -> None:
        self._known = known
        self._chance: _Chance | None = None

    def at(self, day: int) -> "_Chance | None":
        """Return the model of a day."""
        ready = self._known.at(day)
        if ready is None:
            return None
        if self._chance is None or self._chance.ready is not ready:
            self._chance = _Chance(ready)
        return self._chance


class _Chance:
    def __init__(self, ready: Ready) -> None:
        self.ready = ready
        self.version = ready.version
        self.churn = ready.churn
        self.because = ready.because

    def value(self, _rhythm: Rhythm, _day: int) -> int:
        """Return nothing."""
        return 0


def rhythms(events: Iterable[Received], book: RuleBook) -> dict[str, Rhythm]:
    """Return the rhythm of each member who has bought, after events in order of time.

    What comes due on the way changes no rhythm and is passed over; the book has predictions.
    """
    context = Context(book)
    members: dict[str, Member] = {}
    for event in events:
        name = event.event.member_id
        if name is not None:
            member = members.get(name)
            if member is None:
                member = members[name] = Member(name, anonymous=False)
            handle(member, event, context, quiet_until=event.at + 1)
    return {name: one.rhythm for name, one in members.items() if one.rhythm is not None}
