"""The job through our own lane: the same log, durable rows, deadlines in the rows, an outbox."""

import asyncio
import struct
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from agents.clocks import StreamClock
from agents.fastlane.app import create_fast_app
from agents.fastlane.settings import FastLaneConfig
from agents.fastlane.worker import run_worker
from agents.fold import Decoded, Refused
from agents.lane import Lane
from agents.lanes import LaneWorld
from agents.ports import Output, SourceRecord
from app.bench.meter import Job, Meter
from app.bench.simple_job import DAY_MS, HALF_HOUR_MS, HOUR_MS, WEEK_MS, Fired, encode

LOOK_SECONDS = 0.02
STILL_SECONDS = 1.0
_DUE = struct.Struct(">q")


class Event(msgspec.Struct, gc=False):
    """What the job uses of an event."""

    type: str
    member_id: str
    occurred_at: int
    price: float
    quantity: int


class State(msgspec.Struct, array_like=True, gc=False):
    """The 16 fields, then the lane's own: who it is and the last offset folded in."""

    events: int = 0
    views: int = 0
    carts: int = 0
    purchases: int = 0
    revenue: int = 0
    first_at: int = 0
    last_at: int = 0
    last_view_at: int = 0
    last_purchase_at: int = 0
    in_hour: float = 0.0
    in_day: float = 0.0
    in_week: float = 0.0
    sessions: int = 0
    session_at: int = 0
    due: int = 0
    sent: int = 0
    member: str = ""
    offset: int = -1


class SimpleFold:
    """The simple job as a lane's fold (``agents.fold.Fold``)."""

    def __init__(self, source: str, triggers: str) -> None:
        self.topics = (source,)
        self._triggers = triggers
        self._event = msgspec.json.Decoder(Event).decode
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(State).decode

    def decode(self, record: SourceRecord) -> Decoded[Event] | Refused:
        """Return the record's event."""
        assert record.value is not None
        assert record.key is not None
        event = self._event(record.value)
        return Decoded(record.key, event.occurred_at, event)

    def load(self, key: bytes, body: bytes | None) -> State:
        """Return the member of a row, or a new one."""
        if body is None:
            return State(member=key.decode())
        return self._decode(memoryview(body)[_DUE.size :])

    def save(self, state: State, due: int | None) -> bytes:
        """Return the row: the deadline, and everything."""
        return _DUE.pack(due or 0) + self._encode(state)

    def due(self, body: bytes) -> int | None:
        """Return the deadline of a row."""
        due: int = _DUE.unpack_from(body)[0]
        return due or None

    def next_due(self, state: State) -> int | None:
        """Return the deadline of a member."""
        return state.due or None

    def applied(self, state: State, topic: int) -> int:  # noqa: ARG002 - there is one topic
        """Return the last offset folded in."""
        return state.offset

    def apply(
        self,
        state: State,
        decoded: Decoded[Event],
        record: SourceRecord,
        now: int | None,
        quiet_until: int = 0,  # noqa: ARG002 - its own deadline is looked at faster
    ) -> Sequence[Output]:
        """Fold one event in, after the deadline that came first."""
        event = decoded.event
        at = event.occurred_at
        outputs = self.advance(state, at, now) if 0 < state.due <= at else ()
        gap = at - state.last_at
        if not state.events:
            state.first_at = at
        if gap > HALF_HOUR_MS:
            state.sessions += 1
            state.session_at = at
        state.events += 1
        state.last_at = at
        state.in_hour = state.in_hour * 0.5 ** (gap / HOUR_MS) + 1.0
        state.in_day = state.in_day * 0.5 ** (gap / DAY_MS) + 1.0
        state.in_week = state.in_week * 0.5 ** (gap / WEEK_MS) + 1.0
        if event.type == "view_item":
            state.views += 1
            state.last_view_at = at
            state.due = at + HALF_HOUR_MS
        elif event.type == "add_to_cart":
            state.carts += event.quantity
        elif event.type == "purchase":
            state.purchases += 1
            state.revenue += round(event.price * 100) * event.quantity
            state.last_purchase_at = at
            state.due = 0
        state.offset = record.offset
        return outputs

    def advance(self, state: State, to: int, now: int | None) -> Sequence[Output]:  # noqa: ARG002
        """Fire the deadline if it is reached."""
        if not 0 < state.due <= to:
            return ()
        fired = Fired(state.member, state.due, state.events)
        state.due = 0
        state.sent += 1
        return (Output(self._triggers, state.member.encode(), encode(fired)),)

    def crashed(self, what: SourceRecord | bytes, error: Exception) -> Sequence[Output]:  # noqa: ARG002
        """Give up: a measurement that met a defect is none."""
        raise error

    def project(self, key: bytes, body: bytes | None) -> Sequence[Output]:  # noqa: ARG002
        """Return nothing: the job has no readers of its state."""
        return ()

    def row_of(self, update: bytes) -> bytes:
        """Return the key of an update's row; there are no updates."""
        return update


def run(job: Job, meter: Meter) -> None:
    """Do the job and report."""
    fold = SimpleFold(job.source, job.triggers)
    clock = StreamClock(job.until)
    lanes: list[Lane[State, Event]] = []

    def open_lane(world: LaneWorld) -> Lane[State, Event]:
        lane = Lane(
            world.number,
            fold,
            world.rows,
            changelog=world.changelog,
            updates=world.updates,
            source=world.source,
            outputs=world.outputs,
            clock=clock,
            on_failure=world.on_failure,
        )
        lanes.append(lane)
        return lane

    app = create_fast_app(
        FastLaneConfig(
            broker=job.broker,
            group=job.name,
            topics=fold.topics,
            partitions=job.partitions,
            changelog=job.changelog,
            data_dir=Path(job.folder),
        ),
        open_lane,
    )

    async def assigned(*_: Any, **__: Any) -> None:
        meter.assigned()

    app.on_partitions_assigned.connect(assigned, weak=False)

    @app.task  # type: ignore[untyped-decorator]
    async def watch() -> None:
        await _watch(lanes, job, meter)

    run_worker(app)


async def _watch(lanes: list[Lane[State, Event]], job: Job, meter: Meter) -> None:
    """Report once all is read, fired and acknowledged: nothing has moved for a while."""
    seen, cpu, wall, begun = (0, 0, 0), 0.0, 0.0, False
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        stats = [lane.stats for lane in lanes]
        moved = (
            sum([one.records for one in stats]),
            sum([one.groups for one in stats]),
            sum([one.outputs for one in stats]),
        )
        if moved != seen:
            if not begun and moved[0]:
                begun = True
                meter.first()
            seen, cpu, wall = moved, time.process_time(), time.monotonic()
        elif moved[0] == job.events and time.monotonic() - wall > STILL_SECONDS:
            meter.finish_at(cpu, wall)
