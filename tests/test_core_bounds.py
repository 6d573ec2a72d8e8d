"""A member's state has an end, whatever is thrown at it, and nothing is lost without a word."""

from copy import deepcopy
from pathlib import Path
from random import Random
from typing import Any

import pytest
from core_builders import (
    DAY,
    HOUR,
    MINUTE,
    NOON,
    SECOND,
    Life,
    absence,
    book_of,
    shipped_book,
    write_rules,
)

from models.engine import next_due
from models.facts import opted_out, refuses
from models.member import MAX_ROW_BYTES, Member, decode, encode
from models.triggers import Decision, TriggerCancelled

WIDE = "\N{PILE OF POO}" * 128  # four bytes a character: 512 bytes


def long_id(number: int) -> str:
    return f"{number:04d}".ljust(128, "x")


def item_book(tmp_path: Path, within: str = "30d", **rule: Any) -> Any:
    when = absence("view_item", {"event": "purchase", "same": "item_id"}, within)
    directory = write_rules(tmp_path / "rules", {"rule": "by_item", "when": when} | rule)
    return book_of(directory)


def test_300_open_keys_of_128_characters_stay_below_16_kb_and_say_what_was_dropped(
    tmp_path: Path,
) -> None:
    life = Life(item_book(tmp_path))
    for number in range(300):
        life.sees("view_item", NOON + number, item_id=long_id(number))
    assert len(life.is_saved_and_loaded()) <= MAX_ROW_BYTES
    life.reaches(NOON + 40 * DAY)
    dropped = life.verdicts.count(("by_item", "overflow"))
    assert dropped > 0
    assert dropped + len(life.raised) == 300, "a key was dropped without a word"


def test_256_keys_of_36_characters_are_all_kept_and_the_257th_drops_the_earliest(
    tmp_path: Path,
) -> None:
    life = Life(item_book(tmp_path))
    for number in range(256):
        life.sees("view_item", NOON + number, item_id=f"{number:036d}")
    assert life.verdicts == []
    life.sees("view_item", NOON + 256, item_id="the last")
    [decision] = [d for o in life.outcomes for d in o.decisions if isinstance(d, Decision)]
    assert decision.verdict == "overflow"
    assert decision.occasion == f"item_id={0:036d}|{NOON}"
    life.is_saved_and_loaded()
    life.reaches(NOON + 31 * DAY)
    assert len(life.raised) == 256


def test_keys_whose_deadline_has_passed_make_room_without_a_word(tmp_path: Path) -> None:
    book = item_book(tmp_path, within="2h")
    saved, never_saved = Life(book), Life(book)
    for number in range(600):
        for life in (saved, never_saved):
            life.sees("view_item", NOON + number * HOUR, item_id=f"{number:036d}")
        if number % 50 == 0:
            saved.is_saved_and_loaded()
    for life in (saved, never_saved):
        life.reaches(NOON + 700 * HOUR)
        assert len(life.raised) == 600
        assert ("by_item", "overflow") not in life.verdicts


def test_keys_that_were_bought_make_room_too(tmp_path: Path) -> None:
    life = Life(item_book(tmp_path))
    for number in range(1000):
        at = NOON + number * MINUTE
        life.sees("view_item", at, item_id=f"{number:036d}")
        if number < 900:
            life.sees("purchase", at + SECOND, items=[{"item_id": f"{number:036d}"}])
    life.reaches(NOON + 31 * DAY)
    assert len(life.raised) == 100
    assert ("by_item", "overflow") not in life.verdicts


def test_many_marks_under_many_keys_stay_below_16_kb(tmp_path: Path) -> None:
    life = Life(item_book(tmp_path, within="5s"))
    for number in range(4000):
        life.sees("view_item", NOON + number, item_id=f"{number % 250:036d}")
        if number % 500 == 499:
            assert len(life.is_saved_and_loaded()) <= MAX_ROW_BYTES


@pytest.mark.parametrize("wide", [False, True], ids=["ascii", "four bytes a character"])
def test_a_member_full_of_everything_stays_below_16_kb(tmp_path: Path, wide: bool) -> None:
    when = absence("view_item", {"event": "purchase", "same": "item_id"}, "5s")
    cart = absence("add_to_cart", {"event": "purchase", "same": "item_id"}, "7d")
    kind = absence("view_item", {"event": "purchase", "same": "category"}, "8d")
    directory = write_rules(
        tmp_path / "rules",
        {"rule": "viewed", "when": when, "reentry": {"per": "item_id", "every": "90d"}},
        {"rule": "added", "when": cart, "expires_after": "30d"},
        {"rule": "kind", "when": kind},
    )
    life = Life(book_of(directory))

    def name(number: int, length: int = 128) -> str:
        tail = WIDE * 2 if wide else "x" * 256
        return (f"{number:04d}" + tail)[:length]

    for number in range(400):
        at = NOON + number * 10 * SECOND
        life.sees("view_item", at, item_id=name(number), category=name(number, 256), price=9.99)
        life.sees("add_to_cart", at, item_id=name(number), quantity=2.5, price=9.99)
        life.sees("consent", at, channel=name(number, 64), purpose="marketing", granted=False)
        life.sees("consent", at, channel=name(number, 64), purpose="service", granted=False)
        life.sees(
            "profile",
            at,
            attributes={name(number, 64): "v" * 2000},
            channels=[name(n, 64) for n in range(16)],
            time_zone=name(number, 64),
            locale="zh-CN",
        )
        life.sees("link", at, other_id=name(number))
        life.sees("offer_granted", at, offer_id=name(number))
        life.sees("purchase", at, order_id=name(number), items=[{"item_id": name(7)}])
        if number % 40 == 39:
            assert len(life.is_saved_and_loaded()) <= MAX_ROW_BYTES
    assert opted_out(life.member, "marketing")
    assert refuses(life.member, "marketing", name(399, 64))
    assert refuses(life.member, "service", name(399, 64))


def test_opt_outs_of_hundreds_of_channels_all_hold() -> None:
    life = Life(shipped_book())
    for number in range(300):
        life.sees("unsubscribed", NOON + number, channel=f"channel_{number}")
        life.is_saved_and_loaded()
    assert all(refuses(life.member, "marketing", f"channel_{n}") for n in range(300))
    assert len(life.is_saved_and_loaded()) < 2048


@pytest.mark.parametrize("count", [40, 200])
def test_an_opt_out_leaves_no_trigger_standing_however_many_are_open(
    tmp_path: Path, count: int
) -> None:
    life = Life(item_book(tmp_path, within="5s"))
    for number in range(count):
        life.sees("view_item", NOON + number, item_id=f"i{number}")
    life.reaches(NOON + HOUR)
    life.sees("complained", NOON + HOUR + 1)
    raised = {m.trigger_id for m in life.said if not isinstance(m, TriggerCancelled)}
    cancelled = {m.trigger_id for m in life.said if isinstance(m, TriggerCancelled)}
    assert len(raised) == count
    assert cancelled == raised


def test_no_instant_is_lost_in_a_row() -> None:
    # Instants lie around the newest event's, which a row counts them from.
    life = Life(shipped_book())
    life.sees("purchase", NOON)
    for offset in range(-3, 4):
        member = deepcopy(life.member)
        member.stage_since = member.band_since = NOON + offset
        member.last_activity = member.first_seen = member.registered_at = NOON + offset
        member.orders = [NOON + offset]
        member.advanced_to = NOON + offset
        member.raised = {1: NOON + offset}
        member.backfilled_to = NOON + offset
        before = deepcopy(member)
        row = encode(member, 0, 0)
        assert member == before, "saving changed the member"
        assert decode(row, "m1", False) == before


def test_what_a_row_has_no_room_for_stays_with_the_member() -> None:
    life = Life(shipped_book())
    life.sees("register", NOON)
    member = life.member
    member.profile = {f"a.{number}": ("word " * 100, NOON) for number in range(64)}
    before = deepcopy(member)
    row = encode(member, 0, 0)
    assert member == before
    assert len(row) <= MAX_ROW_BYTES
    assert decode(row, "m1", False).profile == {}


def test_an_empty_member_has_a_small_row_and_nothing_due() -> None:
    book = shipped_book()
    member = Member("m1", False)
    assert next_due(member, book) > NOON * 1000
    row = encode(member, next_due(member, book), book.digest)
    assert decode(row, "m1", False) == member
    assert len(row) <= 67


def test_an_unknown_version_of_a_row_is_refused() -> None:
    row = encode(Member("m1", False), 0, 0)
    with pytest.raises(ValueError, match="version 99"):
        decode(bytes([99]) + row[1:], "m1", False)


def test_random_text_in_ids_survives_the_row(tmp_path: Path) -> None:
    random = Random(1)
    life = Life(item_book(tmp_path))
    for number in range(50):
        text = "".join(chr(random.choice((0, 34, 92, 233, 8232, 0x1F600))) for _ in range(20))
        life.sees("view_item", NOON + number, item_id=text)
    before = deepcopy(life.member)
    life.is_saved_and_loaded()
    assert life.member == before
