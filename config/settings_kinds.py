"""How a setting is read: from text (environment, command line) or from a TOML value."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

from models.local_time import zone_names
from models.times import format_duration, parse_duration

# Returns the value or raises ``ValueError`` with what it must be.
Read: TypeAlias = Callable[[object], object]

_ADDRESS = re.compile(r"(?:\[[0-9a-fA-F:]+\]|[^\s,:/\[\]]+):([0-9]{1,5})")
_LOCALE = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8}){0,3}")
_TOPIC_PART = re.compile(r"[A-Za-z0-9._-]{0,100}")


class Secret:
    """A text that is never printed; ``reveal`` it where it is used. Empty is false."""

    __slots__ = ("_text",)

    def __init__(self, text: str = "") -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "Secret(***)" if self._text else "Secret()"


def text(value: object) -> str:
    """Read text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be text")
    return value.strip()


def secret(value: object) -> Secret:
    """Read text that nobody may see; the message must not repeat it."""
    if not isinstance(value, str) or not value or value != value.strip():
        raise ValueError("must be text without spaces at its ends (not shown)")
    return Secret(value)


def integer(lowest: int, highest: int) -> Read:
    """Read a whole number within the bounds."""

    def read(value: object) -> int:
        if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}", value.strip()):
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest:
            return value
        raise ValueError(f"must be a whole number from {lowest} to {highest}")

    return read


def fraction(value: object) -> float:
    """Read a number above 0 and at most 1."""
    try:
        number = float(value) if isinstance(value, str | int | float) else 0.0
    except ValueError:
        number = 0.0
    if isinstance(value, bool) or not 0 < number <= 1:
        raise ValueError("must be a number above 0 and at most 1")
    return number


def duration(longest: int) -> Read:
    """Read a duration into milliseconds."""

    def read(value: object) -> int:
        try:
            milliseconds = parse_duration(value.strip()) if isinstance(value, str) else 0
        except ValueError:
            milliseconds = 0
        if not 0 < milliseconds <= longest:
            most = format_duration(longest)
            raise ValueError(f"must be a duration such as 15s, 30m, 2h, at most {most}")
        return milliseconds

    return read


def flag(value: object) -> bool:
    """Read true or false: the word in any case, or a TOML boolean."""
    found = {"true": True, "false": False}.get(str(value).lower())
    if found is None or not isinstance(value, str | bool):
        raise ValueError("must be true or false")
    return found


def choice(*allowed: str) -> Read:
    """Read one of the allowed words."""

    def read(value: object) -> str:
        if value not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}")
        return str(value)

    return read


def members(value: object) -> frozenset[str]:
    """Read ids: separated by commas, or a TOML list."""
    parts: Sequence[object] = value.split(",") if isinstance(value, str) else []
    if isinstance(value, list):
        parts = value
    ids = [part.strip() if isinstance(part, str) else "" for part in parts]
    if not ids or any(not 1 <= len(identity) <= 128 for identity in ids):
        raise ValueError("must be member ids (1-128 characters each) separated by commas")
    return frozenset(ids)


def addresses(value: object) -> str:
    """Read one or more ``host:port`` separated by commas."""
    parts = [part.strip() for part in value.split(",")] if isinstance(value, str) else []
    found = [_ADDRESS.fullmatch(part) for part in parts]
    if not found or any(match is None or not 0 < int(match[1]) < 65536 for match in found):
        raise ValueError("must be host:port, or several separated by commas")
    return ",".join(parts)


def redis_url(value: object) -> str:
    """Read the address of a Redis; the message does not repeat it, as it may hold a password."""
    address = value.strip() if isinstance(value, str) else ""
    try:
        parts = urlsplit(address)
        right = parts.scheme in ("redis", "rediss", "unix") and bool(parts.netloc or parts.path)
        _ = parts.port
    except ValueError:
        right = False
    if not right:
        raise ValueError("must be redis://host:port/db, rediss://... or unix:///path (not shown)")
    return address


def path(value: object) -> Path:
    """Read a file or folder; ``~`` is the home folder."""
    return Path(text(value)).expanduser()


def locale(value: object) -> str:
    """Read a language tag."""
    if not isinstance(value, str) or not _LOCALE.fullmatch(value):
        raise ValueError("must be a language tag such as en or zh-CN")
    return value


def time_zone(value: object) -> str:
    """Read the name of a time zone that the zone data has."""
    name = text(value)
    if name not in zone_names():
        raise ValueError("must be a time zone such as UTC or Asia/Shanghai")
    return name


def topic_part(value: object) -> str:
    """Read a piece of a topic's name."""
    if not isinstance(value, str) or not _TOPIC_PART.fullmatch(value):
        raise ValueError("must be at most 100 letters, digits, dots, dashes and underscores")
    return value


def app_id(value: object) -> str:
    """Read a name that begins other names, so it is not empty."""
    name = topic_part(value)
    if not name:
        raise ValueError("must not be empty")
    return name
