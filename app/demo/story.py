"""The run from the first line of set-up to the summary; whatever happens, nothing is left."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory
from types import FrameType, TracebackType
from typing import Self
from zoneinfo import ZoneInfo

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from redis import Redis
from redis.exceptions import RedisError
from rich.console import Console

from agents.partitioner import partition_function
from app import stack
from app.demo.feed import Feed
from app.demo.gateway import Gateway, Seen
from app.demo.nightly import compare, ends_of
from app.demo.player import CommittedOffsets, FollowedClock, Player
from app.demo.show import Observer, Show, show_of
from app.demo.summary import Summary
from app.producing import EventProducer
from app.redis_store import key_prefix
from app.stack.commands import default_data_dir
from app.topology import client_config, ensure_topics
from app.worker_process import WorkerProcess
from config.settings import PREFIX, Settings
from config.settings_kinds import Secret
from models.rulebook import RuleBook
from models.times import DAY

PARTITIONS = 8
# Bytes of the token that the worker of one run takes changes with: it lives as long as the run.
TOKEN_BYTES = 8
COMMIT_INTERVAL_MS = 50

TICK_SECONDS = 0.05
# The same while the worker is waited for.
HELD_SECONDS = 0.02
# After a pause the play may go twice as fast, not faster: a leap is a picture of its own.
CATCH_UP = 2.0
READY_SECONDS = 60.0
STUCK_SECONDS = 30.0
QUIET_SECONDS = 0.7

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# What the worker is told by its environment.
_GIVEN = (
    *("broker", "redis", "app_id", "topic_prefix", "partitions", "commit_interval_ms"),
    *("data_dir", "assume_consent"),
)

Say = Callable[[str], None]


class NoProgress(Exception):
    """The worker runs and folds nothing; the message has the last lines of its log."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast (days per second), and for how long at most (seconds; None: to the end)."""

    days_per_second: float
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Demo:
    """What is asked for. The broker of ``settings`` counts when ``own_stack`` is false."""

    settings: Settings
    book: RuleBook
    feed: Feed
    pace: Pace
    own_stack: bool
    worker_arguments: tuple[str, ...]


class Interrupts:
    """Makes the first Ctrl-C or SIGTERM a ``KeyboardInterrupt`` and ignores the others."""

    def __enter__(self) -> Self:
        self._before = {sign: signal.signal(sign, self._interrupt) for sign in _SIGNALS}
        return self

    def ignore(self) -> None:
        """Ignore the first, too: what is cleaned up is not to be interrupted."""
        for sign in _SIGNALS:
            signal.signal(sign, signal.SIG_IGN)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        for sign, handler in self._before.items():
            signal.signal(sign, handler)

    def _interrupt(self, _: int, __: FrameType | None) -> None:
        self.ignore()
        raise KeyboardInterrupt


def run(demo: Demo, console: Console, say: Say) -> Summary:
    """Play the demo and return what it came to; ``say`` is told the steps of the set-up.

    Ctrl-C and SIGTERM end the play early; before it has begun they raise ``KeyboardInterrupt``.
    Raises ``StackError``, ``TopologyError``, ``KafkaException``, ``WorkerFailed`` and
    ``NoProgress``. Afterwards nothing runs that was started here, and nothing of it is left on
    the servers.
    """
    with Interrupts() as interrupts, ExitStack() as world:
        settings = demo.settings
        if demo.own_stack:
            info = world.enter_context(stack.borrowed(default_data_dir(), say))
            settings = replace(settings, broker=info.broker, redis=info.redis)
        name = f"demo-{token_hex(4)}"
        settings = replace(
            settings,
            app_id=name,
            topic_prefix=f"{name}.",
            partitions=PARTITIONS,
            commit_interval_ms=COMMIT_INTERVAL_MS,
            data_dir=Path(world.enter_context(TemporaryDirectory(prefix="lifecycle-demo-"))),
            token=Secret(token_hex(TOKEN_BYTES)),
        )
        say("creating topics")
        world.enter_context(_own_topics(settings))
        return _play_and_judge(demo, settings, console, say, interrupts)


@contextmanager
def _own_topics(settings: Settings) -> Iterator[None]:
    try:
        ensure_topics(settings)
        yield
    finally:
        # Servers that are gone cannot be cleaned up, and that is not what went wrong.
        with suppress(KafkaException):
            _forget_in_kafka(settings)
        with suppress(RedisError), Redis.from_url(settings.redis, socket_timeout=2.0) as store:
            for key in store.scan_iter(key_prefix(settings.app_id) + "*", count=1000):
                store.delete(key)


def _forget_in_kafka(settings: Settings) -> None:
    admin = AdminClient({**client_config(settings), "socket.timeout.ms": 5000})
    known = admin.list_consumer_groups().result().valid
    groups = [one.group_id for one in known if one.group_id.startswith(settings.app_id)]
    present = admin.list_topics(timeout=5).topics
    topics = [name for name in present if name.startswith(settings.app_id)]
    for future in (
        *(admin.delete_consumer_groups(groups).values() if groups else ()),
        *(admin.delete_topics(topics).values() if topics else ()),
    ):
        with suppress(KafkaException):
            future.result()


def _play_and_judge(
    demo: Demo, settings: Settings, console: Console, say: Say, interrupts: Interrupts
) -> Summary:
    assert settings.data_dir is not None
    with ExitStack() as parts:
        clock = parts.enter_context(FollowedClock(settings.data_dir / "clock", demo.feed.start))
        say("starting the worker")
        worker = WorkerProcess(
            ["--clock", f"follow:{clock.path}", *demo.worker_arguments],
            {
                **{PREFIX + name.upper(): str(getattr(settings, name)) for name in _GIVEN},
                f"{PREFIX}TOKEN": settings.token.reveal(),
            },
            settings.data_dir / "worker.log",
        )
        parts.callback(worker.stop)
        gateway = parts.enter_context(closing(Gateway(settings)))
        folded = parts.enter_context(closing(CommittedOffsets(settings)))
        sender = EventProducer(settings)
        place = partition_function(settings.partitioner)
        player = Player(
            demo.feed, sender, clock, folded, lambda key: place(key, settings.partitions)
        )
        _warm_up(player, worker)
        console_at = console_address(worker.address, settings.token)
        if console_at is not None:
            say(f"the console is at {console_at} for as long as this plays")
        zone = ZoneInfo(settings.time_zone)
        warm, began, interrupted = player.position, time.monotonic(), False
        try:
            rules = _by_group(demo.book)
            observer = Observer(player, gateway, worker, rules, zone, console_at)
            with show_of(observer, console) as show:
                _play(player, worker, demo.pace, show)
        except KeyboardInterrupt:
            interrupted = True
        seconds = time.monotonic() - began
        interrupts.ignore()
        sender.flush()
        _drain(player, worker, gateway)
        seen = gateway.look(copy)
    return Summary(
        events=player.produced,
        members=len(player.histories),
        triggers=seen.by_rule,
        cancelled=len(seen.cancelled),
        expired=seen.expired,
        dead_letters=seen.dead_letters,
        seconds=seconds,
        played=player.position - demo.feed.start,
        left=demo.feed.end - player.position,
        latencies=[
            one.seen - player.handed_at(one.due)
            for one in seen.triggers.values()
            if warm < one.due <= player.position
        ],
        comparison=compare(
            seen.reminders(),
            player.histories,
            ends_of(demo.book.rules.values()),
            zone,
            player.position,
        ),
        interrupted=interrupted,
    )


def console_address(address: str | None, token: Secret) -> str | None:
    """Return where the console is, with what it may change things with; None without a worker.

    What stands behind the # stays in the browser: no server is told of it, and none can log it.
    """
    return None if address is None else f"http://{address}/#token={token.reveal()}"


def _by_group(book: RuleBook) -> list[str]:
    """Return the rules, the groups in order of their most urgent rule."""
    rules = sorted(book.rules.values(), key=lambda rule: -rule.priority)
    groups = list(dict.fromkeys(rule.group for rule in rules))
    return [
        rule.name for rule in sorted(rules, key=lambda rule: (groups.index(rule.group), rule.name))
    ]


def _warm_up(player: Player, worker: WorkerProcess) -> None:
    """Play the first event and wait until it is folded: then the worker is ready."""
    began = time.monotonic()
    player.play_first(began)
    while player.lag:
        worker.check()
        if time.monotonic() - began > READY_SECONDS:
            raise NoProgress(
                f"the worker has not begun within {READY_SECONDS:.0f} s. {worker.last_words()}"
            )
        time.sleep(TICK_SECONDS)
        player.look()


def _play(player: Player, worker: WorkerProcess, pace: Pace, show: Show) -> None:
    origin, began = player.position, time.monotonic()
    per_second = pace.days_per_second * DAY
    longest = int(CATCH_UP * TICK_SECONDS * per_second) + 1
    moved = tick = began
    while not player.through and (pace.seconds is None or tick - began < pace.seconds):
        worker.check()
        settled = player.settled
        player.look()
        if player.settled > settled or not player.lag:
            moved = tick
        elif tick - moved > STUCK_SECONDS:
            raise NoProgress(
                f"the worker has folded nothing for {STUCK_SECONDS:.0f} s. {worker.last_words()}"
            )
        wanted = min(origin + int((tick - began) * per_second), player.position + longest)
        player.play_to(wanted, tick)
        show.moment()
        pause = TICK_SECONDS if player.position >= wanted else HELD_SECONDS
        time.sleep(max(tick + pause - time.monotonic(), 0.0))
        tick = time.monotonic()


def _drain(player: Player, worker: WorkerProcess, gateway: Gateway) -> None:
    """Wait until everything is folded, and what follows from it is read."""
    began = time.monotonic()
    while True:
        now = time.monotonic()
        quiet = now - max(gateway.look(_last_seen), began) > QUIET_SECONDS
        if (quiet and not player.lag) or now - began > STUCK_SECONDS:
            return
        worker.check()
        time.sleep(TICK_SECONDS)
        player.look()


def _last_seen(seen: Seen) -> float:
    return seen.last
