"""What the rules would have raised: the engine's own replay, before and after policy.

Every member stands alone, so that the members are shared out over processes.
"""

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import TypeAlias

import msgspec

from config.paths import load_config
from models.decoding import Received
from models.known_models import Ready
from models.model import Model
from models.outcome import Outcome
from models.replay import Replay
from models.rulebook import RuleBook
from models.rules import Limits
from models.times import DAY, parse_instant
from models.triggers import Decision, TriggerCancelled, Verdict

# Below this a second process costs more than it brings.
_ALONE_BELOW = 2_000
_SHARES = 12
# The rule's condition held, and now the policy was asked. What is held is asked again later.
_STOPPED: tuple[Verdict, ...] = (
    "consent",
    "mute",
    "stop",
    "unreachable",
    "hold",
    "silence",
    "holdout",
    "cool_down",
    "cap",
    "arbitration",
    "quiet",
    "overtaken",
    "expired",
    "shadow",
)
RAISED = "raised"

# Verdicts by rule and week, and cancellations by rule.
_Tally: TypeAlias = tuple[Counter[tuple[str, int, str]], Counter[str]]


class WouldBe(msgspec.Struct):
    """Candidates by rule, week (counted back from the end: 0 is the last) and final verdict.

    ``cancelled``: triggers that the member overtook later. ``members`` of ``of`` were replayed.
    """

    verdicts: Counter[tuple[str, int, str]]
    cancelled: Counter[str]
    rules: list[str]
    members: int
    of: int

    def of_rule(self, rule: str) -> Counter[str]:
        """Return how often each verdict was given about a rule's candidates."""
        found: Counter[str] = Counter()
        for (name, _, verdict), count in self.verdicts.items():
            if name == rule:
                found[verdict] += count
        return found

    def by_week(self, rule: str | None) -> dict[int, tuple[int, int]]:
        """Return candidates and raised ones by week, of one rule or of all."""
        found: dict[int, tuple[int, int]] = {}
        for (name, week, verdict), count in self.verdicts.items():
            if rule is None or name == rule:
                whole, part = found.get(week, (0, 0))
                found[week] = whole + count, part + (count if verdict == RAISED else 0)
        return found

    @property
    def silent(self) -> list[str]:
        """Return the rules that found nothing to say."""
        spoke = {rule for rule, _, _ in self.verdicts}
        return [rule for rule in self.rules if rule not in spoke]


class DailyModels:
    """The model of each day, as workers in stream time have it (``models.predicting.Models``)."""

    def __init__(self, models: Mapping[int, Model], margin: float) -> None:
        self._models = models
        self._margin = margin
        self._ready: dict[int, Ready] = {}
        self._last = max(models)

    def at(self, day: int) -> Ready | None:
        """Return the model of a day; the newest of a day that is still to come."""
        return self.of(min(day, self._last))

    def of(self, version: int) -> Ready | None:
        """Return the model of a version."""
        ready = self._ready.get(version)
        if ready is None and version in self._models:
            ready = Ready(self._models[version], self._margin)
            self._ready[version] = ready
        return ready


class Setting(msgspec.Struct):
    """What every share is replayed with; ``models`` are by the epoch day of which they are."""

    config: Path | None
    limits: Limits
    models: dict[int, Model]
    end: int


def would_be(
    events: Sequence[Received],
    members: Collection[str],
    setting: Setting,
    progress: Callable[[int, int], None],
) -> WouldBe:
    """Replay the rules for members; ``progress`` gets the shares done and their number.

    Raises ``ConfigErrors``.
    """
    rules = [rule.name for rule in load_config(setting.config).rules if rule.mode != "off"]
    known = len({event.event.member_id for event in events})
    found = WouldBe(Counter(), Counter(), rules, len(members), known)
    shares = _shares(events, members)
    progress(0, len(shares))
    for done, (verdicts, cancelled) in enumerate(_tallies(shares, setting), start=1):
        found.verdicts.update(verdicts)
        found.cancelled.update(cancelled)
        progress(done, len(shares))
    return found


def _tallies(shares: list[list[Received]], setting: Setting) -> Iterator[_Tally]:
    processes = min(os.cpu_count() or 1, len(shares))
    if processes == 1 or sum(map(len, shares)) < _ALONE_BELOW:
        replayer = Replayer(setting)
        for share in shares:
            yield replayer.replay(share)
        return
    with ProcessPoolExecutor(processes, get_context("spawn"), _prepare, (setting,)) as pool:
        tasks = [pool.submit(_replay, share) for share in shares]
        for task in as_completed(tasks):
            yield task.result()


class Replayer:
    """Replays shares of the members, each on its own, by rules and models that are ready."""

    def __init__(self, setting: Setting) -> None:
        loaded = load_config(setting.config)
        rest = loaded.audiences, loaded.predictions
        self._book = RuleBook(loaded.rules, loaded.stages, loaded.policy, setting.limits, *rest)
        self._models: DailyModels | None = None
        if loaded.predictions is not None and setting.models:
            self._models = DailyModels(setting.models, loaded.predictions.margin)
        self._end = setting.end

    def replay(self, events: list[Received]) -> _Tally:
        """Return verdicts by rule and week, and cancellations by rule, of some members."""
        tally: _Tally = (Counter(), Counter())
        run = Replay(self._book, self._models)
        for event in events:
            _count(run.fold(event), self._end, tally)
        for outcome in run.finish(self._end):
            _count(outcome, self._end, tally)
        return tally


# Of a process of the pool: models take longer to make ready than a share to replay.
_ready: Replayer | None = None


def _prepare(setting: Setting) -> None:
    global _ready
    _ready = Replayer(setting)


def _replay(events: list[Received]) -> _Tally:
    assert _ready is not None
    return _ready.replay(events)


def _count(outcome: Outcome, end: int, tally: _Tally) -> None:
    verdicts, cancelled = tally
    for said in outcome.decisions:
        if isinstance(said, Decision) and (said.verdict == RAISED or said.verdict in _STOPPED):
            week = (end - parse_instant(said.due_at)) // (7 * DAY)
            verdicts[said.rule, week, said.verdict] += 1
    for message in outcome.triggers:
        if isinstance(message, TriggerCancelled):
            cancelled[message.rule] += 1


def _shares(events: Sequence[Received], members: Collection[str]) -> list[list[Received]]:
    """Return the events of the members, in shares of whole members."""
    count = min(_SHARES, len(members))
    share_of = {member: place % count for place, member in enumerate(sorted(members))}
    shares: list[list[Received]] = [[] for _ in range(count)]
    for event in events:
        share = share_of.get(event.event.member_id or "")
        if share is not None:
            shares[share].append(event)
    return shares
