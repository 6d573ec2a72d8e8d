"""How long to wait before what failed is tried again: soon at first, then twice as long."""

FIRST_RETRY_SECONDS = 0.1
LAST_RETRY_SECONDS = 5.0
"""What is back is noticed within this; asking more often would not bring it back."""


def longer(pause: float) -> float:
    """Return the pause (seconds) after one that was too short."""
    return min(2 * pause, LAST_RETRY_SECONDS)
