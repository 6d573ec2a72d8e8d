"""What records of ``member-updates`` make of the documents of the serving store."""

import logging
from datetime import datetime

import msgspec

from agents.following import Polled, Taken
from agents.serving_ports import Document, Documents
from models.times import from_datetime

log = logging.getLogger(__name__)


def updates_taken(polled: Polled) -> Taken[Documents]:
    """Return what is to be written of the records of a poll: the last of each key."""
    documents: dict[bytes, Document | None] = {}
    refused = 0
    for records in polled.values():
        for record in records:
            try:
                if record.key is None:
                    raise ValueError("it has no key")
                documents[record.key] = document_to_keep(record.value)
            except ValueError as error:
                refused += 1
                log.warning(
                    "%s-%d@%d is no member update, skipped: %s",
                    record.topic, record.partition, record.offset, error,
                )  # fmt: skip
    return Taken(documents, len(documents), refused)


class _Foreseen(msgspec.Struct):
    churn_smoothed: float


class _Marks(msgspec.Struct):
    """The fields of a member update that decide what becomes of the document."""

    stage: str
    since: datetime
    erased: bool = False
    foreseen: _Foreseen | None = None


_marks = msgspec.json.Decoder(_Marks)


def document_to_keep(value: bytes | None) -> Document | None:
    """Return what is kept of a member update; None when the member is gone or erased.

    Raises ``ValueError`` when it is no member update.
    """
    if value is None:
        return None
    marks = _marks.decode(value)
    if marks.erased:
        return None
    risk = None if marks.foreseen is None else marks.foreseen.churn_smoothed
    return Document(value, marks.stage, from_datetime(marks.since), risk)
