"""Whole workers on Apache Kafka say exactly what the oracle says, whatever happens to them."""

import gzip
import json
import os
import signal
import time
from pathlib import Path

import pytest
from worker_kit import World, as_set, world

from app.bench.memory import SAMPLE
from app.event_files import write_events
from app.importers.report import Report
from app.importers.sources import read_data_set
from app.simulator import DEFAULT_END_MS, simulate
from app.stack import StackInfo
from config.paths import package_dir

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

SHARED = Path(
    os.environ.get("LIFECYCLE_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data")
)
FILES = {
    "retailrocket": SHARED / "retailrocket_sample" / "events.csv",
    "otto": SHARED / "otto_sample" / "train.jsonl",
}


@pytest.fixture(scope="module", params=["uci", "retailrocket", "otto", "simulated"])
def events(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An event file of one log."""
    name = request.param
    path = tmp_path_factory.mktemp(name) / "events.jsonl"
    if name == "simulated":
        write_events(path, simulate(300, 150, seed=7, end_ms=DEFAULT_END_MS))
        return path
    if name == "uci":
        # A thousand of the 4,371 customers: each of them is looked at every week of the year.
        path.write_bytes(gzip.decompress((package_dir() / SAMPLE).read_bytes()))
        return path
    if not FILES[name].exists():
        pytest.skip(f"{FILES[name]} is not there (LIFECYCLE_TEST_DATA names another folder)")
    write_events(path, read_data_set(name, FILES[name], Report()))
    return path


@pytest.fixture(scope="module")
def oracle(events: Path) -> Path:
    return events.with_name("oracle.jsonl")


def prepare(place: World, events: Path, oracle: Path) -> set[str]:
    """Produce the events; return what must come out."""
    if not oracle.exists():
        replayed = place.lifecycle("replay", str(events), "--out", str(oracle))
        assert replayed.returncode == 0, replayed.stderr
    produced = place.lifecycle("produce", str(events))
    assert produced.returncode == 0, produced.stderr
    return as_set(oracle.read_bytes().splitlines())


def check(place: World, expected: set[str]) -> None:
    """Compare what a gateway reads with what must come out; repeats must be identical."""
    messages = place.messages("triggers", until=len(expected), limit=400)
    found = as_set(message.value() for message in messages)
    assert not expected - found, f"{len(expected - found)} missing\n{place.logs()}"
    assert not found - expected, sorted(found - expected)[:3]
    kinds_and_ids = {(json.loads(m)["type"], json.loads(m)["trigger_id"]) for m in found}
    assert len(kinds_and_ids) == len(found), "one id was used for two different messages"


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_say_what_the_oracle_says(
    workers: int, events: Path, oracle: Path, kafka_stack: StackInfo, tmp_path: Path
) -> None:
    name = f"e2e-{events.parent.name}-{workers}"
    with world(kafka_stack, name, tmp_path) as place:
        expected = prepare(place, events, oracle)
        for _ in range(workers):
            place.start_worker("--clock", "stream")
        check(place, expected)
        place.wait_until_serving()
        assert place.stop() == [0] * workers, place.logs()


def test_workers_killed_half_way_say_what_the_oracle_says(
    events: Path, oracle: Path, kafka_stack: StackInfo, tmp_path: Path
) -> None:
    with world(kafka_stack, f"e2e-{events.parent.name}-kill", tmp_path) as place:
        expected = prepare(place, events, oracle)
        first, second = (place.start_worker("--clock", "stream") for _ in range(2))
        half = len(expected) // 2
        began = time.monotonic()
        while time.monotonic() - began < 60:
            if len(place.messages("triggers", idle=0.1)) >= half:
                break
        first.send_signal(signal.SIGKILL)
        place.start_worker("--clock", "stream")
        time.sleep(1.5)
        second.send_signal(signal.SIGKILL)
        place.start_worker("--clock", "stream")
        check(place, expected)
