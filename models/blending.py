"""How much each opinion counts: what has answered best so far.

Every mixture in quarters of the three opinions is followed; its log loss over matured answers fades
with a half-life of 60 days, and a mixture weighs by how little it lost. All three count alike to
begin with. Answers are counted from when every opinion is there (``Twin`` says when).
"""

import math

import msgspec

from models.churn import Blend, Opinions
from models.logistic import sigmoid
from models.quality import log_loss

_PARTS = 4
MIXTURES: tuple[tuple[float, float, float], ...] = tuple(
    (direct / _PARTS, weekly / _PARTS, (_PARTS - direct - weekly) / _PARTS)
    for direct in range(_PARTS + 1)
    for weekly in range(_PARTS + 1 - direct)
)
_KEEP = 0.5 ** (1 / 60)
# A member is asked every week about the same month: some four answers say much the same.
_TEMPERATURE = 4.0
# Nats by which the middle is ahead of what is a quarter away from it.
_HEAD_START = 5.0


def _behind(mixture: tuple[float, float, float]) -> float:
    return _HEAD_START * 2.0 * sum(abs(part - 1.0 / 3.0) for part in mixture)


class BlendState(msgspec.Struct):
    """Fading log loss of each of ``MIXTURES`` and of each opinion, and how many answers that is."""

    losses: list[float] = msgspec.field(
        default_factory=lambda: [_behind(mixture) for mixture in MIXTURES]
    )
    alone: list[float] = msgspec.field(default_factory=lambda: [0.0, 0.0, 0.0])
    answers: float = 0.0

    def fade(self) -> None:
        """Let a day go by; the head start does not fade before there are answers."""
        if not self.answers:
            return
        self.losses = [loss * _KEEP for loss in self.losses]
        self.alone = [loss * _KEEP for loss in self.alone]
        self.answers *= _KEEP

    def add(self, opinions: Opinions, churned: bool) -> None:
        """Count what each would have lost; nothing while an opinion is missing."""
        direct, weekly, bgnbd = opinions
        if direct is None or weekly is None or bgnbd is None:
            return
        for index, opinion in enumerate((direct, weekly, bgnbd)):
            self.alone[index] += log_loss(sigmoid(opinion), churned)
        self.losses = [
            loss + log_loss(sigmoid(direct * first + weekly * second + bgnbd * third), churned)
            for loss, (first, second, third) in zip(self.losses, MIXTURES, strict=True)
        ]
        self.answers += 1.0

    def blend(self) -> Blend:
        """Return the mixture of mixtures, in hundredths: what hardly counts need not be asked."""
        least = min(self.losses)
        weights = [math.exp((least - loss) / _TEMPERATURE) for loss in self.losses]
        total = sum(weights)
        direct, weekly, bgnbd = (
            round(sum(w * mix[part] for w, mix in zip(weights, MIXTURES, strict=True)) / total, 2)
            for part in range(3)
        )
        return Blend(direct, weekly, bgnbd)
