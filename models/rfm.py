"""RFM: how lately, how often and for how much a member buys, each scored from 1 to 5.

Recency is the time since the last order, frequency and monetary value are orders and spend of the
last 364 days (to the cell of 28 days, as everywhere). A *table* says where the scores begin: the
quintiles of a base of members, published with a date, from which on it holds. So scores change when
a member's own numbers do, or a new table begins, and never because others buy.

Who has a score keeps it until the number is a tenth beyond where it begins: a table that differs a
little from the one before moves nobody to and fro.
"""

from bisect import bisect_right
from collections.abc import Iterator
from itertools import product, starmap
from typing import NamedTuple

import msgspec

from models.facts import CELLS, leaves_at, turn_of, year_totals
from models.member import CELL, Member
from models.stages import NEVER

BEST = 5
# A tenth: between two months' quintiles of one shop lie a few percent; a fifth would keep a third
# of a quintile in a score that is no longer its own.
_SLACK = 10


class RfmTable(msgspec.Struct, frozen=True):
    """Where scores begin, from an instant on.

    ``recency``: score 5 is below the first (milliseconds), 4 below the second, and so on.
    ``frequency`` and ``monetary`` (orders, cents): score 2 from the first on, 3 from the second on.
    """

    date: str
    begins: int
    base: str
    members: int
    recency: tuple[int, int, int, int]
    frequency: tuple[int, int, int, int]
    monetary: tuple[int, int, int, int]


class Rfm(NamedTuple):
    """The three scores, 5 the best."""

    recency: int
    frequency: int
    monetary: int


def pack(scores: Rfm) -> int:
    """Return the scores as one number from 1, which takes one byte."""
    recency, frequency, monetary = scores
    return 1 + (recency - 1) * 25 + (frequency - 1) * 5 + monetary - 1


ALL_SCORES: dict[int, Rfm] = {
    pack(scores): scores for scores in starmap(Rfm, product(range(1, BEST + 1), repeat=3))
}
"""Every number that ``pack`` gives, and of what."""


def unpack(packed: int) -> Rfm | None:
    """Return the scores of ``pack``; None for 0, of a member without any."""
    return ALL_SCORES.get(packed)


def table_at(tables: tuple[RfmTable, ...], at: int) -> RfmTable | None:
    """Return the table that holds at an instant; ``tables`` are in order of time."""
    index = bisect_right(tables, at, key=lambda table: table.begins)
    return tables[index - 1] if index else None


def scored(member: Member, tables: tuple[RfmTable, ...], at: int) -> int:
    """Return the member's scores at ``at``, packed; 0 before the first order or table.

    They lean on those that the row holds.
    """
    table = table_at(tables, at)
    if table is None or not member.orders:
        return 0
    said = unpack(member.labels.rfm) if member.labels is not None else None
    kept = said or Rfm(1, 1, 1)
    orders, cents = year_totals(member, at)
    age = at - member.orders[-1]
    return pack(
        Rfm(
            _lately(age, table.recency, kept.recency),
            _much(orders, table.frequency, kept.frequency),
            _much(cents, table.monetary, kept.monetary),
        )
    )


def _much(number: int, bounds: tuple[int, int, int, int], kept: int) -> int:
    score = 1 + bisect_right(bounds, number)
    while kept > score and number * _SLACK < bounds[kept - 2] * (_SLACK - 1):
        kept -= 1
    return max(score, kept)


def _lately(age: int, bounds: tuple[int, int, int, int], kept: int) -> int:
    score = BEST - bisect_right(bounds, age)
    while kept > score and age >= _ends(bounds[BEST - kept]):
        kept -= 1
    return max(score, kept)


def _ends(bound: int) -> int:
    """Return the age at which a recency that was scored below ``bound`` loses its score."""
    return bound + bound // _SLACK


def next_due(member: Member, tables: tuple[RfmTable, ...], to: int = NEVER) -> int:
    """Return the earliest instant at which time alone changes the scores, or ``NEVER``.

    One after ``to`` may be left out.
    """
    said = member.labels.rfm if member.labels is not None else 0
    done = member.advanced_to
    if not tables or not member.orders:
        return done + 1 if said else NEVER
    if scored(member, tables, done) != said:
        return done + 1  # the tables are others
    turns = [turn for turn in _turns(member, tables) if done < turn <= to]
    for turn in sorted(turns):
        if scored(member, tables, turn) != said:
            return turn
    return NEVER


def _turns(member: Member, tables: tuple[RfmTable, ...]) -> Iterator[int]:
    for table in tables:
        yield table.begins
        for bound in table.recency:
            yield member.orders[-1] + _ends(bound)
    turn = turn_of(member.id)
    for cell in member.ring[::3]:
        yield leaves_at(cell, CELLS * CELL, turn)
