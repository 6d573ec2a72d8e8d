"""Muting a member: the event that says so, written as any upstream app would write it."""

import asyncio
import logging
import uuid
from collections.abc import Callable
from typing import Any

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from app.producing import PARTITIONERS
from app.topology import client_config
from app.web.ports import Unavailable
from config.settings import Settings
from models.times import rfc3339

log = logging.getLogger(__name__)

DELIVERY_SECONDS = 5.0
"""When a broker has not acknowledged by then, it is said that nobody has."""

MARGIN_SECONDS = 2.0


class MuteWriter:
    """Writes to topic ``member``; connects when it is first needed."""

    def __init__(self, settings: Settings, now: Callable[[], int | None]) -> None:
        """``now`` tells members' time, None in stream time."""
        self._settings = settings
        self._now = now
        self._producer: Producer | None = None

    async def mute(
        self, identity: str, until: int | None, reason: str | None, by: str
    ) -> tuple[str, int]:
        """Say it, until an instant (None: from now on no more), and wait for all replicas.

        Returns the event's id and the instant. Raises ``ValueError`` for an instant that is past,
        ``Unavailable`` when nobody has acknowledged; it may have been heard all the same, and may
        be said again.
        """
        now = self._now()
        if now is None:
            raise Unavailable("this worker reads history, in which nobody is messaged")
        if until is not None and until <= now:
            raise ValueError(f"{rfc3339(until)} is past: it is {rfc3339(now)}")
        event_id, ends = uuid.uuid4().hex, now if until is None else until
        event: dict[str, Any] = {
            "type": "mute",
            "event_id": event_id,
            "member_id": identity,
            "occurred_at": now,
            "until": ends,
            "source": "http",
            "by": by,
        }
        if reason is not None:
            event["reason"] = reason
        await asyncio.to_thread(self._send, identity.encode(), msgspec.json.encode(event), now)
        log.info("event %s %s a member", event_id, "unmutes" if until is None else "mutes")
        return event_id, ends

    async def close(self) -> None:
        """Close the connection."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await asyncio.to_thread(producer.flush, 0)

    def _send(self, key: bytes, value: bytes, at: int) -> None:
        failed: list[KafkaError | None] = []

        def delivered(error: KafkaError | None, _: Message) -> None:
            failed.append(error)

        producer = self._connected()
        topic = self._settings.topic("member")
        try:
            # The engine trusts no event that is later than its record.
            producer.produce(topic, value, key, timestamp=at, on_delivery=delivered)
            producer.flush(DELIVERY_SECONDS + MARGIN_SECONDS)
        except (KafkaException, BufferError) as error:
            raise Unavailable(f"Kafka did not take it: {error}") from None
        if not failed:
            raise Unavailable("no Kafka broker has acknowledged it")
        if failed[0] is not None:
            raise Unavailable(f"Kafka did not take it: {failed[0].str()}")

    def _connected(self) -> Producer:
        if self._producer is None:
            self._producer = Producer(
                {
                    **client_config(self._settings),
                    "partitioner": PARTITIONERS[self._settings.partitioner],
                    "enable.idempotence": True,
                    "message.timeout.ms": int(DELIVERY_SECONDS * 1000),
                }
            )
        return self._producer
