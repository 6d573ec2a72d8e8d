"""Running a scenario to its verdict."""

import json
from collections import Counter
from dataclasses import dataclass

from simulation import loop
from simulation.books import first_book, next_book
from simulation.judge import Verdict, judge_run
from simulation.scenario import Scenario
from simulation.world import Stuck, World


@dataclass
class Run:
    """What came of a scenario."""

    verdict: Verdict
    happened: Counter[str]
    """Faults that struck, and events out of the ordinary, by kind."""
    trace: int
    """A number that differs when anything was appended at another time or with other contents."""
    verdicts: Counter[str]
    """What was decided about candidates."""
    rules: Counter[str]
    """How often each rule was raised."""


def run(scenario: Scenario) -> Run:
    """Run a scenario from its beginning to its verdict."""
    world: World | None = None

    async def main() -> Verdict:
        nonlocal world
        world = World(scenario, first_book(scenario.kind), next_book(scenario.kind))
        try:
            await world.run()
        except Stuck as stuck:
            return Verdict([f"for half an hour it did not happen: {stuck}"])
        return judge_run(world)

    try:
        verdict = loop.run(main())
    except loop.NothingLeft:
        verdict = Verdict(["everybody waits for somebody else"])
    assert world is not None
    trace = 0
    for batch in world.broker.batches:
        trace = hash((trace, batch.at, batch.offset, batch.partition, len(batch.records)))
    decided = [json.loads(one.value or b"{}") for one in world.broker.all_records("decisions")]
    decided = [one for one in decided if "verdict" in one]
    verdicts = Counter(one["verdict"] for one in decided)
    rules = Counter(one["rule"] for one in decided if one["verdict"] in ("raised", "shadow"))
    return Run(verdict, world.happened, trace, verdicts, rules)
