"""How good predictions have been, from their answers as they come: sums that fade with time.

Answers are counted in classes of equal width of predicted log odds, so that ranking (AUC) and
calibration can be told at any time from a few numbers.
"""

import math

import msgspec

from models.logistic import log_odds
from models.model import Quality

CLASSES = 60
_WIDTH = 0.25
# The figures are of about the last four weeks.
_KEEP = 0.5 ** (1 / 28)
# ECE of classes with fewer answers than this would be noise.
_ECE_CLASSES = 15


class Tally(msgspec.Struct):
    """Fading sums. ``kept``, ``lost``: answers by class; ``predicted``: sum of p by class."""

    kept: list[float] = msgspec.field(default_factory=lambda: [0.0] * CLASSES)
    lost: list[float] = msgspec.field(default_factory=lambda: [0.0] * CLASSES)
    predicted: list[float] = msgspec.field(default_factory=lambda: [0.0] * CLASSES)
    loss: float = 0.0

    def fade(self) -> None:
        """Let a day go by."""
        for sums in (self.kept, self.lost, self.predicted):
            for index, value in enumerate(sums):
                sums[index] = value * _KEEP
        self.loss *= _KEEP

    def add(self, p: float, churned: bool) -> None:
        """Count one answer to a prediction."""
        place = int(log_odds(p) / _WIDTH + CLASSES / 2)
        place = min(max(place, 0), CLASSES - 1)
        (self.lost if churned else self.kept)[place] += 1.0
        self.predicted[place] += p
        self.loss += log_loss(p, churned)

    def quality(self) -> Quality:
        """Return the figures."""
        lost, kept = sum(self.lost), sum(self.kept)
        total = lost + kept
        if total < 1.0:
            return Quality(0.0, None, None, None, None, None)
        auc = None
        if lost and kept:
            below = right = 0.0
            for more, fewer in zip(self.lost, self.kept, strict=True):
                right += more * (below + fewer / 2)
                below += fewer
            auc = right / (lost * kept)
        return Quality(
            total,
            lost / total,
            sum(self.predicted) / total,
            self.loss / total,
            auc,
            self._ece(total),
        )

    def _ece(self, total: float) -> float:
        """Return the mean distance of predicted and true shares over classes of equal mass."""
        error = lost = all_of = predicted = 0.0
        for more, fewer, sum_of in zip(self.lost, self.kept, self.predicted, strict=True):
            lost += more
            all_of += more + fewer
            predicted += sum_of
            if all_of >= total / _ECE_CLASSES:
                error += abs(lost - predicted)
                lost = all_of = predicted = 0.0
        return (error + abs(lost - predicted)) / total


def log_loss(p: float, churned: bool) -> float:
    """Return the log loss of one answer, of p within one in a million of 0 and 1."""
    if p < 1e-6:
        p = 1e-6
    elif p > 1.0 - 1e-6:
        p = 1.0 - 1e-6
    return -math.log(p if churned else 1.0 - p)
