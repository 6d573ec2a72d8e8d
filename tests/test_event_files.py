"""Event files: lines in, lines out, whole or not at all, and the order of events."""

import gzip
from collections.abc import Iterator
from typing import Any

import pytest

from app.event_files import read_lines, sort_key, time_ms, write_events

EVENTS = [
    {"type": "visit", "member_id": "m1", "occurred_at": 1000},
    {"type": "search", "member_id": "会员", "occurred_at": 2000, "query": "茶"},
]
LINES = [
    b'{"type":"visit","member_id":"m1","occurred_at":1000}',
    '{"type":"search","member_id":"会员","occurred_at":2000,"query":"茶"}'.encode(),
]


@pytest.mark.parametrize("name", ["events.jsonl", "events.jsonl.gz"])
def test_what_is_written_is_read_back_line_by_line(tmp_path, name):
    path = tmp_path / name
    assert write_events(path, iter(EVENTS)) == 2
    assert list(read_lines(path)) == [(1, LINES[0]), (2, LINES[1])]
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_gzip_is_told_by_its_content_not_by_its_name(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_bytes(gzip.compress(LINES[0] + b"\n"))
    assert list(read_lines(path)) == [(1, LINES[0])]


def test_blank_lines_and_windows_line_ends_keep_the_line_numbers(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"\r\n" + LINES[0] + b"\r\n   \n" + LINES[1])
    assert list(read_lines(path)) == [(2, LINES[0]), (4, LINES[1])]


def test_an_empty_file_has_no_lines(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"")
    assert list(read_lines(path)) == []


@pytest.mark.parametrize("damaged", [slice(None, -10), slice(None, -4)], ids=["data", "length"])
def test_cut_gzip_data_is_an_os_error_that_names_the_file(tmp_path, damaged):
    path = tmp_path / "cut.gz"
    path.write_bytes(gzip.compress(LINES[0] * 100)[damaged])
    with pytest.raises(OSError, match=r"cut\.gz.*damaged"):
        list(read_lines(path))


def test_the_same_events_give_the_same_gzip_bytes_under_any_name(tmp_path):
    first, second = tmp_path / "a.gz", tmp_path / "b.gz"
    write_events(first, EVENTS)
    write_events(second, EVENTS)
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes()[4:8] == bytes(4)


def test_a_failure_half_way_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"old\n")

    def broken() -> Iterator[dict[str, Any]]:
        yield EVENTS[0]
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        write_events(path, broken())
    assert path.read_bytes() == b"old\n"
    assert list(tmp_path.iterdir()) == [path]


def test_who_reads_the_old_file_keeps_the_old_file(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_bytes(LINES[0] + b"\n")
    reading = read_lines(path)
    assert next(reading) == (1, LINES[0])
    old = tmp_path / "old"
    old.hardlink_to(path)
    write_events(path, EVENTS[1:])
    assert list(read_lines(path)) == [(1, LINES[1])]
    assert list(read_lines(old)) == [(1, LINES[0])]
    assert list(reading) == []


def test_behind_a_link_the_file_is_replaced_and_a_device_is_refused(tmp_path):
    target, link = tmp_path / "target.jsonl", tmp_path / "link.jsonl"
    target.write_bytes(b"old\n")
    link.symlink_to(target)
    write_events(link, EVENTS[:1])
    assert link.is_symlink()
    assert list(read_lines(target)) == [(1, LINES[0])]
    with pytest.raises(OSError, match="not a regular file"):
        write_events(tmp_path, EVENTS)


def test_a_missing_folder_is_an_os_error_that_names_the_wanted_file(tmp_path):
    path = tmp_path / "nowhere" / "events.jsonl"
    with pytest.raises(FileNotFoundError) as caught:
        write_events(path, EVENTS)
    assert caught.value.filename == str(path)


def test_times_are_milliseconds_or_rfc_3339_with_an_offset():
    assert time_ms(1795255200000) == 1795255200000
    assert time_ms("2026-11-21T10:00:00Z") == 1795255200000
    assert time_ms("2026-11-21T18:00:00.250+08:00") == 1795255200250
    with pytest.raises(ValueError, match="offset"):
        time_ms("2026-11-21T10:00:00")


def test_equal_times_are_ordered_by_topic_and_then_as_they_stand():
    later = {"type": "visit", "occurred_at": "1970-01-01T00:00:06Z"}
    mixed = [
        {"type": "purchase", "occurred_at": 5000},
        {"type": "add_to_cart", "occurred_at": "1970-01-01T00:00:05Z"},
        later,
        {"type": "view_item", "occurred_at": 5000, "item_id": "second"},
        {"type": "visit", "occurred_at": 5000},
        {"type": "opened", "occurred_at": 5000},
        {"type": "register", "occurred_at": 5000},
        {"type": "refund", "occurred_at": 4999},
        {"type": "item", "item_id": "a"},
    ]
    assert [event["type"] for event in sorted(mixed, key=sort_key)] == [
        "item",
        "refund",
        "register",
        "opened",
        "view_item",
        "visit",
        "add_to_cart",
        "purchase",
        "visit",
    ]
