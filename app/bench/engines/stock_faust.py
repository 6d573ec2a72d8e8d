"""The job as a Faust program by the book: an agent, a table with its changelog, default settings.

Faust has no deadlines: each partition keeps its own in a heap beside the table, and the deadline
itself in the member's row, from which a heap could be made again. Members of one partition share
time, so a deadline fires with the next event of its partition, whoever's it is.
"""

import asyncio
from collections import defaultdict
from typing import Any

import faust

from app.bench.meter import Job, Meter
from app.bench.simple_job import Heap, encode, fire, fold, new_state


def run(job: Job, meter: Meter) -> None:
    """Do the job and report."""
    app = faust.App(
        job.name,
        broker=f"kafka://{job.broker}",
        store="memory://",
        datadir=job.folder,
        topic_partitions=job.partitions,
        web_enabled=False,
    )
    source = app.topic(job.source, value_serializer="json")
    triggers = app.topic(job.triggers, value_serializer="raw")
    members = app.Table("members", partitions=job.partitions)
    heaps: dict[int, Heap] = defaultdict(Heap)
    app.on_partitions_assigned.connect(_told(meter), weak=False)

    @app.agent(source)  # type: ignore[untyped-decorator]
    async def fold_events(stream: Any) -> None:
        taken = 0
        async for message in stream.events():
            if not taken:
                meter.first()
            event: dict[str, Any] = message.value
            heap, member = heaps[message.message.partition], event["member_id"]
            reached = heap.reached(event["occurred_at"], lambda one: members[one]["due"])
            for one in reached:
                state = members[one]
                fired = fire(one, state)
                members[one] = state
                await triggers.send(key=one, value=encode(fired))
            state = members.get(member) or new_state()
            fold(state, event)
            members[member] = state
            if event["type"] == "view_item":
                heap.arm(member, state["due"])
            taken += 1
            if taken == job.events:
                finishing.append(asyncio.create_task(_finish(app, meter)))

    finishing: list[asyncio.Task[None]] = []
    faust.Worker(app, loglevel="WARNING", redirect_stdouts=False).execute_from_commandline()


def _told(meter: Meter) -> Any:
    async def assigned(*_: Any, **__: Any) -> None:
        meter.assigned()

    return assigned


async def _finish(app: faust.App, meter: Meter) -> None:
    await app.producer.flush()
    meter.finish()
