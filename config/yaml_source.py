"""YAML as a tree that knows its lines: plain data only, and nothing that surprises.

Scalars are read by YAML 1.2's core schema, so that ``no`` is the country and ``1:30`` is no number
of seconds. Anchors, aliases, tags and a second document are refused: a rule file needs none, and
aliases can blow a few bytes up to gigabytes.
"""

import re
from collections.abc import Iterator
from math import isfinite
from pathlib import Path
from typing import Protocol, TypeAlias

import msgspec
import yaml

from config.errors import ConfigError

Scalar: TypeAlias = str | int | float | bool | None
Plain: TypeAlias = "Scalar | list[Plain] | dict[str, Plain]"

# Far above any rule; far below what recursion and patience bear.
_MAX_BYTES = 1 << 20
_MAX_DEPTH = 20

_NULL = re.compile(r"~|null|Null|NULL|")
_TRUE = re.compile(r"true|True|TRUE")
_FALSE = re.compile(r"false|False|FALSE")
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


class Place(msgspec.Struct, frozen=True):
    """A line and a column, both from 1."""

    line: int
    column: int


class Node(msgspec.Struct, frozen=True):
    """One value and where it stands; ``keys`` says where each key of a mapping stands."""

    value: "Scalar | list[Node] | dict[str, Node]"
    place: Place
    keys: dict[str, Place] = {}


def parse_file(path: Path) -> tuple[Node | None, list[ConfigError]]:
    """Read one YAML file; the tree is None when it cannot be read or holds nothing."""
    file = str(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        return None, [ConfigError(file, 1, 1, "", "", f"cannot be read: {error.strerror}")]
    if len(data) > _MAX_BYTES:
        return None, [ConfigError(file, 1, 1, "", "", "is larger than 1 MiB")]
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return None, [ConfigError(file, line, 1, "", "", "is not UTF-8 text")]
    return parse(text, file)


def parse(text: str, file: str) -> tuple[Node | None, list[ConfigError]]:
    """Return the tree of one YAML document, and every mistake found on the way."""
    builder = _Builder(file)
    try:
        root = builder.document(yaml.parse(text, Loader=yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        builder.refuse(_place(error.problem_mark), f"is not YAML: {error.problem}")
        root = None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        builder.refuse(Place(line, 1), "holds a character that YAML does not allow")
        root = None
    except _TooDeepError as error:
        builder.refuse(error.place, f"is nested more than {_MAX_DEPTH} deep")
        root = None
    return root, builder.errors


def plain(node: Node) -> Plain:
    """Return the tree without its places, as JSON would have it."""
    match node.value:
        case list(items):
            return [plain(item) for item in items]
        case dict(fields):
            return {key: plain(value) for key, value in fields.items()}
        case scalar:
            return scalar


class _TooDeepError(Exception):
    def __init__(self, place: Place) -> None:
        self.place = place


class _Mark(Protocol):
    line: int
    column: int


def _place(mark: _Mark | None) -> Place:
    return Place(1, 1) if mark is None else Place(mark.line + 1, mark.column + 1)


class _Builder:
    def __init__(self, file: str) -> None:
        self.file = file
        self.errors: list[ConfigError] = []

    def refuse(self, place: Place, message: str) -> None:
        self.errors.append(ConfigError(self.file, place.line, place.column, "", "", message))

    def document(self, events: Iterator[yaml.Event]) -> Node | None:
        root: Node | None = None
        documents = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self.refuse(_place(event.start_mark), "holds more than one document")
                    return None
            elif isinstance(event, yaml.NodeEvent):
                root = self.node(event, events, 1)
        return None if root is None or root.value is None else root

    def node(self, event: yaml.Event, events: Iterator[yaml.Event], depth: int) -> Node:
        place = _place(event.start_mark)
        if depth > _MAX_DEPTH:
            raise _TooDeepError(place)
        if isinstance(event, yaml.AliasEvent):
            self.refuse(place, f"aliases (*{event.anchor}) are not allowed: write the value out")
            return Node(None, place)
        anchor, tag = getattr(event, "anchor", None), getattr(event, "tag", None)
        if anchor is not None:
            self.refuse(place, f"anchors (&{anchor}) are not allowed")
        if tag is not None:
            self.refuse(place, f"tags ({tag}) are not allowed: plain values only")
        if isinstance(event, yaml.MappingStartEvent):
            return self.mapping(place, events, depth)
        if isinstance(event, yaml.SequenceStartEvent):
            return self.sequence(place, events, depth)
        assert isinstance(event, yaml.ScalarEvent)
        return Node(_scalar(event), place)

    def sequence(self, place: Place, events: Iterator[yaml.Event], depth: int) -> Node:
        items: list[Node] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            items.append(self.node(event, events, depth + 1))
        return Node(items, place)

    def mapping(self, place: Place, events: Iterator[yaml.Event], depth: int) -> Node:
        fields: dict[str, Node] = {}
        keys: dict[str, Place] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            key = self.node(event, events, depth + 1)
            value = self.node(next(events), events, depth + 1)
            if not isinstance(event, yaml.ScalarEvent):
                self.refuse(key.place, "a key must be a word")
                continue
            name = event.value
            if name in fields:
                first = keys[name].line
                self.refuse(key.place, f"the key {name!r} stands twice (first in line {first})")
                continue
            fields[name], keys[name] = value, key.place
        return Node(fields, place, keys)


def _scalar(event: yaml.ScalarEvent) -> Scalar:
    text: str = event.value
    if event.style is not None:  # quoted or a block: always text
        return text
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text):
        return True
    if _FALSE.fullmatch(text):
        return False
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and isfinite(number := float(text)):
        return number
    return text
