"""Deterministic identities."""

from hashlib import blake2b


def trigger_id(member_id: str, rule: str, rule_version: int, occasion: str) -> str:
    """Return the 128-bit id of one occasion of one rule for one member, as 32 hex digits.

    The fields are length-prefixed, so that no two different tuples give the same bytes.
    """
    digest = blake2b(digest_size=16)
    for field in (member_id, rule, str(rule_version), occasion):
        data = field.encode()
        digest.update(len(data).to_bytes(4, "big"))
        digest.update(data)
    return digest.hexdigest()


def short_hash(data: bytes) -> bytes:
    """Return 8 bytes that tell event ids and keys apart (BLAKE2b)."""
    return blake2b(data, digest_size=8).digest()


def content_hash(raw: bytes) -> str:
    """Return the occasion of an event without an id: a hash of its bytes, as 32 hex digits."""
    return blake2b(raw, digest_size=16).hexdigest()


def name_hash(name: str) -> int:
    """Return 32 bits that stand for a rule's or a track's name inside a member's row."""
    return int.from_bytes(blake2b(name.encode(), digest_size=4).digest(), "big")
