"""Chance without chance: shares and spreads that a hash of the member decides."""

from hashlib import blake2b

from models.policy import Holdout
from models.times import rfc3339

_WHOLE = 1 << 64


def _number(*words: str) -> int:
    digest = blake2b(digest_size=8)
    for word in words:
        data = word.encode()
        digest.update(len(data).to_bytes(4, "big"))
        digest.update(data)
    return int.from_bytes(digest.digest(), "big")


def held_out(holdout: Holdout | None, member_id: str, rule: str) -> str | None:
    """Return which control group the member is in, in words; None for those who are treated.

    The same member is always in the same group under the same salt, whatever else happens.
    """
    if holdout is None:
        return None
    if _number(holdout.salt, member_id) < holdout.everything * _WHOLE:
        return "in the control group of all marketing"
    if _number(holdout.salt, member_id, rule) < holdout.per_rule * _WHOLE:
        return f"in the control group of {rule}"
    return None


def spread(member_id: str, at: int, pace: int) -> int:
    """Return by how much a member's messages of one morning are put off: 0 <= it < ``pace``."""
    return _number(member_id, rfc3339(at)) % pace if pace else 0
