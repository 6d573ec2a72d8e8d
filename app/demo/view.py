"""What a person sees: a picture that changes a few times a second, or a plain line each second."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import zip_longest
from zoneinfo import ZoneInfo

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.progress_bar import ProgressBar
from rich.rule import Rule as Line
from rich.table import Table
from rich.text import Text

from app.demo.gateway import News
from app.worker_process import Deadlines
from models.times import DAY, SECOND, parse_instant

STAGES = {
    "lead": "bright_black",
    "new": "cyan",
    "silent": "yellow",
    "active": "green",
    "loyal": "bright_magenta",
    "dormant": "dark_orange3",
    "lost": "red",
}
LEAST_WIDTH, LEAST_HEIGHT = 60, 20
# Three lines of head, the line over the news, and two entries of news.
ABOVE_AND_BELOW = 8
_EIGHTHS = " ▏▎▍▌▋▊▉█"
# A new entry every so often: what flies by faster than it can be read is no news.
NEWS_SECONDS = 0.4


@dataclass(frozen=True, slots=True)
class Picture:
    """All figures at one moment; instants are epoch milliseconds."""

    feed: str
    start: int
    end: int
    now: int
    zone: ZoneInfo
    events: int
    events_per_second: float
    lag: int
    stages: Mapping[str, int]
    by_rule: Mapping[str, int]
    cancelled: int
    triggers_per_second: float
    deadlines: Deadlines | None = None
    console: str | None = None
    """The address of the console."""

    def moment(self, form: str) -> str:
        """Return the date running, in the brand's time zone."""
        return datetime.fromtimestamp(self.now / SECOND, self.zone).strftime(form)


def plain_line(picture: Picture) -> str:
    """Return the moment in one line."""
    said = [
        f"{picture.moment('%Y-%m-%d %H:%M')}",
        f"{picture.events:,} events ({picture.events_per_second:,.0f}/s)",
        f"lag {picture.lag:,}",
        f"{sum(picture.stages.values()):,} members",
        f"{sum(picture.by_rule.values()):,} triggers",
        f"{picture.cancelled:,} taken back",
    ]
    if picture.deadlines is not None:
        said.append(f"deadlines {_deadlines(picture.deadlines)}")
    return ", ".join(said)


def _deadlines(deadlines: Deadlines) -> str:
    return f"{deadlines.armed:,} armed {deadlines.fired:,} fired"


@dataclass(slots=True)
class Ticker:
    """Chooses what of the news is shown: rules that have not been seen for longest first."""

    shown: deque[News] = field(default_factory=lambda: deque(maxlen=100))
    _turns: dict[tuple[str, bool], int] = field(default_factory=dict)
    _turn: int = 0
    _last: float = 0.0

    def take(self, news: Sequence[News], elapsed: float) -> bool:
        """Show one of ``news`` if it is time (``elapsed`` seconds); tell whether it was."""
        if not news or elapsed - self._last < NEWS_SECONDS:
            return False
        self._last = elapsed
        self._turn += 1
        chosen = min(reversed(news), key=lambda one: self._turns.get((one.rule, one.cancelled), 0))
        self._turns[chosen.rule, chosen.cancelled] = self._turn
        self.shown.appendleft(chosen)
        return True


def families(rules: Iterable[str]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Group rules that differ in their last word only, a number: (family, [(last word, rule)]).

    >>> families(["inactive_30d", "inactive_60d", "welcome"])
    [('inactive', [('30d', 'inactive_30d'), ('60d', 'inactive_60d')]), ('welcome', [('', ...)])]
    """
    grouped: dict[str, list[tuple[str, str]]] = {}
    for rule in rules:
        family, _, step = rule.rpartition("_")
        if family and step[0:1].isdigit():
            grouped.setdefault(family, []).append((step, rule))
        else:
            grouped[rule] = [("", rule)]
    return list(grouped.items())


def bar(share: float, width: int) -> str:
    """Return a bar of ``share`` (0 to 1) of ``width`` cells, exact to an eighth of one."""
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    return "█" * (eighths // 8) + (_EIGHTHS[eighths % 8] if eighths % 8 else "")


def shortened(text: str, width: int) -> str:
    """Return ``text`` in at most ``width`` cells, cut in the middle: its end says how long."""
    if cell_len(text) <= width:
        return text
    # At most two thirds of the width, where characters are two cells wide.
    tail = text[-(width // 3) :]
    return set_cell_size(text, width - 1 - cell_len(tail)) + "…" + tail


@dataclass(slots=True)
class LiveView:
    """The live view as something that rich can draw, in any size from 60 x 20."""

    picture: Picture
    ticker: Ticker

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it."""
        width, height = options.max_width, options.height or console.height
        yield self._head(width)
        yield self._figures()
        yield self._line_of_console()
        tables = list(self._tables(width))[: height - ABOVE_AND_BELOW]
        yield from tables
        yield self._line_of_news()
        yield from self._news(width, height - len(tables) - 4)

    def _head(self, width: int) -> Table:
        picture = self.picture
        share = (picture.now - picture.start) / max(picture.end - picture.start, 1)
        days = (picture.now - picture.start) // DAY
        grid = Table.grid(expand=True, padding=(0, 1))
        grid.add_column(no_wrap=True)
        grid.add_column(no_wrap=True)
        grid.add_column(justify="right", no_wrap=True)
        grid.add_row(
            Text(picture.moment("%a %d %b %Y  %H:%M"), style="bold"),
            ProgressBar(total=1.0, completed=share, width=max(width - 60, 10)),
            Text(
                f"day {days} of {(picture.end - picture.start) // DAY} · {picture.feed}",
                style="bright_black",
                overflow="ellipsis",
            ),
        )
        return grid

    def _figures(self) -> Text:
        picture = self.picture
        said = Text(no_wrap=True, overflow="ellipsis")
        pairs = [
            ("events", f"{picture.events:,}"),
            ("", f"{picture.events_per_second:,.0f}/s"),
            ("lag", f"{picture.lag:,}"),
        ]
        if picture.deadlines is not None:
            pairs.append(("deadlines", _deadlines(picture.deadlines)))
        for name, value in pairs:
            said.append(f"{name} " if name else "", style="bright_black")
            said.append(f"{value}  ", style="bold" if name else "")
        return said

    def _tables(self, width: int) -> Iterable[Text]:
        left = min(max(width // 3, 26), 44)
        for stage, rule in zip_longest(self._stages(left), self._rules(), fillvalue=Text()):
            row = Text(no_wrap=True, overflow="ellipsis").append_text(stage)
            row.append(" " * (left + 3 - cell_len(row.plain)))
            yield row.append_text(rule)

    def _stages(self, width: int) -> list[Text]:
        counts = self.picture.stages
        most = max(counts.values(), default=0) or 1
        rows = []
        for name, style in STAGES.items():
            count = counts.get(name, 0)
            row = Text(f"{name:8}{count:>7,} ")
            row.append(bar(count / most, width - 16), style=style)
            rows.append(row)
        return rows

    def _rules(self) -> list[Text]:
        rows = []
        for family, steps in families(self.picture.by_rule):
            row = Text(f"{family.replace('_', ' '):24}")
            for step, rule in steps:
                count = self.picture.by_rule[rule]
                row.append(f"{step} " if step else "", style="bright_black")
                row.append(f"{count:<6,}", style="bold" if count else "bright_black")
            row.rstrip()
            rows.append(row)
        return rows

    def _line_of_console(self) -> Line:
        address = self.picture.console
        if address is None:
            return Line(style="bright_black")
        title = Text.assemble((" console ", "bright_black"), (f"{address} ", "bold"))
        return Line(title, align="left", style="bright_black")

    def _line_of_news(self) -> Line:
        picture = self.picture
        raised = sum(picture.by_rule.values())
        title = Text.assemble(
            (f" {raised:,} triggers", "bold green"),
            (f" {picture.triggers_per_second:,.0f}/s  ", "green"),
            (f"{picture.cancelled:,} taken back ", "bold red"),
        )
        return Line(title, align="left", style="bright_black")

    def _news(self, width: int, height: int) -> Iterable[Text]:
        for one in list(self.ticker.shown)[: max(height, 0) // 2]:
            when = datetime.fromtimestamp(parse_instant(one.at) / SECOND, self.picture.zone)
            head = Text(no_wrap=True, overflow="ellipsis")
            head.append("✗ " if one.cancelled else "● ", style="red" if one.cancelled else "green")
            head.append(when.strftime("%d %b %H:%M  "), style="bright_black")
            head.append(f"{one.member_id}  ")
            head.append(one.rule, style="bold")
            yield head
            why = f"taken back: {one.why}" if one.cancelled else one.why
            yield Text(f"  {shortened(why, width - 3)}", style="bright_black", no_wrap=True)
