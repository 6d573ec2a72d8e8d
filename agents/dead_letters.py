"""Dead letters: records that are never tried again, with where they came from and why."""

from base64 import b64encode
from hashlib import sha256

import msgspec

from agents.ports import Output, SourceRecord
from models.triggers import DeadLetter

# A record may be as large as the broker takes; its first 64 kB tell what it was.
KEPT_BYTES = 65_536
KEPT_KEY_BYTES = 1024

_encoder = msgspec.json.Encoder()


def dead_letter(topic: str, record: SourceRecord, path: str, reason: str) -> Output:
    """Return the dead letter of a record: ``path`` names the field, ``reason`` says it in words."""
    raw = record.value or b""
    key = record.key
    letter = DeadLetter(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        timestamp=record.timestamp,
        path=path,
        reason=reason,
        key=None if key is None else b64encode(key[:KEPT_KEY_BYTES]).decode(),
        raw=b64encode(raw[:KEPT_BYTES]).decode(),
        length=len(raw),
        sha256=sha256(raw).hexdigest(),
    )
    return Output(topic, (key or b"")[:KEPT_KEY_BYTES], _encoder.encode(letter))
