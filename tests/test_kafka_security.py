"""A broker that asks who one is: every client of a worker logs in, and nothing else does."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from stack_fixture import set_apart
from worker_kit import World, as_set

from app import stack
from app.event_files import write_events
from app.simulator import DEFAULT_END_MS, simulate
from app.stack import StackInfo, state
from app.stack.files import lasting_ports
from app.stack.kafka import Broker

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

PASSWORD = "correct horse"


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[StackInfo, str]]:
    """A stack whose broker has a second listener, for those who can log in."""
    data = tmp_path_factory.mktemp("secured")
    set_apart(data)
    plain_port = state.load(data)[Broker.name].port
    controller_port, port = lasting_ports(2)
    plain, sasl = f"PLAINTEXT://127.0.0.1:{plain_port}", f"ASKING://127.0.0.1:{port}"
    extra = {
        "listeners": f"{plain},{sasl},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"{plain},{sasl}",
        "controller.quorum.bootstrap.servers": f"127.0.0.1:{controller_port}",
        "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,"
        "ASKING:SASL_PLAINTEXT",
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.asking.plain.sasl.jaas.config": "org.apache.kafka.common.security.plain."
        f'PlainLoginModule required user_worker="{PASSWORD}";',
    }
    try:
        yield stack.up(data, print, extra=extra), f"127.0.0.1:{port}"
    finally:
        stack.down(data, purge=True)


def place(secured: tuple[StackInfo, str], folder: Path, password: str) -> World:
    info, address = secured
    made = World(info, "secured", folder, partitions=2)
    made.env |= {
        "LIFECYCLE_BROKER": address,
        "LIFECYCLE_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "LIFECYCLE_SASL_MECHANISM": "PLAIN",
        "LIFECYCLE_SASL_USERNAME": "worker",
        "LIFECYCLE_SASL_PASSWORD": password,
    }
    return made


def test_a_worker_that_logs_in_says_what_the_oracle_says(
    secured: tuple[StackInfo, str], tmp_path: Path
) -> None:
    world = place(secured, tmp_path, PASSWORD)
    events, oracle = tmp_path / "events.jsonl", tmp_path / "oracle.jsonl"
    write_events(events, simulate(30, 60, seed=3, end_ms=DEFAULT_END_MS))
    assert world.lifecycle("replay", str(events), "--out", str(oracle)).returncode == 0
    produced = world.lifecycle("produce", str(events))
    assert produced.returncode == 0, produced.stderr
    world.start_worker("--clock", "stream")
    try:
        expected = as_set(oracle.read_bytes().splitlines())
        found = as_set(m.value() for m in world.messages("triggers", until=len(expected)))
        assert found == expected, world.logs()
    finally:
        codes = world.stop()
    assert codes == [0], world.logs()
    assert PASSWORD not in world.logs()


def test_a_wrong_password_is_one_line_that_says_so_and_does_not_repeat_it(
    secured: tuple[StackInfo, str], tmp_path: Path
) -> None:
    refused = place(secured, tmp_path, "wrong horse").lifecycle("topics")
    assert refused.returncode == 1
    assert len(refused.stderr.strip().splitlines()) == 1
    assert "uthentication" in refused.stderr
    assert "horse" not in refused.stderr
