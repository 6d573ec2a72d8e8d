"""The rules that are shipped, their test files, and the commands that check, test and list them."""

import json
import shutil
from argparse import ArgumentParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from core_builders import NOON, event, received

from app import rules_commands
from app.rule_cases import read_cases, written_offset
from app.rule_tests import load_cases, run_cases
from config.paths import load_config, package_dir
from models.calendar import Calendar
from models.policy import Policy
from models.replay import replay
from models.rulebook import RuleBook
from models.rules import Absence, Limits
from models.times import DAY, HOUR, MINUTE, parse_instant, rfc3339
from models.triggers import Trigger

RULES = package_dir() / "rules"
CONFIG = load_config()
CASES = load_cases(RULES, CONFIG)

SHIPPED = {rule.name for rule in CONFIG.rules}


def run(*arguments: str) -> int:
    parser = ArgumentParser()
    rules_commands.add_parsers(parser.add_subparsers())
    args = parser.parse_args(["rules", *arguments])
    return int(args.run(args))


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder of one's own with two of the shipped rules and their tests."""
    (tmp_path / "rules").mkdir()
    for name in ("welcome", "cart_abandoned"):
        for path in RULES.glob(f"{name}.*"):
            shutil.copy(path, tmp_path / "rules")
    return tmp_path


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


# --- the shipped rules --------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_a_shipped_rule_does_what_its_test_file_says(name: str) -> None:
    cases = [(rule, case) for rule, case in CASES if rule == name]
    assert run_cases(cases, CONFIG) == []


def test_at_night_nothing_is_said_to_a_member_service_messages_included() -> None:
    def at(hour: int) -> list[str]:
        told = [event("invite_accepted", NOON + hour * HOUR)]
        limits = Limits(assume_consent=True, time_zone="UTC")
        policy = msgspec.structs.replace(CONFIG.policy, holdout=None, pace=0)
        book = RuleBook(CONFIG.rules, CONFIG.stages, policy, limits, CONFIG.audiences)
        outcomes = replay([received(told[0])], book, NOON + 2 * DAY)
        return [
            one.not_before
            for outcome in outcomes
            for one in outcome.triggers
            if isinstance(one, Trigger) and one.rule == "referral_thanks"
        ]

    assert at(0) == [rfc3339(NOON)]
    assert at(15) == [rfc3339(NOON + 21 * HOUR)]


LOOKS: dict[str, list[dict[str, Any]]] = {
    "guide_first_look": [event("register", -6 * HOUR)],
    "repeated_view": [event("view_item", -hours * HOUR) for hours in (2, 1, 0)],
}


@pytest.mark.parametrize("name", sorted(LOOKS))
def test_what_falls_due_when_the_longest_night_begins_is_told_in_the_morning(name: str) -> None:
    # The clocks go back in this night: it has thirteen hours, and the last leave at half past nine.
    evening = parse_instant("2026-10-24T21:00:00+02:00")
    limits = Limits(assume_consent=True, time_zone="Europe/Berlin")
    policy = msgspec.structs.replace(CONFIG.policy, holdout=None)
    rules = [rule for rule in CONFIG.rules if rule.name == name]
    book = RuleBook(rules, CONFIG.stages, policy, limits)
    events = [
        received(one | {"occurred_at": evening + one["occurred_at"], "member_id": f"m{number}"})
        for one in LOOKS[name]
        for number in range(100)
    ]
    outcomes = list(replay(events, book, evening + DAY))
    told = [one for outcome in outcomes for one in outcome.triggers if isinstance(one, Trigger)]
    assert len(told) == 100
    assert max(one.not_before for one in told) > "2026-10-25T08:25"  # 09:25 there


def test_no_rule_that_may_fall_due_at_any_hour_expires_in_the_night() -> None:
    quiet = CONFIG.policy.quiet_hours
    assert quiet is not None
    clocks_go_back = HOUR
    night = (quiet.end - quiet.start) % 1440 * MINUTE + clocks_go_back + CONFIG.policy.pace
    short = {rule.name: rule.when for rule in CONFIG.rules if rule.expires_after <= night}
    assert sorted(short) == ["member_day", "regulars_day"]
    for when in short.values():
        # They come by day, and the day is the point.
        assert isinstance(when, Calendar)
        assert quiet.end <= when.minute
        assert when.minute * MINUTE + when.spread < quiet.start * MINUTE


def test_bad_reviews_make_no_advocate() -> None:
    limits = Limits(assume_consent=True)
    book = RuleBook(CONFIG.rules, CONFIG.stages, Policy(), limits, CONFIG.audiences)

    def entered(*events: dict[str, Any]) -> bool:
        outcomes = replay(map(received, events), book)
        return any("advocates" in str(outcome.decisions) for outcome in outcomes)

    bad = [event("review", NOON + n * DAY, item_id="tea", rating=1) for n in range(9)]
    assert not entered(*bad)
    assert entered(event("invite_accepted", NOON))


@pytest.mark.parametrize(
    "name", [rule.name for rule in CONFIG.rules if isinstance(rule.when, Absence)]
)
def test_the_edge_of_time_is_tested_on_both_sides(name: str) -> None:
    (when,) = [rule.when for rule in CONFIG.rules if rule.name == name]
    assert isinstance(when, Absence)
    offsets = {
        received.at - case.start for rule, case in CASES if rule == name for received in case.events
    }
    assert {when.within, when.within - 1} <= offsets


def test_each_rule_of_an_episode_expires_late_enough_to_be_replaced_or_early_enough_to_end() -> (
    None
):
    reminders = [rule for rule in CONFIG.rules if rule.episode == "first_purchase"]
    spans = sorted(
        (rule.when.within, rule.when.within + rule.expires_after)
        for rule in reminders
        if isinstance(rule.when, Absence)
    )
    assert all(ends > after for (_, ends), (after, _) in pairwise(spans))


# --- rules test ---------------------------------------------------------------------------------


def test_rules_test_passes_on_what_is_shipped(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("test", "--json") == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (summary["rules"], summary["failed"]) == (len(SHIPPED), [])
    assert summary["cases"] == len(CASES)


def test_a_rule_that_changed_its_mind_fails_with_a_difference_that_can_be_read(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(own / "rules" / "cart_abandoned.yaml", "within: 1h", "within: 2h")
    assert run("test", "--config", str(own)) == 1
    told = capsys.readouterr().out
    assert "FAILED cart_abandoned: a cart left alone is noticed an hour later" in told
    assert "- expected  at: 1h  is: raised" in told
    assert "+ happened  at: 2h  is: raised" in told
    assert "FAILED welcome" not in told


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("- {at: 0, is: raised}", "- {at: 1ms, is: raised}", "- expected  at: 1ms  is: raised"),
        ("- {at: 400d, is: reentry}", "", "+ happened  at: 400d  is: reentry"),
        (
            "by: complained sms",
            "by: erase",
            "- expected  at: 23h 59m 59s 999ms  is: cancelled by: erase",
        ),
    ],
)
def test_every_part_of_an_expectation_counts(
    own: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, says: str
) -> None:
    change(own / "rules" / "welcome.test.yaml", old, new)
    assert run("test", "--config", str(own)) == 1
    assert says in capsys.readouterr().out


def test_the_key_of_an_expectation_counts(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rule = own / "rules" / "cart_abandoned.yaml"
    change(
        rule,
        "of: {event: [purchase, order_placed, begin_checkout, cart_emptied]}",
        "of: {event: purchase, same: item_id}",
    )
    text = (
        "cases:\n  - name: two items\n    events:\n"
        "      - {at: 0, type: add_to_cart, item_id: a}\n"
        "      - {at: 1m, type: add_to_cart, item_id: b}\n"
        "    until: 1d\n    expect:\n      - {at: 1h, is: raised, key: a}\n"
        "      - {at: 1h 1m, is: reentry, key: KEY}\n"
    )
    tests = own / "rules" / "cart_abandoned.test.yaml"
    tests.write_text(text.replace("KEY", "b"))
    assert run("test", "--config", str(own)) == 0
    tests.write_text(text.replace("KEY", "a"))
    assert run("test", "--config", str(own)) == 1
    assert "- expected  at: 1h 1m  is: reentry key: a" in capsys.readouterr().out


TICKET = """
  - name: a ticket is open
    events:
      - {at: 0, type: ticket_opened, ticket_id: t1}
      - {at: 0, type: add_to_cart, item_id: tea}
    until: 2h
    expect:
      - {at: 1h, is: raised}
"""


@pytest.mark.parametrize(
    "line",
    [
        "stop: true",
        "holds: {ticket: 30d, complaint: 90d, return: 30d}",
        "consent: {marketing: denied, service: denied}",
        "caps: [{at_most: 0, per: day}]",
        'quiet_hours: {from: "00:00", to: "23:59", then: drop, purposes: [marketing, service]}',
        "holdout: {salt: s, everything: 100%}",
        "silence_after_purchase: {for: 30d, then: drop}",
    ],
)
def test_no_line_of_the_policy_turns_the_tests_of_rules_red(own: Path, line: str) -> None:
    agreed = "" if line.startswith("consent") else "consent: opt_out\n"
    (own / "policy.yaml").write_text(f"{agreed}{line}\n")
    with (own / "rules" / "cart_abandoned.test.yaml").open("a") as tests:
        tests.write(TICKET)
    assert run("test", "--config", str(own)) == 0


def test_what_the_member_has_refused_counts_as_the_policy_has_it_count(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (own / "policy.yaml").write_text("")
    assert run("test", "--config", str(own)) == 1, "nobody is asked for consent"
    assert "- expected  at: 0  is: consent" in capsys.readouterr().out


def test_rules_without_tests_pass(own: Path) -> None:
    for path in (own / "rules").glob("*.test.yaml"):
        path.unlink()
    assert run("test", "--config", str(own)) == 0


@pytest.mark.parametrize(
    ("old", "new", "field", "says"),
    [
        ("until: 1d", "untill: 1d", ".untill", "did you mean 'until'?"),
        ("until: 1d", "until: -1d", ".until", "lies before the last event"),
        ("register}", "registered}", ".events[0].type", "mean 'register'?"),
        ("register}", "register, campain: x}", ".events[0].campain", "mean 'campaign'?"),
        ("{at: 0, type: register}", "{at: 0}", ".events[0].type", "is missing"),
        ("{at: 0, type", "{at: soon, type", ".events[0].at", "must be an offset"),
        ("{at: 0, type: register}", "register", ".events[0]", "must be a mapping"),
        ("register}", "purchase, order_id: o1}", ".events[0]", "$.total: was missing"),
        ("is: raised}", "is: sent}", ".expect[0].is", "allowed: raised, unless"),
        ("is: raised}", "is: raised, by: x}", ".expect[0].by", "only a cancellation"),
    ],
)
def test_a_mistake_in_a_test_file_is_named(
    tmp_path: Path, old: str, new: str, field: str, says: str
) -> None:
    text = (
        "cases:\n  - name: hello\n    events:\n      - {at: 0, type: register}\n"
        "    until: 1d\n    expect:\n      - {at: 0, is: raised}\n"
    )
    assert old in text
    path = tmp_path / "welcome.test.yaml"
    path.write_text(text.replace(old, new))
    _, errors = read_cases(path, frozenset({"welcome"}))
    assert any(error.field == f"cases[0]{field}" and says in error.message for error in errors), [
        str(error) for error in errors
    ]


def test_a_test_file_without_its_rule_is_a_mistake(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (own / "rules" / "welcome.test.yaml").rename(own / "rules" / "welcom.test.yaml")
    assert run("check", "--config", str(own)) == 2
    assert "tests no rule; did you mean 'welcome'?" in capsys.readouterr().err


def test_offsets_are_written_as_they_are_read() -> None:
    assert written_offset(30 * DAY) == "30d"
    assert written_offset(DAY + 2 * HOUR) == "1d 2h"
    assert written_offset(-1) == "-1ms"


# --- rules check and rules list -----------------------------------------------------------------


def test_rules_check_is_content_with_what_is_shipped(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check") == 0
    assert capsys.readouterr().out.startswith(f"ok: {len(SHIPPED)} rules")


def test_rules_check_tells_every_mistake_one_a_line(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(own / "rules" / "welcome.yaml", "reentry: once", "reentry: twice")
    change(own / "rules" / "cart_abandoned.yaml", "add_to_cart", "add_to_card")
    assert run("check", "--config", str(own), "--json") == 2
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert len(lines) == 2
    file = own / "rules" / "cart_abandoned.yaml"
    assert lines[0].startswith(f"{file}:7:20: cart_abandoned: when.absence.after.event: ")
    assert json.loads(captured.out.splitlines()[-1]) == {"errors": lines}


def test_what_is_wrong_with_policy_and_tests_is_told_beside_a_broken_rule(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(own / "rules" / "welcome.yaml", "reentry: once", "reentry: twice")
    change(own / "rules" / "welcome.test.yaml", "type: register", "type: registre")
    shutil.copy(own / "rules" / "welcome.test.yaml", own / "rules" / "welcom.test.yaml")
    override = "hold: {rule: welcom}, from: 2026-11-24T12:00:00Z, until: 2026-11-25T12:00:00Z"
    lines = ["pace: null", "stop: [all]", f"overrides: [{{{override}, by: ann, reason: tills}}]"]
    (own / "policy.yaml").write_text("\n".join(lines))
    assert run("check", "--config", str(own)) == 2
    told = capsys.readouterr().err
    for said in (
        "welcome.yaml:6:10: welcome: reentry: must be once",
        "did you mean 'register'?",
        "tests no rule; did you mean 'welcome'?",
        "policy.yaml:1:7: pace: has no value",
        "policy.yaml:2:8: stop[0]: 'all' is not known",
        "there is no rule 'welcom'; did you mean 'welcome'?",
    ):
        assert said in told
    assert "welcome.test.yaml:1:1" not in told, "a test of a broken rule tests a rule"


def test_a_folder_that_is_not_there_is_bad_usage(tmp_path: Path) -> None:
    for verb in ("check", "test", "list"):
        assert run(verb, "--config", str(tmp_path / "nowhere")) == 2


def test_rules_list_names_every_rule(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list", "--json") == 0
    out = capsys.readouterr().out
    rows = json.loads(out.splitlines()[-1])["rules"]
    assert {row["rule"] for row in rows} == SHIPPED
    (welcome,) = [row for row in rows if row["rule"] == "welcome"]
    assert (welcome["when"], welcome["reentry"]) == ("registered", "once")
