"""A muted member hears nothing until then, in whatever order the words come."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from core_builders import HOUR, MINUTE, NOON, SECOND, event, net, received, replayed
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_kit import Judged, book, living, on

from app.cli import main
from models.decoding import InvalidEvent
from models.projection import project
from models.times import DAY, rfc3339
from models.triggers import TriggerCancelled

HELLO = on("visit", "hello", reentry={"per": "member", "every": "1s"})
BACK: dict[str, Any] = {
    "rule": "back",
    "when": {"absence": {"after": {"event": "visit"}, "of": {"event": "purchase"}, "within": "1h"}},
    "reentry": {"per": "member", "every": "1s"},
    "expires_after": "3d",
}
STEPS: dict[str, Any] = {
    "rule": "steps",
    "when": {
        "series": {
            "after": {"event": "register"},
            "until": {"event": "purchase"},
            "steps": ["1h", "1d", "2d"],
        }
    },
    "reentry": "once",
    "expires_after": "12h",
}


RULES = book({}, on("visit", "hello", reentry="always"))


def muted_until(life: Judged) -> str | None:
    return project(life.member, None).muted_until


def test_the_document_says_until_when_and_no_longer_than_it_lasts() -> None:
    life = living({}, HELLO)
    life.sees("visit", NOON)
    assert muted_until(life) is None
    life.sees("mute", NOON + 1, until=NOON + DAY)
    assert muted_until(life) == rfc3339(NOON + DAY)
    life.is_saved_and_loaded()
    assert muted_until(life) == rfc3339(NOON + DAY)
    life.reaches(NOON + DAY - 1)
    assert muted_until(life) == rfc3339(NOON + DAY)
    life.reaches(NOON + DAY)
    assert muted_until(life) is None


def test_a_mute_until_its_own_instant_ends_one() -> None:
    life = living({}, HELLO)
    life.sees("mute", NOON, until=NOON + DAY)
    life.sees("mute", NOON + HOUR, until=NOON + HOUR)
    assert muted_until(life) is None
    life.sees("visit", NOON + HOUR)
    assert life.raised == ["hello"]


def test_what_is_withdrawn_says_that_it_was_a_mute_and_not_what_somebody_wrote() -> None:
    life = living({}, HELLO)
    life.sees("visit", NOON)
    life.sees("mute", NOON + 1, until=NOON + DAY, by="Ann", reason="is in hospital")
    [_, cancelled] = life.said
    assert isinstance(cancelled, TriggerCancelled)
    assert cancelled.reason == "mute"
    said = msgspec.json.encode([one for outcome in life.outcomes for one in outcome.triggers])
    said += msgspec.json.encode(project(life.member, None))
    said += life.is_saved_and_loaded()
    assert b"Ann" not in said
    assert b"hospital" not in said


def test_the_same_mute_twice_withdraws_once() -> None:
    life = living({}, HELLO)
    life.sees("visit", NOON)
    for event_id in ("x", "x", None):
        life.sees("mute", NOON + 1, until=NOON + DAY, event_id=event_id)
    assert life.cancelled == ["hello"]
    assert muted_until(life) == rfc3339(NOON + DAY)


def test_the_steps_of_a_series_go_by_and_those_after_the_mute_are_sent() -> None:
    life = living({}, STEPS)
    life.sees("register", NOON)
    life.sees("mute", NOON + 2 * HOUR, until=NOON + DAY + 1)
    life.reaches(NOON + 3 * DAY)
    assert life.verdicts_of("steps") == ["raised", "mute", "raised"]
    assert life.cancelled == ["steps"]


def test_a_deadline_of_a_muted_member_is_not_made_up_for() -> None:
    life = living({}, BACK)
    life.sees("visit", NOON)
    life.sees("mute", NOON + 1, until=NOON + DAY)
    life.reaches(NOON + 3 * DAY)
    assert life.verdicts_of("back") == ["mute"]
    life.sees("visit", NOON + 3 * DAY)
    life.reaches(NOON + 4 * DAY)
    assert life.raised == ["back"]


def test_erasing_ends_a_mute() -> None:
    life = living({}, HELLO)
    life.sees("mute", NOON, until=NOON + DAY)
    life.sees("erase", NOON + 1)
    life.sees("register", NOON + 2)
    life.sees("visit", NOON + 3)
    assert life.raised == ["hello"]


def test_a_late_mute_of_before_the_last_word_withdraws_nothing_that_came_after_that() -> None:
    life = living({}, HELLO)
    life.sees("mute", NOON, until=NOON)
    life.sees("visit", NOON + MINUTE)
    life.sees("mute", NOON - MINUTE, until=NOON + DAY)  # heard of last, and taken back since
    assert life.cancelled == []
    life = living({}, HELLO)
    life.sees("visit", NOON)
    life.sees("mute", NOON + MINUTE, until=NOON + MINUTE)
    life.sees("mute", NOON - MINUTE, until=NOON + DAY)  # but it held when the visit came
    assert life.cancelled == ["hello"]


def test_a_row_of_who_was_never_muted_is_not_longer_and_one_forgets_its_mute() -> None:
    def lived(*mutes: int) -> int:
        life = living({}, on("visit", "hello", mode="off"))
        life.sees("register", NOON)
        for until in mutes:
            life.sees("mute", NOON + 1, until=until)
        life.sees("visit", NOON + 2 * DAY)
        life.is_saved_and_loaded()
        if mutes:
            assert (life.member.standing is None) == (max(mutes) < NOON + 2 * DAY)
            del life.member.counts[max(life.member.counts)]
        return len(life.is_saved_and_loaded())

    never = lived()
    assert lived(NOON + DAY) == never
    assert never < lived(NOON + 3 * DAY) <= never + 24


@pytest.mark.parametrize("wrong", [{}, {"until": "tomorrow"}, {"until": NOON, "by": "x" * 257}])
def test_a_mute_that_says_no_instant_is_a_dead_letter(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidEvent):
        received(event("mute", NOON, **wrong), 0)


def test_why_tells_that_a_member_is_muted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules/hello.yaml").write_text(json.dumps(HELLO | {"version": 1, "about": "x"}))
    (tmp_path / "policy.yaml").write_text("")
    log = tmp_path / "log.jsonl"
    lines = [event("visit", NOON), event("mute", NOON + 1, until=NOON + DAY)]
    lines.append(event("visit", NOON + HOUR))
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    until = rfc3339(NOON + DAY)
    command = ["why", "m1", "hello", "--config", str(tmp_path), "--events", str(log)]
    assert main(command) == 0
    told = capsys.readouterr().out
    assert f"\nmuted until {until}\n" in told
    assert "cancelled (mute)" in told
    assert f"muted until {until})" in told
    assert main([*command, "--language", "zh"]) == 0
    assert f"\n静默至 {until}\n" in capsys.readouterr().out
    assert main([*command, "--json", "--until", rfc3339(NOON)]) == 0
    assert json.loads(capsys.readouterr().out)["muted_until"] is None


# --- words that come late ------------------------------------------------------------------------

SECONDS = st.integers(0, 40)
# Said at a second, until a second, and heard of so many events later.
WORDS = st.lists(
    st.tuples(SECONDS, SECONDS, st.integers(0, 6)), max_size=2, unique_by=lambda word: word[0]
)


def is_word(one: Mapping[str, Any]) -> bool:
    return bool(one["type"] == "mute")


def standing_by_hand(arriving: list[dict[str, Any]]) -> set[int]:
    """The visits that are answered in the end, by what was known whenever something was heard."""
    words: dict[int, int] = {}
    stands: set[int] = set()
    for one in arriving:
        at = one["occurred_at"]
        if not is_word(one):
            if not words or at >= words[max(words)]:
                stands.add(at)
            continue
        words[at] = one["until"]
        taken_back = {v for v in stands if any(at < word <= v for word in words)}
        stands -= {v for v in stands - taken_back if max(at, v) < one["until"]}
    return stands


@settings(max_examples=200, deadline=None)
@given(words=WORDS, visits=st.sets(SECONDS, min_size=1, max_size=5), saved=st.booleans())
def test_words_that_come_late_take_back_what_they_forbid_and_nothing_else(
    words: list[tuple[int, int, int]], visits: set[int], saved: bool
) -> None:
    rules = RULES
    events = [event("visit", NOON + at * SECOND, event_id=f"v{at}") for at in sorted(visits)]
    ordered = list(events)
    for said, until, _ in words:
        mute = event("mute", NOON + said * SECOND, until=NOON + until * SECOND)
        ordered.append(mute)
    # At one instant a member's word goes before the visit.
    ordered.sort(key=lambda one: (one["occurred_at"], not is_word(one)))
    right = {identity for _, identity in net(replayed(ordered, rules))}

    def is_answered(at: int) -> bool:
        before = [until for said, until, _ in sorted(words) if said <= at]
        is_muted = bool(before) and at < before[-1]
        return not is_muted and not any(said > at and until > said for said, until, _ in words)

    assert len(right) == sum(map(is_answered, visits))
    arriving = list(ordered)
    for said, _, later in words:
        one = next(e for e in ordered if is_word(e) and e["occurred_at"] == NOON + said * SECOND)
        place = arriving.index(one)
        arriving.remove(one)
        arriving.insert(place + later, one)
    life = Judged(rules)
    for one in arriving:
        life.folds(one)
        if saved:
            life.is_saved_and_loaded()
    stands = {identity for _, identity in net(life.said)}
    # What was kept back is not made up for when it is heard of later that the mute had ended.
    assert stands <= right
    assert len(stands) == len(standing_by_hand(arriving))
    end = Judged(rules)
    for one in ordered:
        end.folds(one)
    assert muted_until(life) == muted_until(end)
