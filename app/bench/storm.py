"""What is left of the throughput while workers come and go every few seconds."""

import time
from collections.abc import Callable
from contextlib import closing
from random import Random
from typing import Any

import msgspec

from app.bench.crew import Crew, crew
from app.bench.place import BenchError, Place, place, say, without_policy
from app.bench.simple_job import digest
from app.bench.throughput import line_of, said_by_replay, simulated_events
from app.bench.watching import watching_fences
from app.demo.player import CommittedOffsets
from app.options import book_of
from app.producing import EventProducer, produce_all
from app.topology import output_topics
from config.settings import Settings
from models.triggers import TriggerMessage

WORKERS = 3
GAP_SECONDS = (2.0, 5.0)
"""How long after one coming or going the next follows."""
BEGIN_SECONDS = 120.0
LIMIT_SECONDS = 600.0
STILL_SECONDS = 2.0
LOOK_SECONDS = 0.1
SEED = 1


def storm(settings: Settings, events: int) -> dict[str, Any]:
    """Let three workers take a backlog in: calm, its middle half in a storm, and calm again.

    The last calm is left out when the backlog is gone before all workers are there again. Events
    count when their offsets are committed: what has to be done again does not. Raises
    ``BenchError`` when the backlog is too short for that, or is not finished in time.
    """
    with place(settings, "storm", settings.partitions) as here:
        config = without_policy(here.folder / "config")
        say(f"making {events:,} events, and replaying them for what must come out")
        log = simulated_events(events)
        expected = said_by_replay(log, book_of(config, here.settings))
        here.make_topics()
        produce_all(EventProducer(here.settings), log, None)
        with (
            closing(CommittedOffsets(here.settings)) as committed,
            watching_fences(here) as fences,
            crew(here, ("--clock", "stream", "--config", str(config)), fences) as workers,
        ):
            count = committed.count
            _fill_up(workers)
            left = len(log) - count()
            say(f"calm, {left:,} events to go")
            before = rate(count, len(log) - left * 3 // 4)
            say("a storm, until half of that is done")
            weather, began = Storm(workers), len(fences)
            rough = rate(count, len(log) - left // 4, weather.blow)
            taken = len(fences) - began
            _fill_up(workers)
            calm = [before]
            # Not to the very end: lanes do not come to it at the same moment.
            if count() < (goal := len(log) - left // 20) - left // 20:
                say("calm again")
                calm.append(rate(count, goal))
            say("finishing the backlog")
            _finish(here, workers, count, len(log))
        said = _said(here)
    return {
        "events": len(log),
        "lanes": here.settings.partitions,
        "workers": WORKERS,
        "calm_events_per_second": [round(one) for one in calm],
        "storm_events_per_second": round(rough),
        "storm_over_calm": round(rough * len(calm) / sum(calm), 3),
        "comings_and_goings": weather.acts,
        "ended_by_themselves": weather.fallen,
        "lanes_taken_over": taken,
        "triggers": len(expected),
        "missing": len(expected - said),
        "spurious": len(said - expected),
        "digest_ok": digest(said) == digest(expected),
    }


class Storm:
    """Workers that start, are killed and are sent away, one every few seconds."""

    def __init__(self, workers: Crew) -> None:
        self.acts = {"started": 0, "killed": 0, "dismissed": 0}
        self.fallen = 0
        self._workers = workers
        self._random = Random(SEED)
        self._next = time.monotonic()

    def blow(self) -> None:
        """Do what is due, if anything is."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + self._random.uniform(*GAP_SECONDS)
        self.fallen += len(self._workers.fallen())
        act = self._random.choice(choices(len(self._workers.workers)))
        self.acts[act] += 1
        if act == "started":
            self._workers.start()
            return
        victim = self._random.choice(self._workers.workers)
        (self._workers.kill if act == "killed" else self._workers.dismiss)(victim)


def choices(running: int) -> list[str]:
    """Return what may happen to a crew of that size: it never goes, nor outgrows itself."""
    leaving = ["killed", "dismissed"] if running > 1 else []
    return leaving + ["started"] * (max(len(leaving), 1) if running < WORKERS else 0)


def rate(
    count: Callable[[], int], goal: int, meanwhile: Callable[[], None] = lambda: None
) -> float:
    """Return by how many a second ``count`` grows until it gets to ``goal``.

    Offsets are committed now and then, thousands at a time: so it is measured from the moment of a
    growth to that of another. ``meanwhile`` is called again and again. Raises ``BenchError`` when
    the goal is reached at once, or not in time.
    """
    limit = time.monotonic() + LIMIT_SECONDS
    seen, grown = count(), list[tuple[float, int]]()
    while seen < goal:
        meanwhile()
        time.sleep(LOOK_SECONDS)
        now, done = time.monotonic(), count()
        if done > seen:
            grown.append((now, done))
        seen = done
        if now > limit:
            raise BenchError(f"{done:,} of {goal:,} events were done in {LIMIT_SECONDS:.0f} s")
    if len(grown) < 2:
        raise BenchError(f"{seen:,} events were done too soon to measure: give more --events")
    (began, first), (ended, last) = grown[0], grown[-1]
    return (last - first) / (ended - began)


def _fill_up(workers: Crew) -> None:
    workers.fallen()
    while len(workers.workers) < WORKERS:
        workers.start()
    workers.wait_until_settled(BEGIN_SECONDS)


def _finish(here: Place, workers: Crew, count: Callable[[], int], total: int) -> None:
    out = output_topics(here.settings)
    state: tuple[int, int] = (0, 0)
    since = time.monotonic()

    def still() -> bool:
        nonlocal state, since
        now = count(), here.ends(out.triggers)[out.triggers]
        if now != state:
            state, since = now, time.monotonic()
        return now[0] == total and time.monotonic() - since > STILL_SECONDS

    workers.wait_for(still, LIMIT_SECONDS)


def _said(here: Place) -> set[str]:
    decode = msgspec.json.Decoder(TriggerMessage).decode
    out = output_topics(here.settings)
    return {line_of(decode(message.value())) for message in here.read(out.triggers)}
