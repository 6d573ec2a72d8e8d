"""Events as they happen: a made shop's, at a rate, with canaries among them.

A canary is a member whom nobody knew, and who looks at an item. What must follow is known: a
document, and a trigger of ``RULE`` at ``WITHIN_MS`` after the event.
"""

import asyncio
import gc
import shutil
import threading
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Self

import orjson
from aiokafka.producer.message_accumulator import BatchBuilder

from agents.fastlane.producer import BatchProducer
from agents.partitioner import partition_function
from app.bench.place import BenchError, Place, without_policy
from app.bench.rule_load import THREE_RULES
from app.bench.throughput import simulated_events
from app.event_reading import Record
from app.kafka_security import for_aiokafka
from app.producing import EventProducer
from config.paths import RULES_FOLDER, package_dir
from config.settings import Settings
from models.events import MEMBER_TOPICS

RULE = "canary"
PREFIX = "canary-"
WITHIN_MS = 5_000
CANARIES_A_SECOND = 50
TICK_SECONDS = 0.02

LINGER_MS = 200
"""What so many milliseconds bring leaves together: the broker would be as busy with requests of few
events as with the workers, on cores that they share."""
BATCH_BYTES = 1 << 20

_RULE_FILE = f"""\
rule: {RULE}
version: 1
about: A canary looked at an item, and did nothing for five seconds.
when:
  absence:
    after: {{event: view_item, where: {{category: {RULE}}}}}
    of: {{event: purchase}}
    within: 5s
reentry: always
expires_after: 24h
priority: 40
"""


class Canary(NamedTuple):
    """A canary, and when (epoch milliseconds) its event was handed to the producer."""

    member: str
    sent: float


def canary_rules(folder: Path, few: bool) -> Path:
    """Make a configuration that raises a trigger for each canary and refuses nobody.

    Its other rules are the shipped ones, or a ``few``, ``THREE_RULES``: then without segments, too.
    """
    config = without_policy(folder / "config")
    shipped = package_dir() / RULES_FOLDER
    rules = config / RULES_FOLDER
    rules.mkdir()
    for path in shipped.glob("*.yaml"):
        name = path.name.partition(".")[0]
        if not path.name.endswith(".test.yaml") and (not few or name in THREE_RULES):
            shutil.copy(path, rules)
    (rules / f"{RULE}.yaml").write_text(_RULE_FILE)
    if few:
        (config / "segments.yaml").write_text("")
    return config


def live(record: Record, now: int) -> Record:
    """Return a recorded event as one that happens ``now`` (epoch milliseconds)."""
    then, at = b'"occurred_at":%d' % record.at, b'"occurred_at":%d' % now
    return Record(record.topic, record.key, now, record.raw.replace(then, at, 1))


class LiveFeed:
    """Sends on a thread of its own from entering to leaving: ``rate`` events a second."""

    def __init__(self, here: Place, rate: int, seconds: float) -> None:
        """Make the events for so many seconds, which takes a while; nothing is sent."""
        self.canaries: list[Canary] = []
        """Those sent, in this order."""
        self._rate = rate - CANARIES_A_SECOND
        self._events: Iterator[Record] = iter(simulated_events(int(self._rate * seconds)))
        # They stay: to look through them all would hold up the feed for seconds.
        gc.freeze()
        self._crowd = _Crowd(here.settings)
        self._lone = EventProducer(here.settings)
        self._ending = threading.Event()
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="live feed", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def sent(self) -> int:
        """Return how many events have been handed to the producer."""
        return self._crowd.taken + self._lone.sent

    def end(self) -> None:
        """Send nothing more; what was sent is acknowledged."""
        self._ending.set()
        self._thread.join()

    def check(self) -> None:
        """Raise ``BenchError`` when it did not get through as it should have."""
        if self._failed is not None:
            raise BenchError(f"the events could not be sent: {self._failed}") from self._failed

    def _run(self) -> None:
        try:
            asyncio.run(self._feed())
        except BaseException as error:
            self._failed = error

    async def _feed(self) -> None:
        async with self._crowd as crowd:
            began, events, canaries = time.monotonic(), 0, 0
            while not self._ending.is_set():
                passed = time.monotonic() - began
                events = self._take(crowd, events, int(passed * self._rate))
                while canaries < passed * CANARIES_A_SECOND:
                    canaries += 1
                    self._send_canary(canaries)
                crowd.look()
                await asyncio.sleep(TICK_SECONDS)
        self._lone.flush()

    def _take(self, crowd: "_Crowd", taken: int, due: int) -> int:
        now = _now()
        for record in islice(self._events, due - taken):
            crowd.take(live(record, now))
            taken += 1
        if taken < due:
            raise BenchError("there were too few of them")
        return taken

    def _send_canary(self, number: int) -> None:
        member, at = f"{PREFIX}{number}", time.time() * 1000
        event = {
            "type": "view_item",
            "member_id": member,
            "occurred_at": int(at),
            "item_id": "sku-1",
            "category": RULE,
        }
        self._lone.send(Record("browse", member.encode(), int(at), orjson.dumps(event)))
        self.canaries.append(Canary(member, at))


class _Crowd:
    """Sends what it took, now and then, and on leaving waits until all is acknowledged.

    All leaves in one request: librdkafka has one for each partition that it sends to.
    """

    def __init__(self, settings: Settings) -> None:
        self.taken = 0
        self._settings = settings
        self._partition_of = partition_function(settings.partitioner)
        brokers = settings.broker.split(",")
        security = for_aiokafka(settings)
        self._producer = BatchProducer(brokers, "live-feed", BATCH_BYTES, security)
        self._batches: dict[tuple[str, int], BatchBuilder] = {}
        self._leaves_at = 0.0
        self._sending: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        await self._producer.start()
        for topic in {self._settings.topic(name) for name in MEMBER_TOPICS}:
            await self._producer.partitions(topic)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._send()
        await asyncio.gather(*self._sending)
        await self._producer.stop()

    def take(self, record: Record) -> None:
        """Keep a record for the next request."""
        place = (
            self._settings.topic(record.topic),
            self._partition_of(record.key, self._settings.partitions),
        )
        batch = self._batches.get(place)
        if batch is None:
            batch = self._batches[place] = self._producer.new_batch()
        if batch.append(timestamp=record.at, key=record.key, value=record.raw) is None:
            raise BenchError(f"more than {BATCH_BYTES} bytes for one partition at once")
        self.taken += 1

    def look(self) -> None:
        """Send what waits when it is time; raises what went wrong with what was sent."""
        now = time.monotonic()
        if now >= self._leaves_at:
            self._leaves_at = now + LINGER_MS / 1000
            self._send()
        for done in [one for one in self._sending if one.done()]:
            self._sending.remove(done)
            done.result()

    def _send(self) -> None:
        batches, self._batches = self._batches, {}
        if batches:
            self._sending.add(asyncio.create_task(self._deliver(batches)))

    async def _deliver(self, batches: dict[tuple[str, int], BatchBuilder]) -> None:
        # While a broker is slow, one that waits for a partition would be overtaken at another.
        async with self._turn:
            await self._producer.send((*place, batch) for place, batch in batches.items())


def _now() -> int:
    return time.time_ns() // 1_000_000
