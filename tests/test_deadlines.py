"""The index of deadlines: nothing early, nothing forgotten, nothing left behind."""

import random

from agents.deadlines import HOUR_MS, LOOK_UPS, DeadlineIndex

START = 1_795_000_000_000 // HOUR_MS * HOUR_MS


class Members:
    """The truth that the index points to."""

    def __init__(self) -> None:
        self.due: dict[bytes, int] = {}
        self.index = DeadlineIndex(self.due.get)

    def arm(self, key: bytes, due: int) -> None:
        self.due[key] = due
        self.index.arm(key, due)

    def fire(self, upto: int) -> list[tuple[int, bytes]]:
        fired = []
        while True:
            popped = self.index.pop(upto)
            if popped is not None:
                del self.due[popped[1]]
                fired.append(popped)
                continue
            floor = self.index.floor()
            if floor is None or floor > upto:
                return fired


def test_deadlines_come_in_order_of_time_and_not_before_it() -> None:
    members = Members()
    dues = {b"c": START + 2 * HOUR_MS, b"a": START + 5, b"b": START + 70_000}
    for key, due in dues.items():
        members.arm(key, due)
    assert members.fire(START + 4) == []
    assert members.fire(START + 3 * HOUR_MS) == [
        (START + 5, b"a"),
        (START + 70_000, b"b"),
        (START + 2 * HOUR_MS, b"c"),
    ]
    assert len(members.index) == 0
    assert members.index.floor() is None


def test_floor_is_never_later_than_the_next_deadline_and_becomes_exact() -> None:
    members = Members()
    due = START + 5 * HOUR_MS + 1234
    members.arm(b"m", due)
    floor = members.index.floor()
    assert floor is not None
    assert floor <= due
    members.index.refine(START + 5 * HOUR_MS)
    assert members.index.floor() == due


def test_floor_sees_a_deadline_armed_before_a_page_that_is_being_opened() -> None:
    members = Members()
    for n in range(3 * LOOK_UPS):
        members.arm(b"%d" % n, START + 2 * HOUR_MS)
    members.index.refine(START + 2 * HOUR_MS)
    members.arm(b"early", START)
    assert members.index.floor() == START


def test_a_deadline_that_moved_later_does_not_fire_early_and_is_not_lost() -> None:
    members = Members()
    members.arm(b"m", START + 1000)
    members.arm(b"m", START + 9 * HOUR_MS)
    assert members.fire(START + 8 * HOUR_MS) == []
    assert members.fire(START + 9 * HOUR_MS) == [(START + 9 * HOUR_MS, b"m")]


def test_a_deadline_that_moved_earlier_fires_once_at_its_new_time() -> None:
    members = Members()
    members.arm(b"m", START + 9 * HOUR_MS)
    members.arm(b"m", START + 9 * HOUR_MS - 5)
    members.arm(b"m", START + 1000)
    assert members.fire(START + 1000) == [(START + 1000, b"m")]
    assert members.fire(START + 20 * HOUR_MS) == []
    assert len(members.index) == 0


def test_a_member_without_a_deadline_any_more_leaves_the_index() -> None:
    members = Members()
    members.arm(b"m", START + 1000)
    del members.due[b"m"]
    assert members.fire(START + 2000) == []
    assert len(members.index) == 0


def test_re_arming_for_ever_does_not_grow_the_index() -> None:
    members = Members()
    far = START + 90 * 24 * HOUR_MS
    members.arm(b"m", far)
    for minute in range(3000):
        # A browse arms a reminder two hours ahead; a purchase disarms it: far counts again.
        members.fire(START + minute * 60_000)
        members.arm(b"m", START + minute * 60_000 + 2 * HOUR_MS)
        members.arm(b"m", far)
    index = members.index
    held = sum(len(page) - 1 for page in index._pages.values()) + len(index._soon)
    assert len(index) == 1
    # One stale reference per visit to the far page, none per re-arming.
    assert held < 50


def test_a_hundred_thousand_deadlines_fire_exactly_and_leave_nothing() -> None:
    rng = random.Random(7)
    members = Members()
    for n in range(100_000):
        members.arm(b"%d" % n, START + rng.randrange(30 * 24 * HOUR_MS))
    for key in rng.sample(sorted(members.due), 30_000):
        members.arm(key, START + rng.randrange(30 * 24 * HOUR_MS))
    expected = dict(members.due)
    fired: dict[bytes, int] = {}
    for hour in range(0, 31 * 24, 5):
        upto = START + hour * HOUR_MS
        for due, key in members.fire(upto):
            assert due <= upto
            assert due > upto - 5 * HOUR_MS
            fired[key] = due
    assert fired == expected
    index = members.index
    assert len(index) == 0
    held = (index._pages, index._order, index._opened, index._soon, index._soon_due)
    assert not any(held)


def test_a_large_page_is_opened_a_piece_at_a_time() -> None:
    looked_up = 0

    def due_of(key: bytes) -> int:
        nonlocal looked_up
        looked_up += 1
        return START + HOUR_MS

    index = DeadlineIndex(due_of)
    for n in range(10 * LOOK_UPS):
        index.arm(b"%d" % n, START + HOUR_MS)
    index.refine(START + HOUR_MS)
    assert looked_up == LOOK_UPS
