"""The shipped rule book: what it must have, how each rule is shown, and the page made of it."""

import re
from argparse import ArgumentParser
from itertools import pairwise

import pytest
from rule_facts import FACTS, failures_of

from app import rules_commands
from app.rule_cases import Case
from app.rule_tests import load_cases
from config.paths import load_config, package_dir
from models.calendar import Birthday, Calendar
from models.rules import LateForMember, Rule

CONFIG = load_config()
RULES = {rule.name: rule for rule in CONFIG.rules}
CASES = load_cases(package_dir() / "rules", CONFIG)
PAGE = package_dir().parent / "docs" / "rule-book.md"

# What the documents ask for, and the rules that do it.
WANTED: dict[str, tuple[str, ...]] = {
    "welcome offer": ("welcome",),
    "profile and preferences": ("complete_profile",),
    "first-purchase series": tuple(f"first_purchase_reminder_{n}d" for n in (1, 3, 7)),
    "five-day activation reminders": ("activation_steps",),
    "guided interaction checklist": (
        "guide_first_look",
        "guide_first_cart",
        "checklist_completed",
    ),
    "new-member invitation": ("new_member_invitation",),
    "offline event": ("event_followup",),
    "silent new member": ("activation_stalled",),
    "second purchase": ("second_purchase_due",),
    "browse abandonment": ("browse_abandoned", "repeated_view"),
    "cart abandonment": ("cart_abandoned",),
    "checkout abandonment": ("checkout_abandoned",),
    "recently viewed on return": ("recently_viewed_on_return", "returned_from_lost"),
    "birthday": ("birthday",),
    "festival": ("spring_festival", "mid_autumn"),
    "peak-season promotion": ("peak_june_18", "peak_double_11"),
    "weekly ritual": ("member_day", "regulars_day"),
    "points expiring": ("points_expiring",),
    "points threshold": ("points_reward",),
    "limited-time offers": ("offer_expiring",),
    "near upgrade": ("near_upgrade",),
    "tier at risk": ("tier_at_risk",),
    "VIP qualified": ("vip_qualified", "became_loyal"),
    "VIP lapsing": ("vip_lapsing",),
    "points acceleration": ("points_acceleration",),
    "beta access": ("beta_access",),
    "advocate identified": ("advocate_identified",),
    "referral thank-you": ("referral_thanks",),
    "review request": ("review_request",),
    "after-sales care": ("after_sales_care", "unhappy_review"),
    "30/60/90-day recall": tuple(
        f"{kind}_{n}d" for kind in ("no_order", "inactive") for n in (30, 60, 90)
    ),
    "late for this member": ("late_for_member",),
    "return visit": ("return_visit",),
    "strategy by stage": ("became_active", "became_dormant", "became_lost"),
    "win-back ladder": ("win_back_ladder",),
    "exit survey": ("exit_survey",),
    "sunset candidate": ("sunset_candidate",),
    "save play with a person": ("save_valuable",),
    "early churn warning": ("churn_warning", "churn_risk_high"),
    "the risk is over": ("churn_risk_fell",),
}

# Rows of the capabilities that a trigger can serve: A2 to A7, and of A9 what is a trigger.
SERVED = {9, 11, *range(13, 23), *range(24, 34), *range(35, 39), 49, 50, 51, 57}
# Rows that other parts serve, with what they are.
NOT_TRIGGERS = {
    10: "the source of recruitment: `if: {source: ...}`, and rates by source",
    12: "compliance: policy, erasure",
    23: "personal recommendation: candidates in a trigger's context, chosen by a model",
    34: "a 30-day horizon: scores",
    52: "content: a trigger's context",
    53: "channels: policy",
    54: "one rhythm: caps and arbitration",
    55: "value for budget: scores",
    56: "track and adjust: feedback",
}

names = pytest.mark.parametrize("name", sorted(RULES))


def cases_of(name: str) -> list[Case]:
    return [case for rule, case in CASES if rule == name]


def results_of(case: Case) -> list[str]:
    return [expected.result for expected in case.expect]


@pytest.mark.parametrize("wish", WANTED)
def test_what_the_documents_ask_for_has_a_rule(wish: str) -> None:
    assert set(WANTED[wish]) <= set(RULES)


def test_no_rule_is_there_that_nobody_asked_for() -> None:
    assert {name for found in WANTED.values() for name in found} == set(RULES)


def test_every_row_of_the_capabilities_is_served_or_is_no_trigger() -> None:
    assert set(range(9, 39)) | set(range(49, 58)) == SERVED | set(NOT_TRIGGERS)
    said = " ".join(rule.serves or "" for rule in RULES.values())
    assert {int(row) for row in re.findall(r"A\d\.(\d+)", said)} >= SERVED


@names
def test_a_rule_says_why_it_is_there_and_which_row_it_serves(name: str) -> None:
    rule = RULES[name]
    assert re.match(r"A\d\.\d+ \(.+\)", rule.serves or "")
    assert rule.about
    assert rule.group
    assert rule.play


@names
def test_a_rule_is_shown_to_fire_and_not_to_fire(name: str) -> None:
    fires = "raised" if RULES[name].mode == "live" else RULES[name].mode
    results = [results_of(case) for case in cases_of(name)]
    assert any(fires in result for result in results)
    assert any(fires not in result for result in results)


@names
def test_a_rule_is_shown_at_the_edge_of_time_to_the_millisecond(name: str) -> None:
    cases = cases_of(name)
    found = {one.at - case.start for case in cases for one in (*case.events, *case.scores)}
    assert any(at + 1 in found or at - 1 in found for at in found)


@pytest.mark.parametrize("name", [name for name, rule in RULES.items() if rule.mode == "live"])
def test_a_live_rule_is_shown_to_be_overtaken(name: str) -> None:
    # What is in shadow sends nothing that could be taken back.
    assert any("cancelled" in results_of(case) for case in cases_of(name))


@names
def test_a_rule_does_at_each_edge_what_the_table_of_facts_says(name: str) -> None:
    assert failures_of(name, cases_of(name), CONFIG) == []


def test_the_table_of_facts_has_every_rule() -> None:
    assert set(FACTS) == set(RULES)


def test_only_the_rule_that_history_speaks_against_is_in_shadow() -> None:
    shadows = [rule for rule in RULES.values() if rule.mode != "live"]
    assert [(rule.name, rule.mode) for rule in shadows] == [("no_order_30d", "shadow")]
    assert "61 %" in shadows[0].about
    assert "offer" in (shadows[0].play or "")
    assert shadows[0].ladder == ()


def test_each_recall_gives_way_to_the_next() -> None:
    recalls = ["no_order_60d", "no_order_90d", "inactive_60d", "inactive_90d", "late_for_member"]
    assert {RULES[name].episode for name in (*recalls, "win_back_ladder")} == {"recall"}


def test_what_is_late_for_a_member_wins_over_fixed_days() -> None:
    late = RULES["late_for_member"]
    assert isinstance(late.when, LateForMember)
    for kind in ("no_order", "inactive"):
        fixed = [RULES[f"{kind}_{days}d"].priority for days in (30, 60, 90)]
        assert all(lower < higher for lower, higher in pairwise((*fixed, late.priority)))


def test_the_birthday_is_seven_days_ahead() -> None:
    when = RULES["birthday"].when
    assert isinstance(when, Calendar)
    assert (type(when.day), when.days_before) == (Birthday, 7)


def test_people_take_care_of_the_valuable_the_unhappy_and_of_sunsets() -> None:
    by_people = {name for name, rule in RULES.items() if rule.route == "agent_task"}
    assert by_people == {
        *("save_valuable", "unhappy_review", "sunset_candidate", "churn_risk_fell"),
    }


def test_the_win_back_ladder_has_an_offer_for_each_step() -> None:
    ladder: Rule = RULES["win_back_ladder"]
    assert len(ladder.ladder) == len(ladder.when.steps)  # type: ignore[union-attr]


def test_the_page_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    parser = ArgumentParser()
    rules_commands.add_parsers(parser.add_subparsers())
    args = parser.parse_args(["rules", "list", "--markdown"])
    assert args.run(args) == 0
    assert capsys.readouterr().out == PAGE.read_text()
