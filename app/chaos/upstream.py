"""The running producer: what the feed and the canaries have, sent at its time, whatever happens."""

import threading
import time
from functools import partial

from confluent_kafka import KafkaError, Message, Producer

from app.chaos.canaries import Canaries
from app.chaos.feed import Feed
from app.topology import client_config
from config.settings import Settings

TICK_SECONDS = 0.01
MADE = "made"
"""The header that says what a record is."""

NUMBER = "number"
"""The header with the record's place among all that were sent."""


class Upstream:
    """Sends on a thread of its own, straight to the brokers; never gives a record up."""

    def __init__(self, settings: Settings, feed: Feed, canaries: Canaries) -> None:
        """Begin to send."""
        self.sent = 0
        self.arrived: dict[int, int] = {}
        """When the brokers acknowledged each record, by its number; epoch milliseconds."""
        self._settings = settings
        self._feed = feed
        self._canaries = canaries
        self._ending = threading.Event()
        self._failures: list[str] = []
        self._producer = Producer(
            {
                **client_config(settings),
                "partitioner": "murmur2_random",
                "enable.idempotence": True,
                "message.timeout.ms": 0,
                "linger.ms": 5,
                "message.max.bytes": 8 << 20,
                "reconnect.backoff.max.ms": 500,
                "error_cb": self._on_error,
            }
        )
        self._thread = threading.Thread(target=self._run, name="upstream", daemon=True)
        self._thread.start()

    def burst(self, kind: str, seconds: float) -> None:
        """Let much more of ``kind`` go wrong from now on, for so long."""
        now = now_ms()
        self._feed.burst(kind, now, now + int(seconds * 1000))

    def end(self, timeout: float) -> list[str]:
        """Stop; wait until the brokers have everything; return what went wrong, if anything."""
        self._ending.set()
        self._thread.join()
        left = self._producer.flush(timeout)
        return [*self._failures, *([f"{left} records could not be sent"] if left else [])]

    def _run(self) -> None:
        try:
            while not self._ending.is_set():
                self._send(now_ms())
                self._producer.poll(0)
                self._ending.wait(TICK_SECONDS)
            # One canary behind everything else in each lane.
            self._send(now_ms(), last=True)
        except Exception as error:  # it belongs to whoever ends the run
            self._failures.append(f"upstream: {error!r}")

    def _send(self, now: int, last: bool = False) -> None:
        for sending in (*self._feed.due(now), *self._canaries.due(now, last)):
            placed = {} if sending.partition is None else {"partition": sending.partition}
            self._producer.produce(
                self._settings.topic(sending.topic),
                sending.value,
                sending.key,
                timestamp=sending.at,
                headers={MADE: sending.made, NUMBER: str(self.sent)},
                on_delivery=partial(self._delivered, self.sent),
                **placed,
            )
            self.sent += 1

    def _delivered(self, number: int, error: KafkaError | None, _: Message) -> None:
        self.arrived[number] = now_ms()
        if error is not None:
            self._failures.append(f"a record was not delivered: {error.str()}")

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            self._failures.append(f"the producer gave up: {error.str()}")


def now_ms() -> int:
    """Return the true wall clock, epoch milliseconds."""
    return time.time_ns() // 1_000_000
