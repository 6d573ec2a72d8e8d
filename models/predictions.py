"""What the business chose about predictions."""

import msgspec

HORIZON = 30
SHORTEST, LONGEST = 7, 90
"""Days without a purchase that count as churn: usually, at least (what the quick labels ask about)
and at most (how far back the trainer reads again)."""


class Predictions(msgspec.Struct, frozen=True):
    """How far predictions look, who is asked, and what an order earns."""

    horizon: int = HORIZON
    """Days without a purchase that count as churn."""
    share: float = 1.0
    """Share of the members whose questions are learned from; scored are all."""
    margin: float = 1.0
    """Share of an order's total that is earned: expected value is given in it."""
