"""The Chinese words of a configuration from ``chinese.yaml``."""

from collections.abc import Collection, Iterator
from pathlib import Path

from config.errors import ConfigError
from config.reading import Field, Report, suggestion
from config.yaml_source import parse_file
from models.chinese import Called, Chinese

Names = Collection[str] | None
"""The names that there may be words for; None: any, and of what is not there they are not used."""


def read_chinese(
    path: Path, rules: Names = None, segments: Names = None, tags: Names = None
) -> tuple[Chinese, list[ConfigError]]:
    """Return the words of a file and every mistake in it; an empty file has none."""
    root, errors = parse_file(path)
    if root is None:
        return Chinese(), errors
    report = Report(str(path))
    section = Field(root, "", report).section(("rules", "segments", "tags", "reasons"))
    words = Chinese(
        rules=section.optional("rules", lambda field: _called(field, "rule", rules), {}),
        segments=section.optional(
            "segments", lambda field: _called(field, "segment", segments), {}
        ),
        tags=section.optional("tags", lambda field: _called(field, "tag", tags), {}),
        reasons=section.optional("reasons", _reasons, {}),
    )
    return words, errors + report.errors


def _called(field: Field, kind: str, known: Names) -> dict[str, Called]:
    found = {}
    for name, one in _named(field):
        if known is not None and name not in known:
            one.wrong(f"there is no {kind} {name!r}{suggestion(name, known)}")
        section = one.section(("title", "about"))
        found[name] = Called(section.require("title").line(40), section.require("about").line())
    return found


def _reasons(field: Field) -> dict[str, str]:
    return {english: one.line() for english, one in _named(field)}


def _named(field: Field) -> Iterator[tuple[str, Field]]:
    if field.node is None or not isinstance(field.node.value, dict):
        field.must("a mapping of names and their words")
        return
    for name, node in field.node.value.items():
        yield name, Field(node, f"{field.path}.{name}", field.report)
