"""``lifecycle evaluate churn``: is the probability right, and does it tell members apart?"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from app.evaluate import gbm
from app.evaluate.asked import Progress, Rows, ask
from app.evaluate.bgnbd import bgnbd
from app.evaluate.counting import NOBODY_ASKED, TooShort, days_that_count
from app.evaluate.metrics import (
    Bin,
    Bools,
    Floats,
    auc,
    auc_gap,
    brier,
    calibration_error,
    in_the_large,
    log_loss,
    mean,
    reliability,
    rounded,
)
from app.evaluate.reading import Log
from app.evaluate.recency import recency
from app.evaluate.truncation import Truncation, truncation
from app.evaluate.weeks import WEEK, weeks_of
from models.course import Learner
from models.features import features
from models.model import Model
from models.rhythm import Rhythm

COLD_START = range(31, 91)
# So many days after the burn-in the log is cut to see whether anything knew the future.
CUT = 14
DRAWS = 200
OURS = "ours"


@dataclass(frozen=True, slots=True)
class Judged:
    """Rows with what came true, and what each model said of them."""

    rows: Rows
    horizon: int
    churned: Bools
    # Bought within the horizon.
    active: Bools
    # Between burn-in and the last day whose horizon lies within the log.
    counted: Bools
    # The first weeks, when hardly a label is known.
    cold: Bools
    said: Mapping[str, Floats]
    truncation: Truncation
    notes: tuple[str, ...]
    boosted: gbm.Boosted | None


@dataclass(frozen=True, slots=True)
class Curves:
    """What is drawn: active members only, by model."""

    horizon: int
    bins: Mapping[str, list[Bin]]
    # Week (its first day, counted from the first of the log) to AUC.
    weekly: Mapping[str, list[tuple[int, float]]]
    # Probabilities of our own, for the histogram below the diagram.
    said: Floats


def judge(log: Log, learner: Callable[[], Learner], horizon: int, progress: Progress) -> Judged:
    """Go through the log; return all questions with what every model said of them.

    ``learner`` makes a new one: part of the log is gone through twice, to see that nothing was
    said that only the future tells.
    Raises ``TooShort`` when no question counts.
    """
    days = days_that_count(log.length, horizon)
    rows = ask(log, learner(), _see, progress)
    counted = (rows.day >= days.start) & (rows.day < days.stop)
    if not counted.any():
        raise TooShort(NOBODY_ASKED)

    def again(part: Log) -> Rows:
        return ask(
            part,
            learner(),
            _see,
            lambda _, done, of: progress("the same with the log cut", done, of),
        )

    checked = truncation(log, rows, min(days.start + CUT, days[-1]), again)
    churned = rows.histories.churned(rows.member, rows.day, horizon)
    active = rows.silence < horizon
    weeks = weeks_of(rows.day, 0, days[-1], horizon)
    fitted = bgnbd(weeks, rows, horizon, progress)
    said = {
        OURS: rows.said,
        "bgnbd": fitted.said,
        "recency": recency(weeks, rows.silence, churned),
    }
    notes = []
    boosted = None
    if gbm.installed():
        late = [week for week in weeks if week.begins + WEEK > days.start]
        columns = np.column_stack((rows.seen, _raw(rows), _logit(fitted.said)))
        boosted = gbm.best_boosted(late, columns, churned, counted & active, progress)
        said["lightgbm"] = boosted.said
    else:
        notes.append(f"{gbm.MISSING}; the figures are without it")
    cold = (rows.day >= COLD_START.start) & (rows.day < min(COLD_START.stop, days.stop))
    return Judged(
        rows, horizon, churned, active, counted, cold, said, checked, tuple(notes), boosted
    )


def figures(judged: Judged) -> dict[str, Any]:
    """Return everything that is reported, in the pinned keys and some more."""
    rows, counted = judged.rows, judged.counted
    both = counted & judged.active
    found: dict[str, Any] = {
        "horizon_days": judged.horizon,
        "rows": int(counted.sum()),
        "rows_active": int(both.sum()),
        "members": rows.histories.members,
        "base_rate_active": rounded(mean(judged.churned[both])),
        "base_rate_all": rounded(mean(judged.churned[counted])),
        **_quality(judged, OURS),
        "baselines": {
            name: _quality(judged, name)
            for name in ("lightgbm", "bgnbd", "recency")
            if name in judged.said
        },
        "weekly_auc": {
            name: [[week, rounded(value)] for week, value in _weekly(judged, name)]
            for name in judged.said
        },
        "reliability": [
            [b.rows, rounded(b.said), rounded(b.happened)]
            for b in reliability(judged.churned[both], rows.said[both])
        ],
        "truncation": asdict(judged.truncation),
        "notes": list(judged.notes),
    }
    if judged.boosted is not None:
        found["baselines"]["lightgbm"]["configuration"] = judged.boosted.configuration
        found["baselines"]["lightgbm"]["auc_by_configuration"] = {
            name: rounded(value) for name, value in judged.boosted.auc_by_configuration.items()
        }
        found["minus_lightgbm"] = {
            "active": _gap(judged, both),
            "all": _gap(judged, counted),
        }
    return found


def curves(judged: Judged) -> Curves:
    """Return what a plot of the figures shows."""
    both = judged.counted & judged.active
    return Curves(
        judged.horizon,
        {name: reliability(judged.churned[both], said[both]) for name, said in judged.said.items()},
        {name: _weekly(judged, name) for name in judged.said},
        judged.rows.said[both],
    )


def _quality(judged: Judged, name: str) -> dict[str, Any]:
    """Return a model's figures over the rows that count, for active and for all members."""
    said, churned = judged.said[name], judged.churned
    found: dict[str, Any] = {}
    for whose, rows in (("active", judged.counted & judged.active), ("all", judged.counted)):
        for key, figure in _FIGURES.items():
            found[f"{key}_{whose}"] = rounded(figure(churned[rows], said[rows]))
    if name != "lightgbm":
        found["cold_start"] = rounded(log_loss(churned[judged.cold], said[judged.cold]))
    return found


_FIGURES = {
    "auc": auc,
    "logloss": log_loss,
    "brier": brier,
    "ece": calibration_error,
    "citl": in_the_large,
}


def _weekly(judged: Judged, name: str) -> list[tuple[int, float]]:
    """Return the AUC among active members of each week, by its first day."""
    both = judged.counted & judged.active
    week = judged.rows.day // WEEK
    found = []
    for number in np.unique(week[both]):
        rows = both & (week == number)
        value = auc(judged.churned[rows], judged.said[name][rows])
        if value is not None:
            found.append((int(number) * WEEK, value))
    return found


def _gap(judged: Judged, rows: Bools) -> dict[str, float | None] | None:
    """Return AUC of ours minus LightGBM's with its 95 % interval by members."""
    gap = auc_gap(
        judged.churned[rows],
        judged.said[OURS][rows],
        judged.said["lightgbm"][rows],
        judged.rows.member[rows],
        DRAWS,
    )
    if gap is None:
        return None
    return {key: rounded(value) for key, value in zip(("auc", "low", "high"), gap, strict=True)}


def _see(rhythm: Rhythm, day: int, model: Model) -> tuple[float, ...]:
    return features(rhythm, day, model.churn.population)


def _raw(rows: Rows) -> Floats:
    """Return what any analyst would hand to a batch model: recency, frequency, tenure, money."""
    return np.column_stack(
        (rows.silence, rows.orders, rows.tenure, rows.spent, rows.spent / rows.orders)
    ).astype(np.float64)


def _logit(said: Floats) -> Floats:
    inside = np.clip(said, 1e-6, 1 - 1e-6)
    odds: Floats = np.log(inside / (1 - inside))
    return odds
