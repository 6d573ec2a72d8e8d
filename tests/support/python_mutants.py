"""Mutants of the modules that decide: one operator, number or statement changed, and who notices.

Each mutant is written into a copy of the tree, and test files run there, the fastest first, until
one of them fails. What all of them pass survives. So is each line of the shipped policy.
"""

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from hashlib import sha256
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import shorten
from typing import Any, NamedTuple, TypeAlias

from rule_mutants import mutations

from config.errors import ConfigErrors
from config.policy_files import load_policy
from config.yaml_source import parse_file, plain

ROOT = Path(__file__).resolve().parents[2]
MODULES = (
    *("contacts", "deciding", "hearing", "holding", "holdout", "overtaking"),
    *("pace", "permission", "pressure", "standing"),
)
TESTS = (
    *("test_core_open_triggers", "test_own_pace", "test_policy"),
    *("test_suspended", "test_policy_machine"),
)
POLICY = "config/policy.yaml"
POLICY_TESTS = ("test_policy_files",)
# A mutant that loops for ever is caught by this; the tests take about a minute on a busy machine.
PATIENCE_SECONDS = 300

_FLIPPED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_SWAPPED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}


Slip: TypeAlias = Callable[[Any], None]


class SourceMutant(NamedTuple):
    """A file of the tree with one mistake."""

    file: str
    what: str
    text: str


class Place(NamedTuple):
    """Where a module can be mutated: the number of a node, and of the slip at that node."""

    file: str
    what: str
    node: int
    slip: int


def places_in(file: str, source: str) -> Iterator[Place]:
    """Every place of one module, in words."""
    for number, node in enumerate(ast.walk(ast.parse(source))):
        for index, (what, _) in enumerate(_slips(node)):
            yield Place(file, f"{file}:{getattr(node, 'lineno', 1)}: {what}", number, index)


def mutant_at(place: Place, source: str) -> SourceMutant:
    """The module with the slip at a place."""
    tree = ast.parse(source)
    node: Any = next(islice(ast.walk(tree), place.node, None))
    _, slip = list(_slips(node))[place.slip]
    slip(node)
    return SourceMutant(place.file, place.what, ast.unparse(ast.fix_missing_locations(tree)))


def _slips(node: Any) -> Iterator[tuple[str, Slip]]:
    """Each small mistake that can be made at a node, with what makes it there."""
    match node:
        case ast.Compare(ops=[operator]) if type(operator) in _FLIPPED:
            flipped = _FLIPPED[type(operator)]
            yield f"{_said(node)}: {flipped.__name__}", partial(_set, ops=[flipped()])
        case ast.BinOp(op=operator) if type(operator) in _SWAPPED:
            swapped = _SWAPPED[type(operator)]
            yield f"{_said(node)}: {swapped.__name__}", partial(_set, op=swapped())
        case ast.BoolOp(op=operator):
            other = ast.Or() if isinstance(operator, ast.And) else ast.And()
            yield f"{_said(node)}: {type(other).__name__}", partial(_set, op=other)
        case ast.If(test=test) | ast.IfExp(test=test):
            yield f"{_said(test)}: the opposite", partial(_set, test=_not(test))
        case ast.Constant(value=bool() as value):
            yield f"{value}: the opposite", partial(_set, value=not value)
        case ast.Constant(value=int() as value):
            yield f"{value}: one more", partial(_set, value=value + 1)
    body = getattr(node, "body", ())
    for index, statement in enumerate(body if isinstance(body, list) else ()):
        if _does_something(statement):
            yield f"{_said(statement)}: left out", partial(_leave_out, index=index)


def _set(node: ast.AST, **fields: Any) -> None:
    for name, value in fields.items():
        setattr(node, name, value)


def _leave_out(node: Any, index: int) -> None:
    node.body[index] = ast.Pass()


def _not(test: ast.expr) -> ast.expr:
    return ast.UnaryOp(ast.Not(), test)


def _does_something(statement: ast.AST) -> bool:
    """Tell whether a statement changes anything but a name, without which nothing would run."""
    match statement:
        case ast.Expr(value=value):
            return not isinstance(value, ast.Constant)
        case ast.Assign(targets=[target]):
            return not isinstance(target, ast.Name)
        case ast.AugAssign() | ast.Delete() | ast.Continue() | ast.Break():
            return True
    return False


def _said(node: ast.AST) -> str:
    return shorten(ast.unparse(node), 70, placeholder="...")


def places_of_policy() -> list[Place]:
    """Every place of the modules that decide."""
    files = [f"models/{name}.py" for name in MODULES]
    return [place for file in files for place in places_in(file, (ROOT / file).read_text())]


def sampled(places: Iterable[Place], count: int) -> list[Place]:
    """So many of them, always the same: chosen by a hash of what they are."""

    def lot(place: Place) -> str:
        return sha256(repr(tuple(place)).encode()).hexdigest()

    return sorted(sorted(places, key=lot)[:count])


def module_mutants(count: int) -> list[SourceMutant]:
    """A sample of the mutants of the modules that decide."""
    chosen = sampled(places_of_policy(), count)
    return [mutant_at(place, (ROOT / place.file).read_text()) for place in chosen]


def policy_mutants() -> list[SourceMutant]:
    """The shipped policy with one line, number or duration that is another one, and is read so."""
    root, _ = parse_file(ROOT / POLICY)
    assert root is not None
    document = plain(root)
    assert isinstance(document, dict)
    found = [
        SourceMutant(POLICY, f"{POLICY}: {what}", json.dumps(changed))
        for what, changed in mutations(document)
    ]
    return [mutant for mutant in found if _is_another_policy(mutant.text)]


def _is_another_policy(text: str) -> bool:
    """Tell whether a policy is read, and as another one: some lines say what holds without them."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "policy.yaml"
        path.write_text(text)
        try:
            return load_policy(path) != load_policy(ROOT / POLICY)
        except ConfigErrors:
            return False


class Copy:
    """A copy of the tree in which one file at a time is another one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for name in ("app", "agents", "models", "config", "tests", "docs"):
            shutil.copytree(ROOT / name, folder / name)
        for name in ("pyproject.toml", "README.md"):
            shutil.copy(ROOT / name, folder)

    def fails(self, tests: Sequence[str]) -> bool:
        """Tell whether one of the test files fails, or does not end."""
        words = ("-m", "pytest", "-x", "-q", "-p", "no:cacheprovider")
        files = [f"tests/{name}.py" for name in tests]
        path = f"{self._folder}{os.pathsep}{self._folder / 'tests' / 'support'}"
        # A compiled file of the same second and size would be taken for the mutant's.
        environment = os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        try:
            done = subprocess.run(
                [sys.executable, *words, *files],
                cwd=self._folder,
                env=environment,
                capture_output=True,
                timeout=PATIENCE_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return True
        return done.returncode != 0

    def notices(self, mutant: SourceMutant, tests: Sequence[str]) -> bool:
        """Tell whether a test fails while the mutant is there."""
        path = self._folder / mutant.file
        kept = path.read_text()
        path.write_text(mutant.text)
        try:
            return self.fails(tests)
        finally:
            path.write_text(kept)
