"""``python -m simulation``: many seeds, and the smallest disaster that breaks a promise."""

import argparse
import logging
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import islice
from typing import NamedTuple

from simulation.bugs import BUGS, put_in
from simulation.judge import describe
from simulation.running import run
from simulation.scenario import KINDS, Kind, scenario
from simulation.shrink import shrink

SEEDS_AT_ONCE = 20


class Done(NamedTuple):
    """What came of some seeds."""

    seeds: int
    happened: Counter[str]
    failed: int | None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line says; return 1 when a seed failed."""
    options = _parser().parse_args(arguments)
    # Dying processes say so in the log, by the thousand.
    logging.disable(logging.CRITICAL)
    seeds = (
        [options.seed]
        if options.seed is not None
        else range(options.first, options.first + options.seeds)
    )
    began = time.monotonic()
    happened: Counter[str] = Counter()
    done = 0
    for part in _parts(list(seeds), options):
        happened += part.happened
        done += part.seeds
        if part.failed is not None:
            print()
            _report(part.failed, options)
            return 1
        print(f"\r{done} seeds, {time.monotonic() - began:.0f} s", end="", flush=True)
    print(f"\nall {done} seeds hold; what went wrong in them:")
    for kind, count in sorted(happened.items()):
        print(f"  {kind:14} {count:8}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--seed", type=int, help="only this one")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--bug", choices=BUGS, help="put a known bug back in")
    parser.add_argument("--book", choices=KINDS, default="small", help="the rules of the runs")
    return parser


def _parts(seeds: list[int], options: argparse.Namespace) -> Iterator[Done]:
    jobs, words = options.jobs, (options.bug, options.book)
    parts = (seeds[at : at + SEEDS_AT_ONCE] for at in range(0, len(seeds), SEEDS_AT_ONCE))
    if jobs == 1 or len(seeds) == 1:
        for part in parts:
            yield run_seeds(part, *words)
        return
    with ProcessPoolExecutor(jobs) as pool:
        waiting: set[Future[Done]] = set()
        while True:
            waiting |= {
                pool.submit(run_seeds, part, *words)
                for part in islice(parts, 2 * jobs - len(waiting))
            }
            if not waiting:
                return
            ready, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in ready:
                yield future.result()


def run_seeds(seeds: Sequence[int], bug: str | None, kind: Kind) -> Done:
    """Run seeds until one fails."""
    logging.disable(logging.CRITICAL)
    happened: Counter[str] = Counter()
    with put_in(bug):
        for number, seed in enumerate(seeds, 1):
            found = run(scenario(seed, kind))
            happened += found.happened
            if not found.verdict.ok:
                return Done(number, happened, seed)
    return Done(len(seeds), happened, None)


def _report(seed: int, options: argparse.Namespace) -> None:
    with put_in(options.bug):
        whole = scenario(seed, options.book)
        print(f"seed {seed} fails:")
        print(describe(run(whole).verdict))
        small = shrink(whole)
        print(
            f"with {len(small.faults)} of its {len(whole.faults)} faults and {len(small.events)} "
            f"of its {len(whole.events)} events it still does:"
        )
        for fault in small.faults:
            print(f"  {fault}")
        for event in small.events:
            print(f"  {event.at:7} ms  {event.topic:10} {event.key} {event.kind} {event.body}")
        print(describe(run(small).verdict))
    also = f" --bug {options.bug}" if options.bug else ""
    also += f" --book {options.book}" if options.book != "small" else ""
    print(f"to see it again: PYTHONPATH=tests/support python -m simulation --seed {seed}{also}")


if __name__ == "__main__":
    sys.exit(main())
