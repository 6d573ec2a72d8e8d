"""Every setting, declared once: environment ``LIFECYCLE_*`` over a TOML file over defaults.

``.env.example`` is generated from this definition.
"""

# ruff: noqa: RUF009 - _setting is dataclasses.field with a kind and a sentence

import re
import textwrap
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from config import settings_kinds as kinds
from config.errors import ConfigError, ConfigErrors
from config.reading import suggestion
from config.settings_kinds import Secret
from models.rules import Limits
from models.times import DAY, HOUR, MINUTE, format_duration

PREFIX = "LIFECYCLE_"
FILE_VARIABLE = "LIFECYCLE_CONFIG_FILE"
# Variables of the test suite, which are no settings.
_FOREIGN_PREFIX = "LIFECYCLE_TEST_"
_ENVIRONMENT = "environment"
_LOOPBACK = re.compile(r"localhost|127(\.[0-9]{1,3}){3}|::1|\[::1\]")
# What a record batch adds to the rows of a group: headers, keys and offsets of some bytes each.
_BATCH_OVERHEAD = 64 * 1024
_MEBIBYTE = 1 << 20


def _setting(default: object, read: kinds.Read, doc: str, *, shown: bool = True) -> Any:
    metadata = {"read": read, "doc": doc}
    return field(default=default, metadata=metadata, repr=shown)


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What operators choose. Durations are milliseconds; sizes are bytes.

    Use :func:`load_settings`; built directly, nothing is checked.
    """

    broker: str = _setting(
        "127.0.0.1:9092", kinds.addresses, "Kafka brokers, host:port separated by commas."
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = _setting(
        "PLAINTEXT",
        kinds.choice("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"),
        "How to talk to the brokers: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.",
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = _setting(
        None,
        kinds.choice("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"),
        "With SASL: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.",
    )
    sasl_username: str | None = _setting(None, kinds.text, "With SASL: the user.")
    sasl_password: Secret = _setting(
        Secret(), kinds.secret, "With SASL: the password. Never printed.", shown=False
    )
    ssl_cafile: Path | None = _setting(
        None, kinds.path, "With SSL: the file of the certificate authority, when it is your own."
    )

    app_id: str = _setting(
        "member-lifecycle",
        kinds.app_id,
        "Name of the consumer group, and beginning of the internal topics' names. Workers with "
        "the same name share the work.",
    )
    topic_prefix: str = _setting(
        "", kinds.topic_part, "Stands before every topic's name, for a broker shared with others."
    )
    partitions: int = _setting(
        64,
        kinds.integer(1, 4096),
        "Partitions of every topic keyed by member: the most workers there can ever be. Fixed for "
        "life, since it decides where a member's past lies.",
    )
    partitioner: Literal["murmur2", "crc32"] = _setting(
        "murmur2",
        kinds.choice("murmur2", "crc32"),
        "How producers place keys: murmur2 (Java clients) or crc32 (librdkafka's default).",
    )
    replication_factor: int = _setting(
        1, kinds.integer(1, 9), "Copies of each partition of the topics that we make."
    )
    input_retention_ms: int = _setting(
        -1,
        kinds.integer(-1, 1 << 53),
        "How long new topics keep what came in, by record timestamp; -1 for ever.",
    )
    output_retention_ms: int = _setting(
        -1, kinds.integer(-1, 1 << 53), "How long new topics keep what we sent out; -1 for ever."
    )
    session_timeout_ms: int = _setting(
        6000,
        kinds.integer(1000, 300_000),
        "How long a killed worker's lanes stand still. Brokers refuse less than 6000 by default.",
    )
    commit_interval_ms: int = _setting(
        1000,
        kinds.integer(50, 60_000),
        "How often offsets are committed. They only bound what is skipped after a restart.",
    )

    group_max_bytes: int = _setting(
        4 * _MEBIBYTE,
        kinds.integer(64 * 1024, 64 * _MEBIBYTE),
        "How much a lane collects before it is written as one batch.",
    )
    changelog_max_message_bytes: int = _setting(
        16 * _MEBIBYTE + 1024,
        kinds.integer(_MEBIBYTE, 96 * _MEBIBYTE),
        "The largest batch that the changelog takes; above group_max_bytes.",
    )
    changelog_segment_bytes: int = _setting(
        32 * _MEBIBYTE,
        kinds.integer(_MEBIBYTE, 1 << 30),
        "Segment size of the changelog: only closed segments are compacted, and what is not "
        "compacted is read again in recovery.",
    )
    changelog_segment_ms: int = _setting(
        10 * MINUTE, kinds.integer(100, 7 * DAY), "Age at which a segment of it is closed."
    )
    changelog_min_cleanable_dirty_ratio: float = _setting(
        0.2, kinds.fraction, "Share of uncompacted bytes at which compaction begins."
    )
    changelog_min_compaction_lag_ms: int = _setting(
        5 * MINUTE,
        kinds.integer(0, DAY),
        "How long every row stays readable: what a worker that lost its lane wrote must be seen "
        "by the lane's new owner.",
    )

    allowed_lateness: int = _setting(
        HOUR,
        kinds.duration(7 * DAY),
        "How much older than a member's newest event an event may be and still take its place.",
    )
    open_keys: int = _setting(
        256, kinds.integer(1, 256), "Open deadlines that one rule may keep for one member."
    )
    locale: str = _setting("en", kinds.locale, "The brand's language, for members without one.")
    time_zone: str = _setting("UTC", kinds.time_zone, "The brand's time zone, likewise.")
    test_members: frozenset[str] = _setting(
        frozenset(),
        kinds.members,
        "Members whose events may say `test`, separated by commas: their triggers are marked.",
    )
    assume_consent: bool = _setting(
        False,
        kinds.flag,
        "Take it that members agreed to marketing who have said nothing. For public logs, which "
        "have no consent in them, and for trying things out; never with members of your own.",
    )
    bad_ratio: float = _setting(
        0.5,
        kinds.fraction,
        "The worker stops itself when more than this share of its records are bad: that is a "
        "wrong deployment, not wrong data.",
    )
    bad_min_records: int = _setting(
        10_000, kinds.integer(1, 1 << 53), "How many records it must have seen for that."
    )

    redis: str = _setting(
        "redis://127.0.0.1:6379/0",
        kinds.redis_url,
        "The serving store. May hold a password: never printed.",
        shown=False,
    )
    redis_batch_size: int = _setting(
        500, kinds.integer(1, 10_000), "Member updates per round trip to Redis."
    )
    redis_timeout_ms: int = _setting(
        2000,
        kinds.integer(50, 60_000),
        "How long one may take. Redis away stops nothing: the updates wait and catch up.",
    )
    observer: bool = _setting(
        True,
        kinds.flag,
        "Follow what happens, for timelines, lookups, the feed and the lifecycle metrics. Without "
        "it workers spend nothing on them.",
    )

    http_host: str = _setting(
        "127.0.0.1",
        kinds.text,
        "Where health, metrics and lookups listen. Beyond loopback needs a token.",
    )
    http_port: int = _setting(
        8080, kinds.integer(1, 65535), "The first port tried; the next free one if it is taken."
    )
    token: Secret = _setting(
        Secret(),
        kinds.secret,
        "Allows what changes something over HTTP. Never printed.",
        shown=False,
    )
    log_level: Literal["debug", "info", "warning", "error"] = _setting(
        "info", kinds.choice("debug", "info", "warning", "error"), "How much is logged."
    )
    data_dir: Path | None = _setting(
        None,
        kinds.path,
        "Where the local stack and the workers keep files (default: member-lifecycle under "
        "XDG_STATE_HOME or ~/.local/state).",
    )

    def topic(self, name: str) -> str:
        """Return a topic's name on the broker."""
        return f"{self.topic_prefix}{name}"

    def limits(self) -> Limits:
        """Return what the core must know."""
        return Limits(
            allowed_lateness=self.allowed_lateness,
            open_keys=self.open_keys,
            locale=self.locale,
            time_zone=self.time_zone,
            test_members=self.test_members,
            assume_consent=self.assume_consent,
        )

    def changelog_topic_settings(self) -> dict[str, str]:
        """Return the changelog's topic configuration, in Kafka's words."""
        return {
            "cleanup.policy": "compact",
            "segment.bytes": str(self.changelog_segment_bytes),
            "segment.ms": str(self.changelog_segment_ms),
            "min.cleanable.dirty.ratio": str(self.changelog_min_cleanable_dirty_ratio),
            "min.compaction.lag.ms": str(self.changelog_min_compaction_lag_ms),
            "max.message.bytes": str(self.changelog_max_message_bytes),
            # The brokers tell the workers what time it is.
            "message.timestamp.type": "LogAppendTime",
        }


def load_settings(
    environ: Mapping[str, str],
    file: Path | None = None,
    options: Mapping[str, str] | None = None,
) -> Settings:
    """Return the settings; raise ``ConfigErrors`` with all that is wrong.

    ``options`` are command-line options by field name; they win over ``environ``, which wins over
    ``file`` (or the file that ``LIFECYCLE_CONFIG_FILE`` names), which wins over the defaults. A
    variable that is set and empty counts as not set.
    """
    errors: list[ConfigError] = []
    values: dict[str, object] = {}
    named = environ.get(FILE_VARIABLE)
    path = file or (Path(named) if named else None)
    if path is not None:
        values |= _from_file(path, errors)
    values |= _from_environment(environ, errors)
    for name, text in (options or {}).items():
        _take(name, text, ConfigError("options", 0, 0, "", _flag(name), ""), values, errors)
    settings = Settings(**values)  # type: ignore[arg-type]  # each was read by its field's kind
    if not errors:
        errors = list(_contradictions(settings))
    if errors:
        raise ConfigErrors(errors)
    return settings


_FIELDS = {one.name: one for one in fields(Settings)}


def _take(
    name: str,
    given: object,
    place: ConfigError,
    values: dict[str, object],
    errors: list[ConfigError],
) -> None:
    one = _FIELDS[name]
    try:
        values[name] = one.metadata["read"](given)
    except ValueError as error:
        was = f", was {given!r}" if one.repr else ""
        message = f"{error}{was}"
        errors.append(ConfigError(place.file, place.line, place.column, "", place.field, message))


def _from_environment(environ: Mapping[str, str], errors: list[ConfigError]) -> dict[str, object]:
    values: dict[str, object] = {}
    known = {_variable(name): name for name in _FIELDS}
    for variable, text in sorted(environ.items()):
        if not variable.startswith(PREFIX) or variable == FILE_VARIABLE or not text:
            continue
        place = ConfigError(_ENVIRONMENT, 0, 0, "", variable, "")
        if variable in known:
            _take(known[variable], text, place, values, errors)
        elif not variable.startswith(_FOREIGN_PREFIX):
            message = f"is no setting{suggestion(variable, known)}"
            errors.append(ConfigError(_ENVIRONMENT, 0, 0, "", variable, message))
    return values


def _from_file(path: Path, errors: list[ConfigError]) -> dict[str, object]:
    file = str(path)
    try:
        text = path.read_text(encoding="utf-8")
        table = tomllib.loads(text)
    except OSError as error:
        errors.append(ConfigError(file, 0, 0, "", "", f"cannot be read: {error.strerror}"))
        return {}
    except UnicodeDecodeError:
        errors.append(ConfigError(file, 0, 0, "", "", "is not UTF-8 text"))
        return {}
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"\(at line ([0-9]+), column ([0-9]+)\)", str(error))
        line, column = (int(place[1]), int(place[2])) if place else (0, 0)
        errors.append(ConfigError(file, line, column, "", "", f"is not TOML: {error}"))
        return {}
    values: dict[str, object] = {}
    for name, given in table.items():
        found = re.search(rf"^[ \t]*[\"'\[]?{re.escape(name)}\b", text, re.MULTILINE)
        line = text.count("\n", 0, found.start()) + 1 if found else 1
        if name in _FIELDS:
            _take(name, given, ConfigError(file, line, 1, "", name, ""), values, errors)
        else:
            message = f"is no setting{suggestion(name, _FIELDS)}"
            errors.append(ConfigError(file, line, 1, "", name, message))
    return values


def _contradictions(settings: Settings) -> Iterator[ConfigError]:
    def wrong(name: str, message: str) -> ConfigError:
        return ConfigError("settings", 0, 0, "", _variable(name), message)

    if not _LOOPBACK.fullmatch(settings.http_host) and not settings.token:
        host = settings.http_host
        yield wrong("token", f"must be set when listening beyond loopback (on {host})")
    if settings.security_protocol.startswith("SASL"):
        for name in ("sasl_mechanism", "sasl_username", "sasl_password"):
            if not getattr(settings, name):
                yield wrong(name, f"must be set with {settings.security_protocol}")
    elif settings.sasl_mechanism or settings.sasl_username or settings.sasl_password:
        yield wrong("security_protocol", "must be SASL_PLAINTEXT or SASL_SSL with a SASL user")
    if settings.group_max_bytes + _BATCH_OVERHEAD > settings.changelog_max_message_bytes:
        least = settings.group_max_bytes + _BATCH_OVERHEAD
        yield wrong(
            "changelog_max_message_bytes", f"must be at least {least}, for one group as one batch"
        )


def _variable(name: str) -> str:
    return PREFIX + name.upper()


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def env_example() -> str:
    """Return ``.env.example``: every variable with its default and what it means."""
    parts = [
        "# Every setting with its default. Copy to .env, uncomment what you change.",
        f"# The same names in small letters, without {PREFIX}, can stand in a TOML file:",
        f"# {FILE_VARIABLE}=settings.toml",
    ]
    for one in _FIELDS.values():
        doc = textwrap.wrap(one.metadata["doc"], 96, initial_indent="# ", subsequent_indent="# ")
        parts += ["", *doc, f"#{_variable(one.name)}={_written(one.name, one.default)}"]
    return "\n".join(parts) + "\n"


def _written(name: str, default: object) -> str:
    if default is None or isinstance(default, Secret) or default == frozenset():
        return ""
    if name == "allowed_lateness" and isinstance(default, int):
        return format_duration(default)
    return str(default).lower() if isinstance(default, bool) else str(default)
