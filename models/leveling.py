"""How far the level of the scores is off: what members do while the question is still open.

The direct twin learns labels as old as the horizon. While a shop grows, or its log has only begun,
everybody's chances move in that time, and scores are off by as much. But of an active member who
was asked two weeks ago it is known already whether the first two weeks went by without an order. So
a life table is kept of the active members: of those who had stayed away until then, how many came
in their first week, in their second, and so on to the horizon, each counted when it is over. What
the weeks leave, one after the other, is the share that stays away for the horizon as things are
now; nobody's model is asked, and no label is learned early.

The *gap* is the log odds by which the blend's mean over the active members asked of late would have
to move to be that share, less what chance alone may make of it. How much of it is believed, the
shift says that is added to every score, is decided by what it would have been worth: all of it to
begin with, when what is learned is of a log that had only begun, and later what answers bear out.
"""

import math

import msgspec

from models.churn import WEEK
from models.logistic import sigmoid
from models.quality import log_loss

# Half-lives in days. Of the table: a sale that moves a week moves no month. Of what the blend says:
# everybody is asked once a week.
_KEEP_TABLE = 0.5 ** (1 / 14)
_KEEP_SAID = 0.5 ** (1 / 4)
# A table of fewer members at risk in one of its weeks says nothing.
_LEAST = 30.0
# As if each day of the log had shown so many questions, each worth p(1 - p) = 1, without a gap: of
# a log that has only begun less is known, and what is known is of other days.
_PRIOR = 1.0
# A holiday moves a month by more, and is over: then somebody should look, and no number be turned.
_MOST = 0.3
SHARES = (0.0, 0.5, 1.0)
"""How much of the gap may be believed."""
# What each share lost fades as the blend's losses do; a member's weekly answers say much the same.
_LOSS_KEEPS = 0.5 ** (1 / 60)
_TEMPERATURE = 10.0
# Nats by which believing all of the gap is ahead of believing nothing, while nothing has answered:
# in a log that has just begun, what a member did before is not seen, and everybody looks keener.
_HEAD_START = 80.0


class Claim(msgspec.Struct, frozen=True):
    """What was said of a day: the gap, and how much of it was added to the scores."""

    gap: float
    shift: float


class Level(msgspec.Struct):
    """The life table, what the blend says, and what was claimed of days whose answers are open.

    ``at_risk``, ``came``: fading counts of members, by step of the table; ``away``: how many of a
    day have stayed away so far. ``asked``, ``said``, ``unsure``: fading sums over questions: their
    number, p and p(1 - p) by the blend without shift. ``days``: how many have gone by. ``losses``:
    log loss of answers by ``SHARES``; ``claims``: by day.
    """

    at_risk: list[float] = msgspec.field(default_factory=list)
    came: list[float] = msgspec.field(default_factory=list)
    away: dict[int, int] = msgspec.field(default_factory=dict)
    asked: float = 0.0
    said: float = 0.0
    unsure: float = 0.0
    days: int = 0
    losses: list[float] = msgspec.field(
        default_factory=lambda: [_HEAD_START * (1.0 - share) for share in SHARES]
    )
    claims: dict[int, Claim] = msgspec.field(default_factory=dict)

    def fade(self) -> None:
        """Let a day go by."""
        self.days += 1
        self.at_risk = [count * _KEEP_TABLE for count in self.at_risk]
        self.came = [count * _KEEP_TABLE for count in self.came]
        self.asked *= _KEEP_SAID
        self.said *= _KEEP_SAID
        self.unsure *= _KEEP_SAID
        self.losses = [loss * _LOSS_KEEPS for loss in self.losses]

    def compare(self, blended: float) -> None:
        """Count a question by the log odds of the blend without shift."""
        p = sigmoid(blended)
        self.asked += 1.0
        self.said += p
        self.unsure += p * (1.0 - p)

    def look(self, step: int, day: int, away: int, asked: int) -> None:
        """Count a step of the table, from 0 on, that is over for who was asked on ``day``.

        ``asked``: how many that were; ``away``: how many of them have bought nothing since.
        """
        for counts in (self.at_risk, self.came):
            counts.extend([0.0] * (step + 1 - len(counts)))
        before = self.away.get(day) if step else asked
        if before is not None:
            self.at_risk[step] += before
            self.came[step] += before - away
            self.away[day] = away

    def claim(self, day: int, steps: int) -> None:
        """Settle the shift for scores of ``day``; it is remembered until ``forget``.

        ``steps``: how many it takes to the horizon.
        """
        least = min(self.losses)
        weights = [math.exp((least - loss) / _TEMPERATURE) for loss in self.losses]
        believed = sum(w * share for w, share in zip(weights, SHARES, strict=True)) / sum(weights)
        gap = self._gap() if len(self.at_risk) == steps else 0.0
        self.claims[day] = Claim(gap, believed * gap)

    def shift_of(self, day: int) -> float:
        """Return the shift for scores of a day; 0 when nothing was claimed of it."""
        claim = self.claims.get(day)
        return 0.0 if claim is None else claim.shift

    def _gap(self) -> float:
        """Return the gap in log odds; the less of it, the more of it chance can make."""
        if self.asked < _LEAST or min(self.at_risk) < _LEAST:
            return 0.0
        stays, doubt = 1.0, 0.0
        for at_risk, came in zip(self.at_risk, self.came, strict=True):
            stays *= 1.0 - came / at_risk
            doubt += came / (at_risk * max(at_risk - came, 1.0))
        beyond = stays - self.said / self.asked
        seen = beyond * beyond
        if not seen:
            return 0.0
        sure = seen / (seen + stays * stays * doubt)
        gap = sure * beyond * self.asked / (self.unsure + _PRIOR * self.days)
        return min(max(gap, -_MOST), _MOST)

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
        """Drop what belongs to days before this one."""
        self.claims = {day: claim for day, claim in self.claims.items() if day >= before}
        self.away = {day: away for day, away in self.away.items() if day >= before}


def steps_to(horizon: int) -> tuple[int, ...]:
    """Return the ends of the table's steps in days: weeks, and what is left of the last one."""
    return (*range(WEEK, horizon, WEEK), horizon)
