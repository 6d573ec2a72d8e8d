"""One Apache Kafka broker, with its own controller or one of a cluster's, on loopback only."""

import base64
import os
import shutil
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from app.stack import jars, processes
from app.stack.errors import StackError
from app.stack.files import LOOPBACK, free_port, last_words, rotate
from app.stack.java import find_java
from app.stack.processes import Process
from app.stack.state import Seat

_FORMAT_S = 60.0
_YEAR_MINUTES = 365 * 24 * 60
_LARGEST_MESSAGE = 16 << 20
_JVM = (
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:+ExitOnOutOfMemoryError",
    "-XX:-UsePerfData",  # else every Java leaves a file under /tmp
    "-Djava.awt.headless=true",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss.SSS",
)
_QUICK = "-XX:TieredStopAtLevel=1"
"""Ready sooner and with less CPU, which is what counts for minutes; then slower for good."""

SETTINGS = {
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    # The one node is every replica there is.
    "default.replication.factor": "1",
    "min.insync.replicas": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "auto.create.topics.enable": "false",
    "num.partitions": "1",
    "group.initial.rebalance.delay.ms": "0",
    # After a kill the broker may come back only when its old registration has expired.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "message.max.bytes": str(_LARGEST_MESSAGE),
    "replica.fetch.max.bytes": str(_LARGEST_MESSAGE),
    # Kafka deletes by record timestamp, and histories from years ago are loaded with their own.
    "log.retention.ms": "-1",
    # A stack that was down for weeks goes on where it was.
    "offsets.retention.minutes": str(_YEAR_MINUTES),
    # The default of 128 MiB is a quarter of the heap, and is taken at once.
    "log.cleaner.dedupe.buffer.size": str(32 << 20),
    "num.network.threads": "2",
    "num.io.threads": "4",
}


class Door(NamedTuple):
    """A further port of a broker; who comes by it is told to come to ``advertised`` instead."""

    port: int
    advertised: int


class Node(NamedTuple):
    """A broker's place in a cluster, whose nodes know each other's controllers by their ports."""

    id: int
    cluster: str
    controllers: Mapping[int, int]  # port by node id; none: the node is alone and takes a free one
    doors: tuple[Door, ...] = ()


class Broker:
    """The broker whose data is in ``data``; ``extra`` are broker properties over our own.

    It is a cluster of its own unless it is told its ``node``.
    """

    name = "Apache Kafka"
    port = 9092
    ready_s = 180.0
    grace_s = 15.0

    def __init__(
        self,
        data: Path,
        extra: Mapping[str, str],
        node: Node | None = None,
        lasting: bool = False,
    ) -> None:
        self.log = data / "logs" / "kafka.log"
        self._data = data
        self._extra = extra
        self._node = node or Node(1, new_cluster(), {})
        self._lasting = lasting
        # Java, like the fetching of its jars, is told from others by this argument.
        self._mark = f"-Dlifecycle.data={data}"
        self._command: list[str] = []

    def find(self) -> list[Process]:
        """Return every process of this broker, those that only prepare its start included."""
        return processes.with_argument(self._mark)

    def prepare(self, progress: Callable[[str], None]) -> None:
        """Fetch and check the jars, and format the data directory if it is new.

        Raises StackError.
        """
        scratch = self._data / "tmp"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        self._command = [
            str(find_java()),
            *_JVM,
            *(() if self._lasting else (_QUICK,)),
            f"-Djava.io.tmpdir={scratch}",
            f"-XX:ErrorFile={self.log.parent / 'java-crash.log'}",
            self._mark,
            "-cp",
            jars.class_path(progress, self._mark),
        ]
        if not self.store.exists():
            progress(f"formatting the data directory of {self.name}")
            self._format()

    def launch(self, port: int) -> Process:
        """Start the broker on ``port``; it is not ready yet."""
        rotate(self.log)
        self._write_settings(self.store, port)
        return self._java("kafka.Kafka", str(self._properties))

    def answers(self, seat: Seat, timeout_s: float) -> bool:
        """Whether this very broker, not another on its port, serves requests."""
        client = AdminClient(
            {
                "bootstrap.servers": f"{LOOPBACK}:{seat.port}",
                "reconnect.backoff.ms": 50,
                "reconnect.backoff.max.ms": 100,
                "log_level": 0,
            }
        )
        try:
            metadata = client.list_topics(timeout=timeout_s)
        except KafkaException:
            return False
        return metadata.cluster_id == self._cluster_id() and self._node.id in metadata.brokers

    @property
    def store(self) -> Path:
        """Where it keeps its records."""
        return self._data / "kafka"

    @property
    def _properties(self) -> Path:
        return self._data / "kafka.properties"

    def _java(self, main_class: str, *arguments: str) -> Process:
        # Under a plain C locale Java cannot name a file that is not ASCII.
        env = {**os.environ, "LC_ALL": "C.UTF-8"}
        command = [*self._command, main_class, *arguments]
        return processes.spawn(command, self.log, cwd=self._data, env=env)

    def _format(self) -> None:
        # Formatted beside its place and moved there whole: a kill leaves nothing half done.
        fresh = self._data / "kafka.new"
        shutil.rmtree(fresh, ignore_errors=True)
        self._write_settings(fresh, self.port)
        formatter = self._java(
            "kafka.tools.StorageTool",
            *("format", f"--cluster-id={self._node.cluster}", "--config", str(self._properties)),
        )
        try:
            deadline = time.monotonic() + _FORMAT_S
            while formatter.alive and time.monotonic() < deadline:
                time.sleep(processes.POLL_S)
        finally:
            processes.stop([formatter], grace_s=0)
        if not (fresh / "meta.properties").exists():
            raise StackError(
                f"{self.name} could not format {fresh} ({last_words(self.log)}): "
                "check that there is space, or start over with 'lifecycle down --purge'"
            )
        fresh.rename(self.store)

    def _write_settings(self, store: Path, port: int) -> None:
        node = self._node
        # Only a lone broker itself speaks to its controller, so that port may change at any start.
        voters = node.controllers or {node.id: free_port(port + 1, port + 1)}
        doors = [(f"DOOR{number}", door) for number, door in enumerate(node.doors)]
        listeners = {"PLAINTEXT": port} | {name: door.port for name, door in doors}
        advertised = {"PLAINTEXT": port} | {name: door.advertised for name, door in doors}
        settings = {
            **SETTINGS,
            "node.id": str(node.id),
            "listeners": _addresses(listeners | {"CONTROLLER": voters[node.id]}),
            "advertised.listeners": _addresses(advertised),
            "listener.security.protocol.map": ",".join(
                f"{name}:PLAINTEXT" for name in ("CONTROLLER", *listeners)
            ),
            "controller.quorum.voters": ",".join(
                f"{voter}@{LOOPBACK}:{voter_port}" for voter, voter_port in voters.items()
            ),
            "log.dirs": _value(store),
            **self._extra,
        }
        lines = [f"{name}={value}\n" for name, value in settings.items()]
        self._properties.write_text("".join(lines), encoding="latin-1")

    def _cluster_id(self) -> str | None:
        try:
            lines = (self.store / "meta.properties").read_text().splitlines()
        except OSError:
            return None
        pairs = (line.partition("=") for line in lines)
        return next((value for name, _, value in pairs if name == "cluster.id"), None)


def new_cluster() -> str:
    """Return an id for a new cluster."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


def _addresses(ports: Mapping[str, int]) -> str:
    return ",".join(f"{name}://{LOOPBACK}:{port}" for name, port in ports.items())


def _value(path: Path) -> str:
    text = os.fspath(path)
    if "," in text:
        raise StackError(
            f"Apache Kafka takes no comma in its folder {text}: name another --data-dir"
        )
    # Java reads a properties file as Latin-1; the rest is written as UTF-16 escapes.
    units = memoryview(text.encode("utf-16-be", "surrogatepass")).tolist()
    pairs = (high << 8 | low for high, low in zip(units[::2], units[1::2], strict=True))
    return "".join(chr(u) if 32 <= u < 127 and u != 92 else f"\\u{u:04x}" for u in pairs)
