"""Instants and durations. Inside, every instant is integer epoch milliseconds, UTC."""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

SECOND = 1000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

# 0001-01-01 of the common era to the last millisecond of 9999 is what RFC 3339 can write; a member
# lives after 1970, so that instants are never negative.
MAX_INSTANT = 253_402_300_799_999

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
# Every update and decision tells instants: put together from pieces they cost a seventh.
_MINUTES = tuple(f"{minute // 60:02}:{minute % 60:02}:" for minute in range(DAY // MINUTE))
_SECONDS = tuple(f"{second:02}." for second in range(60))
_THOUSANDTHS = tuple(f"{thousandth:03}Z" for thousandth in range(SECOND))
_UNITS = {"ms": 1, "s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY}
_DURATION = re.compile(r"([1-9][0-9]{0,9})(ms|s|m|h|d|w)")


def from_datetime(moment: datetime) -> int:
    """Return epoch milliseconds of an aware datetime, cut (not rounded) to the millisecond."""
    return (moment - _EPOCH) // _MILLISECOND


def rfc3339(instant: int) -> str:
    """Return an instant as RFC 3339 in UTC with milliseconds.

    >>> rfc3339(1795255200000)
    '2026-11-21T10:00:00.000Z'
    """
    day, rest = _date(instant // DAY), instant % DAY
    second, thousandth = _SECONDS[rest // SECOND % 60], _THOUSANDTHS[rest % SECOND]
    return f"{day}{_MINUTES[rest // MINUTE]}{second}{thousandth}"


@lru_cache(maxsize=4096)
def _date(day: int) -> str:
    return (_EPOCH + timedelta(days=day)).isoformat()[:11]


def parse_instant(text: str) -> int:
    """Return epoch milliseconds of RFC 3339 with offset or of integer milliseconds.

    Raises ``ValueError`` with one sentence.
    """
    if re.fullmatch(r"[0-9]{1,15}", text):
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is neither RFC 3339 nor epoch milliseconds") from None
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} needs an offset, such as Z or +08:00")
    return from_datetime(moment)


def parse_duration(text: str) -> int:
    """Return the milliseconds of a duration such as ``15s``, ``30m``, ``2h``, ``90d``.

    >>> parse_duration("90d") // DAY
    90

    Raises ``ValueError`` with one sentence.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a duration: a whole number and one of ms, s, m, h, d, w")
    return int(match[1]) * _UNITS[match[2]]


def format_duration(milliseconds: int) -> str:
    """Return the shortest exact way to write a duration.

    >>> format_duration(36 * HOUR), format_duration(60 * DAY)
    ('36h', '60d')
    """
    for unit in ("d", "h", "m", "s"):
        if milliseconds % _UNITS[unit] == 0:
            return f"{milliseconds // _UNITS[unit]}{unit}"
    return f"{milliseconds}ms"
