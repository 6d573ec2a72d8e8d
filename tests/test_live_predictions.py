"""Scores through Apache Kafka in stream time are the offline ones, to the bit, whatever happens."""

import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from live_kit import Reader, Upstream, event, get, now_ms, ready, wait_for
from offline_course import Told, course
from worker_kit import World, world

from agents.lessons import Published
from app.event_reading import ReadingReport, read_events
from app.stack import StackInfo
from config.paths import load_config, package_dir
from models.asking import Bought, Message, Question, Reached
from models.rulebook import RuleBook
from models.rules import Limits
from models.times import DAY
from models.triggers import MemberUpdate

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

SAMPLE = package_dir() / "data" / "uci_sample.jsonl.gz"
LANES = 4
_message = msgspec.json.Decoder(Message).decode
_update = msgspec.json.Decoder(MemberUpdate).decode
_published = msgspec.json.Decoder(Published).decode


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stages and predictions, and no rules."""
    folder = tmp_path_factory.mktemp("config")
    (folder / "rules").mkdir()
    (folder / "policy.yaml").write_text("")
    (folder / "segments.yaml").write_text("")
    return folder


@pytest.fixture(scope="module")
def reference(config: Path) -> Told:
    found = load_config(config)
    book = RuleBook(
        found.rules, found.stages, found.policy, Limits(), found.audiences, found.predictions
    )
    events = list(read_events([SAMPLE], ReadingReport(), lambda _: None))
    return course(events, book)


def said(place: World) -> dict[tuple[int, int], Question]:
    """Every question that was asked, by member and day; one asked twice was asked the same."""
    found: dict[tuple[int, int], Question] = {}
    for record in place.messages("churn-questions"):
        message = _message(record.value() or b"")
        if isinstance(message, Question):
            assert found.setdefault((message.member, message.day), message) == message
    return found


def last_day(place: World) -> int:
    """The last day that a model is valid from."""
    models = [_published(one.value() or b"") for one in place.messages("churn-model", idle=0.5)]
    return max((one.model.valid_from for one in models), default=-1)


def wait_for_day(place: World, day: int, seconds: float = 40) -> None:
    """Wait for a model; fail when there has been no newer one for so long."""
    newest, since = -1, time.monotonic()
    while newest < day:
        at = last_day(place)
        if at > newest:
            newest, since = at, time.monotonic()
        assert time.monotonic() < since + seconds, f"day {newest} of {day}\n{place.logs()}"


def check(place: World, reference: Told) -> None:
    questions, wanted = said(place), reference.questions
    missing, strange = wanted.keys() - questions.keys(), questions.keys() - wanted.keys()
    assert (len(missing), len(strange)) == (0, 0), (sorted(missing)[:3], sorted(strange)[:3])
    different = [key for key, one in questions.items() if one != wanted[key]]
    assert not different, f"{len(different)}: {questions[different[0]]}, {wanted[different[0]]}"
    assert sum(one.p is not None for one in questions.values()) > 20_000
    for record in place.messages("churn-model"):
        model = _published(record.value() or b"").model
        assert (model == reference.models[model.valid_from]) is True, model.valid_from
    check_updates(place, reference)


def check_updates(place: World, reference: Told, seconds: float = 40) -> None:
    """What members are told of, once the day of the last model has been gone through."""
    ends = time.monotonic() + seconds
    while True:
        records = place.messages("member-updates")
        updates = {(one := _update(record.value() or b"")).member_id: one for record in records}
        wrong = [
            (updates[who].foreseen, wanted.foreseen)
            for who, wanted in reference.updates.items()
            if updates[who].foreseen != wanted.foreseen
        ]
        if not wrong:
            break
        assert time.monotonic() < ends, f"{len(wrong)} differ, {wrong[0]}\n{place.logs()}"
    told = [one.foreseen for one in updates.values()]
    assert sum(one is not None and one.next_order is not None for one in told) > 50


def begin(place: World, config: Path, workers: int) -> list[Any]:
    produced = place.lifecycle("produce", str(SAMPLE))
    assert produced.returncode == 0, produced.stderr
    return [
        place.start_worker("--clock", "stream", "--config", str(config)) for _ in range(workers)
    ]


def test_what_is_published_in_stream_time_is_what_the_offline_loop_says(
    kafka_stack: StackInfo, tmp_path: Path, config: Path, reference: Told
) -> None:
    with world(kafka_stack, "foresight", tmp_path, LANES) as place:
        begin(place, config, 2)
        wait_for_day(place, max(reference.models))
        check(place, reference)
        told = [_message(one.value() or b"") for one in place.messages("churn-questions")]
        assert {one.lane for one in told if isinstance(one, Reached)} == set(range(LANES))
        bought = {(one.member, one.id) for one in told if isinstance(one, Bought)}
        assert len(bought) == sum(
            isinstance(one, Bought) for told in reference.told.values() for one in told
        )
        assert place.stop() == [0, 0], place.logs()


def test_workers_and_trainer_killed_on_the_way_change_nothing(
    kafka_stack: StackInfo, tmp_path: Path, config: Path, reference: Told
) -> None:
    days = sorted(reference.models)
    with world(kafka_stack, "foresight-killed", tmp_path, LANES) as place:
        workers = begin(place, config, 2)
        for share in (0.2, 0.45, 0.7):
            wait_for_day(place, days[int(share * len(days))])
            # The one that trains, then the one that does not, then the trainer again.
            train = [worker for worker in workers if trainer_of(place, worker)]
            rest = [worker for worker in workers if worker not in train]
            victim = (rest or train)[-1] if share == 0.45 else (train or rest)[-1]
            victim.kill()
            victim.wait()
            workers.remove(victim)
            workers.append(place.start_worker("--clock", "stream", "--config", str(config)))
        wait_for_day(place, max(days))
        check(place, reference)


def trainer_of(place: World, worker: Any) -> bool:
    """Whether a worker has been given the questions."""
    number = place._workers.index(worker)
    return "training from offset" in (place.folder / f"worker-{number}.log").read_text()


def test_on_the_wall_clock_members_are_scored_by_the_newest_model_at_once(
    kafka_stack: StackInfo, tmp_path: Path, config: Path
) -> None:
    with world(kafka_stack, "foresight-live", tmp_path, LANES) as place:
        worker = place.start_worker("--config", str(config))
        url = ready(place, worker)
        today = now_ms() // DAY

        def valid_from() -> float:
            lines = get(f"{url}/metrics")[1].decode().splitlines()
            name = "lifecycle_churn_model_valid_from_seconds "
            return max(float(line.split()[1]) for line in lines if line.startswith(name))

        wait_for(lambda: valid_from() * 1000 >= today * DAY, "a model of today", place)
        upstream = Upstream(place)
        upstream.tell(event("purchase", "m1"))
        upstream.flush()
        reader = Reader(place, ("member-updates",))
        reader.until(lambda: bool(reader.said("member-updates", member_id="m1")), "an update")
        (said,) = reader.said("member-updates", member_id="m1")[-1:]
        reader.close()
        foreseen = said["foreseen"]
        assert foreseen["as_of"] == foreseen["model"] == said["updated_at"][:10]
        # Nothing has been learned: what is usual before there is data.
        assert foreseen["churn"] == pytest.approx(0.5, abs=0.2)
        metrics = get(f"{url}/metrics")[1].decode()
        assert "lifecycle_trainer_working 1.0" in metrics
        assert place.stop() == [0], place.logs()
