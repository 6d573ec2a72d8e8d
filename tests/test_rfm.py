"""RFM: scores by published, dated quintiles; nobody jumps to and fro."""

import json
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from audience_kit import book_with, moves
from core_builders import DAY, HOUR, MINUTE, NOON, Life, event, odd, random_log, row_of
from disorder import is_the_same_when_saved

from app.cli import main
from config.paths import load_config, package_dir
from config.rfm_files import file_of, read_tables
from models.engine import advance, next_due
from models.member import Member
from models.outcome import Context
from models.projection import project
from models.quantiles import Sketch
from models.quintiles import Base
from models.rfm import Rfm, RfmTable, pack, scored, unpack
from models.rulebook import RuleBook
from models.times import rfc3339
from models.triggers import RfmScores, Transition

FIRST = RfmTable(
    date="2026-01-01",
    begins=NOON - 12 * HOUR,
    base="made",
    members=1000,
    recency=(10 * DAY, 20 * DAY, 40 * DAY, 80 * DAY),
    frequency=(2, 3, 5, 10),
    monetary=(50_00, 100_00, 200_00, 500_00),
)


def later(begins: int, **bounds: Any) -> RfmTable:
    return msgspec.structs.replace(FIRST, date=rfc3339(begins)[:10], begins=begins, **bounds)


def book(folder: Path, *tables: RfmTable, segments: Any = None, rules: Any = ()) -> RuleBook:
    return book_with(folder, segments or {}, *rules, tables=tables or (FIRST,))


def scores(life: Life) -> tuple[int, int, int] | None:
    shown = project(life.member, None, life.book).rfm
    return None if shown is None else (shown.recency, shown.frequency, shown.monetary)


def test_scores_go_from_one_to_five_and_fit_into_one_number() -> None:
    every = [Rfm(r, f, m) for r in range(1, 6) for f in range(1, 6) for m in range(1, 6)]
    assert [unpack(pack(one)) for one in every] == every
    assert sorted(map(pack, every)) == list(range(1, 126))
    assert unpack(0) is None


def test_who_never_ordered_has_none_and_an_order_gives_all_three(tmp_path: Path) -> None:
    life = Life(book(tmp_path))
    life.sees("visit", NOON)
    assert scores(life) is None
    life.sees("purchase", NOON + 1, total=100)
    shown = project(life.member, None, life.book).rfm
    assert shown == RfmScores(5, 1, 3, "2026-01-01")


def test_a_score_begins_at_its_bound(tmp_path: Path) -> None:
    for orders, frequency in ((1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (9, 4), (10, 5)):
        life = Life(book(tmp_path / str(orders)))
        for number in range(orders):
            life.sees("purchase", NOON + number, total=0.01)
        assert scores(life) == (5, frequency, 1)
    for total, monetary in ((49.99, 1), (50, 2), (199.99, 3), (200, 4), (500, 5)):
        life = Life(book(tmp_path / f"m{total}"))
        life.sees("purchase", NOON, total=total)
        assert scores(life) == (5, 1, monetary)


def test_recency_falls_by_time_alone_a_tenth_after_the_bound(tmp_path: Path) -> None:
    life = Life(book(tmp_path))
    life.sees("purchase", NOON)
    seen = []
    while (due := next_due(life.member, life.book)) < NOON + 89 * DAY:
        before = scores(life)
        life.reaches(due)
        if scores(life) != before:
            seen.append((due - NOON, scores(life)))
    assert seen == [
        (11 * DAY, (4, 1, 1)),
        (22 * DAY, (3, 1, 1)),
        (44 * DAY, (2, 1, 1)),
        (88 * DAY, (1, 1, 1)),
    ]
    life.sees("purchase", NOON + 89 * DAY)
    assert scores(life) == (5, 2, 1)


def test_what_lies_a_year_back_no_longer_counts(tmp_path: Path) -> None:
    life = Life(book(tmp_path))
    for number in range(3):
        life.sees("purchase", NOON + number, total=100)
    life.sees("purchase", NOON + 300 * DAY, total=60)
    assert scores(life) == (5, 3, 4)
    life.reaches(NOON + 400 * DAY)
    assert scores(life) == (1, 1, 2)
    life.reaches(NOON + 2000 * DAY)
    assert scores(life) == (1, 1, 1)


def test_a_new_table_counts_from_its_date_on(tmp_path: Path) -> None:
    second = later(NOON + 5 * DAY, monetary=(10_00, 20_00, 30_00, 40_00))
    life = Life(book(tmp_path, FIRST, second))
    life.sees("purchase", NOON, total=60)
    assert scores(life) == (5, 1, 2)
    assert next_due(life.member, life.book) == NOON + 5 * DAY
    life.reaches(NOON + 5 * DAY - 1)
    assert scores(life) == (5, 1, 2)
    life.reaches(NOON + 5 * DAY)
    assert scores(life) == (5, 1, 5)
    assert project(life.member, None, life.book).rfm == RfmScores(5, 1, 5, second.date)


def test_before_the_first_table_nobody_has_scores(tmp_path: Path) -> None:
    life = Life(book(tmp_path))
    life.sees("purchase", FIRST.begins - DAY)
    assert scores(life) is None
    life.reaches(FIRST.begins)
    assert scores(life) == (5, 1, 1)


def test_tables_that_differ_a_little_move_nobody_to_and_fro(tmp_path: Path) -> None:
    tables = [FIRST]
    for number in range(1, 40):
        factor = 1.04 if number % 2 else 0.97
        tables.append(
            later(
                NOON + number * DAY,
                monetary=tuple(round(bound * factor) for bound in FIRST.monetary),
                recency=tuple(round(bound * factor) for bound in FIRST.recency),
            )
        )
    random = Random(1)
    jumps = {True: 0, False: 0}
    for member in range(60):
        life = Life(book(tmp_path / str(member), *tables))
        life.sees("purchase", NOON, total=random.uniform(20, 600))
        said = [scores(life)]
        plain = [_exact(life, tables[0])]
        for number, table in enumerate(tables):
            life.reaches(NOON + number * DAY + 1)
            said.append(scores(life))
            plain.append(_exact(life, table))
        for kept, found in ((True, said), (False, plain)):
            values = [one[2] for one in found if one is not None]
            jumps[kept] += sum(
                a == c != b for a, b, c in zip(values, values[1:], values[2:], strict=False)
            )
    assert jumps[True] == 0
    assert jumps[False] > 100, "without what is kept the same tables make members jump"


def _exact(life: Life, table: RfmTable) -> tuple[int, int, int] | None:
    """The scores that nothing leans on."""
    labels, life.member.labels = life.member.labels, None
    try:
        return unpack(scored(life.member, (table,), life.member.advanced_to))
    finally:
        life.member.labels = labels


def test_when_tables_change_without_a_restart_in_between_the_next_wake_is_at_once(
    tmp_path: Path,
) -> None:
    old, new = (
        book(tmp_path / "1"),
        book(tmp_path / "2", later(FIRST.begins, frequency=(1, 1, 1, 1))),
    )
    assert old.digest != new.digest
    life = Life(old)
    life.sees("purchase", NOON)
    assert next_due(life.member, new) == NOON + 1
    advance(life.member, NOON + 1, Context(new))
    life.book = new
    assert scores(life) == (5, 5, 1)
    none = book_with(tmp_path / "3", {})
    assert next_due(life.member, none) == NOON + 2
    advance(life.member, NOON + 2, Context(none))
    assert life.member.labels is None


def test_segments_and_rules_ask_for_scores_and_move_with_them(tmp_path: Path) -> None:
    wanted = {"best": {"rfm": {"recency": {"at_least": 4}, "monetary": {"at_least": 5}}}}
    rule = odd("it", {"event": "purchase"}, **{"if": {"rfm": {"frequency": {"below": 2}}}})
    life = Life(
        book(tmp_path, segments=wanted, rules=(rule, odd("in", {"segment_entered": "best"})))
    )
    life.sees("visit", NOON - 1)
    life.sees("purchase", NOON, total=600)
    life.sees("purchase", NOON + 1, total=1)
    assert life.verdicts == [("in", "raised"), ("it", "raised"), ("it", "condition")]
    life.reaches(NOON + 50 * DAY)
    assert moves(life) == [
        ("+best", rfc3339(NOON)),
        ("-best", rfc3339(NOON + 1 + 22 * DAY)),
    ]


@pytest.mark.parametrize("step", [MINUTE, 5 * HOUR, 9 * DAY])
def test_saving_at_any_moment_changes_nothing_of_scores(tmp_path: Path, step: int) -> None:
    wanted = {
        "best": {"rfm": {"recency": {"at_least": 3}}},
        "often": {"rfm": {"frequency": {"at_least": 2}}},
    }
    rules = [
        odd(f"{kind}_{name}", {f"segment_{kind}": name})
        for name in wanted
        for kind in ("entered", "left")
    ]
    tables = (later(NOON + step), later(NOON + 9 * step, frequency=(1, 2, 3, 4)))
    is_the_same_when_saved(book(tmp_path, *tables, segments=wanted, rules=rules), step)


def test_scores_are_right_whenever_the_row_is_looked_at(tmp_path: Path) -> None:
    found = book(tmp_path, FIRST, later(NOON + 100 * DAY, frequency=(1, 2, 3, 4)))
    for seed in range(20):
        random = Random(seed)
        life = Life(found)
        for one in sorted(random_log(random, 5 * DAY, 30), key=lambda e: e["occurred_at"]):
            if one.get("member_id") != "m1" or one["type"] == "erase":
                continue
            life.folds(one)
            member = life.member
            said = member.labels.rfm if member.labels is not None else 0
            due = min(next_due(member, found), member.advanced_to + 500 * DAY)
            for at in (member.advanced_to, due - 1):
                assert scored(member, found.audiences.tables, at) == said


# --- tables ---------------------------------------------------------------------------------------


def test_a_sketch_knows_small_numbers_exactly_and_large_ones_to_a_hundredth() -> None:
    random = Random(3)
    for spread in (lambda: random.randrange(1, 60), lambda: int(random.lognormvariate(12, 2)) + 1):
        numbers = sorted(spread() for _ in range(5000))
        sketch = Sketch()
        for number in numbers:
            sketch.add(number)
        for part in range(1, 5):
            found = sketch.above(part, 5)
            below = sum(number < found for number in numbers)
            assert found in numbers
            assert below * 5 >= part * len(numbers)
            # The first number that would do lies at most a hundredth lower.
            right = next(n for n in numbers if sum(m < n for m in numbers) * 5 >= part * 5000)
            assert right <= found <= right * 1.01 + (0 if right > 60 else 1e-9)


def test_sketches_of_parts_add_up_in_any_order() -> None:
    random = Random(4)
    parts = [[random.randrange(1, 10**6) for _ in range(200)] for _ in range(4)]
    whole = Sketch()
    for number in (number for part in parts for number in part):
        whole.add(number)
    for order in (parts, parts[::-1]):
        added = Sketch()
        for part in order:
            one = Sketch()
            for number in part:
                one.add(number)
            added.merge(one)
        assert [added.above(n, 5) for n in range(1, 5)] == [whole.above(n, 5) for n in range(1, 5)]
        assert added.count == 800


def test_a_bound_that_nobody_reaches_lies_above_all() -> None:
    sketch = Sketch()
    for _ in range(10):
        sketch.add(1)
    added = Sketch()
    added.merge(sketch)
    assert sketch.above(1, 5) == added.above(1, 5) == 2


def test_each_score_of_a_table_is_a_fifth_of_its_base() -> None:
    base = Base(NOON + 400 * DAY)
    members = []
    random = Random(5)
    for number in range(2000):
        life = Member(f"m{number}", False)
        at = NOON + 60 * DAY + int(random.uniform(0, 340 * DAY))
        life.orders = [at]
        life.ring = [at // (28 * DAY), random.randrange(1, 4000), random.randrange(1, 10**6)]
        members.append(life)
        base.add(life)
    table = base.table("made")
    assert (table.members, table.date, table.begins) == (
        2000,
        "2027-02-06",
        NOON + 400 * DAY + 12 * HOUR,
    )
    found = [unpack(scored(member, (table,), base.until + DAY)) for member in members]
    for what in range(3):
        tally = [
            sum(one is not None and one[what] == score for one in found) for score in range(1, 6)
        ]
        assert all(330 < count < 470 for count in tally), tally


def test_the_command_adds_a_table_and_keeps_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log, out = tmp_path / "log.jsonl", tmp_path / "rfm.yaml"
    events = [event("purchase", NOON + n * DAY, f"m{n}", total=10 * (n + 1)) for n in range(10)] + [
        event("visit", NOON + 50 * DAY)
    ]
    log.write_text("\n".join(json.dumps(one) for one in events))
    until = rfc3339(NOON + 10 * DAY)
    assert main(["rfm", str(log), "--base", "it's us", "--out", str(out), "--until", until]) == 0
    (first,), errors = read_tables(out)
    assert errors == []
    assert first.base == "it's us"
    assert first.recency == (3 * DAY, 5 * DAY, 7 * DAY, 9 * DAY)
    assert first.frequency == (2, 2, 2, 2)
    assert first.monetary == (30_00, 50_00, 70_00, 90_00)
    assert main(["rfm", str(log), "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"members": 10, "date": "2026-01-11"}
    tables, _ = read_tables(out)
    assert [table.date for table in tables] == ["2026-01-11", "2026-01-12"] or len(tables) == 1
    assert main(["rfm", str(log), "--until", until]) == 0
    assert capsys.readouterr().out == file_of([first]).replace("it''s us", "log.jsonl")


def test_the_command_tells_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text(json.dumps(event("visit", NOON)))
    assert main(["rfm", str(log)]) == 1
    assert capsys.readouterr().err == "there is no order in the files\n"
    assert main(["rfm", str(tmp_path / "none.jsonl")]) == 2
    log.write_text(json.dumps(event("purchase", NOON)))
    out = tmp_path / "rfm.yaml"
    out.write_text("tables: 1\n")
    assert main(["rfm", str(log), "--out", str(out)]) == 2
    assert out.read_text() == "tables: 1\n"


def test_the_shipped_table_is_that_of_the_sample_in_the_package(tmp_path: Path) -> None:
    out = tmp_path / "rfm.yaml"
    [table] = load_config().audiences.tables
    sample = package_dir() / "data" / "uci_sample.jsonl.gz"
    assert main(["rfm", str(sample), "--base", table.base, "--out", str(out)]) == 0
    assert out.read_text() == (package_dir() / "rfm.yaml").read_text()


def test_every_mistake_in_a_file_is_told_at_its_place(tmp_path: Path) -> None:
    path = tmp_path / "rfm.yaml"
    path.write_text(
        "tables:\n"
        "  - date: 2026-13-01\n"
        "    base: us\n"
        "    members: 0\n"
        "    recency: [10d, 5d, 20d, 30d]\n"
        "    frequency: [1, 2, 3]\n"
        "    monetry: [1, 2, 3, 4]\n"
    )
    _, errors = read_tables(path)
    assert [(one.line, one.column, one.field, one.message) for one in errors] == [
        (
            7,
            5,
            "tables[0].monetry",
            "is not known here; allowed: date, base, members, recency, frequency, monetary; "
            "did you mean 'monetary'?",
        ),
        (2, 11, "tables[0].date", "must be a date such as 2026-11-22, was the text '2026-13-01'"),
        (
            4,
            14,
            "tables[0].members",
            "must be a whole number from 1 to 1000000000000, was the number 0",
        ),
        (5, 14, "tables[0].recency", "each must be as great as the one before, or greater"),
        (6, 16, "tables[0].frequency", "has 3 numbers, needs 4: five scores begin at four"),
        (2, 5, "tables[0].monetary", "is missing"),
    ]


def test_tables_come_in_order_of_time(tmp_path: Path) -> None:
    path = tmp_path / "rfm.yaml"
    path.write_text(file_of([later(NOON + DAY), FIRST]))
    _, [error] = read_tables(path)
    assert error.message == "2026-01-01 must come after 2026-01-02"
    path.write_text("# none\n")
    assert read_tables(path) == ((), [])


def test_a_row_with_scores_alone_is_small(tmp_path: Path) -> None:
    life = Life(book(tmp_path))
    life.sees("purchase", NOON)
    with_scores = len(row_of(life.member, life.book))
    life.member.labels = None
    assert with_scores - len(row_of(life.member, life.book)) == 4


def test_scores_are_no_transitions(tmp_path: Path) -> None:
    life = Life(book(tmp_path))
    life.sees("purchase", NOON)
    life.reaches(NOON + 12 * DAY)
    said = [d for o in life.outcomes for d in o.decisions if isinstance(d, Transition)]
    assert {one.kind for one in said} <= {"stage"}
