"""An erased member's last trace leaves the table by itself, a day later, by the lane's code."""

from types import SimpleNamespace

import msgspec
from core_builders import NOON, event, shipped_book

from agents.fold import Decoded
from agents.group import Collecting
from agents.members import BadShare, MemberFold, MemberStats, OutputTopics
from models.times import DAY, HOUR

LIMIT = 1 << 20


def test_the_stub_of_an_erased_member_is_a_tombstone_a_day_later() -> None:
    fold = MemberFold(
        shipped_book(), OutputTopics(), lambda key, count: 0, 1, "/test", BadShare(), MemberStats()
    )
    rows: dict[bytes, bytes] = {}
    armed: dict[bytes, int] = {}
    collecting = Collecting(fold, rows, armed.__setitem__)
    for offset, (kind, at) in enumerate([("register", NOON), ("erase", NOON + HOUR)]):
        raw = msgspec.json.encode(event(kind, at))
        record = SimpleNamespace(
            topic="member", partition=0, offset=offset, timestamp=at, key=b"m1", value=raw
        )
        decoded = fold.decode(record)
        assert isinstance(decoded, Decoded)
        assert collecting.apply(0, decoded, record, at) is True
    collecting.close(LIMIT)
    [(key, body)] = rows.items()
    assert fold.load(key, body).applied[0] == 1
    assert armed[key] == NOON + HOUR + DAY
    assert collecting.advance(key, armed[key], armed[key]) is None
    [group] = collecting.close(LIMIT)
    assert group.rows == {key: None}
    assert rows == {}
