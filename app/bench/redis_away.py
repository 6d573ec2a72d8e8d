"""What a minute without Redis costs: triggers, documents and counters, under live events.

A Redis of the measurement's own is killed with SIGKILL while events come in at a rate, and started
again at the same address. By default it comes back *empty*: that is what people meet whose Redis
keeps nothing on disk, or who fail over to a new one, and it is the harder case, for everything has
to be written again, not only what came meanwhile.
"""

import time
from bisect import bisect
from collections.abc import Iterable
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from confluent_kafka import Message

from agents.observer import FOLLOWED
from app.bench.live_feed import PREFIX, LiveFeed, canary_rules
from app.bench.place import Place, place, say, worker
from app.bench.projected import Copy, Follow, Projected, Showing, wrong
from app.bench.report import percentiles
from app.bench.watching import Seen, Tail, Watcher
from app.demo.player import CommittedOffsets
from app.stack.files import lasting_ports
from app.stack.lone_redis import LoneRedis
from app.topology import output_topics
from app.worker_process import WorkerProcess
from config.settings import Settings

READY_SECONDS = 120.0
WARM_UP_SECONDS = 60
"""Java compiles what it has seen to run often."""
BEFORE_SECONDS = 20
RIGHT_AFTER_SECONDS = 30
"""By then the projection is to be right again, under the same load: all of it is compared."""
AFTER_SECONDS = 20
"""For so long behind that, canaries' documents are looked for again."""
SPARE_SECONDS = 60
"""For the last documents looked for, and a Redis that reads its log before it answers."""
PATIENCE_SECONDS = 30.0
CAUGHT_UP_SECONDS = 300.0
LOOK_SECONDS = 0.25
PHASES = ("before", "away", "after")
_NAMED = b'"member_id":"%b' % PREFIX.encode()


class Moment(NamedTuple):
    """How things stood at an instant (epoch milliseconds)."""

    at: float
    cpu_seconds: float
    """What all workers had used."""
    unfolded: int
    """Events sent that no worker had committed, which they do once a second."""


class Course(NamedTuple):
    """What happened when."""

    began: Moment
    killed: Moment
    back: Moment
    ended: Moment


def redis_away(
    settings: Settings, rate: int, away: int, workers: int, few_rules: bool, keeps_data: bool
) -> dict[str, Any]:
    """Take Redis away for ``away`` seconds and bring it back; return the figures.

    Raises ``BenchError``, ``StackError``, and ``WorkerFailed`` when a worker ends.
    """
    [port] = lasting_ports(1)
    url = f"redis://127.0.0.1:{port}/0"
    with (
        place(replace(settings, redis=url), "redis-away", settings.partitions) as here,
        closing(LoneRedis(here.folder / "lone", port)) as redis,
    ):
        redis.start(say)
        here.make_topics()
        config = canary_rules(here.folder, few_rules)
        seconds = WARM_UP_SECONDS + BEFORE_SECONDS + away + RIGHT_AFTER_SECONDS + AFTER_SECONDS
        say("making events")
        feed = LiveFeed(here, rate, seconds + SPARE_SECONDS)
        figures = {
            "rate": rate,
            "workers": workers,
            "partitions": here.settings.partitions,
            "rules": "few" if few_rules else "all",
            "redis_comes_back": "with its data" if keeps_data else "empty",
        }
        return figures | _Run(here, redis, feed).run(config, workers, away, keeps_data)


class _Run:
    """One outage, from the start of the workers on."""

    def __init__(self, here: Place, redis: LoneRedis, feed: LiveFeed) -> None:
        self._here = here
        self._redis = redis
        self._feed = feed
        self._crew: list[WorkerProcess] = []
        self._watcher = Watcher()
        topics = [here.settings.topic(name) for name in FOLLOWED]
        self._out = output_topics(here.settings)
        self._projected = Projected(here.settings)
        self._follow = Follow(
            self._projected, partial(here.each_end, *topics), self._out.member_updates
        )

    def run(self, config: Path, workers: int, away: int, keeps_data: bool) -> dict[str, Any]:
        """Return the figures."""
        here, feed = self._here, self._feed
        with ExitStack() as left:
            left.callback(self._projected.close)
            for _ in range(workers):
                self._crew.append(left.enter_context(worker(here, "--config", str(config))))
            for process in self._crew:
                process.wait_until_ready(READY_SECONDS)
            self._folded = left.enter_context(closing(CommittedOffsets(here.settings)))
            left.enter_context(Tail(here, self._out.triggers, self._take, old=True))
            left.enter_context(feed)
            say(f"{WARM_UP_SECONDS} s to warm up")
            self._rest(WARM_UP_SECONDS)
            began = self._moment()
            say(f"{BEFORE_SECONDS} s to compare with")
            with self._showing() as before:
                self._rest(BEFORE_SECONDS)
            say(f"Redis is killed, for {away} s")
            killed = self._moment()
            self._redis.kill()
            if not keeps_data:
                self._redis.forget()
            self._rest(away)
            self._redis.start(say)
            back = self._moment()
            say(f"Redis is back, {RIGHT_AFTER_SECONDS} s to get right")
            self._follow.look(RIGHT_AFTER_SECONDS)
            soon = self._projected.copy()
            say(f"{AFTER_SECONDS} s to compare with")
            with self._showing() as after:
                self._follow.look(AFTER_SECONDS)
            ended = self._moment()
            feed.end()
            say("no more events; until all is counted")
            self._rest(0)
            seen = self._watcher.wait(lambda _: True, len(feed.canaries), PATIENCE_SECONDS)
            self._follow.look(CAUGHT_UP_SECONDS, lambda one: not one.documents + one.observed)
            self._rest(0)
            late = self._projected.copy()
        course = Course(began, killed, back, ended)
        say("comparing")
        return {
            "sent": feed.sent,
            "canaries": len(feed.canaries),
            **of_workers(course),
            **of_triggers(course, seen, {one.member for one in feed.canaries}),
            "event_to_document_ms": {"before": before.figures(), "after": after.figures()},
            **self._of_redis(back.at, soon, late),
        }

    def _of_redis(self, back: float, soon: Copy, late: Copy) -> dict[str, Any]:
        """Return what became of Redis; ``soon`` and ``late`` are what it held after a while."""
        standings = self._follow.standings
        wrong_soon, wrong_late = wrong((soon, late), self._here.read(self._out.member_updates))
        told = [one for one in standings if one.at <= back + RIGHT_AFTER_SECONDS * 1000]
        return {
            "documents": {
                "there": len(late.documents),
                "caught_up_after_s": caught_up(
                    back, [(one.at, one.documents) for one in standings]
                ),
                f"behind_after_{RIGHT_AFTER_SECONDS}_s": told[-1].documents,
                f"wrong_after_{RIGHT_AFTER_SECONDS}_s": wrong_soon,
                "wrong_at_end": wrong_late,
            },
            "observer": {
                "caught_up_after_s": caught_up(back, [(one.at, one.observed) for one in standings]),
                f"behind_after_{RIGHT_AFTER_SECONDS}_s": told[-1].observed,
                "behind_at_end": standings[-1].observed,
            },
        }

    def _take(self, message: Message, read: float) -> None:
        # Members of the shop get triggers, too: those are not looked at.
        if _NAMED in message.value():
            self._watcher.take(message, read)

    def _showing(self) -> Showing:
        return Showing(partial(Projected, self._here.settings), self._feed.canaries)

    def _rest(self, seconds: float) -> None:
        """Let so much time pass; raise when something has ended that should not have."""
        limit = time.monotonic() + seconds
        while True:
            for process in self._crew:
                process.check()
            self._feed.check()
            if time.monotonic() >= limit:
                return
            time.sleep(LOOK_SECONDS)

    def _moment(self) -> Moment:
        cpu = sum(process.cpu_seconds for process in self._crew)
        return Moment(time.time() * 1000, cpu, self._feed.sent - self._folded.count())


def of_workers(course: Course) -> dict[str, Any]:
    """Return whether the workers kept up, and how many cores they took, from moment to moment."""
    cores = {
        name: round((end.cpu_seconds - begin.cpu_seconds) / (end.at - begin.at) * 1000, 2)
        for name, (begin, end) in zip(PHASES, pairwise(course), strict=True)
    }
    unfolded = {name: getattr(course, name).unfolded for name in ("killed", "back", "ended")}
    return {"worker_cores": cores, "unfolded": unfolded}


def of_triggers(course: Course, seen: Iterable[Seen], canaries: set[str]) -> dict[str, Any]:
    """Return how late canaries' triggers were, by when they were due, and which are missing."""
    by_phase: dict[str, list[Seen]] = {name: [] for name in PHASES}
    missing = set(canaries)
    for one in seen:
        missing.discard(one.member)
        if one.due >= course.began.at:
            phase = bisect((course.killed.at, course.back.at), one.due)
            by_phase[PHASES[phase]].append(one)
    return {
        "raised_late_ms": {
            name: percentiles(one.raised - one.due for one in found)
            for name, found in by_phase.items()
        },
        "read_late_ms": {
            name: percentiles(one.read - one.due for one in found)
            for name, found in by_phase.items()
        },
        "missing_triggers": len(missing),
    }


def caught_up(back: float, standings: Iterable[tuple[float, int]]) -> float | None:
    """Return the seconds until Redis had all that the topics had held a second before.

    ``standings`` are instants, in order, and how many records were missing. None: never.
    """
    return next((round((at - back) / 1000, 1) for at, behind in standings if not behind), None)
