"""Whose turn it is: of tasks that each keep the event loop for a while, one at a time.

Between two turns the loop goes round some times, so that whatever else it has to do gets on. Who
plainly asks for a member over HTTP is answered in the round in which the request is read; any other
request takes three, to be read, handed on and answered. A round with nothing to do takes some
microseconds.
"""

import asyncio
from collections import deque
from math import expm1

ROUNDS = 2

MEMORY = 0.5
"""Over how many seconds ``waited`` is smoothed."""

CALM = 0.025
"""Up to so long (seconds) lanes wait for each other when a poll brings all of them something,
though the loop has time to spare."""

WAITS = 4
MOST_PATIENCE = 0.25
"""How much patience longer waits teach, as a multiple of what they are longer, and how much there
is at the most (seconds)."""

LINGER = 0.2
"""What part of it a request to the broker may be kept back for others: an event waits for one
poll and one group, but for three requests."""


class Turns:
    """Hands out turns in the order in which they are asked for."""

    def __init__(self) -> None:
        self.sharers = 0
        """How many tasks take turns now; they say so themselves."""
        self.waited = 0.0
        """How long a turn is waited for lately, in seconds: what a busy loop costs everybody."""
        self._turned = 0.0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._taken = False

    @property
    def pressed(self) -> bool:
        """Return whether somebody waits for a turn."""
        return bool(self._waiting)

    @property
    def patience(self) -> float:
        """Return how long in seconds to keep between two of what costs the same whatever it brings.

        A loop that is full gets its work done by doing such things less often, each with more.
        """
        return min(WAITS * max(self.waited - CALM, 0.0), MOST_PATIENCE)

    @property
    def linger(self) -> float:
        """Return how long in seconds to keep between two requests of a kind to the broker."""
        return LINGER * self.patience

    async def mine(self) -> None:
        """Return when it is the caller's turn, which lasts until it waits for anything."""
        loop = asyncio.get_running_loop()
        asked = loop.time()
        turn = loop.create_future()
        self._waiting.append(turn)
        if not self._taken:
            self._hand_out()
        await turn
        now = loop.time()
        weight = -expm1((self._turned - now) / MEMORY)
        self.waited += (now - asked - self.waited) * weight
        self._turned = now

    def _hand_out(self) -> None:
        self._taken = False
        while self._waiting and not self._taken:
            turn = self._waiting.popleft()
            if not turn.cancelled():
                turn.set_result(None)
                self._taken = True
                self._go_round(ROUNDS)

    def _go_round(self, rounds: int) -> None:
        if rounds:
            asyncio.get_running_loop().call_soon(self._go_round, rounds - 1)
        else:
            self._hand_out()
