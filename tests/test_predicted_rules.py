"""What rules make of a score: thresholds with a way back and a dwell, conditions, offers, ranks."""

from pathlib import Path
from typing import Any

import pytest
from audience_kit import book_with, segments_of
from core_builders import (
    DAY,
    HOUR,
    MINUTE,
    NOON,
    SECOND,
    Life,
    book_of,
    received,
    row_of,
    write_rules,
)

from app.rule_cases import Said
from app.rule_tests import Script
from config.errors import ConfigErrors
from config.paths import package_dir
from config.rule_files import load_rules
from config.stage_files import load_stages
from models.audiences import NOBODY
from models.churn import Blend, Churn, Scorer
from models.engine import advance, handle, next_due, rescore
from models.features import FEATURES, OF_CHURN, Population
from models.logistic import Logistic
from models.outcome import Context, Outcome
from models.policy import Arbitration, Policy
from models.predictions import Predictions
from models.reason_codes import CODES, because
from models.rhythm import Rhythm, bought
from models.rulebook import RuleBook
from models.rules import Crosses, PredictedIs, Rung
from models.stages import StageTable

HIGH = {"crosses": {"number": "churn", "at_least": 0.8, "back_below": 0.7, "dwell": "3d"}}
FELL = {"crosses": {"number": "churn", "below": 0.5, "back_at_least": 0.8}}


class Scored(Life):
    """A life in which the model says what the test says that it says."""

    def __init__(self, book: RuleBook) -> None:
        super().__init__(book)
        self.models = Script()

    def folds(self, found: Any, now: int | None = None) -> Outcome:
        self._offset += 1
        context = Context(self.book, now, models=self.models)
        return self._keep(handle(self.member, received(found, self._offset), context))

    def reaches(self, at: int, now: int | None = None) -> Outcome:
        return self._keep(advance(self.member, at, Context(self.book, now, models=self.models)))

    def is_scored(self, at: int, churn: float, value: float = 0.0) -> Outcome:
        self.reaches(at)
        self.models.said = Said(at, churn, value)
        return self._keep(rescore(self.member, at, Context(self.book, models=self.models)))


def stages() -> StageTable:
    return load_stages(package_dir() / "stages.yaml")


def predicting(book: RuleBook, policy: Policy | None = None) -> RuleBook:
    return RuleBook(
        book.rules.values(),
        StageTable((), book.bands),
        book.policy if policy is None else policy,
        book.limits,
        book.audiences,
        Predictions(),
    )


def scored(folder: Path, *rules: dict[str, Any], policy: Policy | None = None) -> Scored:
    life = Scored(predicting(book_of(write_rules(folder, *rules)), policy))
    life.sees("purchase", NOON, total=50)
    return life


# --- thresholds -----------------------------------------------------------------------------------


def test_a_risk_that_stays_high_is_raised_once_until_it_was_low_again(tmp_path: Path) -> None:
    life = scored(tmp_path, {"rule": "high", "when": HIGH})
    life.is_scored(NOON + DAY, 0.8)
    assert next_due(life.member, life.book) <= NOON + 4 * DAY
    life.is_scored(NOON + 2 * DAY, 0.95)
    life.is_scored(NOON + 3 * DAY, 0.7)
    life.reaches(NOON + 4 * DAY - 1)
    assert life.raised == []
    life.reaches(NOON + 4 * DAY)
    life.reaches(NOON + 60 * DAY)
    assert life.raised == ["high"]
    life.is_scored(NOON + 61 * DAY, 0.699)
    life.is_scored(NOON + 62 * DAY, 0.9)
    life.reaches(NOON + 66 * DAY)
    assert life.raised == ["high", "high"]


def test_a_fall_is_only_one_from_a_height(tmp_path: Path) -> None:
    life = scored(tmp_path, {"rule": "fell", "when": FELL})
    for day, churn in enumerate((0.3, 0.79, 0.3, 0.8, 0.5, 0.49, 0.2), start=1):
        life.is_scored(NOON + day * DAY, churn)
        assert life.raised == (["fell"] if day >= 6 else [])


def test_saving_the_member_between_any_two_scores_changes_nothing(tmp_path: Path) -> None:
    rules = [{"rule": "high", "when": HIGH}, {"rule": "fell", "when": FELL}]
    lives = [scored(tmp_path, *rules) for _ in range(2)]
    for day, churn in enumerate((0.3, 0.85, 0.9, 0.75, 0.72, 0.4, 0.9, 0.6), start=1):
        for life in lives:
            life.is_scored(NOON + 2 * day * DAY, churn)
        lives[1].is_saved_and_loaded()
        assert row_of(lives[0].member, lives[0].book) == row_of(lives[1].member, lives[1].book)
    assert lives[0].said == lives[1].said
    assert sorted(lives[0].raised) == ["fell", "high"]


def test_who_is_of_little_risk_has_nothing_in_the_row_for_these_rules(tmp_path: Path) -> None:
    life = scored(tmp_path, {"rule": "high", "when": HIGH}, {"rule": "fell", "when": FELL})
    life.is_scored(NOON + DAY, 0.3)
    assert life.member.logs == {}
    life.is_scored(NOON + 2 * DAY, 0.85)
    assert len(life.member.logs) == 2


def test_a_score_is_only_followed_in_the_stages_that_the_rule_asks_for(tmp_path: Path) -> None:
    rule = {"rule": "high", "when": HIGH, "if": {"stage": ["active", "loyal"]}}
    book = book_of(write_rules(tmp_path, rule))
    life = Scored(
        RuleBook(book.rules.values(), stages(), Policy(), book.limits, NOBODY, Predictions())
    )
    life.sees("purchase", NOON)
    life.is_scored(NOON + DAY, 0.9)
    assert life.member.logs == {}
    life.sees("purchase", NOON + 2 * DAY)  # active now
    life.is_scored(NOON + 3 * DAY, 0.9)
    assert len(life.member.logs) == 1
    life.reaches(NOON + 6 * DAY)
    assert life.raised == ["high"]
    life.reaches(NOON + 200 * DAY)
    assert life.member.logs == {}


def test_history_that_is_loaded_raises_nothing(tmp_path: Path) -> None:
    life = scored(
        tmp_path, {"rule": "high", "when": {"crosses": HIGH["crosses"] | {"dwell": "1s"}}}
    )
    life.models.said = Said(0, 0.9, 0.0)
    life.sees("visit", NOON + DAY, now=NOON + 90 * DAY, origin="backfill")
    life.reaches(NOON + 91 * DAY, now=NOON + 91 * DAY)
    assert life.verdicts == [("high", "backfill")]


# --- conditions -----------------------------------------------------------------------------------


def test_a_condition_on_a_score_fails_for_who_has_none(tmp_path: Path) -> None:
    wanted = {"churn": {"below": 0.9}, "expected_value": {"at_least": 20}}
    life = scored(tmp_path, {"rule": "hello", "when": {"event": "visit"}, "if": wanted})
    life.sees("visit", NOON + HOUR)
    assert life.verdicts == [("hello", "condition")]
    life.is_scored(NOON + DAY, 0.9, 20)
    life.sees("visit", NOON + DAY + HOUR)
    life.is_scored(NOON + 2 * DAY, 0.8999, 19.99)
    life.sees("visit", NOON + 2 * DAY + HOUR)
    life.is_scored(NOON + 3 * DAY, 0.8999, 20)
    life.sees("visit", NOON + 3 * DAY + HOUR)
    assert [verdict for _, verdict in life.verdicts] == [*["condition"] * 3, "raised"]
    assert (life.said[0].context.churn, life.said[0].context.expected_value) == (0.8999, 20.0)  # type: ignore[union-attr]


def test_a_segment_goes_by_the_score_when_it_changes(tmp_path: Path) -> None:
    book = predicting(book_with(tmp_path, {"risky": {"churn": {"at_least": 0.8}}}))
    life = Scored(book)
    life.sees("purchase", NOON)
    assert segments_of(life.member, book) == set()
    life.is_scored(NOON + DAY, 0.8)
    assert segments_of(life.member, book) == {"risky"}
    life.is_scored(NOON + 2 * DAY, 0.7)
    assert segments_of(life.member, book) == set()
    # The weekly look moves half of the way each time.
    life.models.said = Said(0, 0.95, 0.0)
    life.reaches(NOON + 30 * DAY)
    assert segments_of(life.member, book) == {"risky"}


# --- offers and ranks -----------------------------------------------------------------------------

LADDER = ["guide", {"offer": "gift", "expected_value": 20}, {"offer": "half", "expected_value": 40}]


@pytest.mark.parametrize(
    ("value", "offers"),
    [(None, ["guide", "gift", "half"]), (19.99, ["guide"] * 3), (20, ["guide", "gift", "gift"])],
)
def test_no_better_offer_is_made_than_a_member_is_worth(
    tmp_path: Path, value: float | None, offers: list[str]
) -> None:
    steps = {"series": {"after": "purchase", "steps": ["1d", "2d", "3d"], "until": "purchase"}}
    life = scored(tmp_path, {"rule": "back", "when": steps, "ladder": LADDER})
    if value is not None:
        life.is_scored(NOON + HOUR, 0.5, value)
    life.reaches(NOON + 4 * DAY)
    assert [m.offer.name for m in life.said] == offers  # type: ignore[union-attr]


def test_of_equal_priority_what_is_worth_more_goes_first(tmp_path: Path) -> None:
    def looked(rule: str, after: str) -> dict[str, Any]:
        of = {"event": "purchase", "same": "item_id"}
        when = {"absence": {"after": after, "of": of, "within": "10m"}}
        return {"rule": rule, "when": when}

    cart = {"absence": {"after": "add_to_cart", "of": "purchase", "within": "10m"}}
    rules = [looked("a_look", "view_item"), {"rule": "b_cart", "when": cart}]
    for price, winner in ((30, "b_cart"), (90, "a_look")):
        folder = tmp_path / str(price)
        life = scored(folder, *rules, policy=Policy(arbitration=Arbitration(30 * SECOND)))
        life.sees("view_item", NOON + HOUR, item_id="tea", price=price)
        life.sees("add_to_cart", NOON + HOUR, item_id="cup", price=20, quantity=3)
        life.is_saved_and_loaded()
        life.reaches(NOON + HOUR + 11 * MINUTE)
        assert life.raised == [winner]


# --- files ----------------------------------------------------------------------------------------

RULE = "rule: it\nversion: 1\nabout: A rule.\nreentry: always\nexpires_after: 1d\n"


def test_the_files_say_it_so(tmp_path: Path) -> None:
    (tmp_path / "it.yaml").write_text(
        RULE
        + "when: {crosses: {number: churn, at_least: 0.8, back_below: 0.7, dwell: 3d}}\n"
        + "if: {churn: {at_least: 0.8}, expected_value: {below: 30}}\n"
    )
    [rule] = load_rules(tmp_path)
    assert rule.when == Crosses("churn", 0.8, 0.7, True, 0, 3 * DAY)
    assert rule.condition is not None
    assert rule.condition.tests == (
        PredictedIs("churn", 0.8, None),
        PredictedIs("expected_value", None, 30),
    )
    steps = "when: {series: {after: purchase, steps: [1d, 2d], until: purchase}}\n"
    (tmp_path / "it.yaml").write_text(
        RULE + steps + "ladder: [guide, {offer: gift, expected_value: 20}]\n"
    )
    [rule] = load_rules(tmp_path)
    assert rule.ladder == (Rung("guide"), Rung("gift", 20))


@pytest.mark.parametrize(
    ("written", "field", "says"),
    [
        ("when: {crosses: {number: churn, at_least: 80}}", "when.crosses.at_least", "0.999"),
        (
            "when: {crosses: {number: churn, at_least: 0.8, within: 28d}}",
            "when.crosses.within",
            "churn has no window",
        ),
        ("when: {event: visit}\nif: {churn: {at_least: 80}}", "if.churn.at_least", "1"),
        ("when: {event: visit}\nif: {churn: {}}", "if.churn", "needs at_least, below or both"),
        (
            "when: {series: {after: visit, steps: [1d, 2d], until: visit}}\n"
            "ladder: [{offer: a, expected_value: 9}, b]",
            "ladder",
            "must not be for less expected value",
        ),
        (
            "when: {series: {after: visit, steps: [1d], until: visit}}\nladder: [{offer: a}]",
            "ladder[0].expected_value",
            "is missing",
        ),
    ],
)
def test_what_is_wrong_in_a_file_is_named(
    tmp_path: Path, written: str, field: str, says: str
) -> None:
    (tmp_path / "it.yaml").write_text(RULE + written + "\n")
    with pytest.raises(ConfigErrors) as caught:
        load_rules(tmp_path)
    assert any(error.field == field and says in error.message for error in caught.value.errors), [
        (error.field, error.message) for error in caught.value.errors
    ]


# --- reasons --------------------------------------------------------------------------------------


NAMES = [feature.name for feature in FEATURES[:OF_CHURN]]


def blaming(**weights: float) -> Scorer:
    """A scorer whose direct twin goes by some features alone."""
    means, ones = (0.0,) * len(NAMES), (1.0,) * len(NAMES)
    direct = Logistic(1000, means, ones, tuple(weights.get(name, 0.0) for name in NAMES), 0.0)
    return Scorer(Churn(30, Population(), direct, None, None, Blend(1.0, 0.0, 0.0)))


def rhythm_of(*days: int) -> Rhythm:
    found = bought(None, days[0], 1000)
    for day in days[1:]:
        found = bought(found, day, 1000)
    return found


def test_what_features_say_together_is_one_reason() -> None:
    scorer = blaming(late=2.0, late_squared=0.1, often_90=-0.1)
    rhythm = rhythm_of(20_000, 20_007, 20_014)
    said = because(scorer, rhythm, 20_100)
    parts = dict(scorer.reasons(rhythm, 20_100, len(NAMES)))
    assert said[0].code == "silence"
    assert said[0].log_odds == pytest.approx(parts["late"] + parts["late_squared"])
    assert said[0].english == "silent for longer than usual for this member"
    assert [one.code for one in said] == ["silence", "frequency"]


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_reason_is_only_given_when_it_is_true_of_the_member(sign: float) -> None:
    scorer = blaming(late=sign)
    weekly = rhythm_of(20_000, 20_007, 20_014)
    # Weights of the wrong sign may blame the silence of who has bought a day ago.
    late, early = because(scorer, weekly, 20_100), because(scorer, weekly, 20_015)
    assert [one.code for one in (*late, *early)] == (["silence"] * 2 if sign > 0 else [])
    if sign > 0:
        assert late[0].log_odds > 0 > early[0].log_odds
    own = blaming(own=1.0)
    assert because(own, rhythm_of(20_000), 20_001) == ()  # of one order nothing can be said


def test_every_feature_belongs_to_a_reason() -> None:
    assert sorted(name for code in CODES.values() for name in code.features) == sorted(NAMES)


@pytest.mark.parametrize(("locale", "word"), [("en", "late"), ("zh-CN", "晚")])
def test_a_trigger_says_what_made_the_score_so(tmp_path: Path, locale: str, word: str) -> None:
    class Talking(Script):
        def because(self, _: Rhythm, __: int) -> tuple[tuple[str, str], ...]:
            return (("late", "晚"),)

    life = scored(tmp_path, {"rule": "high", "when": HIGH})
    life.models = Talking()
    life.sees("profile", NOON + HOUR, locale=locale)
    life.is_scored(NOON + DAY, 0.8)
    life.reaches(NOON + 5 * DAY)
    [trigger] = life.said
    assert trigger.reason.because == (word,)  # type: ignore[union-attr]
