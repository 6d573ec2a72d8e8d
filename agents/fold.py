"""What a lane folds records into: the one seam between the lane and the meaning of records.

The lane knows time, order, durability and nothing else. Keys, states, deadlines and outputs are
this protocol's business; a state is mutable, belongs to the lane while it is loaded, and is never
shared. Every method must be deterministic: the same row, records and ``now`` give the same state
and the same bytes out, for that is what makes a repeat harmless.
"""

from collections.abc import Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

from agents.ports import Output, SourceRecord

StateT = TypeVar("StateT")
EventT = TypeVar("EventT")


class Decoded(NamedTuple, Generic[EventT]):
    """A record that can be folded."""

    key: bytes
    """The key of the state that it belongs to."""
    at: int
    """Effective time, epoch milliseconds: where the merge puts it."""
    event: EventT


class Refused(NamedTuple):
    """A record that cannot: without a time, it is dealt with when its turn in the topic comes."""

    outputs: tuple[Output, ...]
    """Its dead letter. Sent with the group, not through the outbox: decoding it again after a
    crash gives the same bytes."""


class Fold(Protocol[StateT, EventT]):
    """A job over one lane's records."""

    @property
    def topics(self) -> Sequence[str]:
        """The member topics, in the order in which records of one instant are folded."""

    def decode(self, record: SourceRecord) -> Decoded[EventT] | Refused:
        """Return what the record says. Never raises: an exception here stops the worker."""

    def load(self, key: bytes, body: bytes | None) -> StateT:
        """Return the state of a saved row, or a new one where there is none."""

    def save(self, state: StateT, due: int | None) -> bytes | None:
        """Return the row's bytes, or None when nothing of the state is to be kept.

        ``due`` is what ``next_due`` says of the state, and what ``due`` will say of the row.
        """

    def due(self, body: bytes) -> int | None:
        """Return the earliest open deadline, read from a fixed place, without decoding the row."""

    def next_due(self, state: StateT) -> int | None:
        """Return the earliest open deadline of a live state; what ``due`` says of its saved row."""

    def applied(self, state: StateT, topic: int) -> int:
        """Return the last offset folded in of the topic at that place of ``topics``; -1 if none."""

    def apply(
        self,
        state: StateT,
        decoded: Decoded[EventT],
        record: SourceRecord,
        now: int | None,
        quiet_until: int = 0,
    ) -> Sequence[Output]:
        """Advance the state to the record's time, fold the record, and note its offset as applied.

        ``now`` is None in stream time. Before ``quiet_until`` the state has no deadline. The
        outputs go through the outbox. May raise, which is a defect of the fold and not the worker's
        end: the lane puts the state back as it was before the record, which becomes a dead letter
        by ``crashed``.
        """

    def advance(self, state: StateT, to: int, now: int | None) -> Sequence[Output]:
        """Fire every deadline due at or before ``to``; afterwards ``next_due`` is later than it.

        May raise, as above: the state is put back and the lane tries again, later and later.
        """

    def crashed(self, what: SourceRecord | bytes, error: Exception) -> Sequence[Output]:
        """Return the dead letter of a record that ``apply`` raised on, or of a key for ``advance``.

        Sent with the group, not through the outbox.
        """

    def project(self, key: bytes, body: bytes | None) -> Sequence[Output]:
        """Return what readers of the state are told when a row has been saved (None: it is gone).

        Derived from nothing but the row: after a crash it is derived again, not remembered.
        """

    def row_of(self, update: bytes) -> bytes:
        """Return the key of the row that ``project`` makes an update with this key of."""
