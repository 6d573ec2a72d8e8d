"""The plainest baseline: how long ago the last order was, and how often that meant churn."""

import numpy as np
from scipy.optimize import isotonic_regression

from app.evaluate.metrics import Bools, Floats, Ints
from app.evaluate.weeks import Week

UNKNOWN = 0.5


def recency(weeks: list[Week], silence: Ints, churned: Bools) -> Floats:
    """Return each row's probability from the days since the last order alone.

    Every week an isotonic regression of what came true on the silence is fitted to the rows that
    are known by then; before the first of them the answer is one half.
    """
    said = np.full(len(silence), UNKNOWN)
    longest = int(silence.max(initial=0)) + 1
    for week in weeks:
        known = silence[week.known]
        rows = np.bincount(known, minlength=longest)
        seen = np.flatnonzero(rows)
        if len(seen) == 0:
            continue
        losses = np.bincount(known, churned[week.known], minlength=longest)
        fitted = isotonic_regression(losses[seen] / rows[seen], weights=rows[seen]).x
        # What never failed to happen yet is not certain for that.
        least = 1 / (rows.sum() + 2)
        steps = np.clip(fitted, least, 1 - least)
        said[week.asked] = np.interp(silence[week.asked], seen, steps)
    return said
