"""Places in a member's time, packed into one integer each.

The order of a member's events is time, then topic, then arrival (a topic's own order never
changes). A *place* is ``time << 3 | rank``. A *mark* says what stood there as well:
``place << 8 | code << 1 | backfill``, with the event type's code; a negative mark disarms.
"""

RANK_BITS = 3
CODE_BITS = 7
MARK_SHIFT = RANK_BITS + CODE_BITS + 1  # from an instant to a mark


def place(at: int, rank: int) -> int:
    """Return the place of an event of topic ``rank`` at the instant ``at``."""
    return at << RANK_BITS | rank


def instant_of(place_: int) -> int:
    """Return the instant of a place."""
    return place_ >> RANK_BITS


def mark(at: int, rank: int, code: int, backfill: bool) -> int:
    """Return the mark of an event."""
    return (at << RANK_BITS | rank) << 8 | code << 1 | backfill


def place_of(mark_: int) -> int:
    """Return the place of a mark."""
    return abs(mark_) >> 8


def at_of(mark_: int) -> int:
    """Return the instant of a mark."""
    return abs(mark_) >> MARK_SHIFT


def code_of(mark_: int) -> int:
    """Return the code of the event type of a mark."""
    return abs(mark_) >> 1 & (1 << CODE_BITS) - 1


def is_backfill(mark_: int) -> bool:
    """Tell whether history set the mark."""
    return bool(abs(mark_) & 1)
