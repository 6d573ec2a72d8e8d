"""What the trainer makes of the log of questions: days, closed one by one.

The log has one partition. What lanes say of different days is mixed in it, and some of it is said
twice: after a crash a lane sends its last outbox again. A day is closed when every lane has said
that it is past it, and then the trainer has heard exactly what stood in the log of that day and
before. So the models are a function of the log, whoever reads it and however often: a second
trainer that has not noticed that it is replaced says what the first one says.

What comes after its day was closed still answers the questions that are open, and is no longer
learned from otherwise.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from models.asking import Bought, Example, Message, Question, Reached
from models.checkpoint import Checkpoint
from models.model import Model

NOTHING_SAID = -1


class Learner(Protocol):
    """Who learns; ``models.training.Trainer`` is one."""

    @property
    def oldest(self) -> int | None:
        """Return the oldest day whose messages may still matter; None before the first close."""

    @property
    def examples(self) -> Sequence[Example]:
        """Return what the last day closed has taught."""

    def asked(self, question: Question) -> None:
        """Take a question of a day that is not closed; of a closed one it is known already."""

    def bought(self, bought: Bought) -> None:
        """Take a purchase; of a closed day it only answers questions."""

    def close(self, day: int) -> Model:
        """Learn what the end of a day has answered; return the model of the next day."""

    def checkpoint(self) -> Checkpoint:
        """Return all that is needed to go on behind the last day closed."""


class Published(msgspec.Struct, frozen=True):
    """A day's model as it lies in ``churn-model``, with all that a trainer needs to go on."""

    model: Model
    checkpoint: Checkpoint
    offset: int
    """Where in the log a trainer that begins with the checkpoint reads from."""
    heard_to: int
    """The offset after the message that closed the day: no day is closed before it."""
    lanes: tuple[int, ...]
    """The last day that each lane had said to be over."""


class Lessons:
    """A learner and the log up to an offset.

    ``since`` is what the learner was restored from: the log is told from its offset on.
    """

    def __init__(self, lanes: int, learner: Learner, since: Published | None = None) -> None:
        self._learner = learner
        self._reached = [NOTHING_SAID] * lanes
        self._wait_to = 0
        self.closed: int | None = None
        """The last day closed; None before the first."""
        if since is not None:
            self._reached = list(since.lanes)
            self._wait_to = since.heard_to
            self.closed = since.model.valid_from - 1
        self.repeated = 0
        """Messages that had been heard before."""
        self._waiting: dict[int, list[Question | Bought]] = {}
        # Per day: what has been heard of it, and where in the log the first of it stands.
        self._heard: dict[int, set[int]] = {}
        self._first: dict[int, int] = {}
        self._next = 0

    def hear(self, offset: int, message: Message) -> None:
        """Take the next message of the log, unless days are ``due``: those are closed first."""
        self._next = offset + 1
        if isinstance(message, Reached):
            if message.lane < len(self._reached):
                self._reached[message.lane] = max(self._reached[message.lane], message.day)
            return
        day = message.day
        oldest = self._learner.oldest
        if oldest is not None and day < oldest:
            return
        # Both are numbers of 63 bits.
        name = message.id if isinstance(message, Bought) else ~message.member
        heard = self._heard.setdefault(day, set())
        if name in heard:
            self.repeated += 1
            return
        heard.add(name)
        self._first.setdefault(day, offset)
        if self.closed is not None and day <= self.closed:
            self._tell(message)
        else:
            self._waiting.setdefault(day, []).append(message)

    def due(self) -> bool:
        """Return whether every lane is past the next day."""
        over = min(self._reached)
        if over == NOTHING_SAID or self._next < self._wait_to:
            return False
        return self.closed is None or self.closed < over

    def close(self) -> tuple[Published, Sequence[Example]]:
        """Close the next day; return its model and what was learned for it.

        Takes long when much is learned.
        """
        day = min(self._reached) if self.closed is None else self.closed + 1
        for earlier in sorted(waiting for waiting in self._waiting if waiting <= day):
            for message in self._waiting.pop(earlier):
                self._tell(message)
        model = self._learner.close(day)
        self.closed = day
        oldest = self._learner.oldest
        for past in [one for one in self._heard if oldest is not None and one < oldest]:
            del self._heard[past]
            self._first.pop(past, None)
        offset = min(self._first.values(), default=self._next)
        checkpoint, lanes = self._learner.checkpoint(), tuple(self._reached)
        return Published(model, checkpoint, offset, self._next, lanes), self._learner.examples

    def _tell(self, message: Question | Bought) -> None:
        if isinstance(message, Question):
            self._learner.asked(message)
        else:
            self._learner.bought(message)
