"""Who may ask what: the token, and when it is needed.

On loopback everything may be read without a token by whoever asks for a loopback name. Bound beyond
it, or asked for by another name (a proxy's, or one that a foreign page has made to point here),
whatever tells of members needs the token. What changes something needs it always.
"""

import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from config.settings_kinds import Secret


class Refused(Exception):
    """The one who asks may not; ``status`` is 401 or 403, the message one sentence."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True, slots=True)
class Access:
    """The token, and whether the worker listens on loopback only."""

    token: Secret
    loopback: bool

    def check_reading(self, headers: Mapping[str, str]) -> None:
        """Raise ``Refused`` when what tells of members may not be read."""
        if not (self.loopback and is_loopback(_host_of(headers))):
            self._check(headers, "nothing about members is told beyond loopback")

    def check_changing(self, headers: Mapping[str, str]) -> None:
        """Raise ``Refused`` when nothing may be changed."""
        self._check(headers, "nothing can be changed over HTTP")

    def _check(self, headers: Mapping[str, str], without: str) -> None:
        if not self.token:
            raise Refused(403, f"LIFECYCLE_TOKEN is not set: {without}")
        scheme, _, given = headers.get("Authorization", "").partition(" ")
        same = hmac.compare_digest(
            given.strip().encode(errors="surrogateescape"), self.token.reveal().encode()
        )
        if scheme.lower() != "bearer" or not same:
            raise Refused(401, "send the token: Authorization: Bearer LIFECYCLE_TOKEN")


@lru_cache(maxsize=64)
def is_loopback(host: str) -> bool:
    """Tell whether a host name or address means this machine only.

    >>> is_loopback("127.0.0.1"), is_loopback("[::1]"), is_loopback("shop.example")
    (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _host_of(headers: Mapping[str, str]) -> str:
    """Return the name that was asked for, without its port."""
    host = headers.get("Host", "")
    return host if host.endswith("]") else host.rpartition(":")[0] or host
