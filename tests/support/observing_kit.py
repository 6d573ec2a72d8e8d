"""What the observer reads, made by hand or by a replay, and a way to have it counted."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from aiokafka import TopicPartition

from agents.observer import FOLLOWED, Observing
from app.observed_store import ObservedStore
from models.decoding import Received
from models.events import TOPIC_OF
from models.replay import Replay, in_order
from models.rulebook import RuleBook


class Read(NamedTuple):
    """A record, as a consumer gives it."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


class Said(NamedTuple):
    """A record before it has a place."""

    topic: str
    key: bytes
    value: bytes
    timestamp: int


def event(type_: str, member: str | None, at: int, /, **fields: Any) -> Said:
    """An event, as upstream sends it; an anonymous one has ``anonymous_id`` instead."""
    named = {"member_id": member} if member is not None else {}
    value = {"type": type_, "occurred_at": at, **named, **fields}
    key = member or fields["anonymous_id"]
    return Said(TOPIC_OF[type_], key.encode(), json.dumps(value).encode(), at)


def of_ours(topic: str, message: Mapping[str, Any], at: int = 0) -> Said:
    """A trigger, a decision or a transition."""
    key = message.get("member_id") or message["anonymous_id"]
    return Said(topic, key.encode(), json.dumps(message).encode(), at)


def transition(
    member: str, at: str, before: str, after: str, why: str = "", kind: str = "stage"
) -> Said:
    message = {"type": "transition", "kind": kind, "before": before, "after": after}
    return of_ours("decisions", {**message, "at": at, "why": why, "member_id": member})


def said_by(events: Iterable[Received], book: RuleBook, until: int) -> Iterator[Said]:
    """Yield what the engine says about events: decisions, transitions, triggers."""
    run = Replay(book)
    outcomes = [run.fold(one) for one in in_order(events)]
    for outcome in (*outcomes, *run.finish(until)):
        for topic, messages in (("triggers", outcome.triggers), ("decisions", outcome.decisions)):
            for message in messages:
                raw = msgspec.json.encode(message)
                identity = message.member_id or getattr(message, "anonymous_id", None)
                assert identity is not None
                yield Said(topic, identity.encode(), raw, until)


class Log:
    """Records in one partition of each topic, and how far a store has counted them."""

    def __init__(self, said: Iterable[Said]) -> None:
        self.topics: dict[str, list[Read]] = {name: [] for name in FOLLOWED}
        for one in said:
            records = self.topics[one.topic]
            at = (0, len(records), one.timestamp)
            records.append(Read(one.topic, *at, one.key, one.value))

    async def counted(self, store: ObservedStore, batches: Sequence[Mapping[str, int]]) -> int:
        """Have all of it counted: so many records of each topic at a time; then what is left.

        Return how many records were refused.
        """
        observing = Observing({name: name for name in FOLLOWED}, lambda _key, _count: 0, 1)
        writer = store.writer()
        reached = dict.fromkeys(FOLLOWED, 0)
        refused = 0
        for batch in (*batches, dict.fromkeys(FOLLOWED, 1 << 30)):
            polled = {
                TopicPartition(name, 0): records
                for name, size in batch.items()
                if (records := self.topics[name][reached[name] : reached[name] + size])
            }
            if not polled:
                continue
            taken = observing.take(polled)
            refused += taken.refused
            places = await writer.places()
            names = {f"{tp.topic}/0": records[-1].offset + 1 for tp, records in polled.items()}
            expected = {name: places.get(name, -1) for name in names}
            before = await writer.write(taken.content, expected, names)
            assert {name: before.get(name, -1) for name in names} == expected
            for tp, records in polled.items():
                reached[tp.topic] = records[-1].offset + 1
        return refused
