"""Tasks that run beside the lanes."""

import asyncio

AGAIN_SECONDS = 3.0
"""When a task that has not ended is told again: a library may have lost the word, as aiokafka does
when it comes while it ends a task of its own. Longer than any of ours takes to end in order."""


async def ended(task: asyncio.Task[None] | None) -> None:
    """Cancel a task, and return when it has ended; None is a task that was never begun.

    What made it fail before is raised.
    """
    if task is None:
        return
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=AGAIN_SECONDS)
    if not task.cancelled():
        task.result()
