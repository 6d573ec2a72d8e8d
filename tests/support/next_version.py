"""The state's next version, made up: one more field, and the upgrade that fills it.

``next_version()`` puts it in place of the current one inside this process; ``python
tests/support/next_version.py WORDS`` is ``lifecycle WORDS`` of a program of that version. Nothing
of the product is touched: this is what a change of ``models.member`` would be.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from unittest.mock import patch

import msgspec

from models import member as rows


class NextMember(rows.Member, array_like=True):
    """A member as the next version knows it."""

    # The version in which the member was first known; a member of its own time has the newest.
    upgraded_from: int = rows.VERSION + 1


class NextVersion(NamedTuple):
    """What the version is."""

    number: int
    member: type[rows.Member]


def _upgrade(fields: list[Any]) -> list[Any]:
    return [*fields, NUMBER - 1]


NUMBER = rows.VERSION + 1


@contextmanager
def next_version() -> Iterator[NextVersion]:
    """Let this process be of the next version meanwhile."""
    with patch.multiple(
        rows,
        Member=NextMember,
        UPGRADES=(*rows.UPGRADES, _upgrade),
        VERSION=NUMBER,
        _decoder=msgspec.msgpack.Decoder(NextMember),
    ):
        yield NextVersion(NUMBER, NextMember)


def main() -> int:
    """Run a command of the product as a program of the next version."""
    with next_version():
        # Only now: other modules take the names over when they are imported.
        from app.cli import main as lifecycle

        return lifecycle(sys.argv[1:])


if __name__ == "__main__":
    raise SystemExit(main())
