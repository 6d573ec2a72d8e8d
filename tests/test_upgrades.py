"""A changelog of every version is read and goes on, and is never misread by an older program.

The files in ``tests/data/changelog`` were each written by the version they are named after.
"""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import golden_changelog as golden
import msgspec
import pytest
from golden_changelog import MemoryChangelog
from live_kit import PATIENCE, Reader, now_ms, ready
from next_version import NextVersion, next_version
from rolling import Deploy, Flow, standing, wait_until
from scripted_models import ScriptedModels

from agents.group import Group
from agents.ports import LoggedRow, StopWorker
from agents.recovery import EPOCH_BYTES, OUTBOX, ROW, Outbox, Recovery, encode, fence, recover
from agents.wal import Wal
from app.stack import StackInfo
from models import member as rows
from models.events import CODE_OF
from models.labels import Labels, Tag
from models.member import HEADER_BYTES, UnknownVersion, book_of, decode, due_of, stage_of
from models.projection import project
from models.standing import GIVEN_BACK, MORNING, RAISED, SENT, SILENCE, Contact, Held, Standing
from models.times import rfc3339

CHANGED = f"""
What is written is not what version {rows.VERSION} of the state has been so far. Workers that run
now could misread it, and rows that were written before it. Keep the format; or raise the version
with an upgrade (models/member.py: UPGRADES) and write its file (docs/upgrades.md). Where names that
rows refer to have changed (tracks, facts, stages, topics), what is armed would be lost: keep them.
"""


@pytest.fixture(params=golden.kept_versions())
def version(request: pytest.FixtureRequest) -> int:
    found: int = request.param
    return found


@pytest.fixture
def later_version() -> Iterator[NextVersion]:
    """The state's next version in place of this one, for one test."""
    with next_version() as made:
        yield made


def of_then(words: dict[str, Any], kept: dict[str, Any]) -> dict[str, Any]:
    """What today's program says, without the fields that were not known yet."""
    found = {name: words[name] for name in kept if name in words}
    found["fields"] = [name for name in words["fields"] if name in kept["fields"]]
    for key, member in found["members"].items():
        state, update = member["state"], member["update"]
        member["state"] = {name: state[name] for name in state if name in kept["fields"]}
        known = kept["members"][key]["update"]
        member["update"] = {name: update.get(name) for name in known}
    return found


# --- kept files -----------------------------------------------------------------------------------


def test_there_is_a_file_of_every_version() -> None:
    assert golden.kept_versions() == list(range(1, rows.VERSION + 1))


def test_a_kept_changelog_says_what_it_said_when_it_was_written(version: int) -> None:
    kept = golden.expected(version)
    del kept["later"]
    found = golden.what_it_says(golden.load(version), golden.book(version))
    assert found["members"].keys() == kept["members"].keys()
    assert of_then(found, kept) == kept


def test_an_update_says_the_same_of_what_is_told_of_a_row_and_of_the_whole_row(
    version: int,
) -> None:
    rules = golden.book(version)
    fold, models = golden.fold_with(rules), ScriptedModels()
    bodies, _ = golden.read_changelog(golden.load(version))
    for key, body in bodies.items():
        whole = project(fold.load(key, body), fold.due(body), rules, models)
        [update] = fold.project(key, body)
        assert update.value == msgspec.json.encode(whole)


def test_a_kept_changelog_goes_on_as_if_there_had_been_no_upgrade(version: int) -> None:
    later = golden.what_follows(golden.load(version), version)
    assert later == golden.expected(version)["later"]
    assert later == golden.what_the_oracle_says(version)


async def test_what_is_written_today_is_the_current_versions_file_byte_for_byte() -> None:
    kept, today = golden.load(rows.VERSION), await golden.write_changelog()
    assert [(r.offset, r.key) for r in today] == [(r.offset, r.key) for r in kept], CHANGED
    assert list(map(without_book, today)) == list(map(without_book, kept)), CHANGED


def without_book(record: LoggedRow) -> LoggedRow:
    """A record without the digest of the rules, which only says whether to look at a row again."""
    if record.key[:1] != ROW or record.value is None:
        return record
    start = EPOCH_BYTES + HEADER_BYTES - 4
    return record._replace(value=record.value[:start] + record.value[start + 4 :])


def test_the_kept_files_hold_every_kind_of_record_and_of_member() -> None:
    records, words = golden.load(rows.VERSION), golden.expected(rows.VERSION)
    assert {record.key[:1] for record in records} == {b"f", b"o", b"t", b"r"}
    assert all((words["tombstones"], words["stale"], words["outbox"]["outputs"]))
    states = [member["state"] for member in words["members"].values()]
    told = {name for state in states for name in state}
    # Only a clock far ahead of all events, as after a long outage, sets this one.
    wanted = set(rows.Member.__struct_fields__) - {"calendar_to"}
    assert told == wanted, "a field that no kept member fills"


def test_the_kept_files_hold_all_that_policy_remembers() -> None:
    bodies, _ = golden.read_changelog(golden.load(rows.VERSION))
    found = [decode(body, "", False).standing for body in bodies.values()]
    standings = [standing for standing in found if standing is not None]
    held = [one for standing in standings for one in standing.held]
    contacts = [one for standing in standings for one in standing.contacts]
    for kind, kept in ((Standing, standings), (Held, held), (Contact, contacts)):
        for name in kind.__struct_fields__:
            assert any(getattr(one, name) for one in kept), (kind, name)
    assert {one.state for one in contacts} == {RAISED, SENT, GIVEN_BACK}
    assert {one.waits_for for one in held} == {MORNING, SILENCE}
    assert any(one.trigger.armed for one in held)


def test_the_kept_files_hold_all_that_members_are_told_apart_by() -> None:
    bodies, _ = golden.read_changelog(golden.load(rows.VERSION))
    found = [decode(body, "", False).labels for body in bodies.values()]
    labels = [one for one in found if one is not None]
    tags = [tag for one in labels for tag in one.tags.values()]
    for kind, kept in ((Labels, labels), (Tag, tags)):
        for name in kind.__struct_fields__:
            assert any(getattr(one, name) for one in kept), (kind, name)


# --- this version and the next --------------------------------------------------------------------


def test_rows_are_upgraded_when_they_are_read_and_written_as_the_new_version(
    later_version: NextVersion,
) -> None:
    number = later_version.number - 1
    records = golden.load(number)
    bodies, _ = golden.read_changelog(records)
    for key, body in bodies.items():
        member = decode(body, key[1:].decode(), key[:1] == b"a")
        assert member.upgraded_from == number  # type: ignore[attr-defined]
        again = rows.encode(member, due_of(body) or rows.NEVER, book_of(body))
        assert again[0] == later_version.number
        assert due_of(again) == due_of(body)
        assert decode(again, member.id, member.anonymous) == member
    assert golden.what_follows(records, number) == golden.expected(number)["later"]


def test_upgrades_follow_one_another(monkeypatch: pytest.MonkeyPatch) -> None:
    body = row_of("mrich")
    steps: list[int] = []

    def step(number: int) -> rows.Upgrade:
        return lambda fields: (steps.append(number), fields)[1]

    monkeypatch.setattr(rows, "UPGRADES", (step(1), step(2), step(3)))
    monkeypatch.setattr(rows, "VERSION", 4)
    found = decode(body, "rich", False)
    assert steps == [1, 2, 3]
    steps.clear()
    decode(bytes([3]) + body[1:], "rich", False)
    assert steps == [3]
    assert found.order_count == 6


def row_of(key: str) -> bytes:
    return golden.read_changelog(golden.load(1))[0][key.encode()]


@pytest.mark.parametrize("number", [0, rows.VERSION + 1, 255])
def test_a_row_of_another_version_is_refused_by_whatever_looks_at_it(number: int) -> None:
    row = bytes([number]) + row_of("mrich")[1:]
    for look in (due_of, book_of, stage_of, lambda row: decode(row, "rich", False)):
        with pytest.raises(UnknownVersion, match=f"version {number} .* up to {rows.VERSION}"):
            look(row)


def test_a_lane_with_one_newer_row_is_refused_before_anything_is_folded() -> None:
    bodies, _ = golden.read_changelog(golden.load(1))
    key = sorted(bodies)[-1]
    bodies[key] = bytes([rows.VERSION + 1]) + bodies[key][1:]
    with pytest.raises(Exception, match="newer program"):
        golden.Owner(golden.fold_with(golden.book()), bodies)


async def test_an_outbox_of_another_form_is_refused() -> None:
    changelog = MemoryChangelog()
    epoch = await fence(changelog, 0, "worker")
    wal = Wal(changelog, 0, epoch, Recovery({}).finish(), {}, 1 << 20)
    await wal.write(Group())
    longer = [*msgspec.msgpack.decode(encode(Outbox(2, {}, []))), "new"]
    value = epoch.to_bytes(EPOCH_BYTES, "big") + msgspec.msgpack.encode(longer)
    changelog.records.append(LoggedRow(len(changelog.records), OUTBOX, value))
    with pytest.raises(StopWorker):
        await recover(changelog, 0, len(changelog.records), {})


# --- both side by side ----------------------------------------------------------------------------


@pytest.mark.kafka
@pytest.mark.chaos
def test_a_rolling_deploy_forth_and_back_and_forth_again_loses_nothing(
    kafka_stack: StackInfo, tmp_path: Path
) -> None:
    place = Deploy(kafka_stack, "rolling", tmp_path, partitions=6)
    try:
        assert place.lifecycle("topics").returncode == 0
        flow = Flow(place, members=60)
        old = place.start(newer=False), place.start(newer=False)
        ready(place, old[-1])
        with flow:
            go_forth(place, old)
            half_way = go_back(place)
        last = place.start(newer=True)
        ready(place, last)
        check(place, flow, half_way)
        assert last.poll() is None, place.logs()
    finally:
        place.stop()


def go_forth(place: Deploy, old: tuple[subprocess.Popen[bytes], ...]) -> None:
    """Lanes go to new workers, and from one of them to an old one again, which refuses them."""
    wait_until(lambda: place.versions()[rows.VERSION] == 60, "a row of everybody", place)
    first = place.start(newer=True)
    ready(place, first)
    old[1].terminate()
    assert old[1].wait(20) == 0, place.logs()
    second = place.start(newer=True)
    ready(place, second)
    wait_until(lambda: place.versions()[rows.VERSION + 1] > 10, "rows of the new version", place)
    assert place.versions()[rows.VERSION] > 0, "nobody was left to be upgraded later"
    first.terminate()
    assert first.wait(20) == 0, place.logs()
    wait_until(lambda: old[0].poll() is not None, "the old worker's refusal", place)
    check_refusal(place, old[0])
    second.terminate()
    assert second.wait(20) == 0, place.logs()


def go_back(place: Deploy) -> dict[bytes, bytes]:
    """Only old workers are left: they touch nothing. Return the rows as they were."""
    before = place.rows()
    back = place.start(newer=False)
    wait_until(lambda: back.poll() is not None, "the old worker's refusal", place)
    check_refusal(place, back)
    assert place.rows() == before, "an old worker wrote, though there are newer rows in its lanes"
    return before


def check_refusal(place: Deploy, worker: subprocess.Popen[bytes]) -> None:
    assert worker.returncode == 70, place.log_of(worker)
    said = [line for line in place.log_of(worker).splitlines() if "stopping:" in line]
    assert len(said) == 1, place.log_of(worker)
    newer = f"version {rows.VERSION + 1} of the state, and this program reads up to {rows.VERSION}"
    assert newer in said[0]


def check(place: Deploy, flow: Flow, half_way: dict[bytes, bytes]) -> None:
    """Nothing is missing, nothing is twice, and nobody has begun anew."""
    until = now_ms() + 3000
    oracle, events = tmp(place, "oracle.jsonl"), flow.written(tmp(place, "events.jsonl"))
    words = ["--config", str(place.config), "--out", str(oracle), "--until", rfc3339(until)]
    replayed = place.lifecycle("replay", str(events), *words)
    assert replayed.returncode == 0, replayed.stderr
    expected = standing(oracle.read_bytes().splitlines())
    reader, found = Reader(place, ("triggers",)), dict[str, Any]()
    ends = time.monotonic() + PATIENCE
    while expected.keys() - found.keys() and time.monotonic() < ends:
        reader.read(0.5)
        found = standing([message.value() for message in reader.found])
    reader.close()
    missing = sorted(expected[identity]["due_at"] for identity in expected.keys() - found.keys())
    assert not missing, f"{len(missing)} missing, due at {missing[:5]}\n{place.logs()}"
    extra = [found[identity] for identity in found.keys() - expected.keys()]
    # Deadlines after the oracle's end may have fired by now.
    assert [one for one in extra if one["due_at"] <= rfc3339(until)] == []
    rules = {trigger["rule"] for trigger in found.values()}
    assert rules == {"welcome", "item_left", "never_searched"}
    views: dict[bytes, int] = {}
    for told in flow.told:
        key = b"m" + told["member_id"].encode()
        views[key] = views.get(key, 0) + (told["type"] == "view_item")
    older = rows.VERSION
    with next_version():
        for key, row in place.rows().items():
            member = decode(row, "", False)
            assert member.counts.get(CODE_OF["view_item"], 0) == views[key]
            if key in half_way and half_way[key][0] == older:
                assert member.upgraded_from == older  # type: ignore[attr-defined]


def tmp(place: Deploy, name: str) -> Path:
    return place.folder / name
