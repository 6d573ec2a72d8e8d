"""The reference: events, questions and models day by day, without lanes, topics or workers."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

from models.asking import Bought, Question
from models.course import Course
from models.decoding import Received
from models.model import Model
from models.outcome import Outcome
from models.projection import project
from models.replay import in_order
from models.rulebook import RuleBook
from models.training import Trainer
from models.triggers import MemberUpdate


@dataclass
class Told:
    """What came of the events: what the trainer was told by day, and the model of each day."""

    told: dict[int, list[Question | Bought]] = field(default_factory=dict)
    models: dict[int, Model] = field(default_factory=dict)
    """By the day that they are valid from."""
    updates: dict[str, MemberUpdate] = field(default_factory=dict)
    """Each member's projection at the end."""

    @cached_property
    def questions(self) -> dict[tuple[int, int], Question]:
        """By member and day."""
        return {
            (one.member, one.day): one
            for told in self.told.values()
            for one in told
            if isinstance(one, Question)
        }


def course(events: Iterable[Received], book: RuleBook) -> Told:
    """Run to the last event."""
    run = Course(book, Trainer(0 if book.predictions is None else book.predictions.horizon))
    found = Told(models=run.models)
    ordered = in_order(events)

    def note(outcome: Outcome) -> None:
        for message in outcome.asked:
            found.told.setdefault(message.day, []).append(message)

    for event in ordered:
        for outcome in run.fold(event):
            note(outcome)
    for outcome in run.finish(ordered[-1].at):
        note(outcome)
    for member in run.members.values():
        found.updates[member.id] = project(member, None, book, run.known)
    return found
