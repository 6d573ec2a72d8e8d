"""No row of the shipped stage table waits for what cannot be.

That no rule does is told by its own test file: ``test_rule_book.py`` asks each for a history that
makes it fire, and ``test_shipped_rules.py`` goes through that with the shipped stages.
"""

from collections.abc import Iterable

from core_builders import DAY, NOON, Life, shipped_book

from config.paths import load_config
from models.rulebook import RuleBook
from models.triggers import Transition

# Lives as (day, event): between them they go through every row.
LIVES: tuple[tuple[tuple[int, str], ...], ...] = (
    ((0, "visit"), (400, "visit")),
    ((0, "purchase"), (100, "visit")),
    ((0, "register"), (20, "visit"), (300, "visit")),
    ((0, "register"), (120, "visit")),
    ((0, "register"), (80, "visit"), (400, "visit")),
    ((0, "register"), (1, "visit"), (60, "purchase"), (300, "purchase")),
    tuple((day, "purchase") for day in (0, 85, 170, 255)),
    ((0, "purchase"), (60, "visit"), (100, "purchase"), (160, "visit"), (200, "purchase")),
    (*((day, "purchase") for day in (0, 10, 20, 30)), (70, "visit"), (130, "visit")),
    (
        *((day, "purchase") for day in (0, 10, 20, 30, 40)),
        *((day, "visit") for day in range(80, 480, 40)),
    ),
    (*((day, "purchase") for day in (0, 20, 60)), *((day, "visit") for day in range(100, 300, 40))),
    tuple((day, "purchase") for day in (0, 70, 80, 82, 300)),
    tuple((day, "purchase") for day in (0, 1, 2, 3, 4, 300)),
)


def lived(life: Iterable[tuple[int, str]], book: RuleBook) -> set[tuple[str, str, str, str]]:
    one = Life(book)
    last = 0
    for last, kind in life:
        one.sees(kind, NOON + last * DAY)
    one.reaches(NOON + (last + 400) * DAY)
    found = (d for outcome in one.outcomes for d in outcome.decisions)
    return {
        (d.kind, d.before, d.after, d.why)
        for d in found
        if isinstance(d, Transition) and d.kind in ("stage", "band")
    }


def test_every_row_of_the_stage_table_can_be_gone_through() -> None:
    table = load_config().stages
    wanted = {
        (kind, before, row.after, row.why)
        for kind, rows in (("stage", table.stages), ("band", table.bands))
        for row in rows
        for before in row.before
    }
    book = shipped_book()
    assert wanted - set().union(*(lived(life, book) for life in LIVES)) == set()
