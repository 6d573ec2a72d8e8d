"""The clocks that a lane may live by."""

import asyncio
import random
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


class Machine:
    """A machine that has been up for a while, with a clock that somebody sets."""

    def __init__(self) -> None:
        self.up = 5_000_000
        self.set = 1_000_000_000
        self.clock = WallClock(lambda: self.set + self.up, lambda: self.up)


def test_until_brokers_tell_the_time_the_machine_does() -> None:
    machine = Machine()
    assert machine.clock.now() == 1_005_000_000
    machine.set += 3_600_000
    assert machine.clock.now() == 1_008_600_000
    assert machine.clock.ahead == 0


def test_setting_the_machines_clock_does_not_move_what_brokers_told() -> None:
    machine = Machine()
    machine.clock.told(1_005_000_000, machine.up - 4, machine.up)
    told = machine.clock.now()
    assert 1_004_999_990 <= told <= 1_005_000_000
    machine.up += 1000
    machine.set += 3_600_000
    assert told + 990 <= machine.clock.now() <= told + 1000
    assert 3_600_000 <= machine.clock.ahead <= 3_600_020


def test_a_clock_that_has_not_been_told_for_long_is_late_rather_than_early() -> None:
    machine = Machine()
    machine.clock.told(machine.set + machine.up, machine.up, machine.up)
    slow = machine.set + machine.up
    before = machine.clock.now()
    for _ in range(24):
        # A broker whose clock loses 200 parts per million against this machine's.
        machine.up += 3_600_000
        slow += 3_600_000 - 720
        assert before < machine.clock.now() <= slow
        before = machine.clock.now()


def test_the_brokers_time_is_never_taken_to_be_later_than_it_can_be() -> None:
    machine = Machine()
    rng = random.Random(3)
    for _ in range(500):
        asked = machine.up
        there = rng.randrange(200)
        back = rng.randrange(200)
        at = machine.set + asked + there
        machine.up += there + back
        machine.clock.told(at, asked, machine.up)
        true = machine.set + machine.up
        assert machine.clock.now() <= true
        machine.up += rng.randrange(10_000)
    # And with many answers it is known better than by the quickest alone.
    assert true - machine.clock.now() < 15


@pytest.mark.parametrize("step", [-3_600_000, 3_600_000])
def test_a_broker_whose_clock_was_set_is_believed(step: int) -> None:
    machine = Machine()
    machine.clock.told(1_005_000_000, machine.up - 4, machine.up)
    machine.up += 1000
    machine.clock.told(1_005_001_000 + step, machine.up - 4, machine.up)
    assert abs(machine.clock.now() - (1_005_001_000 + step)) < 10


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
