"""What ``lifecycle doctor`` looks at; each finding says what is, and what to do about it."""

import platform
import time
from collections import Counter
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import confluent_kafka
import redis
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from redis.backoff import NoBackoff
from redis.retry import Retry

from agents.partitioner import Partitioner, partition_function
from app.projection_keys import key_prefix
from app.redis_client import words_of
from app.topology import (
    TopologyError,
    advice,
    client_config,
    retention_text,
    retentions,
    topics,
)
from config.errors import ConfigErrors
from config.paths import load_config
from config.settings import Settings
from models.events import MEMBER_TOPICS

PYTHONS = ("3.11", "3.12")
PACKAGES = ("member-lifecycle", "faust-streaming", "aiokafka", "confluent-kafka", "redis")
LOOKED_AT = 500
MOST_CLOCK_SKEW_MS = 60_000
# As the projection writes: by a script. Where deleting is refused, nothing stays for long.
WRITE_A_LITTLE = """
redis.call('HSET', KEYS[1], 'asked', 1)
redis.call('PEXPIRE', KEYS[1], 5000)
redis.call('DEL', KEYS[1])
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    ok: bool
    says: str


def examine(settings: Settings, config_dir: Path | None) -> list[Finding]:
    """Look at everything once."""
    findings = [_versions(), _rules(config_dir), _redis(settings)]
    admin = AdminClient({**client_config(settings), "socket.timeout.ms": 5000})
    try:
        present = admin.list_topics(timeout=5).topics
    except KafkaException as error:
        says = f"no answer at {settings.broker} ({error.args[0].str()}): run `lifecycle up`"
        return [*findings, Finding("broker", False, says)]
    findings.append(Finding("broker", True, settings.broker))
    counts = {name: len(topic.partitions) for name, topic in present.items()}
    wrong = [
        f"{spec.name} has {counts.get(spec.name, 'no')} partitions, needs {spec.partitions}"
        for spec in topics(settings)
        if counts.get(spec.name) != spec.partitions
    ]
    findings.append(
        Finding(
            "topics", not wrong, "; ".join(wrong) + ": run `lifecycle topics`" if wrong else "all"
        )
    )
    if not wrong:
        findings += [_retention(settings), *_records(settings)]
    return findings


def _versions() -> Finding:
    python = platform.python_version()
    known = python.rpartition(".")[0] in PYTHONS
    says = [f"Python {python}" + ("" if known else f" (needs {' or '.join(PYTHONS)})")]
    says += [f"{name} {version(name)}" for name in PACKAGES]
    says.append(f"librdkafka {confluent_kafka.libversion()[0]}")
    return Finding("versions", known, ", ".join(says))


def _rules(config_dir: Path | None) -> Finding:
    try:
        loaded = load_config(config_dir)
    except ConfigErrors as errors:
        return Finding("rules", False, f"{len(errors.errors)} errors: run `lifecycle rules check`")
    return Finding("rules", True, f"{len(loaded.rules)} rules")


def _redis(settings: Settings) -> Finding:
    with redis.Redis.from_url(
        settings.redis, socket_timeout=2, socket_connect_timeout=2, retry=Retry(NoBackoff(), 0)
    ) as client:
        try:
            client.register_script(WRITE_A_LITTLE)([f"{key_prefix(settings.app_id)}doctor"])
        except redis.RedisError as error:
            return Finding(
                "redis", False, f"{words_of(error)}; lookups are stale until that is mended"
            )
        works = "answers and takes writes"
        try:
            memory = client.info("memory")
        except redis.RedisError:  # INFO is no right that workers need
            unknown = "it does not tell its maxmemory-policy, which must be noeviction"
            return Finding("redis", True, f"{works}; {unknown}")
    policy = memory.get("maxmemory_policy", "noeviction")
    if memory.get("maxmemory") == 0 or policy == "noeviction":
        return Finding("redis", True, works)
    says = f"maxmemory-policy is {policy} and must be noeviction: all documents may go at once"
    return Finding("redis", False, says)


def _retention(settings: Settings) -> Finding:
    """Look at how long topics keep their records; a shop may mean what is not in the settings."""
    try:
        others = [one for one in retentions(settings) if one.ms != one.setting_ms]
    except TopologyError as error:
        return Finding("retention", True, f"not known: {error}")
    if not others:
        return Finding("retention", True, "as the settings say")
    alike: dict[tuple[int, int], list[str]] = {}
    for one in others:
        alike.setdefault((one.ms, one.setting_ms), []).append(one.topic)
    says = [
        f"{', '.join(names)}: kept {retention_text(ms)}, not {retention_text(setting)}"
        for (ms, setting), names in alike.items()
    ]
    return Finding("retention", True, "; ".join((*says, *advice(others))))


def _records(settings: Settings) -> list[Finding]:
    """Look at some records of each member topic: do partitioner and clock fit?"""
    config = client_config(settings) | {
        "group.id": f"{settings.app_id}-doctor",
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
    }
    consumer = Consumer(config)
    fits: Counter[Partitioner] = Counter()
    seen, newest = 0, 0
    try:
        consumer.assign(
            [
                TopicPartition(settings.topic(topic), partition, 0)
                for topic in MEMBER_TOPICS
                for partition in range(settings.partitions)
            ]
        )
        for message in consumer.consume(LOOKED_AT, timeout=3):
            key = message.key()
            if message.error() is not None or key is None:
                continue
            seen += 1
            newest = max(newest, message.timestamp()[1])
            for name in ("murmur2", "crc32"):
                place = partition_function(name)(key, settings.partitions)
                fits[name] += place == message.partition()
    finally:
        consumer.close()
    if not seen:
        return [Finding("partitioner", True, "no records yet to tell by")]
    share = fits[settings.partitioner] / seen
    other = next((name for name, count in fits.items() if count == seen), None)
    says = f"{settings.partitioner} places {share:.0%} of {seen} records"
    if share < 1:
        says += (
            f": set LIFECYCLE_PARTITIONER={other}" if other else ": producers place by other keys"
        )
    ahead = newest - int(time.time() * 1000)
    return [
        Finding("partitioner", share == 1, says),
        Finding(
            "clock",
            ahead < MOST_CLOCK_SKEW_MS,
            f"newest record is {max(ahead, 0) / 1000:.1f} s ahead of this machine's clock",
        ),
    ]
