"""Cells of spend and RFM end for each member at an instant of their own; a year is a year."""

from pathlib import Path

from audience_kit import book_with, moves
from core_builders import DAY, NOON, Life, event
from policy_kit import living

from models.facts import turn_of
from models.member import CELL, Member
from models.quintiles import Base
from models.rfm import RfmTable
from models.times import parse_instant

BEGIN = NOON // CELL * CELL
TABLE = RfmTable(
    date="2025-01-01",
    begins=0,
    base="made",
    members=100,
    recency=(10 * DAY, 20 * DAY, 30 * DAY, 40 * DAY),
    frequency=(1, 2, 3, 4),
    monetary=(100_00, 200_00, 300_00, 400_00),
)
SEGMENTS = {
    "spent": {"spend": {"at_least": 100, "within": "364d"}},
    "scored": {"rfm": {"monetary": {"at_least": 2}}},
}


def lives(folder: Path, ordered: int, names: list[str]) -> list[Life]:
    book = book_with(folder, SEGMENTS, tables=(TABLE,))
    found = [Life(book, name) for name in names]
    for one in found:
        one.sees("purchase", ordered, total=100)
        one.is_saved_and_loaded()
        one.reaches(BEGIN + 500 * DAY)
    return found


def test_spend_and_its_score_leave_the_year_together(tmp_path: Path) -> None:
    for day in (0, 13, 27):
        ordered = BEGIN + day * DAY
        (life,) = lives(tmp_path / str(day), ordered, ["m1"])
        left = {name: parse_instant(at) for name, at in moves(life) if name[0] == "-"}
        end = BEGIN + CELL + 364 * DAY + turn_of("m1")
        assert left == {"-spent": end, "-scored": end}
        assert 364 * DAY <= end - ordered < (364 + 29) * DAY


def test_no_two_members_leave_in_the_same_instant(tmp_path: Path) -> None:
    names = [f"m{number}" for number in range(40)]
    left = {
        at
        for life in lives(tmp_path, BEGIN + DAY, names)
        for name, at in moves(life)
        if name == "-spent"
    }
    assert len(left) == len(names)
    hours = {at[11:13] for at in left}
    assert len(hours) > 12


def test_what_crosses_goes_out_when_the_segment_is_left() -> None:
    when = {"crosses": {"number": "spend", "below": 100, "back_at_least": 100, "within": "28d"}}
    for name in ("m1", "m2"):
        life = living({}, {"rule": "fell", "when": when}, name=name)
        life.sees("purchase", BEGIN + DAY, total=100)
        life.is_saved_and_loaded()
        life.reaches(BEGIN + 3 * CELL)
        (trigger,) = life.triggers
        assert parse_instant(trigger.due_at) == BEGIN + 2 * CELL + turn_of(name)


def test_a_late_order_still_finds_the_oldest_cell_of_its_year(tmp_path: Path) -> None:
    book = book_with(tmp_path, SEGMENTS, tables=(TABLE,))
    ends = BEGIN + CELL + 364 * DAY + turn_of("m1")
    life = Life(book, "m1")
    life.sees("purchase", BEGIN + CELL - 1, total=60)
    life.sees("purchase", ends - 2, total=1)
    life.sees("purchase", ends - 3, total=39)
    assert ("+spent", ends - 3) in [(name, parse_instant(at)) for name, at in moves(life)]


def test_quintiles_count_the_year_that_scores_count() -> None:
    member = Member(id="m1", anonymous=False)
    life = living({})
    life.member = member
    life.folds(event("purchase", BEGIN + DAY, total=100))
    end = BEGIN + CELL + 364 * DAY + turn_of("m1")
    for until, counted in ((end - 1, 1), (end, 0)):
        base = Base(until)
        base.add(member)
        assert base.frequency.count == counted
