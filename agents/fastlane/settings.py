"""What a fast lane app is told: addresses, names, and the few numbers that matter."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agents.partitioner import Partitioner

SERVICE_LOG = logging.getLogger("faust.fastlane")
"""Where our subclasses of Faust's services narrate their starting and stopping: with Faust's."""

CHANGELOG_BATCH_BYTES = 16 * 1024 * 1024
"""The largest record batch, hence the largest group: about 40,000 rows of 400 bytes. Far below
the 100 MiB that a broker accepts as one request, and 16 such batches still fit in its heap."""

CHANGELOG_SETTINGS: Mapping[str, str] = {
    # Without small segments recovery reads an hour of updates of busy members: only closed
    # segments are compacted.
    "segment.bytes": str(32 * 1024 * 1024),
    "segment.ms": str(10 * 60 * 1000),
    "min.cleanable.dirty.ratio": "0.2",
    # How long a zombie's row stays visible to the owner that must notice it.
    "min.compaction.lag.ms": str(5 * 60 * 1000),
    "max.message.bytes": str(CHANGELOG_BATCH_BYTES + 1024),
    # The brokers tell the workers what time it is (``agents.clocks.WallClock``).
    "message.timestamp.type": "LogAppendTime",
}


@dataclass(frozen=True, slots=True)
class FastLaneConfig:
    """Everything that a fast lane app needs to know; times are seconds unless named otherwise.

    ``topics`` are the member topics in the order that ties of time are broken. ``partitions`` is
    the partition count of each of them, of the changelog, and of ``updates``, the topic of
    projections if there are any: the number of lanes. ``placed_by`` returns what of an output's
    key decides its partition.
    """

    broker: str
    group: str
    topics: tuple[str, ...]
    partitions: int
    changelog: str
    data_dir: Path
    updates: str | None = None
    placed_by: Callable[[bytes], bytes] = bytes
    table: str = "members"
    partitioner: Partitioner = "murmur2"
    changelog_settings: Mapping[str, str] = field(default_factory=lambda: CHANGELOG_SETTINGS)
    replication_factor: int = 1
    # How to reach brokers that ask who one is: keyword arguments of aiokafka's clients, the same
    # for librdkafka's, and Faust's credentials. They hold passwords: never printed.
    security: Mapping[str, Any] = field(default_factory=dict, repr=False)
    librdkafka_security: Mapping[str, str | int] = field(default_factory=dict, repr=False)
    credentials: Any = field(default=None, repr=False)
    commit_interval: float = 1.0
    # A killed worker's lanes stand still this long; a pause of the process (or of its disk) that
    # is longer costs a rebalance. Brokers refuse less than 6 s by default.
    session_timeout: float = 6.0
    heartbeat_interval: float = 1.0
    # How long the others wait for a worker that does not answer when lanes are dealt out anew.
    rebalance_timeout: float = 20.0
    # How long the last commit may take when lanes are revoked or stopped.
    last_commit_timeout: float = 1.0
    # How long a fetch waits at the broker for the first record. One under way leaves out the
    # partitions whose records were still being consumed when it began: under load they wait for
    # it to end. At 250 ms a worker of 320 idle partitions uses 3 % of a core.
    fetch_wait_ms: int = 250
    # Records per poll: 5,000 take some 15 ms to unpack, during which the GIL is held.
    max_poll_records: int = 5000

    @property
    def brokers(self) -> list[str]:
        """Return the bootstrap addresses."""
        return [address.strip() for address in self.broker.split(",")]
