"""What chaos plays with, each piece by itself: the proxy, the clock, the disk, and the world."""

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from redis import Redis
from redis import exceptions as redis_errors

import app
from app.chaos import clock
from app.chaos.clock import ShiftedClock
from app.chaos.disk import Disk
from app.chaos.proxy import Proxy
from app.chaos.workers import ChaosWorker
from app.chaos.world import CLOCK, DISK, ChaosWorld

CONFIG = Path(app.__file__).parents[1] / "config"
PATIENCE = 60.0
HOUR = 3600


@pytest.fixture
def target() -> Iterator[socket.socket]:
    """What a proxy leads to: it listens, and the tests accept."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        yield listener


@pytest.fixture
def proxy(target: socket.socket) -> Iterator[Proxy]:
    made = Proxy([target.getsockname()[1]])
    yield made
    made.close()


def connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.ports[0]), timeout=PATIENCE)


@contextmanager
def joined(proxy: Proxy, target: socket.socket) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A client, and the server's end of its connection."""
    with connect(proxy) as client:
        server, _ = target.accept()
        server.settimeout(PATIENCE)
        with server:
            yield client, server


def read(end: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = end.recv(1 << 20)
        assert more, "ended early"
        data += more
    return data


def silent(end: socket.socket) -> bool:
    """Whether nothing comes, though there was time for it."""
    end.settimeout(0.3)
    try:
        return not end.recv(1)
    except TimeoutError:
        return True
    finally:
        end.settimeout(PATIENCE)


def test_a_proxy_carries_both_ways_and_passes_on_each_end(
    proxy: Proxy, target: socket.socket
) -> None:
    sent = os.urandom(3_000_000)
    with joined(proxy, target) as (client, server):
        client.sendall(b"ask")
        client.shutdown(socket.SHUT_WR)
        assert read(server, 3) == b"ask"
        assert server.recv(1) == b""
        server.sendall(sent)
        server.close()
        assert read(client, len(sent)) == sent
        assert client.recv(1) == b""


def test_what_is_delayed_comes_later_whole_and_in_order(
    proxy: Proxy, target: socket.socket
) -> None:
    sent = os.urandom(2_000_000)
    with joined(proxy, target) as (client, server):
        proxy.delay(0.3)
        began = time.monotonic()
        client.sendall(sent)
        assert server.recv(1, socket.MSG_PEEK)
        assert time.monotonic() - began >= 0.3
        assert read(server, len(sent)) == sent


def test_a_drop_resets_both_ends_and_lets_new_connections_in(
    proxy: Proxy, target: socket.socket
) -> None:
    with joined(proxy, target) as (client, server):
        client.sendall(b"1")
        assert read(server, 1) == b"1"
        proxy.drop()
        for end in (client, server):
            with pytest.raises(ConnectionResetError):
                end.recv(1)
    with joined(proxy, target) as (client, server):
        client.sendall(b"2")
        assert read(server, 1) == b"2"


def test_in_a_partition_nothing_arrives_and_no_end_breaks_until_it_is_healed(
    proxy: Proxy, target: socket.socket
) -> None:
    with joined(proxy, target) as (client, server):
        proxy.partition()
        client.sendall(b"ask")
        server.sendall(b"tell")
        assert silent(client)
        assert silent(server)
        with connect(proxy) as late:
            target.settimeout(0.3)
            with pytest.raises(TimeoutError):
                target.accept()
            target.settimeout(PATIENCE)
            proxy.heal()
            with target.accept()[0] as of_late:
                late.sendall(b"late")
                assert read(of_late, 4) == b"late"
        assert read(server, 3) == b"ask"
        assert read(client, 4) == b"tell"


def test_what_was_sent_into_a_partition_arrives_after_its_sender_is_gone(
    proxy: Proxy, target: socket.socket
) -> None:
    with joined(proxy, target) as (client, server):
        proxy.partition()
        client.sendall(b"write this")
        client.close()
        assert silent(server)
        proxy.heal()
        assert read(server, 10) == b"write this"
        assert server.recv(1) == b""


def test_a_proxy_to_nowhere_resets_who_comes(proxy: Proxy, target: socket.socket) -> None:
    target.close()
    # The reset may come before the connecting client has returned.
    with pytest.raises(ConnectionResetError), connect(proxy) as client:
        client.recv(1)


def test_a_closed_proxy_listens_no_more(proxy: Proxy, target: socket.socket) -> None:
    with joined(proxy, target) as (client, _):
        proxy.partition()
        proxy.close()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)


TELL_BOTH = (
    "import time\nfor _ in iter(input, ''): print(time.time(), time.monotonic(), flush=True)"
)


def test_a_shift_is_seen_by_a_running_process_on_its_wall_clock_only(tmp_path: Path) -> None:
    library = clock.find_library()
    if reason := clock.why_not(library):
        pytest.skip(reason)
    assert library is not None
    shifted = ShiftedClock(library, tmp_path / "clock")
    process = subprocess.Popen(
        [sys.executable, "-c", TELL_BOTH],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **shifted.variables},
    )

    def ahead() -> tuple[float, float]:
        """How far the wall and the monotonic clock of the process are ahead of ours."""
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("?\n")
        process.stdin.flush()
        wall, steady = map(float, process.stdout.readline().split())
        return wall - time.time(), steady - time.monotonic()

    def is_ahead(seconds: float) -> bool:
        wall, steady = ahead()
        assert abs(steady) < HOUR / 2
        return abs(wall - seconds) < HOUR / 2

    try:
        assert is_ahead(0)
        for seconds in (5 * HOUR, -7 * HOUR, 0):
            shifted.shift(seconds)
            eventually(lambda seconds=seconds: is_ahead(seconds), "the shifted clock")
    finally:
        process.kill()
        process.communicate()
        clock.clear_up(process.pid)
    assert not list(Path("/dev/shm").glob(f"*faketime*_{process.pid}"))


def test_a_library_that_shifts_nothing_is_no_clock(tmp_path: Path) -> None:
    wrong = tmp_path / "libfaketimeMT.so.1"
    wrong.write_bytes(b"of another machine")
    assert "does not shift" in str(clock.why_not(wrong))
    assert "not installed" in str(clock.why_not(None))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
def test_a_full_disk_refuses_a_write_until_it_is_freed(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    (folder / "kept").write_text("what it had")
    disk = Disk(folder)
    failed = disk.mount()
    if failed:
        pytest.skip(failed)
    try:
        assert (folder / "kept").read_text() == "what it had"
        (folder / "more").write_bytes(bytes(1 << 20))
        disk.fill()
        with pytest.raises(OSError, match="No space left") as caught:
            (folder / "too-much").write_bytes(bytes(1 << 20))
        assert caught.value.errno == errno.ENOSPC
        disk.free()
        (folder / "again").write_bytes(bytes(1 << 20))
    finally:
        disk.unmount()
    assert not folder.is_mount()
    disk.unmount()


def test_a_disk_that_cannot_be_mounted_says_why_and_leaves_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    (folder / "kept").touch()
    program = tmp_path / "mount"
    program.write_text("#!/bin/sh\necho not today >&2; exit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert Disk(folder).mount() == "a disk cannot be mounted: not today"
    assert [entry.name for entry in folder.iterdir()] == ["kept"]
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "only root" in str(Disk(folder).mount())


def test_a_worker_that_ends_by_itself_is_started_again_and_a_killed_one_stays_down(
    tmp_path: Path,
) -> None:
    worker = ChaosWorker(tmp_path, "worker-0", tmp_path / "no-config", dict(os.environ), None)
    try:
        worker.start()
        eventually(lambda: not worker.alive, "the end of a worker without configuration")
        worker._started -= PATIENCE
        assert worker.supervise() == 2
        assert worker.exits == [2]
        assert worker.alive
        worker.freeze()
        worker.kill()
        assert worker.last_exit == -signal.SIGKILL
        worker._started -= PATIENCE
        assert worker.supervise() is None
        assert not worker.alive
        assert worker.exits == [2]
    finally:
        worker.kill()


def eventually(there: Callable[[], bool], what: str) -> None:
    ends = time.monotonic() + PATIENCE
    while not there():
        assert time.monotonic() < ends, f"{what} did not come"
        time.sleep(0.05)


def left_of(folder: Path) -> list[int]:
    """Processes that have to do with a folder, found without the code under test."""
    found, wanted = [], os.fsencode(folder)
    for proc in Path("/proc").iterdir():
        with suppress(OSError):
            if not proc.name.isdigit() or int(proc.name) == os.getpid():
                continue
            said = (proc / "cmdline").read_bytes(), (proc / "environ").read_bytes()
            if any(wanted in one for one in said) and (proc / "maps").read_bytes():
                found.append(int(proc.name))
    return found


def mounts_in(folder: Path) -> list[str]:
    lines = Path("/proc/mounts").read_text().splitlines()
    return [line for line in lines if line.split()[1].startswith(str(folder))]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChaosWorld]:
    folder = tmp_path_factory.mktemp("world")
    with ChaosWorld(folder, workers=2, partitions=2, config=CONFIG, say=print) as made:
        yield made
    assert left_of(folder) == []
    assert mounts_in(folder) == []


def client(proxy: Proxy) -> AdminClient:
    brokers = ",".join(f"127.0.0.1:{port}" for port in proxy.ports)
    return AdminClient({"bootstrap.servers": brokers, "log_level": 0})


def reaches(client: AdminClient) -> bool:
    """Whether a request gets an answer."""
    try:
        return bool(client.list_topics(timeout=1.0).topics)
    except KafkaException:
        return False


def write(world: ChaosWorld, value: bytes) -> None:
    """Return when it is acknowledged."""
    producer = Producer({"bootstrap.servers": world.broker, "acks": "all"})
    producer.produce(world.settings.topic("items"), value, b"key", partition=0)
    assert producer.flush(PATIENCE) == 0


def ready(world: ChaosWorld, *numbers: int) -> None:
    def look() -> bool:
        world.supervise()
        return all(world.workers[number].ready() for number in numbers)

    eventually(look, f"readiness of {numbers}")


@pytest.mark.kafka
@pytest.mark.chaos
def test_who_comes_through_a_proxy_is_told_no_other_way(world: ChaosWorld) -> None:
    for proxy in world.proxies:
        brokers = client(proxy).list_topics(timeout=PATIENCE).brokers.values()
        assert {(one.host, one.port) for one in brokers} == {("127.0.0.1", proxy.ports[0])}
    direct = AdminClient({"bootstrap.servers": world.broker}).list_topics(timeout=PATIENCE).brokers
    assert [f"{one.host}:{one.port}" for one in direct.values()] == [world.broker]


@pytest.mark.kafka
@pytest.mark.chaos
def test_a_partition_cuts_off_its_own_worker_only(world: ChaosWorld) -> None:
    cut, other = map(client, world.proxies)
    assert reaches(cut)
    assert reaches(other)
    world.proxies[0].partition()
    try:
        assert not reaches(cut)
        assert reaches(other)
    finally:
        world.proxies[0].heal()
    eventually(lambda: reaches(cut), "an answer after the healing")


@pytest.mark.kafka
@pytest.mark.chaos
def test_workers_live_die_and_come_back_as_told(world: ChaosWorld) -> None:
    for number in (0, 1):
        world.start_worker(number)
    ready(world, 0, 1)
    first, second = world.workers
    world.freeze_worker(0)
    assert first.alive
    assert not first.ready()
    world.thaw_worker(0)
    world.kill_worker(1)
    assert (second.pid, second.last_exit) == (None, -signal.SIGKILL)
    assert first.pid is not None
    os.kill(first.pid, signal.SIGKILL)
    eventually(lambda: not first.alive, "the end")
    ready(world, 0)
    assert first.exits == [-signal.SIGKILL]
    assert world.stop_worker(0) < 30
    assert first.last_exit == 0
    world.supervise()
    assert (first.pid, second.exits) == (None, [])


@pytest.mark.kafka
@pytest.mark.chaos
def test_a_worker_whose_clock_is_shifted_serves_by_the_shifted_time(world: ChaosWorld) -> None:
    if CLOCK in world.unavailable:
        pytest.skip(world.unavailable[CLOCK])
    log = world.workers[1].log
    for hours in (5, -5):
        world.shift_clock(1, hours * HOUR)
        begin = log.stat().st_size if log.exists() else 0
        world.start_worker(1)
        ready(world, 1)
        world.kill_worker(1)
        said = log.read_text()[begin:].split(",")[0]
        ahead = datetime.strptime(said, "%Y-%m-%d %H:%M:%S").astimezone().timestamp() - time.time()
        assert abs(ahead - hours * HOUR) < HOUR
    world.shift_clock(1, 0)


@pytest.mark.kafka
@pytest.mark.chaos
def test_redis_slows_down_freezes_dies_and_comes_back_on_its_data(world: ChaosWorld) -> None:
    workers_way = Redis.from_url(world._redis.proxied_url)
    assert workers_way.ping()
    world.slow_redis(0.2)
    began = time.monotonic()
    assert workers_way.ping()
    assert time.monotonic() - began >= 0.4
    world.slow_redis(0)
    workers_way.close()
    redis = Redis.from_url(world.settings.redis, socket_timeout=0.5)
    redis.set("kept", "by its log")
    world.freeze_redis()
    with pytest.raises(redis_errors.TimeoutError):
        redis.get("kept")
    world.thaw_redis()
    time.sleep(1.1)  # Redis forces its log to disk once a second
    world.kill_redis()
    with pytest.raises(redis_errors.ConnectionError):
        redis.get("kept")
    world.start_redis()
    assert redis.get("kept") == b"by its log"


@pytest.mark.kafka
@pytest.mark.chaos
def test_a_full_disk_stops_the_broker_which_has_all_it_acknowledged_when_freed(
    world: ChaosWorld,
) -> None:
    if DISK in world.unavailable:
        pytest.skip(world.unavailable[DISK])
    write(world, b"before")
    world.fill_disk()
    assert not world.broker_runs()
    world.free_disk()
    world.start_broker()
    assert world.broker_runs()
    write(world, b"after")
    assert all_values(world) == [b"before", b"after"]


def all_values(world: ChaosWorld) -> list[bytes]:
    consumer = Consumer({"bootstrap.servers": world.broker, "group.id": "reader"})
    try:
        partition = TopicPartition(world.settings.topic("items"), 0, 0)
        _, end = consumer.get_watermark_offsets(partition, timeout=PATIENCE)
        consumer.assign([partition])
        found: list[bytes] = []
        while True:
            message = consumer.poll(PATIENCE)
            assert message is not None
            if message.error():
                raise KafkaException(message.error())
            found.append(message.value())
            if message.offset() == end - 1:
                return found
    finally:
        consumer.close()


INTERRUPTED = """
import sys
from pathlib import Path
from app.chaos.world import ChaosWorld
folder, config = map(Path, sys.argv[1:])
with ChaosWorld(folder, workers=1, config=config, say=lambda line: print(line, flush=True)):
    pass
"""


@pytest.mark.kafka
@pytest.mark.chaos
def test_an_interrupted_world_leaves_nothing(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path), str(CONFIG)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(CONFIG.parent)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("formatting")
        eventually(lambda: (tmp_path / "kafka/node-0/kafka.properties").exists(), "a formatter")
        assert left_of(tmp_path)
        process.send_signal(signal.SIGINT)
        assert "KeyboardInterrupt" in process.communicate(timeout=PATIENCE)[1]
    assert left_of(tmp_path) == []
    assert mounts_in(tmp_path) == []
