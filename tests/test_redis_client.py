"""What is said of an error, in the words that Redis 6.2 and 7.0 have for it."""

import pytest
from redis.exceptions import (
    AuthenticationError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from app.redis_client import words_of

AT = "script: 390b2d59bf089c6f21202985df3db3929551721a, on @user_script:2."
WITHIN = "Error running script (call to f_390b2d59): @user_script:2: @user_script: 2:"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ReadOnlyError("You can't write against a read only replica."), "Redis is a replica"),
        (ReadOnlyError(f"You can't write against a read only replica. {AT}"), "Redis is a replica"),
        (
            ResponseError(f"{WITHIN} -READONLY You can't write against a read only replica."),
            "Redis is a replica",
        ),
        (
            OutOfMemoryError("command not allowed when used memory > 'maxmemory'."),
            "Redis is full",
        ),
        (
            ResponseError(f"{WITHIN} -OOM command not allowed when used memory > 'maxmemory'."),
            "Redis is full",
        ),
        (AuthenticationError("HELLO must be called with -NOAUTH"), "Redis refuses us"),
        (ResponseError("wrong  number\nof arguments"), "Redis: wrong number of arguments"),
        (TimeoutError(), "Redis did not answer in time"),
    ],
)
def test_what_went_wrong_is_said(error: RedisError | OSError, said: str) -> None:
    assert words_of(error).startswith(said)
