"""A log that can be read while a broker is away.

aiokafka reports every attempt to reconnect, some forty lines a second and connection.
"""

import logging
from time import monotonic

WARNINGS_ONLY = ("aiokafka", "faust", "mode")
TALKATIVE = (
    "aiokafka",
    "aiokafka.client",
    "aiokafka.conn",
    "aiokafka.consumer.fetcher",
    "aiokafka.consumer.group_coordinator",
    "aiokafka.producer.sender",
)
INTERVAL_SECONDS = 10.0


class OncePerInterval(logging.Filter):
    """Lets through the first of the same complaints in every ten seconds."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is worth a line."""
        now = monotonic()
        if now - self._last.get(record.msg, -INTERVAL_SECONDS) < INTERVAL_SECONDS:
            return False
        self._last[record.msg] = now
        return True


def quieten_libraries() -> None:
    """Let Kafka's and Faust's libraries log warnings only, and each of them not all the time."""
    for name in WARNINGS_ONLY:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in TALKATIVE:
        logging.getLogger(name).addFilter(OncePerInterval())
