"""The identity of a topic, which a name is not: a topic deleted and made again is another one."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

TIMEOUT_SECONDS = 10.0


class Topic(NamedTuple):
    """A topic as the broker knows it; ``id`` is its universally unique id (KIP-516) in base 64."""

    name: str
    id: str
    partitions: int


async def describe_topics(
    brokers: list[str], names: Iterable[str], security: Mapping[str, str | int] | None = None
) -> Mapping[str, Topic]:
    """Return those of the named topics that exist; raises ``ConnectionError``."""
    config = {"bootstrap.servers": ",".join(brokers), "log_level": 3, **(security or {})}
    return await asyncio.to_thread(_describe, config, list(names))


def _describe(config: Mapping[str, str | int], names: list[str]) -> dict[str, Topic]:
    # aiokafka speaks no version of the metadata request that carries topic ids.
    admin = AdminClient(dict(config))
    topics = {}
    for name, future in admin.describe_topics(
        TopicCollection(names), request_timeout=TIMEOUT_SECONDS
    ).items():
        try:
            found = future.result()
        except KafkaException as error:
            if error.args[0].name() == "UNKNOWN_TOPIC_OR_PART":
                continue
            raise ConnectionError(f"cannot ask for topic {name}: {error}") from error
        topics[name] = Topic(name, str(found.topic_id), len(found.partitions))
    return topics
