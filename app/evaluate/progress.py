"""Progress on a terminal: one line that says what is being done and how far it is."""

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn


class Steps:
    """A bar on standard error that begins anew with each step; silent without a terminal."""

    def __init__(self) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self._task = self._bar.add_task("", total=None)
        self._step = ""

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def __call__(self, step: str, done: int, total: int | None) -> None:
        """Show that ``done`` of ``total`` (None: unknown) of a step are done."""
        if step != self._step:
            self._step = step
            self._bar.reset(self._task, description=step, total=total)
        self._bar.update(self._task, completed=done)

    def lines(self, count: int) -> None:
        """Show how many lines were read."""
        self(f"reading: {count:,} lines", 0, None)
