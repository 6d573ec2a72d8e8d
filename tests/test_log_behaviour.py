"""What we rely on in Apache Kafka, held against the simulated cluster and a real one alike.

The simulation may do nothing that a broker does not do, so whatever it claims is asked of both.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import pairwise

import pytest
from faust.assignor.client_assignment import CopartitionedAssignment
from faust.assignor.copartitioned_assignor import CopartitionedAssignor
from hypothesis import given
from hypothesis import strategies as st
from simulation.broker import Appended, NewRecord, Record, TopicConfig
from simulation.cluster import Cluster, Member, Writer, on_simulation
from simulation.errors import (
    BatchTooLarge,
    InvalidRecord,
    InvalidTimestamp,
    OffsetOutOfRange,
    OutOfOrderSequence,
    RebalanceUnderWay,
    StaleGeneration,
    UnknownMember,
)
from simulation.groups import Joined, assign

from agents.ports import LoggedRow, Row

HOUR = 3_600_000
SESSION = 6_000
"""Brokers take no shorter session time-out."""
LONG = 60_000
"""A time-out that no test waits for."""

CHANGELOG = TopicConfig(compact=True, log_append_time=True)


def behaviour(check: Callable[[Cluster], Awaitable[None]]) -> Callable[..., None]:
    """Make two tests of it: one in the simulation, one on a broker."""

    @pytest.mark.parametrize("where", ["simulated", pytest.param("kafka", marks=pytest.mark.kafka)])
    def test(where: str, request: pytest.FixtureRequest) -> None:
        if where == "simulated":
            on_simulation(check)
        else:
            from simulation.kafka_cluster import on_kafka

            on_kafka(request.getfixturevalue("kafka_stack").broker, check)

    test.__doc__ = check.__doc__
    return test


async def rows_of(writer: Writer, start: int = 0) -> list[LoggedRow]:
    end = await writer.end(0)
    return [row async for chunk in writer.read(0, start, end) for row in chunk]


def some(count: int, cluster: Cluster, name: str = "k") -> list[NewRecord]:
    return [NewRecord(b"%s%d" % (name.encode(), i), b"v", cluster.now()) for i in range(count)]


async def read(cluster: Cluster, topic: str, start: int = 0) -> list[Record]:
    """Return all that there is; one fetch may bring less."""
    records: list[Record] = []
    _, end = await cluster.ends(topic, 0)
    while start < end:
        fetched, start = await cluster.fetch(topic, 0, start)
        records += fetched
    return records


# -- batches


@behaviour
async def test_batches_follow_each_other_and_the_end_is_the_offset_of_the_next(
    cluster: Cluster,
) -> None:
    writer = await cluster.writer(await cluster.create_topic(CHANGELOG))
    assert await writer.end(0) == 0
    assert await writer.append(0, [Row(b"a", b"1"), Row(b"b", b"2")]) == 0
    assert await writer.append(0, [Row(b"c", None)]) == 2
    assert await writer.end(0) == 3
    assert await rows_of(writer) == [(0, b"a", b"1"), (1, b"b", b"2"), (2, b"c", None)]


@behaviour
async def test_partitions_count_for_themselves(cluster: Cluster) -> None:
    writer = await cluster.writer(await cluster.create_topic(TopicConfig(partitions=2)))
    assert await writer.append(0, [Row(b"a", b"1"), Row(b"b", b"2")]) == 0
    assert await writer.append(1, [Row(b"c", b"3")]) == 0
    assert (await writer.end(0), await writer.end(1)) == (2, 1)


@behaviour
async def test_a_batch_that_is_too_large_leaves_nothing(cluster: Cluster) -> None:
    topic = await cluster.create_topic(TopicConfig(max_batch_bytes=2_000))
    writer = await cluster.writer(topic)
    with pytest.raises(BatchTooLarge):
        await writer.append(0, [Row(b"%d" % i, bytes(300)) for i in range(10)])
    assert await writer.end(0) == 0
    assert await (await cluster.writer(topic)).append(0, [Row(b"a", bytes(300))]) == 0


@behaviour
async def test_after_a_refused_batch_a_known_producer_is_out_of_order(cluster: Cluster) -> None:
    writer = await cluster.writer(await cluster.create_topic(TopicConfig(max_batch_bytes=2_000)))
    assert await writer.append(0, [Row(b"a", b"1")]) == 0
    with pytest.raises(BatchTooLarge):
        await writer.append(0, [Row(b"%d" % i, bytes(300)) for i in range(10)])
    with pytest.raises(OutOfOrderSequence):
        await writer.append(0, [Row(b"a", b"2")])
    assert await writer.end(0) == 1


@behaviour
async def test_one_bad_record_refuses_its_whole_batch(cluster: Cluster) -> None:
    topic = await cluster.create_topic(TopicConfig(compact=True))
    producer = await cluster.new_producer()
    now = cluster.now()
    good = NewRecord(b"a", b"1", now)
    with pytest.raises(InvalidRecord):
        await cluster.append(producer, topic, 0, 0, [good, NewRecord(None, b"no key", now)])
    assert await cluster.ends(topic, 0) == (0, 0)


@behaviour
async def test_two_writers_interleave_whole_batches_and_see_each_other_in_the_gaps(
    cluster: Cluster,
) -> None:
    topic = await cluster.create_topic(CHANGELOG)
    names = [b"a", b"b"]
    writers = [await cluster.writer(topic) for _ in names]

    def batch(name: bytes, number: int) -> list[Row]:
        return [Row(b"%s-%d-%d" % (name, number, i), b"v") for i in range(5)]

    async def write(writer: Writer, name: bytes) -> list[int | None]:
        return [await writer.append(0, batch(name, number)) for number in range(20)]

    mine, other = await asyncio.gather(*map(write, writers, names))
    rows = await rows_of(writers[0])
    for name, offsets in zip(names, [mine, other], strict=True):
        for number, first in enumerate(offsets):
            assert first is not None
            found = [Row(row.key, row.value) for row in rows[first : first + 5]]
            assert found == batch(name, number)
    assert {*mine, *other} == set(range(0, 200, 5))
    # Where another's batch came between, the own offsets jump.
    assert any((later or 0) - (earlier or 0) > 5 for earlier, later in pairwise(mine))


# -- requests and answers that get lost


@behaviour
async def test_a_lost_request_is_sent_again(cluster: Cluster) -> None:
    writer = await cluster.writer(await cluster.create_topic(CHANGELOG))
    await writer.append(0, [Row(b"a", b"1")])
    writer.lose_request()
    assert await writer.append(0, [Row(b"b", b"2"), Row(b"c", b"3")]) == 1
    assert await writer.append(0, [Row(b"d", b"4")]) == 3


@behaviour
async def test_after_a_lost_acknowledgement_the_batch_is_there_once_and_tells_where(
    cluster: Cluster,
) -> None:
    writer = await cluster.writer(await cluster.create_topic(CHANGELOG))
    await writer.append(0, [Row(b"a", b"1")])
    writer.lose_acknowledgement()
    assert await writer.append(0, [Row(b"b", b"2"), Row(b"c", b"3")]) == 1
    assert await writer.append(0, [Row(b"d", b"4")]) == 3
    assert [row.key for row in await rows_of(writer)] == [b"a", b"b", b"c", b"d"]


@behaviour
async def test_another_writer_may_come_between_a_batch_and_its_retry(cluster: Cluster) -> None:
    topic = await cluster.create_topic(CHANGELOG)
    writer, other = await cluster.writer(topic), await cluster.writer(topic)
    writer.lose_acknowledgement()
    mine = asyncio.create_task(writer.append(0, [Row(b"mine", b"1")]))
    while await other.end(0) == 0:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    assert await other.append(0, [Row(b"others", b"1")]) == 1
    assert await mine == 0
    assert await other.end(0) == 2


@behaviour
async def test_each_of_the_last_five_batches_is_known_again(cluster: Cluster) -> None:
    topic = await cluster.create_topic(TopicConfig(log_append_time=True))
    producer = await cluster.new_producer()
    batches = [some(2, cluster) for _ in range(5)]
    first = []
    for i, batch in enumerate(batches):
        first.append(await cluster.append(producer, topic, 0, 2 * i, batch))
        await asyncio.sleep(0.003)
    again = [
        await cluster.append(producer, topic, 0, 2 * i, batch) for i, batch in enumerate(batches)
    ]
    assert [acknowledged.offset for acknowledged in first] == [0, 2, 4, 6, 8]
    # The broker's time is that of the append, not of the retry.
    assert again == first
    assert await cluster.ends(topic, 0) == (0, 10)


@behaviour
async def test_a_batch_older_than_the_last_five_is_not_known_again(cluster: Cluster) -> None:
    topic = await cluster.create_topic(TopicConfig())
    producer = await cluster.new_producer()
    for i in range(6):
        await cluster.append(producer, topic, 0, i, some(1, cluster))
    with pytest.raises(OutOfOrderSequence):
        await cluster.append(producer, topic, 0, 0, some(1, cluster))
    assert (await cluster.append(producer, topic, 0, 1, some(1, cluster))).offset == 1
    assert await cluster.ends(topic, 0) == (0, 6)


@behaviour
async def test_a_retry_is_known_by_its_numbers_alone(cluster: Cluster) -> None:
    topic = await cluster.create_topic(TopicConfig())
    producer, other = await cluster.new_producer(), await cluster.new_producer()
    await cluster.append(producer, topic, 0, 0, some(2, cluster))
    assert (await cluster.append(producer, topic, 0, 0, some(2, cluster, "else"))).offset == 0
    with pytest.raises(OutOfOrderSequence):
        await cluster.append(producer, topic, 0, 0, some(3, cluster))
    with pytest.raises(OutOfOrderSequence):
        await cluster.append(producer, topic, 0, 3, some(1, cluster))
    assert (await cluster.append(other, topic, 0, 0, some(2, cluster))).offset == 2
    assert [record.key for record in await read(cluster, topic)] == [b"k0", b"k1"] * 2


@behaviour
async def test_a_producer_that_a_partition_does_not_know_may_begin_with_any_number(
    cluster: Cluster,
) -> None:
    topic = await cluster.create_topic(TopicConfig())
    producer = await cluster.new_producer()
    assert (await cluster.append(producer, topic, 0, 7, some(1, cluster))).offset == 0
    with pytest.raises(OutOfOrderSequence):
        await cluster.append(producer, topic, 0, 9, some(1, cluster))


# -- times


@behaviour
async def test_a_topic_of_its_own_time_stamps_the_batch_and_tells_so(cluster: Cluster) -> None:
    topic = await cluster.create_topic(CHANGELOG)
    producer = await cluster.new_producer()
    before = cluster.now()
    records = [NewRecord(b"a", b"1", before - 5 * HOUR), NewRecord(b"b", b"2", before + 5 * HOUR)]
    acknowledged = await cluster.append(producer, topic, 0, 0, records)
    assert acknowledged.timestamp is not None
    assert before <= acknowledged.timestamp <= cluster.now()
    stamps = [record.timestamp for record in await read(cluster, topic)]
    assert stamps == [acknowledged.timestamp] * 2


@behaviour
async def test_else_records_keep_the_times_of_their_producer(cluster: Cluster) -> None:
    topic = await cluster.create_topic(TopicConfig())
    producer = await cluster.new_producer()
    now = cluster.now()
    times = [now - 1000 * HOUR, now + HOUR // 2, 0]
    records = [NewRecord(b"k", b"v", at, (("h", b"1"),)) for at in times]
    assert await cluster.append(producer, topic, 0, 0, records) == Appended(0, None)
    found = await read(cluster, topic)
    assert [record.timestamp for record in found] == times
    assert [record.headers for record in found] == [(("h", b"1"),)] * 3


@behaviour
async def test_a_retry_where_producers_tell_the_time(cluster: Cluster) -> None:
    topic = await cluster.create_topic(TopicConfig())
    producer = await cluster.new_producer()
    now = cluster.now()
    records = [NewRecord(b"a", b"1", now - 7), NewRecord(b"b", b"1", now - 9)]
    assert await cluster.append(producer, topic, 0, 0, records) == Appended(0, None)
    assert await cluster.append(producer, topic, 0, 0, records) == Appended(0, now - 7)


@behaviour
async def test_a_time_more_than_an_hour_ahead_is_refused_with_its_whole_batch(
    cluster: Cluster,
) -> None:
    topic = await cluster.create_topic(TopicConfig())
    producer = await cluster.new_producer()
    ahead = NewRecord(b"k", b"v", cluster.now() + HOUR + 60_000)
    with pytest.raises(InvalidTimestamp):
        await cluster.append(producer, topic, 0, 0, [*some(1, cluster), ahead])
    assert await cluster.ends(topic, 0) == (0, 0)


# -- reading


@behaviour
async def test_a_fetch_begins_and_ends_inside_batches(cluster: Cluster) -> None:
    topic = await cluster.create_topic(TopicConfig())
    producer = await cluster.new_producer()
    await cluster.append(producer, topic, 0, 0, some(4, cluster))
    await cluster.append(producer, topic, 0, 4, some(4, cluster))
    records, position = await cluster.fetch(topic, 0, 2, most=2)
    assert ([record.offset for record in records], position) == ([2, 3], 4)
    records, position = await cluster.fetch(topic, 0, 5, most=1)
    assert ([record.offset for record in records], position) == ([5], 6)
    assert await cluster.fetch(topic, 0, 8) == ([], 8)


@behaviour
async def test_the_position_moves_over_the_marker_of_a_transaction(cluster: Cluster) -> None:
    topic = await cluster.create_topic(TopicConfig())
    await cluster.transact(topic, 0, some(1, cluster)[0])
    assert await cluster.ends(topic, 0) == (0, 2)
    records, position = await cluster.fetch(topic, 0, 0)
    assert [record.offset for record in records] == [0]
    if position == 1:
        records, position = await cluster.fetch(topic, 0, 1)
        assert records == []
    assert position == 2


@behaviour
async def test_what_was_deleted_and_what_is_not_there_yet_is_out_of_range(
    cluster: Cluster,
) -> None:
    topic = await cluster.create_topic(TopicConfig())
    producer = await cluster.new_producer()
    await cluster.append(producer, topic, 0, 0, some(5, cluster))
    await cluster.delete_records(topic, 0, 3)
    assert await cluster.ends(topic, 0) == (3, 5)
    for beside in (2, 6):
        with pytest.raises(OffsetOutOfRange):
            await cluster.fetch(topic, 0, beside)
    assert [record.offset for record in await read(cluster, topic, 3)] == [3, 4]
    await cluster.delete_records(topic, 0, 5)
    assert await cluster.ends(topic, 0) == (5, 5)
    assert (await cluster.append(producer, topic, 0, 5, some(1, cluster))).offset == 5


# -- compaction


def places(records: Sequence[Record]) -> list[tuple[int, bytes | None]]:
    return [(record.offset, record.key) for record in records]


async def compacted(
    cluster: Cluster, topic: str, left: Sequence[tuple[int, bytes | None]]
) -> list[Record]:
    """Return what compaction leaves, once that is what is expected."""
    records: list[Record] = []

    async def is_done() -> bool:
        records[:] = await read(cluster, topic)
        return places(records) == left

    await cluster.compact(topic, 0, is_done)
    return records


@behaviour
async def test_compaction_keeps_the_last_of_each_key_at_its_offset_and_tombstones_a_while(
    cluster: Cluster,
) -> None:
    topic = await cluster.create_topic(TopicConfig(compact=True, min_compaction_lag=HOUR))
    producer = await cluster.new_producer()
    now = cluster.now()
    written = 0

    async def append(at: int, *keys: str) -> None:
        # Lower case is a value, upper case a tombstone.
        nonlocal written
        records = [
            NewRecord(key.lower().encode(), b"v" if key.islower() else None, at) for key in keys
        ]
        await cluster.append(producer, topic, 0, written, records)
        written += len(keys)

    await append(now - 9 * HOUR, "a", "b", "c")
    await append(now - 9 * HOUR + 10, "d")
    await append(now - 9 * HOUR + 20, "a", "B")
    # Too young, and so is all that comes behind it, however old.
    await append(now, "d", "d")
    await append(now - 9 * HOUR, "a")
    # The newest is in the active segment.
    await append(now + 10, "a")
    left = [(2, b"c"), (3, b"d"), (4, b"a"), (5, b"b"), (6, b"d"), (7, b"d"), (8, b"a"), (9, b"a")]
    records = await compacted(cluster, topic, left)
    assert [record.value for record in records if record.key == b"b"] == [None]
    assert await cluster.ends(topic, 0) == (0, 10)
    # Reading from a hole goes on behind it, and positions move over holes.
    found, position = await cluster.fetch(topic, 0, 0, most=1)
    assert (places(found), position) == ([(2, b"c")], 3)
    assert places(await read(cluster, topic, 1)) == left


@behaviour
async def test_a_tombstone_that_is_old_enough_goes_with_a_later_compaction(
    cluster: Cluster,
) -> None:
    topic = await cluster.create_topic(TopicConfig(compact=True, delete_retention=0))
    producer = await cluster.new_producer()
    at = cluster.now() - HOUR
    # All in one batch, or a broker could meet the tombstone before the rest is there.
    rows = [(b"a", b"1"), (b"a", None), (b"b", b"1"), (b"b", b"2")]
    await cluster.append(producer, topic, 0, 0, [NewRecord(*row, at) for row in rows])
    await cluster.append(producer, topic, 0, 4, [NewRecord(b"c", b"1", at + 10)])
    first = [(1, b"a"), (3, b"b"), (4, b"c")]
    await compacted(cluster, topic, first)
    for sequence in (5, 6):
        record = NewRecord(b"c", b"2", at + 10 * sequence)
        await cluster.append(producer, topic, 0, sequence, [record])
    later = [(3, b"b"), (5, b"c"), (6, b"c")]
    await compacted(cluster, topic, later)


# -- topics


@behaviour
async def test_a_topic_made_anew_has_another_id_no_records_and_no_offsets_of_groups(
    cluster: Cluster,
) -> None:
    topic = await cluster.create_topic(TopicConfig())
    id_ = await cluster.topic_id(topic)
    producer = await cluster.new_producer()
    await cluster.append(producer, topic, 0, 0, some(3, cluster))
    member = await cluster.member("readers", SESSION, LONG)
    joined = await formed(member)
    await member.commit(joined.generation, {(topic, 0): 2})
    assert await cluster.committed("readers", topic, 0) == 2
    await cluster.delete_topic(topic)
    await cluster.create_topic(TopicConfig(), topic)
    assert await cluster.topic_id(topic) != id_
    assert await cluster.ends(topic, 0) == (0, 0)
    assert await cluster.committed("readers", topic, 0) is None
    # Whoever wrote before goes on counting.
    assert (await cluster.append(producer, topic, 0, 3, some(1, cluster))).offset == 0


@behaviour
async def test_a_writer_waits_for_a_topic_that_was_deleted_and_goes_on_in_the_new_one(
    cluster: Cluster,
) -> None:
    topic = await cluster.create_topic(CHANGELOG)
    writer = await cluster.writer(topic)
    await writer.append(0, [Row(b"a", b"1"), Row(b"b", b"1")])
    await cluster.delete_topic(topic)
    waiting = asyncio.create_task(writer.append(0, [Row(b"c", b"1")]))
    assert await waits(waiting)
    await cluster.create_topic(CHANGELOG, topic)
    assert await waiting == 0
    assert await rows_of(await cluster.writer(topic)) == [(0, b"c", b"1")]


# -- groups


async def formed(leader: Member, other: Member | None = None) -> Joined:
    """Let them join and be assigned their own metadata; return what the leader was told."""
    joined = await leader.join(b"leader")
    assert await leader.sync(joined.generation, {leader.id: b"leader"}) == b"leader"
    if other is not None:
        joining = asyncio.create_task(other.join(b"other"))
        await told_to_join(leader, joined.generation)
        joined, follower = await asyncio.gather(leader.join(b"leader"), joining)
        assert follower == (joined.generation, leader.id, {})
        assert joined.members == {leader.id: b"leader", other.id: b"other"}
        assert await leader.sync(joined.generation, {other.id: b"other"}) == b""
        assert await other.sync(joined.generation) == b"other"
    return joined


async def told_to_join(member: Member, generation: int) -> None:
    """Keep alive until the group wants everybody to join again."""
    while True:
        try:
            await member.heartbeat(generation)
        except RebalanceUnderWay:
            return
        await asyncio.sleep(0.2)


async def waits(task: "asyncio.Task[object]") -> bool:
    await asyncio.sleep(0.3)
    return not task.done()


@behaviour
async def test_a_generation_forms_when_all_have_joined_and_works_when_its_leader_has_assigned(
    cluster: Cluster,
) -> None:
    one, two = [await cluster.member("g", SESSION, LONG) for _ in range(2)]
    first = await one.join(b"one")
    assert (first.leader, first.members) == (one.id, {one.id: b"one"})
    assert await one.sync(first.generation, {one.id: b"all"}) == b"all"
    await one.heartbeat(first.generation)
    joining = asyncio.create_task(two.join(b"two"))
    await told_to_join(one, first.generation)
    assert await waits(joining)
    again = await one.join(b"one")
    assert again.generation == first.generation + 1
    assert again.members == {one.id: b"one", two.id: b"two"}
    assert await joining == (again.generation, one.id, {})
    syncing = asyncio.create_task(two.sync(again.generation))
    assert await waits(syncing)
    assert await one.sync(again.generation, {one.id: b"odd", two.id: b"even"}) == b"odd"
    assert await syncing == b"even"
    # Whoever lost the answer may ask once more.
    assert await two.sync(again.generation) == b"even"


@behaviour
async def test_commits_of_the_generation_are_taken_until_the_next_one_forms(
    cluster: Cluster,
) -> None:
    topic = await cluster.create_topic(TopicConfig(partitions=2))
    one, two = [await cluster.member("g", SESSION, LONG) for _ in range(2)]
    assert await cluster.committed("g", topic, 0) is None
    first = await formed(one)
    await one.commit(first.generation, {(topic, 0): 5})
    joining = asyncio.create_task(two.join(b"two"))
    await told_to_join(one, first.generation)
    # What was under way may still be committed, also backwards.
    await one.commit(first.generation, {(topic, 0): 4, (topic, 1): 7})
    again, _ = await asyncio.gather(one.join(b"one"), joining)
    with pytest.raises(StaleGeneration):
        await one.commit(first.generation, {(topic, 0): 9})
    with pytest.raises(StaleGeneration):
        await one.heartbeat(first.generation)
    with pytest.raises(RebalanceUnderWay):
        await one.commit(again.generation, {(topic, 0): 9})
    await one.heartbeat(again.generation)
    assert await cluster.committed("g", topic, 0) == 4
    await one.sync(again.generation, {})
    assert await two.sync(again.generation) == b""
    await two.commit(again.generation, {(topic, 0): 6})
    assert await cluster.committed("g", topic, 0) == 6
    assert await cluster.committed("g", topic, 1) == 7


@behaviour
async def test_a_silent_member_is_expelled_and_may_only_come_back_as_another(
    cluster: Cluster,
) -> None:
    topic = await cluster.create_topic(TopicConfig())
    one, two = [await cluster.member("g", SESSION, LONG) for _ in range(2)]
    both = await formed(one, two)
    began = cluster.now()
    await told_to_join(one, both.generation)
    # It was last heard of somewhat before.
    assert cluster.now() - began > SESSION - 1_000
    alone = await one.join(b"one")
    assert set(alone.members) == {one.id}
    await one.sync(alone.generation, {})
    for call in (
        two.commit(both.generation, {(topic, 0): 3}),
        two.heartbeat(both.generation),
        two.join(b"two"),
    ):
        with pytest.raises(UnknownMember):
            await call
    assert await cluster.committed("g", topic, 0) is None
    new = await cluster.member("g", SESSION, LONG)
    joining = asyncio.create_task(new.join(b"two"))
    await told_to_join(one, alone.generation)
    again, _ = await asyncio.gather(one.join(b"one"), joining)
    assert set(again.members) == {one.id, new.id}


@behaviour
async def test_who_does_not_join_again_in_time_is_left_out_though_alive(cluster: Cluster) -> None:
    one, two, three = [await cluster.member("g", SESSION, 1_000) for _ in range(3)]
    both = await formed(one, two)
    joining = asyncio.create_task(three.join(b"three"))
    await told_to_join(one, both.generation)
    with pytest.raises(RebalanceUnderWay):
        await two.heartbeat(both.generation)
    again, _ = await asyncio.gather(one.join(b"one"), joining)
    assert set(again.members) == {one.id, three.id}
    with pytest.raises(UnknownMember):
        await two.heartbeat(both.generation)


@behaviour
async def test_who_leaves_is_not_waited_for(cluster: Cluster) -> None:
    one, two = [await cluster.member("g", SESSION, LONG) for _ in range(2)]
    both = await formed(one, two)
    await one.leave()
    with pytest.raises(RebalanceUnderWay):
        await two.heartbeat(both.generation)
    alone = await two.join(b"two")
    assert (alone.leader, set(alone.members)) == (two.id, {two.id})
    with pytest.raises(UnknownMember):
        await one.heartbeat(both.generation)
    with pytest.raises(UnknownMember):
        await one.leave()


@behaviour
async def test_a_follower_that_asks_again_disturbs_nobody_unless_it_has_news(
    cluster: Cluster,
) -> None:
    one, two = [await cluster.member("g", SESSION, LONG) for _ in range(2)]
    both = await formed(one, two)
    assert (await two.join(b"other")).generation == both.generation
    await one.heartbeat(both.generation)
    joining = asyncio.create_task(two.join(b"news"))
    await told_to_join(one, both.generation)
    again, _ = await asyncio.gather(one.join(b"leader"), joining)
    assert again.members == {one.id: b"leader", two.id: b"news"}


@behaviour
async def test_a_leader_that_asks_again_begins_anew(cluster: Cluster) -> None:
    one, two = [await cluster.member("g", SESSION, LONG) for _ in range(2)]
    both = await formed(one, two)
    joining = asyncio.create_task(one.join(b"leader"))
    await told_to_join(two, both.generation)
    again, _ = await asyncio.gather(joining, two.join(b"other"))
    assert again.generation == both.generation + 1


@behaviour
async def test_a_leader_that_dies_before_it_has_assigned_is_replaced(cluster: Cluster) -> None:
    one, two = [await cluster.member("g", SESSION, LONG) for _ in range(2)]
    first = await formed(one)
    joining = asyncio.create_task(two.join(b"two"))
    await told_to_join(one, first.generation)
    again, _ = await asyncio.gather(one.join(b"one"), joining)
    with pytest.raises(RebalanceUnderWay):
        await two.sync(again.generation)
    alone = await two.join(b"two")
    assert (alone.leader, set(alone.members)) == (two.id, {two.id})


@behaviour
async def test_strangers_commit_nothing(cluster: Cluster) -> None:
    topic = await cluster.create_topic(TopicConfig())
    one, stranger = [await cluster.member("g", SESSION, LONG) for _ in range(2)]
    joined = await formed(one)
    stranger.id = "nobody"  # type: ignore[misc]
    with pytest.raises(UnknownMember):
        await stranger.commit(joined.generation, {(topic, 0): 1})
    with pytest.raises(StaleGeneration):
        await one.commit(joined.generation + 1, {(topic, 0): 1})


@given(
    lanes=st.integers(1, 12),
    held=st.lists(st.frozensets(st.integers(0, 11)), min_size=1, max_size=5),
)
def test_lanes_are_dealt_out_as_faust_does(lanes: int, held: list[frozenset[int]]) -> None:
    before = {
        f"w{n}": frozenset(lane for lane in had if lane < lanes) for n, had in enumerate(held)
    }
    faust = CopartitionedAssignor(
        ["t"],
        {name: CopartitionedAssignment(actives=set(had)) for name, had in before.items()},
        lanes,
        replicas=0,
    ).get_assignment()
    assert assign(lanes, before) == {name: found.actives for name, found in faust.items()}
