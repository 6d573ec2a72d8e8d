"""When members are scored, when they are asked about, and what the trainer is told."""

from functools import cache
from typing import Any

from core_builders import NOON, event, received, whole_book
from scripted_models import Scripted, ScriptedModels

from config.paths import load_config
from models.asking import Bought, Question
from models.engine import advance, handle, next_due
from models.member import Member, decode, encode
from models.outcome import Context, Outcome
from models.policy import Policy
from models.predictions import Predictions
from models.projection import project
from models.replay import Replay
from models.rhythm import Rhythm, asked_on, member_number
from models.rulebook import RuleBook
from models.rules import Limits
from models.scoring import ASKED_FOR, number_of
from models.stages import NEVER
from models.times import DAY, HOUR
from models.triggers import ExpectedOrder

TODAY = NOON // DAY


@cache
def book(predictions: Predictions | None = Predictions(), **limits: Any) -> RuleBook:  # noqa: B008
    """Stages and nothing else: whatever is due is a grid instant or a stage."""
    return RuleBook((), load_config().stages, Policy(), Limits(**limits), predictions=predictions)


class CountingModels(ScriptedModels):
    """Notes the days that were scored."""

    def __init__(self) -> None:
        super().__init__()
        self.scored: list[int] = []

    def at(self, day: int) -> Scripted | None:
        counting = self

        class Counting(Scripted):
            def churn(self, rhythm: Rhythm, day: int) -> tuple[float, float | None]:
                counting.scored.append(day)
                return super().churn(rhythm, day)

        return Counting(day)


class Life:
    """A member and what came of everything."""

    def __init__(self, context: Context, name: str = "m1") -> None:
        self.member = Member(name, False)
        self.context = context
        self.asked: list[Question | Bought] = []

    def happens(self, kind: str, at: int, **fields: Any) -> Outcome:
        one = received(event(kind, at, self.member.id, **fields))
        return self._note(handle(self.member, one, self.context))

    def reaches(self, to: int) -> Outcome:
        return self._note(advance(self.member, to, self.context))

    def _note(self, outcome: Outcome) -> Outcome:
        self.asked += outcome.asked
        return outcome

    @property
    def questions(self) -> list[Question]:
        return [one for one in self.asked if isinstance(one, Question)]

    @property
    def purchases(self) -> list[Bought]:
        return [one for one in self.asked if isinstance(one, Bought)]


def stream(models: ScriptedModels | None = None, **choices: Any) -> Context:
    return Context(book(Predictions(**choices)), models=models or ScriptedModels())


def grid(name: str = "m1") -> int:
    """The first day from today on at whose end the member is asked."""
    return next(day for day in range(TODAY, TODAY + 7) if asked_on(member_number(name), day))


# -- asking


def test_a_buyer_is_asked_at_the_end_of_one_day_of_every_week() -> None:
    life = Life(stream())
    life.happens("purchase", NOON)
    life.reaches(NOON + 28 * DAY)
    first = grid()
    assert [one.day for one in life.questions] == [first + 7 * week for week in range(4)]
    assert {one.member for one in life.questions} == {number_of("m1")}
    assert [one.version for one in life.questions] == [one.day for one in life.questions]


def test_a_question_holds_the_state_of_its_moment() -> None:
    life = Life(stream())
    life.happens("purchase", NOON)
    end = (grid() + 1) * DAY
    life.happens("purchase", end - 1, order_id="before")
    life.happens("purchase", end, order_id="after")
    (question,) = life.questions
    before = 2 if grid() > TODAY else 1
    assert question.rhythm.purchases == before
    assert question.rhythm.last_day == grid()
    assert life.member.rhythm is not None
    assert life.member.rhythm.purchases == before + 1
    assert (question.p, question.p_week) == Scripted().churn(question.rhythm, grid())


def test_who_never_bought_is_not_asked() -> None:
    life = Life(stream())
    life.happens("view_item", NOON)
    life.reaches(NOON + 30 * DAY)
    assert life.asked == []
    assert life.member.rhythm is None
    assert life.member.score is None


def test_without_a_model_questions_are_asked_all_the_same() -> None:
    life = Life(Context(book()))
    life.happens("purchase", NOON)
    life.reaches(NOON + 7 * DAY)
    assert [(one.p, one.p_week, one.version) for one in life.questions] == [(None, None, 0)]
    assert life.member.score is None


def test_after_two_years_of_silence_nobody_is_asked() -> None:
    life = Life(stream())
    life.happens("purchase", NOON)
    life.reaches(NOON + 3 * 365 * DAY)
    assert life.questions[-1].day in range(TODAY + ASKED_FOR - 7, TODAY + ASKED_FOR + 1)
    life.happens("purchase", NOON + 3 * 365 * DAY + 1, order_id="back")
    life.reaches(NOON + 3 * 365 * DAY + 8 * DAY)
    assert life.questions[-1].day >= TODAY + 3 * 365


def test_history_on_a_live_clock_is_not_asked_about() -> None:
    context = Context(book(), now=NOON + 100 * DAY, models=ScriptedModels())
    life = Life(context)
    for week in range(8):
        life.happens("purchase", NOON + week * 7 * DAY, order_id=f"o{week}", origin="backfill")
    assert life.questions == []
    assert len(life.purchases) == 8
    # In stream time the same history is what is learned from.
    life = Life(stream())
    for week in range(8):
        life.happens("purchase", NOON + week * 7 * DAY, order_id=f"o{week}", origin="backfill")
    assert len(life.questions) == 7


# -- who is told of


def test_the_cohort_alone_is_learned_from_and_everybody_is_scored() -> None:
    share = 0.25
    names = [f"m{n}" for n in range(200)]
    lives = [Life(stream(share=share), name) for name in names]
    for life in lives:
        life.happens("purchase", NOON)
        life.reaches(NOON + 7 * DAY)
    learned = {life.member.id for life in lives if life.asked}
    assert learned == {name for name in names if member_number(name) < share * (1 << 63)}
    assert 30 < len(learned) < 70
    assert all(life.member.score is not None for life in lives)


def test_test_members_and_anonymous_ones_teach_nothing() -> None:
    life = Life(Context(book(test_members=frozenset({"m1"})), models=ScriptedModels()))
    life.happens("purchase", NOON)
    life.reaches(NOON + 7 * DAY)
    assert life.asked == []
    assert life.member.score is not None
    nobody = Member("a1", anonymous=True)
    bought = {"type": "purchase", "anonymous_id": "a1", "occurred_at": NOON, "order_id": "o"}
    outcome = handle(nobody, received(bought | {"total": 5}), stream())
    assert (outcome.asked, nobody.rhythm) == ([], None)


def test_a_purchase_says_how_long_it_has_been() -> None:
    life = Life(stream())
    life.happens("purchase", NOON, total=10, order_id="a")
    life.happens("purchase", NOON + HOUR, total=2.5, order_id="b")
    life.happens("purchase", NOON + 3 * DAY, total=1, order_id="c")
    life.happens("cancel", NOON + 3 * DAY + HOUR, order_id="c")
    told = [(one.day - TODAY, one.cents, one.gap) for one in life.purchases]
    assert told == [(0, 1000, 0), (0, 250, -1), (3, 100, 3), (3, -100, -1)]
    assert len({one.id for one in life.purchases}) == 4


def test_what_is_sent_twice_is_told_twice_with_the_same_id() -> None:
    told = []
    for _ in range(2):
        life = Life(stream())
        life.happens("purchase", NOON, event_id="e1")
        told.append(life.purchases)
    assert told[0] == told[1]


# -- the score


def test_what_a_member_does_counts_at_once_and_time_by_half() -> None:
    life = Life(stream())
    life.happens("purchase", NOON)
    at_once = life.member.score
    assert at_once is not None
    assert at_once.churn == at_once.raw == 5_000
    end = (grid() + 1) * DAY
    life.reaches(end)
    later = life.member.score
    assert later is not None
    assert later.raw == round(Scripted().churn(life.questions[-1].rhythm, grid())[0] * 10_000)
    assert later.churn == (5_000 + later.raw + 1) // 2
    life.happens("view_item", end + DAY + HOUR)
    seen = life.member.score
    assert seen is not None
    assert seen.churn == seen.raw
    assert (seen.version, seen.day) == (grid() + 2, grid() + 2)


def test_what_says_nothing_of_buying_is_not_scored_anew_on_the_same_day() -> None:
    models = CountingModels()
    life = Life(stream(models))
    end = (grid() + 1) * DAY
    life.happens("purchase", end + HOUR)
    life.happens("opened", end + 2 * HOUR, channel="email", message_id="m")
    assert models.scored == [end // DAY]
    life.happens("view_item", end + 3 * HOUR)
    life.happens("opened", end + 4 * HOUR, channel="email", message_id="n")
    assert models.scored == [end // DAY] * 2
    life.happens("opened", end + DAY, channel="email", message_id="o")
    assert models.scored == [end // DAY] * 2 + [end // DAY + 1]


def test_an_event_after_the_weekly_look_is_scored_whatever_it_is() -> None:
    life = Life(stream())
    life.happens("purchase", NOON)
    end = (grid() + 1) * DAY
    life.reaches(end)
    life.happens("opened", end + HOUR, channel="email", message_id="m")
    seen = life.member.score
    assert seen is not None
    assert (seen.day, seen.churn) == (end // DAY, seen.raw)


def test_a_newer_model_scores_whatever_comes() -> None:
    life = Life(stream())
    life.happens("purchase", NOON)
    old = life.member.score
    assert old is not None
    old.version -= 1
    life.happens("opened", NOON + HOUR, channel="email", message_id="m")
    assert life.member.score is not None
    assert life.member.score.version == TODAY


def test_the_value_is_kept_with_the_score() -> None:
    life = Life(stream())
    life.happens("purchase", NOON)
    life.happens("purchase", NOON + DAY, order_id="b")
    assert life.member.score is not None
    assert life.member.score.value == 200


def test_rhythm_and_score_survive_the_row() -> None:
    life = Life(stream())
    for day in (0, 3, 3, 20):
        life.happens("purchase", NOON + day * DAY, order_id=f"o{day}", event_id=f"e{day}")
    life.happens("view_item", NOON + 21 * DAY)
    life.reaches(NOON + 60 * DAY)
    row = encode(life.member, NEVER, 0)
    found = decode(row, "m1", False)
    assert found == life.member
    assert encode(found, NEVER, 0) == row


def test_what_is_foreseen_is_told_with_the_model_that_said_so() -> None:
    life = Life(stream())
    for day in range(3):
        life.happens("purchase", NOON + day * DAY, order_id=f"o{day}")
    told = project(life.member, None, life.context.book, life.context.models).foreseen
    assert told is not None
    assert (told.as_of, told.model) == ("2026-01-03", "2026-01-03")
    assert (told.churn, told.churn_smoothed) == (0.25, 0.25)
    assert (told.expected_value, told.expected_value_low, told.expected_value_high) == (3.0, 0, 6.0)
    # The ninth day and a half after the third of January, from the second to the thirtieth.
    assert told.next_order == ExpectedOrder(
        median="2026-01-13", earliest="2026-01-05", latest="2026-02-02"
    )
    assert told.reasons == ()


def test_of_who_is_unlikely_to_come_back_reasons_are_told_and_no_date() -> None:
    life = Life(stream())
    life.happens("purchase", NOON)
    life.reaches(NOON + 60 * DAY)
    told = project(life.member, None, life.context.book, life.context.models).foreseen
    assert told is not None
    assert told.churn > 0.9
    assert told.next_order is None
    assert told.reasons == ("was told so",)


def test_of_a_model_that_is_gone_the_row_alone_is_told() -> None:
    life = Life(stream())
    life.happens("purchase", NOON)
    told = project(life.member, None, life.context.book, ScriptedModels(TODAY + 1)).foreseen
    assert told is not None
    assert (told.churn, told.expected_value) == (0.5, 1.0)
    assert (told.expected_value_low, told.next_order, told.reasons) == (None, None, ())
    assert project(Member("x", False), None, life.context.book).foreseen is None


def test_of_who_has_bought_since_the_score_the_row_alone_is_told() -> None:
    """A worker that has just begun knows no model yet, and scores nobody."""
    life = Life(stream())
    life.happens("purchase", NOON)
    life.context = stream(ScriptedModels(TODAY + 9 * DAY))
    life.happens("purchase", NOON + 3 * DAY)
    told = project(life.member, None, life.context.book, ScriptedModels()).foreseen
    assert told is not None
    assert (told.as_of, told.churn) == ("2026-01-01", 0.5)
    assert (told.expected_value_low, told.next_order, told.reasons) == (None, None, ())


# -- deadlines


def test_the_next_grid_instant_is_a_deadline() -> None:
    life = Life(stream())
    life.happens("purchase", NOON)
    assert next_due(life.member, life.context.book) == (grid() + 1) * DAY
    life.reaches((grid() + 1) * DAY)
    assert next_due(life.member, life.context.book) == (grid() + 8) * DAY


def test_a_row_whose_id_is_unknown_is_looked_at_no_later_than_it_must_be() -> None:
    life = Life(stream())
    life.happens("purchase", NOON)
    row = encode(life.member, NEVER, 0)
    due = next_due(decode(row, "", False), life.context.book)
    assert NOON < due <= next_due(life.member, life.context.book)


def test_an_erased_member_has_no_rhythm_and_is_not_asked() -> None:
    life = Life(stream())
    life.happens("purchase", NOON)
    life.happens("erase", NOON + HOUR)
    life.reaches(NOON + 30 * DAY)
    assert life.questions == []
    assert (life.member.rhythm, life.member.score) == (None, None)


# -- off


def test_without_predictions_nothing_is_kept_scored_or_asked() -> None:
    life = Life(Context(book(None), models=ScriptedModels()))
    life.happens("purchase", NOON)
    life.reaches(NOON + 60 * DAY)
    assert (life.member.rhythm, life.member.score, life.asked) == (None, None, [])


def test_without_a_model_predictions_change_nothing_of_what_is_raised() -> None:
    plain = whole_book(assume_consent=True)
    stages = load_config().stages
    rules = (plain.rules.values(), stages, plain.policy, plain.limits, plain.audiences)
    said = []
    for rule_book in (plain, RuleBook(*rules, Predictions())):
        run = Replay(rule_book)
        messages = []
        for step in range(60):
            kind = ("view_item", "add_to_cart", "purchase")[step * 7 % 3]
            one = received(event(kind, NOON + step * 11 * HOUR, f"m{step % 5}"))
            messages += run.fold(one).triggers
        for outcome in run.finish(NOON + 60 * DAY):
            messages += outcome.triggers
        said.append(messages)
    assert said[0]
    assert said[0] == said[1]
