"""Event files as typed events and as records, each with its place in the order."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from app.event_files import read_lines
from models.decoding import RANK_OF, InvalidEvent, Received, instant, receive, salvage_opt_out
from models.events import TOPIC_OF, Instant


class _Head(msgspec.Struct):
    type: str
    occurred_at: Instant | None = None
    member_id: str | None = None
    anonymous_id: str | None = None
    item_id: str | None = None


_head = msgspec.json.Decoder(_Head)


class BadLine(Exception):
    """A line of an event file that cannot even be placed: no topic, no key or no time."""


@dataclass(slots=True)
class Record:
    """One line as a record: where it goes and when it says it happened (epoch milliseconds)."""

    topic: str
    key: bytes
    at: int
    raw: bytes


@dataclass(slots=True)
class ReadingReport:
    """What reading event files came to."""

    lines: int = 0
    dead_letters: int = 0
    # The first few bad lines, as "file:line: path: reason".
    bad: list[str] = field(default_factory=list)

    def refuse(self, path: Path, line: int, error: InvalidEvent) -> None:
        """Note a line that a worker would dead-letter."""
        self.dead_letters += 1
        if len(self.bad) < 10:
            self.bad.append(f"{path}:{line}: {error.path}: {error.reason}")


def read_records(paths: Iterable[Path]) -> Iterator[Record]:
    """Yield each line as a record, in file order.

    Raises ``BadLine`` naming file, line and field, and ``OSError``.
    """
    for path in paths:
        for line, raw in read_lines(path):
            yield _record(path, line, raw)


def _record(path: Path, line: int, raw: bytes) -> Record:
    try:
        head = _head.decode(raw)
        topic = TOPIC_OF.get(head.type)
        if topic is None:
            raise InvalidEvent("$.type", f"{head.type!r} is not an event type")
        if topic == "items":
            return Record(topic, (head.item_id or "").encode(), 0, raw)
        identity = head.member_id or head.anonymous_id
        if not identity:
            raise InvalidEvent("$.member_id", "was missing, and so was anonymous_id")
        if head.occurred_at is None:
            raise InvalidEvent("$.occurred_at", "was missing")
        at = instant(head.occurred_at, "$.occurred_at")
    except InvalidEvent as error:
        raise BadLine(f"{path}:{line}: {error.path}: {error.reason}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadLine(f"{path}:{line}: $: {error}") from None
    return Record(topic, identity.encode(), at, raw)


def in_order(records: Iterable[Record]) -> list[Record]:
    """Return records in the order of equal times: time, topic, then as they came."""
    return sorted(records, key=lambda record: (record.at, RANK_OF.get(record.topic, 0)))


def read_events(
    paths: Iterable[Path], report: ReadingReport, progress: Callable[[int], None] | None = None
) -> Iterator[Received]:
    """Yield the events that a worker would fold, and count what it would dead-letter.

    Raises ``BadLine`` for lines that could not have been produced at all, and ``OSError``.
    """
    for path in paths:
        for line, raw in read_lines(path):
            report.lines += 1
            if progress is not None and report.lines % 10_000 == 0:
                progress(report.lines)
            record = _record(path, line, raw)
            if record.topic == "items":
                continue
            try:
                yield receive(record.topic, raw, record.key, 0, report.lines, record.at)
            except InvalidEvent as error:
                report.refuse(path, line, error)
                opt_out = salvage_opt_out(raw, record.key, record.at)
                if opt_out is not None:
                    rank = RANK_OF[record.topic]
                    yield Received(opt_out, record.at, rank, 0, report.lines, raw)
