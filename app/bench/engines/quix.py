"""The job as a Quix Streams program: local RocksDB state with its changelog, default settings.

Quix has no deadlines, and a callback reaches no other member's state. So a mirror in memory, which
no crash survives, holds what a trigger needs, and partitions share time as for stock Faust.
"""

from collections import defaultdict
from typing import Any

from quixstreams import (  # type: ignore[import-not-found,unused-ignore]
    Application,
    State,
    message_context,
)

from app.bench.meter import Job, Meter
from app.bench.simple_job import Fired, Heap, encode, fold, new_state


def run(job: Job, meter: Meter) -> None:
    """Do the job and report."""
    app = Application(
        broker_address=job.broker,
        consumer_group=job.name,
        auto_offset_reset="earliest",
        state_dir=job.folder,
        loglevel="WARNING",
    )
    source = app.topic(job.source, value_deserializer="json", key_deserializer="str")
    triggers = app.topic(job.triggers, value_serializer="bytes", key_serializer="str")
    heaps: dict[int, Heap] = defaultdict(Heap)
    mirror: dict[str, Fired] = {}
    left = job.events

    def take(event: dict[str, Any], kept: State) -> list[Fired]:
        nonlocal left
        if left == job.events:
            meter.first()
        left -= 1
        if not left:
            app.stop()
        member, at = event["member_id"], event["occurred_at"]
        heap = heaps[message_context().partition]
        fired = [
            mirror.pop(one)
            for one in heap.reached(at, lambda one: mirror[one].due if one in mirror else 0)
        ]
        state = kept.get("state") or new_state()
        if 0 < state["due"] <= at:
            state["due"] = 0
            state["sent"] += 1
        fold(state, event)
        kept.set("state", state)
        if state["due"]:
            mirror[member] = Fired(member, state["due"], state["events"])
        else:
            mirror.pop(member, None)
        if event["type"] == "view_item":
            heap.arm(member, state["due"])
        return fired

    frame = app.dataframe(source).apply(take, stateful=True, expand=True)
    frame.apply(encode).to_topic(triggers)
    meter.assigned()
    app.run()
    meter.finish()
