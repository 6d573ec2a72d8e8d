"""Several Apache Kafka brokers as one cluster, each of which is killed and started by itself."""

import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from app.stack import processes
from app.stack.files import LOOPBACK
from app.stack.kafka import Broker, Door, Node, new_cluster
from app.stack.local import wait_until_ready
from app.stack.state import Seat

_COPIES = 3
_IN_SYNC = 2


class Ports(NamedTuple):
    """Where a node listens: for clients, for the other nodes' controllers, and at its doors."""

    clients: int
    controller: int
    doors: tuple[Door, ...] = ()


class Cluster:
    """Brokers counted from 0, the data of each in a folder of its own under ``data``.

    Of three or more brokers each keeps what any other two have acknowledged.
    """

    def __init__(
        self,
        data: Path,
        ports: Sequence[Ports],
        progress: Callable[[str], None],
        extra: Mapping[str, str],
    ) -> None:
        """Plan it: a broker on each of ``ports``; ``extra`` are properties over the usual ones."""
        self.broker = ",".join(f"{LOOPBACK}:{one.clients}" for one in ports)
        self.ports = tuple(ports)
        self._progress = progress
        self._seats = [Seat(one.clients) for one in ports]
        self._folders = [data / f"node-{number}" for number in range(len(ports))]
        cluster = new_cluster()
        controllers = {number: one.controller for number, one in enumerate(ports, 1)}
        properties = {**_copies(len(ports)), **extra}
        self.nodes = [
            Broker(folder, properties, Node(number, cluster, controllers, one.doors))
            for number, (folder, one) in enumerate(zip(self._folders, ports, strict=True), 1)
        ]

    def prepare(self) -> None:
        """Make each broker's folder and format it. Raises StackError."""
        for folder, node in zip(self._folders, self.nodes, strict=True):
            (folder / "logs").mkdir(parents=True, exist_ok=True)
            node.prepare(self._progress)

    def start(self) -> None:
        """Start all brokers that do not run, and return when all answer. Raises StackError."""
        # Together, since none answers before most of them are there.
        for number in range(len(self.nodes)):
            self._launch(number)
        for number in range(len(self.nodes)):
            self.wait(number)

    def start_node(self, number: int) -> None:
        """Start one broker on its data, and return when it answers. Raises StackError."""
        self._launch(number)
        self.wait(number)

    def kill_node(self, number: int) -> None:
        """``kill -9`` one broker."""
        process = self._seats[number].process
        if process is not None:
            processes.send(process, signal.SIGKILL)
            processes.stop([process], grace_s=0)

    def runs(self, number: int) -> bool:
        """Whether the process of a broker lives."""
        return self._seats[number].taken

    def wait(self, number: int) -> None:
        """Return when a broker answers. Raises StackError."""
        wait_until_ready(self.nodes[number], self._seats[number])

    def stop(self) -> None:
        """End whatever of it runs; its data stays."""
        known = {seat.process for seat in self._seats if seat.process is not None}
        found = {process for node in self.nodes for process in node.find()}
        processes.stop(known | found, grace_s=0)

    def _launch(self, number: int) -> None:
        if not self.runs(number):
            port = self._seats[number].port
            self._seats[number] = Seat(port, self.nodes[number].launch(port))


def _copies(nodes: int) -> dict[str, str]:
    if nodes < _COPIES:
        return {}
    copies, in_sync = str(_COPIES), str(_IN_SYNC)
    return {
        "default.replication.factor": copies,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": copies,
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.replication.factor": copies,
        "share.coordinator.state.topic.min.isr": in_sync,
    }
