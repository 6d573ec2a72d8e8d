"""SIGTERM, whatever a worker is about: it ends in time, and nothing is said or done again."""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from fastlane_kit import state_of
from frozen_worker import IN_RECOVERY
from ledger import Ledger, Place, Truth, repeats, truth, write_shipped_rules
from live_kit import Upstream, event, now_ms, wait_for
from stack_fixture import set_apart
from watched import Ended, Running, Yard
from worker_kit import comparable

from agents.partitioner import murmur2_partition
from app import stack
from app.stack import StackInfo, state
from app.stack.kafka import Broker
from models.events import MEMBER_TOPICS
from models.member import decode
from models.times import MINUTE, SECOND

pytestmark = [pytest.mark.kafka, pytest.mark.chaos]

PROMISE = 5.0
"""Seconds that a graceful stop may take."""
LANES = 4
MEMBERS = 4_000
WITHIN = 2 * SECOND
SPREAD = 5 * MINUTE
"""How much of the past the events are spread over: deadlines become due all along."""


@dataclass
class Shop:
    """A world, and far more events in it than a worker can deal with in a moment."""

    place: Yard
    config: Path
    ledger: Ledger

    def start(self) -> Running:
        return self.place.start("--config", str(self.config))

    def fill(self) -> None:
        """Tell of members that look at an item, half of whom order; all at once.

        To be used before a worker runs, which could not know of an order that is still to come.
        """
        upstream = Upstream(self.place)
        began = now_ms() - SPREAD - MINUTE
        for number in range(MEMBERS):
            at = began + number * SPREAD // MEMBERS
            member = f"m{number}"
            upstream.tell(event("register", member, at), timestamp=at)
            upstream.tell(event("view_item", member, at), timestamp=at)
            if number % 2:
                upstream.tell(event("purchase", member, at), timestamp=at)
        upstream.flush()

    def tell(self) -> None:
        """Tell running workers of as many members that do one thing each, now.

        What happens to one member in two topics may arrive in either order.
        """
        upstream = Upstream(self.place)
        for number in range(3 * MEMBERS):
            kind = ("register", "view_item", "purchase")[number % 3]
            upstream.tell(event(kind, f"m{number}"))
        upstream.flush()

    def all_done(self) -> None:
        wait_for(self.ledger.all_done, "the end of all that was told", self.place)

    def truth(self) -> Truth:
        return truth(self.ledger, self.place, self.config, now_ms())

    def applied(self) -> dict[Place, int]:
        """Return the offset after the last one that any member's row knows."""
        found: dict[Place, int] = {}
        partitions = self.place.settings.partitions
        for key, row in self.ledger.log().last_rows().items():
            member = key[1:].decode()
            lane = murmur2_partition(key[1:], partitions)
            for topic, offset in zip(
                MEMBER_TOPICS, decode(row, member, False).applied, strict=True
            ):
                place = self.place.topic(topic), lane
                if offset >= found.get(place, 0):
                    found[place] = offset + 1
        return found

    def in_the_middle(self, worker: Running) -> None:
        """Return when a worker has read a good deal, and much is left."""
        wait_for(lambda: worker.records_read() > MEMBERS // 4, "work", self.place)


@contextmanager
def shop(broker: StackInfo, name: str, folder: Path) -> Iterator[Shop]:
    place = Yard(broker, f"stop-{name}", folder, partitions=LANES)
    try:
        assert place.lifecycle("topics").returncode == 0
        config = write_shipped_rules(folder, f"{WITHIN // SECOND}s")
        yield Shop(place, config, Ledger(place))
    finally:
        place.close()


def check_everything_is_said(shop: Shop, *, once: bool = True) -> None:
    """Compare with the oracle; with ``once`` nobody may have been told anything again."""
    expected = shop.truth()

    def said() -> bool:
        return len(repeats(shop.ledger.sent("triggers"))) >= len(expected.triggers)

    wait_for(said, "every trigger", shop.place)
    messages = shop.ledger.sent("triggers")
    found = {comparable(message.value()) for message in messages}
    assert sorted(expected.triggers - found) == [], "missing"
    assert sorted(found - expected.triggers) == [], "spurious or wrong"
    for identity, values in repeats(messages).items():
        assert len(set(values)) == 1, identity
    if once:
        times = Counter(len(values) for values in repeats(messages).values())
        assert times == {1: len(expected.triggers)}
    rows = shop.ledger.log().last_rows()
    states = {key[1:].decode(): expected.state_of(key, row) for key, row in rows.items()}
    assert states == expected.states


def check_nothing_is_done_again(worker: Running) -> None:
    assert worker.metric("lifecycle_records_skipped_total") == 0
    assert worker.metric("lifecycle_outputs_resent_total") == 0


# --- under load -----------------------------------------------------------------------------------


@dataclass
class Interrupted:
    """What a worker that was told to stop under load has left, and what the next one did."""

    ended: Ended
    committed: dict[Place, int]
    applied: dict[Place, int]
    ends: dict[Place, int]
    shop: Shop
    heir: Running


@pytest.fixture(scope="module")
def interrupted(
    kafka_stack: StackInfo, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Interrupted]:
    with shop(kafka_stack, "load", tmp_path_factory.mktemp("load")) as made:
        made.fill()
        worker = made.start()
        made.in_the_middle(worker)
        ended = worker.stop()
        committed, applied, ends = made.ledger.committed(), made.applied(), made.ledger.ends()
        heir = made.start()
        made.all_done()
        yield Interrupted(ended, committed, applied, ends, made, heir)


def test_a_worker_told_to_stop_in_the_middle_of_much_work_ends_in_time(
    interrupted: Interrupted,
) -> None:
    assert sum(interrupted.committed.values()) < sum(interrupted.ends.values()), "all was done"
    assert interrupted.ended.code == 0, interrupted.shop.place.logs()
    assert interrupted.ended.seconds <= PROMISE


def test_what_it_applied_is_committed_and_nothing_else(interrupted: Interrupted) -> None:
    assert interrupted.applied
    assert interrupted.committed == interrupted.applied


def test_the_next_worker_does_nothing_again(interrupted: Interrupted) -> None:
    check_nothing_is_done_again(interrupted.heir)


def test_everything_is_said_once(interrupted: Interrupted) -> None:
    check_everything_is_said(interrupted.shop)


def test_a_worker_that_stops_leaves_nothing_to_be_done_again_to_one_that_goes_on(
    kafka_stack: StackInfo, tmp_path: Path
) -> None:
    with shop(kafka_stack, "two", tmp_path) as made:
        workers = made.start(), made.start()
        for worker in workers:
            worker.works_on(LANES // 2)
        made.tell()
        leaves, stays = workers
        made.in_the_middle(leaves)
        ended = leaves.stop()
        assert ended.code == 0, made.place.logs()
        assert ended.seconds <= PROMISE
        stays.works_on(LANES)
        made.all_done()
        check_everything_is_said(made)
        check_nothing_is_done_again(stays)


# --- at a bad moment ------------------------------------------------------------------------------


def test_a_worker_told_to_stop_in_its_recovery_ends_in_time(
    kafka_stack: StackInfo, tmp_path: Path
) -> None:
    with shop(kafka_stack, "recovery", tmp_path) as made:
        made.fill()
        first = made.start()
        made.in_the_middle(first)
        first.stop()
        made.place.gate.touch()
        worker = made.place.start_held(IN_RECOVERY, "--config", str(made.config))
        wait_for(lambda: f"held {IN_RECOVERY}" in worker.said(), "its recovery", made.place)
        ended = worker.stop()
        assert ended.code == 0, made.place.logs()
        assert ended.seconds <= PROMISE
        heir = made.start()
        made.all_done()
        check_everything_is_said(made)
        check_nothing_is_done_again(heir)


def test_a_worker_told_to_stop_in_a_rebalance_ends_in_time(
    kafka_stack: StackInfo, tmp_path: Path
) -> None:
    with shop(kafka_stack, "rebalance", tmp_path) as made:
        workers = made.start(), made.start()
        for worker in workers:
            worker.works_on(LANES // 2)
        made.tell()
        # The group waits for a member that does not answer, until its session is over.
        stays_away, told = workers
        made.in_the_middle(told)
        stays_away.process.send_signal(signal.SIGSTOP)
        heir = made.start()
        wait_for(lambda: told.lanes() == 0, "the rebalance", made.place)
        assert state_of(stays_away.process.pid) == "T"
        ended = told.stop()
        assert ended.code == 0, made.place.logs()
        assert ended.seconds <= PROMISE
        stays_away.process.kill()
        made.all_done()
        # What was killed may be said again.
        check_everything_is_said(made, once=False)
        assert heir.stop().code == 0, made.place.logs()


def test_a_worker_told_to_stop_while_the_broker_stands_still_ends_in_time(tmp_path: Path) -> None:
    data = tmp_path / "stack"
    set_apart(data)
    try:
        with shop(stack.up(data, print), "outage", tmp_path) as made:
            made.fill()
            worker = made.start()
            made.in_the_middle(worker)
            broker = state.load(data)[Broker.name].process
            assert broker is not None
            os.kill(broker.pid, signal.SIGSTOP)
            try:
                wait_for(lambda: state_of(broker.pid) == "T", "the broker's frost", made.place)
                ended = worker.stop()
            finally:
                os.kill(broker.pid, signal.SIGCONT)
            assert ended.code == 0, made.place.logs()
            assert ended.seconds <= PROMISE
            heir = made.start()
            made.all_done()
            # What had not been acknowledged is done again.
            check_everything_is_said(made, once=False)
            assert heir.stop().code == 0, made.place.logs()
    finally:
        stack.down(data, purge=True)
