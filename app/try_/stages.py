"""Lifecycle stages of everybody, today and week by week, by the engine's own replay."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import msgspec

from models.decoding import Received
from models.policy import Policy
from models.replay import Replay
from models.rulebook import RuleBook
from models.rules import Limits
from models.stages import LEAD, STAGES, StageTable
from models.times import DAY, parse_instant
from models.triggers import DecisionMessage, Transition

WEEK = 7 * DAY
# How far back the matrix looks: who was what then, and is what now.
BACK = 12 * WEEK
_TOLD_EVERY = 10_000

Course = list[tuple[int, str]]
"""When a member came into which stage, oldest first; epoch milliseconds."""


class StageHistory(msgspec.Struct):
    """Everybody's course through the stages until ``end``.

    ``weeks`` are the ends of the weeks, the last one ``end``; ``counts`` how many members were in
    each stage then. ``moves`` counts members by the stage that they were in at ``since`` and the
    one they are in now; who was not known yet is left out.
    """

    end: int
    courses: dict[str, Course]
    weeks: list[int]
    counts: list[Counter[str]]
    since: int
    moves: Counter[tuple[str, str]]

    @property
    def now(self) -> dict[str, str]:
        """Return everybody's stage at the end."""
        return {member: course[-1][1] for member, course in self.courses.items()}


def replayed(
    events: Sequence[Received],
    table: StageTable,
    limits: Limits,
    end: int,
    progress: Callable[[int], None],
) -> StageHistory:
    """Return how the stage table moved the members; no rule and no policy takes part."""
    run = Replay(RuleBook((), table, Policy(), limits))
    courses: dict[str, Course] = {}
    for count, event in enumerate(events, start=1):
        if event.event.member_id is not None:
            courses.setdefault(event.event.member_id, [(event.at, STAGES[LEAD])])
        _note(courses, run.fold(event).decisions)
        if count % _TOLD_EVERY == 0:
            progress(count)
    for outcome in run.finish(end):
        _note(courses, outcome.decisions)
    begin = events[0].at
    weeks = list(reversed(range(end, begin - 1, -WEEK)))
    since = max(begin, end - BACK)
    return StageHistory(
        end, courses, weeks, _counted(courses.values(), weeks), since, _moves(courses, since)
    )


def stage_at(course: Course, at: int) -> str | None:
    """Return the stage at an instant; None before the member was known."""
    return next((stage for since, stage in reversed(course) if since <= at), None)


def _note(courses: dict[str, Course], said: Iterable[DecisionMessage]) -> None:
    for one in said:
        if isinstance(one, Transition) and one.kind == "stage" and one.member_id is not None:
            moment, course = parse_instant(one.at), courses[one.member_id]
            if course[-1][0] == moment:  # in that stage for no time at all
                course.pop()
            course.append((moment, one.after))


def _counted(courses: Iterable[Course], weeks: list[int]) -> list[Counter[str]]:
    counts: list[Counter[str]] = [Counter() for _ in weeks]
    for course in courses:
        at = 0
        for week, counter in zip(weeks, counts, strict=True):
            while at < len(course) and course[at][0] <= week:
                at += 1
            if at:
                counter[course[at - 1][1]] += 1
    return counts


def _moves(courses: dict[str, Course], since: int) -> Counter[tuple[str, str]]:
    moves: Counter[tuple[str, str]] = Counter()
    for course in courses.values():
        before = stage_at(course, since)
        if before is not None:
            moves[before, course[-1][1]] += 1
    return moves


def in_order(stages: Iterable[str]) -> list[str]:
    """Return stages in the order of the lifecycle, each once."""
    found = set(stages)
    return [stage for stage in STAGES if stage in found]
