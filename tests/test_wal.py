"""The fenced write-ahead changelog: what is durable, whose it is, and what a zombie can do."""

import asyncio
import random
from collections.abc import Sequence

import pytest
from sim_world import Process, World, run

from agents.group import Group
from agents.ports import Fenced, Output, Row, SourceTopic, StopWorker
from agents.recovery import (
    FENCE,
    NO_OUTBOX,
    OUTBOX,
    ROW,
    Outbox,
    Recovered,
    Recovery,
    check_topics,
    epoch_bytes,
    fence,
    recover,
)
from agents.wal import Wal

TOPICS = {"browse": "id-1", "purchase": "id-2"}
LIMIT = 100_000


class Owner:
    """Somebody who has taken the lane over."""

    def __init__(self, world: World, name: str, limit: int = LIMIT) -> None:
        self.process = Process(world, name)
        self.rows: dict[bytes, bytes] = {}
        self.limit = limit

    async def take_over(self) -> "Owner":
        self.epoch = await fence(self.process, 0, self.process.name)
        self.recovered = await recover(self.process, 0, self.epoch, self.rows)
        self.wal = Wal(self.process, 0, self.epoch, self.recovered, self.rows, self.limit)
        await self.wal.reopen(TOPICS)
        return self

    async def write(
        self, rows: dict[bytes, bytes | None], said: Sequence[bytes] = (), unwritten: bytes = b""
    ) -> None:
        for key, body in rows.items():
            if body is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = body
        outputs = [Output("triggers", b"m", value, (("ce_id", value),)) for value in said]
        await self.wal.write(Group(dict(rows), outputs, [], {"browse": 1}), {unwritten})


def said(recovered: Recovered) -> list[bytes | None]:
    return [output.value for output in recovered.outbox.outputs]


def world(**settings: object) -> World:
    return World(("browse", "purchase"), **settings)  # type: ignore[arg-type]


def test_rows_and_the_last_outbox_come_back_byte_for_byte() -> None:
    async def main() -> None:
        log = world()
        first = await Owner(log, "first").take_over()
        await first.write({b"a": b"1", b"b": b"2"}, [b"x"])
        await first.write({b"b": b"3"}, [b"y", b"z"])
        second = await Owner(log, "second").take_over()
        assert second.rows == {b"a": b"1", b"b": b"3"}
        assert second.recovered.outbox.outputs == [
            Output("triggers", b"m", b"y", (("ce_id", b"y"),)),
            Output("triggers", b"m", b"z", (("ce_id", b"z"),)),
        ]
        assert second.recovered.group == (b"b",)
        assert second.recovered.outbox.done == {"browse": 1}
        assert second.recovered.topics == TOPICS

    run(main())


def test_a_group_is_one_batch_led_by_its_outbox() -> None:
    async def main() -> None:
        log = world()
        owner = await Owner(log, "owner").take_over()
        before = len(log.batches)
        await owner.write({b"a": b"1", b"b": None}, [b"x"])
        [(_, _, batch)] = log.batches[before:]
        assert [row.key for row in batch] == [OUTBOX, ROW + b"a", ROW + b"b"]
        assert batch[1].value == epoch_bytes(owner.epoch) + b"1"
        assert batch[2].value is None

    run(main())


def test_what_earlier_groups_have_dealt_with_stays_known_whatever_topics_later_ones_had() -> None:
    async def main() -> None:
        log = world()
        first = await Owner(log, "first").take_over()
        await first.write({b"a": b"1"}, [b"x"])  # of "browse"
        await first.wal.write(Group({b"a": b"2"}, [], [], {"purchase": 7}), ())
        second = await Owner(log, "second").take_over()
        assert second.recovered.outbox.done == {"browse": 1, "purchase": 7}

    run(main())


def test_a_tombstone_deletes() -> None:
    async def main() -> None:
        log = world()
        owner = await Owner(log, "owner").take_over()
        await owner.write({b"a": b"1", b"b": b"2"})
        await owner.write({b"a": None})
        assert (await Owner(log, "next").take_over()).rows == {b"b": b"2"}
        log.compact()
        assert (await Owner(log, "last").take_over()).rows == {b"b": b"2"}

    run(main())


def test_chunks_of_any_size_recover_the_same() -> None:
    async def main() -> None:
        log = world()
        for name in ("first", "second"):
            owner = await Owner(log, name).take_over()
            for n in range(20):
                await owner.write({b"%d" % (n % 7): b"%d" % n if n % 5 else None}, [b"%d" % n])
        whole: dict[bytes, bytes] = {}
        expected = Recovery(whole)
        expected.take(log.changelog)
        rng = random.Random(1)
        for _ in range(20):
            rows: dict[bytes, bytes] = {}
            recovery = Recovery(rows)
            place = 0
            while place < len(log.changelog):
                size = rng.randrange(1, 9)
                recovery.take(log.changelog[place : place + size])
                place += size
            assert rows == whole
            assert recovery.finish() == expected.finish()

    run(main())


# -- zombies


async def frozen_writer(log: World, rows: dict[bytes, bytes | None]) -> tuple[Owner, asyncio.Task]:  # type: ignore[type-arg]
    """Return an owner that stands still right before its batch is appended."""
    zombie = await Owner(log, "zombie").take_over()
    await zombie.write({b"a": b"old", b"b": b"old"}, [b"said before"])
    zombie.process.freeze_at("append")
    writing = asyncio.create_task(zombie.write(rows, [b"said by a zombie"]))
    await zombie.process.frozen.wait()
    return zombie, writing


async def thawed(zombie: Owner, writing: asyncio.Task) -> None:  # type: ignore[type-arg]
    zombie.process.thaw()
    with pytest.raises(Fenced, match="taken over"):
        await writing


def test_a_zombie_whose_batch_was_appended_learns_that_it_is_fenced() -> None:
    async def main() -> None:
        log = world()
        zombie, writing = await frozen_writer(log, {b"a": b"zombie"})
        owner = await Owner(log, "owner").take_over()
        await owner.write({b"a": b"new"})
        await thawed(zombie, writing)
        assert log.batches[-1][1] == "zombie"

    run(main())


def test_a_zombie_is_fenced_even_if_the_fence_was_compacted_away() -> None:
    async def main() -> None:
        log = world()
        zombie, writing = await frozen_writer(log, {b"a": b"zombie"})
        owner = await Owner(log, "owner").take_over()
        await owner.write({b"a": b"new"})
        log.changelog = [row for row in log.changelog if row.key != FENCE]
        await thawed(zombie, writing)

    run(main())


def test_the_owner_writes_over_what_a_zombie_wrote_in_between() -> None:
    async def main() -> None:
        log = world()
        zombie, writing = await frozen_writer(log, {b"a": b"zombie", b"b": None, b"n": b"zombie"})
        owner = await Owner(log, "owner").take_over()
        await owner.write({b"a": b"new", b"c": b"new"}, [b"said"])
        await thawed(zombie, writing)
        await owner.write({b"d": b"newer"}, [b"said last"])
        assert owner.wal.repaired == 1
        log.compact()
        last = await Owner(log, "last").take_over()
        assert last.rows == {b"a": b"new", b"b": b"old", b"c": b"new", b"d": b"newer"}
        assert said(last.recovered) == [b"said last"]
        assert b"d" in last.recovered.group

    run(main())


def test_a_recovery_ignores_a_zombie_and_mends_what_compaction_would_break() -> None:
    async def main() -> None:
        log = world()
        zombie, writing = await frozen_writer(log, {b"a": b"zombie", b"b": None})
        owner = await Owner(log, "owner").take_over()
        await owner.write({b"c": b"new"}, [b"said"])
        await thawed(zombie, writing)
        # The owner dies before it notices; the next one has never heard of any of this.
        second = await Owner(log, "second").take_over()
        good = {b"a": b"old", b"b": b"old", b"c": b"new"}
        assert second.rows == good
        assert said(second.recovered) == [b"said"]
        log.compact()
        third = await Owner(log, "third").take_over()
        assert third.rows == good
        assert said(third.recovered) == [b"said"]
        assert b"c" in third.recovered.group

    run(main())


def test_an_idle_owner_finds_a_zombies_write_when_it_looks() -> None:
    async def main() -> None:
        log = world()
        zombie, writing = await frozen_writer(log, {b"a": b"zombie"})
        owner = await Owner(log, "owner").take_over()
        await owner.wal.check()
        assert owner.wal.repaired == 0
        await thawed(zombie, writing)
        await owner.wal.check()
        assert owner.wal.repaired == 1
        log.compact()
        last = await Owner(log, "last").take_over()
        assert last.rows == {b"a": b"old", b"b": b"old"}
        assert said(last.recovered) == [b"said before"]

    run(main())


def test_writing_over_a_zombie_leaves_rows_of_a_group_to_come_alone() -> None:
    async def main() -> None:
        log = world()
        zombie, writing = await frozen_writer(log, {b"a": b"zombie", b"b": b"zombie"})
        owner = await Owner(log, "owner").take_over()
        await thawed(zombie, writing)
        owner.rows[b"b"] = b"its outputs are in no outbox yet"
        await owner.write({b"a": b"new"}, unwritten=b"b")
        last = await Owner(log, "last").take_over()
        assert last.rows == {b"a": b"new", b"b": b"old"}

    run(main())


def test_a_look_at_the_log_leaves_rows_of_a_group_to_come_alone() -> None:
    async def main() -> None:
        log = world()
        zombie, writing = await frozen_writer(log, {b"a": b"zombie", b"b": b"zombie"})
        owner = await Owner(log, "owner").take_over()
        await owner.write({b"a": b"new"}, [b"said"])
        await thawed(zombie, writing)
        owner.rows[b"b"] = b"its outputs are in no outbox yet"
        await owner.wal.check({b"b"})
        last = await Owner(log, "last").take_over()
        assert last.rows == {b"a": b"new", b"b": b"old"}

    run(main())


def test_writing_over_a_zombie_respects_the_batch_limit_and_keeps_the_group_together() -> None:
    async def main() -> None:
        log = world()
        many: dict[bytes, bytes | None] = {b"%03d" % n: b"z" * 100 for n in range(50)}
        zombie, writing = await frozen_writer(log, many)
        owner = await Owner(log, "owner", limit=500).take_over()
        await thawed(zombie, writing)
        before = len(log.batches)
        await owner.write({b"a": b"new"}, [b"said"])
        for n in range(50):
            assert b"%03d" % n not in owner.rows
        batches = [batch for _, _, batch in log.batches[before:]]
        assert len(batches) > 2
        assert all(batch[0].key == OUTBOX for batch in batches)
        last = await Owner(log, "last").take_over()
        assert last.rows == {b"a": b"new", b"b": b"old"}
        assert b"a" in last.recovered.group

    run(main())


def test_two_who_fence_at_the_same_moment_leave_one_owner() -> None:
    async def main() -> None:
        log = world()
        one, two = await asyncio.gather(
            Owner(log, "one").take_over(),
            Owner(log, "two").take_over(),
            return_exceptions=True,
        )
        fenced = [owner for owner in (one, two) if isinstance(owner, Fenced)]
        owners = [owner for owner in (one, two) if isinstance(owner, Owner)]
        assert len(fenced) + len(owners) == 2
        loser_writes = 0
        for owner in sorted(owners, key=lambda owner: owner.epoch):
            try:
                await owner.write({b"a": owner.process.name.encode()})
            except Fenced:
                loser_writes += 1
        assert len(fenced) + loser_writes == 1

    run(main())


# -- acknowledgements


def test_an_acknowledgement_without_an_offset_is_looked_up() -> None:
    async def main() -> None:
        log = world()
        owner = await Owner(log, "owner").take_over()
        log.forget_offset_chance = 0.7
        for n in range(20):
            await owner.write({b"a": b"%d" % n}, [b"%d" % n])
        log.forget_offset_chance = 0.0
        last = await Owner(log, "last").take_over()
        assert last.rows == {b"a": b"19"}
        assert owner.wal.repaired == 0

    run(main())


def test_an_acknowledgement_without_an_offset_does_not_hide_a_zombie() -> None:
    async def main() -> None:
        log = world()
        zombie, writing = await frozen_writer(log, {b"a": b"zombie"})
        owner = await Owner(log, "owner").take_over()
        await thawed(zombie, writing)
        log.forget_offset_chance = 1.0
        task = asyncio.create_task(owner.write({b"b": b"new"}))
        await asyncio.sleep(0.004)
        log.forget_offset_chance = 0.0
        await task
        log.compact()
        assert (await Owner(log, "last").take_over()).rows == {b"a": b"old", b"b": b"new"}

    run(main())


def test_an_acknowledged_batch_that_is_not_there_stops_the_worker() -> None:
    class Liar(Process):
        lying = False

        async def append(self, lane: int, rows: Sequence[Row]) -> int | None:
            return None if self.lying else await super().append(lane, rows)

    async def main() -> None:
        log = world()
        owner = Owner(log, "owner")
        owner.process = liar = Liar(log, "owner")
        await owner.take_over()
        liar.lying = True
        with pytest.raises(StopWorker, match="does not hold"):
            await owner.write({b"a": b"1"})

    run(main())


def test_a_fence_of_unknown_offset_is_followed_by_another() -> None:
    async def main() -> None:
        log = world(forget_offset_chance=0.2)
        epochs = [await fence(Process(log, f"p{n}"), 0, f"p{n}") for n in range(30)]
        assert log.changelog_end > 30
        assert all(log.changelog[epoch].value == b"p%d" % n for n, epoch in enumerate(epochs))
        log.forget_offset_chance = 1.0
        with pytest.raises(StopWorker, match="without offsets"):
            await fence(Process(log, "last"), 0, "last")

    run(main())


def test_a_changelog_that_shrank_stops_the_worker() -> None:
    async def main() -> None:
        log = world()
        owner = await Owner(log, "owner").take_over()
        await owner.write({b"a": b"1"})
        log.changelog_end -= 1
        with pytest.raises(StopWorker, match="lost acknowledged records"):
            await owner.wal.check()

    run(main())


# -- the member topics' identity


def recovered_with(done: dict[str, int]) -> Recovered:
    return Recovered(9, Outbox(4, done, []), (), frozenset(), TOPICS)


def test_topics_that_are_as_they_were_pass() -> None:
    topics = {"browse": SourceTopic("id-1", 7), "purchase": SourceTopic("id-2", 0)}
    check_topics(recovered_with({"browse": 7}), topics)
    check_topics(Recovered(0, NO_OUTBOX, (), frozenset(), {}), topics)


def test_a_new_member_topic_is_welcome() -> None:
    check_topics(recovered_with({}), {"cart": SourceTopic("id-3", 0)})


def test_a_topic_made_anew_stops_the_worker_and_keeps_stopping_it() -> None:
    async def main() -> None:
        log = world()
        await Owner(log, "first").take_over()
        for name in ("second", "third"):
            owner = Owner(log, name)
            epoch = await fence(owner.process, 0, name)
            recovered = await recover(owner.process, 0, epoch, owner.rows)
            with pytest.raises(StopWorker, match="deleted and made again"):
                check_topics(recovered, {"browse": SourceTopic("other", 7)})

    run(main())


def test_a_topic_that_ends_before_what_was_folded_stops_the_worker() -> None:
    with pytest.raises(StopWorker, match="ends at offset 6, but was folded up to 7"):
        check_topics(recovered_with({"browse": 7}), {"browse": SourceTopic("id-1", 6)})
