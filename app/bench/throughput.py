"""Throughput of the lane beside its peers, in turns, and of the full worker.

A rate counts only with the right results: every engine's triggers are read back from Kafka and
compared with the oracle's. Turns are interleaved, since a shared machine has good and bad minutes:
compare engines of one run, not runs.
"""

import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.util import find_spec
from statistics import median
from typing import Any

import msgspec
import orjson
from confluent_kafka import Producer

from app.bench import simple_job
from app.bench.meter import Job, Measured
from app.bench.place import BenchError, Place, place, say, worker
from app.bench.simple_job import Fired, Record, digest, digest_of, oracle
from app.event_reading import Record as EventRecord
from app.options import book_of
from app.oracle import outcomes
from app.producing import EventProducer, produce_all
from app.simulator import DEFAULT_END_MS, simulate
from app.topology import client_config, output_topics
from app.worker_process import WorkerProcess
from config.settings import Settings
from models.decoding import Received, receive
from models.events import TOPIC_OF
from models.rulebook import RuleBook
from models.triggers import Trigger, TriggerMessage

EVENTS = 200_000
MEMBERS = 5_000
SEED = 1
STOCK_SHARE = 10
"""Stock Faust takes a tenth of the log: at its pace the whole would take minutes."""
LIMIT_SECONDS = 300.0
LOOK_SECONDS = 0.1
STILL_SECONDS = 1.5
"""All is out when what comes out has not grown for so long, and is as much as there must be."""
SIMULATED_DAYS = 120
EVENTS_PER_SIMULATED_MEMBER = 40
PEERS = {"bytewax": "bytewax", "quix": "quixstreams"}


@dataclass(frozen=True, slots=True)
class Log:
    """One log of the simple job, and what every engine must make of it."""

    records: list[Record]
    expected: str
    triggers: int


@dataclass(slots=True)
class Run:
    """What an engine did, turn by turn."""

    engine: str
    events: int
    expected: str
    turns: list[Measured] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        """Return the run as interfaces promise it: medians over the turns, and the best rate."""
        per_cpu = [self.events / turn.cpu_seconds for turn in self.turns]
        return {
            "engine": self.engine,
            "events": self.events,
            "events_per_cpu_second": round(median(per_cpu)),
            "best_events_per_cpu_second": round(max(per_cpu)),
            "wall_events_per_second": round(
                median(self.events / turn.wall_seconds for turn in self.turns)
            ),
            "cpu_seconds": round(median(turn.cpu_seconds for turn in self.turns), 2),
            "startup_cpu_seconds": round(median(t.startup_cpu_seconds for t in self.turns), 2),
            "rss_mb": round(max(turn.rss_mb for turn in self.turns)),
            "digest": self.digests[-1],
            "digest_ok": all(found == self.expected for found in self.digests),
        }


def throughput(settings: Settings, events: int = EVENTS, rounds: int = 3) -> dict[str, Any]:
    """Measure every engine, each ``rounds`` times in turns; return the figures.

    Raises ``BenchError`` when an engine does not come to its end.
    """
    partitions = settings.partitions
    say(f"making {events:,} events")
    records = simple_job.make_log(events, MEMBERS, partitions, SEED)
    share = max(events // STOCK_SHARE, 2 * partitions)
    whole, part = _log(records), _log(simple_job.prefix(records, share, partitions))
    book = book_of(None, settings)
    simulated = simulated_events(events)
    say(f"replaying {len(simulated):,} simulated events, for what the worker must say")
    said = said_by_replay(simulated, book)
    peers, skipped = _peers()
    engines = {"lane": whole, "stock_faust": part, "confluent_loop": whole}
    engines |= dict.fromkeys(peers, whole)
    runs = {name: Run(name, len(log.records), log.expected) for name, log in engines.items()}
    runs["engine"] = Run("engine", len(simulated), digest(said))
    for turn in range(1, rounds + 1):
        for name, log in engines.items():
            say(f"turn {turn} of {rounds}: {name}")
            _take_turn(settings, runs[name], log)
        say(f"turn {turn} of {rounds}: engine")
        _take_workers_turn(settings, runs["engine"], simulated, len(said))
    figures = [run.figures() for run in runs.values()]
    rates = {one["engine"]: one["events_per_cpu_second"] for one in figures}
    return {
        "runs": figures,
        "rounds": rounds,
        "triggers": whole.triggers,
        "mean_event_bytes": round(sum(len(r.value) for r in whole.records) / len(whole.records)),
        "lane_over_stock": round(rates["lane"] / rates["stock_faust"], 1),
        "engine_over_stock": round(rates["engine"] / rates["stock_faust"], 1),
        "lane_over_loop": round(rates["lane"] / rates["confluent_loop"], 2),
        "skipped": skipped,
    }


def _log(records: list[Record]) -> Log:
    fired = oracle(records)
    return Log(records, digest_of(fired), len(fired))


def _peers() -> tuple[list[str], dict[str, str]]:
    found = [name for name, module in PEERS.items() if find_spec(module) is not None]
    return found, {n: f"{m} is not installed" for n, m in PEERS.items() if n not in found}


# --- the simple job -------------------------------------------------------------------------------


def _take_turn(settings: Settings, run: Run, log: Log) -> None:
    with place(settings, run.engine.replace("_", "-"), settings.partitions) as here:
        forever = {"retention.ms": "-1"}
        job = Job(
            broker=here.settings.broker,
            name=here.settings.app_id,
            source=here.make_topic("source", forever),
            triggers=here.make_topic("triggers", forever),
            changelog=here.make_topic("changelog", here.settings.changelog_topic_settings()),
            partitions=here.settings.partitions,
            events=len(log.records),
            until=log.records[-1].at,
            folder=str(here.folder),
        )
        _produce(here, job.source, log.records)
        run.turns.append(_measure(run.engine, job, here))
        run.digests.append(digest_of(_fired(here, job.triggers)))


def _produce(here: Place, topic: str, records: Iterable[Record]) -> None:
    producer = Producer(
        {
            **client_config(here.settings),
            "partitioner": "murmur2_random",
            "linger.ms": 5,
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    for record in records:
        producer.produce(topic, key=record.key, value=record.value, timestamp=record.at)
    if producer.flush(LIMIT_SECONDS):
        raise BenchError("the broker did not take the events")


def _measure(engine: str, job: Job, here: Place) -> Measured:
    log = here.folder / f"{engine}.log"
    words = [sys.executable, "-m", "app.bench.engines", engine, msgspec.json.encode(job).decode()]
    with log.open("wb") as file:
        try:
            done = subprocess.run(
                words, stdout=subprocess.PIPE, stderr=file, timeout=LIMIT_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            raise BenchError(f"{engine} was not done in time: {log.read_text()[-2000:]}") from None
    if done.returncode:
        raise BenchError(f"{engine} failed: {log.read_text()[-2000:]}")
    # A stock Faust worker may still say something to standard output while it ends.
    figures = [line for line in done.stdout.splitlines() if line.startswith(b"{")]
    if not figures:
        raise BenchError(f"{engine} gave no figures: {done.stdout[-2000:]!r}")
    return msgspec.json.decode(figures[-1], type=Measured)


def _fired(here: Place, topic: str) -> list[Fired]:
    return [Fired(**orjson.loads(message.value())) for message in here.read(topic)]


# --- the full worker ------------------------------------------------------------------------------


def simulated_events(events: int) -> list[EventRecord]:
    """Return the first events of made members, in the product's own contract."""
    members = max(events // EVENTS_PER_SIMULATED_MEMBER, 10)
    encode = msgspec.json.Encoder().encode
    log = []
    for event in simulate(members, SIMULATED_DAYS, SEED, DEFAULT_END_MS):
        key = (event.get("member_id") or event["anonymous_id"]).encode()
        at = event["occurred_at"]
        log.append(EventRecord(TOPIC_OF[event["type"]], key, at, encode(event)))
        if len(log) == events:
            break
    return log


def said_by_replay(log: Iterable[EventRecord], book: RuleBook) -> set[str]:
    """Return the triggers and cancellations that a replay gives, each as a line."""
    events = [_received(record, place) for place, record in enumerate(log)]
    return {line_of(said) for outcome in outcomes(events, book) for said in outcome.triggers}


def _received(record: EventRecord, offset: int) -> Received:
    return receive(record.topic, record.raw, record.key, 0, offset, record.at)


def line_of(message: TriggerMessage) -> str:
    """Return what tells a trigger or a cancellation from all others."""
    kind = "trigger" if isinstance(message, Trigger) else "trigger_cancelled"
    return f"{kind} {message.trigger_id}"


def _take_workers_turn(settings: Settings, run: Run, log: list[EventRecord], messages: int) -> None:
    with place(settings, "engine", settings.partitions) as here:
        here.make_topics()
        produce_all(EventProducer(here.settings), log, None)
        out = output_topics(here.settings)
        with worker(here, "--clock", "stream") as process:
            process.wait_until_ready(LIMIT_SECONDS)
            began, cpu = time.monotonic(), process.cpu_seconds
            done_cpu, done = _when_out(here, process, messages)
            rss = process.memory_mb("VmHWM")
            run.turns.append(Measured(done_cpu - cpu, done - began, rss, cpu))
        decode = msgspec.json.Decoder(TriggerMessage).decode
        run.digests.append(digest({line_of(decode(m.value())) for m in here.read(out.triggers)}))


def _when_out(here: Place, process: WorkerProcess, messages: int) -> tuple[float, float]:
    """Return CPU time and moment at which the worker's outputs last grew, once all are out."""
    topics = output_topics(here.settings)
    seen: dict[str, int] = {}
    cpu, moment = 0.0, 0.0
    limit = time.monotonic() + LIMIT_SECONDS
    while time.monotonic() < limit:
        process.check()
        asked = time.monotonic()
        ends = here.ends(topics.triggers, topics.decisions, topics.member_updates)
        if ends != seen:
            seen, cpu, moment = ends, process.cpu_seconds, time.monotonic()
        elif asked - moment > STILL_SECONDS and ends[topics.triggers] >= messages:
            return cpu, moment
        time.sleep(LOOK_SECONDS)
    raise BenchError(f"the worker was not done in time: {process.last_words()}")
