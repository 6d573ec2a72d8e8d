"""Which ten members are drawn: different ones, each for a reason that is said."""

from collections.abc import Callable, Iterator
from itertools import pairwise

import msgspec

from app.try_.foresight import Predictions
from app.try_.late import Late
from app.try_.orders import Order
from app.try_.stages import StageHistory

MOST = 10

Why = tuple[str, str]


class Picked(msgspec.Struct, frozen=True):
    """A member, and why in English and Chinese."""

    member: str
    why: Why


def pick(
    by_member: dict[str, list[Order]],
    history: StageHistory,
    late: list[Late],
    predictions: Predictions | None,
) -> list[Picked]:
    """Return up to ten members; the same export gives the same ones."""
    chosen: dict[str, Why] = {}
    wishes = list(_wishes(by_member, history, late, predictions))
    # One for each reason, then a second for each, until there are ten.
    while len(chosen) < MOST and wishes:
        for wish in wishes[:]:
            ranked, why = wish
            member = next((name for name in ranked if name not in chosen), None)
            if member is None:
                wishes.remove(wish)
            elif len(chosen) < MOST:
                chosen[member] = why
    return [Picked(member, why) for member, why in chosen.items()]


def _wishes(
    by_member: dict[str, list[Order]],
    history: StageHistory,
    late: list[Late],
    predictions: Predictions | None,
) -> Iterator[tuple[Iterator[str], Why]]:
    now = history.now
    count = {member: sum(o.cents >= 0 for o in orders) for member, orders in by_member.items()}
    spent = {member: sum(o.cents for o in orders) for member, orders in by_member.items()}
    scored = predictions.scores if predictions is not None else {}
    # Members of whom there is most to be seen come first.
    members = sorted(by_member, key=lambda m: (m not in scored, -count[m], m))

    def those(test: Callable[[str], bool], key: Callable[[str], float]) -> Iterator[str]:
        return iter(sorted(filter(test, members), key=key, reverse=True))

    if predictions is not None:
        today = predictions.today

        def worth(member: str) -> float:
            ahead = today.get(member)
            return float(ahead.value.mean) if ahead and ahead.value else 0.0

        def risk(member: str) -> float:
            return today[member].churn if member in today else 0.0

        yield those(lambda m: m in today, worth), ("highest expected value", "预期价值最高")
        yield (
            those(
                lambda m: now[m] in ("active", "loyal") and count[m] > 3 and today[m].slipping,
                lambda m: risk(m) * max(spent[m], 0),
            ),
            ("active, valuable and at risk", "活跃、有价值、有风险"),
        )
        yield (
            those(lambda m: m in scored and count[m] > 5, lambda m: -risk(m)),
            ("the safest regular", "最稳定的常客"),
        )
        yield (
            those(lambda m: m in scored and count[m] > 5, lambda m: _wave(scored[m])),
            ("risk rose and fell again", "风险上升后又下降"),
        )
    by_lateness = {one.member: one.late for one in late}
    yield (
        those(lambda m: m in by_lateness and now[m] in ("active", "loyal"), lambda m: spent[m]),
        ("late by the own rhythm", "按自己的节奏已迟到"),
    )
    yield (
        those(lambda m: now[m] == "new" and count[m] == 1, lambda m: spent[m]),
        ("new, one order", "新客,仅一单"),
    )
    yield (
        those(lambda m: now[m] == "lost" and count[m] > 2, lambda m: count[m]),
        ("was a customer, is lost", "曾是老客,现已流失"),
    )
    yield (
        those(lambda m: _returned(history, m), lambda m: count[m]),
        ("had been dormant and came back", "休眠后回来"),
    )
    yield iter(members), ("many orders", "订单多")


def _wave(scores: list[tuple[int, float]]) -> float:
    """Return how far a score rose and fell again, the smaller of the two."""
    bottom, rise, best = 1.0, 0.0, 0.0
    for _, chance in scores:
        bottom = min(bottom, chance)
        rise = max(rise, chance - bottom)
        best = max(best, min(rise, bottom + rise - chance))
    return best


def _returned(history: StageHistory, member: str) -> bool:
    course = [stage for _, stage in history.courses[member]]
    return any(
        before in ("dormant", "lost") and after == "active" for before, after in pairwise(course)
    )
