"""The job as a Bytewax flow from Kafka, without its recovery store: nothing durable.

Its own notifications follow the machine's clock, so deadlines of a log from the past fire with the
member's next event, and at the end of the log.
"""

from collections.abc import Iterable
from typing import Any

import bytewax.operators as op  # type: ignore[import-not-found,unused-ignore]
import orjson
from bytewax.connectors.kafka import (  # type: ignore[import-not-found,unused-ignore]
    KafkaSink,
    KafkaSinkMessage,
    KafkaSource,
)
from bytewax.dataflow import Dataflow  # type: ignore[import-not-found,unused-ignore]
from bytewax.testing import run_main  # type: ignore[import-not-found,unused-ignore]

from app.bench.meter import Job, Meter
from app.bench.simple_job import Fired, encode, fire, fold, new_state


def run(job: Job, meter: Meter) -> None:
    """Do the job and report."""

    class Member(op.StatefulBatchLogic):  # type: ignore[misc,unused-ignore]
        """One member's state."""

        def __init__(self) -> None:
            self.name = ""
            self.state = new_state()

        def on_batch(self, values: list[dict[str, Any]]) -> tuple[Iterable[Fired], bool]:
            """Fold a batch of the member's events."""
            state, fired = self.state, []
            for event in values:
                self.name = event["member_id"]
                if 0 < state["due"] <= event["occurred_at"]:
                    fired.append(fire(self.name, state))
                fold(state, event)
            return fired, op.StatefulBatchLogic.RETAIN

        def on_eof(self) -> tuple[Iterable[Fired], bool]:
            """Fire what was due by the end of the log."""
            due = 0 < self.state["due"] <= job.until
            return [fire(self.name, self.state)] if due else [], op.StatefulBatchLogic.RETAIN

        def snapshot(self) -> dict[str, Any]:
            """Return the state."""
            return self.state

    began: list[bool] = []

    def read(message: Any) -> tuple[str, dict[str, Any]]:
        if not began:
            began.append(True)
            meter.first()
        event = orjson.loads(message.value)
        return event["member_id"], event

    flow = Dataflow("simple_job")
    records = op.input("in", flow, KafkaSource([job.broker], [job.source], tail=False))
    members = op.stateful_batch("fold", op.map("read", records, read), lambda _: Member())
    out = op.map("write", members, lambda one: KafkaSinkMessage(one[0].encode(), encode(one[1])))
    op.output("out", out, KafkaSink([job.broker], job.triggers))
    meter.assigned()
    run_main(flow)
    meter.finish()
