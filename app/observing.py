"""The worker's observer, out of its settings."""

from collections.abc import Callable

from agents.following import Follower, FollowerConfig
from agents.observer import FOLLOWED, Observing
from agents.observer_ports import Facts
from agents.partitioner import partition_function
from app.kafka_security import for_aiokafka
from app.observed_store import ObservedStore
from config.settings import Settings
from models.retelling import Retelling
from models.rulebook import RuleBook

PATIENCE_SECONDS = 0.25
REST = 1.0
"""Timelines and counters may be a little older than documents: eight topics are a long question,
and when Redis has come back empty, all that there ever was is much to catch up with."""


def observer(
    settings: Settings,
    book: RuleBook,
    store: ObservedStore,
    pressed: Callable[[], bool] = lambda: False,
) -> Follower[Facts]:
    """Return an observer that writes into the store; nothing is connected before it starts.

    It works less while those who share its loop are ``pressed``.
    """
    topics = {settings.topic(name): name for name in FOLLOWED}
    observing = Observing(topics, partition_function(settings.partitioner), settings.partitions)
    config = FollowerConfig(
        settings.broker,
        f"{settings.app_id}-observer",
        tuple(topics),
        settings.redis_batch_size,
        settings.session_timeout_ms / 1000,
        for_aiokafka(settings),
        PATIENCE_SECONDS,
        REST,
    )
    writer = store.writer(settings.test_members, Retelling(book))
    return Follower(config, writer, observing.take, pressed=pressed)
