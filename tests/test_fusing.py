"""Fused functions: they give what their formulas give one after the other, and ask no more."""

import random
from math import inf, isnan, nan

import pytest

from models.fusing import Fused, Table, again

SQUARES = {"SQUARE": Table(lambda number: number * number, 5)}


def fused(formulas: str, *wanted: str, **numbers: float) -> object:
    """Return what the function of x = 3 answers."""
    return Fused(("x",), formulas, wanted, {"TWO": 2, "len": len}, SQUARES).given(numbers)(3)


def test_only_what_the_answer_needs_is_asked() -> None:
    assert fused("a = x + TWO\nb = 1 / 0\nc = a * a", "c", "x") == (25, 3)
    with pytest.raises(ZeroDivisionError):
        fused("a = x + TWO\nb = 1 / 0\nc = a * a", "b", "c")


def test_a_name_without_a_meaning_is_a_number_that_must_be_given() -> None:
    assert fused("a = x * weight + bias", "a", weight=2.0, bias=0.5) == (6.5)
    with pytest.raises(KeyError, match="bias"):
        fused("a = x * weight + bias", "a", weight=2.0)


def test_a_function_is_given_other_numbers_without_changing_the_first() -> None:
    shape = Fused(("x",), "a = x * weight", ("a",), {}, {})
    one, other = shape.given({"weight": 2.0}), shape.given({"weight": 5.0})
    assert (one(3), other(3)) == (6.0, 15.0)


def test_any_number_is_a_number_also_one_that_cannot_be_written() -> None:
    assert fused("a = x * weight", "a", weight=-inf) == -inf
    answer = fused("a = x * weight", "a", weight=nan)
    assert isinstance(answer, float)
    assert isnan(answer)
    assert fused("a = weight", "a", "TWO", weight=4.0) == (4.0, 2)


def test_what_is_beyond_a_table_is_worked_out() -> None:
    assert fused("a = SQUARE[x] + SQUARE[x + 1]", "a") == 25
    assert fused("a = SQUARE[x] + SQUARE[x + 700]", "a") == 9 + 703 * 703


def test_a_table_is_given_like_a_number() -> None:
    shape = Fused(("x",), "a = TIMES[x] + SQUARE[x]", ("a",), {}, SQUARES)
    twice, thrice = (
        shape.given({"TIMES": Table(lambda number, by=by: number * by, 5)}) for by in (2, 3)
    )
    assert (twice(3), thrice(3)) == (6 + 9, 9 + 9)
    assert (twice(700), thrice(700)) == (1400 + 490_000, 2100 + 490_000)


def test_a_name_is_made_once() -> None:
    with pytest.raises(ValueError, match="made twice: a"):
        fused("a = x\nb = a\na = b + 1", "a")


def test_formulas_serve_another_day_beside_the_first() -> None:
    formulas = "age = day - x\nshare = age / TWO\n"
    both = formulas + "day_later = day + 10\n" + again(formulas, "_later")
    function = Fused(("x", "day"), both, ("share", "share_later"), {"TWO": 2}, {}).given({})
    assert function(1, 5) == (2.0, 7.0)


def any_formulas(rng: random.Random) -> tuple[str, list[str]]:
    """Formulas of the kinds that there are, of what was made before, and all that they make."""
    made, lines = ["x"], []
    for number in range(rng.randrange(1, 40)):
        one, two, three = (rng.choice(made) for _ in range(3))
        names = [f"n{number}"]
        match rng.randrange(4):
            case 0:
                lines.append(f"n{number} = {one} - {two} * 0.5")
            case 1:
                lines.append(f"n{number} = {one} if {two} > {three} else -{two}")
            case 2:
                names.append(f"m{number}")
                lines.append(f"n{number}, m{number} = {two}, {one} + 1")
            case 3:
                names.append(f"m{number}")
                lines.append(
                    f"if {one} > {two}:\n m{number} = {three} + 1\n n{number} = m{number} - {one}\n"
                    f"else:\n n{number} = m{number} = {two} * 0.25"
                )
        made += names
    return "\n".join(lines), made[1:]


def test_the_answer_is_that_of_the_formulas_one_after_the_other() -> None:
    rng = random.Random(4)
    for _ in range(300):
        formulas, made = any_formulas(rng)
        wanted = rng.choices(made, k=rng.randrange(1, 5))
        plain: dict[str, float] = {"x": 3}
        exec(formulas, plain)
        answer = fused(formulas, *wanted)
        assert (answer if len(wanted) > 1 else (answer,)) == tuple(plain[name] for name in wanted)
