"""Which questions count, by their day."""

# Days before the figures begin, beyond the horizon; at most half the log.
BURN_IN = 90
NOBODY_ASKED = "no question counts: nobody was asked on the days after the burn-in"


class TooShort(Exception):
    """The log does not say what happened a horizon after any question that counts."""


def days_that_count(length: int, horizon: int) -> range:
    """Return the days whose questions count, from the first of a log of ``length`` days.

    They begin after the burn-in and end a horizon before the last day. Raises ``TooShort`` when
    there is none.
    """
    found = range(min(horizon + BURN_IN, -(-length // 2)), length - horizon)
    if not found:
        raise TooShort(
            f"{length} days of events are too few: what happens {horizon} days after a question "
            f"must be in them, and the first {found.start} days are for learning"
        )
    return found
