"""What must hold after every run, whatever went wrong in it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import msgspec

from agents.partitioner import murmur2_partition
from agents.ports import Fenced, LoggedRow
from agents.recovery import Recovery
from app.chaos.equality import Equality, Expected, expect, judge
from models import engine
from models.member import Member, book_of
from models.rulebook import RuleBook
from models.triggers import DeadLetter
from simulation.process import Process, ProduceFailed
from simulation.process_ports import CHANGELOG, UPDATES
from simulation.world import World

_letters = msgspec.json.Decoder(DeadLetter)


@dataclass
class Verdict:
    """Everything that does not hold, in one line each."""

    broken: list[str] = field(default_factory=list)
    equality: Equality = field(default_factory=Equality)

    @property
    def ok(self) -> bool:
        """Return whether all is as it must be."""
        return not self.broken


def judge_run(world: World) -> Verdict:
    """Return what does not hold at the end of a run."""
    partition_of = partial(murmur2_partition, partitions=world.lanes)
    expected = expect(world.source, world.eras, partition_of)
    verdict = Verdict(list(world.broken))
    verdict.equality = judge(
        [record.value or b"" for record in world.broker.all_records("triggers")],
        [record.value or b"" for record in world.broker.all_records("decisions")],
        expected,
        world.eras,
    )
    for kind in ("missing", "spurious", "wrong"):
        verdict.broken += [f"{kind}: {found}" for found in getattr(verdict.equality, kind)[:3]]
    owners = world.owners()
    if len(owners) < world.lanes:
        verdict.broken.append(f"only the lanes {sorted(owners)} are worked on")
        return verdict
    verdict.broken += _failures(world)
    verdict.broken += _states(world, owners, expected, verdict.equality)
    verdict.broken += _deadlines(owners)
    verdict.broken += _dead_letters(world, expected)
    verdict.broken += _changelog(world, owners)
    verdict.broken += _updates(world, owners)
    verdict.broken += _counters(world, expected, verdict.equality)
    return verdict


def _failures(world: World) -> Iterator[str]:
    for process in world.processes:
        expected = process.failure is None or isinstance(process.failure, Fenced | ProduceFailed)
        if not expected and not world.happened["topic anew"]:
            yield f"p{process.number} stopped itself: {process.failure!r}"


def _states(
    world: World, owners: dict[int, Process], expected: Expected, equality: Equality
) -> Iterator[str]:
    rows = {
        key: (process, body)
        for number, process in owners.items()
        for key, body in process.table.rows(number).items()
    }
    if rows.keys() != expected.members.keys():
        yield f"rows of {sorted(rows)}, expected {sorted(expected.members)}"
        return
    for key, (process, body) in rows.items():
        mine, right = process.fold.load(key, body), expected.members[key]
        everything = key[1:].decode() in equality.orderly - equality.aged
        a, b = _known(mine, world.book, everything), _known(right, world.book, everything)
        for name, value in a.items():
            if value != b[name]:
                yield f"{name} of {key!r}: {value!r}, expected {b[name]!r}"


ORDERLESS = ("counts", "order_count", "spend", "first_seen", "registered_at", "last_activity",
             "newest", "orders", "ring")  # fmt: skip
"""What no order of arrival changes, as long as nothing came later than allowed."""


def _known(member: Member, book: RuleBook, everything: bool) -> dict[str, object]:
    engine.settle(member, book)
    fields = {name: getattr(member, name) for name in Member.__struct_fields__}
    # A clock says for how long a trace is kept; without one it is for ever.
    fields["erased_until"] = member.erased_until > 0
    if everything:
        return fields
    return {name: fields[name] for name in ("id", *ORDERLESS)}


def _dead_letters(world: World, expected: Expected) -> Iterator[str]:
    found: dict[tuple[str, int, int], set[bytes]] = {}
    for record in world.broker.all_records("dead-letters"):
        raw = record.value or b""
        letter = _letters.decode(raw)
        found.setdefault((letter.topic, letter.partition, letter.offset), set()).add(raw)
    if found.keys() != expected.letters:
        yield f"dead letters of {sorted(found)}, expected {sorted(expected.letters)}"
    for origin, said in found.items():
        if len(said) > 1:
            yield f"the dead letter of {origin} was said in {len(said)} ways"


def _deadlines(owners: dict[int, Process]) -> Iterator[str]:
    for number, process in owners.items():
        index = process.lanes.running[number]._folding.index  # type: ignore[attr-defined]
        dues = sorted(
            due
            for body in process.table.rows(number).values()
            if (due := process.fold.due(body)) is not None
        )
        floor = index.floor()
        if dues and (floor is None or floor > dues[0]):
            yield f"lane {number} looks at {floor}, but a deadline is at {dues[0]}"
        if len(index) < len(dues):
            yield f"lane {number} knows {len(index)} deadlines of {len(dues)}"


def _changelog(world: World, owners: dict[int, Process]) -> Iterator[str]:
    for number, process in owners.items():
        rows = process.table.rows(number)
        for compacted in (False, True):
            if compacted:
                world.broker.compact(CHANGELOG, number)
            read: dict[bytes, bytes] = {}
            recovery = Recovery(read)
            recovery.take(
                [
                    LoggedRow(record.offset, record.key or b"", record.value)
                    for record in world.broker.all_records(CHANGELOG)
                    if record.partition == number
                ]
            )
            if read != rows:
                differ = [k for k in read.keys() | rows.keys() if read.get(k) != rows.get(k)]
                after = "after compaction" if compacted else "as it was written"
                yield f"the changelog of lane {number} says otherwise {after}: {sorted(differ)}"


def _updates(world: World, owners: dict[int, Process]) -> Iterator[str]:
    if world.serving is not None:
        kept, wanted = world.serving.documents, world.serving.expected()
        if kept != wanted:
            differ = [k for k in kept.keys() | wanted.keys() if kept.get(k) != wanted.get(k)]
            yield f"the serving store differs from member-updates: {sorted(differ)}"
    last = {record.key: record.value for record in world.broker.all_records(UPDATES)}
    # What nothing has happened to since the rules changed is as the last rules had it.
    folds = {process.book.digest: process.fold for process in world.processes}
    for number, process in owners.items():
        for key, body in process.table.rows(number).items():
            [update] = folds[book_of(body)].project(key, body)
            if last.get(update.key) != update.value:
                yield f"the last update of {key!r} is not what its row says"


def _counters(world: World, expected: Expected, equality: Equality) -> Iterator[str]:
    records = skipped = refused = 0
    for process in world.processes:
        taken = 0
        for lane in process.lanes_ever:
            stats = lane.stats
            taken += stats.records
            skipped += stats.skipped
            refused += stats.refused
            if stats.crashed or stats.stumbled:
                yield f"the fold raised in lane {lane.number}"
        records += taken
        if taken > process.fed:
            yield f"p{process.number} took {taken} records of {process.fed}"
    events = sum(map(len, expected.received.values()))
    if refused < expected.refused:
        yield f"{refused} records were refused, expected {expected.refused}"
    if records - skipped - refused < events:
        yield f"{records} records less {skipped} skipped, {refused} refused are not {events} events"
    if not world.happened.total() and records != events + expected.refused:
        yield f"{records} records were taken, and nothing went wrong: {events} + {expected.refused}"
    said = sum(sum(process.stats.triggers.values()) for process in world.processes)
    if said < equality.triggers:
        yield f"{equality.triggers} triggers were sent, and {said} counted"


def describe(verdict: Verdict) -> str:
    """Return what does not hold, for people."""
    return "\n".join(f"  {line[:600]}" for line in verdict.broken)
