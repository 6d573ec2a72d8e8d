"""How far the level of the scores is behind: what last week's answers know, and the blend cannot.

The direct twin learns labels as old as the horizon. While a shop grows, or its log has only begun,
everybody's chances move in that time, and scores are off by as much. The labels of the weekly twin
are a week old: it tells members apart less well, but follows the level. So the *gap* is watched:
the log odds by which the blend's mean over the active members asked lately would have to move to be
the weekly twin's. How much of it is believed, the shift says that is added to every score, is
decided by what it would have been worth: on some logs the weekly twin is wrong about a month.
"""

import math

import msgspec

from models.logistic import sigmoid
from models.quality import log_loss

# Half-lives in days of the two means that must agree: a sale that moves a week moves no month.
_KEEPS = (0.5 ** (1 / 4), 0.5 ** (1 / 28))
# As if so many questions, each worth p(1 - p) = 1, had shown no gap.
_PRIOR = 25.0
# Beyond this somebody should look, and not a number be turned.
_MOST = 1.0
SHARES = (0.0, 0.5, 1.0)
"""How much of the gap may be believed."""
# What each share lost fades as the blend's losses do; a member's weekly answers say much the same.
_LOSS_KEEPS = 0.5 ** (1 / 60)
_TEMPERATURE = 10.0


class Claim(msgspec.Struct, frozen=True):
    """What was said of a day: the gap, and how much of it was added to the scores."""

    gap: float
    shift: float


class Level(msgspec.Struct):
    """Fading sums over questions, and what was claimed of the days whose answers are open.

    ``beyond``: what the weekly twin says more than the blend, ``spread``: p(1 - p), each by
    ``_KEEPS``; ``losses``: log loss of answers by ``SHARES``; ``claims``: by day.
    """

    beyond: list[float] = msgspec.field(default_factory=lambda: [0.0] * len(_KEEPS))
    spread: list[float] = msgspec.field(default_factory=lambda: [0.0] * len(_KEEPS))
    losses: list[float] = msgspec.field(default_factory=lambda: [0.0] * len(SHARES))
    claims: dict[int, Claim] = msgspec.field(default_factory=dict)

    def fade(self) -> None:
        """Let a day go by."""
        self.beyond = [sum_ * keep for sum_, keep in zip(self.beyond, _KEEPS, strict=True)]
        self.spread = [sum_ * keep for sum_, keep in zip(self.spread, _KEEPS, strict=True)]
        self.losses = [loss * _LOSS_KEEPS for loss in self.losses]

    def compare(self, weekly: float, blended: float) -> None:
        """Count a question, by the log odds of the weekly twin and of the blend without shift."""
        p = sigmoid(blended)
        more, spread = sigmoid(weekly) - p, p * (1.0 - p)
        self.beyond = [sum_ + more for sum_ in self.beyond]
        self.spread = [sum_ + spread for sum_ in self.spread]

    def claim(self, day: int) -> None:
        """Settle the shift for scores of ``day``; it is remembered until ``forget``."""
        least = min(self.losses)
        weights = [math.exp((least - loss) / _TEMPERATURE) for loss in self.losses]
        believed = sum(w * share for w, share in zip(weights, SHARES, strict=True)) / sum(weights)
        gap = self._gap()
        self.claims[day] = Claim(gap, believed * gap)

    def shift_of(self, day: int) -> float:
        """Return the shift for scores of a day; 0 when nothing was claimed of it."""
        claim = self.claims.get(day)
        return 0.0 if claim is None else claim.shift

    def _gap(self) -> float:
        """Return the smaller of the gaps that both means see; 0 when they disagree."""
        gaps = [m / (s + _PRIOR) for m, s in zip(self.beyond, self.spread, strict=True)]
        if min(gaps) < 0.0 < max(gaps):
            return 0.0
        return min(max(min(gaps, key=abs), -_MOST), _MOST)

    def answer(self, day: int, said: float, churned: bool) -> None:
        """Count what each share of the gap would have lost; ``said``: log odds, shift included.

        Nothing for a day of which nothing is remembered.
        """
        claim = self.claims.get(day)
        if claim is not None:
            unshifted = said - claim.shift
            self.losses = [
                loss + log_loss(sigmoid(unshifted + share * claim.gap), churned)
                for loss, share in zip(self.losses, SHARES, strict=True)
            ]

    def forget(self, before: int) -> None:
        """Drop what was claimed of days before this one."""
        self.claims = {day: claim for day, claim in self.claims.items() if day >= before}
