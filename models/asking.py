"""What workers tell the trainer: who was asked with what state, who bought, what day is over.

The messages of one day come in any order; a day is closed when everything up to its end was said.
Members are told by number (see ``models.rhythm.member_number``), never by id.
"""

from typing import TypeAlias

import msgspec

from models.rhythm import Rhythm


class Question(msgspec.Struct, frozen=True, array_like=True, tag="q"):
    """A member's state at the end of ``day`` and what was predicted from it.

    ``rhythm`` belongs to the question: copy one that will change. ``p``: no purchase within the
    horizon; ``p_week``: none within 7 days (None where there was no such prediction yet).
    ``version``: the model that said so.
    """

    member: int
    day: int
    rhythm: Rhythm
    p: float | None
    p_week: float | None
    version: int


class Bought(msgspec.Struct, frozen=True, array_like=True, tag="b"):
    """A purchase of ``cents`` (a refund: negative, with ``gap`` -1), ``id`` telling it from others.

    ``gap``: days since the member's last purchase day; 0 for the first purchase of all and for a
    further one of its day, -1 for a late one.
    """

    member: int
    day: int
    cents: int
    gap: int
    id: int


class Example(msgspec.Struct, frozen=True, array_like=True):
    """A question and its answer: whether the member stayed away for ``days`` after ``day``.

    ``p`` is what was predicted of it then; None where nothing was.
    """

    member: int
    day: int
    days: int
    p: float | None
    churned: bool


class Reached(msgspec.Struct, frozen=True, array_like=True, tag="r"):
    """A lane has said everything up to the end of ``day``."""

    lane: int
    day: int


Message: TypeAlias = Question | Bought | Reached
