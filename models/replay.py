"""The oracle: the same core over events in order of time, without broker, store or clock.

Every event is taken at its effective time; members are advanced by their own events, and at the
end all of them to ``until``. The result is deterministic, byte for byte.
"""

from collections.abc import Iterable, Iterator

from models.decoding import Received
from models.engine import advance, handle, rescore
from models.member import Member
from models.outcome import Context, Outcome
from models.predicting import Models
from models.rulebook import RuleBook

MemberKey = tuple[bool, str]


def key_of(received: Received) -> MemberKey:
    """Return whose event it is: (anonymous, id). A member id wins over an anonymous one."""
    event = received.event
    if event.member_id is not None:
        return False, event.member_id
    assert event.anonymous_id is not None
    return True, event.anonymous_id


def in_order(events: Iterable[Received]) -> list[Received]:
    """Return the events in the order of equal times: time, topic, then as they came."""
    return sorted(events, key=lambda received: (received.at, received.rank))


class Replay:
    """Folds events, in order of time, into members kept in memory."""

    def __init__(self, book: RuleBook, models: Models | None = None) -> None:
        self.members: dict[MemberKey, Member] = {}
        self._context = Context(book, models=models)

    def fold(self, received: Received) -> Outcome:
        """Fold one event; events of one member must come in order of time."""
        key = key_of(received)
        member = self.members.get(key)
        if member is None:
            member = self.members[key] = Member(key[1], key[0])
        return handle(member, received, self._context)

    def rescore(self, at: int) -> list[Outcome]:
        """Advance every member to ``at`` and score them there; members in order of their keys."""
        return [rescore(self.members[key], at, self._context) for key in sorted(self.members)]

    def finish(self, until: int) -> Iterator[Outcome]:
        """Advance every member to ``until``; members in order of their keys."""
        for key in sorted(self.members):
            yield advance(self.members[key], until, self._context)


def replay(
    events: Iterable[Received], book: RuleBook, until: int | None = None
) -> Iterator[Outcome]:
    """Yield the outcome of each event in order of time, then of each member's advance to ``until``.

    Without ``until`` the last event's time is the end.
    """
    run = Replay(book)
    ordered = in_order(events)
    for received in ordered:
        yield run.fold(received)
    if ordered:
        yield from run.finish(ordered[-1].at if until is None else until)
