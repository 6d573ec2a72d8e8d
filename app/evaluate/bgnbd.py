"""The parametric baseline: BG/NBD, refitted every week on everybody known by then."""

from dataclasses import dataclass

import numpy as np

from app.evaluate.asked import Progress, Rows
from app.evaluate.metrics import Floats
from app.evaluate.weeks import Week
from models.btyd import BgNbd
from models.btyd_fit import fit_bgnbd

UNKNOWN = 0.5


@dataclass(frozen=True, slots=True)
class Fitted:
    """Probabilities of no order within the horizon by row, and the last fit's parameters."""

    said: Floats
    parameters: BgNbd | None


def bgnbd(weeks: list[Week], rows: Rows, horizon: int, progress: Progress) -> Fitted:
    """Return P(no order in the next ``horizon`` days) of each row by the fit of its week.

    One half is said before anybody has bought again, when there is nothing to fit.
    """
    said = np.full(len(rows.day), UNKNOWN)
    model: BgNbd | None = None
    for number, week in enumerate(weeks):
        progress("BG/NBD", number, len(weeks))
        fit = fit_bgnbd(*rows.histories.summaries(week.begins), model)
        if fit is not None:
            model = fit[0]
        if model is not None:
            said[week.asked] = no_order(model, *states(rows, week.asked), horizon)
    return Fitted(said, model)


def states(rows: Rows, part: slice) -> tuple[Floats, Floats, Floats]:
    """Return x, t_x and age of a part of the rows."""
    x, age = rows.orders[part] - 1, rows.tenure[part]
    t_x = age - rows.silence[part]
    return x.astype(np.float64), t_x.astype(np.float64), age.astype(np.float64)


def no_order(model: BgNbd, x: Floats, t_x: Floats, age: Floats, horizon: int) -> Floats:
    """Return ``BgNbd.p_no_order`` of many members at once."""
    rate = model.r + x
    with np.errstate(over="ignore"):
        left = np.exp(
            np.log(model.a / (model.b + np.maximum(x, 1) - 1))
            + rate * np.log((model.alpha + age) / (model.alpha + t_x))
        )
    alive = np.where(x > 0, 1 / (1 + left), 1.0)
    said: Floats = 1 + alive * np.expm1(-rate * np.log1p(horizon / (model.alpha + age)))
    return said
