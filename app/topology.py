"""Every topic, with its partitions, retention and compaction: declared here and nowhere else."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from agents.members import OutputTopics
from app.kafka_security import for_librdkafka
from config.settings import Settings
from models.events import MEMBER_TOPICS
from models.times import DAY

TIMEOUT_SECONDS = 20.0
QUESTIONS_KEPT_MS = 150 * DAY


class TopologyError(Exception):
    """The topics on the broker are not what they must be; the message says what to do."""


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """One topic as it must be."""

    name: str
    partitions: int
    config: Mapping[str, str]


def output_topics(settings: Settings) -> OutputTopics:
    """Return the names of the topics that we write."""
    return OutputTopics(
        triggers=settings.topic("triggers"),
        decisions=settings.topic("decisions"),
        member_updates=settings.topic("member-updates"),
        dead_letters=settings.topic("dead-letters"),
        churn_questions=settings.topic("churn-questions"),
    )


def changelog_name(settings: Settings) -> str:
    """Return the name of the members' changelog."""
    return settings.topic(f"{settings.app_id}-members-changelog")


def topics(settings: Settings) -> tuple[TopicSpec, ...]:
    """Return every topic that the product reads or writes."""
    # Kafka deletes by record timestamp: with a finite default, history that is loaded with its own
    # timestamps would be gone within a minute. CreateTime keeps the producers' timestamps.
    inputs = {
        "cleanup.policy": "delete",
        "retention.ms": str(settings.input_retention_ms),
        "message.timestamp.type": "CreateTime",
    }
    outputs = {"cleanup.policy": "delete", "retention.ms": str(settings.output_retention_ms)}
    # The trainer begins again a quarter of a year back.
    questions = {"cleanup.policy": "delete", "retention.ms": str(QUESTIONS_KEPT_MS)}
    compacted = {"cleanup.policy": "compact"}
    out, count = output_topics(settings), settings.partitions
    return (
        *(TopicSpec(settings.topic(name), count, inputs) for name in MEMBER_TOPICS),
        TopicSpec(settings.topic("items"), 1, compacted),
        TopicSpec(out.triggers, count, outputs),
        TopicSpec(out.decisions, count, outputs),
        TopicSpec(out.member_updates, count, compacted),
        TopicSpec(out.dead_letters, 1, outputs),
        TopicSpec(out.churn_questions, 1, questions),
        TopicSpec(settings.topic("churn-examples"), 1, outputs),
        TopicSpec(settings.topic("churn-model"), 1, compacted),
        TopicSpec(changelog_name(settings), count, settings.changelog_topic_settings()),
    )


def client_config(settings: Settings) -> dict[str, str | int]:
    """Return what every librdkafka client of ours needs to reach the brokers."""
    return {
        "bootstrap.servers": settings.broker,
        # librdkafka writes to standard error by itself, twenty lines a second while no broker
        # answers; what matters comes back as an error of ours.
        "log_level": 2,
        **for_librdkafka(settings),
    }


def ensure_topics(settings: Settings) -> list[str]:
    """Create the topics that are missing and check the others; return the names of the new ones.

    Raises ``TopologyError`` when no broker answers, or a topic has another partition count or
    compaction than it must have: both are for life.
    """
    # A refused login is only told here; the request itself just fails to get an answer.
    told: list[KafkaError] = []
    config = {**client_config(settings), "socket.timeout.ms": 10_000, "error_cb": told.append}
    admin = AdminClient(config)
    wanted = {spec.name: spec for spec in topics(settings)}
    try:
        present = admin.list_topics(timeout=TIMEOUT_SECONDS).topics
    except KafkaException as error:
        admin.poll(0)
        if any(one.code() == KafkaError._AUTHENTICATION for one in told):
            raise TopologyError(
                f"authentication failed: the Kafka broker at {settings.broker} refuses user "
                f"{settings.sasl_username} (LIFECYCLE_SASL_USERNAME, LIFECYCLE_SASL_PASSWORD)"
            ) from None
        raise TopologyError(
            f"no Kafka broker answers at {settings.broker}: {error.args[0].str()} "
            "(start one with `lifecycle up`, or point --broker at yours)"
        ) from None
    _check(admin, [spec for name, spec in wanted.items() if name in present], present)
    missing = [spec for name, spec in wanted.items() if name not in present]
    _create(admin, missing, settings.replication_factor)
    _wait_for(admin, wanted)
    return [spec.name for spec in missing]


def _create(admin: AdminClient, specs: list[TopicSpec], replication_factor: int) -> None:
    new = [
        NewTopic(spec.name, spec.partitions, replication_factor, config=dict(spec.config))
        for spec in specs
    ]
    if not new:
        return
    for name, future in admin.create_topics(new, operation_timeout=TIMEOUT_SECONDS).items():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].name() != "TOPIC_ALREADY_EXISTS":  # another process was quicker
                raise TopologyError(f"topic {name}: {error.args[0].str()}") from None


def _wait_for(admin: AdminClient, wanted: Iterable[str]) -> None:
    # The controller answers before every broker's metadata knows the new topics.
    deadline = time.monotonic() + TIMEOUT_SECONDS
    names = set(wanted)
    while True:
        present = admin.list_topics(timeout=TIMEOUT_SECONDS).topics
        if all(name in present and present[name].partitions for name in names):
            return
        if time.monotonic() > deadline:
            raise TopologyError("the broker did not make its topics known within 20 seconds")
        time.sleep(0.05)


def _check(admin: AdminClient, specs: list[TopicSpec], present: Mapping[str, object]) -> None:
    wrong = []
    for spec in specs:
        count = len(present[spec.name].partitions)  # type: ignore[attr-defined]
        if count != spec.partitions:
            wrong.append(
                f"{spec.name} has {count} partitions, not {spec.partitions} "
                "(a partition count is for life: set LIFECYCLE_PARTITIONS, or use another broker)"
            )
    resources = [ConfigResource(ResourceType.TOPIC, spec.name) for spec in specs]
    found = admin.describe_configs(resources) if resources else {}
    for spec, future in zip(specs, found.values(), strict=True):
        policy = future.result()["cleanup.policy"].value
        if policy != spec.config["cleanup.policy"]:
            wrong.append(
                f"{spec.name} has cleanup.policy={policy}, not {spec.config['cleanup.policy']}"
            )
    if wrong:
        raise TopologyError("; ".join(wrong))
