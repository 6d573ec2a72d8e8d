"""What a shop's own rules, segments and reasons are called in Chinese, as far as somebody said so.

What the engine says by itself is told in both languages anyway (``models.wording``). The words of
the configuration are English sentences of whoever wrote it; beside them there may be Chinese ones.
"""

import msgspec


class Called(msgspec.Struct, frozen=True):
    """A name to show to people, and one sentence."""

    title: str
    about: str


class Chinese(msgspec.Struct, frozen=True):
    """Rules, segments and tags by name; why a stage or a band is entered by the English words."""

    rules: dict[str, Called] = {}
    segments: dict[str, Called] = {}
    tags: dict[str, Called] = {}
    reasons: dict[str, str] = {}


NOTHING = Chinese()
