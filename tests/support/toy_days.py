"""Days that a test opens by hand."""

import asyncio
from collections.abc import Callable, Sequence

from agents.ports import Output

DAY = 86_400_000


class ToyDays:
    """Opens days by hand; says the number of the day."""

    def __init__(self, open_to: int = -1) -> None:
        self._open_to = open_to
        self._watching: list[Callable[[], object]] = []

    async def ready(self) -> None:
        await asyncio.sleep(0.01)

    def open_to(self) -> int:
        return self._open_to

    def open(self, day: int) -> None:
        """Let lanes go to the end of a day."""
        self._open_to = (day + 1) * DAY
        for opened in self._watching:
            opened()

    def reached(self, lane: int, day: int) -> Sequence[Output]:
        return (Output("days", b"", str(day).encode()),)

    def watch(self, opened: Callable[[], object]) -> None:
        self._watching.append(opened)

    def unwatch(self, opened: Callable[[], object]) -> None:
        self._watching.remove(opened)

    @property
    def watched(self) -> int:
        return len(self._watching)
