"""What a test needs and the machine lacks: a reason to skip, but not where everything is run."""

import os
from typing import NoReturn

import pytest


def demanded() -> bool:
    """Whether everything is to be run, so that nothing may be missing."""
    return bool(os.environ.get("CI"))


def lacking(what: str) -> NoReturn:
    """End the test: it is skipped with the reason, or has failed."""
    if demanded():
        pytest.fail(what)
    pytest.skip(what)
