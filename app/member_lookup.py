"""Finding a member's document: in this worker's own rows, else in the serving store."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from agents.members import ANONYMOUS, MEMBER
from agents.ports import Output
from agents.updates import document_to_keep
from app.http import LookupUnavailable
from app.redis_store import StoreUnavailable


class DocumentStore(Protocol):
    """Where the documents of other workers' members are found."""

    async def document(self, identity: str, anonymous: bool) -> bytes | None:
        """Return a document or None; raises ``StoreUnavailable``."""


@dataclass(frozen=True, slots=True)
class MemberLookup:
    """Answers for any member on any worker."""

    lane_of: Callable[[bytes], int]
    """By the id alone, as producers place it."""
    rows: Callable[[int], Mapping[bytes, bytes] | None]
    """The rows of a lane that this worker works on, else None."""
    project: Callable[[bytes, bytes | None], Sequence[Output]]
    """What readers are told of a row (``Fold.project``)."""
    store: DocumentStore

    async def document(self, identity: str, anonymous: bool) -> bytes | None:
        """Return the member's JSON document; None when nothing is known.

        A row of our own is right at this moment; the store may be a little behind. Raises
        ``LookupUnavailable``.
        """
        key = identity.encode()
        rows = self.rows(self.lane_of(key))
        if rows is not None:
            row_key = (ANONYMOUS if anonymous else MEMBER) + key
            return document_to_keep(self.project(row_key, rows.get(row_key))[0].value)
        try:
            return await self.store.document(identity, anonymous)
        except StoreUnavailable as error:
            raise LookupUnavailable(str(error)) from error
