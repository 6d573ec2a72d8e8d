"""The models that a worker knows, and which of them scores a day."""

from models.churn import Scorer
from models.features import SCHEMA
from models.model import Model
from models.next_order import NextOrder
from models.predicting import Worth
from models.predictions import Predictions
from models.reason_codes import because
from models.rhythm import Rhythm

KEPT = 64
"""Models that are kept, one a day: lanes are never weeks apart."""


class Ready:
    """A model made ready for questions; it fits ``models.predicting.Predictor``."""

    def __init__(self, model: Model, margin: float) -> None:
        self.model = model
        self.version = model.version
        self._score = Scorer(model.churn)
        self._margin = margin

    def churn(self, rhythm: Rhythm, day: int) -> tuple[float, float | None]:
        """Return the probabilities of no purchase within the horizon, and within a week."""
        return self._score.told(rhythm, day)

    def value(self, rhythm: Rhythm, day: int) -> int:
        """Return what the member is expected to bring within 90 days, in cents."""
        worth = self.worth(rhythm, day)
        return 0 if worth is None else worth.mean

    def because(self, rhythm: Rhythm, day: int) -> tuple[tuple[str, str], ...]:
        """Return what makes the churn probability high or low, in English and Chinese."""
        found = because(self._score, rhythm, day)
        return tuple((one.english, one.chinese) for one in found)

    def worth(self, rhythm: Rhythm, day: int) -> Worth | None:
        """Return what the member is expected to bring within 90 days; None: that is not known."""
        expected = self.model.value.expected(rhythm, day, self.model.churn.population)
        if expected is None:
            return None
        mean, low, high = expected
        return Worth(round(mean * self._margin), self._earned(low), self._earned(high))

    def _earned(self, cents: int | None) -> int | None:
        return None if cents is None else round(cents * self._margin)

    def next_order(self, rhythm: Rhythm, day: int) -> NextOrder | None:
        """Return when the next order is expected, for who is likely to order at all."""
        return self.model.next_order.next_order(rhythm, day, self.model.churn.population)


class KnownModels:
    """The newest models by the day that they are valid from.

    On a live clock the newest scores everything; in stream time (``live`` is False) a day is
    scored by the newest that was valid then.
    """

    def __init__(self, predictions: Predictions, *, live: bool) -> None:
        self._predictions = predictions
        self._live = live
        self._models: dict[int, Model] = {}
        self._ready: dict[int, Ready] = {}
        self.newest = -1
        """The day that the newest is valid from; -1: there is none."""

    def fits(self, model: Model) -> str:
        """Return why a model cannot be used here; nothing when it can."""
        if model.schema != SCHEMA:
            return f"it looks at other features (schema {model.schema}, here {SCHEMA})"
        if model.churn.horizon != self._predictions.horizon:
            return f"it looks {model.churn.horizon} days ahead, here {self._predictions.horizon}"
        return ""

    def learn(self, model: Model) -> None:
        """Know one more model, which fits."""
        self._models[model.valid_from] = model
        self._ready.pop(model.valid_from, None)
        self.newest = max(self.newest, model.valid_from)
        for day in [day for day in self._models if day <= self.newest - KEPT]:
            del self._models[day]
            self._ready.pop(day, None)

    def at(self, day: int) -> Ready | None:
        """Return the model that scores a day; None when none is known that could."""
        return self.of(self.newest if self._live or day >= self.newest else self._before(day))

    def of(self, version: int) -> Ready | None:
        """Return the model of a version; None when it is not known any more."""
        ready = self._ready.get(version)
        if ready is None and version in self._models:
            ready = self._ready[version] = Ready(self._models[version], self._predictions.margin)
        return ready

    def decided(self, kind: str) -> int | None:
        """Return the last day on which the trainer decided something of a kind, if it did."""
        days = (
            decision.day
            for model in self._models.values()
            for decision in model.decisions
            if decision.kind == kind
        )
        return max(days, default=None)

    def _before(self, day: int) -> int:
        return max((valid for valid in self._models if valid <= day), default=-1)
