"""A follower leaves the loop to those who cannot wait."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from sim_world import run

from agents.following import RESTS, Follower, FollowerConfig

SECONDS = 0.125
CONFIG = FollowerConfig("127.0.0.1:1", "follower", ("topic",))


@pytest.mark.parametrize(
    ("pressed", "times"),
    [
        (lambda since: False, 1),
        (lambda since: True, RESTS),
        (lambda since: since < 3 * SECONDS, 3),
    ],
)
def test_it_rests_for_longer_while_others_have_much_to_do(
    pressed: Callable[[float], bool], times: int
) -> None:
    nothing: Any = None

    async def rest() -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        follower = Follower(
            CONFIG, nothing, nothing, pressed=lambda: pressed(loop.time() - began + 0.001)
        )
        await follower._rest(SECONDS)
        return loop.time() - began

    assert run(rest()) == pytest.approx(times * SECONDS, abs=0.01)
