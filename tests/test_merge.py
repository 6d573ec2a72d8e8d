"""The merge of a lane's topics, and the safe time that follows from it."""

import random

import pytest
from sim_world import Record

from agents.day_ends import DayEnds
from agents.deadlines import DeadlineIndex
from agents.fold import Decoded, Refused
from agents.merge import Merge, Wait
from agents.pace import Pace
from agents.ports import Output, SourceRecord, StopWorker
from agents.safe_time import OUTAGE_MS, SafeTime

TOPICS = ("member", "browse", "purchase")


def decode(record: SourceRecord) -> Decoded[str] | Refused:
    if record.value is None:
        return Refused((Output("dead-letters", b"", str(record.offset).encode()),))
    return Decoded(record.key or b"", record.timestamp, record.topic)


class Lane:
    def __init__(self) -> None:
        self.refused: list[Refused] = []
        self.merge: Merge[str] = Merge(TOPICS, decode, self.refused.append)

    def feed(self, topic: str, *times: int | None, start: int = 0) -> None:
        self.merge.by_name[topic].feed(
            [
                Record(topic, start + place, at or 0, b"m", None if at is None else b"x")
                for place, at in enumerate(times)
            ]
        )

    def ends(self, member: int, browse: int, purchase: int) -> None:
        """Tell the ends, asked for with everything fed so far."""
        ends = {"member": member, "browse": browse, "purchase": purchase}
        self.merge.told_ends(ends, self.merge.fed())

    def take(self) -> list[tuple[str, int]]:
        """Take what may be taken, in runs as a lane does."""
        taken: list[tuple[str, int]] = []
        while True:
            lead = self.merge.lead()
            if lead is None or lead.wait is not Wait.NOTHING:
                return taken
            queue = lead.queue
            while True:
                assert queue.record is not None
                taken.append((queue.name, queue.at))
                queue.taken = queue.record.offset + 1
                if not queue.load():
                    break
                if queue.at > lead.last_at or queue.record.offset >= lead.below:
                    break


def test_records_come_in_order_of_time_whatever_their_topic() -> None:
    lane = Lane()
    lane.feed("purchase", 1, 5, 9)
    lane.feed("browse", 2, 3, 8)
    lane.feed("member", 4, 6, 7)
    lane.ends(3, 3, 3)
    assert [at for _, at in lane.take()] == [1, 2, 3, 4, 5, 6, 7, 8, 9]


def test_an_answer_proves_nothing_about_what_was_fed_after_its_question() -> None:
    lane = Lane()
    lane.feed("browse", 1)
    fed = lane.merge.fed()
    # While the question is on its way a view (2) and then a purchase (3) arrive. The broker has
    # looked at the views before, and looks at the purchases after.
    lane.feed("purchase", 3)
    lane.merge.told_ends({"member": 0, "browse": 1, "purchase": 1}, fed)
    assert lane.take() == [("browse", 1)]
    lead = lane.merge.lead()
    assert lead is not None
    assert lead.wait is Wait.ENDS
    lane.ends(0, 2, 1)
    assert lane.take() == []
    lane.feed("browse", 2, start=1)
    lane.ends(0, 2, 1)
    assert lane.take() == [("browse", 2), ("purchase", 3)]


def test_ties_go_by_the_order_of_topics_and_then_by_offset() -> None:
    lane = Lane()
    lane.feed("purchase", 5, 5)
    lane.feed("browse", 5, 5, 7)
    lane.feed("member", 5, 7)
    lane.ends(2, 3, 2)
    assert lane.take() == [
        ("member", 5),
        ("browse", 5),
        ("browse", 5),
        ("purchase", 5),
        ("purchase", 5),
        ("member", 7),
        ("browse", 7),
    ]


def test_a_topic_is_never_reordered_inside_itself() -> None:
    lane = Lane()
    lane.feed("browse", 9, 2, 3)
    lane.feed("purchase", 4)
    lane.ends(0, 3, 1)
    assert lane.take() == [("purchase", 4), ("browse", 9), ("browse", 2), ("browse", 3)]


def test_a_lagging_topic_holds_the_others_back_while_the_broker_has_its_records() -> None:
    lane = Lane()
    lane.feed("browse", 10, 20)
    lane.ends(0, 2, 1)
    lead = lane.merge.lead()
    assert lead is not None
    assert lead.wait is Wait.RECORDS
    lane.feed("purchase", 5)
    lane.ends(0, 2, 1)
    assert lane.take() == [("purchase", 5), ("browse", 10), ("browse", 20)]


def test_records_not_yet_produced_are_not_waited_for() -> None:
    lane = Lane()
    lane.feed("browse", 10)
    lane.ends(0, 1, 0)
    assert lane.take() == [("browse", 10)]


def test_a_record_younger_than_the_last_answer_waits_for_a_new_one() -> None:
    lane = Lane()
    lane.feed("browse", 10)
    lane.ends(0, 1, 0)
    lane.take()
    lane.feed("browse", 30, start=1)
    lead = lane.merge.lead()
    assert lead is not None
    assert lead.wait is Wait.ENDS
    # Meanwhile a purchase was produced: it was there before the question was asked.
    lane.ends(0, 2, 1)
    assert lane.take() == []
    lane.feed("purchase", 25)
    lane.ends(0, 2, 1)
    assert lane.take() == [("purchase", 25), ("browse", 30)]


def test_no_ends_are_needed_while_every_topic_has_something_queued() -> None:
    lane = Lane()
    lane.feed("member", 1, 9)
    lane.feed("browse", 2, 9)
    lane.feed("purchase", 3, 9)
    assert lane.take()[:3] == [("member", 1), ("browse", 2), ("purchase", 3)]


def test_a_lower_answer_frees_a_lane_from_an_offset_without_a_record() -> None:
    lane = Lane()
    lane.feed("browse", 10)
    lane.ends(0, 1, 2)
    lane.feed("purchase", 4)
    lane.ends(0, 1, 2)
    assert lane.take() == [("purchase", 4)]
    # Offset 1 of purchase turned out to be a transaction's marker.
    lane.ends(0, 1, 1)
    assert lane.take() == [("browse", 10)]


def test_repeated_records_are_left_out_and_holes_are_fine() -> None:
    lane = Lane()
    lane.feed("browse", 1, 2, 3)
    lane.feed("browse", 1, 2, 3, 4)
    lane.feed("browse", 8, start=7)
    lane.ends(0, 8, 0)
    assert [at for _, at in lane.take()] == [1, 2, 3, 4, 8]
    assert lane.merge.by_name["browse"].taken == 8


def test_records_from_before_the_first_ones_stop_the_worker() -> None:
    lane = Lane()
    lane.feed("browse", 5, start=5)
    with pytest.raises(StopWorker, match="offset 5 and then from 3"):
        lane.feed("browse", 3, 4, 5, start=3)


def test_refused_records_are_dealt_with_in_their_turn() -> None:
    lane = Lane()
    lane.feed("browse", None, 4, None, None)
    lane.ends(0, 4, 0)
    assert lane.take() == [("browse", 4)]
    assert [refused.outputs[0].value for refused in lane.refused] == [b"0", b"2", b"3"]
    assert lane.merge.by_name["browse"].taken == 4


def test_any_chunking_of_ordered_topics_gives_one_order() -> None:
    rng = random.Random(5)
    for _ in range(100):
        lane = Lane()
        logs = {
            topic: sorted(rng.randrange(50) for _ in range(rng.randrange(30))) for topic in TOPICS
        }
        fed = dict.fromkeys(TOPICS, 0)
        taken = []
        while any(fed[topic] < len(logs[topic]) for topic in TOPICS):
            topic = rng.choice(TOPICS)
            chunk = logs[topic][fed[topic] :][: rng.randrange(1, 5)]
            lane.feed(topic, *chunk, start=fed[topic])
            fed[topic] += len(chunk)
            lane.ends(*(len(logs[topic]) for topic in TOPICS))
            taken += lane.take()
        order = [(at, TOPICS.index(topic)) for topic, log in logs.items() for at in log]
        assert [(at, TOPICS.index(topic)) for topic, at in taken] == sorted(order)


# -- safe time


def test_an_instant_is_safe_once_the_ends_asked_for_after_it_are_read() -> None:
    safe = SafeTime()
    fed = {"browse": 3}
    safe.answered(1000, 0, 2, {"browse": 5})
    safe.settle(lambda ends: fed["browse"] >= ends["browse"])
    assert safe.safe == -1
    assert safe.asked_since(1000)
    assert not safe.asked_since(1001)
    fed["browse"] = 5
    safe.settle(lambda ends: fed["browse"] >= ends["browse"])
    assert safe.safe == 1000


def test_newer_questions_do_not_put_off_an_older_one() -> None:
    safe = SafeTime()
    fed = 0
    for question in range(1, 100):
        safe.answered(question * 10, question, question, {"browse": question * 10})
        fed = question * 10 - 15  # always behind the newest end
        safe.settle(lambda ends: fed >= ends["browse"])  # noqa: B023
        # An instant is as safe as what has been read, never as what has been asked for since.
        assert safe.safe <= max(fed, 0)
    assert safe.safe >= 900


def test_a_newer_answer_that_is_read_makes_an_older_one_moot() -> None:
    safe = SafeTime()
    safe.answered(10, 0, 0, {"browse": 6})
    safe.answered(20, 1, 1, {"browse": 5})
    safe.settle(lambda ends: ends["browse"] <= 5)
    assert safe.safe == 20


def test_safe_time_does_not_go_back_with_the_clock() -> None:
    safe = SafeTime()
    for instant in (1000, 400):
        safe.answered(instant, 0, 0, {})
        safe.settle(lambda ends: True)
    assert safe.safe == 1000


def test_after_an_outage_nothing_becomes_safe_for_as_long_as_it_lasted() -> None:
    safe = SafeTime()
    took = 4 * OUTAGE_MS
    safe.answered(1000, 0, took, {})
    safe.settle(lambda ends: True)
    assert safe.safe == -1
    safe.answered(2000, 2 * took - 1, 2 * took - 1, {})
    safe.settle(lambda ends: True)
    assert safe.safe == -1
    safe.answered(3000, 2 * took, 2 * took, {})
    safe.settle(lambda ends: True)
    assert safe.safe == 3000


async def test_what_happened_while_the_ends_were_asked_for_is_not_safe_yet() -> None:
    class Clock:
        until = None
        at = 1_000

        def now(self) -> int:
            return self.at

        def elapsed(self) -> int:
            return 0

    clock = Clock()

    class Source:
        async def ends(self, lane: int) -> dict[str, int]:
            clock.at = 9_000
            return {"browse": 0}

    merge: Merge[None] = Merge(["browse"], lambda _: Decoded(b"m", 0, None), lambda _: None)
    index = DeadlineIndex(lambda _: None)
    ends = DayEnds(0, None, clock)  # type: ignore[arg-type]
    pace = Pace(0, clock, Source(), merge, index, ends)  # type: ignore[arg-type]
    await pace.ask()
    pace.settle()
    assert pace.safe == 1_000
