"""What an import did: rows read, rows skipped and why, and the error that ends it."""

from collections.abc import Callable

# How many rows lie between two calls of the progress callback.
PROGRESS_EVERY = 100_000
# How many line numbers are kept per reason for skipping.
LINES_KEPT = 5


class InputError(Exception):
    """The input cannot be used; the message is one line a problem, naming file, line and field."""


class Skipped:
    """The rows skipped for one reason: how many, and the first line numbers."""

    __slots__ = ("count", "lines")

    def __init__(self) -> None:
        self.count = 0
        self.lines: list[int] = []


class Report:
    """Counts rows and collects what was skipped.

    ``progress`` is called with the rows read so far, ``complain`` with line, column and reason
    of each bad line (a row that is left out on purpose is not bad).
    """

    def __init__(
        self,
        progress: Callable[[int], None] | None = None,
        complain: Callable[[int, str, str], None] | None = None,
    ) -> None:
        self.rows = 0
        self.skipped: dict[str, Skipped] = {}
        self._progress = progress
        self._complain = complain

    def row(self) -> None:
        """Count one row read."""
        self.rows += 1
        if self._progress is not None and self.rows % PROGRESS_EVERY == 0:
            self._progress(self.rows)

    def skip(self, line: int, reason: str) -> None:
        """Record that the row at ``line`` gives no event, by the rules of the source."""
        skipped = self.skipped.setdefault(reason, Skipped())
        skipped.count += 1
        if len(skipped.lines) < LINES_KEPT:
            skipped.lines.append(line)

    def bad(self, line: int, column: str, reason: str) -> None:
        """Record that the row at ``line`` could not be understood, and complain about it."""
        self.skip(line, f"{column}: {reason}")
        if self._complain is not None:
            self._complain(line, column, reason)

    @property
    def skipped_total(self) -> int:
        """How often a row, or one of several events mapped to it, was left out."""
        return sum(skipped.count for skipped in self.skipped.values())
