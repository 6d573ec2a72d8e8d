"""A consumer group as Apache Kafka's coordinator keeps one (the classic, eager protocol).

The life of a member: ``enter`` for an id, ``join`` and wait for the generation to form, ``sync``
and wait for what the leader assigns, then ``heartbeat`` until told to join again. Whoever is
silent for its session time-out is expelled; whoever does not join again within the rebalance
time-out is left out of the next generation.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from itertools import cycle
from typing import NamedTuple

from simulation.errors import RebalanceUnderWay, StaleGeneration, UnknownMember


class Joined(NamedTuple):
    """The answer to a join: a generation has formed."""

    generation: int
    leader: str
    members: Mapping[str, object]
    """Every member's metadata, for the leader, who assigns; empty for all others."""


class State(Enum):
    """Where a group is between two generations."""

    EMPTY = "empty"
    JOINING = "joining"
    SYNCING = "syncing"
    STABLE = "stable"


@dataclass
class _Member:
    session_ms: int
    rebalance_ms: int
    metadata: object = None
    seen: float = 0.0
    """When it was last heard of, in the loop's seconds."""
    joining: asyncio.Future[Joined] | None = None
    syncing: asyncio.Future[object] | None = None
    timer: asyncio.TimerHandle | None = None


@dataclass
class Group:
    """A group of consumers, and how far it has got in each partition."""

    name: str
    generation: int = 0
    state: State = State.EMPTY
    leader: str = ""
    committed: dict[tuple[str, int], int] = field(default_factory=dict)
    """By topic and partition, the offset to go on at."""
    commits: int = 0
    """How many commits were taken."""
    expelled: list[str] = field(default_factory=list)
    """Who was silent for too long, or did not join again in time."""

    def __post_init__(self) -> None:
        self._members: dict[str, _Member] = {}
        self._entered: dict[str, asyncio.TimerHandle] = {}
        self._assigned: Mapping[str, object] = {}
        self._numbers = 0
        self._deadline: asyncio.TimerHandle | None = None

    @property
    def members(self) -> tuple[str, ...]:
        """Return the ids of all members, the oldest first."""
        return tuple(self._members)

    def enter(self, client: str, session_ms: int) -> str:
        """Return a new member id, to join with; it is forgotten after a session time-out.

        A generation that is forming waits for it to join.
        """
        self._numbers += 1
        member = f"{client}-{self._numbers}"
        loop = asyncio.get_running_loop()
        self._entered[member] = loop.call_later(session_ms / 1000, self._not_come, member)
        return member

    def join(
        self, member: str, metadata: object, session_ms: int, rebalance_ms: int
    ) -> asyncio.Future[Joined]:
        """Ask to be in the next generation; the answer comes once all members have joined.

        A member that asks again with the metadata it had, while its generation is stable and
        another one leads, is told that generation again and disturbs nobody. Asking again while
        waiting leaves the earlier question unanswered for ever. Raises ``UnknownMember``.
        """
        known = self._members.get(member)
        if known is None:
            timer = self._entered.pop(member, None)
            if timer is None:
                raise UnknownMember(member)
            timer.cancel()
            self._members[member] = known = _Member(session_ms, rebalance_ms)
            self._watch(member, known)
            new = True
        else:
            new = False
        self._touch(known)
        answer: asyncio.Future[Joined] = asyncio.get_running_loop().create_future()
        unchanged = not new and known.metadata == metadata
        known.metadata = metadata
        known.rebalance_ms = rebalance_ms
        if (
            unchanged
            and self.state in (State.STABLE, State.SYNCING)
            and not (self.state is State.STABLE and member == self.leader)
        ):
            answer.set_result(self._answer(member))
            return answer
        known.joining = answer
        if self.state is not State.JOINING:
            self._rebalance()
        self._try_to_complete()
        return answer

    def sync(
        self, member: str, generation: int, assignment: Mapping[str, object] | None = None
    ) -> asyncio.Future[object]:
        """Ask for what is assigned to a member; the leader says what everybody gets.

        The answer comes once the leader has said so, and is ``RebalanceUnderWay`` if another
        rebalance comes first. A member that the leader leaves out is answered None. Raises
        ``UnknownMember``, ``StaleGeneration`` and ``RebalanceUnderWay``.
        """
        known = self._check(member, generation)
        if self.state is State.JOINING:
            raise RebalanceUnderWay(member)
        self._touch(known)
        answer: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        if self.state is State.STABLE:
            answer.set_result(self._assigned.get(member))
            return answer
        known.syncing = answer
        if member == self.leader:
            self._assigned = dict(assignment or {})
            self.state = State.STABLE
            for name, other in self._members.items():
                waiting, other.syncing = other.syncing, None
                if waiting is not None and not waiting.done():
                    self._touch(other)
                    waiting.set_result(self._assigned.get(name))
        return answer

    def heartbeat(self, member: str, generation: int) -> None:
        """Note that a member is alive.

        Raises ``RebalanceUnderWay`` (it is alive all the same), ``UnknownMember`` and
        ``StaleGeneration``.
        """
        self._touch(self._check(member, generation))
        if self.state is State.JOINING:
            raise RebalanceUnderWay(member)

    def commit(self, member: str, generation: int, offsets: Mapping[tuple[str, int], int]) -> None:
        """Remember where to go on; still possible while a rebalance waits for members to join.

        Raises ``UnknownMember``, ``StaleGeneration``, and ``RebalanceUnderWay`` between the
        forming of a generation and its assignment.
        """
        known = self._check(member, generation)
        if self.state is State.SYNCING:
            raise RebalanceUnderWay(member)
        self._touch(known)
        self.committed.update(offsets)
        self.commits += 1

    def leave(self, member: str) -> None:
        """Leave at once, without waiting for a time-out; raises ``UnknownMember``."""
        timer = self._entered.pop(member, None)
        if timer is not None:
            timer.cancel()
            self._try_to_complete()
            return
        if member not in self._members:
            raise UnknownMember(member)
        self._remove(member)

    def forget_topic(self, topic: str) -> None:
        """Forget what was committed for a topic: it has been deleted."""
        self.committed = {at: n for at, n in self.committed.items() if at[0] != topic}

    # -- who is alive

    def _check(self, member: str, generation: int) -> _Member:
        known = self._members.get(member)
        if known is None:
            raise UnknownMember(member)
        if generation != self.generation:
            raise StaleGeneration(f"{member} is in {generation}, the group in {self.generation}")
        return known

    def _touch(self, member: _Member) -> None:
        member.seen = asyncio.get_running_loop().time()

    def _watch(self, name: str, member: _Member) -> None:
        at = member.seen + member.session_ms / 1000
        loop = asyncio.get_running_loop()
        member.timer = loop.call_at(max(at, loop.time()), self._look, name, member)

    def _look(self, name: str, member: _Member) -> None:
        if member.joining is not None or member.syncing is not None:
            # Whoever is kept waiting by the group is alive.
            self._touch(member)
        if asyncio.get_running_loop().time() < member.seen + member.session_ms / 1000:
            self._watch(name, member)
            return
        self.expelled.append(name)
        self._remove(name)

    def _not_come(self, member: str) -> None:
        del self._entered[member]
        self._try_to_complete()

    def _remove(self, name: str) -> None:
        member = self._members.pop(name)
        if member.timer is not None:
            member.timer.cancel()
        if name == self.leader:
            self.leader = next(iter(self._members), "")
        if self.state is State.JOINING:
            self._try_to_complete()
        else:
            self._rebalance()
            self._try_to_complete()

    # -- how a generation forms

    def _rebalance(self) -> None:
        self.state = State.JOINING
        for name, member in self._members.items():
            waiting, member.syncing = member.syncing, None
            if waiting is not None and not waiting.done():
                self._touch(member)
                waiting.set_exception(RebalanceUnderWay(name))
                # Whoever asked may be dead, and nobody is to complain that it does not look.
                waiting.exception()
        longest = max((m.rebalance_ms for m in self._members.values()), default=0)
        self._deadline = asyncio.get_running_loop().call_later(longest / 1000, self._complete)

    def _try_to_complete(self) -> None:
        if (
            self.state is State.JOINING
            and not self._entered
            and all(member.joining is not None for member in self._members.values())
        ):
            self._complete()

    def _complete(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        for name in [n for n, m in self._members.items() if m.joining is None]:
            member = self._members.pop(name)
            if member.timer is not None:
                member.timer.cancel()
            self.expelled.append(name)
        self.generation += 1
        self._assigned = {}
        if not self._members:
            self.state = State.EMPTY
            self.leader = ""
            return
        self.state = State.SYNCING
        if self.leader not in self._members:
            self.leader = next(iter(self._members))
        for name, member in self._members.items():
            waiting, member.joining = member.joining, None
            self._touch(member)
            if waiting is not None and not waiting.done():
                waiting.set_result(self._answer(name))

    def _answer(self, member: str) -> Joined:
        members = {n: m.metadata for n, m in self._members.items()} if member == self.leader else {}
        return Joined(self.generation, self.leader, members)


def assign(lanes: int, held: Mapping[str, frozenset[int]]) -> dict[str, frozenset[int]]:
    """Assign whole lanes (one partition number of every topic) as Faust's assignor does.

    ``held`` says which lanes each member had last. Members keep what they have as far as it is
    their share; what is left over goes to those who have least, in turn.
    """
    least, most = lanes // len(held), -(-lanes // len(held))
    share = least if lanes >= len(held) else most
    given: dict[str, set[int]] = {}
    for member, had in held.items():
        given[member] = set(had)
        while len(given[member]) > share:
            given[member].pop()
    for lane in range(lanes):
        # A zombie and its successor claim the same lane: the last to be asked keeps it.
        for member in [member for member in given if lane in given[member]][:-1]:
            given[member].remove(lane)
    free = set(range(lanes)).difference(*given.values())
    turns = cycle(sorted(given, key=lambda member: len(given[member])))
    for lane in sorted(free):
        given[next(member for member in turns if len(given[member]) < most)].add(lane)
    return {member: frozenset(lanes_) for member, lanes_ in given.items()}
