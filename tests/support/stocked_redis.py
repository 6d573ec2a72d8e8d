"""A Redis of one's own, holding what real workers would have left there of made members' lives."""

import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec
from own_redis import OwnRedis
from redis import Redis as SyncRedis

from agents.members import ANONYMOUS, MEMBER
from agents.observer_ports import Facts
from agents.updates import document_to_keep
from app.observed_store import ObservedStore
from app.redis_store import RedisStore, key_prefix
from app.simulator import simulate
from app.stack import processes
from models import engine
from models.decoding import Received, receive
from models.events import TOPIC_OF
from models.lifecycle_facts import Fact, happened, of_decisions, of_triggers, of_updates
from models.member import encode
from models.outcome import Outcome
from models.projection import project
from models.replay import Replay, key_of
from models.rulebook import RuleBook

PREFIX = key_prefix("stocked")
TIMEOUT_MS = 500
END = 1_795_255_200_000  # 2026-11-21T10:00:00Z
_json = msgspec.json.Encoder().encode


class RedisAlone(OwnRedis):
    """One that answers once it is started, and has ended once it is killed."""

    def start(self) -> None:
        """Start it, and return when it answers."""
        super().start()
        with SyncRedis(port=self.port) as client:
            for _ in range(500):
                try:
                    client.ping()
                except Exception:
                    time.sleep(0.02)
                else:
                    return
        raise AssertionError("Redis did not start")

    def kill(self) -> None:
        """End it as a crash would."""
        self.signal(signal.SIGKILL)
        while self.process.alive:
            time.sleep(0.01)


@contextmanager
def redis_alone(folder: Path) -> Iterator[RedisAlone]:
    """A server that has ended afterwards."""
    server = RedisAlone(folder)
    try:
        yield server
    finally:
        processes.stop([server.process], 0.0)
        while server.process.alive:  # until it is reaped
            time.sleep(0.01)


class Stock(NamedTuple):
    """What a made shop's members came to."""

    rows: dict[bytes, bytes]
    """As a worker has them, by row key."""
    documents: dict[tuple[str, bool], bytes]
    """Their member updates, by id and whether it is anonymous."""
    facts: Facts
    orders: dict[str, str]
    newest: int


def stock(book: RuleBook, members: int = 24, days: int = 45, seed: int = 5) -> Stock:
    """Live through some members' lives."""
    run, facts, newest, orders = Replay(book), list[Fact](), 0, dict[str, str]()
    for received in _events(members, days, seed):
        outcome = run.fold(received)
        newest = max(newest, received.at)
        facts += [happened(received), *_said(outcome)]
        anonymous, identity = key_of(received)
        order = getattr(received.event, "order_id", None)
        if order is not None and not anonymous:
            orders[order] = identity
    for outcome in run.finish(newest):
        facts += _said(outcome)
    rows, documents = {}, {}
    for (anonymous, identity), member in run.members.items():
        engine.settle(member, book)
        due = engine.next_due(member, book)
        key = (ANONYMOUS if anonymous else MEMBER) + identity.encode()
        rows[key] = encode(member, due, book.digest)
        raw = _json(project(member, due, book))
        documents[identity, anonymous] = raw
        scored = None if anonymous else of_updates(raw)
        if scored is not None:
            facts.append(scored)
    return Stock(rows, documents, tuple(facts), orders, newest)


def _events(members: int, days: int, seed: int) -> Iterator[Received]:
    for number, event in enumerate(simulate(members, days, seed, END)):
        topic, at = TOPIC_OF[event["type"]], event["occurred_at"]
        key = (event.get("member_id") or event["anonymous_id"]).encode()
        yield receive(topic, _json(event), key, 0, number, at)


def _said(outcome: Outcome) -> Iterable[Fact]:
    for decision in outcome.decisions:
        fact = of_decisions(_json(decision))
        if fact is not None:
            yield fact
    for trigger in outcome.triggers:
        yield of_triggers(_json(trigger))


async def put(url: str, stocked: Stock) -> None:
    """Write all of it as the projector and the observer would."""
    store = RedisStore.connect(url, PREFIX, TIMEOUT_MS)
    observed = ObservedStore.connect(url, PREFIX, TIMEOUT_MS)
    documents = {}
    for (identity, anonymous), raw in stocked.documents.items():
        if not anonymous:
            documents[identity.encode()] = document_to_keep(raw)
    await store.write(documents, {}, {"member-updates/0": 1})
    for start in range(0, len(stocked.facts), 500):
        part = stocked.facts[start : start + 500]
        await observed.writer().write(part, {"o/0": start} if start else {}, {"o/0": start + 500})
    await store.close()
    await observed.close()
