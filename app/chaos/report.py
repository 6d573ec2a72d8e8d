"""What a run came to: as a table, as lines, and as one JSON object."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from app.chaos.equality import Finding
from app.chaos.run import Result

EXAMPLES = 10


def summary(result: Result) -> dict[str, Any]:
    """Return the JSON object; its names do not change.

    ``duplicates`` counts messages said again; ``duplicates_identical`` tells whether every one of
    them was so to the byte. ``recovery_seconds`` holds p50 and max over all faults and ``by_kind``.
    """
    found, orders = result.verdict, result.orders
    same = found.equality
    recoveries = _recoveries(result)
    return {
        "seed": orders.seed,
        "workers": orders.workers,
        "brokers": orders.brokers,
        "clean": result.clean,
        "faults": dict(sorted(Counter(one.fault.kind for one in result.struck).items())),
        "unavailable": result.unavailable,
        "events": found.events,
        "members": found.members,
        "triggers": same.triggers,
        "triggers_by_rule": dict(sorted(found.by_rule.items())),
        "cancelled": same.cancelled,
        "missing": len(same.missing),
        "spurious": len(same.spurious),
        "wrong": len(same.wrong),
        "duplicates": same.duplicates,
        "duplicates_identical": same.duplicates == same.duplicates_identical,
        "late_pairs": same.late_pairs,
        "expired": same.expired,
        "members_in_order": len(same.orderly),
        "unclaimed": same.unclaimed,
        "poison": found.poison,
        "dead_letters_wrong": len(found.letters),
        "envelopes_wrong": len(found.envelopes),
        "documents_wrong": len(found.documents),
        "recovery_seconds": {
            **_figures([one for values in recoveries.values() for one in values]),
            "by_kind": {kind: _figures(values) for kind, values in sorted(recoveries.items())},
        },
        "storm_progress": (
            None if result.storm_progress is None else round(result.storm_progress, 3)
        ),
        "exits": dict(sorted(Counter(map(str, result.exits)).items())),
        "stop_seconds": [round(seconds, 2) for seconds, _ in result.stops],
        "problems": result.problems,
        "seconds": round(result.seconds, 1),
    }


def as_json(result: Result) -> str:
    """Return the JSON object in one line."""
    return json.dumps(summary(result))


def show(result: Result, console: Console) -> None:
    """Print the table of faults and the verdict."""
    table = Table("fault", "times", "recovery p50", "max", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    struck = Counter(one.fault.kind for one in result.struck)
    recoveries = _recoveries(result)
    for kind, times in sorted(struck.items()):
        values = recoveries.get(kind, [])
        figures = (f"{median(values):.1f} s", f"{max(values):.1f} s") if values else ("", "never")
        table.add_row(kind, str(times), *figures)
    for kind, reason in result.unavailable.items():
        table.add_row(kind, "0", "", f"left out: {reason}")
    console.print(table)
    console.print()
    for line in _lines(result):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _lines(result: Result) -> Iterator[str]:
    found, same, orders = result.verdict, result.verdict.equality, result.orders
    yield (
        f"{found.events:,} events of {found.members:,} members, {same.triggers:,} triggers, "
        f"{same.cancelled:,} taken back; {found.poison:,} poisoned records"
    )
    yield f"{len(same.missing):7,}  missing"
    yield f"{len(same.spurious):7,}  spurious"
    yield f"{len(same.wrong):7,}  wrong"
    identical = "all identical" if same.duplicates == same.duplicates_identical else "NOT IDENTICAL"
    yield f"{same.duplicates:7,}  repeated" + (f", {identical}" if same.duplicates else "")
    yield f"{len(found.letters):7,}  dead letters missing or of good records"
    yield f"{len(found.envelopes):7,}  triggers in the wrong place, or raised too early"
    yield f"{len(found.documents):7,}  documents in Redis wrong"
    yield (
        f"{len(same.orderly):,} members had all their records come in order and are compared "
        "field by field; of the others what stands in the end, where that is claimed "
        f"({same.unclaimed:,} differences are not; {same.late_pairs:,} triggers were too early "
        "and taken back)"
    )
    if result.storm_progress is not None:
        yield f"progress during a rebalance storm: {result.storm_progress:.0%} of what was sent"
    if result.exits:
        yield f"{len(result.exits)} workers stopped themselves rather than go on (exit 70)"
    if result.stops:
        seconds = ", ".join(f"{seconds:.1f}" for seconds, _ in result.stops)
        yield f"stopped in {seconds} s"
    for title, findings in (
        ("missing", same.missing),
        ("spurious", same.spurious),
        ("wrong", same.wrong),
        ("dead letter", found.letters),
        ("envelope", found.envelopes),
        ("document", found.documents),
    ):
        yield from _examples(title, findings)
    for problem in result.problems:
        yield f"PROBLEM {problem}"
    word = "clean" if result.clean else "NOT CLEAN"
    yield f"{word}: {len(result.struck)} faults, seed {orders.seed}, {result.seconds:.0f} s"


def _examples(title: str, findings: Sequence[Finding]) -> Iterator[str]:
    for one in findings[:EXAMPLES]:
        named = " ".join(part for part in (one.member, one.rule, one.trigger_id) if part)
        yield f"{title}: {named}{': ' if named else ''}{one.note}"
    if len(findings) > EXAMPLES:
        yield f"{title}: and {len(findings) - EXAMPLES} more"


def _recoveries(result: Result) -> dict[str, list[float]]:
    found: dict[str, list[float]] = defaultdict(list)
    for one in result.struck:
        if one.recovery is not None:
            found[one.fault.kind].append(one.recovery)
    return found


def _figures(values: Iterable[float]) -> dict[str, float | None]:
    ordered = sorted(values)
    if not ordered:
        return {"p50": None, "max": None}
    return {"p50": round(median(ordered), 2), "max": round(ordered[-1], 2)}
