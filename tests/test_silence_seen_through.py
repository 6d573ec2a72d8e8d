"""A silent feed keeps back what is concluded from it through segments and stages as well."""

from pathlib import Path
from typing import Any

import pytest
from audience_kit import book_with
from core_builders import DAY, NOON, event, received
from policy_kit import on

from models.closures import Closed, SilentFeed
from models.engine import handle
from models.facts import ACTIVITY
from models.member import Member
from models.outcome import Context
from models.triggers import Decision

HELLO = on("visit", "hello")
ORDERS = {"purchase"}
SEGMENTS = {
    "gone": {"last_order": {"older_than": "60d"}},
    "gone_too": {"segments": "gone"},
    "buyers": {"last_order": {"newer_than": "90d"}},
    "vip_buyers": {"tier": "gold", "segments": "buyers"},
    "no_buyers": {"not": [{"segments": "buyers"}]},
    "reviewers": {"counts": {"review": {"at_least": 1}}},
    "tagged": {"tags": "guest"},
    "either": {"segments": ["buyers", "reviewers"]},
    "guests": {"segments": ["tagged", "buyers"]},
}


def awaited(folder: Path, rule: dict[str, Any]) -> set[str]:
    book = book_with(folder, SEGMENTS, rule, tags={"guest": {"about": "A guest."}})
    return set(book.awaited[rule["rule"]])


@pytest.mark.parametrize(
    ("wanted", "types"),
    [
        ({"segments": "gone"}, ORDERS),
        ({"segments": "gone_too"}, ORDERS),
        ({"segments": ["tagged", "gone_too"]}, ORDERS),
        ({"segments": "buyers"}, set()),
        ({"segments": "no_buyers"}, ORDERS),
        ({"segments": "tagged"}, set()),
        ({"not": [{"segments": "buyers"}]}, ORDERS),
        ({"not": [{"segments": "vip_buyers"}]}, ORDERS),
        ({"not": [{"segments": "no_buyers"}]}, set()),
        ({"not": [{"segments": "gone_too"}]}, set()),
        ({"not": [{"segments": "either"}]}, {"purchase", "review"}),
        ({"any": [{"tier": "gold"}, {"segments": "gone"}]}, ORDERS),
        ({"stage": "dormant"}, set(ACTIVITY)),
        ({"stage": ["dormant", "lost"]}, set(ACTIVITY)),
        # An order brings somebody into these as well, or everybody begins there.
        ({"stage": ["active", "dormant"]}, set()),
        ({"stage": ["lead", "dormant"]}, set()),
        ({"stage": "loyal"}, set()),
        ({"not": [{"stage": ["lead", "new", "active", "loyal"]}]}, set(ACTIVITY)),
        ({"not": [{"stage": "lost"}]}, set()),
        ({"band": "light"}, set()),
        ({"band": "high"}, set()),
    ],
)
def test_an_if_concludes_through_what_it_names(
    tmp_path: Path, wanted: dict[str, Any], types: set[str]
) -> None:
    assert awaited(tmp_path, HELLO | {"if": wanted}) == types


@pytest.mark.parametrize(
    ("when", "types"),
    [
        ({"segment_entered": "gone_too"}, ORDERS),
        ({"segment_entered": "no_buyers"}, ORDERS),
        ({"segment_entered": "guests"}, set()),
        ({"segment_left": "gone_too"}, set()),
        ({"segment_left": "no_buyers"}, set()),
        ({"segment_left": "either"}, set()),
        # A tier that is lost leaves it as well.
        ({"segment_left": "vip_buyers"}, set()),
    ],
)
def test_a_segment_of_segments_is_entered_and_left_as_they_are(
    tmp_path: Path, when: dict[str, Any], types: set[str]
) -> None:
    assert awaited(tmp_path, HELLO | {"when": when}) == types


def test_a_segment_of_one_segment_is_left_by_the_silence_that_it_is_left_by(tmp_path: Path) -> None:
    rule = HELLO | {"when": {"segment_left": "of_buyers"}}
    segments = {"buyers": SEGMENTS["buyers"], "of_buyers": {"segments": "buyers"}}
    assert book_with(tmp_path, segments, rule).awaited["hello"] == ORDERS


def test_what_a_segment_concludes_from_silence_waits_as_if_the_rule_said_it(tmp_path: Path) -> None:
    closed = Closed({"purchase": (SilentFeed("purchase", "pos", "silent"),)})
    verdicts = {}
    for wanted in ({"last_order": {"older_than": "60d"}}, {"segments": "gone"}):
        book = book_with(
            tmp_path / str(len(verdicts)),
            SEGMENTS,
            HELLO | {"if": wanted},
            tags={"guest": {"about": "A guest."}},
        )
        context = Context(book, None, closed)
        member = Member(id="m1", anonymous=False)
        handle(member, received(event("purchase", NOON - 61 * DAY)), context)
        outcome = handle(member, received(event("visit", NOON), 1), context)
        (said,) = [d for d in outcome.decisions if isinstance(d, Decision)]
        verdicts[str(wanted)] = said.verdict
    assert set(verdicts.values()) == {"suspended"}


def test_what_is_seen_usual_of_a_segment_reaches_as_far_back_as_those_it_names(
    tmp_path: Path,
) -> None:
    rules = [
        on("visit", name) | {"when": {"segment_entered": name}} for name in ("gone", "gone_too")
    ]
    book = book_with(tmp_path, SEGMENTS, *rules, tags={"guest": {"about": "A guest."}})
    assert book.occasions["gone_too"] == book.occasions["gone"]
    ((_, after),) = book.occasions["gone_too"]
    assert after == 60 * DAY
