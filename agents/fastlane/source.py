"""What a lane asks and tells about the member topics."""

from collections.abc import Mapping

from aiokafka import TopicPartition
from faust.types import TP

from agents.fastlane.consumer import FastConsumer
from agents.fastlane.ends import EndOffsets


class KafkaSource:
    """The ``SourcePort`` of this worker's consumer."""

    def __init__(self, consumer: FastConsumer, ends: EndOffsets, topics: tuple[str, ...]) -> None:
        self._consumer = consumer
        self._ends = ends
        self._topics = topics

    async def ends(self, lane: int) -> Mapping[str, int]:
        """Return per topic the offset at which the lane has been fed all that is there now.

        Waits until reading has started, and for as long as no broker answers.
        """
        await self._consumer.reading.wait()
        ends = await self._ends.ask(TopicPartition(topic, lane) for topic in self._topics)
        return {tp.topic: self._consumer.read_to(TP(*tp), end) for tp, end in ends.items()}

    def pause(self, lane: int, topic: str) -> None:
        """Hand over no more of a topic of a lane; a chunk under way may still arrive."""
        self._consumer.hold(TP(topic, lane))

    def resume(self, lane: int, topic: str) -> None:
        """Hand it over again."""
        self._consumer.release(TP(topic, lane))

    def done(self, lane: int, topic: str, offset: int) -> None:
        """Note that every record below ``offset`` is dealt with for good."""
        self._consumer.offsets.done(TP(topic, lane), offset)
