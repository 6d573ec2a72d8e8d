"""A broker that tells clients what there is, and hands nearly nothing of it over: a quota."""

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

_ALTER_CLIENT_QUOTAS = 49
_BYTES_A_SECOND = b"consumer_byte_rate"


@contextmanager
def starved(broker: str, *clients: str) -> Iterator[None]:
    """Clients of these ids are to read one byte a second: they get nothing at all.

    What was put off when it ends comes up to ten seconds later.
    """
    _set_quotas(broker, clients, 1.0)
    try:
        yield
    finally:
        _set_quotas(broker, clients, None)


def _set_quotas(broker: str, clients: tuple[str, ...], rate: float | None) -> None:
    # Neither of our clients knows this request (AlterClientQuotas, version 0).
    operation = _text(_BYTES_A_SECOND) + struct.pack(">d?", rate or 0.0, rate is None)
    entries = [
        struct.pack(">i", 1)
        + _text(b"client-id")
        + _text(client.encode())
        + struct.pack(">i", 1)
        + operation
        for client in clients
    ]
    body = struct.pack(">i", len(entries)) + b"".join(entries) + struct.pack(">?", False)
    head = struct.pack(">hhi", _ALTER_CLIENT_QUOTAS, 0, 1) + _text(b"operator")
    host, _, port = broker.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(struct.pack(">i", len(head + body)) + head + body)
        answer = connection.makefile("rb")
        (size,) = struct.unpack(">i", answer.read(4))
        # Correlation, throttling, number of entries; then the first one's error.
        _, _, _, error = struct.unpack(">iiih", answer.read(size)[:14])
        assert error == 0, f"the broker takes no quota: error {error}"


def _text(raw: bytes) -> bytes:
    return struct.pack(">h", len(raw)) + raw
