"""What the demo plays: made members, or real ones moved in time so that their last day is today."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import orjson

from app.event_files import Event, sort_key, time_ms
from app.event_reading import Record, read_records
from app.importers.report import InputError, Report
from app.importers.sources import DATA_SETS, read_data_set
from app.simulator import catalogue_events, simulate
from config.paths import package_dir
from models.events import TOPIC_OF
from models.times import DAY

SEED = 1
SAMPLE = "uci-sample"
# What of an event is an instant, and moves with it.
_INSTANTS = ("occurred_at", "expires_at", "review_at")


class Played(NamedTuple):
    """One event of the feed: its record, and who it is about."""

    record: Record
    type: str
    member_id: str | None
    anonymous_id: str | None


@dataclass(frozen=True, slots=True)
class Feed:
    """Events in order of time, from ``start`` to ``end`` (epoch milliseconds)."""

    name: str
    start: int
    end: int
    events: Iterator[Played]


def now_ms() -> int:
    """Return the machine's time: epoch milliseconds."""
    return time.time_ns() // 1_000_000


def made_feed(members: int, days: int, time_zone: str, end: int) -> Feed:
    """Return the feed of the simulator: ``days`` days of ``members`` members up to ``end``."""
    start = end - days * DAY
    events = chain(catalogue_events(SEED), simulate(members, days, SEED, end, time_zone))
    played = (_played(_in_brands_language(event), start) for event in events)
    return Feed(f"{members:,} made members", start, end, played)


def data_feed(name: str, path: Path | None, members: int | None, end: int) -> Feed:
    """Return the feed of a data set or an event file, all or ``members`` of its ids.

    Its times are moved by whole days, so that the last event lies in the day before ``end``.
    Raises ``InputError``, ``BadLine`` and ``OSError`` when the data cannot be used.
    """
    events = _sampled(_read(name, path), members)
    timed = [time_ms(event["occurred_at"]) for event in events if "occurred_at" in event]
    if not timed:
        raise InputError(f"--data {name}: there are no events")
    shift = (end - max(timed)) // DAY * DAY
    start = min(timed) + shift
    if start < 0:
        raise InputError(f"--data {name}: its events span more than the years since 1970")
    played = (_played(_moved(event, shift), start) for event in sorted(events, key=sort_key))
    return Feed(name if path is None else f"{name} {path}", start, end, played)


def _read(name: str, path: Path | None) -> list[Event]:
    if name in DATA_SETS:
        return read_data_set(name, path, Report())
    file = package_dir() / "data" / "uci_sample.jsonl.gz" if name == SAMPLE else Path(name)
    if path is not None or not file.is_file():
        known = ", ".join((SAMPLE, *DATA_SETS))
        raise InputError(f"--data {name}: is none of {known}, nor an event file")
    return [orjson.loads(record.raw) for record in read_records([file])]


def _sampled(events: list[Event], members: int | None) -> list[Event]:
    if members is None:
        return events
    ids = {_id(event) for event in events} - {None}
    kept = {None, *sorted(ids, key=lambda one: blake2b(str(one).encode()).digest())[:members]}
    return [event for event in events if _id(event) in kept]


def _id(event: Event) -> str | None:
    return event.get("member_id") or event.get("anonymous_id")


def _moved(event: Event, shift: int) -> Event:
    moved = {name: time_ms(event[name]) + shift for name in _INSTANTS if event.get(name)}
    return {**event, **moved}


def _in_brands_language(event: Event) -> Event:
    # Who watches reads the reasons in one language, the brand's; members of several are made.
    if event["type"] == "profile":
        event.pop("locale", None)
    return event


def _played(event: Event, start: int) -> Played:
    kind = event["type"]
    key = event["item_id"] if kind == "item" else _id(event)
    at = start if kind == "item" else time_ms(event["occurred_at"])
    record = Record(TOPIC_OF[kind], str(key).encode(), at, orjson.dumps(event))
    return Played(record, kind, event.get("member_id"), event.get("anonymous_id"))


def waves(events: Iterable[Played], lane_of: Callable[[bytes], int]) -> list[list[Played]]:
    """Split events, given in order, into groups to be acknowledged one after the other.

    Records of one topic and partition keep their order; those of different topics overtake each
    other on the way to the broker. A real shop's are seconds apart; here an hour is milliseconds,
    and a purchase would be there before the view that led to it. So an event waits for the group
    after that of its member's event before it, if that one is in another topic; and no event
    comes before an earlier one of its own topic and partition (``lane_of`` tells a key's).
    """
    groups: list[list[Played]] = []
    last_in_partition: dict[tuple[str, int], int] = {}
    last_of_member: dict[bytes, tuple[str, int]] = {}
    for event in events:
        topic, key = event.record.topic, event.record.key
        number = last_in_partition.get((topic, lane_of(key)), 0)
        before, theirs = last_of_member.get(key, (topic, 0))
        if before != topic:
            number = max(number, theirs + 1)
        last_in_partition[topic, lane_of(key)] = number
        last_of_member[key] = topic, number
        if number == len(groups):
            groups.append([])
        groups[number].append(event)
    return groups
