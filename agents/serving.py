"""The projector: follows ``member-updates`` and keeps a document per member, and who is where.

Documents that a store has lost are older for a moment, and right again when the topic has been
read to its end.
"""

from collections.abc import Callable

from agents.following import Follower, FollowerConfig
from agents.serving_ports import Documents, FollowerConsumer, FollowerStore
from agents.updates import updates_taken


class Projector(Follower[Documents]):
    """Writes what ``member-updates`` says into a store, in the order of its partitions."""

    def __init__(
        self,
        config: FollowerConfig,
        store: FollowerStore[Documents],
        connect: Callable[[Follower[Documents]], FollowerConsumer] | None = None,
        pressed: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__(config, store, updates_taken, connect, pressed)
