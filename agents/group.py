"""What a lane has folded since its last write, member by member.

A member is loaded once, folded into as often as its records and deadlines demand, and saved once,
when the group closes. Until then its saved row stays as it was, and a journal remembers what was
folded: if a fold raises, the member is loaded and its journal folded again, so that the record
that made it raise has left no trace.
"""

from collections.abc import Callable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic

from agents.fold import Decoded, EventT, Fold, StateT
from agents.merge import NEVER
from agents.ports import Output, SourceRecord

ROW_OVERHEAD = 32
"""Bytes of a record beyond key and body: a kind byte, an epoch, and lengths in the batch."""

OUTPUT_OVERHEAD = 64
"""The same for an output in the outbox, its topic's name included."""


@dataclass(slots=True)
class Group:
    """Rows and outputs that belong together, as they are written: whole or not at all."""

    rows: dict[bytes, bytes | None] = field(default_factory=dict)
    """Member key to the saved state; None: it is gone."""
    outputs: list[Output] = field(default_factory=list)
    """What is sent through the outbox."""
    loose: list[Output] = field(default_factory=list)
    """Dead letters, sent beside it."""
    done: dict[str, int] = field(default_factory=dict)
    """Per topic, the offset below which everything is dealt with once this is sent."""
    size: int = 0


class Touched(Generic[StateT, EventT]):
    """A member that is loaded: live state, what it has put out, and how it came about."""

    __slots__ = ("due", "journal", "outputs", "state")

    def __init__(self, state: StateT, due: int | None) -> None:
        self.state = state
        self.due = due
        # Made when first needed: most members put nothing out, and what a lane keeps alive by the
        # hundred thousand is what the garbage collector spends its time on.
        self.outputs: list[Output] | None = None
        # Flat, three items an entry: (decoded, record, now) of an apply, (to, None, now) of an
        # advance.
        self.journal: list[Decoded[EventT] | SourceRecord | int | None] = []


class Collecting(Generic[StateT, EventT]):
    """The group that a lane is folding into."""

    def __init__(
        self,
        fold: Fold[StateT, EventT],
        rows: MutableMapping[bytes, bytes],
        arm: Callable[[bytes, int], None],
    ) -> None:
        self._fold = fold
        self._rows = rows
        self._arm = arm
        self._members: dict[bytes, Touched[StateT, EventT]] = {}
        self.loose: list[Output] = []
        self.size = 0
        """About how many bytes the group will have; what it is written as is measured exactly."""

    def next_due(self, key: bytes) -> int | None:
        """Return a member's earliest deadline as it is now, saved or not."""
        member = self._members.get(key)
        if member is not None:
            return member.due
        body = self._rows.get(key)
        return None if body is None else self._fold.due(body)

    def apply(
        self, topic: int, decoded: Decoded[EventT], record: SourceRecord, now: int | None
    ) -> Exception | bool:
        """Fold a record in: True. False: it had been applied before. An error: the fold raised it.

        After an error the member is as if the record had never been, and its dead letter waits.
        """
        fold = self._fold
        key = decoded[0]
        member = self._members.get(key)
        if member is None:
            member = self._touch(key)
        state = member.state
        if fold.applied(state, topic) >= record.offset:
            return False
        try:
            quiet_until = NEVER if member.due is None else member.due
            outputs = fold.apply(state, decoded, record, now, quiet_until)
        except Exception as error:
            self._restore(key, member)
            self.loose.extend(fold.crashed(record, error))
            return error
        member.journal += (decoded, record, now)
        if outputs:
            self._put_out(member, outputs)
        due = fold.next_due(state)
        if due != member.due:
            member.due = due
            if due is not None:
                self._arm(key, due)
        return True

    def advance(self, key: bytes, to: int, now: int | None) -> Exception | None:
        """Fire a member's deadlines up to ``to``; an error: the fold raised it, nothing happened.

        A fold that leaves a deadline at or before ``to`` open has failed as well: it would be
        fired for ever.
        """
        fold = self._fold
        member = self._members.get(key)
        if member is None:
            member = self._touch(key)
        try:
            outputs = fold.advance(member.state, to, now)
            due = fold.next_due(member.state)
            if due is not None and due <= to:
                raise RuntimeError(f"advanced to {to}, but a deadline at {due} is still open")
        except Exception as error:
            self._restore(key, member)
            self.loose.extend(fold.crashed(key, error))
            return error
        member.journal += (to, None, now)
        if outputs:
            self._put_out(member, outputs)
        member.due = due
        if due is not None:
            self._arm(key, due)
        return None

    def close(self, limit: int) -> list[Group]:
        """Save every member that was folded into, and begin anew.

        The groups returned are to be written in this order; each is smaller than ``limit`` bytes
        unless a single member is larger. A member's row and outputs are never parted.
        """
        groups = [Group()]
        for key, member in self._members.items():
            if not member.journal:
                continue
            body = self._fold.save(member.state, member.due)
            if body is None:
                self._rows.pop(key, None)
            else:
                self._rows[key] = body
            size = ROW_OVERHEAD + len(key) + len(body or b"")
            if member.outputs:
                size += _size(member.outputs)
            if groups[-1].rows and groups[-1].size + size > limit:
                groups.append(Group())
            group = groups[-1]
            group.rows[key] = body
            if member.outputs:
                group.outputs += member.outputs
            group.size += size
        groups[-1].loose = self.loose
        self._members = {}
        self.loose = []
        self.size = 0
        return groups

    def _touch(self, key: bytes) -> Touched[StateT, EventT]:
        body = self._rows.get(key)
        state = self._fold.load(key, body)
        due = None if body is None else self._fold.due(body)
        member: Touched[StateT, EventT] = Touched(state, due)
        self._members[key] = member
        self.size += ROW_OVERHEAD + len(key) + len(body or b"")
        return member

    def _put_out(self, member: Touched[StateT, EventT], outputs: Sequence[Output]) -> None:
        if member.outputs is None:
            member.outputs = []
        member.outputs += outputs
        self.size += _size(outputs)

    def _restore(self, key: bytes, member: Touched[StateT, EventT]) -> None:
        # Raising here would mean that the fold is not deterministic, which nothing can mend.
        fold = self._fold
        state = fold.load(key, self._rows.get(key))
        outputs: list[Output] = []
        entries: Iterator[Any] = iter(member.journal)
        for what, record, now in zip(entries, entries, entries, strict=True):
            if record is None:
                outputs += fold.advance(state, what, now)
            else:
                outputs += fold.apply(state, what, record, now)
        member.state = state
        member.outputs = outputs
        member.due = fold.next_due(state)


def _size(outputs: Sequence[Output]) -> int:
    size = 0
    for output in outputs:
        size += OUTPUT_OVERHEAD + len(output.key) + len(output.value or b"")
        for name, value in output.headers:
            size += len(name) + len(value) + 8
    return size
