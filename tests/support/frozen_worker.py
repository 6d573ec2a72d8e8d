"""A real worker that stands still at one named point of publishing a group.

Run as ``python -m frozen_worker POINT GATE worker [options]``. While the file ``GATE`` is there,
the first group that touches a member called ``frozen...`` is held at the point, and the rest of
the worker goes on: it reads, folds, and answers over HTTP. Whoever holds it freezes the process
with SIGSTOP; SIGCONT lets it go on from exactly that point.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.produce import ProduceRequest

from agents.fastlane.connections import Connections
from agents.ports import LoggedRow, Output, Row, Sent
from app import worker_command
from app.cli import main
from app.worker import Worker

BEFORE_APPEND = "before_append"
"""The group is closed, and nothing of it has been handed to the changelog."""
ON_THE_WIRE = "on_the_wire"
"""The producer has numbered its batch and hands the request to the socket."""
AFTER_APPEND = "after_append"
"""It is durable, and nothing has been sent."""
BETWEEN_SENDS = "between_sends"
"""What goes to the first topic is out, what goes to the others is not."""
AFTER_SENDS = "after_sends"
"""All is out, and no offset is committed."""

IN_RECOVERY = "in_recovery"
"""A lane is fenced and its changelog is being read; this one is never left."""

POINTS = (BEFORE_APPEND, ON_THE_WIRE, AFTER_APPEND, BETWEEN_SENDS, AFTER_SENDS)
FROZEN = b"frozen"
"""How the ids of the members begin whose group is held."""


class Hold:
    """Holds one group at one point."""

    def __init__(self, point: str, gate: Path) -> None:
        self._point = point
        self._gate = gate
        self._over = False

    def wants(self, point: str, members: Sequence[bytes]) -> bool:
        """Return whether the group of these members is the one, and this is the point."""
        return (
            point == self._point
            and not self._over
            and any(member.startswith(FROZEN) for member in members)
            and self._gate.exists()
        )

    async def here(self) -> None:
        """Return once the process has been frozen and thawed."""
        self._over = True
        thawed = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGCONT, thawed.set)
        print("held", self._point, os.getpid(), flush=True)
        await thawed.wait()
        print("thawed", self._point, flush=True)


def hold_at(hold: Hold, ports: Connections) -> None:
    """Wrap what the lanes write through and send through."""
    append, read, send = ports.changelog.append, ports.changelog.read, ports.outputs.send
    wire = _WireTap(hold)

    async def held_append(lane: int, rows: Sequence[Row]) -> int | None:
        members = [row.key[2:] for row in rows if row.key[:1] == b"r"]
        if hold.wants(BEFORE_APPEND, members):
            await hold.here()
        if hold.wants(ON_THE_WIRE, members):
            wire.armed = True
        first = await append(lane, rows)
        if hold.wants(AFTER_APPEND, members):
            await hold.here()
        return first

    async def held_send(outputs: Sequence[Output]) -> Sequence[Sent]:
        members = [output.key for output in outputs]
        sent: list[Sent] = []
        if hold.wants(BETWEEN_SENDS, members):
            first = outputs[0].topic
            sent += await send([output for output in outputs if output.topic == first])
            await hold.here()
            outputs = [output for output in outputs if output.topic != first]
        sent += await send(outputs)
        if hold.wants(AFTER_SENDS, members):
            await hold.here()
        return sent

    async def held_read(lane: int, start: int, end: int) -> AsyncIterator[Sequence[LoggedRow]]:
        if hold.wants(IN_RECOVERY, [FROZEN]):
            await hold.here()
        async for chunk in read(lane, start, end):
            yield chunk

    ports.changelog.read = held_read  # type: ignore[method-assign]
    ports.changelog.append = held_append  # type: ignore[method-assign]
    ports.outputs.send = held_send  # type: ignore[method-assign]


class _WireTap:
    """Holds the next request of the changelog's producer."""

    def __init__(self, hold: Hold) -> None:
        self.armed = False
        send: Callable[..., Any] = AIOKafkaClient.send

        async def held_send(client: Any, node: int, request: Any, **options: Any) -> Any:
            changelog = client._client_id.endswith("-changelog")
            if self.armed and changelog and isinstance(request, ProduceRequest):
                self.armed = False
                await hold.here()
            return await send(client, node, request, **options)

        AIOKafkaClient.send = held_send


if __name__ == "__main__":
    point, gate, *words = sys.argv[1:]

    class HeldWorker(Worker):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            hold_at(Hold(point, Path(gate)), self.app.connections)

    worker_command.Worker = HeldWorker  # type: ignore[misc]
    sys.exit(main(words))
