"""Parameters of ``models.btyd`` by maximum likelihood: for where learning happens, not for scoring.

Members who look the same are one row with a weight, so a fit costs what there are of different
histories. Starting from the fit of a week before, it takes a few steps.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import digamma, gammaln

from models.btyd import BgNbd, GammaGamma

Floats = NDArray[np.float64]

# Far beyond what any shop's parameters are (times are scaled to a mean of about one here), close
# enough that the likelihood stays finite where little data says nothing about them.
_BOUND = 9.0
# Fewer who came back do not tell four parameters.
LEAST_REPEATERS = 20


def fit_bgnbd(
    x: Floats, t_x: Floats, age: Floats, start: BgNbd | None = None
) -> tuple[BgNbd, float] | None:
    """Return the parameters for these members and the log likelihood.

    The arrays have one element a member; ``x``, ``t_x`` and ``age`` as in ``models.btyd`` (any
    unit of time: ``alpha`` comes out in the same). None when fewer than ``LEAST_REPEATERS`` have
    come back. ``start``: where to look first.
    """
    if np.count_nonzero(x) < LEAST_REPEATERS:
        return None
    rows, count = _counted(x, t_x, age)
    frequency, recency, tenure = rows
    members = float(count.sum())
    unit = max(_dot(tenure, count) / members, 1.0)
    recency, tenure = recency / unit, tenure / unit
    again = frequency > 0
    values, index = np.unique(frequency, return_inverse=True)
    of_value = np.bincount(index, count).astype(float)

    def loss(logs: Floats) -> tuple[float, Floats]:
        r, alpha, a, b = np.exp(logs)
        # What depends on the number of orders alone, once a number.
        alone = (
            gammaln(r + values)
            - gammaln(r)
            + gammaln(a + b)
            + gammaln(b + values)
            - gammaln(b)
            - gammaln(a + b + values)
        )
        power = r + frequency
        silent = -power * np.log(alpha + tenure)
        before = np.maximum(b + frequency - 1, b)
        gone = np.where(again, np.log(a / before) - power * np.log(alpha + recency), -np.inf)
        both = np.logaddexp(silent, gone)
        left = np.exp(gone - both) * count
        stayed = np.exp(silent - both) * count
        total = _dot(of_value, alone) + _dot(count, both) + members * r * np.log(alpha)
        both_ab = digamma(a + b) - digamma(a + b + values)
        by_r = (
            _dot(of_value, digamma(r + values) - digamma(r))
            + members * np.log(alpha)
            - _dot(stayed, np.log(alpha + tenure))
            - _dot(left, np.log(alpha + recency))
        )
        by_alpha = (
            members * r / alpha
            - _dot(stayed, power / (alpha + tenure))
            - _dot(left, power / (alpha + recency))
        )
        by_a = _dot(of_value, both_ab) + left.sum() / a
        by_b = _dot(of_value, both_ab + digamma(b + values) - digamma(b)) - _dot(
            left[again], 1 / before[again]
        )
        slope = np.array([by_r * r, by_alpha * alpha, by_a * a, by_b * b])
        return -float(total) / members, -slope / members

    first = start if start is not None else BgNbd(0.5, 0.5 * unit, 0.5, 2.0)
    best = _least(loss, [first.r, first.alpha / unit, first.a, first.b])
    r, alpha, a, b = best
    likelihood = -loss(np.log(best))[0] * members - _dot(frequency, count) * np.log(unit)
    return BgNbd(r, alpha * unit, a, b), float(likelihood)


def fit_gamma_gamma(
    orders: Floats, spent: Floats, start: GammaGamma | None = None
) -> GammaGamma | None:
    """Return the parameters for members with ``orders`` orders that came to ``spent`` each.

    Members without an order, or whose orders came to nothing, say nothing; None when fewer than
    ``LEAST_REPEATERS`` remain. ``gamma`` comes out in the unit of ``spent``.
    """
    told = (orders > 0) & (spent > 0)
    n, total = orders[told], spent[told]
    if len(n) < LEAST_REPEATERS:
        return None
    unit = float((total / n).mean())
    total = total / unit
    log_total, members = np.log(total), len(n)

    def loss(logs: Floats) -> tuple[float, Floats]:
        p, over, gamma = np.exp(logs)
        # Below 1 the mean order of the shop would be infinite.
        q = over + 1
        shape = p * n
        log_sum = np.log(gamma + total)
        likelihood = (
            gammaln(shape + q)
            - gammaln(shape)
            - gammaln(q)
            + q * np.log(gamma)
            + shape * log_total
            - (shape + q) * log_sum
        ).sum()
        both = digamma(shape + q)
        by_p = (n * (both - digamma(shape) + log_total - log_sum)).sum()
        by_q = (both - digamma(q) + np.log(gamma) - log_sum).sum()
        by_gamma = (q / gamma - (shape + q) / (gamma + total)).sum()
        slope = np.array([by_p * p, by_q * over, by_gamma * gamma])
        return -float(likelihood) / members, -slope / members

    first = start if start is not None else GammaGamma(2.0, 3.0, unit)
    p, over, gamma = _least(loss, [first.p, first.q - 1, first.gamma / unit])
    return GammaGamma(p, over + 1, gamma * unit)


def _dot(left: Floats, right: Floats) -> float:
    # Not the matrix product: that one's last bits depend on the number of threads.
    return float((left * right).sum())


def _counted(*columns: Floats) -> tuple[Floats, Floats]:
    """Return the different rows, as columns in ascending order, and how often each is there."""
    rows = np.stack(columns)[:, np.lexsort(columns)]
    begins = np.flatnonzero(np.r_[True, (rows[:, 1:] != rows[:, :-1]).any(axis=0)])
    return rows[:, begins], np.diff(begins, append=rows.shape[1]).astype(float)


def _least(loss: Callable[[Floats], tuple[float, Floats]], start: list[float]) -> list[float]:
    """Return the positive numbers with the least loss, looked for by their logarithms.

    By plain BFGS: the bounded methods of scipy call LAPACK, whose threads cost far more than such
    small problems, and keep other cores busy. Bounds are a bend of the logarithms instead.
    """

    def bent(free: Floats) -> tuple[float, Floats]:
        bend = np.tanh(free / _BOUND)
        value, slope = loss(_BOUND * bend)
        return value, slope * (1 - bend * bend)

    # From a bound itself no slope would lead away.
    inside = np.clip(np.log(start) / _BOUND, -0.9, 0.9)
    found = minimize(
        bent, _BOUND * np.arctanh(inside), jac=True, method="BFGS", options={"gtol": 1e-7}
    )
    return [float(value) for value in np.exp(_BOUND * np.tanh(found.x / _BOUND))]
