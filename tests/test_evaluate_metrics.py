"""The figures of quality against plain counting, pair by pair and bin by bin."""

import math
import random

import numpy as np
import pytest

from app.evaluate.metrics import (
    Ranking,
    auc,
    auc_gap,
    brier,
    calibration_error,
    in_the_large,
    log_loss,
    rank_correlation,
    reliability,
    top_share,
)


def pairs_won(happened: list[bool], said: list[float], weights: list[float]) -> float:
    """The AUC by its definition: every pair of one that happened and one that did not."""
    won = all_pairs = 0.0
    for yes, p, w in zip(happened, said, weights, strict=True):
        for no, q, v in zip(happened, said, weights, strict=True):
            if yes and not no:
                all_pairs += w * v
                won += w * v * (1.0 if p > q else 0.5 if p == q else 0.0)
    return won / all_pairs


@pytest.mark.parametrize("seed", range(8))
def test_the_auc_is_the_share_of_pairs_won_ties_and_weights_included(seed: int) -> None:
    chance = random.Random(seed)
    happened = [chance.random() < 0.3 for _ in range(60)]
    said = [round(chance.random(), 1) for _ in range(60)]
    weights = [float(chance.randrange(4)) for _ in range(60)]
    y, p = np.array(happened), np.array(said)
    assert auc(y, p) == pytest.approx(pairs_won(happened, said, [1.0] * 60))
    weighted = Ranking(y, p).auc(np.array(weights))
    assert weighted == pytest.approx(pairs_won(happened, said, weights))


def test_the_auc_of_scores_that_say_nothing_is_one_half_and_of_one_side_none() -> None:
    assert auc(np.array([True, False, True]), np.full(3, 0.7)) == 0.5
    assert auc(np.array([True, True]), np.array([0.1, 0.2])) is None
    assert auc(np.zeros(0, bool), np.zeros(0)) is None


def test_log_loss_and_brier_are_means_over_rows() -> None:
    happened, said = np.array([True, False, True]), np.array([0.9, 0.2, 0.5])
    loss = -(math.log(0.9) + math.log(0.8) + math.log(0.5)) / 3
    assert log_loss(happened, said) == pytest.approx(loss)
    assert brier(happened, said) == pytest.approx((0.01 + 0.04 + 0.25) / 3)


def test_who_was_certain_and_wrong_is_punished_but_not_without_end() -> None:
    loss = log_loss(np.array([True]), np.array([0.0]))
    assert loss == pytest.approx(-math.log(1e-15))


def test_calibration_counts_bins_of_equal_mass_by_hand() -> None:
    said = np.array([0.1, 0.9, 0.2, 0.8, 0.6, 0.3])
    happened = np.array([False, True, True, True, False, False])
    # In order of score, two a bin: (.1 no, .2 yes), (.3 no, .6 no), (.8 yes, .9 yes).
    bins = reliability(happened, said, bins=3)
    assert [(b.rows, b.happened) for b in bins] == [(2, 0.5), (2, 0.0), (2, 1.0)]
    assert [b.said for b in bins] == pytest.approx([0.15, 0.45, 0.85])
    assert calibration_error(happened, said, bins=3) == pytest.approx((0.35 + 0.45 + 0.15) / 3)
    assert in_the_large(happened, said) == pytest.approx(2.9 / 6 - 0.5)


def test_fifteen_bins_differ_by_one_row_at_most() -> None:
    said = np.arange(100) / 100
    sizes = [b.rows for b in reliability(said > 0.5, said)]
    assert len(sizes) == 15
    assert sum(sizes) == 100
    assert max(sizes) - min(sizes) <= 1


def test_a_calibrated_forecast_has_hardly_any_error() -> None:
    chance = np.random.default_rng(1)
    said = chance.random(60_000)
    error = calibration_error(chance.random(60_000) < said, said)
    assert error is not None
    assert error < 0.01


def test_nothing_has_no_figures() -> None:
    nothing, nobody = np.zeros(0), np.zeros(0, bool)
    for figure in (log_loss, brier, in_the_large, calibration_error):
        assert figure(nobody, nothing) is None


def test_the_gap_of_a_model_to_itself_is_nothing_and_to_noise_is_seen() -> None:
    chance = np.random.default_rng(2)
    member = np.repeat(np.arange(300), 10)
    truth = np.repeat(chance.random(300), 10)
    happened = chance.random(3000) < truth
    same = auc_gap(happened, truth, truth, member, draws=50)
    assert same == (0.0, 0.0, 0.0)
    noise = auc_gap(happened, truth, chance.random(3000), member, draws=50)
    assert noise is not None
    whole, low, high = noise
    assert 0.2 < low < whole < high < 0.5


def test_members_are_drawn_whole() -> None:
    """Ten equal rows of a member tell no more than one: the interval must not shrink."""
    chance = np.random.default_rng(3)
    truth, other = chance.random(200), chance.random(200)
    happened = chance.random(200) < truth
    once = auc_gap(happened, truth, other, np.arange(200), draws=200)
    copied = auc_gap(
        *(np.repeat(column, 10) for column in (happened, truth, other, np.arange(200))), draws=200
    )
    assert copied == pytest.approx(once)


def test_spearman_takes_mean_ranks_of_ties() -> None:
    # Ranks 1, 2.5, 2.5, 4 against 1, 3, 2, 4.
    found = rank_correlation(np.array([1.0, 5.0, 5.0, 9.0]), np.array([0.0, 7.0, 3.0, 8.0]))
    assert found == pytest.approx(4.5 / math.sqrt(4.5 * 5))
    assert rank_correlation(np.ones(4), np.arange(4.0)) is None


def test_the_top_tenth_has_its_share() -> None:
    actual = np.array([0.0] * 18 + [30.0, 70.0])
    said = np.array([*range(1, 19), 0.0, 99.0])
    assert top_share(actual, said) == 0.7
    assert top_share(np.zeros(5), np.arange(5.0)) is None
