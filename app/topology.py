"""Every topic, with its partitions, retention and compaction: declared here and nowhere else."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from agents.members import OutputTopics
from app.kafka_security import for_librdkafka
from config.settings import Settings
from models.events import MEMBER_TOPICS
from models.times import DAY, format_duration

TIMEOUT_SECONDS = 20.0
QUESTIONS_KEPT_MS = 150 * DAY
FOR_EVER = -1

Group: TypeAlias = Literal["inputs", "outputs"]
_RETENTION_SETTINGS: Mapping[Group, str] = {
    "inputs": "LIFECYCLE_INPUT_RETENTION_MS",
    "outputs": "LIFECYCLE_OUTPUT_RETENTION_MS",
}


class TopologyError(Exception):
    """The topics on the broker are not what they must be; the message says what to do."""


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """One topic as it must be."""

    name: str
    partitions: int
    config: Mapping[str, str]
    group: Group | None = None
    """With which others operators choose its retention; None: they do not."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How long a topic that operators choose the retention of keeps its records; -1 for ever."""

    topic: str
    group: Group
    ms: int
    setting_ms: int


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
        *(TopicSpec(settings.topic(name), count, inputs, "inputs") for name in MEMBER_TOPICS),
        TopicSpec(settings.topic("items"), 1, compacted),
        TopicSpec(out.triggers, count, outputs, "outputs"),
        TopicSpec(out.decisions, count, outputs, "outputs"),
        TopicSpec(out.member_updates, count, compacted),
        TopicSpec(out.dead_letters, 1, outputs, "outputs"),
        TopicSpec(out.churn_questions, 1, questions),
        TopicSpec(settings.topic("churn-examples"), 1, outputs, "outputs"),
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


def retentions(settings: Settings) -> list[Retention]:
    """Return how long the inputs and outputs keep their records; all of them must be there.

    Raises ``TopologyError`` when the broker does not tell.
    """
    chosen = [(spec, spec.group) for spec in topics(settings) if spec.group is not None]
    admin = AdminClient(client_config(settings))
    said = _configs(admin, [spec for spec, _ in chosen], "retention.ms")
    # Brokers take any number below zero for "for ever".
    return [
        Retention(spec.name, group, max(int(ms), FOR_EVER), _setting(settings, group))
        for (spec, group), ms in zip(chosen, said, strict=True)
    ]


def keep(settings: Settings, wanted: Mapping[str, int]) -> None:
    """Have topics, by name, keep their records for so many milliseconds; -1 for ever.

    What is older the broker deletes, within minutes and for good. Raises ``TopologyError`` when
    the broker refuses; other topics may have been changed then.
    """
    if not wanted:
        return
    resources = [
        ConfigResource(
            ResourceType.TOPIC,
            name,
            incremental_configs=[
                ConfigEntry("retention.ms", str(ms), incremental_operation=AlterConfigOpType.SET)
            ],
        )
        for name, ms in wanted.items()
    ]
    admin = AdminClient(client_config(settings))
    altered = admin.incremental_alter_configs(resources, request_timeout=TIMEOUT_SECONDS)
    refused = []
    for resource, future in altered.items():
        try:
            future.result()
        except KafkaException as error:
            refused.append(f"topic {resource.name}: {error.args[0].str()}")
    if refused:
        raise TopologyError("; ".join(refused))


def retention_text(ms: int) -> str:
    """Return how long that is, in words."""
    return "for ever" if ms == FOR_EVER else format_duration(ms)


def advice(others: Iterable[Retention]) -> list[str]:
    """Return, of topics that keep other than their setting says, what to do for each group."""
    return [
        f"{_RETENTION_SETTINGS[group]} is for new topics: correct it, or run "
        f"`lifecycle topics --keep-{group} {retention_text(ms).replace(' ', '-')}`"
        for group, ms in {one.group: one.setting_ms for one in others}.items()
    ]


def _setting(settings: Settings, group: Group) -> int:
    return settings.input_retention_ms if group == "inputs" else settings.output_retention_ms


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


def _configs(admin: AdminClient, specs: list[TopicSpec], entry: str) -> list[str]:
    """Return what one entry of each topic's configuration is; raises ``TopologyError``."""
    resources = [ConfigResource(ResourceType.TOPIC, spec.name) for spec in specs]
    if not resources:
        return []
    found = admin.describe_configs(resources, request_timeout=TIMEOUT_SECONDS)
    try:
        return [str(found[one].result()[entry].value) for one in resources]
    except KafkaException as error:
        raise TopologyError(f"the topics' configuration: {error.args[0].str()}") from None


def _check(admin: AdminClient, specs: list[TopicSpec], present: Mapping[str, object]) -> None:
    wrong = []
    for spec in specs:
        count = len(present[spec.name].partitions)  # type: ignore[attr-defined]
        if count != spec.partitions:
            wrong.append(
                f"{spec.name} has {count} partitions, not {spec.partitions} "
                "(a partition count is for life: set LIFECYCLE_PARTITIONS, or use another broker)"
            )
    for spec, policy in zip(specs, _configs(admin, specs, "cleanup.policy"), strict=True):
        if policy != spec.config["cleanup.policy"]:
            wrong.append(
                f"{spec.name} has cleanup.policy={policy}, not {spec.config['cleanup.policy']}"
            )
    if wrong:
        raise TopologyError("; ".join(wrong))
