"""The churn score: equal to River, rolled forward, blended by what has proved right."""

import json
import math
import random
import subprocess
import sys
from copy import copy
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from msgspec import structs
from plain_score import logit

from app.event_files import Event
from app.importers import cdnow
from app.importers.report import Report
from models.blending import MIXTURES, BlendState
from models.btyd import BgNbd
from models.checkpoint import LearnerState
from models.churn import Blend, Churn, Opinions, Scorer
from models.drift import ADAPTS, Drift
from models.features import OF_CHURN, ROLLING, Population, features
from models.learning import ADAPTIVE, NEWTON, STEADY, Learner
from models.logistic import Logistic, log_odds, sigmoid
from models.quality import Tally
from models.rhythm import bought
from models.times import DAY
from models.training import LEAST_LABELS, Twin

FIRST = 17_000
POPULATION = Population()
WIDTH = OF_CHURN
PLAIN = Logistic(5000, (0.0,) * WIDTH, (1.0,) * WIDTH, (0.0,) * WIDTH, 0.7)
EVEN = Blend(1 / 3, 1 / 3, 1 / 3)
HAS_CDNOW = find_spec("lifetimes") is not None


def rhythm_of(*days):
    rhythm = None
    for day in days:
        rhythm = bought(rhythm, FIRST + day, 2000)
    return rhythm


def rows_of_cdnow(most):
    """Return (rhythm, day, stayed away for 30 days) of real members, some time after an order."""
    events: list[Event] = cdnow.read(cdnow.located(), Report())
    days: dict[str, list[tuple[int, int]]] = {}
    for event in events:
        paid = (event["occurred_at"] // DAY, round(event["total"] * 100))
        days.setdefault(event["member_id"], []).append(paid)
    rows = []
    for number, orders in enumerate(days.values()):
        rhythm = None
        for (day, cents), (after, _) in pairwise([*orders, (10_408, 0)]):
            rhythm = bought(rhythm, day, cents)
            if after > day:
                asked = min(day + number % 23, after - 1)
                rows.append((copy(rhythm), asked, after > asked + 30))
        if len(rows) >= most:
            break
    return rows


@pytest.mark.skipif(not HAS_CDNOW, reason="CDNOW comes with the package Lifetimes")
@pytest.mark.parametrize(
    ("twin", "kind", "width"),
    [("direct", NEWTON, WIDTH), ("weekly", STEADY, ROLLING), ("weekly", ADAPTIVE, ROLLING)],
)
def test_a_score_gives_rivers_probabilities_to_the_bit(twin, kind, width):
    rows = rows_of_cdnow(3000)
    vectors = [features(rhythm, day, POPULATION) for rhythm, day, _ in rows]
    learner = Learner(kind, width)
    for index, (x, (_, _, churned)) in enumerate(zip(vectors, rows, strict=True)):
        learner.learn(x, churned)
        if index % 500 in (0, 1, 499):
            scorer = Scorer(churn(**{twin: learner.snapshot(), "blend": Blend(1.0, 0.0, 0.0)}))
            for other, (rhythm, day, _) in list(zip(vectors, rows, strict=True))[::7]:
                said = learner.pipeline.predict_proba_one(learner.row(other))[True]
                score = scorer(rhythm, day)
                assert (score.p if twin == "direct" else score.p_week) == said
    assert learner.labels == len(rows)
    assert any(learner.snapshot().weights)


@pytest.mark.parametrize("kind", [STEADY, ADAPTIVE, NEWTON])
def test_a_learner_goes_on_to_the_bit_from_its_state_as_json(kind):
    rng = random.Random(2)
    rows = [(tuple(rng.gauss(1, 2) for _ in range(WIDTH)), rng.random() < 0.4) for _ in range(400)]
    one = Learner(kind, WIDTH)
    for x, churned in rows[:200]:
        one.learn(x, churned)
    said = msgspec.json.encode(one.state())
    other = Learner.restored(msgspec.json.decode(said, type=LearnerState))
    for x, churned in rows[200:]:
        one.learn(x, churned)
        other.learn(x, churned)
    assert other.state() == one.state()


def test_a_learner_starts_at_even_odds_and_learns_what_there_is_to_learn():
    rng = random.Random(4)
    learner = Learner(STEADY, WIDTH)
    assert said_by(learner.snapshot()) == 0.0
    for _ in range(4000):
        x = tuple(rng.gauss(0, 1) for _ in range(WIDTH))
        learner.learn(x, rng.random() < sigmoid(1.5 * x[3] - 1))
    weights = learner.snapshot().weights
    assert max(range(WIDTH), key=lambda index: abs(weights[index])) == 3
    assert learner.snapshot().intercept < -0.5


def test_what_is_nearly_alike_is_told_apart_by_newtons_steps():
    """Late by one measure and not by another: it is the difference that says who comes back."""
    rng = random.Random(6)
    steady, newton = Learner(STEADY, WIDTH), Learner(NEWTON, WIDTH)
    for _ in range(6000):
        x = [rng.gauss(0, 1) for _ in range(WIDTH)]
        x[1] = x[0] + 0.5 * x[1]
        churned = rng.random() < sigmoid(3 * (x[1] - x[0]))
        steady.learn(tuple(x), churned)
        newton.learn(tuple(x), churned)
    apart = (0.0, 0.5, *[0.0] * (WIDTH - 2))
    assert logit(newton.snapshot(), apart) > 0.6
    assert logit(steady.snapshot(), apart) < 0.3


def test_what_never_varied_adds_nothing():
    said = said_by(structs.replace(PLAIN, weights=(7.0,) * WIDTH, variances=(0.0,) * WIDTH))
    assert said == PLAIN.intercept


def said_by(direct):
    """Return the log odds that a direct twin gives some member."""
    return Scorer(churn(direct=direct)).opinions(rhythm_of(0, 5), FIRST + 8).direct


def churn(**changes):
    known = {
        "horizon": 30,
        "population": POPULATION,
        "direct": None,
        "weekly": None,
        "bgnbd": None,
        "blend": EVEN,
    }
    return Churn(**{**known, **changes})


def weekly_of(intercept, weights=(0.0,) * ROLLING):
    return Logistic(5000, (0.0,) * ROLLING, (1.0,) * ROLLING, weights, intercept)


def test_a_week_that_is_always_alike_is_rolled_to_a_power():
    rhythm = rhythm_of(0, 5)
    for horizon in (7, 10, 30, 90):
        scorer = Scorer(churn(horizon=horizon, weekly=weekly_of(1.2)))
        score = scorer(rhythm, FIRST + 8)
        assert score.p_week == pytest.approx(sigmoid(1.2))
        assert score.p == pytest.approx(sigmoid(1.2) ** (horizon / 7), rel=1e-9)


def test_who_is_ever_less_likely_to_come_is_rolled_between_the_first_week_and_the_last():
    late = (0.0, 0.0, 1.0) + (0.0,) * (ROLLING - 3)
    scorer = Scorer(churn(weekly=weekly_of(0.0, late)))
    rhythm, day = rhythm_of(0, 9, 20), FIRST + 22
    score = scorer(rhythm, day)
    weeks = [sigmoid(features(rhythm, day + 7 * k, POPULATION)[2]) for k in range(5)]
    assert score.p_week == pytest.approx(weeks[0])
    exact = math.prod(weeks[:4]) * weeks[4] ** (2 / 7)
    assert weeks[0] ** (30 / 7) < score.p < weeks[4] ** (30 / 7)
    assert score.p == pytest.approx(exact, abs=0.03)


def test_opinions_are_blended_in_log_odds_and_missing_ones_do_not_count():
    bgnbd = BgNbd(0.5, 20.0, 0.3, 4.0)
    rhythm, day = rhythm_of(0, 9), FIRST + 12
    full = Scorer(churn(direct=PLAIN, weekly=weekly_of(1.2), bgnbd=bgnbd))
    opinions = full.opinions(rhythm, day)
    assert opinions.direct == pytest.approx(0.7)
    assert opinions.bgnbd == pytest.approx(log_odds(bgnbd.p_no_order(1, 9, 12, 30)))
    assert log_odds(full(rhythm, day).p) == pytest.approx(sum(opinions) / 3)
    without = Scorer(churn(direct=PLAIN, bgnbd=bgnbd))
    assert log_odds(without(rhythm, day).p) == pytest.approx((opinions.direct + opinions.bgnbd) / 2)
    assert without(rhythm, day).p_week is None


def test_before_anything_is_known_the_base_is_told():
    usual = Population(base=0.31)
    assert Scorer(churn(population=usual))(rhythm_of(0), FIRST) == (0.31, None)


def test_reasons_and_the_intercept_are_the_score():
    rng = random.Random(6)
    direct = structs.replace(PLAIN, weights=tuple(rng.gauss(0, 1) for _ in range(WIDTH)))
    scorer = Scorer(churn(direct=direct, blend=Blend(1.0, 0.0, 0.0)))
    rhythm, day = rhythm_of(0, 4, 30), FIRST + 41
    reasons = scorer.reasons(rhythm, day, most=WIDTH)
    said = sum(reason.log_odds for reason in reasons) + direct.intercept
    assert sigmoid(said) == pytest.approx(scorer(rhythm, day).p)
    strengths = [abs(reason.log_odds) for reason in reasons]
    assert strengths == sorted(strengths, reverse=True)
    assert scorer.reasons(rhythm, day) == reasons[:3]
    assert Scorer(churn()).reasons(rhythm, day) == ()


def test_a_certain_member_is_told_within_a_probability():
    sure = structs.replace(PLAIN, intercept=5000.0)
    rhythm = rhythm_of(0)
    for direct in (sure, structs.replace(PLAIN, intercept=-5000.0)):
        said = Scorer(churn(direct=direct, weekly=weekly_of(direct.intercept)))(rhythm, FIRST)
        assert 0.0 <= said.p <= 1.0
        assert json.loads(msgspec.json.encode(said.p)) == said.p


def test_all_opinions_count_alike_until_answers_are_in_and_then_the_right_one():
    state = BlendState()
    start = state.blend()
    assert max(structs.astuple(start)) - min(structs.astuple(start)) < 0.15
    rng = random.Random(8)
    for _ in range(3000):
        z = rng.gauss(0, 1.5)
        state.add(Opinions(rng.gauss(0, 1.5), z, rng.gauss(0, 1.5)), rng.random() < sigmoid(z))
    blend = state.blend()
    assert blend.weekly > 0.9
    assert sum(structs.astuple(blend)) == pytest.approx(1.0, abs=0.02)


def test_answers_count_for_the_blend_only_when_every_opinion_is_there():
    state = BlendState()
    state.add(Opinions(1.0, None, 0.2), churned=True)
    assert state == BlendState()
    assert len(MIXTURES) == 15


def test_the_tally_tells_what_the_rows_tell():
    rng = random.Random(9)
    rows = [
        (sigmoid(z), rng.random() < sigmoid(z - 0.3))
        for z in (rng.gauss(0, 1.5) for _ in range(4000))
    ]
    tally = Tally()
    for p, churned in rows:
        tally.add(p, churned)
    quality = tally.quality()
    lost = sorted(p for p, churned in rows if churned)
    kept = sorted(p for p, churned in rows if not churned)
    pairs = sum(1 for _ in range(20_000) if rng.choice(lost) > rng.choice(kept)) / 20_000
    assert quality.auc == pytest.approx(pairs, abs=0.015)
    assert quality.predicted - quality.churned == pytest.approx(
        sum(p for p, _ in rows) / len(rows) - len(lost) / len(rows)
    )
    assert 0.03 < quality.ece < 0.09
    for _ in range(28):
        tally.fade()
    assert tally.quality().labels == pytest.approx(quality.labels / 2)
    assert tally.quality().auc == pytest.approx(quality.auc)
    assert Tally().quality().auc is None


def residuals(rng, asked, shift):
    return [(0.15, (rng.random() < 0.15 + shift) - 0.15) for _ in range(asked)]


def alarms(asked, shift, seed, days=300, begins=200):
    rng = random.Random(seed)
    drift = Drift()
    found = []
    for day in range(days):
        if drift.add(day, residuals(rng, asked, shift if day >= begins else 0.0)):
            found.append(day)
    return found


@pytest.mark.parametrize("seed", range(8))
def test_a_change_of_members_is_seen_within_two_weeks_and_nothing_else_is(seed):
    first = alarms(asked=120, shift=0.08, seed=seed)[0]
    assert 200 <= first < 214
    assert alarms(asked=120, shift=0.0, seed=seed) == []


@pytest.mark.parametrize("seed", range(8))
def test_a_small_shop_has_no_alarms_from_chance(seed):
    assert alarms(asked=8, shift=0.0, seed=seed) == []


def test_after_an_alarm_there_is_time_to_adapt_and_then_it_settles():
    drift = Drift()
    day = 0
    while not drift.add(day, [(0.2, 0.0 if day < 40 else 0.3)] * 100):
        day += 1
        assert not drift.settles(day)
    again = Drift(drift.state)
    assert again.adapting_until == day + ADAPTS
    assert not again.settles(day + ADAPTS - 1)
    assert again.settles(day + ADAPTS)
    assert again.adapting_until is None


def test_a_detector_goes_on_where_its_state_was():
    rng = random.Random(3)
    one, days = Drift(), 900
    other = Drift()
    for day in range(days):
        residual = residuals(rng, 50, 0.1 if day % 300 > 250 else 0.0)
        assert one.add(day, residual) == other.add(day, residual)
        other = Drift(other.state)
    assert len(one.state.residuals) <= 400


def taught(twin, labels, rng, days=60, anchor=0.5):
    decided = []
    for _ in range(days):
        for _ in range(labels // days):
            x = tuple(rng.gauss(0, 1) for _ in range(WIDTH))
            twin.learn(x, rng.random() < sigmoid(2 * x[0]), anchor)
        decided.append(twin.close())
    return [kind for kind in decided if kind]


def test_a_twin_says_nothing_before_it_has_learned_and_proved_enough():
    rng = random.Random(1)
    twin = Twin(Learner(STEADY, WIDTH), Learner(NEWTON, WIDTH))
    assert taught(twin, LEAST_LABELS[STEADY] // 2, rng, days=5) == []
    assert twin.snapshot() is None
    assert taught(twin, LEAST_LABELS[STEADY], rng, days=5) == ["trusted"]
    assert twin.snapshot() is not None


def test_a_twin_that_is_worse_than_bgnbd_is_not_trusted_however_many_labels():
    rng = random.Random(1)
    twin = Twin(Learner(STEADY, WIDTH), Learner(NEWTON, WIDTH))
    for _ in range(3):
        for _ in range(LEAST_LABELS[STEADY]):
            churned = rng.random() < 0.5
            twin.learn(
                tuple(rng.gauss(0, 1) for _ in range(WIDTH)), churned, 0.9 if churned else 0.1
            )
        assert twin.close() is None
    assert twin.snapshot() is None


def test_a_shadow_that_loses_less_takes_over_and_one_that_does_not_stays():
    rng = random.Random(5)
    knows = Learner(STEADY, WIDTH)
    blind = Learner(STEADY, WIDTH)
    for _ in range(20_000):
        x = tuple(rng.gauss(0, 1) for _ in range(WIDTH))
        knows.learn(x, rng.random() < sigmoid(2 * x[0]))
        blind.learn(x, rng.random() < sigmoid(-0.3 * x[0]))
    twin = Twin(blind, knows)
    twin.trusted = True
    decided = taught(twin, 1200, rng, days=120)
    assert decided == ["promoted"]
    assert twin.champion is knows
    assert taught(twin, 1200, rng, days=120) == []


def test_the_learners_of_a_twin_learn_to_the_bit_as_rivers_pipelines_do_alone():
    rng = random.Random(7)
    twin = Twin(Learner(NEWTON, WIDTH), Learner(ADAPTIVE, WIDTH))
    alone = [Learner(NEWTON, WIDTH), Learner(ADAPTIVE, WIDTH)]
    pipelines = [learner.pipeline for learner in alone]
    for _ in range(600):
        x, churned = tuple(rng.gauss(1, 2) for _ in range(WIDTH)), rng.random() < 0.4
        twin.learn(x, churned, 0.5)
        for learner, pipeline in zip(alone, pipelines, strict=True):
            pipeline.learn_one(learner.row(x), churned)
    assert [twin.champion.state(), twin.shadow.state()] == [one.state() for one in alone]


def test_what_scores_loads_nothing_that_learns():
    modules = "rhythm, features, logistic, churn, asking, model, checkpoint, blending, quality"
    program = (
        f"import sys; from models import {modules};"
        "print(sorted({'numpy', 'scipy', 'river'} & set(sys.modules)))"
    )
    root = Path(__file__).parents[1]
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True
    )
    assert ended.stdout.strip() == "[]"
