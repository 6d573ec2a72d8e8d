"""What the metrics say of the members' lives, and of the observer that counts them."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

from agents.following import FollowerStats
from agents.tasks import ended
from app import metric_list as declared
from app.metric_list import Declared
from app.redis_client import StoreUnavailable
from models.lifecycle_report import WINDOWS, Report

log = logging.getLogger(__name__)

Values = Mapping[tuple[str, ...], float]

READ_SECONDS = 10.0
"""How often the figures are read: some 300 small questions in one round trip. Prometheus asks
about as often."""
RETENTION_WEEKS = (1, 4, 8, 12)
ALL = "all"
_OBSERVER = (
    declared.OBSERVER_UP,
    declared.OBSERVER_BEHIND,
    declared.OBSERVER_LAG,
    declared.OBSERVER_FACTS,
    declared.OBSERVER_FAILURES,
    declared.OBSERVER_REFUSED,
    declared.OBSERVER_LOSSES,
)
_FIGURES = (
    declared.MEMBERS,
    declared.STAGE_MEMBERS,
    declared.STAGE_MOVES,
    declared.STAGE_MOVES_TODAY,
    declared.STAGE_DAYS,
    declared.STAGE_CONVERSION,
    declared.STAGE_LOSS,
    declared.STAGE_WEAK,
    declared.ACTIVE_MEMBERS,
    declared.ACTIVE_RATIO,
    declared.RETENTION,
    declared.BUYERS,
    declared.REPURCHASE,
    declared.LTV,
    declared.LTV_BY_SOURCE,
    declared.REACTIVATION,
    declared.REACTIVATION_MEMBERS,
    declared.ACTIVATION,
    declared.DORMANT,
    declared.LOST,
    declared.SILENT,
    declared.LEAD_TO_MEMBER,
    declared.REFERRAL,
    declared.BASKET,
    declared.BAND_MEMBERS,
    declared.BAND_MOVES,
    declared.CHURN_REASONS,
)


class LifecycleFigures:
    """The lifecycle's figures as last read; ``read`` is ``ObservedStore.lifecycle``."""

    def __init__(self, read: Callable[[], Awaitable[Report]]) -> None:
        self._read = read
        self.report: Report | None = None
        self.read_at = 0.0
        """Seconds since 1970."""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to read them, now and then."""
        self._task = asyncio.create_task(self._run(), name="lifecycle-figures")

    async def stop(self) -> None:
        """End it."""
        task, self._task = self._task, None
        await ended(task)

    async def _run(self) -> None:
        while True:
            try:
                self.report = await self._read()
                self.read_at = time.time()
            except StoreUnavailable as error:
                log.debug("the lifecycle figures stay as they are: %s", error)
            except Exception:
                # Figures are not worth a worker, and a defect here is to be seen.
                log.exception("the lifecycle figures could not be made")
            await asyncio.sleep(READ_SECONDS)


def observer_values(stats: FollowerStats | None, now: int) -> dict[str, Values]:
    """Return the observer's values by metric; ``now`` is the brokers' time, epoch ms."""
    if stats is None:
        return {metric.name: {} for metric in _OBSERVER}
    since = stats.waiting_since
    lag = 0.0 if since is None else max((now - since) / 1000, 0.0)
    told: dict[Declared, float] = {
        declared.OBSERVER_UP: stats.connected,
        declared.OBSERVER_BEHIND: stats.behind,
        declared.OBSERVER_LAG: lag,
        declared.OBSERVER_FACTS: stats.written,
        declared.OBSERVER_FAILURES: stats.failures,
        declared.OBSERVER_REFUSED: stats.refused,
        declared.OBSERVER_LOSSES: stats.losses,
    }
    return {metric.name: {(): float(value)} for metric, value in told.items()}


def lifecycle_values(figures: LifecycleFigures | None) -> dict[str, Values]:
    """Return the lifecycle's values by metric; what is a share of nothing is not said."""
    values: dict[str, dict[tuple[str, ...], float]] = {metric.name: {} for metric in _FIGURES}
    read: Values = {} if figures is None else {(): figures.read_at}
    if figures is not None and figures.report is not None:
        for metric, labels, value in _said(figures.report):
            if value is not None:
                values[metric.name][labels] = float(value)
    return {declared.LIFECYCLE_READ.name: read, **values}


_Said = Iterator[tuple[Declared, tuple[str, ...], float | None]]


def _said(report: Report) -> _Said:
    yield from _of_members(report)
    yield from _of_stages(report["stages"])
    yield from _of_retention(report["retention"])
    yield from _of_value(report)
    yield declared.DORMANT, (), report["dormant"]["dormant"]
    yield declared.LOST, (), report["dormant"]["lost"]
    yield declared.SILENT, (), report["dormant"]["silent"]
    yield declared.LEAD_TO_MEMBER, (), report["lead_to_member"]["rate"]
    yield declared.REFERRAL, (), report["referral"]["rate"]
    yield declared.BASKET, (), report["basket"]["average"]
    for arm in ("treated", "control"):
        yield declared.REACTIVATION, (arm,), report["reactivation"][arm]["rate"]
        yield declared.REACTIVATION_MEMBERS, (arm,), report["reactivation"][arm]["members"]
    for band, number in report["bands"]["members"].items():
        yield declared.BAND_MEMBERS, (band,), number
    for move in report["bands"]["moves"]:
        yield declared.BAND_MOVES, (move["from"], move["to"]), move["month"]
    for stage, reasons in report["churn_reasons"].items():
        for reason, number in reasons.items():
            yield declared.CHURN_REASONS, (stage, reason), number


def _of_members(report: Report) -> _Said:
    active = report["active_rate"]
    for window in WINDOWS:
        yield declared.ACTIVE_MEMBERS, (window,), active[window]["members"]
        yield declared.ACTIVE_RATIO, (ALL, window), active[window]["rate"]
    for source, told in active["by_source"].items():
        for window in WINDOWS:
            yield declared.ACTIVE_RATIO, (source, window), told[window]["rate"]
    for name, metric in (("repurchase", declared.REPURCHASE), ("activation", declared.ACTIVATION)):
        yield metric, (ALL,), report[name]["rate"]
        for source, told in report[name]["by_source"].items():
            yield metric, (source,), told["rate"]
    for source, told in report["repurchase"]["by_source"].items():
        yield declared.BUYERS, (source,), told["buyers"]


def _of_stages(stages: dict[str, Any]) -> _Said:
    for stage, number in stages["members"].items():
        yield declared.STAGE_MEMBERS, (stage,), number
    for move in stages["moves"]:
        path = move["from"], move["to"]
        yield declared.STAGE_MOVES, path, move["total"]
        yield declared.STAGE_MOVES_TODAY, path, move["today"]
        yield declared.STAGE_DAYS, path, move["mean_days"]
    weak = {(one["stage"], one["kind"]) for one in stages["weak"]}
    for stage, figures in stages["conversion"].items():
        yield declared.STAGE_CONVERSION, (stage,), figures["this_week"]["conversion"]
        yield declared.STAGE_LOSS, (stage,), figures["this_week"]["loss"]
        for kind in ("conversion", "loss"):
            yield declared.STAGE_WEAK, (stage, kind), (stage, kind) in weak


def _of_retention(retention: dict[str, Any]) -> _Said:
    for stage, cohorts in retention.items():
        for weeks in RETENTION_WEEKS:
            whole = [one["retained"] for one in cohorts if len(one["retained"]) > weeks]
            if whole:
                yield declared.RETENTION, (stage, str(weeks)), whole[-1][weeks]


def _of_value(report: Report) -> _Said:
    ltv = report["ltv"]
    for source, told in ltv["by_source"].items():
        yield declared.MEMBERS, (source,), told["members"]
        yield declared.LTV_BY_SOURCE, (source, "historic"), told["historic"]
        yield declared.LTV_BY_SOURCE, (source, "expected"), told["expected_90d"]
    for stage, told in ((ALL, ltv), *ltv["by_stage"].items()):
        yield declared.LTV, (stage, "historic"), told["historic"]
        yield declared.LTV, (stage, "expected"), told["expected_90d"]
