"""Instants as they are asked for."""

from app.web.replying import BadRequest
from models.times import MAX_INSTANT, parse_instant


def instant(text: str, name: str) -> int:
    """Return epoch milliseconds, 0 of what is earlier than 1970.

    Raises ``BadRequest`` naming the parameter.
    """
    try:
        found = parse_instant(text)
    except ValueError as error:
        raise BadRequest(f"{name}: {error}") from None
    if found > MAX_INSTANT:
        raise BadRequest(f"{name}: {text!r} is after the year 9999")
    return max(found, 0)
