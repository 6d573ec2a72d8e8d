"""``lifecycle evaluate value``: what members spend in the next 90 days, beside what was said."""

from typing import Any

import numpy as np

from app.evaluate.asked import Progress, Rows, ask
from app.evaluate.bgnbd import states
from app.evaluate.counting import NOBODY_ASKED, TooShort, days_that_count
from app.evaluate.histories import Money
from app.evaluate.metrics import Floats, mean, rank_correlation, rounded, top_share
from app.evaluate.reading import Log
from app.evaluate.weeks import weeks_of
from models.btyd import BgNbd, GammaGamma
from models.btyd_fit import fit_bgnbd, fit_gamma_gamma
from models.course import Learner
from models.model import Model
from models.rhythm import Rhythm, kept
from models.value import HORIZON

_HALF_LIFE = 90
_CENTS = 100.0


def values(log: Log, learner: Learner, progress: Progress) -> dict[str, Any]:
    """Return the figures in units of money; raise ``TooShort`` when no question counts.

    What came true is net of refunds and never below zero, as the models have it; ``gross`` has the
    same without refunds, the baseline refitted to that.
    """
    days = days_that_count(log.length, HORIZON)
    rows = ask(log, learner, _see, progress)
    counted = np.flatnonzero((rows.day >= days.start) & (rows.day < days.stop))
    if not len(counted):
        raise TooShort(NOBODY_ASKED)
    said, low, high, decayed = (rows.seen[counted] / _CENTS).T
    bounded = ~np.isnan(low)
    found = []
    for money in (rows.net, rows.gross):
        actual = np.maximum(money.within(rows.member, rows.day, HORIZON)[counted], 0) / _CENTS
        parametric = _bgnbd_gamma_gamma(rows, money, days, progress)[counted] / _CENTS
        found.append(
            {
                "mean": rounded(mean(actual)),
                "share_without_spending": rounded(mean(actual == 0)),
                **_quality(actual, said),
                "interval_coverage": rounded(mean(((low <= actual) & (actual <= high))[bounded])),
                "baselines": {
                    "bgnbd_gamma_gamma": _quality(actual, parametric),
                    "decayed_spend": _quality(actual, decayed),
                },
            }
        )
    net, gross = found
    return {
        "horizon_days": HORIZON,
        "rows": len(counted),
        "members": rows.histories.members,
        **net,
        "gross": gross,
        "notes": [],
    }


def _see(rhythm: Rhythm, day: int, model: Model) -> tuple[float, ...]:
    """Return the cents expected, the ends of the interval (NaN: none yet), and the baseline's."""
    decayed = _decayed_spend(rhythm, day)
    expected = model.value.expected(rhythm, day, model.churn.population)
    if expected is None:
        return decayed, np.nan, np.nan, decayed
    if expected.low is None or expected.high is None:
        return expected.mean, np.nan, np.nan, decayed
    return expected.mean, expected.low, expected.high, decayed


def _decayed_spend(rhythm: Rhythm, day: int) -> float:
    """Return what 90 days bring at the recent rate: spending with a half-life of 90 days."""
    spent = rhythm.spent_lately * kept(_HALF_LIFE, day - rhythm.last_day)
    age = day - rhythm.first_day + 1
    # What a steady spender of one cent a day would have in the decayed sum.
    steady = _HALF_LIFE / np.log(2) * (1 - 2.0 ** (-age / _HALF_LIFE))
    return float(spent / steady * HORIZON)


def _bgnbd_gamma_gamma(rows: Rows, money: Money, days: range, progress: Progress) -> Floats:
    """Return the cents that both say by the fits of each week."""
    said = np.zeros(len(rows.day))
    weeks = weeks_of(rows.day, days.start, days[-1], HORIZON)
    orders: BgNbd | None = None
    spend: GammaGamma | None = None
    for number, week in enumerate(weeks):
        progress("BG/NBD x Gamma-Gamma", number, len(weeks))
        day = week.begins
        fit = fit_bgnbd(*rows.histories.summaries(day), orders)
        orders = orders if fit is None else fit[0]
        member, counts, _, _ = rows.histories.known(day)
        spent = np.maximum(money.by(member, np.full(len(member), day)), 0)
        spend = fit_gamma_gamma(counts.astype(np.float64), spent.astype(np.float64), spend) or spend
        if orders is None or spend is None:
            continue
        x, t_x, age = states(rows, week.asked)
        paid = np.maximum(money.by(rows.member[week.asked], rows.day[week.asked]), 0)
        said[week.asked] = [
            orders.expected_orders(int(a), b, c, HORIZON) * spend.mean_spend(int(a) + 1, d)
            for a, b, c, d in zip(x, t_x, age, paid, strict=True)
        ]
    return said


def _quality(actual: Floats, said: Floats) -> dict[str, float | None]:
    error = said - actual
    return {
        "rmse": rounded(float(np.sqrt((error**2).mean()))),
        "mae": rounded(float(np.abs(error).mean())),
        "bias": rounded(float(said.sum() / actual.sum() - 1) if actual.any() else None),
        "spearman": rounded(rank_correlation(actual, said)),
        "top_decile_share": rounded(top_share(actual, said)),
    }
