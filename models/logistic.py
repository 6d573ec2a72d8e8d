"""A logistic regression as it stood at one moment: what workers score with.

It gives, to the bit, what River's ``StandardScaler | LogisticRegression`` gives: the same order of
features, ``(x - mean) / variance ** 0.5`` (0 where nothing varies), the sum before the intercept.
"""

from collections.abc import Mapping, Sequence
from math import exp, log
from typing import TypeAlias

import msgspec

# Of 1 / (1 + e^z) nothing is left beyond this z, and e^z is still a number.
FAR = 700.0

Unsaid: TypeAlias = Mapping[str, tuple[str, float]]
"""Of features that say nothing of many members: what must be so that they do; else their value."""


class Logistic(msgspec.Struct, frozen=True):
    """Means and variances of the features, their weights, the intercept; after ``count`` labels."""

    count: int
    means: tuple[float, ...]
    variances: tuple[float, ...]
    weights: tuple[float, ...]
    intercept: float

    def counting(self, features: Sequence[str]) -> tuple[str, ...]:
        """Return which of these, the features in order, say anything.

        What never varied has no weight: nothing was learned of it. Its term is a zero.
        """
        told = zip(features, self.variances, self.weights, strict=True)
        return tuple(name for name, variance, weight in told if variance and weight)

    def numbers(self, twin: str, features: Sequence[str], unsaid: Unsaid) -> dict[str, float]:
        """Return the numbers of the ``formula`` by their names."""
        numbers = {f"{twin}_intercept": self.intercept}
        for name, mean, variance, weight in zip(
            features, self.means, self.variances, self.weights, strict=True
        ):
            numbers[f"{twin}_mean_{name}"] = mean
            numbers[f"{twin}_deviation_{name}"] = deviation = variance**0.5
            numbers[f"{twin}_weight_{name}"] = weight
            if name in unsaid and variance:
                _, value = unsaid[name]
                numbers[f"{twin}_unsaid_{name}"] = (value - mean) / deviation * weight
        return numbers


def formula(twin: str, counting: Sequence[str], unsaid: Unsaid, day: str = "") -> str:
    """Return the log odds as an expression of the features that count.

    ``twin``: which regression, as in the names of its numbers; ``day``: suffix of the features.
    """
    terms = []
    for name in counting:
        scaled = f"({name}{day} - {twin}_mean_{name}) / {twin}_deviation_{name}"
        term = f"{scaled} * {twin}_weight_{name}"
        if name in unsaid:
            says, _ = unsaid[name]
            term = f"({term} if {says} else {twin}_unsaid_{name})"
        terms.append(term)
    return " + ".join((*terms, f"{twin}_intercept"))


def sigmoid(logit: float) -> float:
    """Return the probability of log odds."""
    return 1.0 / (1.0 + exp(-logit)) if logit > -FAR else 0.0


def log_odds(p: float) -> float:
    """Return the log odds of a probability, within those of one in a million."""
    if not 1e-6 < p < 1.0 - 1e-6:
        p = 1e-6 if p < 0.5 else 1.0 - 1e-6
    return log(p / (1.0 - p))
