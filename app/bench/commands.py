"""``lifecycle bench``: side-by-side figures, measured here and now."""

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiokafka.errors import KafkaError
from confluent_kafka import KafkaException

from app.bench import place, report
from app.bench.commits import GROUP_KB, LANES, commits
from app.bench.latency import latency
from app.bench.live_feed import CANARIES_A_SECOND
from app.bench.memory import memory
from app.bench.place import PARTITIONS, BenchError
from app.bench.policy_effect import policy_effect
from app.bench.projection import MEMBERS as PROJECTED
from app.bench.projection import projection
from app.bench.recovery import recovery
from app.bench.redis_away import redis_away
from app.bench.rule_load import rule_load
from app.bench.serving import serving
from app.bench.storm import storm
from app.bench.takeover import takeover
from app.bench.throughput import EVENTS, throughput
from app.bench.timers import timers
from app.event_reading import BadLine
from app.options import broker_options, config_options, positive, settings_of
from app.stack import StackError
from app.topology import TopologyError
from app.worker_process import WorkerFailed
from config.errors import ConfigErrors
from config.settings import Settings

if TYPE_CHECKING:
    from app.options import Subparsers

DONE, FAILED, BAD_INPUT = 0, 1, 2
MEMBERS = 1_000_000
_FAILURES = (BenchError, WorkerFailed, StackError, TopologyError, KafkaException, KafkaError)

Measure = Callable[[Settings, argparse.Namespace], dict[str, Any]]


def add_parsers(subparsers: "Subparsers") -> None:
    """Register the commands."""
    bench = subparsers.add_parser(
        "bench",
        help="measure: throughput, latency, recovery, memory, timers, takeover, storm, commits, "
        "rules, policy, projection, serving, redis-away",
        description="Measure on the local stack (started if needed) or on --broker. Figures of "
        "one run may be compared; those of two runs only if the machine was as busy.",
    )
    kinds = bench.add_subparsers(dest="kind", metavar="WHAT", required=True)

    one = _add(
        kinds, "throughput", "events per CPU-second, beside stock Faust and a bare client loop",
        lambda settings, given: throughput(settings, given.events, given.rounds),
    )  # fmt: skip
    one.add_argument("--events", type=_enough, default=EVENTS, metavar="N")
    one.add_argument("--rounds", type=positive, default=3, metavar="R", help="turns per engine")

    one = _add(
        kinds, "latency", "how late deadlines fire, and from a record to its trigger",
        lambda settings, given: latency(settings, given.rate, given.seconds),
    )  # fmt: skip
    one.add_argument("--rate", type=positive, default=500, metavar="N", help="events a second")
    one.add_argument("--seconds", type=positive, default=20, metavar="S", help="at that rate")

    one = _add(
        kinds, "recovery", "from the start of a worker to its lanes being recovered",
        lambda settings, given: recovery(settings, given.members),
    )  # fmt: skip
    _members(one)

    one = _add(
        kinds, "memory", "bytes per member, in the changelog and in a worker",
        lambda settings, given: memory(settings, given.members, given.files),
    )  # fmt: skip
    _members(one)
    one.add_argument(
        "files", nargs="*", type=Path, metavar="FILE", help="event files, beside the sample"
    )

    one = _add(
        kinds, "timers", "how late deadlines fire while many are armed in one lane",
        lambda settings, given: timers(settings, given.members),
    )  # fmt: skip
    _members(one)

    one = _add(
        kinds, "takeover", "from kill -9 of a worker to the next triggers of its lanes",
        lambda settings, given: takeover(settings, given.members, given.workers, given.kills),
    )  # fmt: skip
    _members(one)
    one.add_argument("--workers", type=_several, default=2, metavar="W")
    one.add_argument("--kills", type=positive, default=3, metavar="K", help="one after another")

    one = _add(
        kinds, "storm", "events a second while workers come and go, beside calm",
        lambda settings, given: storm(settings, given.events),
    )  # fmt: skip
    one.add_argument("--events", type=_enough, default=600_000, metavar="N", help="the backlog")

    one = _add(
        kinds, "commits", "what a group's commit costs, beside Kafka transactions",
        lambda settings, given: commits(
            settings, given.kb, given.lanes, given.seconds, given.rounds
        ),
    )  # fmt: skip
    one.add_argument(
        "--kb", type=positive, nargs="+", default=GROUP_KB, metavar="N", help="rows of a group"
    )
    one.add_argument(
        "--lanes", type=_lanes, nargs="+", default=LANES, metavar="L", help="committing at once"
    )
    one.add_argument("--seconds", type=positive, default=4, metavar="S", help="per turn")
    one.add_argument("--rounds", type=positive, default=2, metavar="R", help="turns per way")

    one = _add(
        kinds, "projection", "members a second into Redis: from memory, by a rebuild, by a worker",
        lambda settings, given: projection(settings, given.members, given.rounds),
    )  # fmt: skip
    one.add_argument("--members", type=positive, default=PROJECTED, metavar="N")
    one.add_argument("--rounds", type=positive, default=3, metavar="R", help="turns per way")

    one = _add(
        kinds, "serving", "lookups over HTTP and from Redis, beside the engine at half load",
        lambda settings, given: serving(
            settings, given.members, given.seconds, given.rounds, given.http_rate, given.redis_rate
        ),
    )  # fmt: skip
    one.add_argument("--members", type=positive, default=50_000, metavar="N")
    one.add_argument("--seconds", type=positive, default=10, metavar="S", help="per measurement")
    one.add_argument("--rounds", type=positive, default=3, metavar="R", help="of measurements")
    one.add_argument("--http-rate", type=positive, default=1_000, metavar="N", help="a second")
    one.add_argument("--redis-rate", type=positive, default=10_000, metavar="N", help="a second")

    one = _add(
        kinds, "redis-away", "triggers and documents while Redis is away, and when it is back",
        lambda settings, given: redis_away(
            settings, given.rate, given.away, given.workers, given.few_rules, given.keeps_data
        ),
    )  # fmt: skip
    one.add_argument("--rate", type=_lively, default=1_000, metavar="N", help="events a second")
    one.add_argument("--away", type=positive, default=60, metavar="S", help="seconds")
    one.add_argument("--workers", type=positive, default=1, metavar="W")
    one.add_argument("--few-rules", action="store_true", help="three of them, and no segments")
    one.add_argument("--keeps-data", action="store_true", help="Redis does not come back empty")

    about = "events per CPU-second of the core under few and many rules; needs no broker"
    one = kinds.add_parser("rules", help=about, description=about)
    one.add_argument("--events", type=_enough, default=20_000, metavar="N")
    one.add_argument("--rounds", type=positive, default=3, metavar="R", help="turns each")
    one.add_argument("--json", action="store_true", help="end with one JSON object")
    one.set_defaults(run=_run_core)

    about = "triggers of a log without policy and with it; needs no broker"
    one = kinds.add_parser("policy", parents=[config_options()], help=about, description=about)
    one.add_argument("files", nargs="+", type=Path, metavar="FILE", help="event files")
    one.add_argument("--picture", type=Path, metavar="SVG", help="draw them, a strip for each rule")
    one.add_argument("--json", action="store_true", help="end with one JSON object")
    one.set_defaults(run=_run_policy)


def _add(kinds: "Subparsers", name: str, about: str, measure: Measure) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = kinds.add_parser(
        name, parents=[broker_options()], help=about, description=about
    )
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.set_defaults(run=_run, measure=measure)
    return parser


def _members(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--members", type=positive, default=MEMBERS, metavar="N")


def _several(text: str) -> int:
    """Return a number of workers that leaves somebody when one is killed."""
    number = positive(text)
    if number < 2:
        raise argparse.ArgumentTypeError("at least 2 workers are needed")
    return number


def _lanes(text: str) -> int:
    number = positive(text)
    if number > PARTITIONS:
        raise argparse.ArgumentTypeError(f"there are {PARTITIONS} lanes")
    return number


def _lively(text: str) -> int:
    number = positive(text)
    if number <= CANARIES_A_SECOND:
        raise argparse.ArgumentTypeError(f"{CANARIES_A_SECOND} a second are canaries")
    return number


def _enough(text: str) -> int:
    """Return a number of events that leaves some for every partition of every engine."""
    number = positive(text)
    if number < 1000:
        raise argparse.ArgumentTypeError("at least 1000 events are needed")
    return number


def _run_core(arguments: argparse.Namespace) -> int:
    before = report.machine()
    _tell(rule_load(arguments.events, arguments.rounds), before, arguments)
    return DONE


def _run_policy(arguments: argparse.Namespace) -> int:
    before = report.machine()
    try:
        figures = policy_effect(arguments.files, arguments.config, arguments.picture)
    except (BadLine, OSError, ConfigErrors) as error:
        print(error, file=sys.stderr)
        return BAD_INPUT
    _tell(figures, before, arguments)
    return DONE


def _run(arguments: argparse.Namespace) -> int:
    settings = dataclasses.replace(settings_of(arguments), partitions=PARTITIONS)
    chosen = arguments.broker is not None or "LIFECYCLE_BROKER" in os.environ
    try:
        with place.broker(settings, chosen) as there:
            before = report.machine()
            figures = arguments.measure(there, arguments)
    except (BadLine, OSError) as error:
        print(error, file=sys.stderr)
        return BAD_INPUT
    except _FAILURES as error:
        print(error, file=sys.stderr)
        return FAILED
    _tell(figures, before, arguments)
    return DONE


def _tell(figures: dict[str, Any], before: dict[str, Any], arguments: argparse.Namespace) -> None:
    figures["machine"] = {**before, "load_after": report.machine()["load"]}
    print("\n".join(_lines(figures)))
    if arguments.json:
        print(json.dumps(figures))


def _lines(figures: dict[str, Any], under: str = "") -> Iterable[str]:
    for name, value in figures.items():
        if isinstance(value, dict):
            yield from _lines(value, f"{under}{name}.")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            yield report.table(value)
        else:
            yield f"{under}{name}: {value}"
