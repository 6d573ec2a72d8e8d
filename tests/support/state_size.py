"""How many bytes a member takes in the store, and what they are spent on."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import orjson
from core_builders import arrived, row_of, shipped_book

from app.event_files import read_lines
from models.engine import advance, next_due
from models.member import HEADER_BYTES, Member
from models.outcome import Context
from models.replay import Replay, in_order
from models.rulebook import RuleBook


class StateSize(msgspec.Struct, frozen=True):
    """Bytes of the rows of all members of one log, as the store holds them at its end."""

    members: int
    mean: float
    median: int
    p99: int
    largest: int
    at_least_2_kb: int
    by_field: dict[str, float]
    """Mean bytes per member, largest first; the header is ``header``."""


def measure_state_bytes(files: Iterable[Path]) -> dict[str, StateSize]:
    """Replay event files under the shipped rules; return the sizes per file, and of ``all``."""
    book = shipped_book()
    rows: dict[str, list[bytes]] = {}
    for file in files:
        events = (orjson.loads(line) for _, line in read_lines(file))
        rows[file.name] = list(rows_at_the_end(events, book))
    rows["all"] = [row for of_log in rows.values() for row in of_log]
    return {name: size_of(of_log) for name, of_log in rows.items() if of_log}


def rows_at_the_end(events: Iterable[Mapping[str, Any]], book: RuleBook) -> Iterator[bytes]:
    """Each member's row after the last event or deadline that touched it."""
    run = Replay(book)
    ordered = in_order(arrived(events))
    for received in ordered:
        run.fold(received)
    until = ordered[-1].at if ordered else 0
    for member in run.members.values():
        while (due := next_due(member, book)) <= until:
            advance(member, due, Context(book))
        yield row_of(member, book)


def size_of(rows: list[bytes]) -> StateSize:
    sizes = sorted(map(len, rows))
    by_field = dict.fromkeys(Member.__struct_fields__, 0) | {"header": HEADER_BYTES * len(rows)}
    for row in rows:
        values = msgspec.msgpack.decode(row[HEADER_BYTES:])
        for name, value in zip(Member.__struct_fields__, values, strict=False):
            by_field[name] += len(msgspec.msgpack.encode(value))
    spent = sorted(by_field.items(), key=lambda entry: -entry[1])
    return StateSize(
        members=len(rows),
        mean=round(sum(sizes) / len(sizes), 1),
        median=sizes[len(sizes) // 2],
        p99=sizes[len(sizes) * 99 // 100],
        largest=sizes[-1],
        at_least_2_kb=sum(size >= 2048 for size in sizes),
        by_field={name: round(total / len(rows), 1) for name, total in spent if total},
    )
