"""What holds rules back for now that no member tells: feeds fallen silent, and rules run away."""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec


class SilentFeed(msgspec.Struct, frozen=True):
    """A feed from which far less comes than usual, in words; ``source`` is empty where none is."""

    type: str
    source: str
    why: str


class Closed(msgspec.Struct, frozen=True):
    """What is closed now. It comes from outside: a member cannot know what others do."""

    # Event type -> the feeds of it that are silent.
    feeds: Mapping[str, tuple[SilentFeed, ...]] = MappingProxyType({})
    # Rule -> why its breaker is open.
    rules: Mapping[str, str] = MappingProxyType({})


NOTHING = Closed()
