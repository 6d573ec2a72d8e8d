"""Segments and tags from ``segments.yaml``."""

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from config.condition_files import NOTHING_KNOWN, Known, read_if
from config.errors import ConfigError, ConfigErrors
from config.reading import Field, Report
from config.yaml_source import parse_file
from models.audiences import Audiences, Segment, TagKind

# Each costs ten bytes in the rows of its members, and a look whenever its members' deadlines are
# worked out: what more are wanted for is a condition of a rule.
MOST_SEGMENTS = 64
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


def load_segments(path: Path) -> Audiences:
    """Return the segments and tags of a file; raise ``ConfigErrors`` with all that is wrong."""
    audiences, errors = read_segments(path)
    if errors:
        raise ConfigErrors(errors)
    return audiences


def read_segments(path: Path, known: Known = NOTHING_KNOWN) -> tuple[Audiences, list[ConfigError]]:
    """Return the segments and tags of a file and every mistake in it; an empty file has none."""
    root, errors = parse_file(path)
    if root is None:
        return Audiences(), errors
    report = Report(str(path))
    section = Field(root, "", report).section(("tags", "segments"))
    tags = section.optional("tags", lambda field: tuple(map(_tag, *_named(field))), ())
    known = msgspec.structs.replace(known, tags=tuple(tag.name for tag in tags))
    segments = section.optional("segments", lambda field: _segments(field, known), ())
    return Audiences(segments, tags), errors + report.errors


def known_with(audiences: Audiences, known: Known) -> Known:
    """Return what other files may name when they may name these too."""
    return msgspec.structs.replace(
        known,
        tags=tuple(tag.name for tag in audiences.tags),
        segments=tuple(segment.name for segment in audiences.segments),
    )


def _named(field: Field) -> tuple[list[Field], list[str]]:
    """Return the values of a mapping, and their names."""
    if field.node is None or not isinstance(field.node.value, dict):
        field.must("a mapping of names and what they mean")
        return [], []
    fields, names = [], []
    for name, node in field.node.value.items():
        path = f"{field.path}.{name}"
        if not _NAME.fullmatch(name):
            wanted = "must be a name (small letters, digits and _, starting with a letter)"
            field.report.add(field.node.keys[name], path, wanted)
        fields.append(Field(node, path, field.report))
        names.append(name)
    return fields, names


def _tag(field: Field, name: str) -> TagKind:
    section = field.section(("about", "lasts"))
    about = section.require("about").line()
    return TagKind(name, about, section.optional("lasts", Field.duration, None))


def _segments(field: Field, known: Known) -> tuple[Segment, ...]:
    found = tuple(_each_segment(field, known))
    if len(found) > MOST_SEGMENTS:
        field.wrong(f"has {len(found)} segments, at most {MOST_SEGMENTS} are allowed")
    return found


def _each_segment(field: Field, known: Known) -> Iterator[Segment]:
    """Read segments in their order: each may name those above it, so that there is no circle."""
    fields, names = _named(field)
    for index, (one, name) in enumerate(zip(fields, names, strict=True)):
        section = one.section(("about", "if"))
        about = section.require("about").line()
        near = msgspec.structs.replace(
            known, segments=tuple(names[:index]), below=tuple(names[index:])
        )
        yield Segment(name, about, read_if(section.require("if"), near))
