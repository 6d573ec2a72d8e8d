"""Every connection to the brokers that Faust does not make, opened and closed together."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping

from aiokafka import TopicPartition

from agents.clocks import WallClock
from agents.fastlane.changelog import KafkaChangelog, KafkaLog
from agents.fastlane.ends import EndOffsets
from agents.fastlane.outputs import OUTPUT_BATCH_BYTES, KafkaOutputs
from agents.fastlane.producer import BatchProducer
from agents.fastlane.settings import CHANGELOG_BATCH_BYTES, FastLaneConfig
from agents.fastlane.topic_ids import describe_topics
from agents.partitioner import partition_function
from agents.ports import SourceTopic, StopWorker

log = logging.getLogger(__name__)


class Connections:
    """The ports of all lanes, and what they share.

    Changelog and outputs have a producer each: a producer has one request under way per broker,
    and outputs of one lane need not wait for the changelog of another. ``linger`` tells how many
    seconds each keeps between two requests.
    """

    def __init__(
        self,
        config: FastLaneConfig,
        clock: WallClock,
        linger: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._config = config
        brokers, group, security = config.brokers, config.group, config.security
        self._rows = BatchProducer(
            brokers, f"{group}-changelog", CHANGELOG_BATCH_BYTES, security, linger
        )
        self._sends = BatchProducer(
            brokers, f"{group}-outputs", OUTPUT_BATCH_BYTES, security, linger
        )
        self.ends = EndOffsets(brokers, f"{group}-ends", security, linger)
        self.changelog = KafkaChangelog(
            config.changelog, self._rows, self.ends, brokers, clock, security
        )
        self.updates = (
            None
            if config.updates is None
            else KafkaLog(config.updates, self.ends, brokers, security)
        )
        partition_of = partition_function(config.partitioner)
        self.outputs = KafkaOutputs(
            self._sends,
            lambda key, partitions: partition_of(config.placed_by(key), partitions),
            clock.now,
        )

    async def start(self) -> None:
        """Connect.

        Raises ``StopWorker`` when the member topics do not fit, ``KafkaConnectionError`` or
        ``ConnectionError`` when no broker answers.
        """
        await self._topic_ids()
        await asyncio.gather(self._rows.start(), self._sends.start(), self.ends.start())

    async def check_own_topics(self) -> None:
        """Raise ``StopWorker`` when a topic of ours has not one partition per lane.

        Raises ``KafkaError`` when there is none.
        """
        for topic in filter(None, (self._config.changelog, self._config.updates)):
            partitions = await self._rows.partitions(topic)
            if partitions != self._config.partitions:
                raise StopWorker(
                    f"topic {topic} has {partitions} partitions, but the member topics have "
                    f"{self._config.partitions}: a partition count is for life"
                )

    async def stop(self) -> None:
        """Send what is under way, briefly, and disconnect."""
        await asyncio.gather(self._rows.stop(), self._sends.stop(), self.ends.stop())

    async def source_topics(self, lanes: Iterable[int]) -> dict[int, dict[str, SourceTopic]]:
        """Return per lane what the member topics are now and where its partitions of them end.

        Raises as ``start`` does.
        """
        ids = await self._topic_ids()
        tps = [TopicPartition(topic, lane) for lane in lanes for topic in ids]
        ends = await self.ends.ask(tps)
        found: dict[int, dict[str, SourceTopic]] = {lane: {} for lane in lanes}
        for tp in tps:
            found[tp.partition][tp.topic] = SourceTopic(ids[tp.topic], ends[tp])
        return found

    async def _topic_ids(self) -> Mapping[str, str]:
        config = self._config
        found = await describe_topics(config.brokers, config.topics, config.librdkafka_security)
        wrong = [
            f"{name} does not exist"
            if name not in found
            else f"{name} has {found[name].partitions} partitions"
            for name in config.topics
            if name not in found or found[name].partitions != config.partitions
        ]
        if wrong:
            raise StopWorker(
                f"every member topic needs {config.partitions} partitions, but {', '.join(wrong)}"
            )
        return {name: topic.id for name, topic in found.items()}
