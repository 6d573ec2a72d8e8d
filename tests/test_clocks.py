"""The clocks that a lane may live by."""

import asyncio
from pathlib import Path

import pytest
from sim_world import run

from agents.clocks import FollowClock, ScaledClock, StreamClock, WallClock


def test_the_wall_clock_calls_no_earlier_than_asked() -> None:
    async def main() -> None:
        clock = WallClock()
        called = asyncio.Event()
        at = clock.now() + 20
        clock.call_at(at, called.set)
        await called.wait()
        assert clock.now() >= at

    asyncio.run(main())


def test_a_scaled_clock_starts_where_told_and_runs_ahead() -> None:
    async def main() -> None:
        clock = ScaledClock(1_000_000, 1_000_000.0)
        assert clock.now() >= 1_000_000
        called = asyncio.Event()
        at = clock.now() + 3_600_000
        clock.call_at(at, called.set)
        await called.wait()
        assert clock.now() >= at

    asyncio.run(main())
    with pytest.raises(ValueError, match="above zero"):
        ScaledClock(0, 0.0)


def test_a_followed_clock_shows_what_was_written_and_never_goes_back(tmp_path: Path) -> None:
    path = tmp_path / "now"

    def write(now: int) -> None:
        with path.open("r+b" if path.exists() else "wb") as file:
            file.write(now.to_bytes(8, "little"))

    async def main() -> None:
        write(1000)
        clock = FollowClock(path)
        assert clock.now() == 1000
        called: list[int] = []
        clock.call_at(2000, lambda: called.append(clock.now()))
        clock.call_at(2000, lambda: called.append(-1)).cancel()
        write(1999)
        await asyncio.sleep(1)
        assert called == []
        write(2500)
        await asyncio.sleep(1)
        assert called == [2500]
        write(100)
        assert clock.now() == 2500

    run(main())
    with pytest.raises(OSError, match="No such file"):
        FollowClock(tmp_path / "missing")


def test_stream_time_has_no_now_but_an_end() -> None:
    clock = StreamClock(77)
    assert clock.until == 77
    now: object = clock.now()  # type: ignore[func-returns-value]
    assert now is None
    with pytest.raises(AssertionError):
        clock.call_at(5, print)
