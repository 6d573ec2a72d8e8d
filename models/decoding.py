"""The edge: bytes of one topic become one typed event, or an error that names path and reason."""

import re
from datetime import datetime
from typing import Any

import msgspec

from models.events import (
    CLASS_OF,
    MEMBER_TOPICS,
    OPT_OUTS,
    TOPIC_OF,
    UNION_OF,
    ConsentChanged,
    Event,
    Linked,
    ProfileChanged,
    Unsubscribed,
)
from models.ids import content_hash
from models.times import DAY, MAX_INSTANT, from_datetime

FUTURE_LIMIT = DAY
# No event happens later: deadlines and expiries counted from it can still be written as RFC 3339.
LAST_EVENT = MAX_INSTANT - 1000 * 366 * DAY
RANK_OF: dict[str, int] = {topic: rank for rank, topic in enumerate(MEMBER_TOPICS, start=1)}

_DECODERS: dict[str, msgspec.json.Decoder[Event]] = {
    topic: msgspec.json.Decoder(union) for topic, union in UNION_OF.items()
}
_NAME_OF: dict[type[Event], str] = {event_class: name for name, event_class in CLASS_OF.items()}
_PATH = re.compile(r" - at (?:`key` in )?`(\$[^`]*)`$")
_UNKNOWN_TYPE = re.compile(r"Invalid value '(.*)'", re.DOTALL)
_TYPE = re.compile(rb'"type"\s*:\s*"(unsubscribed|complained|consent)"')
_MEMBER = re.compile(rb'"member_id"\s*:\s*"([^"\\]{1,512})"')
_ANONYMOUS = re.compile(rb'"anonymous_id"\s*:\s*"')
_GRANTED = re.compile(rb'"granted"\s*:\s*true\b')


class InvalidEvent(Exception):
    """A record that is not an event of its topic; never tried again."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class Received(msgspec.Struct, frozen=True):
    """A typed event with where and when it takes its place.

    ``at`` is the effective time: when it happened, but never later than the record's timestamp.
    ``rank`` is the topic's place in the order of equal times, from 1; 0 belongs to deadlines.
    """

    event: Event
    at: int
    rank: int
    partition: int
    offset: int
    raw: bytes
    ahead: int = 0

    @property
    def type(self) -> str:
        """Return the event's wire name."""
        return _NAME_OF[type(self.event)]


def instant(value: datetime | int, path: str) -> int:
    """Return epoch milliseconds of a wire instant; raise ``InvalidEvent`` out of range or zone."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise InvalidEvent(path, "needs an offset, such as Z or +08:00")
        value = from_datetime(value)
    if not 0 <= value <= MAX_INSTANT:
        raise InvalidEvent(path, "was before 1970 or after 9999")
    return value


def decode(topic: str, raw: bytes | None) -> Event:
    """Return the event that ``raw`` is on ``topic``, or raise ``InvalidEvent``."""
    if raw is None:
        raise InvalidEvent("$", "was empty (a tombstone)")
    try:
        event = _DECODERS[topic].decode(raw)
        if not raw.isascii():
            raw.decode()  # the decoder passes over the strings of unknown fields
    except msgspec.ValidationError as error:
        raise _explain(topic, str(error)) from None
    except RecursionError:
        raise InvalidEvent("$", "was nested too deep") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        reason = str(error).removeprefix("JSON is malformed: ")
        raise InvalidEvent("$", f"was not JSON: {_sentence(reason)}") from None
    if event.member_id is None and event.anonymous_id is None:
        raise InvalidEvent("$.member_id", "was missing, and so was anonymous_id")
    if type(event) is Linked and (
        event.member_id is None or (event.anonymous_id is None and event.other_id is None)
    ):
        raise InvalidEvent("$", "a link needs member_id and one of anonymous_id or other_id")
    if type(event) is ProfileChanged and not all(map(_fits, (event.attributes or {}).values())):
        raise InvalidEvent("$.attributes[...]", "was a whole number of more than 64 bits")
    for field in ("expires_at", "review_at", "until"):
        value = getattr(event, field, None)
        if value is not None:
            instant(value, f"$.{field}")
    return event


def receive(
    topic: str, raw: bytes | None, key: bytes | None, partition: int, offset: int, timestamp: int
) -> Received:
    """Decode one record and give it its effective time; raise ``InvalidEvent``."""
    event = decode(topic, raw)
    at = instant(event.occurred_at, "$.occurred_at")
    if at > LAST_EVENT:
        raise InvalidEvent("$.occurred_at", "was thousands of years ahead")
    if timestamp < 0:  # brokers take such records: nothing would say how far ahead they run
        raise InvalidEvent("timestamp", "was before 1970, so that the time of arrival is unknown")
    ahead = 0
    if timestamp < at:
        ahead = at - timestamp
        if ahead >= FUTURE_LIMIT:
            raise InvalidEvent("$.occurred_at", "was a day or more after the record's timestamp")
        at = timestamp
    identity = event.member_id or event.anonymous_id
    assert identity is not None
    if key != identity.encode():
        raise InvalidEvent("key", "was not the event's member_id (or anonymous_id without one)")
    assert raw is not None
    return Received(event, at, RANK_OF[topic], partition, offset, raw, ahead)


def salvage_opt_out(raw: bytes | None, key: bytes | None, timestamp: int) -> Event | None:
    """Return what a malformed opt-out must at least do: stop marketing to the member it names.

    The record's key names the member when ``raw`` does not do so legibly. None when ``raw`` is no
    opt-out, names nobody, or names an anonymous id only.
    """
    if raw is None:
        return None
    try:
        found = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = None
    named: bytes | str | None
    purpose: Any = None
    if isinstance(found, dict):
        kind, named, granted = found.get("type"), found.get("member_id"), found.get("granted")
        purpose = found.get("purpose")
        anonymous = isinstance(found.get("anonymous_id"), str)
    else:
        type_found, member_found = _TYPE.search(raw), _MEMBER.search(raw)
        kind = type_found[1].decode() if type_found else None
        named = member_found[1] if member_found else None
        granted = _GRANTED.search(raw) is not None
        anonymous = _ANONYMOUS.search(raw) is not None
    member = _id(named)
    if member is None and not anonymous:
        member = _id(key)
    if member is None:
        return None
    if not isinstance(kind, str) or kind not in OPT_OUTS:
        return None
    if kind == "consent" and granted is True:
        return None
    at = timestamp if 0 <= timestamp <= MAX_INSTANT else 0
    name = content_hash(raw)
    if kind == "consent" and purpose == "service":
        return ConsentChanged(
            occurred_at=at,
            member_id=member,
            event_id=name,
            channel="all",
            purpose="service",
            granted=False,
        )
    return Unsubscribed(occurred_at=at, member_id=member, event_id=name, channel="all")


def _fits(value: object) -> bool:
    return not isinstance(value, int) or -(1 << 63) <= value < 1 << 63


def _id(named: object) -> str | None:
    if isinstance(named, bytes):
        try:
            named = named.decode()
        except UnicodeDecodeError:
            return None
    return named if isinstance(named, str) and 1 <= len(named) <= 128 else None


def _explain(topic: str, message: str) -> InvalidEvent:
    match = _PATH.search(message)
    path = match[1] if match else "$"
    text = message[: match.start()] if match else message
    if "missing required field" in text:
        field = text.rsplit("`", 2)[1]
        return InvalidEvent(f"{path}.{field}", "was missing")
    unknown = _UNKNOWN_TYPE.fullmatch(text) if path == "$.type" else None
    if unknown is not None:
        given = unknown[1]
        home = TOPIC_OF.get(given)
        if home == topic:
            return InvalidEvent(path, "was there twice, with different values")
        if home is not None:
            return InvalidEvent(path, f"{given} belongs on topic {home}, not {topic}")
        known = ", ".join(name for name in CLASS_OF if TOPIC_OF[name] == topic)
        return InvalidEvent(path, f"{given[:64]!r} is not a type of topic {topic}: {known}")
    return InvalidEvent(path, _sentence(text))


def _sentence(text: str) -> str:
    return text[:1].lower() + text[1:300].replace("`", "")
