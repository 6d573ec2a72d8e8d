"""Functions made of formulas: no more of them than the answer needs, and all in one piece.

What is asked with every event must not call, look up by name, pack and unpack. So formulas are
written once, as statements in plain Python each of which makes a variable, and a function is fused
from those that its answer needs; the same formulas serve one day, or two days in one go. Numbers of
a model are left open: a function is compiled once for its shape, and then given the numbers of
every version. All that is compiled is this program's own text. Numbers never become text.
"""

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from types import CodeType, FunctionType
from typing import Any, NamedTuple


def again(formulas: str, suffix: str) -> str:
    """Return the formulas of a ``day`` once more: it and all that they make has a ``suffix``."""
    steps = map(_step, ast.parse(formulas).body)
    made = "|".join({"day", *(name for step in steps for name in step.makes)})
    return re.sub(rf"(?<!\.)\b({made})\b", rf"\1{suffix}", formulas)


class Table:
    """What a function gives for the first whole numbers, looked up; for others it is asked."""

    def __init__(self, function: Callable[[int], Any], size: int) -> None:
        self.function = function
        self.first = tuple(map(function, range(size)))

    def __getitem__(self, number: int) -> Any:
        return self.function(number)


class Fused:
    """The function of ``arguments`` that returns what is ``wanted``, its numbers still open.

    ``formulas``: statements in an order in which they can be worked out, each variable made by one
    of them. ``known``: functions and constants that they name; ``tables``: what they index. Names
    that are left are numbers. Raises ``ValueError`` when something is made twice.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        formulas: str,
        wanted: Sequence[str],
        known: Mapping[str, Any],
        tables: Mapping[str, Table],
    ) -> None:
        named = ", ".join(arguments)
        module = ast.parse(
            f"def fused({named}):\n"
            f" try: return {', '.join(wanted)}\n"
            f" except IndexError: return beyond({named})"
        )
        match module.body:
            case [ast.FunctionDef(body=[ast.Try() as whole])]:
                steps, missing = _needed(formulas, set(wanted))
                _compact([*steps, *map(_step, whole.body)])
                whole.body[:0] = [step.statement for step in steps]
        fixed = {name: one for name, one in known.items() if isinstance(one, int | float)}
        open_ = {name: name for name in missing.difference(arguments, known)}
        _Fixing(fixed | open_).visit(module)
        self._known = dict(known)
        exec(compile(module, "<fused>", "exec"), self._known)  # noqa: S102
        self._code: CodeType = self._known["fused"].__code__
        self._tables = tables

    def given(self, numbers: Mapping[str, "float | Table"]) -> Any:
        """Return the function with its numbers; raises ``KeyError`` for one that is missing.

        A table that is a version's own is given like a number.
        """
        open_ = {**numbers, **self._tables}
        first = {name: one.first if isinstance(one, Table) else one for name, one in open_.items()}
        return self._filled(first, beyond=self._filled(open_))

    def _filled(self, open_: Mapping[str, Any], **known: Any) -> FunctionType:
        constants = tuple(_filled(one, open_) for one in self._code.co_consts)
        return FunctionType(self._code.replace(co_consts=constants), {**self._known, **known})


def _filled(constant: Any, numbers: Mapping[str, float]) -> Any:
    """Return a constant of the code; all that is text among them are names of numbers."""
    if isinstance(constant, tuple):
        return tuple(_filled(one, numbers) for one in constant)
    return numbers[constant] if isinstance(constant, str) else constant


class _Step(NamedTuple):
    statement: ast.stmt
    names: list[ast.Name]
    reads: dict[str, None]
    makes: dict[str, None]


def _step(statement: ast.stmt) -> _Step:
    """Return a statement and its names, each of what it reads and makes once, in order."""
    names = [node for node in ast.walk(statement) if isinstance(node, ast.Name)]
    reads = dict.fromkeys(node.id for node in names if isinstance(node.ctx, ast.Load))
    makes = dict.fromkeys(node.id for node in names if isinstance(node.ctx, ast.Store))
    return _Step(statement, names, reads, makes)


def _needed(formulas: str, wanted: set[str]) -> tuple[list[_Step], set[str]]:
    """Return those statements that it takes to make what is ``wanted``, and what none makes."""
    missing = set(wanted)
    made: set[str] = set()
    found: list[_Step] = []
    for step in map(_step, reversed(ast.parse(formulas).body)):
        twice = made.intersection(step.makes)
        if twice:
            raise ValueError(f"made twice: {', '.join(sorted(twice))}")
        made.update(step.makes)
        if not missing.isdisjoint(step.makes):
            found.append(step)
            missing.update(step.reads)
            missing.difference_update(step.makes)
    return found[::-1], missing


def _compact(steps: list[_Step]) -> None:
    """Let each variable have the place of one that is read no more.

    A hundred variables would be a hundred numbers that wait for their end; memory that was just
    used is faster.
    """
    ends = {name: at for at, step in enumerate(steps) for name in (*step.reads, *step.makes)}
    places: dict[str, str] = {}
    free: list[str] = []
    for at, step in enumerate(steps):
        over = [places[name] for name in step.reads if name in places and ends[name] == at]
        # What is assigned is worked out first; within anything else both go on at once.
        if isinstance(step.statement, ast.Assign):
            free += over
            over = []
        for name in step.makes:
            places[name] = free.pop() if free else f"_{len(places)}"
            if ends[name] == at:
                over.append(places[name])
        free += over
    for node in (node for step in steps for node in step.names):
        node.id = places.get(node.id, node.id)


class _Fixing(ast.NodeTransformer):
    """Puts constants where names are; the constant of an open number is its name."""

    def __init__(self, constants: Mapping[str, Any]) -> None:
        self._constants = constants

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id not in self._constants:
            return node
        return ast.copy_location(ast.Constant(self._constants[node.id]), node)
