"""Figures of quality of probabilities and amounts, over arrays of equal length.

``happened`` holds what came true (bool), ``said`` the probability that was given for it.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]

BINS = 15
# A probability of exactly 0 or 1 that fails would cost infinitely much.
_CERTAIN = 1e-15


class Ranking:
    """Scores sorted once, so that the AUC under many weightings of the rows costs no sort."""

    def __init__(self, happened: Bools, said: Floats) -> None:
        self._order = np.argsort(said, kind="stable")
        self._happened = happened[self._order].astype(np.float64)
        changes = np.flatnonzero(np.diff(said[self._order])) + 1
        self._starts = np.concatenate((np.zeros(min(1, len(said)), np.int64), changes))

    def auc(self, weights: Floats | None = None) -> float | None:
        """Return the chance that a row that happened was scored above one that did not.

        Ties count half. None when one of the two sides is empty.
        """
        if len(self._order) == 0:
            return None
        weight = np.ones(len(self._order)) if weights is None else weights[self._order]
        yes = np.add.reduceat(weight * self._happened, self._starts)
        no = np.add.reduceat(weight * (1 - self._happened), self._starts)
        pairs = yes.sum() * no.sum()
        if pairs == 0:
            return None
        return float((yes * (np.cumsum(no) - no / 2)).sum() / pairs)


def auc(happened: Bools, said: Floats) -> float | None:
    """Return the area under the ROC curve, ties counting half; None with one side empty."""
    return Ranking(happened, said).auc()


def log_loss(happened: Bools, said: Floats) -> float | None:
    """Return the mean negative natural log of the probability of what came true."""
    if len(said) == 0:
        return None
    right = np.where(happened, said, 1 - said)
    return float(-np.log(np.clip(right, _CERTAIN, 1)).mean())


def brier(happened: Bools, said: Floats) -> float | None:
    """Return the mean squared error of the probabilities."""
    return float(((said - happened) ** 2).mean()) if len(said) else None


def in_the_large(happened: Bools, said: Floats) -> float | None:
    """Return the calibration in the large: mean probability minus share that happened."""
    return float(said.mean() - happened.mean()) if len(said) else None


@dataclass(frozen=True, slots=True)
class Bin:
    """Neighbours by score: how many rows, what was said of them on average, what happened."""

    rows: int
    said: float
    happened: float


def reliability(happened: Bools, said: Floats, bins: int = BINS) -> list[Bin]:
    """Return bins of equal mass in order of score (fewer than ``bins`` only with fewer rows)."""
    order = np.argsort(said, kind="stable")
    return [
        Bin(len(rows), float(said[rows].mean()), float(happened[rows].mean()))
        for rows in np.array_split(order, bins)
        if len(rows)
    ]


def calibration_error(happened: Bools, said: Floats, bins: int = BINS) -> float | None:
    """Return the expected calibration error: the bins' mean |said - happened|, by their rows."""
    if len(said) == 0:
        return None
    gaps = sum(b.rows * abs(b.said - b.happened) for b in reliability(happened, said, bins))
    return gaps / len(said)


def auc_gap(
    happened: Bools, ours: Floats, theirs: Floats, member: Ints, draws: int, seed: int = 0
) -> tuple[float, float, float] | None:
    """Return AUC of ours minus theirs, and its 95 % interval by a bootstrap over members.

    Members are drawn with all their rows, since one member's rows are alike. None with one side
    empty.
    """
    first, second = Ranking(happened, ours), Ranking(happened, theirs)
    whole = _minus(first.auc(), second.auc())
    if whole is None:
        return None
    chance = np.random.default_rng(seed)
    people = np.unique(member, return_inverse=True)[1]
    count = int(people.max()) + 1
    gaps = []
    for _ in range(draws):
        drawn = np.bincount(chance.integers(0, count, count), minlength=count)
        weights = drawn.astype(np.float64)[people]
        gap = _minus(first.auc(weights), second.auc(weights))
        if gap is not None:
            gaps.append(gap)
    low, high = np.quantile(gaps, (0.025, 0.975))
    return whole, float(low), float(high)


def rank_correlation(a: Floats, b: Floats) -> float | None:
    """Return Spearman's rank correlation with mean ranks for ties; None when one is constant."""
    if len(a) < 2:
        return None
    first, second = _ranks(a), _ranks(b)
    spread = first.std() * second.std()
    if spread == 0:
        return None
    return float(((first - first.mean()) * (second - second.mean())).mean() / spread)


def top_share(actual: Floats, said: Floats, part: float = 0.1) -> float | None:
    """Return what share of all that came true the ``part`` with the highest scores has."""
    total = actual.sum()
    if len(said) == 0 or total == 0:
        return None
    order = np.argsort(-said, kind="stable")[: max(1, round(len(said) * part))]
    return float(actual[order].sum() / total)


def rounded(value: float | None) -> float | None:
    """Return a figure as it is reported: six digits behind the point."""
    return None if value is None else round(value, 6)


def mean(values: Floats | Bools) -> float | None:
    """Return the mean; None of nothing."""
    return float(values.mean()) if len(values) else None


def _minus(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b


def _ranks(values: Floats) -> Floats:
    """Return ranks from 1; equal values share the mean of their ranks."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    means: Floats = (ends - (counts - 1) / 2)[inverse]
    return means
