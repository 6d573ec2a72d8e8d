"""Whether members still do what is predicted of them: Page-Hinkley on the residual of 7 days.

Each day's answers give one number, of the *regulars* alone: of the quarter who were the least
likely to stay away, those who were expected within the week. It is the share that stayed away less
the share predicted, shrunk where chance alone would move it far. Habits show in those who have
them; of who buys now and then a week's silence says little, and seasons move everybody. A sum of
such numbers that moves off in one direction is drift, if those of the last week are off as well:
where the twin was wrong while it learned, being right at last moves the sum too. After an alarm the
detector starts afresh, and the weekly twin, whose answers are a week old, counts for most of the
score until labels of the horizon are there again.
"""

import math
from collections.abc import Iterable

from river.drift import PageHinkley

from models.checkpoint import DriftState

# A day's residual within this is the season's.
_TOLERATED = 0.01
# The sum of what is beyond: a third of the members who halve their visits reach it in nine days.
_ALARM = 0.17
# The last week's mean is beyond this then. Those who halve their visits put it at 0.03; chance and
# what is learned at last, at 0.02.
_OFF = 0.022
_WEEK = 7
# By chance alone a day's residual has no more than this deviation.
_CHANCE = 0.022
# One in so many answers may be of a regular, who stays away for a week with less than this.
REGULAR = 4
SELDOM_AWAY = 0.5
# Days before the first alarm: what was just learned is still rough.
_LEAST_DAYS = 21
# After an alarm the weekly twin counts more for so long: labels of a horizon are that late.
ADAPTS = 35


class Drift:
    """Takes one residual a day; says when members behave otherwise than predicted."""

    # A detector that never fires would be replayed from its first day at every start.
    _LONGEST = 400

    def __init__(self, state: DriftState | None = None) -> None:
        state = state or DriftState()
        self._residuals = list(state.residuals)
        self.adapting_until = state.adapting_until
        self._detector = _detector(self._residuals)

    @property
    def state(self) -> DriftState:
        """Return what it takes to go on."""
        return DriftState(tuple(self._residuals), self.adapting_until)

    def add(self, day: int, answers: list[tuple[float, float]]) -> bool:
        """Take a day's answers into account; return whether this is an alarm.

        Of each the probability and what came true less it.
        """
        chance = math.sqrt(sum(p * (1.0 - p) for p, _ in answers))
        residual = sum(off for _, off in answers) / max(len(answers), chance / _CHANCE)
        self._residuals.append(residual)
        self._detector.update(residual)  # type: ignore[no-untyped-call]
        week = self._residuals[-_WEEK:]
        if self._detector.drift_detected and abs(sum(week)) > _OFF * len(week):
            self._residuals = []
            self._detector = _detector(())
            self.adapting_until = day + ADAPTS
            return True
        if len(self._residuals) > self._LONGEST:
            self._residuals = self._residuals[self._LONGEST // 2 :]
            self._detector = _detector(self._residuals)
        return False

    def settles(self, day: int) -> bool:
        """Return whether the time of adapting is over with this day."""
        if self.adapting_until is None or day < self.adapting_until:
            return False
        self.adapting_until = None
        return True


def _detector(residuals: Iterable[float]) -> PageHinkley:
    detector = PageHinkley(min_instances=_LEAST_DAYS, delta=_TOLERATED, threshold=_ALARM)
    for residual in residuals:
        detector.update(residual)  # type: ignore[no-untyped-call]
    return detector
