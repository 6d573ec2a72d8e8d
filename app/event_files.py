"""Event files: JSON lines, one event a line, any mix of types, in any order, plain or gzip.

What importers and the simulator write, and what replay and produce read.
"""

import errno
import gzip
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from io import BufferedIOBase, BufferedReader
from pathlib import Path
from typing import Any, TypeAlias

import orjson

from models.decoding import RANK_OF
from models.events import TOPIC_OF
from models.times import parse_instant

Event: TypeAlias = dict[str, Any]

GZIP_MAGIC = b"\x1f\x8b"
# What reading gzip data that is cut or damaged raises.
GZIP_ERRORS = (EOFError, zlib.error, gzip.BadGzipFile)

# A catalogue entry has no time of its own; it must be known before the events that name it.
_CATALOGUE = (-1, -1)


def open_bytes(path: Path) -> BufferedReader | gzip.GzipFile:
    """Open a file for reading, unpacking gzip (told by its magic, not by the name).

    Raises ``OSError`` when the file cannot be opened.
    """
    file = path.open("rb")
    try:
        packed = file.peek(len(GZIP_MAGIC)).startswith(GZIP_MAGIC)
    except OSError:
        file.close()
        raise
    if not packed:
        return file
    file.close()
    return gzip.open(path, "rb")


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield each line's number (from 1) and its bytes without the line end; skip blank lines.

    Raises ``OSError`` when the file cannot be read, also for gzip data that is cut or damaged.
    """
    with open_bytes(path) as file:
        try:
            for number, line in enumerate(file, start=1):
                line = line.rstrip(b"\r\n")
                if line and not line.isspace():
                    yield number, line
        except GZIP_ERRORS as error:
            raise OSError(f"{path}: the gzip data is damaged: {error}") from error


def write_events(path: Path, events: Iterable[Event]) -> int:
    """Write events as JSON lines and return how many; gzip when the name ends with ``.gz``.

    The file appears whole or not at all: it is written beside its place and then renamed. The
    same events give the same bytes (the gzip header carries neither time nor name).

    Raises ``OSError`` when it cannot be written, and whatever ``events`` raises.
    """
    # Behind a symbolic link the file is replaced, not the link; a device would be lost.
    place = path.resolve()
    if place.exists() and not place.is_file():
        raise OSError(errno.EINVAL, "is not a regular file", str(path))
    partial = place.with_name(f".{place.name}.{os.getpid()}.part")
    try:
        raw = partial.open("wb")
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    try:
        with raw:
            if path.name.endswith(".gz"):
                with gzip.GzipFile("", "wb", compresslevel=9, fileobj=raw, mtime=0) as packed:
                    count = _write(packed, events)
            else:
                count = _write(raw, events)
        partial.replace(place)
    finally:
        partial.unlink(missing_ok=True)
    return count


def time_ms(occurred_at: str | int) -> int:
    """Return the epoch milliseconds of an ``occurred_at``: RFC 3339 with offset, or the integer.

    Raises ``ValueError`` with one sentence.
    """
    return occurred_at if isinstance(occurred_at, int) else parse_instant(occurred_at)


def sort_key(event: Mapping[str, Any]) -> tuple[int, int]:
    """Return what events are ordered by: time, then topic; a stable sort keeps the file order.

    The topics' order is member, engagement, browse, cart, purchase; catalogue entries, which have
    no time, come before everything.

    Raises ``KeyError`` for an unknown type or a missing time, ``ValueError`` for a wrong time.
    """
    kind = event["type"]
    if kind == "item":
        return _CATALOGUE
    return time_ms(event["occurred_at"]), RANK_OF[TOPIC_OF[kind]]


def _write(file: BufferedIOBase, events: Iterable[Event]) -> int:
    count = 0
    for event in events:
        file.write(orjson.dumps(event))
        file.write(b"\n")
        count += 1
    return count
