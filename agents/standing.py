"""How far a store goes in the partitions that a follower has, as it last knew."""

from collections.abc import Collection, Iterable, Mapping

from aiokafka import TopicPartition

from agents.serving_ports import NOWHERE, Places


class Standing:
    """The partitions that are ours, and where the store stands in those that were asked for."""

    def __init__(self) -> None:
        self.deal = 0
        """Counts the dealings: what was begun in an earlier one is none of ours any more."""
        self.reached: dict[TopicPartition, int] = {}
        """The offset up to which (exclusive) the store has a partition's records."""
        self._ours: frozenset[TopicPartition] = frozenset()

    def dealt(self, partitions: Collection[TopicPartition]) -> None:
        """Have these partitions, of which nothing is known yet, and no others."""
        self.deal += 1
        self._ours = frozenset(partitions)
        self.reached.clear()

    def unknown(self) -> frozenset[TopicPartition]:
        """Return those of our partitions of which nothing is known."""
        return self._ours - self.reached.keys()

    def forget(self, partitions: Iterable[TopicPartition]) -> None:
        """Know nothing of these: the store is asked again."""
        for tp in partitions:
            self.reached.pop(tp, None)

    def expected(self) -> Places:
        """Return what the store must have."""
        return by_name(self.reached)

    def differing(self, places: Places) -> list[TopicPartition]:
        """Return the partitions in which the store does not stand where it stood."""
        return sorted(
            tp for tp, at in self.reached.items() if places.get(place_name(tp), NOWHERE) != at
        )

    def lost(self, places: Places) -> list[TopicPartition]:
        """Return the partitions of which the store has less than it had."""
        return [
            tp
            for tp in self.differing(places)
            if places.get(place_name(tp), NOWHERE) < self.reached[tp]
        ]


def place_name(tp: TopicPartition) -> str:
    """Return what a partition is called among places.

    >>> place_name(TopicPartition("member-updates", 7))
    'member-updates/7'
    """
    return f"{tp.topic}/{tp.partition}"


def by_name(offsets: Mapping[TopicPartition, int]) -> Places:
    """Return offsets as places."""
    return {place_name(tp): offset for tp, offset in offsets.items()}


def start(place: int | None, first: int, end: int) -> int:
    """Return where to go on in a partition that goes from ``first`` to ``end`` (exclusive).

    That is at the store's place. Where it has none, or one that the topic does not reach (it was
    made anew) or has no more (its records were deleted), it is the beginning.
    """
    return place if place is not None and first <= place <= end else first
