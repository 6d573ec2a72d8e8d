"""Which members stand for all of a large base, where the whole would take long."""

from collections.abc import Sequence

from models.decoding import Received
from models.ids import short_hash
from models.times import DAY

# Members times the weeks that they are known: what asking, learning and replaying rules cost. So
# many take some half a minute of one core.
LEARNED_WEEKS = 100_000
REPLAYED_WEEKS = 50_000
_WEEK = 7 * DAY


def cohort(events: Sequence[Received], end: int, most_weeks: int) -> set[str]:
    """Return the members of events in order of time, or a part of them, by a hash of their ids.

    A base of no more than ``most_weeks`` members times weeks is there whole.
    """
    begins: dict[str, int] = {}
    for event in events:
        if event.event.member_id is not None:
            begins.setdefault(event.event.member_id, event.at)
    chosen: set[str] = set()
    weeks = 0
    for member in sorted(begins, key=lambda name: short_hash(name.encode())):
        weeks += (end - begins[member]) // _WEEK + 1
        if chosen and weeks > most_weeks:
            break
        chosen.add(member)
    return chosen
