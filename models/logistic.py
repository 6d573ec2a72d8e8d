"""A logistic regression as it stood at one moment: what workers score with.

It gives, to the bit, what River's ``StandardScaler | LogisticRegression`` gives: the same order of
features, ``(x - mean) / variance ** 0.5`` (0 where nothing varies), the sum before the intercept.
"""

from collections.abc import Callable, Sequence
from math import exp, log
from typing import TypeAlias

import msgspec

Logit: TypeAlias = Callable[[Sequence[float]], float]

# Of 1 / (1 + e^z) nothing is left beyond this z, and e^z is still a number.
_FAR = 700.0


class Logistic(msgspec.Struct, frozen=True):
    """Means and variances of the features, their weights, the intercept; after ``count`` labels."""

    count: int
    means: tuple[float, ...]
    variances: tuple[float, ...]
    weights: tuple[float, ...]
    intercept: float

    def compiled(self) -> Logit:
        """Return the function from a vector (in this order, this long) to the log odds.

        It is written out as one expression: a loop over the terms takes twice as long.
        """
        terms = [
            f"(x[{index}] - {mean!r}) / {variance**0.5!r} * {weight!r}"
            for index, (mean, variance, weight) in enumerate(
                zip(self.means, self.variances, self.weights, strict=True)
            )
            if variance
        ]
        total = " + ".join(terms) or "0.0"
        # Nothing but numbers of this structure is in it.
        function: Logit = eval(f"lambda x: {total} + {self.intercept!r}", {})  # noqa: S307
        return function


def sigmoid(logit: float) -> float:
    """Return the probability of log odds."""
    return 1.0 / (1.0 + exp(-logit)) if logit > -_FAR else 0.0


def log_odds(p: float) -> float:
    """Return the log odds of a probability, within those of one in a million."""
    if not 1e-6 < p < 1.0 - 1e-6:
        p = 1e-6 if p < 0.5 else 1.0 - 1e-6
    return log(p / (1.0 - p))
