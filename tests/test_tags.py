"""Tags: put and taken away by events, with reason, source and a time to live to the millisecond."""

from pathlib import Path
from random import Random
from typing import Any

import pytest
from audience_kit import book_with, moves
from core_builders import (
    DAY,
    HOUR,
    MINUTE,
    NOON,
    SECOND,
    EventDict,
    Life,
    arrived,
    event,
    odd,
    random_log,
    row_of,
)
from disorder import is_the_same_when_saved, shuffled

from models.engine import advance, handle, next_due
from models.labels import KEPT_TAGS
from models.member import MAX_ROW_BYTES, Member
from models.outcome import Context
from models.projection import project
from models.stages import NEVER
from models.times import rfc3339
from models.triggers import Carries

TAGS = {
    "dear": {"about": "Finds us dear.", "lasts": "30d"},
    "guest": {"about": "To be invited."},
}
WANTED = {
    "guests": {"tags": "guest"},
    "unhappy": {"tags": ["dear", "angry"], "orders": {"below": 1}},
}
ALL_TAGS = TAGS | {"angry": {"about": "Is angry.", "lasts": "10s"}}


def life(folder: Path, *rules: dict[str, Any]) -> Life:
    return Life(book_with(folder, WANTED, *rules, tags=ALL_TAGS))


def carried(one: Life | Member) -> set[str]:
    member = one.member if isinstance(one, Life) else one
    return {tag.tag for tag in project(member, None).tags}


def test_a_tag_shows_why_by_whom_and_until_when(tmp_path: Path) -> None:
    one = life(tmp_path)
    until = NOON + 7 * DAY
    one.sees("tag", NOON, tag="dear", reason="survey s1", source="crm", expires_at=until)
    [shown] = project(one.member, None).tags
    assert shown == Carries("dear", rfc3339(NOON), "survey s1", "crm", rfc3339(until))


def test_it_ends_to_the_millisecond_when_it_was_said_to_else_as_the_file_says(
    tmp_path: Path,
) -> None:
    one = life(tmp_path)
    one.sees("tag", NOON, tag="angry", expires_at=NOON + HOUR)
    one.sees("tag", NOON, tag="dear")
    one.sees("tag", NOON, tag="guest")
    one.sees("tag", NOON, tag="of_somebody_else")
    assert next_due(one.member, one.book) == NOON + HOUR
    one.reaches(NOON + HOUR - 1)
    assert carried(one) == {"angry", "dear", "guest", "of_somebody_else"}
    one.reaches(NOON + HOUR)
    assert carried(one) == {"dear", "guest", "of_somebody_else"}
    one.reaches(NOON + 30 * DAY)
    assert carried(one) == {"guest", "of_somebody_else"}
    one.reaches(NOON + 3000 * DAY)
    assert carried(one) == {"guest", "of_somebody_else"}


def test_it_can_be_taken_away_and_put_again(tmp_path: Path) -> None:
    one = life(tmp_path)
    one.sees("tag", NOON, tag="guest")
    one.sees("untag", NOON + DAY, tag="guest")
    assert carried(one) == set()
    one.sees("tag", NOON + 2 * DAY, tag="guest", reason="again")
    assert [tag.reason for tag in project(one.member, None).tags] == ["again"]
    assert moves(one) == [
        ("+guests", rfc3339(NOON)),
        ("-guests", rfc3339(NOON + DAY)),
        ("+guests", rfc3339(NOON + 2 * DAY)),
    ]


def test_the_latest_word_counts_in_whatever_order_words_arrive(tmp_path: Path) -> None:
    one = life(tmp_path)
    one.sees("untag", NOON, tag="guest")
    one.is_saved_and_loaded()
    one.sees("tag", NOON - MINUTE, tag="guest")
    assert carried(one) == set()
    one.sees("tag", NOON + MINUTE, tag="guest", reason="new")
    one.sees("tag", NOON + SECOND, tag="guest", reason="old")
    assert [tag.reason for tag in project(one.member, None).tags] == ["new"]
    one.sees("untag", NOON + MINUTE, tag="guest")  # of one instant the one that comes later
    assert carried(one) == set()


def test_an_instant_that_is_past_ends_a_tag(tmp_path: Path) -> None:
    one = life(tmp_path)
    one.sees("tag", NOON, tag="guest")
    one.sees("tag", NOON + DAY, tag="guest", expires_at=0)
    assert carried(one) == set()


def test_an_end_in_the_past_is_a_word_like_any_other(tmp_path: Path) -> None:
    one = life(tmp_path)
    one.sees("tag", NOON, tag="guest", expires_at=NOON - 30 * DAY)
    one.is_saved_and_loaded()
    one.sees("tag", NOON - MINUTE, tag="guest")
    assert carried(one) == set()


def test_rules_and_segments_ask_for_tags_and_leave_with_them(tmp_path: Path) -> None:
    rules = (
        odd("invite", {"event": "visit"}, **{"if": {"tags": "guest"}}),
        odd("sorry", {"segment_entered": "unhappy"}),
        odd("tagged", {"event": "tag", "where": {"tag": "angry"}}),
    )
    one = life(tmp_path, *rules)
    one.sees("visit", NOON)
    one.sees("tag", NOON + 1, tag="guest")
    one.sees("visit", NOON + 2)
    one.sees("tag", NOON + MINUTE, tag="angry")
    assert one.verdicts == [
        ("invite", "condition"),
        ("invite", "raised"),
        ("sorry", "raised"),
        ("tagged", "raised"),
    ]
    one.reaches(NOON + DAY)
    assert moves(one)[1:] == [
        ("+unhappy", rfc3339(NOON + MINUTE)),
        ("-unhappy", rfc3339(NOON + MINUTE + 10 * SECOND)),
    ]


def test_an_erased_member_has_no_tags(tmp_path: Path) -> None:
    one = life(tmp_path)
    one.sees("tag", NOON, tag="guest")
    one.sees("erase", NOON + 1)
    assert one.member.labels is None
    assert moves(one)[-1][0] == "-guests"


def test_what_is_over_is_forgotten_after_the_lateness(tmp_path: Path) -> None:
    one = life(tmp_path)
    one.sees("tag", NOON, tag="angry")
    one.sees("untag", NOON + 1, tag="guest")
    one.reaches(NOON + HOUR)
    one.is_saved_and_loaded()
    assert one.member.labels is not None
    one.reaches(NOON + 2 * HOUR)
    one.is_saved_and_loaded()
    assert one.member.labels is None
    assert next_due(one.member, one.book) > NOON + 2 * HOUR


def test_what_is_forgotten_does_not_depend_on_the_row_having_been_saved(tmp_path: Path) -> None:
    found = []
    for saved in (False, True):
        one = life(tmp_path / str(saved))
        one.sees("untag", NOON, tag="guest")
        one.reaches(NOON + 2 * HOUR)
        if saved:
            one.is_saved_and_loaded()
        one.sees("tag", NOON - MINUTE, tag="guest")
        found.append(carried(one))
    assert found == [{"guest"}, {"guest"}]


def test_tags_are_few_and_the_longest_said_goes_first(tmp_path: Path) -> None:
    one = life(tmp_path)
    one.sees("tag", NOON, tag="over", expires_at=NOON + 1)
    for number in range(KEPT_TAGS):
        one.sees("tag", NOON + 2 + number, tag=f"t{number}")
    assert carried(one) == {f"t{number}" for number in range(KEPT_TAGS)}
    one.sees("tag", NOON + DAY, tag="new")
    assert carried(one) == {f"t{number}" for number in range(1, KEPT_TAGS)} | {"new"}


def test_the_longest_tags_fit_into_a_row(tmp_path: Path) -> None:
    one = life(tmp_path)
    for number in range(KEPT_TAGS):
        name = f"{number:02}" + "\U0001f375" * 62
        one.sees(
            "tag", NOON + number, tag=name, reason="\U0001f375" * 256, source="\U0001f375" * 64
        )
    assert len(row_of(one.member, one.book)) <= MAX_ROW_BYTES
    assert len(carried(one)) == KEPT_TAGS


# --- for all logs ---------------------------------------------------------------------------------


def tagged_log(random: Random, step: int, events: int) -> list[EventDict]:
    """A random log with words about three tags strewn in."""
    log: list[EventDict] = []
    for one in random_log(random, step, events):
        log.append(one)
        if random.random() < 0.5:
            at = one["occurred_at"] + random.choice((0, 0, step))
            kind = random.choice(("tag", "tag", "untag"))
            fields: dict[str, Any] = {"tag": random.choice(("dear", "guest", "angry"))}
            if kind == "tag" and random.random() < 0.5:
                fields["expires_at"] = at + step * random.choice((-1, 1, 3))
            log.append(event(kind, at, **fields))
    return log


RULES = [
    odd(f"{kind}_{name}", {f"segment_{kind}": name}, expires_after="30s")
    for name in WANTED
    for kind in ("entered", "left")
]


@pytest.mark.parametrize("step", [4 * SECOND, MINUTE, 9 * DAY])
def test_saving_at_any_moment_changes_nothing_of_tags(tmp_path: Path, step: int) -> None:
    is_the_same_when_saved(book_with(tmp_path, WANTED, *RULES, tags=ALL_TAGS), step, tagged_log)


def test_in_whatever_order_words_arrive_the_tags_are_the_same(tmp_path: Path) -> None:
    book = book_with(tmp_path, WANTED, tags=ALL_TAGS)
    seen: set[str] = set()
    for seed in range(100):
        random = Random(seed)
        log = [e for e in tagged_log(random, MINUTE, 30) if e["type"] in ("tag", "untag", "visit")]
        for number, one in enumerate(log):
            # Of words of one instant the one that arrives later counts, whatever was meant.
            one["occurred_at"] += number
            one["member_id"] = "m1"
            one.pop("anonymous_id", None)
            one.pop("event_id", None)
        log.sort(key=lambda e: e["occurred_at"])
        events = arrived(shuffled(log, random))
        found = []
        for order in (events, sorted(events, key=lambda e: (e.at, e.rank, e.offset))):
            member = Member("m1", False)
            for one_event in order:
                handle(member, one_event, Context(book))
            found.append(
                project(member, None).tags and sorted(map(repr, project(member, None).tags))
            )
            advance(member, member.advanced_to + DAY, Context(book))
            found.append(carried(member))
            assert next_due(member, book) <= NEVER
        assert found[:2] == found[2:], seed
        seen |= found[1]
    assert seen == {"dear", "guest"}
