"""Keeps what a worker's guard has learnt in Redis, so that a restart does not forget weeks.

It is for the guard's convenience alone: while Redis is away, or has lost it, the guard learns anew,
and holds nothing back that it has not learnt about.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

import msgspec

from agents.tasks import ended
from app.redis_client import StoreUnavailable
from models.guard import Guard, Learnt

log = logging.getLogger(__name__)

FIRST_SECONDS = 10.0
"""How often it is tried to read what there is, until it was read."""

SAVE_SECONDS = 300.0
"""What a killed worker has counted since is lost."""


STOP_SECONDS = 0.5
"""What the last write may take: a worker has better things to do in the seconds it has to end."""


class Notes(Protocol):
    """Where small things are kept by name; both raise ``StoreUnavailable``."""

    async def note(self, name: str) -> bytes | None:
        """Return what was kept; None when nothing was."""

    async def keep_note(self, name: str, value: bytes) -> None:
        """Keep it."""


class GuardKeeper:
    """Reads once, then writes now and then, and at the end.

    All workers write the same name: what they learn is the same, told for each lane. Nothing is
    written before what is there was read, so that a new worker does not overwrite weeks with hours.
    """

    NAME = "guard"

    def __init__(self, guard: Guard, notes: Notes, now: Callable[[], int]) -> None:
        self._guard = guard
        self._notes = notes
        self._now = now
        self._read = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; returns at once."""
        self._task = asyncio.create_task(self._run(), name="guard-keeper")

    async def stop(self) -> None:
        """Write what there is, if Redis lets it, and end."""
        if self._task is None:
            return
        await ended(self._task)
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await self.turn()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(SAVE_SECONDS if self._read else FIRST_SECONDS)
            await self.turn()

    async def turn(self) -> None:
        """Read, if that has not been done, else write."""
        if not self._guard.began:
            return
        try:
            if self._read:
                learnt = self._guard.learnt(self._now())
                await self._notes.keep_note(self.NAME, msgspec.msgpack.encode(learnt))
            else:
                self._adopt(await self._notes.note(self.NAME))
                self._read = True
        except StoreUnavailable as error:
            log.info("what the feed guard has learnt is not kept: %s", error)

    def _adopt(self, kept: bytes | None) -> None:
        if kept is None:
            return
        try:
            learnt = msgspec.msgpack.decode(kept, type=Learnt)
        except msgspec.DecodeError:
            log.warning("what the feed guard had learnt cannot be read: it learns anew")
            return
        self._guard.adopt(learnt, self._now())
