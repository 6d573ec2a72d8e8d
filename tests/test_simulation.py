"""The simulated disasters themselves: they happen, are found, are replayed and cut down."""

from collections import Counter
from functools import partial
from random import Random

import pytest
from simulation.__main__ import main
from simulation.books import first_book
from simulation.bugs import BUGS, put_in
from simulation.faults import KINDS, Fault
from simulation.running import run
from simulation.scenario import Kind, Scenario, scenario
from simulation.shrink import fewest, shrink

SEEDS = 150
YEARS = 30
SMALL: tuple[Kind, ...] = ("small", "pressed")
EVENTS = ("late", "disordered", "duplicate", "poison")

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    # Dying processes say so in the log, by the thousand.
    caplog.set_level("CRITICAL")


# Some need two leaders of different minds just when a fetch brings half of what there is.
SEEDS_NEEDED = {"ends-taken-for-one-moment": 600}


def first_failing(bug: str) -> Scenario:
    seeds = SEEDS_NEEDED.get(bug, 200)
    with put_in(bug):
        for seed in range(seeds):
            for kind in SMALL:
                found = scenario(seed, kind)
                if not run(found).verdict.ok:
                    return found
    raise AssertionError(f"{bug} was not found by {seeds} seeds")


def test_no_seed_breaks_a_promise_and_everything_goes_wrong_in_them() -> None:
    happened: Counter[str] = Counter()
    triggers = late_pairs = duplicates = orderly = 0
    for seed in range(SEEDS):
        found = run(scenario(seed))
        assert found.verdict.ok, f"seed {seed}: {found.verdict.broken}"
        happened += found.happened
        triggers += found.verdict.equality.triggers
        late_pairs += found.verdict.equality.late_pairs
        duplicates += found.verdict.equality.duplicates_identical
        orderly += len(found.verdict.equality.orderly)
    assert not {*KINDS, *EVENTS} - happened.keys()
    # The comparisons were not of nothing with nothing.
    assert triggers > 50 * SEEDS
    assert late_pairs > 0
    assert duplicates > SEEDS
    assert orderly > 3 * SEEDS


def test_nor_under_a_policy_that_often_says_no() -> None:
    verdicts: Counter[str] = Counter()
    orderly = 0
    for seed in range(SEEDS // 3):
        found = run(scenario(seed, "pressed"))
        assert found.verdict.ok, f"seed {seed}: {found.verdict.broken}"
        orderly += len(found.verdict.equality.orderly)
        verdicts += found.verdicts
    assert orderly > SEEDS
    assert not {"held", "holdout", "cap", "arbitration", "hold", "raised"} - verdicts.keys()


def test_nor_under_the_whole_shipped_rule_book_in_a_year() -> None:
    raised: Counter[str] = Counter()
    happened: Counter[str] = Counter()
    verdicts: Counter[str] = Counter()
    orderly = 0
    for seed in range(YEARS):
        found = run(scenario(seed, "shipped"))
        assert found.verdict.ok, f"seed {seed}: {found.verdict.broken}"
        raised += found.rules
        happened += found.happened
        verdicts += found.verdicts
        orderly += len(found.verdict.equality.orderly)
    never = first_book("shipped").rules.keys() - raised.keys()
    assert len(never) <= 3, f"never raised: {sorted(never)}"
    assert not {*KINDS, *EVENTS} - happened.keys()
    assert not {"held", "holdout", "cap", "arbitration", "hold", "cool_down"} - verdicts.keys()
    assert orderly > 2 * YEARS


@pytest.mark.parametrize("bug", BUGS)
def test_a_known_bug_put_back_in_is_found_within_its_seeds(bug: str) -> None:
    found = first_failing(bug)
    # It was the bug and nothing else.
    assert run(found).verdict.ok


def test_a_failing_seed_is_replayed_exactly_and_cut_down_to_its_fewest_faults() -> None:
    bug = "contiguity-unchecked"
    whole = first_failing(bug)
    with put_in(bug):
        first, second = run(whole), run(whole)
        assert first.verdict.broken == second.verdict.broken
        assert first.trace == second.trace
        small = shrink(whole)
        assert 0 < len(small.faults) < len(whole.faults)
        assert len(small.events) < len(whole.events)
        assert not run(small).verdict.ok
        for place in range(len(small.faults)):
            fewer = small.faults[:place] + small.faults[place + 1 :]
            assert run(small._replace(events=whole.events, faults=fewer)).verdict.ok
    assert run(small).verdict.ok


def test_another_seed_is_another_run() -> None:
    assert len({run(scenario(seed)).trace for seed in range(5)}) == 5


def test_what_is_needed_is_found_among_what_is_not() -> None:
    rng = Random(1)
    for _ in range(50):
        needed = set(rng.sample(range(40), rng.randrange(0, 6)))
        assert fewest(range(40), partial(set.issubset, needed), None) == sorted(needed)


def test_the_command_tells_the_seed_the_faults_and_how_to_see_it_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--seeds", "3", "--jobs", "1"]) == 0
    assert "all 3 seeds hold" in capsys.readouterr().out
    assert main(["--seeds", "20", "--jobs", "1", "--bug", "no-applied-offset"]) == 1
    said = capsys.readouterr().out
    assert "fails" in said
    assert "--bug no-applied-offset" in said


def test_a_fault_says_what_it_is_in_one_line() -> None:
    crash = Fault("crash", 12, 1, 500, "append", 2)
    assert str(crash) == "     12 ms  crash          target 1, for 500 ms, at append +2"
