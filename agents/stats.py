"""What a lane counts and measures about itself: plain attributes, for whoever publishes them."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class LaneStats:
    """Counters only grow while the lane lives; the rest are what is the case now."""

    recovered: int = 0
    """Changelog records read at the start."""
    resent: int = 0
    """Outputs sent again at the start."""
    records: int = 0
    """Records taken, of whatever fate."""
    refused: int = 0
    """Of them: not to be decoded."""
    skipped: int = 0
    """Of them: applied before."""
    crashed: int = 0
    """Of them: the fold raised an error. Above zero is an alarm."""
    fired: int = 0
    """Members advanced because a deadline was due."""
    stumbled: int = 0
    """Attempts to do so at which the fold raised an error. Above zero is an alarm."""
    groups: int = 0
    rows: int = 0
    group_bytes: int = 0
    outputs: int = 0
    repaired: int = 0
    """Times that a zombie's records were written over again."""
    updates_repaired: int = 0
    """Member updates said again because somebody else's may have come behind them."""
    questions: int = 0
    """Times that the ends were asked for."""

    queued: dict[str, int] = field(default_factory=dict)
    """Per topic, records fed and not yet taken."""
    armed: int = 0
    """Members with a deadline."""
    next_due: int | None = None
    """No deadline is earlier than this (epoch milliseconds)."""
    safe_time: int = -1
    """Absence is certain up to here (epoch milliseconds); -1: not yet known, or stream time."""
    held: bool = False
    """Deadlines wait because the broker was away."""
    waiting_since: int | None = None
    """Process time since when the merge waits for records that the broker holds."""
    stuck: bool = False
    """It has waited for more than ten seconds. An alarm."""
