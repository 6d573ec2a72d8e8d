"""Tasks that run beside the lanes."""

import asyncio
from contextlib import suppress


async def ended(task: asyncio.Task[None] | None) -> None:
    """Cancel a task, and return when it has ended; None is a task that was never begun.

    What made it fail before is raised.
    """
    if task is not None:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
