"""What a member is told apart by, as its row keeps it: segments, tags, RFM."""

import msgspec

KEPT_TAGS = 16
LONGEST_REASON = 128


class Tag(msgspec.Struct, array_like=True):
    """A tag that somebody put, or took away and that may still be heard of late."""

    said: int  # place of the latest word
    until: int  # exclusive; 0: for good
    source: str | None = None
    reason: str | None = None


class Labels(msgspec.Struct, array_like=True):
    """The segments that the member is in, those just left, the tags, and the RFM scores."""

    # Segment -> since when.
    segments: dict[int, int] = msgspec.field(default_factory=dict)
    # Segment -> (since when, until when), for the allowed lateness.
    left: dict[int, tuple[int, int]] = msgspec.field(default_factory=dict)
    tags: dict[str, Tag] = msgspec.field(default_factory=dict)
    # ``models.rfm.pack``; 0: none.
    rfm: int = 0
