"""Learns ``models.value`` from questions whose 90 days have passed: no label before.

River and scipy are imported here, so workers do not import this. What was asked on a day is learned
``HORIZON`` days later from the features of that day, in the order of member numbers; so parameters
are a function of what was said, whatever came first within a day.
"""

import math
import struct
from bisect import bisect_left
from collections.abc import Iterable
from itertools import accumulate
from typing import NamedTuple

import numpy as np
from river.compose import Pipeline
from river.linear_model import LinearRegression
from river.optim import AdaGrad
from river.optim.losses import Poisson
from river.preprocessing import StandardScaler
from river.utils import VectorDict

from models.asking import Bought, Question
from models.btyd import BgNbd, GammaGamma
from models.btyd_fit import fit_gamma_gamma
from models.value import (
    GROUPS,
    HORIZON,
    USUAL,
    VALUE_FEATURES,
    Band,
    Online,
    Past,
    ValueCheckpoint,
    ValueModel,
    blended,
    group,
    value_features,
)

# Labels before the regression counts, and then until it counts as much as the other opinion: in a
# shop with few of them no value jumps overnight. A regression of a few thousand labels errs more
# than BG/NBD does.
TRUSTED = 2000
RIPE = 10_000
# What is usual weighs like so many labels in the scaler: an order of another price, in a shop where
# all orders cost the same, is not infinitely unusual.
_PRIOR = 50
# A residual beyond ten mean orders is learned as ten: one wholesaler does not move everybody.
_CLIP = 10.0
_RATE = 0.03
_INTERCEPT_RATE = 0.003
# Who is expected to spend so many mean orders is like nobody else, and teaches nothing.
_ABSURD = 1e5
# Of the spread of outcomes half is forgotten in four weeks with labels.
_KEEPS = 0.5 ** (1 / 28)
# Outcomes are counted by the logarithm of outcome to expectation: none, then eighths from 2^-6.
_STEPS, _LEAST = 8, -6
_CELLS = 98
# Fewer members alike do not make an interval.
_ENOUGH = 100.0


# One open question: member, orders, span, age, spent, vector. There are a dozen for each member.
_ROW = struct.Struct(f"<qIIIq{len(VALUE_FEATURES)}f")


class _Open(NamedTuple):
    """A question that waits for its label."""

    member: int
    past: Past
    vector: tuple[float, ...]


class ValueTrainer:
    """Follows questions and purchases, closes days one after the other.

    ``margin``: the share of revenue that stays with the shop.
    """

    def __init__(self, margin: float = 1.0) -> None:
        self._margin = margin
        self._closed: int | None = None
        self._gamma_gamma: GammaGamma | None = None
        self._unit: float | None = None
        self._learned = 0
        self._outcomes = [[0.0] * _CELLS for _ in range(GROUPS)]
        # By the day of asking; by member, net cents of each day.
        self._open: dict[int, bytearray] = {}
        self._cents: dict[int, dict[int, int]] = {}
        self._scaler = StandardScaler()
        self._optimizer = AdaGrad(_RATE)
        self._regression = LinearRegression(
            optimizer=self._optimizer,
            loss=Poisson(),
            intercept_lr=_INTERCEPT_RATE,
            clip_gradient=_CLIP,
        )
        self.pipeline: Pipeline = self._scaler | self._regression
        for name, (mean, deviation) in zip(VALUE_FEATURES, USUAL, strict=True):
            self._scaler.counts[name] = _PRIOR
            self._scaler.means[name] = mean
            self._scaler.vars[name] = deviation * deviation

    @property
    def oldest(self) -> int | None:
        """The oldest day whose messages a restart needs; None before the first closed day."""
        return None if self._closed is None else self._closed - HORIZON + 1

    def asked(self, question: Question, x: tuple[float, ...]) -> None:
        """Keep a question until its label is due; ``x``: the churn model's vector when asked."""
        day = question.day
        if self._closed is not None and day <= self._closed - HORIZON:
            return
        rhythm = question.rhythm
        row = _ROW.pack(question.member, *Past.of(rhythm, day), *value_features(rhythm, day, x))
        self._open.setdefault(day, bytearray()).extend(row)

    def bought(self, bought: Bought) -> None:
        """Count money spent, or taken back."""
        days = self._cents.setdefault(bought.member, {})
        days[bought.day] = days.get(bought.day, 0) + bought.cents

    def close(self, day: int, bgnbd: BgNbd | None) -> ValueModel:
        """Learn what is due at the end of ``day``; return the parameters for the days after.

        ``bgnbd``: the frequencies as they are known by now.
        """
        self._closed = day
        if day % 7 == 6:
            self._refit(day)
        asked = day - HORIZON
        due = _rows(self._open.pop(asked, b""))
        if due:
            self._learn([(row, self._spent(row.member, asked)) for row in due], bgnbd)
        online = None
        if self._unit is not None and self._learned >= TRUSTED:
            online = self._snapshot(self._unit)
        bands = tuple(_band(cells) for cells in self._outcomes)
        return ValueModel(bgnbd, self._gamma_gamma, online, bands, self._margin)

    def _refit(self, day: int) -> None:
        """Fit how much orders are to everybody who was asked in the last week: all members."""
        week = [
            row for asked in range(day - 6, day + 1) for row in _rows(self._open.get(asked, b""))
        ]
        orders = np.array([row.past.orders for row in week], dtype=float)
        spent = np.array([row.past.spent for row in week], dtype=float)
        fitted = fit_gamma_gamma(orders, spent, self._gamma_gamma)
        if fitted is None:
            return
        self._gamma_gamma = fitted
        if self._unit is None:
            self._unit = float(spent.sum() / orders.sum())

    def _learn(self, due: Iterable[tuple[_Open, int]], bgnbd: BgNbd | None) -> None:
        """Learn rows with what was spent, in order."""
        gamma_gamma, unit = self._gamma_gamma, self._unit
        if bgnbd is None or gamma_gamma is None or unit is None:
            return
        # Expected with what was known before these labels.
        online = self._snapshot(unit)
        trusted = online if self._learned >= TRUSTED else None
        for cells in self._outcomes:
            cells[:] = [count * _KEEPS for count in cells]
        for row, spent in due:
            expected = blended(row.past, row.vector, bgnbd, gamma_gamma, trusted)
            self._outcomes[group(row.past, bgnbd)][_cell(spent, expected)] += 1.0
            if online.expected(row.vector) < _ABSURD * unit:
                x = dict(zip(VALUE_FEATURES, row.vector, strict=True))
                self.pipeline.learn_one(x, spent / unit)
                self._learned += 1

    def _spent(self, member: int, asked: int) -> int:
        """Return the cents, net and at least 0, of the horizon after the day of asking."""
        days = self._cents.pop(member, {})
        later = {day: cents for day, cents in days.items() if day > asked}
        if later:
            self._cents[member] = later
        end = asked + HORIZON
        return max(sum(cents for day, cents in later.items() if day <= end), 0)

    def _snapshot(self, unit: float) -> Online:
        weights = self._regression.weights
        return Online(
            tuple(float(self._scaler.means[name]) for name in VALUE_FEATURES),
            tuple(float(self._scaler.vars[name]) for name in VALUE_FEATURES),
            tuple(float(weights.get(name, 0.0)) for name in VALUE_FEATURES),
            float(self._regression.intercept),
            unit,
            0.5 * min(max((self._learned - TRUSTED) / RIPE, 0.0), 1.0),
        )

    def checkpoint(self) -> ValueCheckpoint:
        """Return what a restart goes on from, to the bit, with the messages from ``oldest`` on."""
        return ValueCheckpoint(
            self._closed,
            self._margin,
            self._gamma_gamma,
            None if self._unit is None else self._snapshot(self._unit),
            tuple(float(self._optimizer.g2[name]) for name in VALUE_FEATURES),
            self._learned,
            tuple(tuple(cells) for cells in self._outcomes),
        )

    @classmethod
    def restored(cls, checkpoint: ValueCheckpoint) -> "ValueTrainer":
        """Return the trainer as it was, without its open questions."""
        trainer = cls(checkpoint.margin)
        trainer._closed = checkpoint.closed
        trainer._gamma_gamma = checkpoint.gamma_gamma
        trainer._learned = checkpoint.learned
        trainer._outcomes = [list(cells) for cells in checkpoint.outcomes]
        online = checkpoint.online
        if online is None:
            return trainer
        trainer._unit = online.unit
        for name in VALUE_FEATURES:
            trainer._scaler.counts[name] = _PRIOR + checkpoint.learned
        trainer._scaler.means.update(zip(VALUE_FEATURES, online.means, strict=True))
        trainer._scaler.vars.update(zip(VALUE_FEATURES, online.variances, strict=True))
        trainer._optimizer.g2.update(zip(VALUE_FEATURES, checkpoint.squares, strict=True))
        trainer._optimizer.n_iterations = checkpoint.learned
        weights = dict(zip(VALUE_FEATURES, online.weights, strict=True))
        trainer._regression._weights = VectorDict(weights)
        trainer._regression.intercept = online.intercept
        return trainer


def _rows(packed: bytes | bytearray) -> list[_Open]:
    """Return the questions of a day, by member."""
    return sorted(
        _Open(member, Past(orders, span, age, spent), tuple(vector))
        for member, orders, span, age, spent, *vector in _ROW.iter_unpack(packed)
    )


def _cell(spent: int, expected: float) -> int:
    if spent <= 0:
        return 0
    size = math.floor((math.log2(spent / max(expected, 1e-6)) - _LEAST) * _STEPS)
    return 1 + min(max(size, 0), _CELLS - 2)


def _band(cells: list[float]) -> Band | None:
    """Return the parts between which eight of ten outcomes lie; None when there were too few."""
    sums = list(accumulate(cells))
    if sums[-1] < _ENOUGH:
        return None
    return Band(_part(cells, sums, 0.1), _part(cells, sums, 0.9))


def _part(cells: list[float], sums: list[float], level: float) -> float:
    wanted = level * sums[-1]
    cell = bisect_left(sums, wanted)
    if cell == 0:
        return 0.0
    within = (wanted - sums[cell - 1]) / cells[cell]
    return float(2.0 ** ((cell - 1 + within) / _STEPS + _LEAST))
