"""What the trainer goes on from: its state between two days, as JSON.

Workers decode it without loading what learns.
"""

import math

import msgspec

from models.blending import BlendState
from models.btyd import BgNbd
from models.features import Population
from models.leveling import Level
from models.logistic import Logistic
from models.next_order import NextOrderCheckpoint
from models.quality import Tally
from models.value import ValueCheckpoint

# What is usual before there is data weighs like so many gaps, and so many labels.
_PRIOR_GAPS = 20
_PRIOR_LABELS = 10


class Sums(msgspec.Struct):
    """Over all gaps: number, days, log(1 + gap) in millionths and squared; over labels: churn."""

    gaps: int = 0
    days: int = 0
    logs: int = 0
    squares: int = 0
    labels: int = 0
    churned: int = 0

    def add_gap(self, days: int) -> None:
        """Count a gap between two purchase days. (Whole numbers add up in any order.)"""
        log = math.log1p(days)
        self.gaps += 1
        self.days += days
        self.logs += round(log * 1e6)
        self.squares += round(log * log * 1e6)

    def population(self) -> Population:
        """Return what is usual in the base."""
        usual = Population()
        gaps = self.gaps + _PRIOR_GAPS
        mean = (self.logs / 1e6 + _PRIOR_GAPS * usual.log_mean) / gaps
        square = usual.log_mean**2 + usual.log_variance
        variance = (self.squares / 1e6 + _PRIOR_GAPS * square) / gaps - mean * mean
        return Population(
            (self.days + _PRIOR_GAPS * usual.mean_gap) / gaps,
            mean,
            max(variance, 0.05),
            (self.churned + _PRIOR_LABELS * usual.base) / (self.labels + _PRIOR_LABELS),
        )


class LearnerState(msgspec.Struct, frozen=True):
    """A learner between two days.

    ``memory``: what sizes its steps. AdaGrad: sums of squares, by feature; Newton: the inverse of
    the curvature, row by row; SGD: nothing.
    """

    kind: str
    logistic: Logistic
    memory: tuple[float, ...]
    steps: int


class TwinState(msgspec.Struct, frozen=True):
    """A champion and its shadow.

    ``lost``: their fading log losses, over ``compared`` (fading) labels of ``days`` days.
    ``trial``: fading log losses of champion and BG/NBD, and over how many labels, until trusted.
    """

    champion: LearnerState
    shadow: LearnerState
    lost: tuple[float, float]
    compared: float
    days: int
    trial: tuple[float, float, float]
    trusted: bool


class DriftState(msgspec.Struct, frozen=True):
    """The residuals since the detector began afresh, oldest first, and until when it adapts."""

    residuals: tuple[float, ...] = ()
    adapting_until: int | None = None


class Checkpoint(msgspec.Struct, frozen=True):
    """All that a trainer goes on from beside the log, as of the end of ``closed``."""

    closed: int | None
    horizon: int
    schema: str
    sums: Sums
    # What was usual on the days whose questions are open.
    populations: dict[int, Population]
    direct: TwinState
    weekly: TwinState
    bgnbd: BgNbd | None
    blend: BlendState
    drift: DriftState
    residual: float | None
    active: Tally
    everyone: Tally
    value: ValueCheckpoint
    next_order: NextOrderCheckpoint
    level: Level = msgspec.field(default_factory=Level)
