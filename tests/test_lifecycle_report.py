"""The lifecycle metrics out of counters, and the alarm about a stage that has become weak."""

from collections.abc import Mapping

import pytest

from app import metric_list
from app.lifecycle_metrics import LifecycleFigures, lifecycle_values, observer_values
from app.metric_list import METRICS
from models.lifecycle_report import DAYS_READ, Report, Snapshot, report
from models.times import DAY

TODAY = 20_000
AS_OF = TODAY * DAY + DAY // 2
NOBODY = {"day": 0, "week": 0, "month": 0}


def of(
    now: Mapping[str, int] | None = None,
    days: Mapping[int, Mapping[str, int]] | None = None,
    active: Mapping[str, int] = NOBODY,
) -> Report:
    return report(Snapshot(AS_OF, now or {}, days or {}, active, {}, {"member": {}}))


def weeks(path: str, *counts: int) -> dict[int, dict[str, int]]:
    """Return moves in the last whole week, and in those before it."""
    return {TODAY - 1 - 7 * back: {f"move|{path}": count} for back, count in enumerate(counts)}


def new_members(this_week: int, *before: int, path: str = "new>active", size: int = 1000) -> Report:
    """A stage of ``size``, in which everybody who leaves is replaced."""
    days = weeks(path, this_week, *before)
    for moves in days.values():
        moves["move|lead>new"] = sum(moves.values())
    return of({"stage|new": size}, days)


def weak(told: Report) -> list[tuple[str, str]]:
    return [(one["stage"], one["kind"]) for one in told["stages"]["weak"]]


def test_a_shop_without_anybody_has_no_rates_and_no_alarms() -> None:
    told = of()
    assert told["members"] == 0
    assert told["active_rate"]["day"] == {"members": 0, "rate": None}
    assert told["ltv"]["ltv"] is told["basket"]["average"] is None
    assert told["reactivation"]["difference"] is None
    assert weak(told) == []


def test_a_conversion_that_fell_by_more_than_chance_is_a_weak_stage() -> None:
    told = new_members(40, 100, 100, 100, 100)
    assert weak(told) == [("new", "conversion")]
    [alarm] = told["stages"]["weak"]
    shares = {"this_week": round(40 / 1040, 6), "before": round(400 / 4400, 6)}
    assert alarm == {"stage": "new", "kind": "conversion", **shares}
    figures = told["stages"]["conversion"]["new"]
    assert figures["this_week"]["at_risk"] == 1040
    assert figures["weeks_before"]["at_risk"] == 4400


@pytest.mark.parametrize(
    ("why", "told"),
    [
        ("it is as it was", new_members(100, 100, 100, 100, 100)),
        ("it is better", new_members(160, 100, 100, 100, 100)),
        ("that may be chance", new_members(80, 100, 100, 100, 100)),
        ("there are too few", new_members(0, 30, 30, 30, 30, size=60)),
        ("it is little, though no chance", new_members(90_000, *(100_000,) * 4, size=1_000_000)),
    ],
)
def test_no_alarm(why: str, told: Report) -> None:
    assert weak(told) == [], why


def test_a_loss_that_rose_is_a_weak_stage_and_one_that_fell_is_not() -> None:
    assert weak(new_members(160, 80, 80, 80, 80, path="new>silent")) == [("new", "loss")]
    assert weak(new_members(20, 80, 80, 80, 80, path="new>silent")) == []


def test_what_moved_today_is_no_part_of_the_week() -> None:
    days = {**weeks("new>active", 100, 100, 100, 100, 100), TODAY: {"move|new>active": 900}}
    told = of({"stage|new": 1000, "moves|new>active": 1400}, days)
    [move] = told["stages"]["moves"]
    assert (move["today"], move["week"], move["total"]) == (900, 100, 1400)
    # 900 of those who were there when the day began have gone; a hundred went each week.
    assert told["stages"]["conversion"]["new"]["this_week"]["at_risk"] == 2000


def test_windows_end_where_their_outcome_is_known() -> None:
    days: dict[int, dict[str, int]] = {}
    for back in range(DAYS_READ + 1):
        days[TODAY - back] = {
            "joined|app": 2, "activated|app": 1, "asleep|*|treated": 3,
            "woken|*|treated": 2, "asleep|*|control": 3, "woken|*|control": 1,
            "asleep|recall|treated": 2, "woken|recall|treated": 1, "asleep|gift|treated": 2,
            "leads": 10, "leads_joined": 1, "linked": 1, "referred": 1, "orders": 2, "sales": 5000,
        }  # fmt: skip
    told = of({"members|app": 9, "members_in|dormant": 3, "members_in|new": 6}, days)
    assert told["activation"]["joined"] == 60
    assert told["activation"]["by_source"]["app"]["rate"] == 0.5
    assert told["reactivation"]["treated"]["members"] == 270
    by_rule = told["reactivation"]["by_rule"]
    assert by_rule["recall"]["treated"] == {"returned": 90, "members": 180, "rate": 0.5}
    assert (set(by_rule), by_rule["gift"]["treated"]["returned"]) == ({"recall", "gift"}, 0)
    assert told["reactivation"]["difference"] == pytest.approx(1 / 3, abs=1e-6)
    assert told["lead_to_member"]["rate"] == 0.2
    assert told["referral"]["rate"] == 0.5
    assert told["basket"] == {
        "over_days": 30, "orders": 60, "sales": 1500.0, "refunds": 0.0, "average": 25.0,
    }  # fmt: skip
    assert told["dormant"]["dormant"] == pytest.approx(1 / 3, abs=1e-6)


def test_an_estimate_never_exceeds_the_whole() -> None:
    told = of({"members|app": 100}, active={"day": 50, "week": 101, "month": 103})
    assert told["active_rate"]["week"] == {"members": 100, "rate": 1.0}
    assert told["active_rate"]["day"]["rate"] == 0.5


def test_every_figure_is_declared_and_has_the_labels_that_it_declares() -> None:
    now = {
        "stage|new": 5, "members|app": 5, "members_in|new": 5, "buyers|app": 3, "repeaters|app": 1,
        "spend|app": 100, "spend_in|new": 100, "buyers_in|new": 3, "expected|app": 50,
        "moves|lead>new": 5, "band|light": 2, "reason|dormant|price": 1,
    }  # fmt: skip
    days = {TODAY: {"move|lead>new": 5, "band|light>medium": 1, "leads": 5, "orders": 1}}
    figures = LifecycleFigures(lambda: None)  # type: ignore[arg-type, return-value]
    figures.report = of(now, days)
    values = lifecycle_values(figures) | observer_values(None, 0)
    declared = {metric.name: metric for metric in METRICS}
    assert values.keys() <= declared.keys()
    for name, told in values.items():
        assert all(len(labels) == len(declared[name].labels) for labels in told), name
    assert values[metric_list.STAGE_WEAK.name][("new", "loss")] == 0
    assert values[metric_list.LTV.name][("all", "historic")] == 0.2
    assert values[metric_list.REPURCHASE.name] == {("all",): 0.333333, ("app",): 0.333333}
    assert values[metric_list.REACTIVATION.name] == {}
