"""What a group's commit costs: the fenced changelog beside Kafka transactions.

The same groups (rows, and the outputs that belong to them), by the same client library, on the
same broker, in turns. All lanes commit at once, one group after another or some time apart:

* ``fenced``: the worker's own code. One batch to the changelog, the outbox with the group's
  outputs in it; then the outputs, each acknowledged by all. Offsets are committed once a second.
* ``transaction``: one transactional id per lane. Begin, the rows, the outputs (no outbox is
  needed), the offsets, commit.
"""

import asyncio
import logging
import random
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from itertools import cycle, product, starmap
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.structs import OffsetAndMetadata
from confluent_kafka import Message

from agents.clocks import WallClock
from agents.fastlane.connections import Connections
from agents.fastlane.producer import PRODUCE_TIMEOUT_MS
from agents.fastlane.settings import CHANGELOG_BATCH_BYTES
from agents.group import Group
from agents.members import OutputTopics
from agents.partitioner import murmur2_partition, partition_function
from agents.ports import Output
from agents.recovery import NO_OUTBOX, ROW, Recovered, fence
from agents.wal import Wal
from app.bench.place import BenchError, Place, place, say
from app.bench.report import at
from app.bench.watching import Tail
from app.kafka_security import for_aiokafka
from app.topology import changelog_name, output_topics
from app.worker import fast_lane_config
from app.worker_process import cpu_seconds
from config.settings import Settings
from models.events import MEMBER_TOPICS

GROUP_KB = (20, 200)
LANES = (1, 8, 16)
APART_MS = (0, 200)
"""From the beginning of a lane's group to that of its next. 0 tells how much can be done at all;
with time between them both ways can keep up, and what a commit takes is not waiting for a core."""
ROW_BYTES = 400
OUTPUT_BYTES = 600
ROWS_PER_TRIGGER = 10
"""Every so many rows raise a trigger and record a decision; every row is projected."""
MEMBERS = 2_000
"""Members of a lane, at least."""
GROUPS = 8
"""Groups made beforehand for each lane, and committed again and again."""
OFFSETS_SECONDS = 1.0
READ_SECONDS = 30.0
SEED = 1
_NOTHING = Recovered(0, NO_OUTBOX, (), frozenset(), {})

_COMPARED = (
    "commits_per_s",
    "p50_ms",
    "p99_ms",
    "client_cpu_ms",
    "broker_cpu_ms",
    "read_p50_ms",
    "read_p99_ms",
)

Commit = Callable[[int, "Made", int], Awaitable[None]]
"""Commits a group of a lane, and an offset of its source."""


class Made(NamedTuple):
    """A group to be committed."""

    rows: dict[bytes, bytes | None]
    outputs: list[Output]
    projections: list[Output]


class Load(NamedTuple):
    """What is committed: bytes of rows in a group, lanes, and how far apart a lane's groups are."""

    group_kb: int
    lanes: int
    apart_ms: int


class Turn(NamedTuple):
    """What one way did in one turn; times in milliseconds."""

    commits: int
    seconds: float
    took: list[float]
    read: list[float]
    client_cpu: float
    broker_cpu: float | None
    refused: int
    """Requests that the broker refused for the moment, and that were sent again."""


def commits(
    settings: Settings, sizes: Sequence[int], lanes: Sequence[int], seconds: int, rounds: int
) -> dict[str, Any]:
    """Commit groups of those sizes (kB) in so many lanes, in both ways; return the figures.

    Every turn lasts so many ``seconds``. Raises ``KafkaError`` when the broker refuses anything for
    good.
    """
    broker = listening_on(int(settings.broker.split(",")[0].rpartition(":")[2]))
    found = []
    for load in starmap(Load, product(sizes, lanes, APART_MS)):
        turns: dict[str, list[Turn]] = {"fenced": [], "transaction": []}
        for number in range(1, rounds + 1):
            for way, done in turns.items():
                say(f"turn {number} of {rounds}: {load}, {way}")
                with place(settings, "commits", settings.partitions) as here:
                    here.make_topics()
                    done.append(asyncio.run(_turn(here, way, load, seconds, broker)))
        found += [{**load._asdict(), "way": way, **figures(done)} for way, done in turns.items()]
    return {"rounds": rounds, "runs": found, "transaction_over_fenced": ratios(found)}


def figures(turns: Sequence[Turn]) -> dict[str, float | None]:
    """Return medians over the turns; the CPU of a broker on another machine is not known."""
    per_commit = [turn.broker_cpu / turn.commits for turn in turns if turn.broker_cpu is not None]
    return {
        "commits_per_s": _middle(turn.commits / turn.seconds for turn in turns),
        "p50_ms": _middle(at(sorted(turn.took), 0.5) for turn in turns),
        "p99_ms": _middle(at(sorted(turn.took), 0.99) for turn in turns),
        "client_cpu_ms": _middle(turn.client_cpu / turn.commits for turn in turns),
        "broker_cpu_ms": _middle(per_commit) if per_commit else None,
        "refused_per_commit": _middle(turn.refused / turn.commits for turn in turns),
        "read_p50_ms": _middle(at(sorted(turn.read), 0.5) for turn in turns),
        "read_p99_ms": _middle(at(sorted(turn.read), 0.99) for turn in turns),
    }


def _middle(values: Iterable[float]) -> float:
    return round(float(median(values)), 2)


def ratios(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return per size and number of lanes what transactions take, as multiples of ours."""
    fenced = {_load_of(run): run for run in runs if run["way"] == "fenced"}
    found = []
    for run in runs:
        if run["way"] == "transaction":
            load = _load_of(run)
            ours = fenced[load]
            parts = {name: _over(run[name], ours[name]) for name in _COMPARED}
            found.append({**load._asdict(), **parts})
    return found


def _load_of(run: dict[str, Any]) -> Load:
    return Load(run["group_kb"], run["lanes"], run["apart_ms"])


def _over(theirs: float | None, ours: float | None) -> float | None:
    return round(theirs / ours, 2) if theirs is not None and ours else None


# --- the groups -----------------------------------------------------------------------------------


def keys_by_lane(partitions: int) -> list[list[bytes]]:
    """Return keys of members for every lane, as the partitioner places them."""
    found: list[list[bytes]] = [[] for _ in range(partitions)]
    number = 0
    while min(map(len, found)) < MEMBERS:
        key = b"member-%08d" % number
        found[murmur2_partition(key, partitions)].append(key)
        number += 1
    return found


def groups(keys: Sequence[bytes], kilobytes: int, out: OutputTopics) -> list[Made]:
    """Return groups whose rows have that size together, of all those members in turn."""
    filler = random.Random(SEED).randbytes(1 << 16)
    size = kilobytes * 1000 // ROW_BYTES
    made = []
    for number in range(GROUPS):
        group = Made({}, [], [])
        for place_ in range(number * size, (number + 1) * size):
            key = keys[place_ % len(keys)]
            group.rows[key] = _part(filler, place_, ROW_BYTES)
            projected = _part(filler, place_, OUTPUT_BYTES)
            group.projections.append(Output(out.member_updates, key, projected))
            if place_ % ROWS_PER_TRIGGER == 0:
                said = _part(filler, place_ + 1, OUTPUT_BYTES)
                group.outputs.append(Output(out.triggers, key, said))
                group.outputs.append(Output(out.decisions, key, said))
        made.append(group)
    return made


def _part(filler: bytes, place_: int, size: int) -> bytes:
    start = place_ * 97 % (len(filler) - size)
    return filler[start : start + size]


def stamped(group: Made, instant: float) -> Made:
    """Return the group with an instant, epoch milliseconds, at the head of its first trigger."""
    first = group.outputs[0]
    value = (b"%.3f|" % instant) + (first.value or b"")
    return group._replace(outputs=[first._replace(value=value), *group.outputs[1:]])


def instant_of(value: bytes) -> float | None:
    """Return the instant at the head of a trigger, if it has one."""
    found = re.match(rb"([0-9]{13}\.[0-9]{3})\|", value)
    return float(found[1]) if found else None


# --- one turn -------------------------------------------------------------------------------------


async def _turn(here: Place, way: str, load: Load, seconds: int, broker: int | None) -> Turn:
    read: list[float] = []

    def take(message: Message, now: float) -> None:
        began = instant_of(message.value())
        if began is not None:
            read.append(now - began)

    out = output_topics(here.settings)
    ways = {"fenced": _fenced, "transaction": _transactional}
    with Tail(here, out.triggers, take, old=True), _refusals() as refused:
        async with ways[way](here, load.lanes) as commit:
            keys = keys_by_lane(here.settings.partitions)
            made = [groups(keys[lane], load.group_kb, out) for lane in range(load.lanes)]
            for lane in range(load.lanes):
                for offset, group in enumerate(made[lane]):
                    await commit(lane, group, offset)
            took: list[float] = []
            end = time.monotonic() + seconds

            async def work(lane: int) -> None:
                # Lanes begin one after the other, as they would in a worker.
                due = time.monotonic() + load.apart_ms / 1000 * lane / load.lanes
                for offset, group in enumerate(cycle(made[lane]), start=GROUPS):
                    await asyncio.sleep(max(due - time.monotonic(), 0))
                    if time.monotonic() > end:
                        return
                    due = max(due + load.apart_ms / 1000, time.monotonic())
                    began = time.time() * 1000
                    await commit(lane, stamped(group, began), offset)
                    took.append(time.time() * 1000 - began)

            refused.clear()
            began, client, server = time.monotonic(), time.thread_time(), _cpu(broker)
            await asyncio.gather(*map(work, range(load.lanes)))
            client_cpu = (time.thread_time() - client) * 1000
            spent, now = time.monotonic() - began, _cpu(broker)
            while len(read) < len(took):
                if time.monotonic() > end + READ_SECONDS:
                    raise BenchError(f"{len(took)} groups were committed, {len(read)} were read")
                await asyncio.sleep(0.05)
    server_cpu = None if server is None or now is None else (now - server) * 1000
    return Turn(len(took), spent, took, read, client_cpu, server_cpu, len(refused))


@contextmanager
def _refusals() -> Iterator[list[str]]:
    """Yield a list of what aiokafka would have said about requests that it sends again."""
    found: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: found.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("aiokafka")
    logger.addHandler(handler)
    try:
        yield found
    finally:
        logger.removeHandler(handler)


@asynccontextmanager
async def _fenced(here: Place, lanes: int) -> AsyncIterator[Commit]:
    connections = Connections(fast_lane_config(here.settings, here.folder), WallClock())
    await connections.start()
    async with AsyncExitStack() as parts:
        parts.push_async_callback(connections.stop)
        await connections.check_own_topics()
        wals = []
        for lane in range(lanes):
            epoch = await fence(connections.changelog, lane, "bench-0")
            limit = here.settings.group_max_bytes
            wals.append(Wal(connections.changelog, lane, epoch, _NOTHING, {}, limit))
        done: dict[int, int] = {}
        committing = asyncio.create_task(_commit_offsets(here, done))
        parts.push_async_callback(_end, committing)

        async def commit(lane: int, group: Made, offset: int) -> None:
            wanted = {here.settings.topic(topic): offset for topic in MEMBER_TOPICS}
            await wals[lane].write(Group(rows=group.rows, outputs=group.outputs, done=wanted))
            await connections.outputs.send(group.outputs + group.projections)
            done[lane] = offset

        yield commit


async def _commit_offsets(here: Place, done: dict[int, int]) -> None:
    settings = here.settings
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.broker.split(","),
        group_id=settings.app_id,
        enable_auto_commit=False,
        **for_aiokafka(settings),
    )
    await consumer.start()
    try:
        consumer.assign(
            TopicPartition(settings.topic(topic), lane)
            for topic in MEMBER_TOPICS
            for lane in range(settings.partitions)
        )
        while True:
            await asyncio.sleep(OFFSETS_SECONDS)
            if done:
                await consumer.commit(
                    {tp: one for lane, o in done.items() for tp, one in _offsets(here, lane, o)}
                )
    finally:
        await consumer.stop()


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait([task])


def _offsets(here: Place, lane: int, offset: int) -> list[tuple[TopicPartition, OffsetAndMetadata]]:
    return [
        (TopicPartition(here.settings.topic(topic), lane), OffsetAndMetadata(offset, ""))
        for topic in MEMBER_TOPICS
    ]


@asynccontextmanager
async def _transactional(here: Place, lanes: int) -> AsyncIterator[Commit]:
    settings = here.settings
    changelog, out = changelog_name(settings), output_topics(settings)
    partition_of = partition_function(settings.partitioner)
    async with AsyncExitStack() as parts:
        producers = []
        for lane in range(lanes):
            producer = AIOKafkaProducer(
                bootstrap_servers=settings.broker.split(","),
                transactional_id=f"{settings.app_id}-{lane}",
                acks="all",
                linger_ms=0,
                max_batch_size=CHANGELOG_BATCH_BYTES,
                max_request_size=CHANGELOG_BATCH_BYTES,
                request_timeout_ms=PRODUCE_TIMEOUT_MS,
                **for_aiokafka(settings),
            )
            await parts.enter_async_context(producer)
            for topic in (changelog, out.triggers, out.decisions, out.member_updates):
                await producer.partitions_for(topic)
            producers.append(producer)

        async def commit(lane: int, group: Made, offset: int) -> None:
            producer = producers[lane]
            rows = producer.create_batch()
            for key, body in group.rows.items():
                rows.append(timestamp=None, key=ROW + key, value=body)
            batches = {(changelog, lane): rows}
            for topic, key, value, headers in group.outputs + group.projections:
                place_ = topic, partition_of(key, settings.partitions)
                batch = batches.get(place_)
                if batch is None:
                    batch = batches[place_] = producer.create_batch()
                batch.append(timestamp=None, key=key, value=value, headers=list(headers))
            await producer.begin_transaction()
            for (topic, partition), batch in batches.items():
                batch.close()
                await producer.send_batch(batch, topic, partition=partition)
            offsets = dict(_offsets(here, lane, offset))
            await producer.send_offsets_to_transaction(offsets, settings.app_id)
            await producer.commit_transaction()

        yield commit


# --- what the broker spends -----------------------------------------------------------------------


def _cpu(pid: int | None) -> float | None:
    return None if pid is None else cpu_seconds(pid)


def listening_on(port: int) -> int | None:
    """Return the process of this machine that listens on a TCP port; None when it is not ours."""
    sockets = set()
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                sockets.add(f"socket:[{fields[9]}]")
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and _holds(process, sockets):
            return int(process.name)
    return None


def _holds(process: Path, sockets: set[str]) -> bool:
    try:
        return any(str(handle.readlink()) in sockets for handle in (process / "fd").iterdir())
    except OSError:
        return False
