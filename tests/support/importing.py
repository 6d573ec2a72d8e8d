"""Help for tests of importers: the shared real files, the command line, and facts about events."""

import argparse
import os
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from app.event_files import Event, sort_key
from app.importers.commands import add_parsers
from models.events import CLASS_OF

REPOSITORY = Path(__file__).resolve().parents[2]
FIXTURES = REPOSITORY / "tests" / "data"


def shared_file(inside: str) -> Path:
    """Return a real data file that is not part of the project; skip the test without it."""
    given = os.environ.get("LIFECYCLE_TEST_DATA")
    path = (Path(given) if given else REPOSITORY.parent / "shared" / "data") / inside
    if not path.is_file():
        pytest.skip(f"the real data file {inside} is not there (LIFECYCLE_TEST_DATA)")
    return path


def run(*words: str | Path) -> int:
    """Run ``import ...`` or ``simulate ...`` and return the exit code."""
    parser = argparse.ArgumentParser(prog="lifecycle")
    add_parsers(parser.add_subparsers(required=True))
    arguments = parser.parse_args([str(word) for word in words])
    code = arguments.run(arguments)
    assert isinstance(code, int)
    return code


def types(events: list[Event]) -> dict[str, int]:
    """Count events by type."""
    return dict(Counter(event["type"] for event in events))


def assert_on_the_wire(events: list[Event]) -> None:
    """Check that events are in order and have the fields of their type, and no other."""
    assert events == sorted(events, key=sort_key)
    for event in events:
        struct = msgspec.convert(event, CLASS_OF[event["type"]])
        assert event.keys() - {"type"} <= set(struct.__struct_fields__)
