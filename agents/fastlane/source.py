"""What a lane asks and tells about the member topics."""

from collections.abc import Mapping

from aiokafka import TopicPartition

from agents.fastlane.ends import EndOffsets
from agents.ports import Place
from agents.reading import Reading


class KafkaSource:
    """The ``SourcePort`` of this worker's consumer."""

    def __init__(self, reading: Reading, ends: EndOffsets, topics: tuple[str, ...]) -> None:
        self._reading = reading
        self._ends = ends
        self._topics = topics

    async def ends(self, lane: int) -> Mapping[str, int]:
        """Return per topic the offset at which the lane has been fed all that is there now.

        Waits until reading has started, and for as long as no broker answers.
        """
        await self._reading.started.wait()
        ends = await self._ends.ask(TopicPartition(topic, lane) for topic in self._topics)
        return {tp.topic: self._reading.read_to(Place(*tp), end) for tp, end in ends.items()}

    def pause(self, lane: int, topic: str) -> None:
        """Hand over no more of a topic of a lane; a chunk under way may still arrive."""
        self._reading.hold(Place(topic, lane))

    def resume(self, lane: int, topic: str) -> None:
        """Hand it over again."""
        self._reading.release(Place(topic, lane))

    def done(self, lane: int, topic: str, offset: int) -> None:
        """Note that every record below ``offset`` is dealt with for good."""
        self._reading.offsets.done(Place(topic, lane), offset)
