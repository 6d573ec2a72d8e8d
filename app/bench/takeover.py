"""How soon the lanes of a killed worker work again, in the hands of the others."""

import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, pairwise
from typing import Any, NamedTuple

import msgspec

from app.bench.crew import Crew, crew
from app.bench.made_rows import NamedRow, fill, filled, made_rows, rows_of
from app.bench.place import place, say, without_policy
from app.bench.report import percentiles
from app.bench.watching import Fence, Seen, Watcher, watching, watching_fences
from app.options import book_of
from config.settings import Settings
from models.decoding import receive
from models.engine import next_due
from models.replay import Replay
from models.rulebook import RuleBook

DUE_A_SECOND = 50
"""Deadlines of all lanes together: with 16 lanes, three a second in each."""
ROUND_SECONDS = 120
"""How long a round may take: a worker joins, lanes settle, one is killed, all lanes work again."""
BEGIN_SECONDS = 240


class Kill(NamedTuple):
    """A worker that was killed: when it was dead (epoch milliseconds) and what it owned."""

    dead_at: float
    lanes: frozenset[int]


def takeover(settings: Settings, members: int, workers: int, kills: int) -> dict[str, Any]:
    """Kill workers in turn and measure until their lanes raise triggers; return the figures.

    Raises ``BenchError`` when lanes stand still for too long, ``WorkerFailed`` when a worker that
    was not killed ends.
    """
    with place(settings, "takeover", settings.partitions) as here:
        config = without_policy(here.folder / "config")
        book = book_of(config, here.settings)
        say("making rows")
        rows = made_rows(book, _now())
        here.make_topics()
        fill(here, chain(filled(rows, members), coming_due(book, kills)))
        with (
            watching_fences(here) as fences,
            watching(here) as watcher,
            crew(here, ("--config", str(config)), fences) as workers_,
        ):
            for _ in range(workers):
                workers_.start()
            rounds = []
            for number in range(1, kills + 1):
                say(f"waiting until {workers} workers share the lanes")
                limit = BEGIN_SECONDS if number == 1 else ROUND_SECONDS
                owned = workers_.wait_until_settled(limit)
                since = {fence.lane: fence.at for fence in fences}
                workers_.wait_for(partial(_all_work, since, watcher), limit)
                say(f"kill {number} of {kills}")
                kill = _kill_oldest(workers_, owned)
                rounds.append(_watch(workers_, kill, here.settings.partitions, fences, watcher))
                workers_.start()
    return {
        "members": members,
        "workers": workers,
        "lanes": here.settings.partitions,
        **summary(here.settings.session_timeout_ms / 1000, rounds),
    }


def coming_due(book: RuleBook, kills: int) -> Iterator[NamedRow]:
    """Yield members who have viewed an item, and whose deadlines come due from now on."""
    gap = 1000 / DUE_A_SECOND
    count = (BEGIN_SECONDS + kills * ROUND_SECONDS) * DUE_A_SECOND
    viewed = _viewed("once", 0, book)
    [within] = [next_due(member, book) for member in viewed.members.values()]
    began = _now() - within
    for number in range(count):
        run = _viewed(f"due-{number}", int(began + number * gap), book)
        [(kind, body)] = rows_of(run, book)
        yield NamedRow(kind + b"due-%d" % number, body)


def _viewed(member: str, at: int, book: RuleBook) -> Replay:
    event = {"type": "view_item", "member_id": member, "occurred_at": at, "item_id": "sku-1"}
    run = Replay(book)
    run.fold(receive("browse", msgspec.json.encode(event), member.encode(), 0, 0, at))
    return run


def _kill_oldest(workers: Crew, owned: Mapping[int, int]) -> Kill:
    victim = workers.workers[0]
    lanes = frozenset(lane for lane, pid in owned.items() if pid == victim.pid)
    workers.kill(victim)
    return Kill(_now(), lanes)


def _all_work(since: Mapping[int, int], watcher: Watcher) -> bool:
    return len(working(since, watcher.seen())) == len(since)


def _watch(
    workers: Crew, kill: Kill, lanes: int, fences: Sequence[Fence], watcher: Watcher
) -> dict[str, Any]:
    """Wait until every lane works again; return what came of it."""

    def all_work_again() -> bool:
        since = {fence.lane: fence.at for fence in first_fences(kill, fences)}
        return len(since) == lanes and _all_work(since, watcher)

    workers.wait_for(all_work_again, ROUND_SECONDS)
    # Lanes that were not lost count from their fence too: they stand still while lanes are dealt
    # out anew.
    again = working({fence.lane: fence.at for fence in first_fences(kill, fences)}, watcher.seen())
    return {
        "lost_lanes": len(kill.lanes),
        "fenced": [
            (fence.at - kill.dead_at) / 1000
            for fence in first_fences(kill, fences)
            if fence.lane in kill.lanes
        ],
        "first_trigger": [(again[lane] - kill.dead_at) / 1000 for lane in kill.lanes],
        "all_lanes": (max(again.values()) - kill.dead_at) / 1000,
        "survivors_pause": max(
            pauses(kill.dead_at, max(again.values()), set(again) - kill.lanes, watcher.seen()),
            default=0.0,
        ),
    }


def first_fences(kill: Kill, fences: Sequence[Fence]) -> list[Fence]:
    """Return each lane's first fence after the kill."""
    found: dict[int, Fence] = {}
    for fence in fences:
        if fence.at > kill.dead_at:
            found.setdefault(fence.lane, fence)
    return list(found.values())


def working(since: Mapping[int, int], seen: Sequence[Seen]) -> dict[int, float]:
    """Return when each lane's first trigger was read of those raised since its instant.

    Lanes without such a trigger are missing.
    """
    found: dict[int, float] = {}
    for one in seen:
        if one.lane in since and one.raised >= since[one.lane]:
            found.setdefault(one.lane, one.read)
    return found


def pauses(start: float, end: float, lanes: set[int], seen: Sequence[Seen]) -> list[float]:
    """Return the longest time without a trigger, in seconds, of each of the lanes."""
    instants: dict[int, list[float]] = {lane: [start, end] for lane in lanes}
    for one in seen:
        if one.lane in lanes and start < one.read < end:
            instants[one.lane].append(one.read)
    longest = []
    for times in instants.values():
        times.sort()
        longest.append(max(b - a for a, b in pairwise(times)) / 1000)
    return longest


def summary(timeout: float, rounds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the figures as they are printed; all times but the time-out count from its end."""
    return {
        "session_timeout_s": timeout,
        "kills": [
            {
                "lost_lanes": one["lost_lanes"],
                "fenced_after_timeout_s": round(max(one["fenced"]) - timeout, 2),
                "first_trigger_after_timeout_s": round(max(one["first_trigger"]) - timeout, 2),
                "all_lanes_after_timeout_s": round(one["all_lanes"] - timeout, 2),
                "survivors_lanes_pause_s": round(one["survivors_pause"], 2),
            }
            for one in rounds
        ],
        "first_trigger_after_timeout_s": percentiles(
            at - timeout for one in rounds for at in one["first_trigger"]
        ),
    }


def _now() -> int:
    return time.time_ns() // 1_000_000
