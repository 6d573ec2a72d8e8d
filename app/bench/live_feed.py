"""Events as they happen: a made shop's, at a rate, with canaries among them.

A canary is a member whom nobody knew, and who looks at an item. What must follow is known: a
document, and a trigger of ``RULE`` at ``WITHIN_MS`` after the event.
"""

import gc
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Self

import orjson

from app.bench.place import BenchError, Place, without_policy
from app.bench.rule_load import THREE_RULES
from app.bench.throughput import simulated_events
from app.event_reading import Record
from app.producing import EventProducer
from config.paths import RULES_FOLDER, package_dir

RULE = "canary"
PREFIX = "canary-"
WITHIN_MS = 5_000
CANARIES_A_SECOND = 50
TICK_SECONDS = 0.005

LINGER_MS = 200
"""Of all but the canaries. librdkafka has a request of its own for each partition that it sends to:
by its default of 5 ms nearly each event would be one, and the broker as busy with this feed as with
the workers, on cores that they share."""

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
        self._crowd = EventProducer(here.settings, LINGER_MS)
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
        return self._crowd.sent + self._lone.sent

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
            began, events, canaries = time.monotonic(), 0, 0
            while not self._ending.is_set():
                passed = time.monotonic() - began
                events = self._send(events, int(passed * self._rate))
                while canaries < passed * CANARIES_A_SECOND:
                    canaries += 1
                    self._send_canary(canaries)
                time.sleep(TICK_SECONDS)
            self._crowd.flush()
            self._lone.flush()
        except BaseException as error:
            self._failed = error

    def _send(self, sent: int, due: int) -> int:
        found: Sequence[Record] = list(islice(self._events, due - sent))
        now = _now()
        for record in found:
            self._crowd.send(live(record, now))
        if sent + len(found) < due:
            raise BenchError("there were too few of them")
        return due

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


def _now() -> int:
    return time.time_ns() // 1_000_000
