"""River, where it learns: a scaled logistic regression that can be exported and taken up again.

Only the trainer imports this; workers score with ``models.logistic``.
"""

from typing import Any

import numpy as np
from river.compose import Pipeline
from river.linear_model import LogisticRegression
from river.optim import SGD, AdaGrad, Newton
from river.optim.base import Optimizer, Scheduler
from river.preprocessing import StandardScaler
from river.utils import VectorDict

from models.checkpoint import LearnerState
from models.features import FEATURES
from models.logistic import Logistic

# What a scaler believes of a feature before there is data weighs like so many labels.
PRIOR = 50
STEADY = "steady"
ADAPTIVE = "adaptive"
NEWTON = "newton"
_INTERCEPT_RATE = 0.01
# As if so much had been seen of every feature before there is data: small shops are not overfitted.
_CURVATURE = 100.0


class _Settling(Scheduler):
    """Learns the intercept fast, then as the mean of what has been seen, then of some thousand.

    A week of sales must not move the level of a month; how far the level is behind is said by
    ``models.leveling``.
    """

    def get(self, t: int) -> float:
        """Return the rate after ``t`` labels."""
        return max(0.002, min(0.02, 30.0 / (t + 1)))


class Learner:
    """``StandardScaler | LogisticRegression`` over the first ``width`` features.

    ``kind``: ``STEADY`` is SGD(0.001), for streams of years; ``ADAPTIVE`` is AdaGrad(0.03), whose
    steps shrink; so do those of ``NEWTON``, which takes into account how features go together, and
    tells apart what is nearly alike.
    """

    def __init__(self, kind: str, width: int) -> None:
        self.kind = kind
        self._names = tuple(feature.name for feature in FEATURES[:width])
        self._optimizer = _optimizer(kind)
        if isinstance(self._optimizer, Newton):
            self._optimizer._ensure_features(self._names)
        self._scaler: Any = StandardScaler()
        self._model: Any = LogisticRegression(
            optimizer=self._optimizer,
            intercept_lr=_Settling() if kind == NEWTON else _INTERCEPT_RATE,
        )
        for feature in FEATURES[:width]:
            mean, deviation = feature.usual
            self._scaler.counts[feature.name] = PRIOR
            self._scaler.means[feature.name] = mean
            self._scaler.vars[feature.name] = deviation * deviation

    @property
    def labels(self) -> int:
        """How many labels have been learned."""
        learned: int = self._scaler.counts[self._names[0]] - PRIOR
        return learned

    @property
    def pipeline(self) -> Pipeline:
        """The whole as River has it."""
        return Pipeline(self._scaler, self._model)

    def learn(self, x: tuple[float, ...], churned: bool) -> None:
        """Learn one label from the vector as it was when the question was asked."""
        row = self.row(x)
        self.learn_scale(row)
        self.learn_scaled(self.scaled(row), churned)

    def row(self, x: tuple[float, ...]) -> dict[str, float]:
        """Return a vector as River reads it; what is beyond the width is left out."""
        return dict(zip(self._names, x, strict=False))

    def share_scale(self, other: "Learner") -> None:
        """Use the scale of a learner of the same labels from now on, so that it learns for both."""
        self._scaler = other._scaler

    def scaled(self, row: dict[str, float]) -> dict[str, float]:
        """Return a row in deviations from the mean."""
        scaled: dict[str, float] = self._scaler.transform_one(row)
        return scaled

    def learn_scale(self, row: dict[str, float]) -> None:
        """Learn from a row what is usual."""
        self._scaler.learn_one(row)

    def probability(self, scaled: dict[str, float]) -> float:
        """Return the probability of churn for a scaled row."""
        said: float = self._model.predict_proba_one(scaled)[True]
        return said

    def learn_scaled(self, scaled: dict[str, float], churned: bool) -> None:
        """Learn one label from a row that is scaled already."""
        self._model.learn_one(scaled, churned)

    def snapshot(self) -> Logistic:
        """Return what workers score with."""
        weights = self._model.weights
        return Logistic(
            self.labels,
            tuple(self._scaler.means[name] for name in self._names),
            tuple(self._scaler.vars[name] for name in self._names),
            tuple(float(weights.get(name, 0.0)) for name in self._names),
            float(self._model.intercept),
        )

    def state(self) -> LearnerState:
        """Return all that there is to go on from."""
        memory: tuple[float, ...] = ()
        if isinstance(self._optimizer, AdaGrad):
            memory = tuple(float(self._optimizer.g2[name]) for name in self._names)
        elif isinstance(self._optimizer, Newton):
            memory = tuple(self._optimizer._H_inv.ravel().tolist())
        return LearnerState(self.kind, self.snapshot(), memory, self._optimizer.n_iterations)

    @classmethod
    def restored(cls, state: LearnerState) -> "Learner":
        """Return the learner that goes on, to the bit, where ``state`` was."""
        logistic = state.logistic
        learner = cls(state.kind, len(logistic.means))
        names = learner._names
        for name in names:
            learner._scaler.counts[name] = PRIOR + logistic.count
        learner._scaler.means.update(zip(names, logistic.means, strict=True))
        learner._scaler.vars.update(zip(names, logistic.variances, strict=True))
        learner._model._weights = VectorDict(dict(zip(names, logistic.weights, strict=True)))
        learner._model.intercept = logistic.intercept
        learner._optimizer.n_iterations = state.steps
        if isinstance(learner._optimizer, AdaGrad):
            learner._optimizer.g2.update(zip(names, state.memory, strict=True))
        elif isinstance(learner._optimizer, Newton):
            width = len(names)
            learner._optimizer._H_inv[:] = np.reshape(state.memory, (width, width))
        return learner


def _optimizer(kind: str) -> Optimizer:
    if kind == NEWTON:
        return Newton(1.0, _CURVATURE)
    return AdaGrad(0.03) if kind == ADAPTIVE else SGD(0.001)
