"""What lookups cost the engine, and the engine the lookups: over HTTP and straight from Redis.

A worker on the wall clock has a shop's members behind it and is sent what they do now
(``live_shop``). When all is warm, a backlog of a few seconds tells its full speed: all of it
folded, and everything that came of it in Redis. Then, in turns: lookups beside an idle engine, half
of that speed without lookups, and with them.
"""

import asyncio
import gc
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from redis import Redis

from agents.observer import FOLLOWED
from agents.updates import document_to_keep
from app.bench.live_feed import LINGER_MS
from app.bench.live_shop import LiveShop
from app.bench.lookups import Answered, Load, asking
from app.bench.made_rows import fill
from app.bench.place import BenchError, Place, place, say, without_policy, worker
from app.bench.report import at, percentiles
from app.event_reading import Record
from app.metric_list import RECORDS
from app.observed_keys import Keys
from app.options import book_of
from app.producing import EventProducer, produce_all
from app.projection_keys import Generation, key_prefix
from app.redis_store import RedisStore
from app.worker_process import WorkerProcess
from config.settings import Settings

READY_SECONDS = 120.0
LIMIT_SECONDS = 300.0
LOOK_SECONDS = 0.2
LEAD_SECONDS = 2
"""Before a measurement begins: askers start, and work piles up as it is going to."""
WARM_UP_EVENTS = 5_000
WARM_UP_SECONDS = 60
"""At half of what a cold system does: Java compiles what it has seen to run often."""
BACKLOG_EVENTS = 20_000
DOCUMENTS_AT_ONCE = 500
REDIS_TIMEOUT_MS = 10_000


def serving(
    settings: Settings, members: int, seconds: int, rounds: int, http_rate: int, redis_rate: int
) -> dict[str, Any]:
    """Measure lookups with and without the engine working; times are milliseconds.

    Raises ``BenchError``.
    """
    with place(settings, "serving", settings.partitions) as here:
        config = without_policy(here.folder / "config")
        say(f"making {members:,} members")
        shop = LiveShop(members, book_of(config, here.settings))
        here.make_topics()
        fill(here, shop.rows())
        ids = asyncio.run(_project(here, shop))
        # The shop stays: to look through all of it would hold up the feed.
        gc.freeze()
        with (
            worker(here, "--config", str(config)) as process,
            closing(_Followers(here)) as followers,
        ):
            process.wait_until_ready(READY_SECONDS)
            engine = _Engine(here, process, followers, shop.events())
            cold = engine.take(WARM_UP_EVENTS)
            say(f"warming up for {WARM_UP_SECONDS} s")
            engine.at_rate(cold / 2, WARM_UP_SECONDS)
            say(f"a backlog of {BACKLOG_EVENTS:,} events")
            full = engine.take(BACKLOG_EVENTS)
            half = full / 2
            say(f"full speed {full:,.0f} events/s; {len(ids):,} members to look up")
            loads = _loads(here, process, ids, seconds, http_rate, redis_rate)
            say(f"nothing for {seconds} s, then {rounds} rounds of three times as long")
            rest = engine.at_rate(0, seconds)
            turns = [_turn(engine, loads, half, seconds) for _ in range(rounds)]
    return {
        "members": len(ids),
        "seconds": seconds,
        "full_speed": round(full),
        "half_speed": round(half),
        "worker_cpu_ms_per_http_lookup": _cost(rest, turns, http_rate),
        "engine": [
            {"engine": name, **watched.figures()}
            for turn in turns
            for name, watched in (
                ("idle, lookups", turn.idle),
                ("half load", turn.alone),
                ("half load, lookups", turn.beside),
            )
        ],
        "lookups": [
            _row(way, rate, engine, answered)
            for place_, (way, rate) in enumerate((("http", http_rate), ("redis", redis_rate)))
            for engine, which in (("idle", 0), ("half load", 1))
            for answered in (turn.answered[which][place_] for turn in turns)
        ],
        "events_ratio": [turn.events_ratio for turn in turns],
    }


class Watched(NamedTuple):
    """What went on while something was done: per second, and cores."""

    sent: float
    folded: float
    settled_seconds: float
    """After the end, until all was folded and everything that came of it was in Redis."""
    worker_cpu: float
    producer_cpu: float
    machine_cpu: float
    """Of everything on the machine."""

    def figures(self) -> dict[str, Any]:
        """Return it for people."""
        return {
            "sent_per_second": round(self.sent),
            "folded_per_second": round(self.folded),
            "settled_s": round(self.settled_seconds, 1),
            "worker_cpu": round(self.worker_cpu, 2),
            "producer_cpu": round(self.producer_cpu, 2),
            "machine_cpu": round(self.machine_cpu, 2),
        }


class Turn(NamedTuple):
    """One round."""

    idle: Watched
    alone: Watched
    beside: Watched
    answered: tuple[list[Answered], list[Answered]]
    """Beside an idle engine and beside one at half load: over HTTP, and from Redis."""

    @property
    def events_ratio(self) -> float:
        """Return events folded beside lookups over those folded without."""
        return round(self.beside.folded / self.alone.folded, 3)


Loads = list[tuple[Load, str | None]]


def _turn(engine: "_Engine", loads: Loads, rate: float, seconds: int) -> Turn:
    with asking(*loads) as asked:
        idle = engine.at_rate(0, seconds)
        before = [one.result() for one in asked]
    alone = engine.at_rate(rate, seconds)
    with asking(*loads) as asked:
        beside = engine.at_rate(rate, seconds)
        busy = [one.result() for one in asked]
    return Turn(idle, alone, beside, (before, busy))


def _cost(rest: Watched, turns: Sequence[Turn], http_rate: int) -> float:
    """Return what a lookup over HTTP takes of an idle worker, milliseconds."""
    used = mean(turn.idle.worker_cpu for turn in turns) - rest.worker_cpu
    return round(used * 1000 / http_rate, 3)


def _row(way: str, rate: int, engine: str, said: Answered) -> dict[str, Any]:
    return {
        "way": way,
        "asked_per_second": rate,
        "engine": engine,
        **percentiles(said.milliseconds),
        "missing": said.missing,
        "bad": said.bad,
        "asked_late_p99": round(at(sorted(said.late), 0.99), 2),
        "asker_cpu_s": round(said.cpu_seconds, 2),
    }


class _Engine:
    """A worker, and what it is sent."""

    def __init__(
        self, here: Place, process: WorkerProcess, followers: "_Followers", events: Iterator[Record]
    ) -> None:
        self._process = process
        self._followers = followers
        self._events = events
        self._sender = EventProducer(here.settings, LINGER_MS)
        self._sent = 0

    def take(self, count: int) -> float:
        """Send so many events at once; return how many a second it dealt with in the end."""
        began = time.monotonic()
        self._send(count, None)
        self._settle()
        return count / (time.monotonic() - began)

    def at_rate(self, rate: float, seconds: float) -> Watched:
        """Send at a rate (0: nothing), and tell what went on for so long."""
        self._keep_on(rate, LEAD_SECONDS)
        process = self._process
        folded, sent, cpu = self._folded(), self._sent, process.cpu_seconds
        began, own, machine = time.monotonic(), time.process_time(), _machine_seconds()
        self._keep_on(rate, seconds)
        seconds = time.monotonic() - began
        own, machine = time.process_time() - own, _machine_seconds() - machine
        cpu = process.cpu_seconds - cpu
        folded = self._folded() - folded
        return Watched(
            (self._sent - sent) / seconds,
            folded / seconds,
            self._settle(),
            cpu / seconds,
            own / seconds,
            machine / seconds,
        )

    def _keep_on(self, rate: float, seconds: float) -> None:
        if rate:
            self._send(int(rate * seconds), rate)
        else:
            time.sleep(seconds)

    def _send(self, count: int, rate: float | None) -> None:
        produce_all(self._sender, islice(self._events, count), rate)
        self._sent += count

    def _settle(self) -> float:
        """Wait until everything is dealt with; return for how many seconds."""
        began = time.monotonic()
        while self._folded() < self._sent or self._followers.behind():
            self._process.check()
            if time.monotonic() - began > LIMIT_SECONDS:
                raise BenchError("what was sent is not dealt with")
            time.sleep(LOOK_SECONDS)
        return time.monotonic() - began

    def _folded(self) -> int:
        told = None
        while told is None:
            self._process.check()
            told = self._process.figures(RECORDS)
        return told[0]


class _Followers:
    """How far the projector and the observer are behind, by the places in Redis."""

    def __init__(self, here: Place) -> None:
        self._here = here
        prefix = key_prefix(here.settings.app_id)
        self._redis = Redis.from_url(here.settings.redis)
        self._places = {
            Generation(prefix).projected: ["member-updates"],
            Keys(prefix).observed: list(FOLLOWED),
        }

    def behind(self) -> int:
        """Return how many records they have not dealt with."""
        settings, count = self._here.settings, 0
        for key, names in self._places.items():
            ends = self._here.ends(*map(settings.topic, names))
            count += sum(ends.values()) - sum(map(int, self._redis.hvals(key)))
        return count

    def close(self) -> None:
        """Close the connection."""
        self._redis.close()


def _machine_seconds() -> float:
    """Return the CPU time of everything since the machine was started."""
    fields = Path("/proc/stat").read_text().partition("\n")[0].split()[1:8]
    user, nice, system, _, _, irq, soft = map(int, fields)
    return (user + nice + system + irq + soft) / os.sysconf("SC_CLK_TCK")


async def _project(here: Place, shop: LiveShop) -> list[str]:
    """Put everybody's document into Redis; return the members' ids."""
    settings = here.settings
    store = RedisStore.connect(settings.redis, key_prefix(settings.app_id), REDIS_TIMEOUT_MS)
    ids = []
    documents = shop.documents()
    while some := list(islice(documents, DOCUMENTS_AT_ONCE)):
        ids += [identity for identity, _ in some]
        await store.write({key.encode(): document_to_keep(raw) for key, raw in some}, {}, {})
    await store.close()
    return ids


def _loads(
    here: Place,
    process: WorkerProcess,
    ids: Sequence[str],
    seconds: float,
    http_rate: int,
    redis_rate: int,
) -> Loads:
    assert process.address is not None
    host, _, port = process.address.rpartition(":")
    there = urlsplit(here.settings.redis)
    key = Generation(key_prefix(here.settings.app_id)).documents(anonymous=False)
    seconds += LEAD_SECONDS
    return [
        (Load(host, int(port), ids, http_rate, seconds), None),
        (Load(there.hostname or "127.0.0.1", there.port or 6379, ids, redis_rate, seconds), key),
    ]
