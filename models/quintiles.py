"""Where RFM scores begin for a base of members: sketches of their numbers, and a table of them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from models.facts import year_totals
from models.member import Member
from models.quantiles import Sketch
from models.rfm import BEST, RfmTable
from models.times import DAY, HOUR, from_datetime


class Base:
    """The buyers of the last 364 days before an instant."""

    def __init__(self, until: int) -> None:
        self.until = until
        self.recency = Sketch()
        self.frequency = Sketch()
        self.monetary = Sketch()

    def add(self, member: Member) -> None:
        """Count a member whose last order is not later than the instant."""
        orders, cents = year_totals(member, self.until)
        if orders > 0:
            self.recency.add(max(self.until - member.orders[-1], 1))
            self.frequency.add(orders)
            self.monetary.add(max(cents, 1))

    def table(self, base: str) -> RfmTable:
        """Return the table that holds from the next day (UTC) on; ``base`` says who they are.

        Raises ``ValueError`` when nobody bought.
        """
        members = self.frequency.count
        if not members:
            raise ValueError("nobody bought within the 364 days before")
        begins = _next_midnight(self.until)
        return RfmTable(
            date=str(begins.date()),
            begins=from_datetime(begins),
            base=base,
            members=members,
            recency=_four(self.recency, _rounded),
            frequency=_four(self.frequency, int),
            monetary=_four(self.monetary, int),
        )


def _next_midnight(at: int) -> datetime:
    day = datetime.fromtimestamp(at // 1000, UTC).date() + timedelta(days=1)
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _rounded(age: int) -> int:
    """Return whole hours, from a week on whole days, upwards: nobody needs the milliseconds."""
    unit = DAY if age >= 7 * DAY else HOUR
    return -(-age // unit) * unit


def _four(sketch: Sketch, rounded: Callable[[int], int]) -> tuple[int, int, int, int]:
    one, two, three, four = (rounded(sketch.above(part, BEST)) for part in range(1, BEST))
    return one, two, three, four
