"""Workers that were frozen at the worst moments, replaced, and woken, change nothing.

Five zombies at once, one for each point at which publishing a group can stand still. Each owns one
lane. Everything happens in one story (``Story``), and the tests look at what it has left behind.
"""

import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Message
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from fastlane_kit import state_of
from frozen_worker import (
    AFTER_APPEND,
    AFTER_SENDS,
    BEFORE_APPEND,
    BETWEEN_SENDS,
    ON_THE_WIRE,
    POINTS,
)
from ledger import (
    Ledger,
    Log,
    Truth,
    Written,
    known,
    members_of,
    repeats,
    triggers_of,
    truth,
    write_shipped_rules,
)
from live_kit import Upstream, event, now_ms, wait_for
from watched import Running, Yard
from worker_kit import comparable

from agents.fastlane.failstop import EXIT_CODE
from agents.lane import IDLE_CHECK_MS
from agents.members import MEMBER
from agents.recovery import FENCE, ROW
from app.stack import StackInfo
from models.times import SECOND

pytestmark = [pytest.mark.kafka, pytest.mark.chaos]

LANES = len(POINTS)
WITHIN = 4 * SECOND
ENDS_WITHIN = 20.0
"""Seconds after which a zombie that has not ended goes on for ever."""
REPAIRED_BY_A_WRITE = (BEFORE_APPEND, AFTER_APPEND, BETWEEN_SENDS)
"""Where the heir writes, and meets what the zombie wrote."""
REPAIRED_AT_A_START = (ON_THE_WIRE, AFTER_SENDS)
"""Where the heir has nothing to write, so that its successor meets it."""
REPAIRS = "lifecycle_changelog_repairs_total"

# Compaction as soon as anything can be compacted.
COMPACT_NOW = {
    "segment.ms": "200",
    "min.cleanable.dirty.ratio": "0.0001",
    "min.compaction.lag.ms": "0",
}


@dataclass
class Story:
    """What was done, in this order, and what was seen on the way."""

    place: Yard
    config: Path
    upstream: Upstream
    ledger: Ledger
    zombies: dict[str, Running] = field(default_factory=dict)
    orders: dict[str, int] = field(default_factory=dict)
    codes: dict[str, int] = field(default_factory=dict)
    landed: list[Written] = field(default_factory=list)
    repairs: list[float] = field(default_factory=list)
    heir: Running = field(init=False)
    said_then: list[Message] = field(init=False)
    decided_then: list[Message] = field(init=False)
    updates_then: dict[str, dict[str, Any]] = field(init=False)
    triggers: list[Message] = field(init=False)
    updates: dict[str, dict[str, Any]] = field(init=False)
    log: Log = field(init=False)
    truth: Truth = field(init=False)

    def member(self, name: str, point: str) -> str:
        return members_of(self.zombies[point].lane, LANES, name)[0]

    def buys(self, name: str, *points: str) -> None:
        for point in points:
            member = self.member(name, point)
            self.orders[member] = number = self.orders.get(member, 0) + 1
            self.upstream.tell(event("purchase", member, order_id=f"o{number}", total=10 * number))

    def does(self, kind: str, name: str, *points: str) -> None:
        for point in points:
            self.upstream.tell(event(kind, self.member(name, point)))

    def lookers(self) -> int:
        """Return how many have been reminded of what they looked at."""
        return sum(b'"browse_abandoned"' in one.value() for one in self.ledger.sent("triggers"))

    def told(self) -> None:
        """Return when the workers are done with all that was told."""
        self.upstream.flush()
        wait_for(self.ledger.all_done, "the end of all that was told", self.place)

    def start(self) -> Running:
        return self.place.start("--config", str(self.config))


@pytest.fixture(scope="module")
def story(kafka_stack: StackInfo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("zombie")
    place = Yard(kafka_stack, "zombie", folder, partitions=LANES)
    place.env["LIFECYCLE_COMMIT_INTERVAL_MS"] = "100"
    assert place.lifecycle("topics").returncode == 0
    config = write_shipped_rules(folder, f"{WITHIN // SECOND}s")
    made = Story(place, config, Upstream(place), Ledger(place))
    try:
        every_zombie_owns_a_lane(made)
        a_group_stands_still_at_every_point(made)
        all_are_frozen_and_an_heir_goes_on(made)
        all_wake_up(made)
        what_they_wrote_is_written_over(made)
        the_changelog_is_compacted(made)
        everything_starts_again(made)
        yield made
    finally:
        place.close()


def every_zombie_owns_a_lane(story: Story) -> None:
    for point in POINTS:
        story.zombies[point] = story.place.start_held(point, "--config", str(story.config))

    for zombie in story.zombies.values():
        zombie.works_on(1)
    owners = last_fences(story.ledger.log())
    for zombie in story.zombies.values():
        [zombie.lane] = [
            lane for lane, by in owners.items() if by.endswith(f"-{zombie.process.pid}")
        ]


def last_fences(log: Log) -> dict[int, str]:
    """Return by lane who fenced it last."""
    return {one.lane: (one.value or b"").decode() for one in log.records if one.key == FENCE}


def a_group_stands_still_at_every_point(story: Story) -> None:
    story.buys("frozen", *POINTS)
    story.buys("steady", *POINTS)
    story.does("view_item", "looks-first", *POINTS)
    story.told()
    story.place.gate.touch()
    story.does("register", "frozen", *POINTS)
    story.upstream.flush()
    for point, zombie in story.zombies.items():
        wait_for(lambda one=zombie, at=point: f"held {at}" in one.said(), point, story.place)
    # The next group collects meanwhile, so that each has more to write when it wakes.
    read = {point: zombie.records_read() for point, zombie in story.zombies.items()}
    story.buys("frozen", *POINTS)
    story.buys("steady", *POINTS)
    story.does("register", "newcomer", *POINTS)
    story.upstream.flush()
    for point, zombie in story.zombies.items():
        enough = read[point] + 3
        wait_for(lambda one=zombie, n=enough: one.records_read() == n, "its records", story.place)


def all_are_frozen_and_an_heir_goes_on(story: Story) -> None:
    for zombie in story.zombies.values():
        zombie.process.send_signal(signal.SIGSTOP)
    for zombie in story.zombies.values():
        wait_for(lambda pid=zombie.process.pid: state_of(pid) == "T", "frost", story.place)
    story.place.gate.unlink()
    story.heir = story.start()
    story.heir.works_on(LANES)
    story.buys("frozen", *POINTS)
    story.buys("steady", *POINTS)
    story.does("view_item", "looks-later", *REPAIRED_BY_A_WRITE)
    story.told()
    wait_for(lambda: story.lookers() == LANES, "the deadlines of before the frost", story.place)
    assert all(state_of(zombie.process.pid) == "T" for zombie in story.zombies.values())


def all_wake_up(story: Story) -> None:
    for zombie in story.zombies.values():
        zombie.process.send_signal(signal.SIGCONT)
    ends = time.monotonic() + ENDS_WITHIN
    for point, zombie in story.zombies.items():
        try:
            story.codes[point] = zombie.process.wait(max(ends - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            story.codes[point] = -1
            zombie.process.kill()
            zombie.process.wait()
    story.landed = story.ledger.log().of_zombies()
    story.said_then = story.ledger.sent("triggers")
    story.decided_then = story.ledger.sent("decisions")
    # The heir says again what came behind its updates when it sends next, or looks: once a minute.
    told = time.monotonic() + IDLE_CHECK_MS / 1000 + ENDS_WITHIN
    while True:
        story.updates_then = last_updates(story.ledger.sent("member-updates"))
        orders = {story.updates_then[story.member("frozen", point)]["orders"] for point in POINTS}
        if orders == {3} or time.monotonic() > told:
            return
        time.sleep(1)


def what_they_wrote_is_written_over(story: Story) -> None:
    story.buys("steady", *REPAIRED_BY_A_WRITE)
    story.told()
    story.repairs.append(story.heir.metric(REPAIRS))
    assert story.heir.stop().code == 0, story.place.logs()
    story.heir = story.start()
    story.heir.works_on(LANES)
    story.repairs.append(story.heir.metric(REPAIRS))


def the_changelog_is_compacted(story: Story) -> None:
    resource = ConfigResource(
        ResourceType.TOPIC,
        story.ledger.changelog,
        incremental_configs=[
            ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
            for name, value in COMPACT_NOW.items()
        ],
    )
    [done] = story.ledger.admin.incremental_alter_configs([resource]).values()
    done.result()
    story.buys("frozen", *POINTS)
    story.does("view_item", "looks-later", *REPAIRED_AT_A_START)
    doomed = {(one.lane, one.offset) for one in story.landed}

    def gone() -> bool:
        # Only what lies behind a later write is compacted: the segment written last is not.
        story.buys("steady", *POINTS)
        story.told()
        time.sleep(0.3)
        return not doomed & {(one.lane, one.offset) for one in story.ledger.log().records}

    wait_for(gone, "the end of the zombies' records", story.place)


def everything_starts_again(story: Story) -> None:
    assert story.heir.stop().code == 0, story.place.logs()
    fresh = [story.start() for _ in range(2)]
    wait_for(lambda: sum(one.lanes() for one in fresh) == LANES, "all lanes", story.place)
    story.buys("frozen", *POINTS)
    story.does("view_item", "looks-last", *POINTS)
    story.told()
    until = now_ms() + WITHIN
    story.truth = truth(story.ledger, story.place, story.config, until)

    def all_said() -> bool:
        story.triggers = story.ledger.sent("triggers")
        return len(repeats(story.triggers)) >= len(story.truth.triggers)

    wait_for(all_said, "every trigger", story.place)
    time.sleep(max(until - now_ms(), 0) / SECOND)
    assert story.place.stop()[-2:] == [0, 0], story.place.logs()
    story.triggers = story.ledger.sent("triggers")
    story.updates = last_updates(story.ledger.sent("member-updates"))
    story.log = story.ledger.log()


def last_updates(messages: list[Message]) -> dict[str, dict[str, Any]]:
    """Return what a reader of the topic takes for each member's state."""
    return {message.key().decode(): known(message.value()) for message in messages}


# --- the zombies ----------------------------------------------------------------------------------


@pytest.mark.parametrize("point", POINTS)
def test_a_zombie_that_wakes_finds_its_lane_taken_and_stops(story: Story, point: str) -> None:
    zombie = story.zombies[point]
    assert f"thawed {point}" in zombie.said()
    assert f"lane {zombie.lane} was taken over" in zombie.said()
    assert story.codes[point] == EXIT_CODE, zombie.said()


@pytest.mark.parametrize("point", POINTS)
def test_what_a_zombie_had_begun_to_write_lands_in_the_changelog_after_its_heir(
    story: Story, point: str
) -> None:
    # Without this the rest would show nothing: there would have been nothing to beat.
    lane = story.zombies[point].lane
    rows = {one.key for one in story.landed if one.lane == lane and one.key[:1] == ROW}
    frozen, steady, newcomer = (
        ROW + MEMBER + story.member(name, point).encode()
        for name in ("frozen", "steady", "newcomer")
    )
    if point in (BEFORE_APPEND, ON_THE_WIRE):
        # The very group that was held, and nothing after it.
        assert rows == {frozen}
    elif point in (AFTER_APPEND, BETWEEN_SENDS):
        # It has seen the fence before it sent anything, or that its heir had sent meanwhile.
        assert not rows
    else:
        # That group was durable; the next one is from before the heir's time all the same.
        assert rows >= {frozen, steady, newcomer}


@pytest.mark.parametrize("point", POINTS)
def test_a_zombie_sends_only_what_was_durable_before_it_lost_its_lane(
    story: Story, point: str
) -> None:
    # Its heir says what the changelog holds; the zombie adds nothing but the same again.
    times = {
        BEFORE_APPEND: 1,
        ON_THE_WIRE: 1,
        AFTER_APPEND: 1,
        BETWEEN_SENDS: 2,
        AFTER_SENDS: 2,
    }
    welcomes = triggers_of(story.said_then, "welcome", story.member("frozen", point))
    assert len(welcomes) == times[point]
    assert len(set(welcomes)) == 1
    decisions = [
        message.value()
        for message in story.decided_then
        if message.key() == story.member("frozen", point).encode()
        and b'"rule":"welcome"' in message.value()
    ]
    assert len(decisions) == times[point]
    assert len(set(decisions)) == 1
    # What it had folded, but not written, when it was frozen: its heir alone says it.
    assert len(triggers_of(story.said_then, "welcome", story.member("newcomer", point))) == 1


@pytest.mark.parametrize("point", POINTS)
def test_readers_of_member_updates_are_not_left_behind_by_a_zombie(
    story: Story, point: str
) -> None:
    # Three orders were folded when it woke; it knew of the first.
    assert story.updates_then[story.member("frozen", point)]["orders"] == 3


# --- what is left ---------------------------------------------------------------------------------


def test_what_zombies_wrote_over_is_written_again_by_the_heir_s_next_write(story: Story) -> None:
    # The other lanes it mends when it stops, or its successor when it starts.
    landed = set(REPAIRED_BY_A_WRITE) - {AFTER_APPEND, BETWEEN_SENDS}
    assert story.repairs[0] >= len(landed)


def test_compaction_has_removed_what_the_zombies_wrote(story: Story) -> None:
    assert story.landed
    assert not story.log.of_zombies()
    left = {(one.lane, one.offset) for one in story.log.records}
    assert not left & {(one.lane, one.offset) for one in story.landed}


def test_triggers_are_those_of_a_world_without_trouble(story: Story) -> None:
    found = {comparable(message.value()) for message in story.triggers}
    assert not story.truth.triggers - found, "missing"
    assert not found - story.truth.triggers, "spurious or wrong"
    for point in POINTS:
        # Five orders make it, and no zombie knew of more than two.
        assert triggers_of(story.triggers, "became_loyal", story.member("frozen", point))
        for looker in ("looks-first", "looks-later", "looks-last"):
            assert triggers_of(story.triggers, "browse_abandoned", story.member(looker, point))


def test_whatever_was_said_twice_was_said_in_the_same_bytes(story: Story) -> None:
    for identity, said in repeats(story.triggers).items():
        assert len(set(said)) == 1, identity


def test_states_are_those_of_a_world_without_trouble(story: Story) -> None:
    rows = story.log.last_rows()
    found = {key[1:].decode(): story.truth.state_of(key, row) for key, row in rows.items()}
    assert found == story.truth.states


def test_readers_of_member_updates_know_every_state_in_the_end(story: Story) -> None:
    assert story.updates == story.truth.updates
