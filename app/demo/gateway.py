"""Who reads the results: a plain Kafka consumer, as a messaging gateway has it, and no more."""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import msgspec
from confluent_kafka import Consumer, Message, TopicPartition

from app.demo.nightly import Reminder
from app.topology import client_config, output_topics
from config.settings import Settings
from models.deciding import TOO_LATE
from models.times import parse_instant
from models.triggers import Decision, DecisionMessage, Transition, Trigger, TriggerMessage

# What the view has not shown yet; it shows some of it.
KEPT_NEWS = 200
POLL_SECONDS = 0.2

Result = TypeVar("Result")


class News(NamedTuple):
    """A trigger raised or taken back, in words."""

    at: str
    member_id: str
    rule: str
    why: str
    cancelled: bool


class Raised(NamedTuple):
    """A trigger: what the comparison must know, and when we saw it (``time.monotonic``)."""

    rule: str
    member_id: str
    since: int
    due: int
    raised: int
    seen: float


@dataclass(slots=True)
class Seen:
    """All that has been read; a trigger that is said twice counts once."""

    triggers: dict[str, Raised] = field(default_factory=dict)
    cancelled: set[str] = field(default_factory=set)
    by_rule: Counter[str] = field(default_factory=Counter)
    dead_letters: int = 0
    expired: int = 0
    # By id, "a" or "m" and the id itself; who is not here is a lead.
    stages: dict[str, str] = field(default_factory=dict)
    news: deque[News] = field(default_factory=lambda: deque(maxlen=KEPT_NEWS))
    last: float = 0.0

    def trigger(self, message: TriggerMessage, seen: float) -> None:
        """Take note of a message of the topic ``triggers``."""
        known = message.trigger_id
        if isinstance(message, Trigger):
            if known in self.triggers:
                return
            due = parse_instant(message.due_at)
            # What is said of an absence or a stage ends with the instant since when.
            since = message.occasion.rpartition("|")[2]
            armed = int(since) if message.reason.kind == "absence" else due
            self.triggers[known] = Raised(
                message.rule, message.member_id, armed, due, parse_instant(message.raised_at), seen
            )
            self.by_rule[message.rule] += 1
            at, why = message.due_at, message.reason.text
        else:
            if known in self.cancelled:
                return
            self.cancelled.add(known)
            at, why = message.cancelled_at, message.reason
        cancelled = not isinstance(message, Trigger)
        self.news.append(News(at, message.member_id, message.rule, why, cancelled))

    def decision(self, message: DecisionMessage) -> None:
        """Take note of a message of the topic ``decisions``."""
        if isinstance(message, Decision):
            # What had to wait too long by its policy would have expired on any machine.
            self.expired += message.verdict == "expired" and message.why == TOO_LATE
        elif isinstance(message, Transition) and message.kind == "stage":
            identity = f"m{message.member_id}" if message.member_id else f"a{message.anonymous_id}"
            self.stages[identity] = message.after

    def reminders(self) -> list[Reminder]:
        """Return the triggers for the comparison."""
        return [
            Reminder(
                one.rule, one.member_id, one.since, one.due, one.raised, name in self.cancelled
            )
            for name, one in self.triggers.items()
        ]


class Gateway:
    """Reads triggers, decisions and dead letters from their beginning, on a thread of its own."""

    def __init__(self, settings: Settings) -> None:
        self._seen = Seen()
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._failure: Exception | None = None
        self._names = output_topics(settings)
        self._read_trigger = msgspec.json.Decoder(TriggerMessage)
        self._read_decision = msgspec.json.Decoder(DecisionMessage)
        self._consumer = Consumer(
            {
                **client_config(settings),
                "group.id": f"{settings.app_id}-gateway",
                "enable.auto.commit": False,
            }
        )
        keyed = (self._names.triggers, self._names.decisions)
        self._consumer.assign(
            [
                *(TopicPartition(name, n, 0) for name in keyed for n in range(settings.partitions)),
                TopicPartition(self._names.dead_letters, 0, 0),
            ]
        )
        self._thread = threading.Thread(target=self._run, name="gateway", daemon=True)
        self._thread.start()

    def look(self, at: Callable[[Seen], Result]) -> Result:
        """Return what ``at`` makes of what has been read; nothing is read meanwhile.

        Raises what ended the reading.
        """
        if self._failure is not None:
            raise self._failure
        with self._lock:
            return at(self._seen)

    def close(self) -> None:
        """Stop reading."""
        self._ending.set()
        self._thread.join()
        self._consumer.close()

    def _run(self) -> None:
        try:
            while not self._ending.is_set():
                message = self._consumer.poll(POLL_SECONDS)
                # librdkafka tells of lost connections here, and mends them by itself.
                if message is not None and message.error() is None:
                    self._take(message)
        except Exception as error:  # it belongs to whoever looks
            self._failure = error

    def _take(self, message: Message) -> None:
        topic, value = message.topic(), message.value()
        assert value is not None
        with self._lock:
            self._seen.last = time.monotonic()
            if topic == self._names.triggers:
                self._seen.trigger(self._read_trigger.decode(value), self._seen.last)
            elif topic == self._names.decisions:
                self._seen.decision(self._read_decision.decode(value))
            else:
                self._seen.dead_letters += 1
