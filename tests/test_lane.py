"""A lane in a simulated world: order, safe time, groups, failures, and stopping."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

import pytest
from sim_worker import Worker
from sim_world import BEGINNING, Process, World, now, run
from toy_job import FORGET_MS, REMIND_MS, TOPICS, State, ToyFold, said_by, truth, value

from agents.folding import SLICE_DEADLINES
from agents.lane import GROUP_MS, SHARE_MS, LaneLimits
from agents.ports import Fenced, StopWorker
from agents.recovery import OUTBOX, ROW
from agents.turns import CALM, MOST_PATIENCE, WAITS, Turns

HOUR = 3_600_000


def simulated(main: Callable[[World], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Make a test of a coroutine that is given a world."""

    def test() -> None:
        async def begin() -> None:
            await main(World(TOPICS))

        run(begin())

    test.__name__ = main.__name__
    test.__doc__ = main.__doc__
    return test


def put(world: World, topic: str, member: bytes, at: int | None = None, kind: str = "") -> None:
    """Produce a record that carries the time at which it happens (default: now)."""
    when = now() if at is None else at
    world.produce(topic, member, value(when, kind), when)


async def working(world: World, **settings: Any) -> Worker:
    worker = Worker(world, **settings)
    await worker.start()
    return worker


async def sleep(milliseconds: float) -> None:
    await asyncio.sleep(milliseconds / 1000)


def triggers(world: World) -> list[str]:
    return [json.loads(o.value or b"")["id"] for o in world.sent if o.topic == "triggers"]


def sent_to(world: World, topic: str) -> list[bytes | None]:
    return [output.value for output in world.sent if output.topic == topic]


class Gate(Turns):
    """Turns that may be withheld, and are counted."""

    def __init__(self) -> None:
        super().__init__()
        self.open = asyncio.Event()
        self.open.set()
        self.had = 0

    async def mine(self) -> None:
        await self.open.wait()
        await super().mine()
        self.had += 1


# -- order and time


@simulated
async def test_what_comes_out_is_what_the_order_of_time_gives(world: World) -> None:
    start = BEGINNING - 2 * HOUR
    for n in range(300):
        topic = world.rng.choice(TOPICS)
        # Several records share an instant: ties go by topic, then offset.
        put(world, topic, b"m%d" % world.rng.randrange(20), start + n // 3 * 7000)
    worker = await working(world)
    await worker.until(worker.all_done)
    expected = truth([record for log in world.logs.values() for record in log], now())
    said, versions = said_by(world.sent)
    assert said == expected.said
    assert all(len(bytes_) == 1 for bytes_ in versions.values())
    counts = {key: ToyFold().load(key, body).counts for key, body in worker.rows.items()}
    assert counts == expected.counts
    assert worker.lane.stats.records == 300
    await worker.end()


@simulated
async def test_a_deadline_on_a_silent_system_fires_within_milliseconds(world: World) -> None:
    worker = await working(world)
    put(world, "browse", b"m")
    due = now() + REMIND_MS
    await worker.until(lambda: bool(triggers(world)))
    assert triggers(world) == [f"m@{due}"]
    # One question for the ends, at most twice three milliseconds.
    assert worker.lateness[0] <= 6
    await worker.end()


@simulated
async def test_a_lane_with_nothing_to_do_does_nothing(world: World) -> None:
    world.latency_ms = (1, 1)
    worker = await working(world)
    put(world, "member", b"m", kind="forget")
    await sleep(1000)
    asked, points = worker.process.questions, worker.process.points
    await sleep(FORGET_MS - 2000)
    assert worker.process.questions == asked
    # What is left: a look at the ends of changelog and updates, once a minute.
    assert worker.process.points - points <= 2 * FORGET_MS // 60_000
    await worker.end()


@simulated
async def test_what_is_fed_is_asked_for_before_the_lane_has_its_turn(world: World) -> None:
    turns = Gate()
    worker = await working(world, turns=turns)
    await sleep(1000)
    asked = worker.process.questions
    # It waits for its turn already, and then has to wait once more.
    turns.open.clear()
    worker.lane._wake.set()
    put(world, "browse", b"m")
    await sleep(100)
    assert worker.process.questions == asked + 1
    assert worker.lane.stats.records == 0
    turns.open.set()
    await worker.until(lambda: worker.lane.stats.records == 1)
    assert worker.process.questions == asked + 1
    await worker.end()


@simulated
async def test_a_lane_has_no_turn_in_which_it_could_only_wait(world: World) -> None:
    world.latency_ms = (20, 20)
    turns = Gate()
    worker = await working(world, turns=turns)
    await sleep(1000)
    had, asked = turns.had, worker.process.questions
    put(world, "browse", b"m")
    while worker.process.questions == asked:
        await sleep(1)
    assert turns.had == had
    await worker.until(worker.all_done)
    assert turns.had > had
    await worker.end()


@simulated
async def test_what_fails_on_a_look_at_what_was_fed_ends_the_lane(world: World) -> None:
    worker = await working(world)
    assert worker.lane is not None

    def look() -> bool:
        raise RuntimeError("broken")

    worker.lane._folding.look = look  # type: ignore[method-assign]
    put(world, "browse", b"m")
    await worker.until(lambda: False)
    assert str(worker.failure) == "broken"
    await worker.end()


@simulated
async def test_a_worker_that_was_down_does_not_remind_those_who_bought(world: World) -> None:
    first = await working(world)
    put(world, "browse", b"bought")
    put(world, "browse", b"did not")
    await sleep(1000)
    await first.end()
    put(world, "purchase", b"bought")
    await sleep(2 * HOUR)
    world.lagging.add("purchase")
    second = await working(world)
    await sleep(5000)
    assert triggers(world) == []
    world.lagging.clear()
    world.changed()
    await second.until(second.all_done)
    assert [trigger.split("@")[0] for trigger in triggers(world)] == ["did not"]
    await second.end()


@simulated
async def test_an_event_at_the_instant_of_the_deadline_comes_too_late(world: World) -> None:
    at = BEGINNING - HOUR
    put(world, "browse", b"too late", at)
    put(world, "browse", b"in time", at)
    put(world, "purchase", b"in time", at + REMIND_MS - 1)
    put(world, "purchase", b"too late", at + REMIND_MS)
    worker = await working(world)
    await worker.until(worker.all_done)
    assert triggers(world) == [f"too late@{at + REMIND_MS}"]
    await worker.end()


@simulated
async def test_a_lagging_topic_holds_everything_back_and_raises_an_alarm(world: World) -> None:
    world.lagging.add("purchase")
    put(world, "cart", b"m", BEGINNING - 1000)
    put(world, "purchase", b"n", BEGINNING - 2000)
    worker = await working(world)
    await sleep(9000)
    assert worker.lane.stats.records == 0
    assert not worker.lane.stats.stuck
    await sleep(2000)
    assert worker.lane.stats.stuck
    world.lagging.clear()
    world.changed()
    await worker.until(worker.all_done)
    assert worker.lane.stats.records == 2
    assert not worker.lane.stats.stuck
    await worker.end()


@simulated
async def test_absence_is_held_for_as_long_as_the_broker_was_away(world: World) -> None:
    worker = await working(world)
    put(world, "browse", b"bought")
    put(world, "browse", b"did not")
    await sleep(REMIND_MS - 10_000)
    world.away = True
    await sleep(30_000)
    world.away = False
    world.changed()
    back = now()
    # A shop's producer flushes what was bought during the outage a while after it.
    await sleep(10_000)
    put(world, "purchase", b"bought", back - 25_000)
    await sleep(8_000)
    assert worker.lane.stats.held
    assert triggers(world) == []
    await worker.until(worker.all_done)
    assert [trigger.split("@")[0] for trigger in triggers(world)] == ["did not"]
    assert now() - back >= 20_000
    assert not worker.lane.stats.held
    await worker.end()


def test_events_are_taken_between_slices_of_overdue_deadlines() -> None:
    order: list[str] = []

    class Noting(ToyFold):
        def apply(self, state: State, *rest: Any) -> Any:
            order.append("event")
            return super().apply(state, *rest)

        def advance(self, state: State, to: int, now: int | None) -> Any:
            if state.due is not None and state.due <= to:
                order.append("deadline")
            return super().advance(state, to, now)

    # The first worker folds the browses; the second finds all their deadlines overdue.
    async def overdue() -> None:
        world = World(TOPICS)
        for n in range(5 * SLICE_DEADLINES):
            put(world, "browse", b"%d" % n, BEGINNING - 30_000)
        first = await working(world)
        await first.until(lambda: first.lane.stats.armed == 5 * SLICE_DEADLINES)
        await sleep(1000)
        await first.lane.stop()
        await first.end()
        await sleep(HOUR)
        for n in range(3):
            put(world, "cart", b"somebody %d" % n)
        order.clear()
        second = await working(world, fold=Noting())
        await second.until(second.all_done)
        await second.end()

    run(overdue())
    assert order.count("deadline") == 5 * SLICE_DEADLINES
    assert order[:SLICE_DEADLINES] == ["deadline"] * SLICE_DEADLINES
    assert order.index("event") == SLICE_DEADLINES


class Heavy(ToyFold):
    """Takes a millisecond of the process's time for whatever it does."""

    did: ClassVar[list[str]] = []

    def apply(self, state: State, *rest: Any) -> Any:
        self._work("event")
        return super().apply(state, *rest)

    def advance(self, state: State, to: int, now: int | None) -> Any:
        if state.due is not None and state.due <= to:
            self._work("deadline")
        return super().advance(state, to, now)

    def _work(self, what: str) -> None:
        self.did.append(what)
        asyncio.get_running_loop().seconds += 0.001  # type: ignore[attr-defined]


@pytest.mark.parametrize("overdue", [True, False])
def test_nobody_waits_long_for_a_lane_that_has_much_to_do(overdue: bool) -> None:
    gaps: list[float] = []

    async def bystander() -> None:
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await sleep(1)
            gaps.append((loop.time() - before) * 1000 - 1)

    async def busy() -> None:
        world = World(TOPICS)
        for n in range(200):
            put(world, "browse", b"%d" % n, BEGINNING - 30_000)
        first = await working(world)
        await first.until(lambda: first.lane.stats.armed == 200)
        await sleep(1000)
        await first.lane.stop()
        await first.end()
        if overdue:
            await sleep(HOUR)
        for n in range(200):
            put(world, "cart", b"somebody %d" % n)
        Heavy.did.clear()
        second = await working(world, fold=Heavy())
        watching = asyncio.create_task(bystander())
        await second.until(lambda: len(Heavy.did) >= 200)
        watching.cancel()
        await second.end()

    run(busy())
    assert max(gaps) <= 12
    if overdue:
        since = Heavy.did.index("deadline")
        done = Counter(Heavy.did[since : since + 60])
        assert min(done["deadline"], done["event"]) > 15


# -- stream time


def history(world: World) -> int:
    start = BEGINNING - 400 * 24 * HOUR
    for n in range(200):
        put(world, world.rng.choice(TOPICS), b"m%d" % world.rng.randrange(9), start + n * 9000)
    return start + 199 * 9000


@simulated
async def test_stream_time_is_what_the_records_say_and_ends_where_told(world: World) -> None:
    last = history(world)
    for until in (last, last + REMIND_MS // 2, last + 2 * REMIND_MS):
        world.sent.clear()
        world.changelog.clear()
        world.committed.clear()
        worker = await working(world, until=until)
        await sleep(5000)
        said, _ = said_by(world.sent)
        assert said == truth([r for log in world.logs.values() for r in log], until).said
        assert all(b'"at": null' in (value or b"") for value in sent_to(world, "triggers"))
        await worker.end()
        world.ids = {topic: f"{name}'" for topic, name in world.ids.items()}
        world.changelog_end += 1


@simulated
async def test_records_after_the_start_go_on_from_where_stream_time_is(world: World) -> None:
    last = history(world)
    until = last + 10 * REMIND_MS
    worker = await working(world, until=until)
    await sleep(2000)
    fired = len(triggers(world))
    put(world, "browse", b"new", until + 5000)
    await sleep(2000)
    assert len(triggers(world)) == fired
    put(world, "cart", b"another", until + 5000 + REMIND_MS)
    await sleep(2000)
    assert triggers(world)[fired:] == [f"new@{until + 5000 + REMIND_MS}"]
    await worker.end()


@simulated
async def test_stream_time_moves_on_before_a_record_that_came_after_the_start(
    world: World,
) -> None:
    at = BEGINNING - HOUR
    put(world, "browse", b"m", at)
    put(world, "purchase", b"another", at + 1)
    world.lagging.update(TOPICS)
    worker = await working(world, until=at + 2 * REMIND_MS)
    await sleep(50)
    # In time by its own account, but produced after the worker was told where to stop.
    put(world, "purchase", b"m", at + 2)
    await sleep(1000)
    world.lagging.clear()
    world.changed()
    await worker.until(worker.all_done)
    assert triggers(world) == [f"m@{at + REMIND_MS}"]
    await worker.end()


# -- groups


@simulated
async def test_groups_stay_below_the_limit_and_never_part_a_member(world: World) -> None:
    for n in range(400):
        put(world, "cart", b"m%d" % (n % 50), BEGINNING - HOUR + n)
    limit = 3000
    worker = await working(world, limits=LaneLimits(group_bytes=limit))
    before = len(world.batches)
    await worker.until(worker.all_done)
    batches = [batch for _, _, batch in world.batches[before:]]
    assert len(batches) > 10
    for batch in batches:
        assert sum(len(row.key) + len(row.value or b"") for row in batch) <= limit
        assert [row.key for row in batch].count(OUTBOX) == 1
    for batch in batches:
        # What a row counts is said in the outbox before it.
        for row in batch[1:]:
            counts = ToyFold().load(row.key[1:], (row.value or b"")[8:]).counts
            assert b'"counts": ' + json.dumps(counts).encode() in (batch[0].value or b"")
    await worker.end()


async def rows_by_group_of_a_trickle(world: World, members: int, patience: int) -> list[int]:
    """Produce ten records in the time of a group, one a member, and then wait so long (ms)."""
    before = len(world.batches)
    for number in range(members):
        put(world, "browse", b"m%d" % number)
        await sleep(GROUP_MS / 10)
    await sleep(patience)
    return [sum(row.key[:1] == ROW for row in batch) for *_, batch in world.batches[before:]]


@simulated
async def test_what_trickles_in_is_written_together_and_what_follows_a_silence_at_once(
    world: World,
) -> None:
    worker = await working(world)
    await sleep(2 * GROUP_MS)
    # The first at once, and then four times all that came meanwhile.
    rows = await rows_by_group_of_a_trickle(world, 40, 2 * GROUP_MS)
    assert sum(rows) == 40
    assert 5 <= len(rows) <= 6
    before = len(world.batches)
    put(world, "browse", b"late")
    await sleep(GROUP_MS / 2)
    assert len(world.batches) == before + 1
    await worker.end()


@simulated
async def test_lanes_that_share_a_loop_write_less_often_the_more_they_are(world: World) -> None:
    turns = Turns()
    turns.sharers = others = 4 * GROUP_MS // SHARE_MS
    worker = await working(world, turns=turns)
    await sleep(8 * GROUP_MS)
    assert turns.sharers == others + 1
    # The first at once, and then twice all that came meanwhile.
    rows = await rows_by_group_of_a_trickle(world, 80, 8 * GROUP_MS)
    assert sum(rows) == 80
    assert len(rows) == 3
    await worker.lane.stop()
    assert turns.sharers == others
    await worker.end()


@simulated
async def test_lanes_that_wait_for_their_turns_write_less_often(world: World) -> None:
    class Busy(Turns):
        last = 0.0

        async def mine(self) -> None:
            await super().mine()
            self.waited = self.last

    turns = Busy()
    worker = await working(world, turns=turns)
    for patience, groups in ((4 * GROUP_MS, 3), (3600_000, 3), (0, 9)):
        turns.last = CALM + patience / WAITS / 1000
        await sleep(2000 * MOST_PATIENCE)
        # The first at once, and then what came meanwhile.
        rows = await rows_by_group_of_a_trickle(world, 80, int(2000 * MOST_PATIENCE))
        assert sum(rows) == 80
        assert groups <= len(rows) <= groups + 1
    await worker.end()


@simulated
async def test_a_group_that_turns_out_too_large_is_written_in_parts(world: World) -> None:
    world.commit_chance = 1.0
    for n in range(300):
        put(world, "engagement", b"new member %d" % n, BEGINNING - HOUR + n)
    worker = await working(world, limits=LaneLimits(group_bytes=3000))
    before = len(world.batches)
    await worker.until(worker.all_done)
    # How large the rows of new members get is known only when they are saved.
    assert len(world.batches) - before > 10
    for _, _, batch in world.batches[before:]:
        assert sum(len(row.key) + len(row.value or b"") for row in batch) <= 3000
    assert world.committed["engagement"] == 300
    await worker.end()


@simulated
async def test_only_what_cannot_be_decoded_needs_no_changelog(world: World) -> None:
    worker = await working(world)
    before = world.changelog_end
    for _ in range(5):
        world.produce("cart", b"m", b"\xff not json")
    await worker.until(lambda: worker.process.done_offsets.get("cart") == 5)
    assert world.changelog_end == before
    assert sent_to(world, "dead-letters") == [b"cart:%d" % n for n in range(5)]
    assert worker.lane.stats.refused == 5
    await worker.end()


@simulated
async def test_nothing_is_sent_before_its_group_is_durable_nor_done_before_it_is_sent(
    world: World,
) -> None:
    worker = await working(world)
    worker.process.trace.clear()
    put(world, "cart", b"m")
    await worker.until(lambda: "cart" in worker.process.done_offsets)
    steps = [step for step in worker.process.trace if not step.startswith("end")]
    assert steps == ["append", "appended", "send", "send", "sent"]
    assert [output.topic for output in world.sent] == ["decisions", "member-updates"]
    await worker.end()


@simulated
async def test_a_member_that_is_gone_leaves_a_tombstone_and_no_deadline(world: World) -> None:
    worker = await working(world)
    put(world, "cart", b"m")
    put(world, "cart", b"n")
    put(world, "member", b"m", kind="forget")
    await worker.until(worker.all_done)
    await sleep(1000)
    assert set(worker.rows) == {b"n"}
    assert sent_to(world, "member-updates")[-1] is None
    await worker.end()
    world.compact()
    assert ROW + b"m" not in {row.key for row in world.changelog}
    second = await working(world)
    assert set(second.rows) == {b"n"}
    await second.end()


@simulated
async def test_full_queues_pause_their_topic_and_resume_it(world: World) -> None:
    world.lagging.add("purchase")
    put(world, "purchase", b"m", BEGINNING - 2 * HOUR)
    for n in range(500):
        put(world, "cart", b"m", BEGINNING - HOUR + n)
    worker = await working(world, limits=LaneLimits(queue_records=100))
    await sleep(3000)
    assert worker.process.paused == {"cart"}
    assert worker.lane.stats.queued["cart"] <= 150
    world.lagging.clear()
    world.changed()
    await worker.until(worker.all_done)
    assert worker.process.paused == set()
    assert len(sent_to(world, "decisions")) == 500
    await worker.end()


@simulated
async def test_records_handed_over_twice_count_once(world: World) -> None:
    world.rewind_chance = 0.4
    for n in range(100):
        put(world, "cart", b"m%d" % (n % 3), BEGINNING - HOUR + n)
    worker = await working(world)
    await worker.until(worker.all_done)
    counts = sum(ToyFold().load(key, body).counts[3] for key, body in worker.rows.items())
    assert counts == 100
    await worker.end()


# -- defects of the fold


@simulated
async def test_a_record_that_the_fold_chokes_on_leaves_no_trace(world: World) -> None:
    for n in range(6):
        put(world, "cart", b"m", BEGINNING - 1000 + n, kind="raise" if n == 3 else "")
    worker = await working(world)
    await worker.until(worker.all_done)
    said, versions = said_by(world.sent)
    assert [json.loads(counts)[3] for counts in said.values()] == [1, 2, 3, 4, 5]
    assert "cart:3" not in said
    assert all(len(bytes_) == 1 for bytes_ in versions.values())
    assert sent_to(world, "dead-letters") == [b"cart:3 raised Hiccup"]
    assert worker.lane.stats.crashed == 1
    assert worker.process.done_offsets["cart"] == 6
    await worker.end()


@simulated
async def test_a_deadline_that_the_fold_chokes_on_is_tried_later_and_later(world: World) -> None:
    worker = await working(world, fold=ToyFold(stumble_on=b"bad"))
    put(world, "browse", b"bad")
    put(world, "browse", b"good")
    await sleep(REMIND_MS + 1000)
    assert [trigger.split("@")[0] for trigger in triggers(world)] == ["good"]
    await sleep(10 * HOUR)
    # At 1, 2, 4 ... seconds up to an hour, then hourly.
    assert 15 <= worker.lane.stats.stumbled <= 24
    assert set(sent_to(world, "dead-letters")) == {b"deadline"}
    assert len(triggers(world)) == 1
    assert worker.failure is None
    await worker.end()


@simulated
async def test_a_fold_that_does_not_fire_what_is_due_does_not_spin(world: World) -> None:
    class Lazy(ToyFold):
        def advance(self, state: State, to: int, now: int | None) -> Any:
            return ()

    worker = await working(world, fold=Lazy())
    put(world, "browse", b"m")
    await sleep(REMIND_MS + 60_000)
    assert 1 <= worker.lane.stats.stumbled <= 8
    await worker.end()


# -- failures and stops


@simulated
async def test_a_zombie_stops_before_it_sends_anything(world: World) -> None:
    zombie = await working(world, name="zombie")
    zombie.process.freeze_at("append")
    put(world, "cart", b"m")
    await zombie.process.frozen.wait()
    owner = await working(world, name="owner")
    await owner.until(owner.all_done)
    sent = len(world.sent)
    zombie.process.thaw()
    await zombie.until(lambda: zombie.failure is not None)
    assert isinstance(zombie.failure, Fenced)
    assert world.batches[-1][1] == "zombie"
    assert len(world.sent) == sent
    put(world, "cart", b"n")
    await owner.until(owner.all_done)
    assert owner.lane.stats.repaired == 1
    await zombie.end()
    await owner.end()


@simulated
async def test_a_failed_write_is_reported_once_and_nothing_follows(world: World) -> None:
    class Failing(Process):
        async def append(self, lane: int, rows: Any) -> int | None:
            raise OSError("the broker refused")

    worker = await working(world)
    worker.process.append = Failing(world, "failing").append  # type: ignore[method-assign]
    put(world, "cart", b"m")
    await worker.until(lambda: False)
    assert isinstance(worker.failure, OSError)
    assert world.sent == []
    assert worker.process.done_offsets == {}
    await worker.end()


@simulated
async def test_a_topic_made_anew_keeps_the_lane_from_starting(world: World) -> None:
    first = await working(world)
    await first.end()
    world.ids["cart"] = "another"
    for _ in range(2):
        worker = Worker(world)
        with pytest.raises(StopWorker, match="topic cart was deleted and made again"):
            await worker.start()
        await worker.end()


@simulated
async def test_a_drained_stop_leaves_nothing_to_repeat(world: World) -> None:
    world.commit_chance = 1.0
    for n in range(2000):
        put(world, "cart", b"m%d" % (n % 40), BEGINNING - HOUR + n)
    first = await working(world)
    await first.until(lambda: first.lane.stats.records > 300)
    assert await first.lane.stop()
    assert first.failure is None
    folded = first.lane.stats.records
    assert 300 < folded < 2000
    assert sum(first.process.done_offsets.values()) == folded
    await first.end()
    second = await working(world)
    await second.until(second.all_done)
    assert second.lane.stats.skipped == 0
    assert second.lane.stats.records == 2000 - folded
    await second.end()


@simulated
async def test_a_stop_does_not_wait_for_a_broker_that_is_away(world: World) -> None:
    worker = await working(world, limits=LaneLimits(drain_ms=2000))
    worker.process.freeze_at("append")
    put(world, "cart", b"m")
    await worker.process.frozen.wait()
    started = now()
    assert not await worker.lane.stop()
    assert now() - started <= 2001
    await worker.end()


@simulated
async def test_a_stop_without_draining_drops_what_is_in_flight(world: World) -> None:
    worker = await working(world)
    worker.process.freeze_at("append")
    put(world, "cart", b"m")
    await worker.process.frozen.wait()
    assert not await worker.lane.stop(drain=False)
    worker.process.thaw()
    await sleep(1000)
    assert world.sent == []
    assert worker.process.done_offsets == {}
    await worker.end()
