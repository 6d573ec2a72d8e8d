"""The loader of conditions: what it reads, and that every mistake is named with its place."""

from pathlib import Path
from typing import Any

import pytest

from config.errors import ConfigError, ConfigErrors
from config.rule_files import load_rules
from models.rules import (
    ActivityDrop,
    BandEntered,
    BirthdayKnown,
    Count,
    Crosses,
    EventsAre,
    IsIn,
    LastWas,
    LateForMember,
    OrdersAre,
    Pattern,
    PointsAre,
    Reachable,
    Rule,
    Rung,
    Sequence,
    Series,
    SpendIs,
    StageLeft,
    Sum,
    TierEntered,
)
from models.times import DAY, HOUR

RULE = """\
rule: it
version: 1
about: A rule.
when: {WHEN}
reentry: always
expires_after: 1d
"""
VIEW = Pattern("view_item")
BUY = Pattern("purchase")


def written(folder: Path, when: str, more: str = "") -> Path:
    (folder / "it.yaml").write_text(RULE.replace("{WHEN}", when) + more)
    return folder


def loaded(folder: Path, when: str, more: str = "") -> Rule:
    (rule,) = load_rules(written(folder, when, more))
    return rule


def errors_of(folder: Path, when: str, more: str = "") -> list[ConfigError]:
    with pytest.raises(ConfigErrors) as caught:
        load_rules(written(folder, when, more))
    return list(caught.value.errors)


@pytest.mark.parametrize(
    ("when", "wanted"),
    [
        (
            "{count: {of: view_item, at_least: 3, same: item_id, within: 24h}}",
            Count((VIEW,), 3, DAY, "item_id"),
        ),
        (
            "{count: {of: [view_item, purchase], at_least: 2, within: 1h}}",
            Count((VIEW, BUY), 2, HOUR),
        ),
        (
            "{sum: {of: purchase, field: total, at_least: 499.5, within: 30d}}",
            Sum((BUY,), "total", 499.5, 30 * DAY),
        ),
        (
            "{sequence: {steps: [view_item, [view_item, purchase]], within: 7d, same: item_id}}",
            Sequence(((VIEW,), (VIEW, BUY)), 7 * DAY, "item_id"),
        ),
        (
            "{series: {after: view_item, steps: [1d, 2d],"
            " until: {event: purchase, same: item_id}}}",
            Series((VIEW,), (Pattern("purchase", same="item_id"),), (DAY, 2 * DAY), "item_id"),
        ),
        ("{stage_left: active}", StageLeft("active")),
        ("{band_entered: high}", BandEntered("high")),
        ("{tier_entered: gold}", TierEntered("gold")),
        ("{crosses: {number: points, at_least: 1000}}", Crosses("points", 1000, 1000)),
        (
            "{crosses: {number: orders, below: 3, back_at_least: 5, within: 365d}}",
            Crosses("orders", 3, 5, upward=False, within=365 * DAY),
        ),
        (
            "{crosses: {number: spend, at_least: 500, back_below: 400, within: 28d, dwell: 1d}}",
            Crosses("spend", 500, 400, within=28 * DAY, dwell=DAY),
        ),
        ("{activity_drop: {below: 0.3, for: 14d}}", ActivityDrop(0.3, 14 * DAY)),
        (
            "{late_for_member: {percentile: 90, typical: 30d, fixed: 60d}}",
            LateForMember((BUY,), 90, 30 * DAY, 60 * DAY),
        ),
    ],
)
def test_a_condition_is_read(tmp_path: Path, when: str, wanted: Any) -> None:
    assert loaded(tmp_path, when).when == wanted


@pytest.mark.parametrize(
    ("when", "field", "says"),
    [
        ("{counts: {of: view_item}}", "when.counts", "did you mean 'count'?"),
        ("{count: {of: view_item, within: 1h}}", "when.count.at_least", "is missing"),
        (
            "{count: {of: view_item, at_least: 51, within: 1h}}",
            "when.count.at_least",
            "a whole number from 1 to 50",
        ),
        (
            "{count: {of: visit, at_least: 2, within: 1h, same: item_id}}",
            "when.count.same",
            "visit has no item_id",
        ),
        (
            "{count: {of: view_item, at_least: 2, same: item, within: 1h}}",
            "when.count.same",
            "did you mean 'item_id'?",
        ),
        (
            "{count: {of: {event: view_itm}, at_least: 2, within: 1h}}",
            "when.count.of.event",
            "did you mean 'view_item'?",
        ),
        (
            "{sum: {of: purchase, field: price, at_least: 2, within: 1h}}",
            "when.sum.field",
            "allowed: total, discount",
        ),
        (
            "{sum: {of: visit, field: total, at_least: 2, within: 1h}}",
            "when.sum.field",
            "no number in common",
        ),
        ("{sequence: {steps: [visit], within: 1h}}", "when.sequence.steps", "from 2 to 12 steps"),
        ("{sequence: {steps: visit, within: 1h}}", "when.sequence.steps", "a list of patterns"),
        (
            "{series: {after: visit, steps: [2d, 1d], until: purchase}}",
            "when.series.steps",
            "later than the one before",
        ),
        ("{series: {after: visit, steps: [1d]}}", "when.series.until", "is missing"),
        ("{crosses: {number: score, at_least: 1}}", "when.crosses.number", "points, orders, spend"),
        ("{crosses: {number: points}}", "when.crosses", "at_least (on the way up) or below"),
        (
            "{crosses: {number: points, at_least: 5, back_below: 6}}",
            "when.crosses.back_below",
            "lies beyond 5",
        ),
        (
            "{crosses: {number: points, at_least: 5, back_at_least: 6}}",
            "when.crosses.back_at_least",
            "goes the other way",
        ),
        (
            "{crosses: {number: points, at_least: 5, within: 1d}}",
            "when.crosses.within",
            "has no window",
        ),
        ("{crosses: {number: spend, at_least: 5}}", "when.crosses.within", "is missing"),
        (
            "{crosses: {number: spend, at_least: 5, within: 30d}}",
            "when.crosses.within",
            "must be a multiple of 28d up to 364d",
        ),
        (
            "{activity_drop: {below: 30, for: 1d}}",
            "when.activity_drop.below",
            "a number from 0.01 to 0.99",
        ),
        (
            "{late_for_member: {percentile: 90, fixed: 60d}}",
            "when.late_for_member.typical",
            "is missing",
        ),
        ("{stage_left: activ}", "when.stage_left", "did you mean 'active'?"),
        ("{visit: 1, event: visit}", "when.visit", "is not known here"),
        ("{event: visit, tier_entered: gold}", "when", "needs exactly one of"),
    ],
)
def test_a_wrong_condition_is_named(tmp_path: Path, when: str, field: str, says: str) -> None:
    errors = errors_of(tmp_path, when)
    (error,) = [error for error in errors if error.field == field]
    assert says in error.message
    assert error.line == 4
    assert error.column > 1


@pytest.mark.parametrize(
    ("written_if", "wanted"),
    [
        ("{stage: [new, silent]}", IsIn("stage", ("new", "silent"))),
        ("{band: high}", IsIn("band", ("high",))),
        ("{tier: gold}", IsIn("tier", ("gold",))),
        ("{points: {at_least: -5, below: 10.5}}", PointsAre(-5, 10.5)),
        ("{orders: {at_least: 1, within: 30d}}", OrdersAre(1, None, 30 * DAY)),
        ("{orders: {below: 100}}", OrdersAre(None, 100)),
        ("{spend: {at_least: 500, within: 364d}}", SpendIs(500, None, 364 * DAY)),
        ("{counts: {review: {at_least: 1}}}", EventsAre("review", 1, None)),
        ("{last_order: {older_than: 30d}}", LastWas("last_order", 30 * DAY)),
        ("{last_activity: {newer_than: 1d}}", LastWas("last_activity", None, DAY)),
        ("{registered: {older_than: 1h}}", LastWas("registered", HOUR)),
        ("{source: douyin}", IsIn("source", ("douyin",))),
        ("{campaign: Spring 2026}", IsIn("campaign", ("Spring 2026",))),
        ("{reachable: [sms, email]}", Reachable(("sms", "email"))),
        ("{birthday: unknown}", BirthdayKnown(False)),
    ],
)
def test_a_state_condition_is_read(tmp_path: Path, written_if: str, wanted: Any) -> None:
    rule = loaded(tmp_path, "{event: visit}", f"if: {written_if}\n")
    assert rule.condition is not None
    assert rule.condition.tests == (wanted,)


def test_any_and_not_are_lists_of_groups(tmp_path: Path) -> None:
    text = "if:\n  any: [{tier: gold, stage: new}, {band: high}]\n  not: [{birthday: known}]\n"
    condition = loaded(tmp_path, "{event: visit}", text).condition
    assert condition is not None
    assert condition.tests == ()
    assert condition.any_of == (
        (IsIn("stage", ("new",)), IsIn("tier", ("gold",))),
        (IsIn("band", ("high",)),),
    )
    assert condition.none_of == ((BirthdayKnown(True),),)


@pytest.mark.parametrize(
    ("written_if", "field", "says"),
    [
        ("{}", "if", "needs at least one of"),
        ("{stages: new}", "if.stages", "did you mean 'stage'?"),
        ("{stage: nwe}", "if.stage", "did you mean 'new'?"),
        ("{points: 5}", "if.points", "must be a mapping"),
        ("{points: {}}", "if.points", "needs at_least, below or both"),
        ("{points: {at_least: 5, below: 5}}", "if.points", "leave nothing"),
        ("{points: {at_least: null}}", "if.points.at_least", "must be a number"),
        ("{orders: {at_least: 9, within: 7d}}", "if.orders.at_least", "from 1 to 8"),
        ("{spend: {at_least: 1, within: 400d}}", "if.spend.within", "is known for 364d"),
        ("{counts: {revew: {at_least: 1}}}", "if.counts.revew", "did you mean 'review'?"),
        ("{last_order: {}}", "if.last_order", "needs older_than, newer_than or both"),
        (
            "{last_order: {older_than: 9d, newer_than: 9d}}",
            "if.last_order",
            "must be the shorter",
        ),
        ("{birthday: yes}", "if.birthday", "allowed: known, unknown"),
        ("{segments: vip}", "if.segments", "'vip' is no segment; no segment is defined"),
        ("{tags: [vip]}", "if.tags[0]", "'vip' is no tag; no tag is defined"),
        ("{any: {tier: gold}}", "if.any", "a list of mappings"),
        ("{any: [{any: [{tier: gold}]}]}", "if.any[0].any", "is not known here"),
        ("{not: [{}]}", "if.not[0]", "needs at least one of"),
    ],
)
def test_a_wrong_state_condition_is_named(
    tmp_path: Path, written_if: str, field: str, says: str
) -> None:
    errors = errors_of(tmp_path, "{event: visit}", f"if: {written_if}\n")
    (error,) = [error for error in errors if error.field == field]
    assert says in error.message
    assert error.line == 7


def test_mode_ladder_and_what_it_serves_are_read(tmp_path: Path) -> None:
    series = "{series: {after: register, steps: [1d, 2d], until: purchase}}"
    more = "mode: shadow\nladder: [five, ten]\nserves: A3.16\n"
    rule = loaded(tmp_path, series, more)
    assert (rule.mode, rule.serves) == ("shadow", "A3.16")
    assert rule.ladder == (Rung("five"), Rung("ten"))
    plain = loaded(tmp_path, series)
    assert (plain.mode, plain.ladder, plain.serves, plain.condition) == ("live", (), None, None)


@pytest.mark.parametrize(
    ("more", "field", "says"),
    [
        ("mode: shaddow\n", "mode", "did you mean 'shadow'?"),
        ("ladder: [five]\n", "ladder", "only goes with a series"),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, more: str, field: str, says: str) -> None:
    (error,) = errors_of(tmp_path, "{event: visit}", more)
    assert error.field == field
    assert says in error.message


def test_all_mistakes_of_a_rule_are_told_at_once(tmp_path: Path) -> None:
    when = "{count: {of: vist, at_least: 0, within: 1}}"
    errors = errors_of(tmp_path, when, "if: {stage: nwe, points: {}}\nmode: on\n")
    assert [error.field for error in errors] == [
        "when.count.of",
        "when.count.at_least",
        "when.count.within",
        "if.stage",
        "if.points",
        "mode",
    ]
