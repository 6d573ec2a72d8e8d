"""``lifecycle evaluate next``: in how many days members ordered, beside what was said."""

from typing import Any

import numpy as np

from app.evaluate.asked import Progress, Rows, ask
from app.evaluate.bgnbd import states
from app.evaluate.counting import TooShort, days_that_count
from app.evaluate.metrics import Bools, Floats, Ints, mean, rounded
from app.evaluate.reading import Log
from app.evaluate.weeks import Week, weeks_of
from models.btyd import BgNbd
from models.btyd_fit import fit_bgnbd
from models.course import Learner
from models.features import Population
from models.model import Model
from models.rhythm import Rhythm

# Only who orders within so many days can be compared with a date: the rest has none yet.
WITHIN = 60
_CLOSE = 7


def next_orders(log: Log, learner: Learner, progress: Progress) -> dict[str, Any]:
    """Return the figures in days; raise ``TooShort`` when no question counts."""
    within = min(WITHIN, log.length // 3)
    if within < _CLOSE:
        raise TooShort(f"{log.length} days of events are too few to compare dates in")
    days = days_that_count(log.length, within)
    rows = ask(log, learner, _see, progress)
    until = rows.histories.days_until_next(rows.member, rows.day)
    ordered = (until > 0) & (until <= within)
    counted = (rows.day >= days.start) & (rows.day < days.stop) & ordered
    if not counted.any():
        raise TooShort(
            f"nobody who was asked ordered within {within} days: no date to compare with"
        )
    weeks = weeks_of(rows.day, 0, days[-1], within)
    actual = until[counted].astype(np.float64)
    median, low, high = rows.seen[counted].T
    others = {
        "bgnbd": _bgnbd(rows, weeks, within, progress),
        "population_median": _usual(until, ordered, weeks, within),
        "last_and_mean_gap": _last_and_mean_gap(rows, weeks),
    }
    return {
        "within_days": within,
        "rows": int(counted.sum()),
        "members": rows.histories.members,
        "median_days": rounded(float(np.median(actual)) if len(actual) else None),
        **_quality(actual, median),
        "interval_coverage": rounded(mean((low <= actual) & (actual <= high))),
        "interval_days": rounded(mean(high - low)),
        "baselines": {name: _quality(actual, said[counted]) for name, said in others.items()},
        "notes": [],
    }


def _see(rhythm: Rhythm, day: int, model: Model) -> tuple[float, ...]:
    said = model.next_order.next_order(rhythm, day, model.churn.population)
    return said.median, float(said.low), float(said.high)


def _bgnbd(rows: Rows, weeks: list[Week], within: int, progress: Progress) -> Floats:
    """Return the median of BG/NBD for who is alive and orders within the days that count.

    Within h days an order comes with 1 - ((alpha + age) / (alpha + age + h)) ** (r + x).
    """
    said = np.full(len(rows.day), within / 2)
    model: BgNbd | None = None
    for number, week in enumerate(weeks):
        progress("BG/NBD", number, len(weeks))
        fit = fit_bgnbd(*rows.histories.summaries(week.begins), model)
        model = model if fit is None else fit[0]
        if model is not None:
            x, _, age = states(rows, week.asked)
            rate, start = model.r + x, model.alpha + age
            half = -np.expm1(-rate * np.log1p(within / start)) / 2
            said[week.asked] = start * np.expm1(-np.log1p(-half) / rate)
    return said


def _usual(until: Ints, ordered: Bools, weeks: list[Week], within: int) -> Floats:
    """Return the median of all that is known by each week."""
    said = np.full(len(until), within / 2)
    for week in weeks:
        known = until[week.known][ordered[week.known]]
        if len(known):
            said[week.asked] = np.median(known)
    return said


def _last_and_mean_gap(rows: Rows, weeks: list[Week]) -> Floats:
    """Return the last order plus the own mean gap (two of the base's added); tomorrow if over."""
    span = (rows.tenure - rows.silence).astype(np.float64)
    gaps = rows.orders - 1.0
    usual = np.full(len(span), Population().mean_gap)
    for week in weeks:
        x, t_x, _ = rows.histories.summaries(week.begins)
        if x.sum():
            usual[week.asked] = t_x.sum() / x.sum()
    said: Floats = np.maximum(1.0, (span + 2 * usual) / (gaps + 2) - rows.silence)
    return said


def _quality(actual: Floats, said: Floats) -> dict[str, float | None]:
    error = np.abs(said - actual)
    return {
        "medae": rounded(float(np.median(error)) if len(error) else None),
        "mae": rounded(mean(error)),
        "within_7_days": rounded(mean(error <= _CLOSE)),
    }
