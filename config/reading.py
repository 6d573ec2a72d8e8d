"""Take typed values out of a YAML tree, and go on after a mistake to find the next one.

A reader that meets a mistake reports it and returns a placeholder of the right type; whoever builds
something asks the report first whether there was a mistake.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from typing import TypeVar

from config.errors import ConfigError
from config.yaml_source import Node, Place
from models.times import DAY, format_duration, parse_duration

T = TypeVar("T")
D = TypeVar("D")
Text = TypeVar("Text", bound=str)

# Ten years and a leap day or three: "ever", for a shop. Keeps instants far from any overflow.
MAX_DURATION = 3660 * DAY

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


class Report:
    """The mistakes of one file; ``rule`` is set as soon as it is known."""

    def __init__(self, file: str, rule: str = "") -> None:
        self.file = file
        self.rule = rule
        self.errors: list[ConfigError] = []

    def add(self, place: Place, field: str, message: str) -> None:
        """Note one mistake."""
        error = ConfigError(self.file, place.line, place.column, self.rule, field, message)
        self.errors.append(error)


def suggestion(given: str, allowed: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?``, or nothing when nothing is near."""
    near = get_close_matches(given, list(allowed), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def describe(node: Node) -> str:
    """Say what was given, in a few words."""
    match node.value:
        case None:
            return "nothing"
        case bool(value):
            return str(value).lower()
        case int(value) | float(value):
            return f"the number {value}"
        case str(value):
            return f"the text {value if len(value) <= 60 else value[:57] + '...'!r}"
        case list():
            return "a list"
        case _:
            return "a mapping"


class Field:
    """One value, with the path that leads to it. A missing one (reported) reads as placeholders."""

    def __init__(self, node: Node | None, path: str, report: Report) -> None:
        self.node = node
        self.path = path
        self.report = report

    def wrong(self, message: str) -> None:
        """Report a mistake at this value."""
        if self.node is not None:
            self.report.add(self.node.place, self.path, message)

    def must(self, wanted: str) -> None:
        """Report that this value had to be something else."""
        if self.node is not None:
            self.wrong(f"must be {wanted}, was {describe(self.node)}")

    def text(self, wanted: str = "text") -> str:
        """Return text that is not empty."""
        value = self.node.value if self.node else None
        if isinstance(value, str) and value.strip():
            return value
        hint = " (write it in quotes)" if isinstance(value, bool | int | float) else ""
        self.must(wanted + hint)
        return ""

    def line(self, longest: int = 200) -> str:
        """Return one line of text."""
        value = self.text("one line of text")
        if "\n" in value.strip() or len(value) > longest:
            self.wrong(f"must be one line of at most {longest} characters")
        return value.strip()

    def name(self) -> str:
        """Return an identifier."""
        value = self.text("a name")
        if value and not _NAME.fullmatch(value):
            self.must("a name (small letters, digits and _, starting with a letter)")
        return value

    def integer(self, lowest: int, highest: int) -> int:
        """Return a whole number within the bounds."""
        value = self.node.value if self.node else None
        if isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest:
            return value
        self.must(f"a whole number from {lowest} to {highest}")
        return lowest

    def number(self, lowest: float, highest: float) -> float:
        """Return a number within the bounds."""
        value = self.node.value if self.node else None
        right = isinstance(value, int | float) and not isinstance(value, bool)
        if right and lowest <= value <= highest:  # type: ignore[operator]
            return float(value)  # type: ignore[arg-type]
        self.must(f"a number from {lowest:g} to {highest:g}")
        return lowest

    def flag(self) -> bool:
        """Return true or false."""
        value = self.node.value if self.node else None
        if isinstance(value, bool):
            return value
        self.must("true or false")
        return False

    def duration(self) -> int:
        """Return a duration in milliseconds."""
        value = self.node.value if self.node else None
        try:
            duration = parse_duration(value) if isinstance(value, str) else 0
        except ValueError:
            duration = 0
        if 0 < duration <= MAX_DURATION:
            return duration
        longest = format_duration(MAX_DURATION)
        self.must(f"a duration such as 15s, 30m, 2h or 90d, longer than 0 and at most {longest}")
        return 1

    def choice(self, allowed: Sequence[Text]) -> Text:
        """Return one of the allowed words."""
        value = self.node.value if self.node else None
        for word in allowed:
            if word == value:
                return word
        if isinstance(value, str):
            hint = suggestion(value, allowed)
            self.wrong(f"{value!r} is not known; allowed: {', '.join(allowed)}{hint}")
        else:
            self.must(f"one of {', '.join(allowed)}")
        return allowed[0]

    def each(self) -> list["Field"]:
        """Return the values of a list that is not empty, or the one value that is no list."""
        if self.node is None:
            return []
        if not isinstance(self.node.value, list):
            return [self]
        if not self.node.value:
            self.wrong("must not be an empty list")
        return [
            Field(node, f"{self.path}[{index}]", self.report)
            for index, node in enumerate(self.node.value)
        ]

    def names(self) -> tuple[str, ...]:
        """Return a list of different names, in its order."""
        if self.node is not None and not isinstance(self.node.value, list):
            self.must("a list of names")
            return ()
        found: list[str] = []
        for field in self.each():
            name = field.name()
            if name in found:
                field.wrong(f"{name!r} stands twice")
            found.append(name)
        return tuple(found)

    def section(self, known: Sequence[str]) -> "Section":
        """Return this value as a mapping with the known keys; every other key is reported."""
        section = self.open_section(f"a mapping with {', '.join(known)}")
        section.only(known)
        return section

    def open_section(self, wanted: str) -> "Section":
        """Return this value as a mapping whose keys are checked later, with ``only``."""
        if self.node is not None and not isinstance(self.node.value, dict):
            self.must(wanted)
        return Section(self)


class Section:
    """A mapping. A broken one (no mapping, reported) has no keys."""

    def __init__(self, field: Field) -> None:
        self.field = field
        self._report = field.report
        node = field.node
        self.broken = node is None or not isinstance(node.value, dict)
        self._fields = node.value if node is not None and isinstance(node.value, dict) else {}

    def only(self, known: Sequence[str], why: str = "is not known here") -> None:
        """Report every key that is not known."""
        for key in self._fields:
            if key not in known:
                assert self.field.node is not None
                hint = suggestion(key, known)
                message = f"{why}; allowed: {', '.join(known) or 'none'}{hint}"
                self._report.add(self.field.node.keys[key], self._path(key), message)

    def _path(self, key: str) -> str:
        return f"{self.field.path}.{key}" if self.field.path else key

    def is_empty(self) -> bool:
        """Tell whether it is a mapping with nothing in it."""
        return not self.broken and not self._fields

    def __contains__(self, key: str) -> bool:
        return key in self._fields

    def require(self, key: str, why: str = "is missing") -> Field:
        """Return a field that must be there; a missing one is reported."""
        node = self._fields.get(key)
        if node is None and not self.broken and self.field.node is not None:
            self._report.add(self.field.node.place, self._path(key), why)
        return Field(node, self._path(key), self._report)

    def optional(self, key: str, read: Callable[[Field], T], default: D) -> T | D:
        """Return what ``read`` makes of a field, or the default when it is not there."""
        node = self._fields.get(key)
        return default if node is None else read(Field(node, self._path(key), self._report))
