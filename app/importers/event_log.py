"""Events gathered from a source: single events, and order lines that become one order."""

from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal

from app.event_files import Event, sort_key

CENT = Decimal("0.01")


def exact(number: float) -> Decimal:
    """Return the decimal that a float from a file stands for (2.55, not 2.54999...)."""
    return Decimal(repr(number))


def cents(amounts: Iterable[Decimal]) -> float:
    """Return the sum of exact amounts, rounded to cents."""
    return float(sum(amounts, Decimal()).quantize(CENT, ROUND_HALF_UP))


class EventLog:
    """Holds every event of a source in memory until ``finished``.

    About 600 MB for a million single events.
    """

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._orders: dict[tuple[str, ...], tuple[Event, list[Decimal]]] = {}

    def add(self, event: Event) -> None:
        """Take one event."""
        self._events.append(event)

    def add_line(
        self, key: tuple[str, ...], order: Event, item: Event, amount: Decimal | None
    ) -> None:
        """Take one line of an order.

        ``order`` is the event without ``items``; of several lines with the same ``key`` the first
        one's is kept, at the earliest of their times. ``amount`` is the line's share of the
        total; None leaves the order's total as it is.
        """
        if key not in self._orders:
            self._orders[key] = (order, [])
            self._events.append(order)
            order["items"] = []
        first, amounts = self._orders[key]
        first["items"].append(item)
        first["occurred_at"] = min(first["occurred_at"], order["occurred_at"])
        if amount is not None:
            amounts.append(amount)

    def finished(self) -> list[Event]:
        """Set the totals and return the events in order of time."""
        for order, amounts in self._orders.values():
            if amounts:
                order["total"] = cents(amounts)
        self._orders.clear()
        self._events.sort(key=sort_key)
        return self._events
