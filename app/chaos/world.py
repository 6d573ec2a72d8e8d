"""The world that chaos plays with: real workers, Apache Kafka, Redis, and the ways between them."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

from app.chaos import clock
from app.chaos.clock import ShiftedClock
from app.chaos.disk import Disk
from app.chaos.proxy import LOOPBACK, Proxy
from app.chaos.redis_fault import ChaosRedis
from app.chaos.workers import ChaosWorker
from app.stack import StackError
from app.stack.cluster import Cluster, Ports
from app.stack.files import lasting_ports
from app.stack.kafka import Door
from app.topology import ensure_topics
from config.settings import PREFIX, Settings, load_settings

CLOCK = "clock"
DISK = "disk full"

_NAME = "chaos"
_BROKER = {
    # A killed worker's lanes shall not stand still for six seconds, the least that is usual.
    "group.min.session.timeout.ms": "1000",
    # Compacted topics are cleaned as soon as they may be.
    "log.cleaner.backoff.ms": "100",
}
# It writes to its metadata twice a second, but may be busy.
_DISK_NOTICED_S = 30.0
_POLL_S = 0.05
_NONE: Mapping[str, str] = MappingProxyType({})


class ChaosWorld:
    """Workers, brokers and Redis of one run, all of them on loopback, in ``folder``.

    Entered, it has started the brokers and Redis and made the topics, but no worker. Left, in
    whatever way, all that it started is gone and its disk unmounted; ``folder`` keeps the logs and
    the data. It is entered once, and its methods are called from one thread. Each returns when what
    it says is done, and raises StackError when it cannot be done.
    """

    broker: str
    """Direct addresses of the brokers, no proxy between: for producer, readers and admin."""
    settings: Settings
    """Of the app under test; ``broker`` and ``redis`` are the direct addresses."""
    unavailable: Mapping[str, str]
    """What this machine cannot do (keys ``CLOCK``, ``DISK``) and why; complete once entered."""
    workers: Sequence[ChaosWorker]
    """Slot i is worker i, running or not; a slot lives as long as the world."""
    proxies: Sequence[Proxy]
    """Worker i's way to all brokers: ``delay(s)``, ``drop()``, ``partition()``, ``heal()``."""

    def __init__(
        self,
        folder: Path,
        *,
        workers: int,
        brokers: int = 1,
        partitions: int = 8,
        config: Path,
        settings: Mapping[str, str] = _NONE,
        say: Callable[[str], None],
    ) -> None:
        """Plan it; nothing is started before it is entered.

        ``config`` is the workers' ``--config``; ``settings`` are further settings by their names
        (``allowed_lateness``), over the world's own; ``say`` is told what takes a while.
        """
        self._folder = folder.resolve()
        self._counts = workers, brokers
        self._config = config.resolve()
        self._chosen = {
            "app_id": _NAME,
            "topic_prefix": f"{_NAME}.",
            "partitions": str(partitions),
            "replication_factor": str(min(brokers, 3)),
            "session_timeout_ms": "3000",
            **settings,
        }
        self._say = say
        self._left = ExitStack()
        self._clocks: list[ShiftedClock] = []

    def __enter__(self) -> Self:
        """Raises StackError, TopologyError, ConfigErrors and OSError; then nothing of it runs."""
        try:
            self._build()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leave()

    def start_worker(self, i: int) -> None:
        """Start worker i; nothing happens when it runs. It is ready later: ``workers[i].ready()``.

        It starts with its clock as shifted before.
        """
        self.workers[i].start()

    def kill_worker(self, i: int) -> None:
        """``kill -9`` worker i, frozen or not; it stays down until it is started."""
        self.workers[i].kill()

    def stop_worker(self, i: int) -> float:
        """Stop worker i by SIGTERM (thawed first); return the seconds that took.

        One that does not end within 30 s is killed, and 30 or more is returned. It stays down
        until it is started; its exit code is ``workers[i].last_exit``.
        """
        return self.workers[i].stop()

    def freeze_worker(self, i: int) -> None:
        """SIGSTOP worker i."""
        self.workers[i].freeze()

    def thaw_worker(self, i: int) -> None:
        """SIGCONT worker i."""
        self.workers[i].thaw()

    def kill_broker(self, n: int = 0) -> None:
        """``kill -9`` broker n."""
        self._cluster.kill_node(n)

    def start_broker(self, n: int = 0) -> None:
        """Start broker n on its data and wait until it answers; nothing happens when it runs."""
        self._cluster.start_node(n)

    def broker_runs(self, n: int = 0) -> bool:
        """Whether broker n's process lives."""
        return self._cluster.runs(n)

    def kill_redis(self) -> None:
        """``kill -9`` Redis."""
        self._redis.kill()

    def start_redis(self) -> None:
        """Start Redis on its data and wait until it answers; nothing happens when it runs."""
        self._redis.start(self._say)

    def freeze_redis(self) -> None:
        """SIGSTOP Redis."""
        self._redis.freeze()

    def thaw_redis(self) -> None:
        """SIGCONT Redis."""
        self._redis.thaw()

    def slow_redis(self, seconds: float) -> None:
        """Let each word to and from Redis take so many seconds more; 0 ends it."""
        self._redis.proxy.delay(seconds)

    def shift_clock(self, i: int, seconds: float) -> None:
        """Let worker i's wall clock differ by so many seconds from the true one; 0 ends it.

        It is seen within a second, and holds for the worker's next processes too. Its monotonic
        clock goes on, and so does the clock of librdkafka, which it asks for topics but does not
        produce with.
        """
        assert CLOCK not in self.unavailable
        self._clocks[i].shift(seconds)

    def fill_disk(self) -> None:
        """Leave broker 0 no byte to write, and return when it has stopped by itself for that."""
        assert DISK not in self.unavailable
        self._disk.fill()
        deadline = time.monotonic() + _DISK_NOTICED_S
        while self._cluster.runs(0):
            if time.monotonic() > deadline:
                raise StackError(f"broker 0 runs on a full disk for {_DISK_NOTICED_S:.0f} s")
            time.sleep(_POLL_S)

    def free_disk(self) -> None:
        """Give the disk its space back; broker 0 is then to be started."""
        assert DISK not in self.unavailable
        self._disk.free()

    def supervise(self) -> None:
        """Start again each worker that ended though nobody asked it to; call it often.

        Its exit code (70, or a negative signal) is appended to ``workers[i].exits``.
        """
        for worker in self.workers:
            code = worker.supervise()
            if code is not None:
                self._say(f"{worker.name} ended by itself ({code}) and was started again")

    def _build(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        workers, brokers = self._counts
        ports = iter(lasting_ports(1 + workers + brokers * (2 + workers)))
        self._redis = ChaosRedis(self._folder / "redis", next(ports))
        self._left.callback(self._redis.close)
        self._redis.start(self._say)
        nodes = self._nodes(ports)
        self._cluster = Cluster(self._folder / "kafka", nodes, self._say, _BROKER)
        self._disk = Disk(self._cluster.nodes[0].store)
        # Left in reverse: a disk is unmounted when its broker has ended.
        self._left.callback(self._disk.unmount)
        self._left.callback(self._cluster.stop)
        self._cluster.prepare()
        library = clock.find_library()
        reasons = {CLOCK: clock.why_not(library), DISK: self._disk.mount()}
        self.unavailable = {kind: reason for kind, reason in reasons.items() if reason}
        self._cluster.start()
        self.broker = self._cluster.broker
        self._chosen |= {"broker": self.broker, "redis": self._redis.url}
        self.settings = load_settings({}, None, self._chosen)
        ensure_topics(self.settings)
        if library is not None and CLOCK not in self.unavailable:
            files = [self._folder / f"worker-{i}.clock" for i in range(workers)]
            self._clocks = [ShiftedClock(library, file) for file in files]
        self.workers = [self._worker(i, next(ports)) for i in range(workers)]

    def _nodes(self, ports: Iterator[int]) -> list[Ports]:
        workers, brokers = self._counts
        doors = [[next(ports) for _ in range(brokers)] for _ in range(workers)]
        self.proxies = proxies = []
        for targets in doors:
            proxies.append(Proxy(targets))
            self._left.callback(proxies[-1].close)
        return [
            Ports(
                clients=next(ports),
                controller=next(ports),
                doors=tuple(
                    Door(targets[n], proxy.ports[n])
                    for targets, proxy in zip(doors, proxies, strict=True)
                ),
            )
            for n in range(brokers)
        ]

    def _worker(self, i: int, http_port: int) -> ChaosWorker:
        name = f"worker-{i}"
        chosen = {
            **self._chosen,
            "broker": ",".join(f"{LOOPBACK}:{port}" for port in self.proxies[i].ports),
            "redis": self._redis.proxied_url,
            "http_port": str(http_port),
            "data_dir": str(self._folder / name),
        }
        variables = {
            **{key: value for key, value in os.environ.items() if not key.startswith(PREFIX)},
            **{PREFIX + key.upper(): value for key, value in chosen.items()},
        }
        shifted = self._clocks[i] if self._clocks else None
        worker = ChaosWorker(self._folder, name, self._config, variables, shifted)
        self._left.callback(worker.kill)
        return worker

    def _leave(self) -> None:
        with _deaf_to_interrupts():
            self._left.close()


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Let a second Ctrl-C not stop the clearing away that the first one began."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
