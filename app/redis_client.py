"""Talking to Redis: connections that end with the call, and what went wrong in a sentence."""

import asyncio
import socket
from collections.abc import Awaitable
from typing import Any, TypeVar

from redis.asyncio import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, ReadOnlyError, RedisError
from redis.retry import Retry

T = TypeVar("T")


class StoreUnavailable(Exception):
    """Redis did not answer, or refused; the message says which, without its address's secrets."""


def connected(url: str, timeout_ms: int) -> Redis:
    """Return a client; nothing is connected before it is used.

    Raises ``ValueError`` when the address is none.
    """
    options: dict[str, Any] = {}
    if not url.startswith("unix:"):
        # When a network comes back, the kernel may deliver what a connection that was given up
        # long ago still held: an older document over a newer one. It must not outlive the call.
        options["socket_keepalive_options"] = {socket.TCP_USER_TIMEOUT: timeout_ms}
    made: Redis = Redis.from_url(
        url,
        socket_timeout=timeout_ms / 1000,
        socket_connect_timeout=timeout_ms / 1000,
        retry=Retry(NoBackoff(), 0),
        **options,
    )
    return made


async def answer(question: Awaitable[T], timeout_ms: int) -> T:
    """Return what Redis answers.

    Raises ``StoreUnavailable`` when it does not within the time, or refuses.
    """
    try:
        async with asyncio.timeout(timeout_ms / 1000):
            return await _heeding(question)
    except (RedisError, OSError, TimeoutError) as error:
        raise StoreUnavailable(words_of(error)) from error


def words_of(error: Exception) -> str:
    """Return in a sentence what went wrong, without its address's secrets."""
    said = " ".join(str(error).split())
    if isinstance(error, AuthenticationError):
        # Asked without a password, Redis talks of HELLO, which nobody has typed.
        return "Redis refuses us: there is no password in LIFECYCLE_REDIS, or not the right one"
    if "used memory > 'maxmemory'" in said:  # of a script, this is within other words
        return "Redis is full (used memory > 'maxmemory'): raise maxmemory, or give it more memory"
    if isinstance(error, ReadOnlyError) or "READONLY" in said:  # Redis 6 has it within other words
        return "Redis is a replica, which takes no writes: LIFECYCLE_REDIS must name the primary"
    return f"Redis: {said}" if said else "Redis did not answer in time"


async def _heeding(question: Awaitable[T]) -> T:
    # redis-py sends within ``asyncio.wait_for``, which before Python 3.12 loses a cancellation that
    # comes when all is sent (https://bugs.python.org/issue42130): the task would go on.
    asker = asyncio.current_task()
    assert asker is not None
    cancelled = asker.cancelling()
    answered = await question
    if asker.cancelling() > cancelled:
        raise asyncio.CancelledError
    return answered
