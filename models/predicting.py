"""What the engine asks of a model; the models themselves lie elsewhere."""

from typing import NamedTuple, Protocol

from models.next_order import NextOrder
from models.rhythm import Rhythm


class Worth(NamedTuple):
    """Cents expected within 90 days; eight of ten spend between ``low`` and ``high``.

    Those two are None as long as nobody has been seen for 90 days.
    """

    mean: int
    low: int | None
    high: int | None


class Predictor(Protocol):
    """One model, ready to be asked in microseconds."""

    @property
    def version(self) -> int:
        """Return the epoch day that it is valid from."""

    def churn(self, rhythm: Rhythm, day: int) -> tuple[float, float | None]:
        """Return the probabilities of no purchase within the horizon, and within a week.

        Both are told at the end of ``day``, which is not before the last purchase; the second is
        None while nothing has been learned of weeks.
        """

    def value(self, rhythm: Rhythm, day: int) -> int:
        """Return what the member is expected to spend within 90 days, in cents."""

    def because(self, rhythm: Rhythm, day: int) -> tuple[tuple[str, str], ...]:
        """Return what makes the churn probability high or low, in English and Chinese."""


class Foreteller(Predictor, Protocol):
    """A model that is asked for all that is told of a member, in tens of microseconds."""

    def worth(self, rhythm: Rhythm, day: int) -> Worth | None:
        """Return what the member is expected to spend within 90 days; None: that is not known."""

    def next_order(self, rhythm: Rhythm, day: int) -> NextOrder | None:
        """Return when the next order is expected, for who is likely to order at all."""


class Models(Protocol):
    """The models that are known."""

    def at(self, day: int) -> Predictor | None:
        """Return the model for scores of an epoch day; None when there is none yet."""


class Library(Models, Protocol):
    """The models that are known, also by their versions."""

    def of(self, version: int) -> Foreteller | None:
        """Return the model of a version; None when it is not known any more."""
