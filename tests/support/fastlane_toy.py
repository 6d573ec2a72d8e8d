"""A worker process whose lanes count, to try the fast lane on a real broker.

A row is the member's count and its applied offset per topic; every record gives one output that
names it. Run as ``python -m fastlane_toy '{"broker": ..., ...}'``; options make trouble.
"""

import asyncio
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from struct import Struct
from typing import Any

from agents.clocks import WallClock
from agents.fastlane.app import FastApp, create_fast_app
from agents.fastlane.settings import FastLaneConfig
from agents.fastlane.worker import run_worker
from agents.fold import Decoded, Refused
from agents.lane import Lane, LaneLimits
from agents.lanes import LaneWorld
from agents.ports import Output, SourceRecord, SourceTopic
from agents.recovery import Recovered
from agents.turns import Turns


class CountFold:
    """Counts a member's records: a state is ``[count, applied offset per topic ...]``."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.topics = options["topics"]
        self._order = {name: place for place, name in enumerate(self.topics, 1)}
        self._row = Struct(f"<{1 + len(self.topics)}q")
        self._outputs = options["outputs"]
        self._every = options.get("every", 1)
        self._slow_seconds = options.get("slow_seconds", 0)
        self._freeze_on = options.get("freeze_on", "").encode()
        self._raise_on = options.get("raise_on", "").encode()

    def decode(self, record: SourceRecord) -> Decoded[None] | Refused:
        if record.value == self._raise_on:
            raise RuntimeError("this record is a defect")
        return Decoded(record.key or b"", record.timestamp, None)

    def load(self, key: bytes, body: bytes | None) -> list[int]:
        return [0] + [-1] * len(self.topics) if body is None else list(self._row.unpack(body))

    def save(self, state: list[int], due: int | None) -> bytes:
        return self._row.pack(*state)

    def due(self, body: bytes) -> int | None:
        return None

    def next_due(self, state: list[int]) -> int | None:
        return None

    def applied(self, state: list[int], topic: int) -> int:
        return state[1 + topic]

    def apply(
        self,
        state: list[int],
        decoded: Decoded[None],
        record: SourceRecord,
        now: int | None,
        quiet_until: int = 0,
    ) -> Sequence[Output]:
        if record.value == self._freeze_on:
            os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(self._slow_seconds)
        state[0] += 1
        state[self._order[record.topic]] = record.offset
        if state[0] % self._every:
            return ()
        origin = f"{record.topic}/{record.partition}/{record.offset}"
        return (Output(self._outputs, decoded.key, origin.encode()),)

    def advance(self, state: list[int], to: int, now: int | None) -> Sequence[Output]:
        return ()

    def crashed(self, what: SourceRecord | bytes, error: Exception) -> Sequence[Output]:
        raise error

    def project(self, key: bytes, body: bytes | None) -> Sequence[Output]:
        return ()

    def row_of(self, update: bytes) -> bytes:
        return update


class ToyLane:
    """A lane that tells what it is fed and when it knows that it has read everything."""

    def __init__(self, world: LaneWorld, options: dict[str, Any]) -> None:
        self._world = world
        self._talks = options.get("talks", True)
        self._feed_raises = options.get("feed_raises", False)
        if options.get("never_done"):
            world.source.done = lambda *_: None  # type: ignore[method-assign]
        self._next = dict.fromkeys(options["topics"], 0)
        self._watch: asyncio.Task[None] | None = None
        self._lane: Lane[list[int], None] = Lane(
            world.number,
            CountFold(options),
            world.rows,
            changelog=world.changelog,
            updates=world.updates,
            source=world.source,
            outputs=world.outputs,
            clock=WallClock(),
            on_failure=world.on_failure,
            limits=LaneLimits(queue_records=options.get("queue_records", 10_000)),
        )

    async def start(
        self, epoch: int, recovered: Recovered, topics: Mapping[str, SourceTopic]
    ) -> None:
        say("started", self._world.number, epoch, len(self._world.rows))
        await self._lane.start(epoch, recovered, topics)
        if self._talks:
            self._watch = asyncio.create_task(self._tell_when_caught_up())

    def feed(self, topic: str, records: Sequence[SourceRecord]) -> None:
        if self._feed_raises:
            raise RuntimeError("this chunk cannot be taken")
        if not BURST:
            asyncio.get_running_loop().call_soon(tell_burst)
        BURST.append(self._world.number)
        if self._talks:
            say("fed", self._world.number, topic, records[0].offset, records[-1].offset)
        self._next[topic] = records[-1].offset + 1
        self._lane.feed(topic, records)

    async def stop(self) -> bool:
        if self._watch is not None:
            self._watch.cancel()
        return await self._lane.stop()

    async def _tell_when_caught_up(self) -> None:
        told = None
        while True:
            ends = await self._world.source.ends(self._world.number)
            reached = all(self._next[topic] >= end for topic, end in ends.items())
            if reached and told != self._next:
                told = dict(self._next)
                say("caught up", self._world.number, *told.values())
            await asyncio.sleep(0.1)


BURST: list[int] = []
"""The lanes that were fed in this round of the loop."""


def tell_burst() -> None:
    say("at once", len(BURST))
    BURST.clear()


def say(*words: object) -> None:
    print(*words, flush=True)


def toy_app(options: dict[str, Any]) -> FastApp:
    config = FastLaneConfig(
        broker=options["broker"],
        group=options["group"],
        topics=tuple(options["topics"]),
        partitions=options["partitions"],
        changelog=options["changelog"],
        data_dir=Path(options["data_dir"]),
        max_poll_records=options.get("max_poll_records", 5000),
    )
    turns = Turns()
    turns.waited = options.get("waited", 0.0)
    return create_fast_app(config, lambda world: ToyLane(world, options), turns=turns)


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    return run_worker(toy_app(json.loads(sys.argv[1])))


if __name__ == "__main__":
    sys.exit(main())
