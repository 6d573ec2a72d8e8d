"""A deadline is what the rules say that are live when it fires, also for members who sleep."""

from pathlib import Path
from types import SimpleNamespace

import msgspec
from core_builders import NOON, absence, book_of, event, write_rules

from agents.fold import Decoded
from agents.members import BadShare, MemberFold, MemberStats, OutputTopics
from models.rulebook import RuleBook
from models.times import DAY


def fold_with(book: RuleBook) -> MemberFold:
    return MemberFold(
        book, OutputTopics(), lambda key, count: 0, 1, "/test", BadShare(), MemberStats()
    )


def recall(folder: Path, within: str) -> RuleBook:
    return book_of(
        write_rules(folder, {"rule": "recall", "when": absence("purchase", "purchase", within)})
    )


def asleep_since_an_order(fold: MemberFold) -> bytes:
    raw = msgspec.json.encode(event("purchase", NOON))
    record = SimpleNamespace(
        topic="purchase", partition=0, offset=0, timestamp=NOON, key=b"m1", value=raw
    )
    decoded = fold.decode(record)
    assert isinstance(decoded, Decoded)
    state = fold.load(decoded.key, None)
    fold.apply(state, decoded, record, NOON)
    body = fold.save(state, fold.next_due(state))
    assert body is not None
    return body


def test_a_shorter_within_counts_for_rows_written_before(tmp_path: Path) -> None:
    old, new = recall(tmp_path / "old", "30d"), recall(tmp_path / "new", "10d")
    body = asleep_since_an_order(fold_with(old))
    assert fold_with(old).due(body) == NOON + 30 * DAY
    assert fold_with(new).due(body) == NOON + 10 * DAY


def test_a_rule_that_joins_the_others_of_its_track_is_due_for_rows_written_before(
    tmp_path: Path,
) -> None:
    old = recall(tmp_path / "old", "30d")
    body = asleep_since_an_order(fold_with(old))
    write_rules(tmp_path / "new", {"rule": "early", "when": absence("purchase", "purchase", "7d")})
    assert fold_with(recall(tmp_path / "new", "30d")).due(body) == NOON + 7 * DAY


def test_a_rule_that_is_gone_is_due_no_more(tmp_path: Path) -> None:
    body = asleep_since_an_order(fold_with(recall(tmp_path / "old", "30d")))
    without = write_rules(
        tmp_path / "new", {"rule": "welcome", "when": {"event": "register"}, "reentry": "once"}
    )
    due = fold_with(book_of(without)).due(body)
    assert due is None or due > NOON + 30 * DAY
