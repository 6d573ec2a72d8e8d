"""The weekly batch model to be measured against: LightGBM, retrained on all that is known.

It gets every advantage that is honest: our features, plain recency, frequency, tenure and spend,
the BG/NBD score, and the best of several configurations, chosen by the very figure that is
reported (ours has no such choice).
"""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from app.evaluate.asked import Progress
from app.evaluate.metrics import Bools, Floats, auc
from app.evaluate.weeks import Week

MISSING = "LightGBM is not installed: pip install member-lifecycle[evaluate]"
CONFIGURATIONS = {"15 leaves": 15, "7 leaves": 7, "4 leaves": 4}
_ROUNDS = 100
_COMMON: dict[str, Any] = {
    "objective": "binary",
    "learning_rate": 0.08,
    "min_data_in_leaf": 100,
    "lambda_l2": 5.0,
    "feature_fraction": 0.8,
    "max_bin": 63,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "seed": 1,
    "verbosity": -1,
}
# A week's training takes at most so many of the rows that are known, evenly spread; while the
# configuration is chosen, fewer.
TRAINING_ROWS = 200_000
CHOICE_ROWS = 50_000
# Fewer of either kind are no training set: the base rate is said.
_FEWEST = 20


@dataclass(frozen=True, slots=True)
class Boosted:
    """What the best configuration said of each row, which it is, and how each did (AUC)."""

    said: Floats
    configuration: str
    auc_by_configuration: dict[str, float]


def installed() -> bool:
    """Return whether LightGBM can be used."""
    return find_spec("lightgbm") is not None


def best_boosted(
    weeks: list[Week],
    columns: Floats,
    churned: Bools,
    judged: Bools,
    progress: Progress,
) -> Boosted:
    """Return the configuration with the greatest AUC over the ``judged`` rows.

    ``columns``: rows x features, rows in order of their day.
    """
    found: dict[str, tuple[float, Floats]] = {}
    small = weeks[-1].known.stop <= CHOICE_ROWS if weeks else True
    for name in CONFIGURATIONS:
        said = _boosted(weeks, columns, churned, name, CHOICE_ROWS, progress)
        found[name] = auc(churned[judged], said[judged]) or 0.0, said
    best = max(found, key=lambda name: found[name][0])
    said = found[best][1]
    if not small:
        said = _boosted(weeks, columns, churned, best, TRAINING_ROWS, progress)
    return Boosted(said, best, {name: score for name, (score, _) in found.items()})


def _boosted(
    weeks: list[Week],
    columns: Floats,
    churned: Bools,
    configuration: str,
    most: int,
    progress: Progress,
) -> Floats:
    """Return each row's probability by the model of its week."""
    import lightgbm

    parameters = _COMMON | {"num_leaves": CONFIGURATIONS[configuration]}
    said = np.full(len(churned), 0.5)
    for number, week in enumerate(weeks):
        progress(f"LightGBM, {configuration}", number, len(weeks))
        count = week.known.stop
        step = max(1, -(-count // most))
        rows = slice(count % step, count, step)
        labels = churned[rows].astype(np.float64)
        if week.asked.start == week.asked.stop:
            continue
        if not _FEWEST <= labels.sum() <= len(labels) - _FEWEST:
            said[week.asked] = (labels.sum() + 1) / (len(labels) + 2)
            continue
        data = lightgbm.Dataset(columns[rows], labels)
        model = lightgbm.train(parameters, data, num_boost_round=_ROUNDS)
        said[week.asked] = model.predict(columns[week.asked], num_threads=1)
    return said
