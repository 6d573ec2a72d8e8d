"""Shows how the play goes: collects the figures, and draws them or prints them."""

import time
from collections import Counter, deque
from types import TracebackType
from typing import Protocol, Self
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.live import Live

from app.demo.gateway import Gateway, News, Seen
from app.demo.player import Player
from app.demo.view import LEAST_HEIGHT, LEAST_WIDTH, LiveView, Picture, Ticker, plain_line
from app.worker_process import Deadlines, WorkerProcess

DRAW_SECONDS = 0.15
PLAIN_SECONDS = 1.0
RATE_SECONDS = 3.0
ASK_WORKER_SECONDS = 1.0


class Observer:
    """Knows all figures of a play."""

    def __init__(
        self,
        player: Player,
        gateway: Gateway,
        worker: WorkerProcess,
        rules: list[str],
        zone: ZoneInfo,
        console: str | None,
    ) -> None:
        self._player = player
        self._gateway = gateway
        self._worker = worker
        self._rules = rules
        self._zone = zone
        self._console = console
        self._deadlines: Deadlines | None = None
        self._asked = 0.0
        self._rates: deque[tuple[float, int, int]] = deque()

    def picture(self) -> Picture:
        """Return the figures as they are now."""
        player, now = self._player, time.monotonic()
        if now - self._asked > ASK_WORKER_SECONDS:
            self._asked = now
            self._deadlines = self._worker.deadlines() or self._deadlines
        by_rule, cancelled, stages = self._gateway.look(self._counted)
        events, triggers = self._per_second(now, player.produced, by_rule.total())
        return Picture(
            feed=player.feed.name,
            start=player.feed.start,
            end=player.feed.end,
            now=player.position,
            zone=self._zone,
            events=player.produced,
            events_per_second=events,
            lag=player.lag,
            stages=stages,
            by_rule={rule: by_rule[rule] for rule in self._rules},
            cancelled=cancelled,
            triggers_per_second=triggers,
            deadlines=self._deadlines,
            console=self._console,
        )

    def news(self) -> list[News]:
        """Return what was raised and taken back since the last call, at most the last of it."""
        return self._gateway.look(_taken)

    def _counted(self, seen: Seen) -> tuple[Counter[str], int, Counter[str]]:
        player = self._player
        stages: Counter[str] = Counter()
        for prefix, ids in (("m", player.histories), ("a", player.visitors)):
            stages.update(seen.stages.get(prefix + one, "lead") for one in ids)
        return Counter(seen.by_rule), len(seen.cancelled), stages

    def _per_second(self, now: float, events: int, triggers: int) -> tuple[float, float]:
        rates = self._rates
        rates.append((now, events, triggers))
        while len(rates) > 2 and now - rates[0][0] > RATE_SECONDS:
            rates.popleft()
        since, events_then, triggers_then = rates[0]
        seconds = now - since
        if not seconds:
            return 0.0, 0.0
        return (events - events_then) / seconds, (triggers - triggers_then) / seconds


def _taken(seen: Seen) -> list[News]:
    news = list(seen.news)
    seen.news.clear()
    return news


class Show(Protocol):
    """What shows the play; ``moment`` is called many times a second."""

    def moment(self) -> None:
        """Show how it is now, if it is time to."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End."""


class LiveShow:
    """The live view, on the terminal's second screen; the first is as it was afterwards."""

    def __init__(self, observer: Observer, console: Console) -> None:
        self._observer = observer
        self._view = LiveView(observer.picture(), Ticker())
        self._live = Live(
            self._view,
            console=console,
            screen=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._drawn = 0.0

    def moment(self) -> None:
        """Draw it a few times a second."""
        now = time.monotonic()
        if now - self._drawn < DRAW_SECONDS:
            return
        self._drawn = now
        self._view.picture = self._observer.picture()
        self._view.ticker.take(self._observer.news(), now)
        self._live.refresh()

    def __enter__(self) -> Self:
        self._live.start(refresh=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()


class PlainShow:
    """A line each second, for files, pipes and very small terminals."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._printed = 0.0

    def moment(self) -> None:
        """Print a line when a second is over."""
        now = time.monotonic()
        if now - self._printed >= PLAIN_SECONDS:
            self._printed = now
            print(plain_line(self._observer.picture()), flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass


def show_of(observer: Observer, console: Console) -> Show:
    """Return the live view where it can be seen, else plain lines."""
    large = console.width >= LEAST_WIDTH and console.height >= LEAST_HEIGHT
    able = console.encoding.startswith("utf") and not console.is_dumb_terminal
    # Not is_terminal, which FORCE_COLOR makes true of a pipe.
    if console.file.isatty() and able and large:
        return LiveShow(observer, console)
    return PlainShow(observer)
