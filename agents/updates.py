"""What records of ``member-updates`` make of the documents of the serving store."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
from aiokafka import ConsumerRecord, TopicPartition

from agents.serving_ports import Documents

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Batch:
    """All that one poll brought."""

    documents: Documents
    next: Mapping[TopicPartition, int]
    """The offset after the last record of each partition."""
    oldest: int
    """Timestamp (epoch ms) of the oldest record."""
    records: int
    refused: int
    """Records that are no member update: left out."""
    deal: int
    """The dealing of partitions in which it was polled."""


def batch_of(polled: Mapping[TopicPartition, list[ConsumerRecord]], deal: int) -> Batch:
    """Return the batch of a poll that brought records."""
    documents: dict[bytes, bytes | None] = {}
    refused = 0
    for records in polled.values():
        for record in records:
            try:
                documents[_key(record)] = document_to_keep(record.value)
            except ValueError as error:
                refused += 1
                log.warning(
                    "%s-%d@%d is no member update, skipped: %s",
                    record.topic, record.partition, record.offset, error,
                )  # fmt: skip
    return Batch(
        documents,
        next={tp: records[-1].offset + 1 for tp, records in polled.items()},
        oldest=min(records[0].timestamp for records in polled.values()),
        records=sum(map(len, polled.values())),
        refused=refused,
        deal=deal,
    )


class _Mark(msgspec.Struct):
    """The one field of a member update that decides what becomes of the document."""

    erased: bool = False


_mark = msgspec.json.Decoder(_Mark)


def _key(record: ConsumerRecord) -> bytes:
    key: bytes | None = record.key
    if key is None:
        raise ValueError("it has no key")
    return key


def document_to_keep(value: bytes | None) -> bytes | None:
    """Return what is kept of a member update: itself, or None when the member is gone or erased.

    Raises ``ValueError`` when it is no member update.
    """
    return None if value is None or _mark.decode(value).erased else value
