"""What workers in stream time would say: a replay that learns, if predictions are switched on."""

from collections.abc import Iterable, Iterator

from models.course import Course
from models.decoding import Received
from models.outcome import Outcome
from models.replay import in_order
from models.rulebook import RuleBook


def course_of(book: RuleBook) -> Course:
    """Return a replay from before the first event."""
    if book.predictions is None:
        return Course(book)
    # River takes a second to load.
    from models.training import Trainer

    return Course(book, Trainer(book.predictions.horizon))


def outcomes(events: Iterable[Received], book: RuleBook) -> Iterator[Outcome]:
    """Yield what follows from events, in order of time, and at the last one's instant."""
    run, ordered = course_of(book), in_order(events)
    for event in ordered:
        yield from run.fold(event)
    if ordered:
        yield from run.finish(ordered[-1].at)
